/* SPDX-License-Identifier: Apache-2.0 */
/* Independent work on all cores: a parallel for over n items with a shared counter. */
#pragma once

#include "core/mem.h"

unsigned kp_cores(void); /* online CPUs that we may use, at least 1 */
/* Calls work(user, item, worker) for item 0 … n-1 from up to `threads` threads (0: all cores; 1:
 * the caller's own). The first error stops handing out items and is returned. work must not touch
 * shared state without a lock. worker: 0 … threads-1, for per-thread scratch. */
KP_CHECK int kp_parallel(unsigned threads, size_t n,
                         int (*work)(void *user, size_t item, unsigned worker, struct kp_err *err),
                         void *user, struct kp_err *err);
