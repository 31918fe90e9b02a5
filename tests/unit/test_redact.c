/* SPDX-License-Identifier: Apache-2.0 */
#include "install/support/redact.h"

#include <criterion/criterion.h>

static char *redact(const struct kp_redactor *redactor, const char *text)
{
    size_t len, removed = 0;
    return kp_redact(redactor, kp_slice_of(text), &len, &removed);
}

Test(redact, what_has_the_look_of_a_secret)
{
    static const struct {
        const char *text, *wanted;
    } cases[] = {
        {"    client-key-data: LS0tLS1CRUdJTg==", "    client-key-data: <removed>\n"},
        {"token: hunter2 and more", "token: <removed>\n"},
        {"{\"token\":\"hunter2\",\"a\":1}", "{\"token\":\"<removed>\",\"a\":1}\n"},
        {"{\\\"token\\\":\\\"hunter2\\\",\\\"a\\\":1}", NULL},
        {"DB_PASSWORD=hunter2 x", "DB_PASSWORD=<removed> x\n"},
        {"      DB_PASSWORD:  hunter2", "      DB_PASSWORD:  <removed>\n"},
        {"kubeadm join h:6443 --token abcdef.0123456789abcdef --x",
         "kubeadm join h:6443 --token <removed> --x\n"},
        {"used abcdef.0123456789abcdef here", "used <removed> here\n"},
        {"used abcdef.0123456789abcdef.", "used <removed>.\n"},
        {"--certificate-key 00ff", "--certificate-key <removed>\n"},
        {"Authorization: Bearer abc", "Authorization: <removed>\n"},
        {"sent Bearer abc.def, then", "sent Bearer <removed>, then\n"},
        {"x eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJr.c2ln y", "x <removed> y\n"},
        {"proxy http://ann:hunter2@host:3128/x", "proxy http://<removed>@host:3128/x\n"},
        {"a\n-----BEGIN EC PRIVATE KEY-----\nMHcC\n-----END EC PRIVATE KEY-----\nb",
         "a\n<removed> (a private key)\nb\n"},
        {"secret: YWJjZGVm", "secret: <removed>\n"},
        // what must stay
        {"automountServiceAccountToken: false", "automountServiceAccountToken: false\n"},
        {"secretName: web-tls", "secretName: web-tls\n"},
        {"https://registry.k8s.io/pause:3.9", "https://registry.k8s.io/pause:3.9\n"},
        {"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
         "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"},
        {"token:", "token:\n"},
        {"", ""},
    };
    kp_auto(kp_redactor) redactor = kp_redactor_new();
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        kp_auto_free char *out = redact(redactor, cases[i].text);
        if (cases[i].wanted)
            cr_expect_str_eq(out, cases[i].wanted, "%s", cases[i].text);
        else
            cr_expect_null(strstr(out, "hunter2"), "%s", out);
    }
}

Test(redact, what_is_known_wherever_it_stands)
{
    kp_auto(kp_redactor) redactor = kp_redactor_new();
    kp_redactor_know(redactor, kp_slice_of("correct horse\nshort\nbattery staple\n"));
    kp_auto_free char *out =
        redact(redactor, "xcorrect horsex battery staple, short, correct hors");
    cr_expect_str_eq(out, "x<removed>x <removed>, short, correct hors\n");
}

Test(redact, the_longest_of_two)
{
    kp_auto(kp_redactor) redactor = kp_redactor_new();
    kp_redactor_know(redactor, kp_slice_of("12345678\n123456789abc"));
    kp_auto_free char *out = redact(redactor, "a 123456789abc b");
    cr_expect_str_eq(out, "a <removed> b\n");
}

Test(redact, a_document_is_learnt_from)
{
    kp_auto(kp_redactor) redactor = kp_redactor_new();
    kp_redactor_know_document(
        redactor, kp_slice_of("-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\nAgEGCCqGSM49\n"
                              "-----END PRIVATE KEY-----\nsecret: c2VjcmV0LWtleQ==\nname: k1\n"));
    kp_auto_free char *out = redact(redactor, "MIGHAgEAMBMGByqGSM49 AgEGCCqGSM49 "
                                              "c2VjcmV0LWtleQ== k1 -----END PRIVATE KEY-----");
    cr_expect_str_eq(out, "<removed> <removed> <removed> k1 -----END PRIVATE KEY-----\n");
}

Test(redact, counts)
{
    kp_auto(kp_redactor) redactor = kp_redactor_new();
    size_t len, removed = 0;
    kp_free(kp_redact(redactor, kp_slice_of("token: aaa\npassword=bbb c\nx\n"), &len, &removed));
    cr_expect_eq(removed, 2);
}
