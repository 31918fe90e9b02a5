/* SPDX-License-Identifier: Apache-2.0 */
/* Where kpack keeps signing keys: ~/.config/kpack/keys/NAME.key, the public half trusted on this
 * host. */
#pragma once

#include "bundle/sign.h"

#define KP_KEYS_LISTED_MAX 64

struct kp_signing_key {
    struct kp_key *key;
    char *path, *name;
    bool made; /* by this run */
};
void kp_signing_key_release(struct kp_signing_key *key);
KP_DEFINE_AUTO_VALUE(kp_signing_key);
/* --key: a file, or the name of a key in the folder; NULL: the only one there is. With none there
 * and `make` one is made. Several and none named: KP_USAGE with their names. */
KP_CHECK int kp_signing_key_find(struct kp_signing_key *out, const char *wanted, bool make,
                                 struct kp_err *err);
/* The same; a passphrase or PIN is read from descriptor `fd`, or asked for on the terminal where it
 * is -1. wanted may be pkcs11:… (pack/token.h). */
KP_CHECK int kp_signing_key_unlock(struct kp_signing_key *out, const char *wanted, int fd,
                                   bool make, struct kp_err *err);
/* Makes NAME in folder (NULL: the default), encrypted where passphrase is not NULL, and trusts it
 * on this host; *path: kp_free. */
KP_CHECK int kp_signing_key_make(const char *folder, const char *name, const char *passphrase,
                                 struct kp_digest *id, char **path, struct kp_err *err);
#define KP_PASSPHRASE_LEAST 8 /* of new keys */
/* "<host name>-<year>", a valid key name; kp_free. */
char *kp_signing_key_name(void);
/* Four digits at a time, as people read a fingerprint to each other; buf has room for 80. */
void kp_fingerprint(const struct kp_digest *id, char buf[80]);
