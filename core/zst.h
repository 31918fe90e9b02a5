/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zstd streams with bounds. Compression is deterministic for one libzstd version and level: always
 * at least one worker (output then does not depend on the number of workers), content size and
 * checksum off or on as given here, never elsewhere. Decompression stops at the declared size.
 */
#pragma once

#include "core/hash.h"

#include <limits.h>

/* Instead of workers, which Debian's static libzstd has none of: the bytes then differ from those
 * that workers make. */
#define KP_ZST_THIS_THREAD UINT_MAX

/* fd_in (from its offset to its end) -> fd_out; digests and sizes of both sides. size: of the
 * input, pledged. */
KP_CHECK int kp_zst_compress_fd(int fd_in, uint64_t size, int fd_out, int level, unsigned workers,
                                struct kp_digest *plain, struct kp_digest *packed,
                                uint64_t *packed_size, struct kp_err *err);

/* Push decompression: feed stored bytes, take plain bytes in `sink`. Fails past plain_max
 * ("too_large"), on a bad frame or window (KP_DAMAGED). window_log_max: 27 for our own, 23 for
 * foreign data. */
struct kp_unzst;
typedef int kp_unzst_sink(void *user, const void *data, size_t len, struct kp_err *err);
struct kp_unzst *kp_unzst_new(uint64_t plain_max, int window_log_max, kp_unzst_sink *sink,
                              void *user);
void kp_unzst_free(struct kp_unzst *stream);
KP_DEFINE_AUTO(kp_unzst);
KP_CHECK int kp_unzst_feed(struct kp_unzst *stream, const void *data, size_t len,
                           struct kp_err *err);
/* The end of the input: an unfinished frame is KP_DAMAGED "truncated". */
KP_CHECK int kp_unzst_finish(struct kp_unzst *stream, struct kp_err *err);
const char *kp_zst_version(void); /* "1.5.4" */
