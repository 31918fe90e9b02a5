/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a bundle. The caller fills a kp_manifest (all but entries, tail_length, id) and names,
 * for each blob, a file that holds its bytes (the content-addressed cache). The writer orders the
 * entries (bundle.leaves, oci-layout, index.json, then blobs sorted by digest), computes leaves on
 * all cores, signs, writes PATH.partial, fsyncs, renames. The same input gives the same bytes. Each
 * blob is hashed while it is copied; one that differs from its digest is KP_DAMAGED and nothing is
 * left.
 */
#pragma once

#include "bundle/bundle.h"

struct kp_blob_source { /* how the writer gets a blob: a file of exactly that content */
    int (*open)(void *user, const struct kp_digest *blob, int *fd,
                struct kp_err *err); /* fd becomes the writer's */
    void *user;
};
struct kp_bundle_writing {
    struct kp_manifest *manifest; /* entries and tail_length are filled in */
    struct kp_blob_source source;
    const struct kp_key *const
        *keys; /* signers; 0 keys gives an unsigned bundle (kpack sign later) */
    size_t key_count;
    kp_bundle_progress *progress;
    void *user;
    unsigned threads; /* 0: all cores */
    uint64_t split;   /* slices of at most so many bytes, with a signed list; 0: one file */
};
/* kpack sign keeps the new block here, beside the file, until it is in place. */
#define KP_SIGN_SUFFIX ".sign"

struct kp_bundle_written {
    uint64_t size;
    struct kp_digest sha256; /* of the file, for people */
    struct kp_digest id;
    size_t slices; /* 0: one file */
};
KP_CHECK int kp_bundle_write(const struct kp_bundle_writing *writing, const char *path,
                             struct kp_bundle_written *out, struct kp_err *err);
/* Adds or replaces one signature in place, safe against a power cut. */
KP_CHECK int kp_bundle_sign_file(const char *path, const struct kp_key *key, struct kp_err *err);
/* The same with a signature that somebody made elsewhere; the caller has checked it. `id`: of the
 * bundle it was checked for, KP_UNTRUSTED "wrong_id" where the file is another one. */
KP_CHECK int kp_bundle_attach(const char *path, const struct kp_signature *signature,
                              const struct kp_digest *id, struct kp_err *err);
/* bundle.json as stored (kp_free) and the signatures of a bundle, checked in form only: for reports
 * of who has signed. Nothing else of the file is read. */
KP_CHECK int kp_bundle_front(const char *path, char **text, size_t *len,
                             struct kp_signature_set *set, struct kp_err *err);
