/* SPDX-License-Identifier: Apache-2.0 */
#include "core/file.h"
#include "install/pki/pki.h"

#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <sys/stat.h>

static const char *const sans[] = {"10.77.0.11", "cp1", "fd77::b"};

static X509 *parse(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    cr_assert(certificate);
    return certificate;
}

static void make(struct kp_pki_pair *ca, struct kp_pki_pair *leaf)
{
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_pki_make_ca(ca, "kpack mirrors of demo", &err), 0, "%s", err.message);
    cr_assert_eq(kp_pki_issue(leaf, ca, "kpack mirror", sans, 3, &err), 0, "%s", err.message);
}

Test(pki, a_verifier_accepts_the_leaf_for_its_names_only)
{
    kp_auto_value(kp_pki_pair) ca = {0};
    kp_auto_value(kp_pki_pair) leaf = {0};
    make(&ca, &leaf);
    X509 *root = parse(ca.certificate), *server = parse(leaf.certificate);
    X509_STORE *store = X509_STORE_new();
    X509_STORE_add_cert(store, root);
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    cr_assert_eq(X509_STORE_CTX_init(ctx, store, server, NULL), 1);
    X509_VERIFY_PARAM_set_purpose(X509_STORE_CTX_get0_param(ctx), X509_PURPOSE_SSL_SERVER);
    cr_expect_eq(X509_verify_cert(ctx), 1, "%s",
                 X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
    cr_expect_eq(X509_check_ip_asc(server, "10.77.0.11", 0), 1);
    cr_expect_eq(X509_check_ip_asc(server, "fd77::b", 0), 1);
    cr_expect_eq(X509_check_host(server, "cp1", 0, 0, NULL), 1);
    cr_expect_neq(X509_check_ip_asc(server, "10.77.0.12", 0), 1);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    X509_free(root);
    X509_free(server);
}

Test(pki, times_and_serials)
{
    kp_auto_value(kp_pki_pair) ca = {0};
    kp_auto_value(kp_pki_pair) leaf = {0};
    make(&ca, &leaf);
    X509 *root = parse(ca.certificate), *server = parse(leaf.certificate);
    time_t yesterday = time(NULL) - 86400 + 60, later = time(NULL) + 3649L * 86400;
    cr_expect_lt(X509_cmp_time(X509_get0_notBefore(server), &yesterday), 0);
    cr_expect_gt(X509_cmp_time(X509_get0_notAfter(server), &later), 0);
    cr_expect_neq(ASN1_INTEGER_cmp(X509_get0_serialNumber(root), X509_get0_serialNumber(server)),
                  0);
    cr_expect_eq(X509_get0_serialNumber(server)->length, 16);
    X509_free(root);
    X509_free(server);
}

Test(pki, covers)
{
    kp_auto_value(kp_pki_pair) ca = {0};
    kp_auto_value(kp_pki_pair) leaf = {0};
    kp_auto_value(kp_pki_pair) other_ca = {0};
    kp_auto_value(kp_pki_pair) other = {0};
    struct kp_err err = KP_ERR_INIT;
    const char *more[] = {"10.77.0.11", "10.77.0.99"};
    bool covers;
    make(&ca, &leaf);
    make(&other_ca, &other);
    cr_assert_eq(kp_pki_covers(&covers, &leaf, ca.certificate, sans, 3, &err), 0);
    cr_expect(covers);
    cr_assert_eq(kp_pki_covers(&covers, &leaf, ca.certificate, more, 2, &err), 0);
    cr_expect_not(covers, "a mirror was added");
    cr_assert_eq(kp_pki_covers(&covers, &leaf, other_ca.certificate, sans, 3, &err), 0);
    cr_expect_not(covers, "another CA");
    struct kp_pki_pair mixed = {leaf.certificate, other.key};
    cr_assert_eq(kp_pki_covers(&covers, &mixed, ca.certificate, sans, 3, &err), 0);
    cr_expect_not(covers, "a key that does not belong to it");
    struct kp_pki_pair rubbish = {(char *)"x", (char *)"y"};
    cr_assert_eq(kp_pki_covers(&covers, &rubbish, ca.certificate, sans, 3, &err), 0);
    cr_expect_not(covers);
    cr_expect_eq(kp_pki_covers(&covers, &leaf, "x", sans, 3, &err), -1);
}

Test(pki, names_of_a_certificate)
{
    kp_auto_value(kp_pki_pair) ca = {0}, leaf = {0};
    struct kp_err err = KP_ERR_INIT;
    const char *names[] = {"10.77.0.11", "demo.kpack.internal", "fd77::11"};
    const char *other[] = {"kpack.internal"}, *address[] = {"10.77.0.1"};
    cr_assert_eq(kp_pki_make_ca(&ca, "test", &err), 0);
    cr_assert_eq(kp_pki_issue(&leaf, &ca, "leaf", names, 3, &err), 0, "%s", err.message);
    struct kp_slice pem = kp_slice_of(leaf.certificate);
    cr_expect(kp_pki_has_names(pem, names, 3));
    cr_expect_not(kp_pki_has_names(pem, other, 1));
    cr_expect_not(kp_pki_has_names(pem, address, 1));
    cr_expect_not(kp_pki_has_names(kp_slice_of("nonsense"), sans, 1));
}

Test(pki, stored_and_loaded)
{
    char folder[] = "/tmp/kp-pki-XXXXXX";
    cr_assert(mkdtemp(folder));
    kp_auto_value(kp_pki_pair) ca = {0};
    kp_auto_value(kp_pki_pair) leaf = {0};
    kp_auto_value(kp_pki_pair) again = {0};
    kp_auto_free char *key = kp_path_join(folder, "mirror-ca.key");
    struct kp_err err = KP_ERR_INIT;
    struct stat st;
    bool found = true;
    make(&ca, &leaf);
    cr_assert_eq(kp_pki_load(&again, folder, "mirror-ca", &found, &err), 0);
    cr_expect_not(found);
    cr_assert_eq(kp_pki_store(&ca, folder, "mirror-ca", &err), 0);
    cr_assert_eq(stat(key, &st), 0);
    cr_expect_eq(st.st_mode & 07777, 0600);
    cr_assert_eq(kp_pki_load(&again, folder, "mirror-ca", &found, &err), 0);
    cr_expect(found);
    cr_expect_str_eq(again.key, ca.key);
    cr_expect_str_eq(again.certificate, ca.certificate);
    cr_assert_eq(remove(key), 0);
    cr_expect_eq(kp_pki_load(&again, folder, "mirror-ca", &found, &err), -1,
                 "a CA without its key is not made anew");
    cr_expect(strstr(err.message, "mirror-ca.key"));
    cr_assert_eq(kp_remove_tree(folder, &err), 0);
}

/* The certificate and its hash as `openssl x509 -pubkey | openssl pkey -pubin -outform der |
 * sha256sum` and kubeadm have it. */
Test(pki, hash_that_kubeadm_pins)
{
    kp_auto_free char *pem = NULL, *want = NULL;
    struct kp_err err = KP_ERR_INIT;
    struct kp_digest hash;
    size_t len;
    cr_assert_eq(kp_file_read(KP_TEST_DATA "/pki/ca.crt", KP_PEM_MAX, &pem, &len, &err), 0);
    cr_assert_eq(kp_file_read(KP_TEST_DATA "/pki/ca.spki.sha256", 4096, &want, &len, &err), 0);
    cr_assert_eq(kp_pki_spki_hash(&hash, kp_slice_of(pem), &err), 0, "%s", err.message);
    cr_expect_eq(strncmp(kp_digest_hex(&hash).hex, want, KP_SHA256_HEX), 0);
    cr_expect_eq(kp_pki_spki_hash(&hash, kp_slice_of("no certificate"), &err), -1);
}

static int judge(const char *ca, const char *leaf, int purpose)
{
    X509 *root = parse(ca), *certificate = parse(leaf);
    X509_STORE *store = X509_STORE_new();
    X509_STORE_add_cert(store, root);
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    cr_assert_eq(X509_STORE_CTX_init(ctx, store, certificate, NULL), 1);
    X509_VERIFY_PARAM_set_purpose(X509_STORE_CTX_get0_param(ctx), purpose);
    int ok = X509_verify_cert(ctx);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    X509_free(root);
    X509_free(certificate);
    return ok;
}

Test(pki, a_certificate_is_good_for_its_use_only)
{
    static const struct {
        unsigned use;
        int client, server;
    } cases[] = {
        {KP_PKI_CLIENT, 1, 0}, {KP_PKI_SERVER, 0, 1}, {KP_PKI_CLIENT | KP_PKI_SERVER, 1, 1}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        kp_auto_value(kp_pki_pair) ca = {0};
        kp_auto_value(kp_pki_pair) leaf = {0};
        struct kp_err err = KP_ERR_INIT;
        size_t n = cases[i].use == KP_PKI_CLIENT ? 0 : 3;
        cr_assert_eq(kp_pki_make_ca(&ca, "kpack etcd of demo", &err), 0);
        cr_assert_eq(kp_pki_issue_for(&leaf, &ca, "etcd-member-e1", cases[i].use, sans, n, &err), 0,
                     "%s", err.message);
        cr_expect_eq(judge(ca.certificate, leaf.certificate, X509_PURPOSE_SSL_CLIENT),
                     cases[i].client);
        cr_expect_eq(judge(ca.certificate, leaf.certificate, X509_PURPOSE_SSL_SERVER),
                     cases[i].server);
    }
}

Test(pki, a_server_without_names_is_refused)
{
    kp_auto_value(kp_pki_pair) ca = {0};
    kp_auto_value(kp_pki_pair) leaf = {0};
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_pki_make_ca(&ca, "x", &err), 0);
    cr_expect_eq(kp_pki_issue_for(&leaf, &ca, "x", KP_PKI_SERVER | KP_PKI_CLIENT, NULL, 0, &err),
                 -1);
}

Test(pki, when_a_certificate_ends)
{
    kp_auto_value(kp_pki_pair) ca = {0};
    kp_auto_value(kp_pki_pair) leaf = {0};
    struct kp_err err = KP_ERR_INIT;
    char name[32];
    time_t begin = 0, end = 0, wanted = time(NULL) + 3650L * 86400;
    make(&ca, &leaf);
    cr_assert_eq(kp_pki_life(&begin, &end, name, sizeof(name), kp_slice_of(leaf.certificate), &err),
                 0);
    cr_expect_leq(llabs((long long)(end - wanted)), 60);
    cr_expect_leq(llabs((long long)(begin + KP_PKI_BACKDATED_S - time(NULL))), 60);
    cr_expect_str_eq(name, "kpack mirror");
    cr_expect_eq(kp_pki_life(&begin, &end, name, sizeof(name), kp_slice_of(leaf.key), &err), -1);
    cr_expect_eq(kp_pki_life(&begin, &end, name, sizeof(name), kp_slice_of(""), &err), -1);
}
