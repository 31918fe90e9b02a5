/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/cache.h"

#include "core/file.h"
#include "pack/cache_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ABANDONED_SECONDS ((time_t)24 * 60 * 60)
#define MEMO_MAX ((size_t)KP_MEMO_KEY_MAX + 256)

struct kp_cache_new {
    struct kp_cache *cache;
    char *path;
    int fd;
    bool named;
};

static void remove_abandoned(const struct kp_cache *cache)
{
    kp_auto_free char *folder = kp_path_join(cache->path, "tmp");
    DIR *dir = opendir(folder);
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        struct stat st;
        if (entry->d_name[0] != '.' && fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 &&
            time(NULL) - st.st_mtime > ABANDONED_SECONDS)
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    }
    closedir(dir);
}

int kp_cache_open(struct kp_cache **out, const char *path, struct kp_err *err)
{
    static const char *const folders[] = {"sha256", "partial", "memo", "tmp"};
    kp_auto(kp_cache) cache = kp_alloc(sizeof(*cache));
    kp_auto_free char *xdg = path ? NULL : kp_xdg_dir("cache");
    cache->path = path ? kp_strdup(path) : kp_path_join(xdg, "kpack");
    for (size_t i = 0; i < KP_COUNT(folders); i++) {
        kp_auto_free char *folder = kp_path_join(cache->path, folders[i]);
        if (kp_mkdirs(folder, 0700, err) < 0)
            return kp_wrap(err, "cache");
    }
    remove_abandoned(cache);
    *out = kp_steal(&cache);
    return 0;
}

void kp_cache_free(struct kp_cache *cache)
{
    if (!cache)
        return;
    kp_free(cache->path);
    kp_free(cache);
}

const char *kp_cache_path(const struct kp_cache *cache)
{
    return cache->path;
}

char *kp_cache_blob_path(const struct kp_cache *cache, const struct kp_digest *digest)
{
    struct kp_digest_text text = kp_digest_hex(digest);
    return kp_asprintf("%s/sha256/%.2s/%s", cache->path, text.hex, text.hex);
}

int kp_cache_full(const struct kp_cache *cache, struct kp_err *err)
{
    if (err && err->reason && strcmp(err->reason, "disk_full") == 0)
        return kp_hint(err,
                       "free space on the file system of %s, or set XDG_CACHE_HOME to a larger "
                       "one; what was fetched is kept and continued",
                       cache->path);
    return -1;
}

bool kp_cache_has(const struct kp_cache *cache, const struct kp_digest *digest, uint64_t *size)
{
    kp_auto_free char *path = kp_cache_blob_path(cache, digest);
    struct stat st;
    if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode))
        return false;
    if (size)
        *size = (uint64_t)st.st_size;
    return true;
}

int kp_cache_fd(const struct kp_cache *cache, const struct kp_digest *digest, int *fd,
                struct kp_err *err)
{
    kp_auto_free char *path = kp_cache_blob_path(cache, digest);
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0 && errno == ENOENT)
        return kp_fail_as(err, KP_MISSING, "not_cached", "sha256:%s is not in the cache %s",
                          kp_digest_hex(digest).hex, cache->path);
    if (file < 0)
        return kp_fail_sys(err, errno, "open %s", path);
    *fd = file;
    return 0;
}

int kp_cache_read(const struct kp_cache *cache, const struct kp_digest *digest, size_t max,
                  char **out, size_t *len, struct kp_err *err)
{
    if (!kp_cache_has(cache, digest, NULL))
        return kp_fail_as(err, KP_MISSING, "not_cached", "sha256:%s is not in the cache %s",
                          kp_digest_hex(digest).hex, cache->path);
    kp_auto_free char *path = kp_cache_blob_path(cache, digest);
    kp_auto_free char *data = NULL;
    size_t size = 0;
    if (kp_file_read(path, max, &data, &size, err) < 0)
        return -1;
    struct kp_digest seen;
    kp_sha256(data, size, &seen);
    if (!kp_digest_equal(&seen, digest)) {
        (void)unlink(path);
        return kp_fail_as(err, KP_DAMAGED, "damaged",
                          "%s: the cached bytes have changed; removed, run again", path);
    }
    *out = kp_steal(&data);
    if (len)
        *len = size;
    return 0;
}

void kp_cache_drop(struct kp_cache *cache, const struct kp_digest *digest)
{
    kp_auto_free char *path = kp_cache_blob_path(cache, digest);
    (void)unlink(path);
}

