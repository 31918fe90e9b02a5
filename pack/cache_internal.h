/* SPDX-License-Identifier: Apache-2.0 */
/* What cache.c and cache_partial.c share; for nobody else. */
#pragma once

#include "pack/cache.h"

struct kp_cache {
    char *path;
};

char *kp_cache_blob_path(const struct kp_cache *cache,
                         const struct kp_digest *digest); /* kp_free */
/* Makes the open file `from` the blob `digest`: 0444, fsync, rename, fsync of the folder. */
KP_CHECK int kp_cache_name(const struct kp_cache *cache, int fd, const char *from,
                           const struct kp_digest *digest, struct kp_err *err);
/* Adds what to do where *err is a full disk; returns -1. */
int kp_cache_full(const struct kp_cache *cache, struct kp_err *err);
