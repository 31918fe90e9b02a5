/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/compress.h"

#include "core/pool.h"
#include "core/zst.h"

#include <unistd.h>

#define LARGE ((uint64_t)16 << 20)
#define WORKERS_MAX 4U

/* The bytes do not depend on it; a large file at the end must not keep one core busy alone. */
static unsigned workers_for(uint64_t size)
{
    unsigned cores = kp_cores();
    return size < LARGE ? 1 : cores < WORKERS_MAX ? cores : WORKERS_MAX;
}

static int fail_version(const struct kp_compression *how, struct kp_err *err)
{
    kp_fail_as(err, KP_FAILED, "zstd_version",
               "the lock was made with libzstd %s, here is %s: its bytes would differ",
               how->version, kp_zst_version());
    return kp_hint(err, "use libzstd %s, the cache in which it was made, or make a new lock",
                   how->version);
}

int kp_compress(struct kp_cache *cache, const struct kp_compression *how, int fd,
                const struct kp_digest *plain, uint64_t size, struct kp_memo *out,
                struct kp_err *err)
{
    struct kp_digest seen;
    kp_auto_free char *key = kp_asprintf("zst %s level %d jobs 2M of %s", how->version, how->level,
                                         kp_digest_hex(plain).hex);
    if (kp_cache_memo(cache, key, out))
        return 0;
    if (strcmp(how->version, kp_zst_version()) != 0)
        return fail_version(how, err);
    kp_auto(kp_cache_new) packed = NULL;
    if (lseek(fd, 0, SEEK_SET) < 0)
        return kp_fail(err, KP_FAILED, "seek: %m");
    if (kp_cache_begin(&packed, cache, err) < 0 ||
        kp_zst_compress_fd(fd, size, kp_cache_new_fd(packed), how->level, workers_for(size), &seen,
                           &out->digest, &out->size, err) < 0)
        return -1;
    if (!kp_digest_equal(&seen, plain))
        return kp_fail_as(err, KP_DAMAGED, "damaged_cache", "%s in the cache is damaged",
                          kp_digest_hex(plain).hex);
    if (kp_cache_commit(packed, &out->digest, err) < 0)
        return -1;
    return kp_cache_note(cache, key, out, err);
}

int kp_compress_blob(struct kp_cache *cache, const struct kp_compression *how,
                     const struct kp_digest *plain, struct kp_memo *out, struct kp_err *err)
{
    kp_auto_fd int fd = -1;
    uint64_t size = 0;
    struct kp_err first = KP_ERR_INIT;
    if (kp_cache_fd(cache, plain, &fd, err) < 0)
        return -1;
    kp_cache_has(cache, plain, &size);
    if (kp_compress(cache, how, fd, plain, size, out, &first) == 0)
        return 0;
    if (first.code == KP_DAMAGED) {
        kp_cache_drop(cache, plain);
        kp_hint(&first, "it was removed; run the same command again");
    }
    if (err)
        *err = first;
    return -1;
}
