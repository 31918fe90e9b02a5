/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may sign. A trust store is a set of Ed25519 public keys from trust folders and --key files.
 * Key id = SHA-256 of the SubjectPublicKeyInfo (DER).
 */
#pragma once

#include "core/hash.h"

#define KP_TRUST_KEYS_MAX 64
#define KP_KEY_FILE_MAX 16384
#define KP_ED25519_SIGNATURE ((size_t)64)
#define KP_ED25519_KEY ((size_t)32)

struct kp_trust;
struct kp_trust *kp_trust_new(void);
void kp_trust_free(struct kp_trust *trust);
KP_DEFINE_AUTO(kp_trust);
/* One PEM public key ("BEGIN PUBLIC KEY"); name: file name without .pub/.pem. Other key types,
 * private keys are refused with a clear error (KP_USAGE). */
KP_CHECK int kp_trust_add_file(struct kp_trust *trust, const char *path, struct kp_err *err);
KP_CHECK int kp_trust_add_pem(struct kp_trust *trust, const char *name, struct kp_slice pem,
                              struct kp_err *err);
/* Every *.pub and *.pem of the folder; a folder that is not there is fine. */
KP_CHECK int kp_trust_add_folder(struct kp_trust *trust, const char *path, struct kp_err *err);
/* $XDG_CONFIG_HOME/kpack/trusted.d and /etc/kpack/trusted.d. */
KP_CHECK int kp_trust_add_default(struct kp_trust *trust, struct kp_err *err);
size_t kp_trust_count(const struct kp_trust *trust);
struct kp_trust_key {
    const char *name;
    struct kp_digest id;
    uint8_t public_key[KP_ED25519_KEY];
};
const struct kp_trust_key *kp_trust_at(const struct kp_trust *trust, size_t i);
const struct kp_trust_key *kp_trust_find(const struct kp_trust *trust, const struct kp_digest *id);
/* The PEM of key i, kp_free. */
char *kp_trust_pem(const struct kp_trust *trust, size_t i);
