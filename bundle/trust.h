/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may sign. A trust store is a set of Ed25519 public keys from trust folders and --key files.
 * Key id = SHA-256 of the SubjectPublicKeyInfo (DER). Loose PEM files: role sign, threshold 1. A
 * signed trust list (bundle/trust_list.h) in the folder gives roles, times and thresholds instead;
 * loose PEM files beside one count for nothing.
 */
#pragma once

#include "core/hash.h"

#define KP_TRUST_KEYS_MAX 64
#define KP_KEY_FILE_MAX 16384
#define KP_ED25519_SIGNATURE ((size_t)64)
#define KP_ED25519_KEY ((size_t)32)
#define KP_TRUST_SYSTEM "/etc/kpack/trusted.d"

/* Bits of what a key may do: sign bundles, revoke keys and bundles, sign the next trust list, have
 * bundles carry hooks (as well as sign). */
enum { KP_KEY_SIGN = 1, KP_KEY_REVOKE = 2, KP_KEY_ROOT = 4, KP_KEY_HOOKS = 8 };
#define KP_KEY_ROLES 4
#define KP_KEY_ROLES_NEEDED 3 /* the first ones, which every trust list has a threshold for */

struct kp_revoked;
struct kp_trust_list;
struct kp_trust;
struct kp_trust *kp_trust_new(void);
void kp_trust_free(struct kp_trust *trust);
KP_DEFINE_AUTO(kp_trust);
/* One PEM public key ("BEGIN PUBLIC KEY"); name: file name without .pub/.pem. Other key types,
 * private keys are refused with a clear error (KP_USAGE). Role sign; a key that is there already
 * gains nothing. */
KP_CHECK int kp_trust_add_file(struct kp_trust *trust, const char *path, struct kp_err *err);
KP_CHECK int kp_trust_add_pem(struct kp_trust *trust, const char *name, struct kp_slice pem,
                              struct kp_err *err);
/* The folder's newest trust list where it has one, else every *.pub and *.pem of it; and what it
 * knows to be revoked. A folder that is not there is fine. */
KP_CHECK int kp_trust_add_folder(struct kp_trust *trust, const char *path, struct kp_err *err);
/* $XDG_CONFIG_HOME/kpack/trusted.d and /etc/kpack/trusted.d. Where one has a trust list only its
 * keys count, the system's before one's own; revocations of both count always. */
KP_CHECK int kp_trust_add_default(struct kp_trust *trust, struct kp_err *err);
/* $XDG_CONFIG_HOME/kpack/trusted.d; kp_free. */
char *kp_trust_own_folder(void);
size_t kp_trust_count(const struct kp_trust *trust);
struct kp_trust_key {
    const char *name;
    struct kp_digest id;
    uint8_t public_key[KP_ED25519_KEY];
    unsigned roles;
    const char *not_before, *not_after; /* UTC, or NULL; compared with what a document says of its
                                           own making, never with a clock */
};
const struct kp_trust_key *kp_trust_at(const struct kp_trust *trust, size_t i);
const struct kp_trust_key *kp_trust_find(const struct kp_trust *trust, const struct kp_digest *id);
/* The PEM of key i, kp_free. */
char *kp_trust_pem(const struct kp_trust *trust, size_t i);
/* How many distinct keys of that role are needed: 1 without a trust list. */
unsigned kp_trust_threshold(const struct kp_trust *trust, unsigned role);
/* The keys and thresholds of the list; takes its reference. Keys of the same id are replaced. */
KP_CHECK int kp_trust_use_list(struct kp_trust *trust, struct kp_trust_list *list,
                               struct kp_err *err);
/* The list in use, or NULL; borrowed. */
const struct kp_trust_list *kp_trust_list_of(const struct kp_trust *trust);
/* The folder whose list is in use, or NULL; borrowed. */
const char *kp_trust_list_folder(const struct kp_trust *trust);
/* What is revoked; to be added to. Borrowed. */
struct kp_revoked *kp_trust_revoked(const struct kp_trust *trust);
/* "sign" -> bit, 0 where unknown; and back, of one bit. */
unsigned kp_key_role_parse(const char *text);
const char *kp_key_role_text(unsigned role);
