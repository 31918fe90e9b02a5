/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registry documents without I/O: index, manifest and config of OCI image-spec v1.1 and Docker's
 * manifest v2 schema 2. Strict where security hangs on it (types, digests, counts), tolerant of
 * keys that are not known.
 */
#pragma once

#include "core/hash.h"

#define KP_OCI_TYPE_MAX 128

struct kp_oci_descriptor {
    const char *media_type;
    struct kp_digest digest;
    uint64_t size;
    bool has_platform;
    const char *os, *arch, *variant; /* "" where missing */
    bool attestation;                /* BuildKit's: platform unknown/unknown */
};

struct kp_oci_document {
    bool is_index;
    const char *media_type;
    struct kp_oci_descriptor *children; /* of an index */
    size_t child_count;
    struct kp_oci_descriptor config; /* of a manifest */
    struct kp_oci_descriptor *layers;
    size_t layer_count;
};

/* Strings live in the arena. content_type is the server's ("" where the bytes come from the cache).
 * `what` names the document in errors (KP_DAMAGED "bad_image"; schema 1 "unsupported_image"). */
KP_CHECK int kp_oci_document_parse(struct kp_oci_document *out, struct kp_arena *arena,
                                   struct kp_slice text, const char *content_type, const char *what,
                                   struct kp_err *err);
bool kp_oci_type_is_index(const char *media_type);
/* The child for "amd64", "arm64", "arm/v7": os linux; a plain or baseline variant before others.
 * NULL: none. */
const struct kp_oci_descriptor *kp_oci_choose(const struct kp_oci_document *index,
                                              const char *arch);
/* "linux/amd64, linux/arm64/v8" of an index, for messages; in the arena. */
const char *kp_oci_platforms(const struct kp_oci_document *index, struct kp_arena *arena);
/* Platform of an image's config. */
KP_CHECK int kp_oci_config_parse(struct kp_oci_descriptor *platform, struct kp_arena *arena,
                                 struct kp_slice text, const char *what, struct kp_err *err);
/* Does the platform serve nodes of arch? */
bool kp_oci_platform_fits(const struct kp_oci_descriptor *platform, const char *arch);