int kp_cache_name(const struct kp_cache *cache, int fd, const char *from,
                  const struct kp_digest *digest, struct kp_err *err)
{
    kp_auto_free char *path = kp_cache_blob_path(cache, digest);
    kp_auto_free char *folder = kp_path_dir(path);
    if (kp_mkdirs(folder, 0700, err) < 0)
        return kp_cache_full(cache, err);
    if (fchmod(fd, 0444) < 0 || fsync(fd) < 0 || rename(from, path) < 0) {
        kp_fail_sys(err, errno, "store %s", path);
        return kp_cache_full(cache, err);
    }
    return kp_sync_parent(path, err);
}

int kp_cache_begin(struct kp_cache_new **out, struct kp_cache *cache, struct kp_err *err)
{
    kp_auto(kp_cache_new) blob = kp_alloc(sizeof(*blob));
    blob->cache = cache;
    blob->path = kp_asprintf("%s/tmp/XXXXXX", cache->path);
    blob->fd = mkostemp(blob->path, O_CLOEXEC);
    if (blob->fd < 0) {
        kp_fail_sys(err, errno, "create a file in %s/tmp", cache->path);
        return kp_cache_full(cache, err);
    }
    *out = kp_steal(&blob);
    return 0;
}

int kp_cache_new_fd(const struct kp_cache_new *blob)
{
    return blob->fd;
}

int kp_cache_commit(struct kp_cache_new *blob, const struct kp_digest *digest, struct kp_err *err)
{
    if (kp_cache_name(blob->cache, blob->fd, blob->path, digest, err) < 0)
        return -1;
    blob->named = true;
    return 0;
}

void kp_cache_new_free(struct kp_cache_new *blob)
{
    if (!blob)
        return;
    if (blob->fd >= 0) {
        close(blob->fd);
        if (!blob->named)
            (void)unlink(blob->path);
    }
    kp_free(blob->path);
    kp_free(blob);
}

int kp_cache_put(struct kp_cache *cache, struct kp_slice data, struct kp_digest *digest,
                 struct kp_err *err)
{
    struct kp_digest seen;
    kp_sha256(data.ptr, data.len, &seen);
    if (digest)
        *digest = seen;
    uint64_t size;
    if (kp_cache_has(cache, &seen, &size) && size == data.len)
        return 0;
    kp_auto(kp_cache_new) blob = NULL;
    if (kp_cache_begin(&blob, cache, err) < 0)
        return -1;
    if (kp_write_full(blob->fd, data.ptr, data.len, err) < 0) {
        kp_wrap(err, "%s", blob->path);
        return kp_cache_full(cache, err);
    }
    return kp_cache_commit(blob, &seen, err);
}

static char *memo_path(const struct kp_cache *cache, const char *key)
{
    struct kp_digest digest;
    kp_sha256(key, strlen(key), &digest);
    return kp_asprintf("%s/memo/%s", cache->path, kp_digest_hex(&digest).hex);
}

/* "KEY\nDIGEST SIZE\n", so that a torn or foreign file is never taken. */
static bool parse_memo(struct kp_slice text, const char *key, struct kp_memo *out)
{
    struct kp_slice line, hex;
    return kp_slice_line(&text, &line) && kp_slice_equal(line, key) &&
           kp_slice_line(&text, &line) && kp_slice_cut(&line, ' ', &hex) &&
           kp_digest_parse(hex, &out->digest) && kp_parse_u64(line, UINT64_MAX, &out->size) &&
           text.len == 0;
}

bool kp_cache_memo(const struct kp_cache *cache, const char *key, struct kp_memo *out)
{
    kp_auto_free char *path = memo_path(cache, key);
    kp_auto_free char *text = NULL;
    size_t len;
    struct kp_memo memo;
    uint64_t size;
    if (kp_file_read(path, MEMO_MAX, &text, &len, NULL) < 0 ||
        !parse_memo((struct kp_slice){text, len}, key, &memo) ||
        !kp_cache_has(cache, &memo.digest, &size) || size != memo.size)
        return false;
    *out = memo;
    return true;
}

int kp_cache_note(struct kp_cache *cache, const char *key, const struct kp_memo *memo,
                  struct kp_err *err)
{
    if (strlen(key) > KP_MEMO_KEY_MAX || strpbrk(key, "\r\n"))
        return kp_fail(err, KP_FAILED, "a note's key is too long or has line ends");
    kp_auto_free char *path = memo_path(cache, key);
    kp_auto_free char *text = kp_asprintf("%s\n%s %llu\n", key, kp_digest_hex(&memo->digest).hex,
                                          (unsigned long long)memo->size);
    if (kp_file_write_atomic(path, kp_slice_of(text), 0600, err) < 0)
        return kp_cache_full(cache, err);
    return 0;
}
