/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 over EVP: the algorithm is fetched once per process, contexts are reused. Digest texts
 * are 64 lower-case hex digits; `sha256:` stands before them in OCI documents only.
 */
#pragma once

#include "core/mem.h"
#include "core/slice.h"

#define KP_SHA256_LEN 32
#define KP_SHA256_HEX 64

struct kp_digest {
    uint8_t bytes[KP_SHA256_LEN];
};

struct kp_digest_text {
    char hex[KP_SHA256_HEX + 1];
};

bool kp_digest_equal(const struct kp_digest *a, const struct kp_digest *b); /* constant time */
struct kp_digest_text kp_digest_hex(const struct kp_digest *digest);
/* 64 lower-case hex digits, with or without "sha256:" before them. */
bool kp_digest_parse(struct kp_slice text, struct kp_digest *out);

void kp_sha256(const void *data, size_t len, struct kp_digest *out);

struct kp_hash;
struct kp_hash *kp_hash_new(void);
void kp_hash_free(struct kp_hash *hash);
KP_DEFINE_AUTO(kp_hash);
void kp_hash_update(struct kp_hash *hash, const void *data, size_t len);
/* The digest of all since new or the last finish; the context is ready for the next. */
void kp_hash_finish(struct kp_hash *hash, struct kp_digest *out);
/* An independent context that has seen the same bytes. */
struct kp_hash *kp_hash_copy(const struct kp_hash *hash);

/* Two messages of one length side by side: on CPUs with SHA instructions about 1.6 times as fast as
 * one after the other, else the same. plain: two usual contexts whatever the CPU has (tests). */
struct kp_hash_pair;
struct kp_hash_pair *kp_hash_pair_new(bool plain);
void kp_hash_pair_free(struct kp_hash_pair *pair);
KP_DEFINE_AUTO(kp_hash_pair);
/* len bytes of each, a multiple of 64. */
void kp_hash_pair_update(struct kp_hash_pair *pair, const void *a, const void *b, size_t len);
/* As kp_hash_finish. */
void kp_hash_pair_finish(struct kp_hash_pair *pair, struct kp_digest *a, struct kp_digest *b);

/* Streams fd from its current offset to its end. */
KP_CHECK int kp_sha256_fd(int fd, struct kp_digest *out, uint64_t *size, struct kp_err *err);
KP_CHECK int kp_sha256_file(const char *path, struct kp_digest *out, uint64_t *size,
                            struct kp_err *err);
void kp_hmac_sha256(struct kp_slice key, struct kp_slice data, struct kp_digest *out);
