/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The site receipt (kind kpack.receipt/v1, docs/format.md): which bundles the mirrors of a site
 * hold, and which blobs lie in them. `kinstall receipt` writes it, `kpack create --have` reads it
 * to leave out what is there. It is not signed, and nothing is trusted because of it: where it is
 * wrong, the site says that a base is missing, or that a base lacks a blob.
 */
#pragma once

#include "bundle/manifest.h"

#define KP_RECEIPT_KIND "kpack.receipt/v1"
#define KP_RECEIPT_MAX ((size_t)256 << 20)
#define KP_RECEIPT_BUNDLES_MAX 64
#define KP_RECEIPT_MIRRORS_MAX 256

struct kp_receipt_blob {
    struct kp_digest sha256;
    uint64_t size;
};
struct kp_receipt_file { /* what one of the blobs is, unpacked */
    const char *origin;  /* the original URL */
    const char *name, *arch;
    struct kp_digest sha256; /* as installed */
    uint64_t size;           /* as installed */
    struct kp_digest blob;
};
struct kp_receipt_bundle {
    struct kp_digest id;
    const char *name;
    uint64_t serial;
    uint64_t size;        /* of its file */
    const char **mirrors; /* names of nodes that hold it; NULL-terminated */
    size_t mirror_count;
    struct kp_receipt_blob *blobs; /* in its own file; ascending */
    size_t blob_count;
    struct kp_receipt_file *files; /* of those blobs */
    size_t file_count;
};
struct kp_receipt {
    struct kp_arena *arena;
    const char *cluster;
    const char *created;                                      /* UTC */
    struct kp_receipt_bundle bundles[KP_RECEIPT_BUNDLES_MAX]; /* newest serial first, then by id */
    size_t bundle_count;
};
struct kp_receipt *kp_receipt_new(void);
void kp_receipt_free(struct kp_receipt *receipt);
KP_DEFINE_AUTO(kp_receipt);
/* A bundle whose file of `size` bytes lies on the mirror (NULL: not on a mirror). One that is
 * noted already only gets the further mirror. Texts are copied. KP_USAGE where there are too many.
 */
KP_CHECK int kp_receipt_add(struct kp_receipt *receipt, const struct kp_manifest *manifest,
                            uint64_t size, const char *mirror, struct kp_err *err);
/* NULL where the bundle does not hold it. */
const struct kp_receipt_blob *kp_receipt_blob(const struct kp_receipt_bundle *bundle,
                                              const struct kp_digest *digest);
/* The exact text, a function of the receipt; kp_free. */
char *kp_receipt_dump(const struct kp_receipt *receipt);
/* Strict inverse; errors KP_USAGE "bad_receipt". `name` is the document's in messages. */
KP_CHECK int kp_receipt_parse(struct kp_receipt **out, struct kp_slice text, const char *name,
                              struct kp_err *err);
KP_CHECK int kp_receipt_load(struct kp_receipt **out, const char *path, struct kp_err *err);
