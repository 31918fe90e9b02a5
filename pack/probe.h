/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smoke test's image, kpack.internal/probe:<version>: one layer with the static knode at
 * /knode, made here as an OCI index over one manifest per arch. The same knode and libzstd give the
 * same bytes.
 */
#pragma once

#include "pack/compress.h"
#include "pack/plan.h"

#define KP_PROBE_REPOSITORY "kpack.internal/probe"

struct kp_probe_blob {
    struct kp_digest digest;
    uint64_t size;
    const char *media_type; /* static */
};
struct kp_probe {
    struct kp_probe_blob
        blobs[3 * 8 + 1]; /* index first, then manifest, config, layer of each arch */
    size_t count;
};
/* knodes: one per arch of `arches` (NULL-terminated), in the cache. All blobs land in the cache. */
KP_CHECK int kp_probe_make(struct kp_probe *out, struct kp_cache *cache, const char *const *arches,
                           const struct kp_digest *knodes, const struct kp_compression *how,
                           struct kp_err *err);
