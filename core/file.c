/* SPDX-License-Identifier: Apache-2.0 */
#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HOLDER_MAX 256
#define REMOVE_FDS 32

static int read_all(int fd, const char *path, size_t max, char **out, size_t *len,
                    struct kp_err *err)
{
    kp_auto_value(kp_buf) buf = KP_BUF(max);
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 && (size_t)st.st_size <= max)
        kp_buf_reserve(&buf, (size_t)st.st_size);
    for (;;) {
        char block[16384];
        ssize_t n = read(fd, block, sizeof(block));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kp_fail_sys(err, errno, "read %s", path);
        if (n == 0)
            break;
        if (!kp_buf_add(&buf, block, (size_t)n))
            return kp_fail_as(err, KP_FAILED, "too_large", "%s: larger than %zu bytes", path, max);
    }
    if (len)
        *len = buf.len;
    *out = kp_buf_steal(&buf);
    return 0;
}

int kp_file_read_at(int dir, const char *path, size_t max, char **out, size_t *len,
                    struct kp_err *err)
{
    kp_auto_fd int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return kp_fail_sys(err, errno, "open %s", path);
    return read_all(fd, path, max, out, len, err);
}

int kp_file_read(const char *path, size_t max, char **out, size_t *len, struct kp_err *err)
{
    return kp_file_read_at(AT_FDCWD, path, max, out, len, err);
}

int kp_pread_full(int fd, void *out, size_t len, uint64_t offset, struct kp_err *err)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(fd, (char *)out + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kp_fail_sys(err, errno, "read at %llu", (unsigned long long)offset + done);
        if (n == 0)
            return kp_fail_as(err, KP_DAMAGED, "truncated", "file ends at byte %llu",
                              (unsigned long long)offset + done);
        done += (size_t)n;
    }
    return 0;
}

int kp_pwrite_full(int fd, const void *data, size_t len, uint64_t offset, struct kp_err *err)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = pwrite(fd, (const char *)data + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kp_fail_sys(err, errno, "write at %llu", (unsigned long long)offset + done);
        done += (size_t)n;
    }
    return 0;
}

int kp_write_full(int fd, const void *data, size_t len, struct kp_err *err)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = write(fd, (const char *)data + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kp_fail_sys(err, errno, "write");
        done += (size_t)n;
    }
    return 0;
}

static int write_temporary(const char *temp, struct kp_slice data, mode_t mode, struct kp_err *err)
{
    kp_auto_fd int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return kp_fail_sys(err, errno, "create %s", temp);
    if (kp_write_full(fd, data.ptr, data.len, err) < 0)
        return kp_wrap(err, "%s", temp);
    if (fchmod(fd, mode) < 0 || fsync(fd) < 0)
        return kp_fail_sys(err, errno, "write %s", temp);
    return 0;
}

int kp_file_write_atomic(const char *path, struct kp_slice data, mode_t mode, struct kp_err *err)
{
    kp_auto_free char *temp = kp_asprintf("%s.tmp.%d", path, (int)gettid());
    (void)unlink(temp);
    if (write_temporary(temp, data, mode, err) < 0 ||
        (rename(temp, path) < 0 && kp_fail_sys(err, errno, "rename %s", temp) < 0)) {
        (void)unlink(temp);
        return -1;
    }
    return kp_sync_parent(path, err);
}

int kp_mkdirs(const char *path, mode_t mode, struct kp_err *err)
{
    kp_auto_free char *copy = kp_strdup(path);
    for (char *p = copy + 1; *copy; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char end = *p;
        *p = '\0';
        if (mkdir(copy, mode) < 0 && errno != EEXIST)
            return kp_fail_sys(err, errno, "make folder %s", copy);
        if (!end)
            break;
        *p = '/';
    }
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    if (remove(path) == 0 || errno == ENOENT)
        return 0;
    // Something is mounted there: what was in it is gone.
    return errno == EBUSY && ftw->level == 0 ? 0 : errno;
}

int kp_remove_tree(const char *path, struct kp_err *err)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : kp_fail_sys(err, errno, "remove %s", path);
    int failed = nftw(path, remove_entry, REMOVE_FDS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    if (failed)
        return kp_fail_sys(err, failed > 0 ? failed : errno, "remove %s", path);
    return 0;
}

int kp_open_beneath(int dir, const char *path, int flags, mode_t mode)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
        .mode = flags & O_CREAT ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
    };
    return (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

int kp_sync_parent(const char *path, struct kp_err *err)
{
    kp_auto_free char *folder = kp_path_dir(path);
    kp_auto_fd int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return kp_fail_sys(err, errno, "sync folder %s", folder);
    return 0;
}

int kp_file_lock(const char *path, int *fd, bool *held, char **holder, struct kp_err *err)
{
    kp_auto_fd int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0)
        return kp_fail_sys(err, errno, "open %s", path);
    *held = false;
    if (flock(file, LOCK_EX | LOCK_NB) == 0) {
        *fd = kp_steal_fd(&file);
        return 0;
    }
    if (errno != EWOULDBLOCK)
        return kp_fail_sys(err, errno, "lock %s", path);
    *held = true;
    char line[HOLDER_MAX] = "";
    ssize_t n = pread(file, line, sizeof(line) - 1, 0);
    line[n > 0 ? n : 0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    if (holder)
        *holder = kp_strdup(line);
    return 0;
}

bool kp_file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

char *kp_path_join(const char *folder, const char *name)
{
    return kp_asprintf("%s%s%s", folder, kp_ends_with(folder, "/") ? "" : "/", name);
}

const char *kp_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *kp_path_dir(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return kp_strdup(".");
    return slash == path ? kp_strdup("/") : kp_strndup(path, (size_t)(slash - path));
}

char *kp_xdg_dir(const char *kind)
{
    static const struct {
        const char *kind, *variable, *fallback;
    } table[] = {
        {"config", "XDG_CONFIG_HOME", ".config"},
        {"cache", "XDG_CACHE_HOME", ".cache"},
        {"data", "XDG_DATA_HOME", ".local/share"},
        {"state", "XDG_STATE_HOME", ".local/state"},
    };
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        if (strcmp(kind, table[i].kind) != 0)
            continue;
        const char *set = getenv(table[i].variable);
        if (set && set[0] == '/')
            return kp_strdup(set);
        const char *home = getenv("HOME");
        return kp_path_join(home && home[0] == '/' ? home : "/root", table[i].fallback);
    }
    return NULL;
}

char *kp_path_expand(const char *path)
{
    const char *home = getenv("HOME");
    if (!kp_starts_with(path, "~/") || !home)
        return kp_strdup(path);
    return kp_path_join(home, path + 2);
}

int kp_disk_free(const char *path, uint64_t *out, struct kp_err *err)
{
    struct statvfs vfs;
    if (statvfs(path, &vfs) < 0)
        return kp_fail_sys(err, errno, "free space of %s", path);
    *out = (uint64_t)vfs.f_bavail * vfs.f_frsize;
    return 0;
}
