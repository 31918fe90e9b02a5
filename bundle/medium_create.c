/* SPDX-License-Identifier: Apache-2.0 */
/* New files, one or slices: they have .partial after their names until all of them are durable. */
#include "bundle/medium_internal.h"
#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#define PARTIAL ".partial"

/* Whether the name still means the file that we have open and locked. */
static bool is_ours(int fd, const char *path)
{
    struct stat ours, named;
    return fstat(fd, &ours) == 0 && lstat(path, &named) == 0 && ours.st_ino == named.st_ino &&
           ours.st_dev == named.st_dev && S_ISREG(ours.st_mode);
}

void kp_medium_discard(struct kp_medium *m)
{
    for (size_t i = 0; m->writing && i < m->now.count; i++)
        if (m->now.items[i].fd >= 0 && is_ours(m->now.items[i].fd, m->now.items[i].path))
            (void)unlink(m->now.items[i].path);
}

/* Reserving says at once where the disk is too small; some file systems cannot. */
static int reserve(const struct kp_piece *p, struct kp_err *err)
{
    if (!p->size || fallocate(p->fd, 0, 0, (off_t)p->size) == 0 || errno == EOPNOTSUPP ||
        errno == ENOSYS)
        return 0;
    int sys = errno;
    kp_fail_sys(err, sys, "write %s (%llu bytes)", p->path, (unsigned long long)p->size);
    if (sys == EFBIG)
        kp_hint(err,
                "this file system does not take a file of that size; write slices: --split fat32");
    return -1;
}

static int create_piece(struct kp_piece *p, struct kp_err *err)
{
    uint64_t size = p->size;
    if (kp_piece_open(p, O_RDWR | O_CREAT | O_NOFOLLOW, 0644, err) < 0)
        return kp_wrap(err, "create %s", p->path);
    p->size = size;
    if (flock(p->fd, LOCK_EX | LOCK_NB) < 0 || !is_ours(p->fd, p->path)) {
        close(p->fd);
        p->fd = -1; // it is not ours to remove
        return kp_fail(err, KP_FAILED, "%s: somebody else is writing it", p->path);
    }
    if (ftruncate(p->fd, 0) < 0)
        return kp_fail_sys(err, errno, "write %s", p->path);
    return reserve(p, err);
}

int kp_medium_create(struct kp_medium **out, const char *path, const uint64_t *sizes, size_t count,
                     struct kp_err *err)
{
    kp_auto(kp_medium) m = kp_medium_new(path, O_RDWR);
    m->writing = true;
    m->now.items = kp_alloc_array(count, sizeof(*m->now.items));
    m->now.digits = kp_slice_digits(count);
    m->now.stem = count > 1 ? kp_strdup(path) : NULL;
    for (size_t i = 0; i < count; i++) {
        struct kp_piece *p = &m->now.items[i];
        p->path = count > 1 ? kp_asprintf("%s.%0*zu" PARTIAL, path, (int)m->now.digits, i + 1)
                            : kp_asprintf("%s" PARTIAL, path);
        p->fd = -1;
        p->start = m->now.size;
        p->size = sizes[i];
        m->now.count++;
        m->now.size += sizes[i];
        if (create_piece(p, err) < 0)
            return -1;
    }
    *out = kp_steal(&m);
    return 0;
}

int kp_medium_commit(struct kp_medium *m, struct kp_err *err)
{
    if (kp_medium_sync(m, err) < 0)
        return -1;
    for (size_t i = m->now.count; i-- > 0;) {
        struct kp_piece *p = &m->now.items[i];
        char *name = kp_strndup(p->path, strlen(p->path) - (sizeof(PARTIAL) - 1));
        int result = rename(p->path, name);
        int sys = errno;
        kp_free(result < 0 ? name : p->path);
        if (result < 0)
            return kp_fail_sys(err, sys, "rename %s", p->path);
        p->path = name;
    }
    m->writing = false;
    kp_medium_accept(m);
    return kp_sync_parent(m->path, err);
}
