/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed blobs: made once for each (content, libzstd version, level) and found again in the
 * cache. */
#pragma once

#include "pack/cache.h"

struct kp_compression {
    const char *version; /* of libzstd, as the plan wants it */
    int level;
};
/* Compresses what fd holds from offset 0 (its SHA-256 is `plain`), or finds it. KP_FAILED
 * "zstd_version" where it would have to be made and our libzstd is another one; KP_DAMAGED where
 * the bytes are not `plain`. */
KP_CHECK int kp_compress(struct kp_cache *cache, const struct kp_compression *how, int fd,
                         const struct kp_digest *plain, uint64_t size, struct kp_memo *out,
                         struct kp_err *err);
/* The same for a blob of the cache; one that is damaged there is dropped, so that the next run
 * fetches it. */
KP_CHECK int kp_compress_blob(struct kp_cache *cache, const struct kp_compression *how,
                              const struct kp_digest *plain, struct kp_memo *out,
                              struct kp_err *err);
