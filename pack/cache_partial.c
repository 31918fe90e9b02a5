/* SPDX-License-Identifier: Apache-2.0 */
#include "core/file.h"
#include "pack/cache_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define INFO_MAX 1024
#define OPEN_TRIES 100

static char *partial_path(const struct kp_cache *cache, const char *key, const char *suffix)
{
    return kp_asprintf("%s/partial/%s%s", cache->path, key, suffix);
}

static bool copy_line(struct kp_slice *text, char *out, size_t size)
{
    struct kp_slice line;
    if (!kp_slice_line(text, &line) || line.len >= size)
        return false;
    memcpy(out, line.ptr, line.len);
    out[line.len] = '\0';
    return true;
}

/* Three lines: total, ETag, Last-Modified. Anything else is as if there were none. */
static void load_info(struct kp_partial *partial)
{
    kp_auto_free char *path = partial_path(partial->cache, partial->key, ".info");
    kp_auto_free char *data = NULL;
    size_t len;
    if (kp_file_read(path, INFO_MAX, &data, &len, NULL) < 0)
        return;
    struct kp_slice text = {data, len}, line;
    if (kp_slice_line(&text, &line) && kp_parse_u64(line, UINT64_MAX, &partial->total) &&
        copy_line(&text, partial->etag, sizeof(partial->etag)) &&
        copy_line(&text, partial->modified, sizeof(partial->modified)) && text.len == 0)
        return;
    partial->total = 0;
    partial->etag[0] = partial->modified[0] = '\0';
}

int kp_partial_save_info(const struct kp_partial *partial, struct kp_err *err)
{
    kp_auto_free char *path = partial_path(partial->cache, partial->key, ".info");
    kp_auto_free char *text = kp_asprintf("%llu\n%s\n%s\n", (unsigned long long)partial->total,
                                          partial->etag, partial->modified);
    if (kp_file_write_atomic(path, kp_slice_of(text), 0600, err) < 0)
        return kp_cache_full(partial->cache, err);
    return 0;
}

/* The lock is on the file, not on its name: between open and flock the holder may have named the
 * file as a finished blob, or removed it. */
static bool still_named(int fd, const char *path)
{
    struct stat ours, there;
    return fstat(fd, &ours) == 0 && lstat(path, &there) == 0 && ours.st_ino == there.st_ino &&
           ours.st_dev == there.st_dev;
}

/* *fd stays -1 where another process has it. */
static int open_locked(const char *path, int *fd, struct kp_err *err)
{
    for (int i = 0; i < OPEN_TRIES; i++) {
        kp_auto_fd int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (file < 0)
            return kp_fail_sys(err, errno, "open %s", path);
        if (flock(file, LOCK_EX | LOCK_NB) < 0)
            return errno == EWOULDBLOCK ? 0 : kp_fail_sys(err, errno, "lock %s", path);
        if (still_named(file, path)) {
            *fd = kp_steal_fd(&file);
            return 0;
        }
    }
    return kp_fail(err, KP_FAILED, "%s: changes hands again and again", path);
}

int kp_partial_open(struct kp_partial **out, struct kp_cache *cache, const char *key,
                    struct kp_err *err)
{
    kp_auto(kp_partial) partial = kp_alloc(sizeof(*partial));
    partial->cache = cache;
    partial->fd = -1;
    snprintf(partial->key, sizeof(partial->key), "%s", key);
    kp_auto_free char *path = partial_path(cache, key, "");
    *out = NULL;
    if (open_locked(path, &partial->fd, err) < 0)
        return kp_cache_full(cache, err);
    if (partial->fd < 0)
        return 0;
    struct stat st;
    if (fstat(partial->fd, &st) < 0)
        return kp_fail_sys(err, errno, "read %s", path);
    partial->size = (uint64_t)st.st_size;
    if (partial->size)
        load_info(partial);
    *out = kp_steal(&partial);
    return 0;
}

int kp_partial_reset(struct kp_partial *partial, struct kp_err *err)
{
    kp_auto_free char *info = partial_path(partial->cache, partial->key, ".info");
    if (ftruncate(partial->fd, 0) < 0)
        return kp_fail_sys(err, errno, "truncate %s/partial/%s", partial->cache->path,
                           partial->key);
    (void)unlink(info);
    partial->size = partial->total = 0;
    partial->etag[0] = partial->modified[0] = '\0';
    return 0;
}

int kp_partial_commit(struct kp_partial *partial, const struct kp_digest *digest,
                      struct kp_err *err)
{
    kp_auto_free char *path = partial_path(partial->cache, partial->key, "");
    kp_auto_free char *info = partial_path(partial->cache, partial->key, ".info");
    if (kp_cache_name(partial->cache, partial->fd, path, digest, err) < 0)
        return -1;
    (void)unlink(info);
    return 0;
}

void kp_partial_discard(struct kp_partial *partial)
{
    kp_auto_free char *path = partial_path(partial->cache, partial->key, "");
    kp_auto_free char *info = partial_path(partial->cache, partial->key, ".info");
    (void)unlink(info);
    (void)unlink(path);
}

void kp_partial_free(struct kp_partial *partial)
{
    if (!partial)
        return;
    if (partial->fd >= 0)
        close(partial->fd);
    kp_free(partial);
}
