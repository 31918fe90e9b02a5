/* SPDX-License-Identifier: Apache-2.0 */
#include "install/pki/pki_request.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

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

static int fail(struct kp_err *err)
{
    char text[256];
    ERR_error_string_n(ERR_get_error(), text, sizeof(text));
    ERR_clear_error();
    return kp_fail(err, KP_FAILED, "make a certificate request: %s", text);
}

static int add_name(X509_NAME *name, const char *field, const char *text)
{
    return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *)text, -1,
                                      -1, 0);
}

static char *text_of(BIO *bio)
{
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    return kp_strndup(data, (size_t)len);
}

int kp_pki_make_request(struct kp_pki_request *out, const char *common_name,
                        const char *organization, struct kp_err *err)
{
    __attribute__((cleanup(free_key))) EVP_PKEY *key = EVP_EC_gen("P-256");
    __attribute__((cleanup(free_request))) X509_REQ *request = X509_REQ_new();
    __attribute__((cleanup(free_bio))) BIO *r = BIO_new(BIO_s_mem());
    __attribute__((cleanup(free_bio))) BIO *k = BIO_new(BIO_s_secmem());
    X509_NAME *name = request ? X509_REQ_get_subject_name(request) : NULL;
    if (!key || !name || !r || !k || !add_name(name, "O", organization) ||
        !add_name(name, "CN", common_name) || !X509_REQ_set_pubkey(request, key) ||
        !X509_REQ_sign(request, key, EVP_sha256()) || PEM_write_bio_X509_REQ(r, request) != 1 ||
        PEM_write_bio_PKCS8PrivateKey(k, key, NULL, NULL, 0, NULL, NULL) != 1)
        return fail(err);
    out->request = text_of(r);
    out->key = text_of(k);
    return 0;
}

void kp_pki_request_release(struct kp_pki_request *request)
{
    kp_free(request->request);
    if (request->key)
        kp_free_secret(request->key, strlen(request->key));
    *request = (struct kp_pki_request){0};
}
