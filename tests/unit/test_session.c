/* SPDX-License-Identifier: Apache-2.0 */
/* What of a session needs no node; the rest is tests/interop/session.sh and
 * tests/lab/test_session.sh. */
#include "install/session/transport.h"

#include <criterion/criterion.h>

#define KEY "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"

static struct kp_ssh_target good(void)
{
    return (struct kp_ssh_target){
        .node = "n1", .address = "10.0.0.1", .port = 22, .user = "root", .host_key = KEY};
}

Test(session, targets_that_are_refused)
{
    static const struct {
        const char *what;
        struct kp_ssh_target change;
    } table[] = {
        {"option as address", {.address = "-oProxyCommand=x"}},
        {"blank in address", {.address = "a b"}},
        {"shell in address", {.address = "a;id"}},
        {"empty address", {.address = ""}},
        {"percent", {.address = "%h"}},
        {"at sign", {.address = "root@h"}},
        {"option as user", {.user = "-lroot"}},
        {"shell in user", {.user = "$(id)"}},
        {"slash in user", {.user = "a/b"}},
        {"option as jump", {.jump = "-F/x"}},
        {"shell in jump", {.jump = "a b"}},
        {"line end in key", {.host_key = KEY "\n* " KEY}},
        {"no key", {.host_key = "ssh-ed25519"}},
        {"not base64", {.host_key = "ssh-ed25519 ===="}},
        {"port", {.port = 65536}},
    };
    struct kp_err err = KP_ERR_INIT;
    struct kp_ssh_target fine = good();
    cr_assert_eq(kp_target_check(&fine, &err), 0, "%s", err.message);
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        struct kp_ssh_target t = good();
        const struct kp_ssh_target *c = &table[i].change;
        t.address = c->address ? c->address : t.address;
        t.user = c->user ? c->user : t.user;
        t.jump = c->jump;
        t.host_key = c->host_key ? c->host_key : t.host_key;
        t.port = c->port ? c->port : t.port;
        cr_assert_lt(kp_target_check(&t, &err), 0, "%s", table[i].what);
        cr_assert_eq(err.code, KP_USAGE);
        cr_assert(strstr(err.message, "node n1"), "%s", err.message);
    }
}

Test(session, fingerprints)
{
    char text[64];
    cr_assert(kp_key_fingerprint(KEY " comment", text, sizeof(text)));
    cr_assert_str_eq(text, "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU");
    cr_assert(!kp_key_fingerprint("", text, sizeof(text)));
    cr_assert(!kp_key_fingerprint("ssh-rsa", text, sizeof(text)));
}

Test(session, names_in_known_hosts)
{
    struct kp_ssh_target t = good();
    kp_auto_free char *plain = kp_known_hosts_name(&t);
    t.port = 2222;
    kp_auto_free char *other = kp_known_hosts_name(&t);
    cr_assert_str_eq(plain, "10.0.0.1");
    cr_assert_str_eq(other, "[10.0.0.1]:2222");
}

Test(session, transports)
{
    struct kp_ssh_target t = good();
    const struct kp_transport_ops *ops = NULL;
    struct kp_err err = KP_ERR_INIT;
    t.transport = KP_TRANSPORT_OPENSSH;
    cr_assert_eq(kp_transport_choose(&t, &ops, &err), 0);
    cr_assert_str_eq(ops->name, "openssh");
    t.transport = KP_TRANSPORT_LIBSSH2;
    cr_assert_eq(kp_transport_choose(&t, &ops, &err), 0);
    cr_assert_str_eq(ops->name, "libssh2");
    t.jump = "bastion";
    cr_assert_lt(kp_transport_choose(&t, &ops, &err), 0);
    t.transport = KP_TRANSPORT_AUTO;
    cr_assert_eq(kp_transport_choose(&t, &ops, &err), 0);
    cr_assert_str_eq(ops->name, "openssh");
}
