/* SPDX-License-Identifier: Apache-2.0 */
#include "install/pki/pki_site.h"

#include "core/text.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#define NAME_MAX_ 256

static void free_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static void free_request(X509_REQ **request)
{
    X509_REQ_free(*request);
}

static void free_bio(BIO **bio)
{
    BIO_free_all(*bio);
}

static char *text_of(BIO *bio)
{
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    return kp_strndup(data, (size_t)len);
}

struct chain {
    X509 *items[KP_PKI_CHAIN_MAX];
    size_t count;
    bool more; /* than there is room for */
};

static void chain_release(struct chain *chain)
{
    for (size_t i = 0; i < chain->count; i++)
        X509_free(chain->items[i]);
}
KP_DEFINE_AUTO_VALUE(chain);

static void read_chain(struct chain *out, struct kp_slice pem)
{
    __attribute__((cleanup(free_bio))) BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    X509 *one;
    while (bio && (one = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        if (out->count == KP_PKI_CHAIN_MAX) {
            X509_free(one);
            out->more = true;
            break;
        }
        out->items[out->count++] = one;
    }
    ERR_clear_error(); // the end of the text is one to OpenSSL
}

static const char *name_of(X509 *certificate, char out[NAME_MAX_])
{
    out[0] = '\0';
    X509_NAME_oneline(X509_get_subject_name(certificate), out, NAME_MAX_);
    ERR_clear_error();
    return out;
}

static int check_one(X509 *certificate, const char *name, struct kp_err *err)
{
    char subject[NAME_MAX_];
    name_of(certificate, subject);
    if (X509_check_ca(certificate) != 1 || !(X509_get_key_usage(certificate) & KU_KEY_CERT_SIGN))
        return kp_fail(err, KP_USAGE,
                       "%s: %s may not sign certificates (basicConstraints CA, "
                       "keyUsage keyCertSign)",
                       name, subject);
    if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0)
        return kp_fail(err, KP_USAGE, "%s: %s does not hold yet", name, subject);
    if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
        return kp_fail(err, KP_USAGE, "%s: %s has ended", name, subject);
    return 0;
}

static int check_signed(X509 *certificate, X509 *by, const char *name, struct kp_err *err)
{
    char subject[NAME_MAX_], issuer[NAME_MAX_];
    bool good = X509_check_issued(by, certificate) == X509_V_OK &&
                X509_verify(certificate, X509_get0_pubkey(by)) == 1;
    ERR_clear_error();
    if (good)
        return 0;
    kp_fail(err, KP_USAGE, "%s: %s is not signed by %s", name, name_of(certificate, subject),
            by == certificate ? "itself" : name_of(by, issuer));
    return kp_hint(err, "the cluster's CA first, then what signed it, each behind the other, up to "
                        "the root");
}

static int check_key(X509 *certificate, const char *pem, const char *name, struct kp_err *err)
{
    __attribute__((cleanup(free_bio))) BIO *bio = BIO_new_mem_buf(pem, -1);
    // No password is asked for on a terminal.
    __attribute__((cleanup(free_key))) EVP_PKEY *key =
        bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)"") : NULL;
    bool good = key && X509_check_private_key(certificate, key) == 1;
    int type = key ? EVP_PKEY_base_id(key) : EVP_PKEY_NONE;
    ERR_clear_error();
    if (!key)
        return kp_fail(err, KP_USAGE, "%s: its key is not a private key in PEM without a password",
                       name);
    if (!good)
        return kp_fail(err, KP_USAGE, "%s: the first certificate is not that of the key", name);
    if (type != EVP_PKEY_RSA && type != EVP_PKEY_EC)
        return kp_fail(err, KP_USAGE, "%s: kubeadm signs with RSA and EC keys only", name);
    return 0;
}

int kp_pki_check_chain(struct kp_slice pem, const char *key, const char *name, struct kp_err *err)
{
    kp_auto_value(chain) chain = {0};
    read_chain(&chain, pem);
    if (!chain.count)
        return kp_fail(err, KP_USAGE, "%s has no certificate in PEM", name);
    if (chain.more)
        return kp_fail(err, KP_USAGE, "%s has more than %d certificates", name, KP_PKI_CHAIN_MAX);
    for (size_t i = 0; i < chain.count; i++) {
        X509 *by = chain.items[i + 1 < chain.count ? i + 1 : i];
        if (check_one(chain.items[i], name, err) < 0 ||
            check_signed(chain.items[i], by, name, err) < 0)
            return -1;
    }
    return key ? check_key(chain.items[0], key, name, err) : 0;
}

char *kp_pki_first(struct kp_slice pem)
{
    kp_auto_value(chain) chain = {0};
    __attribute__((cleanup(free_bio))) BIO *bio = BIO_new(BIO_s_mem());
    read_chain(&chain, pem);
    if (!chain.count || !bio || PEM_write_bio_X509(bio, chain.items[0]) != 1)
        return NULL;
    return text_of(bio);
}

size_t kp_pki_count(struct kp_slice pem)
{
    kp_auto_value(chain) chain = {0};
    read_chain(&chain, pem);
    return chain.count;
}

static int fail(struct kp_err *err)
{
    char text[256];
    ERR_error_string_n(ERR_get_error(), text, sizeof(text));
    ERR_clear_error();
    return kp_fail(err, KP_FAILED, "make a request for a CA: %s", text);
}

static bool add_extensions(X509_REQ *request)
{
    static const struct {
        int nid;
        const char *value;
    } wanted[] = {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                  {NID_key_usage, "critical,keyCertSign,cRLSign,digitalSignature"}};
    STACK_OF(X509_EXTENSION) *all = sk_X509_EXTENSION_new_null();
    bool ok = all != NULL;
    for (size_t i = 0; ok && i < KP_COUNT(wanted); i++) {
        X509_EXTENSION *one = X509V3_EXT_conf_nid(NULL, NULL, wanted[i].nid, wanted[i].value);
        ok = one && sk_X509_EXTENSION_push(all, one) > 0;
    }
    ok = ok && X509_REQ_add_extensions(request, all) == 1;
    sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free);
    return ok;
}

int kp_pki_request_ca(struct kp_pki_request *out, const char *common_name, struct kp_err *err)
{
    __attribute__((cleanup(free_key))) EVP_PKEY *key = EVP_EC_gen("P-256");
    __attribute__((cleanup(free_request))) X509_REQ *request = X509_REQ_new();
    __attribute__((cleanup(free_bio))) BIO *r = BIO_new(BIO_s_mem());
    __attribute__((cleanup(free_bio))) BIO *k = BIO_new(BIO_s_secmem());
    X509_NAME *name = request ? X509_REQ_get_subject_name(request) : NULL;
    if (!key || !name || !r || !k ||
        !X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)common_name,
                                    -1, -1, 0) ||
        !X509_REQ_set_pubkey(request, key) || !add_extensions(request) ||
        !X509_REQ_sign(request, key, EVP_sha256()) || PEM_write_bio_X509_REQ(r, request) != 1 ||
        PEM_write_bio_PKCS8PrivateKey(k, key, NULL, NULL, 0, NULL, NULL) != 1)
        return fail(err);
    out->request = text_of(r);
    out->key = text_of(k);
    return 0;
}
