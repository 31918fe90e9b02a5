/* SPDX-License-Identifier: Apache-2.0 */
#include "core/file.h"
#include "install/inventory/inventory.h"
#include "install/steps/site_ca.h"

#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <sys/stat.h>

static X509 *parse(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    cr_assert(certificate);
    return certificate;
}

/* What the site's CA does with a request: its subject, key and extensions, signed. */
static char *sign(const char *request, const struct kp_pki_pair *ca, long days)
{
    BIO *r = BIO_new_mem_buf(request, -1), *k = BIO_new_mem_buf(ca->key, -1);
    BIO *out = BIO_new(BIO_s_mem());
    X509_REQ *req = PEM_read_bio_X509_REQ(r, NULL, NULL, NULL);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(k, NULL, NULL, NULL);
    X509 *issuer = parse(ca->certificate), *c = X509_new();
    STACK_OF(X509_EXTENSION) *extensions = X509_REQ_get_extensions(req);
    X509_set_version(c, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(c), 7);
    X509_gmtime_adj(X509_getm_notBefore(c), days < 0 ? days * 86400 : -60);
    X509_gmtime_adj(X509_getm_notAfter(c), days < 0 ? -60 : days * 86400);
    X509_set_subject_name(c, X509_REQ_get_subject_name(req));
    X509_set_issuer_name(c, X509_get_subject_name(issuer));
    X509_set_pubkey(c, X509_REQ_get0_pubkey(req));
    for (int i = 0; i < sk_X509_EXTENSION_num(extensions); i++)
        X509_add_ext(c, sk_X509_EXTENSION_value(extensions, i), -1);
    cr_assert(X509_sign(c, key, EVP_sha256()));
    PEM_write_bio_X509(out, c);
    char *data;
    long len = BIO_get_mem_data(out, &data);
    char *text = kp_strndup(data, (size_t)len);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    X509_free(c);
    X509_free(issuer);
    X509_REQ_free(req);
    EVP_PKEY_free(key);
    BIO_free(r);
    BIO_free(k);
    BIO_free(out);
    return text;
}

static void check_says(const char *chain, const char *key, const char *say)
{
    struct kp_err err = KP_ERR_INIT;
    int result = kp_pki_check_chain(kp_slice_of(chain), key, "ca.pem", &err);
    cr_expect_eq(result, say ? -1 : 0, "%s", err.message);
    if (say)
        cr_expect(strstr(err.message, say), "wanted \"%s\" in: %s", say, err.message);
}

Test(pki_site, chains)
{
    kp_auto_value(kp_pki_pair) root = {0}, other = {0}, leaf = {0};
    kp_auto_value(kp_pki_request) request = {0};
    struct kp_err err = KP_ERR_INIT;
    static const char *const sans[] = {"a"};
    cr_assert_eq(kp_pki_make_ca(&root, "the site's root", &err), 0);
    cr_assert_eq(kp_pki_make_ca(&other, "another", &err), 0);
    cr_assert_eq(kp_pki_issue(&leaf, &root, "a server", sans, 1, &err), 0);
    cr_assert_eq(kp_pki_request_ca(&request, "kubernetes-ca of demo", &err), 0, "%s", err.message);
    kp_auto_free char *sub = sign(request.request, &root, 1000);
    kp_auto_free char *ended = sign(request.request, &root, -9);
    kp_auto_free char *chain = kp_asprintf("%s%s", sub, root.certificate);
    kp_auto_free char *old = kp_asprintf("%s%s", ended, root.certificate);
    kp_auto_free char *wrong = kp_asprintf("%s%s", sub, other.certificate);
    kp_auto_free char *turned = kp_asprintf("%s%s", root.certificate, sub);
    kp_auto_free char *server = kp_asprintf("%s%s", leaf.certificate, root.certificate);
    check_says(chain, request.key, NULL);
    check_says(root.certificate, root.key, NULL);
    check_says(sub, request.key, "is not signed by itself"); // the root is missing
    check_says(wrong, request.key, "is not signed by /CN=another");
    check_says(turned, root.key, "is not signed by");
    check_says(old, request.key, "has ended");
    check_says(server, leaf.key, "may not sign certificates");
    check_says(chain, root.key, "is not that of the key");
    check_says(chain, "no key", "not a private key");
    check_says("", request.key, "has no certificate");
    kp_auto_free char *first = kp_pki_first(kp_slice_of(chain));
    cr_expect_str_eq(first, sub);
    cr_expect_eq(kp_pki_count(kp_slice_of(chain)), 2);
    X509 *certificate = parse(sub);
    cr_expect_eq(X509_check_ca(certificate), 1);
    cr_expect_eq(X509_get_pathlen(certificate), 0);
    X509_free(certificate);
}

static char folder[] = "/tmp/kpack-ca-XXXXXX";

/* Asked for, signed, taken in; the key is nobody else's; a second request is the same. */
Test(pki_site, request_and_accept)
{
    kp_auto_value(kp_pki_pair) root = {0}, loaded = {0};
    struct kp_err err = KP_ERR_INIT;
    cr_assert_not_null(mkdtemp(folder));
    kp_auto_free char *path = kp_path_join(folder, "hosts.yaml");
    kp_auto_free char *file = kp_path_join(folder, "signed.pem");
    kp_auto_free char *key = kp_path_join(folder, "demo.state/site-ca.key");
    struct kp_inventory inventory = {.path = path, .cluster = "demo"};
    kp_auto_free char *csr = NULL, *again = NULL;
    bool found;
    cr_expect_eq(kp_site_ca_request(&csr, &inventory, &err), -1);
    cr_expect(strstr(err.message, "requested: true"), "%s", err.message);
    inventory.pki.requested = true;
    cr_expect_eq(kp_site_ca_accept(&inventory, file, &err), -1);
    cr_expect(strstr(err.hint, "certs request"), "%s", err.hint);
    cr_assert_eq(kp_site_ca_request(&csr, &inventory, &err), 0, "%s", err.message);
    cr_assert_eq(kp_site_ca_request(&again, &inventory, &err), 0, "%s", err.message);
    cr_expect_str_eq(csr, again);
    cr_expect_eq(kp_site_ca_load(&loaded, &found, &inventory, &err), -1);
    cr_expect(strstr(err.message, "no certificate was taken in"), "%s", err.message);
    cr_assert_eq(kp_pki_make_ca(&root, "the site's root", &err), 0);
    kp_auto_free char *sub = sign(csr, &root, 1000);
    kp_auto_free char *chain = kp_asprintf("%s%s", sub, root.certificate);
    cr_assert_eq(kp_file_write_atomic(file, kp_slice_of(chain), 0644, &err), 0);
    cr_assert_eq(kp_site_ca_accept(&inventory, file, &err), 0, "%s", err.message);
    cr_assert_eq(kp_site_ca_load(&loaded, &found, &inventory, &err), 0, "%s", err.message);
    cr_expect_str_eq(loaded.certificate, chain);
    cr_assert_eq(chmod(key, 0644), 0);
    kp_auto_value(kp_pki_pair) open = {0};
    cr_expect_eq(kp_site_ca_load(&open, &found, &inventory, &err), -1);
    cr_expect(strstr(err.message, "can be read by others"), "%s", err.message);
    cr_assert_eq(kp_remove_tree(folder, &err), 0);
}
