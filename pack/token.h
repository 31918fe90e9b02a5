/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signing keys in a PKCS#11 token (OASIS PKCS#11 3.0, CKM_EDDSA; URIs of RFC 7512), over p11-kit.
 * Debian 12's OpenSSL engine (libp11 0.4.12) knows no Ed25519: with such a key in the token it
 * finds no key at all. No module is loaded before a pkcs11: URI is given. A module that p11-kit
 * does not know is named in the URI: pkcs11:…?module-path=/usr/lib/….so.
 */
#pragma once

#include "bundle/sign.h"

#define KP_TOKEN_SCHEME "pkcs11:"

/* The Ed25519 private key that the URI names; its public half must be in the token too (same id).
 * The PIN comes from descriptor `fd`, or from the terminal where it is -1; one in the URI is
 * refused (it would be in argv). *name: the key's label; kp_free. KP_USAGE: not such a key, wrong
 * PIN
 * ("wrong_pin"), several keys; KP_MISSING "no_token": no token or key that fits. A token that
 * refuses the length of bundle.json says so when it signs: "token_length". */
KP_CHECK int kp_token_key(struct kp_key **out, char **name, const char *uri, int fd,
                          struct kp_err *err);
