/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/spki.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>

/* SEQUENCE { SEQUENCE { OID 1.3.101.112 } BIT STRING } (RFC 8410, section 4) */
static const uint8_t spki_prefix[KP_SPKI_LEN - KP_ED25519_KEY] = {
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
static const char begin_mark[] = "-----BEGIN ";

static void put_spki(uint8_t out[KP_SPKI_LEN], const uint8_t key[KP_ED25519_KEY])
{
    memcpy(out, spki_prefix, sizeof(spki_prefix));
    memcpy(out + sizeof(spki_prefix), key, KP_ED25519_KEY);
}

struct kp_crypto_text kp_crypto_error(void)
{
    struct kp_crypto_text text = {""};
    unsigned long last = ERR_peek_last_error();
    if (last)
        ERR_error_string_n(last, text.s, sizeof(text.s));
    ERR_clear_error();
    return text;
}

static int check_marks(struct kp_slice pem, struct kp_err *err)
{
    const char *first = memmem(pem.ptr, pem.len, begin_mark, sizeof(begin_mark) - 1);
    if (memmem(pem.ptr, pem.len, "PRIVATE KEY-----", 16))
        return kp_fail(err, KP_USAGE, "this is a private key; the public one (.pub) is needed");
    if (!first)
        return kp_fail(err, KP_USAGE, "not a PEM public key (\"-----BEGIN PUBLIC KEY-----\")");
    const char *next = first + sizeof(begin_mark) - 1;
    size_t left = pem.len - (size_t)(next - pem.ptr);
    if (memmem(next, left, begin_mark, sizeof(begin_mark) - 1))
        return kp_fail(err, KP_USAGE, "more than one PEM block; one key per file is needed");
    return 0;
}

int kp_spki_parse(struct kp_slice pem, uint8_t out[KP_ED25519_KEY], struct kp_err *err)
{
    size_t len = KP_ED25519_KEY;
    if (pem.len > KP_KEY_FILE_MAX)
        return kp_fail(err, KP_USAGE, "larger than %d bytes", KP_KEY_FILE_MAX);
    if (check_marks(pem, err) < 0)
        return -1;
    BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    kp_auto_pkey key = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    if (!key)
        return kp_fail(err, KP_USAGE, "not a readable PEM public key: %s", kp_crypto_error().s);
    if (!EVP_PKEY_is_a(key, "ED25519"))
        return kp_fail(err, KP_USAGE, "a key of type %s; an Ed25519 key is needed (kpack keygen)",
                       EVP_PKEY_get0_type_name(key));
    if (EVP_PKEY_get_raw_public_key(key, out, &len) != 1 || len != KP_ED25519_KEY)
        return kp_fail(err, KP_USAGE, "not a usable Ed25519 key: %s", kp_crypto_error().s);
    return 0;
}

void kp_spki_id(const uint8_t key[KP_ED25519_KEY], struct kp_digest *out)
{
    uint8_t der[KP_SPKI_LEN];
    put_spki(der, key);
    kp_sha256(der, sizeof(der), out);
}

char *kp_spki_pem(const uint8_t key[KP_ED25519_KEY])
{
    uint8_t der[KP_SPKI_LEN];
    char base64[4 * ((KP_SPKI_LEN + 2) / 3) + 1];
    put_spki(der, key);
    EVP_EncodeBlock((unsigned char *)base64, der, sizeof(der));
    return kp_asprintf("-----BEGIN PUBLIC KEY-----\n%s\n-----END PUBLIC KEY-----\n", base64);
}

bool kp_spki_verify(const uint8_t key[KP_ED25519_KEY], struct kp_slice message,
                    const uint8_t signature[KP_ED25519_SIGNATURE])
{
    kp_auto_pkey pkey = EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, key, KP_ED25519_KEY);
    kp_auto_md_ctx ctx = EVP_MD_CTX_new();
    bool good = pkey && ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
                EVP_DigestVerify(ctx, signature, KP_ED25519_SIGNATURE,
                                 (const unsigned char *)message.ptr, message.len) == 1;
    ERR_clear_error();
    return good;
}
