/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ed25519 (RFC 8032) keys and bundle.sig's one canonical form (DESIGN §3): lines
 * "ed25519 <64 hex key id> <128 hex signature>\n" sorted by key id, then spaces to 16 384 bytes.
 */
#pragma once

#include "bundle/trust.h"

#define KP_SIG_SIZE ((size_t)16384)
#define KP_SIGNATURES_MAX ((size_t)64)

struct kp_key; /* a private key */
/* Makes a key; writes NAME.key (PKCS#8 PEM, 0600) and NAME.pub (0644) into the folder (made 0700);
 * existing files are never overwritten. */
KP_CHECK int kp_key_generate(const char *folder, const char *name, struct kp_digest *id,
                             struct kp_err *err);
/* The same with NAME.key encrypted: PKCS#8 with PBES2, scrypt (N 16384, r 8, p 5) and AES-256-CBC
 * (RFC 8018, RFC 7914), as OpenSSL reads it. passphrase NULL: not encrypted. */
KP_CHECK int kp_key_generate_encrypted(const char *folder, const char *name, const char *passphrase,
                                       struct kp_digest *id, struct kp_err *err);
/* PKCS#8 PEM. KP_USAGE "key_encrypted" where it is encrypted and passphrase is NULL,
 * "wrong_passphrase" where that does not open it. */
KP_CHECK int kp_key_load(struct kp_key **out, const char *path, const char *passphrase,
                         struct kp_err *err);
/* A private key that is elsewhere (a token): sign gives the 64 bytes over message, release ends it.
 * What sign gives is checked with the public key before it is used. On failure nothing was taken.
 */
struct kp_key_elsewhere {
    int (*sign)(void *user, struct kp_slice message, uint8_t out[KP_ED25519_SIGNATURE],
                struct kp_err *err);
    void (*release)(void *user);
    void *user;
};
struct kp_key *kp_key_from_elsewhere(const uint8_t public_key[KP_ED25519_KEY],
                                     const struct kp_key_elsewhere *elsewhere);
void kp_key_free(struct kp_key *key);
KP_DEFINE_AUTO(kp_key);
const struct kp_digest *kp_key_id(const struct kp_key *key);
char *kp_key_public_pem(const struct kp_key *key);

struct kp_signature {
    struct kp_digest key_id;
    uint8_t bytes[KP_ED25519_SIGNATURE];
};
struct kp_signature_set {
    struct kp_signature items[KP_SIGNATURES_MAX]; /* sorted by key id, distinct */
    size_t count;
};
KP_CHECK int kp_sign(const struct kp_key *key, struct kp_slice message, struct kp_signature *out,
                     struct kp_err *err);
/* Adds or replaces the signature of that key. */
KP_CHECK int kp_signature_add(struct kp_signature_set *set, const struct kp_signature *signature,
                              struct kp_err *err);
/* Strict inverse of kp_signatures_format: anything but the canonical form is KP_UNTRUSTED
 * "bad_signature_block". */
KP_CHECK int kp_signatures_parse(struct kp_signature_set *out, const char block[KP_SIG_SIZE],
                                 struct kp_err *err);
/* A detached signature: one line of the same form and nothing else (KP_UNTRUSTED
 * "bad_signature_block"). */
#define KP_SIGNATURE_LINE ((size_t)202)
KP_CHECK int kp_signature_parse_line(struct kp_signature *out, struct kp_slice text,
                                     struct kp_err *err);
void kp_signature_format_line(const struct kp_signature *signature,
                              char line[KP_SIGNATURE_LINE + 1]);
void kp_signatures_format(const struct kp_signature_set *set, char block[KP_SIG_SIZE]);

enum kp_signature_state {
    KP_SIG_VALID,
    KP_SIG_UNKNOWN_KEY, /* not checked */
    KP_SIG_REVOKED,     /* the signature is right, the key is revoked */
    KP_SIG_OUT_OF_TIME, /* … before the key's not_before or after its not_after */
    KP_SIG_NO_ROLE,     /* … the key may not sign this kind of document */
};
const char *kp_signature_state_text(enum kp_signature_state state); /* "valid", "unknown_key" … */
struct kp_signer { /* what verification found, for reports */
    struct kp_digest key_id;
    const char *name; /* borrowed from the trust store; NULL: unknown key, unchecked */
    enum kp_signature_state state;
};
struct kp_signers {
    struct kp_signer items[KP_SIGNATURES_MAX];
    size_t count, valid;
    size_t needed; /* the threshold */
};
/* By whom and how a document's signatures are judged. */
struct kp_judging {
    unsigned role; /* one bit: KP_KEY_SIGN … */
    const char
        *created; /* what the document says of its making; NULL: keys' times not judged yet */
    const struct kp_revoked *revoked; /* or NULL */
    const struct kp_trust_key *keys;  /* distinct ids */
    size_t key_count;
    unsigned threshold;
    const char *what; /* "bundle", "trust list": in messages */
};
/* Of a whole store: its keys, threshold and revocations. */
struct kp_judging kp_judging_by(const struct kp_trust *trust, unsigned role, const char *what);
/* Counts distinct keys: a set holds each key once. An invalid signature by a known key is refused
 * (bad_signature) even where others suffice; none by a known key: unknown_key; fewer than the
 * threshold count: revoked where a revoked key signed, else threshold. All KP_UNTRUSTED. */
KP_CHECK int kp_signatures_judge(const struct kp_signature_set *set, const struct kp_judging *how,
                                 struct kp_slice message, struct kp_signers *out,
                                 struct kp_err *err);
/* For a bundle, before anything of it is parsed. As kp_signatures_judge; no signatures at all:
 * unsigned; empty trust store: no_trusted_keys with a hint how to add one. All KP_UNTRUSTED. */
KP_CHECK int kp_signatures_verify(const struct kp_signature_set *set, const struct kp_trust *trust,
                                  struct kp_slice message, struct kp_signers *out,
                                  struct kp_err *err);
