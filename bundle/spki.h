/* SPDX-License-Identifier: Apache-2.0 */
/* Ed25519 public keys as SubjectPublicKeyInfo (RFC 8410): PEM text, raw bytes, key id. */
#pragma once

#include "bundle/trust.h"

#include <openssl/evp.h>

#define KP_SPKI_LEN 44

static inline void kp_pkey_cleanup_(EVP_PKEY **p)
{
    EVP_PKEY_free(*p);
}
#define kp_auto_pkey __attribute__((cleanup(kp_pkey_cleanup_))) EVP_PKEY *
static inline void kp_md_ctx_cleanup_(EVP_MD_CTX **p)
{
    EVP_MD_CTX_free(*p);
}
#define kp_auto_md_ctx __attribute__((cleanup(kp_md_ctx_cleanup_))) EVP_MD_CTX *

/* Exactly one PEM block "PUBLIC KEY" with an Ed25519 key; all else is KP_USAGE and says what it is.
 */
KP_CHECK int kp_spki_parse(struct kp_slice pem, uint8_t out[KP_ED25519_KEY], struct kp_err *err);
void kp_spki_id(const uint8_t key[KP_ED25519_KEY], struct kp_digest *out);
char *kp_spki_pem(const uint8_t key[KP_ED25519_KEY]); /* kp_free */
/* Whether the signature over message is right. */
bool kp_spki_verify(const uint8_t key[KP_ED25519_KEY], struct kp_slice message,
                    const uint8_t signature[KP_ED25519_SIGNATURE]);
/* libcrypto's latest error as text, its queue emptied; "" where none. */
struct kp_crypto_text {
    char s[256];
};
struct kp_crypto_text kp_crypto_error(void);
