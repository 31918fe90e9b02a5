/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/medium_internal.h"
#include "core/file.h"
#include "core/text.h"

#include <errno.h>
#include <unistd.h>

#define PARTS_MAX 128 /* of one preadv */

/* The error of reading len bytes at `at` of that file. */
static int unreadable(const struct kp_piece *p, int sys, uint64_t at, size_t len,
                      struct kp_err *err)
{
    kp_fail_sys(err, sys, "%s: bytes %s – %s cannot be read", p->path, kp_text_grouped(at).s,
                kp_text_grouped(at + len - 1).s);
    return kp_hint(err, "if the medium was pulled out put it back and run the same command again; "
                        "if not it is failing: use another copy");
}

static int ends_early(const struct kp_piece *p, uint64_t at, struct kp_err *err)
{
    if (at >= p->size)
        return kp_fail_as(err, KP_DAMAGED, "truncated", "%s: file ends at byte %llu", p->path,
                          (unsigned long long)p->size);
    return kp_fail_as(err, KP_DAMAGED, "changed",
                      "%s: ends at byte %s now, it had %s bytes when it was opened", p->path,
                      kp_text_grouped(at).s, kp_text_grouped(p->size).s);
}

static int read_piece(const struct kp_piece *p, char *out, size_t len, uint64_t at,
                      struct kp_err *err)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(p->fd, out + done, len - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return unreadable(p, errno, at + done, len - done, err);
        if (n == 0)
            return ends_early(p, at + done, err);
        done += (size_t)n;
    }
    return 0;
}

static int read_pieces(const struct kp_pieces *p, char *out, size_t len, uint64_t offset,
                       struct kp_err *err)
{
    for (size_t i = kp_piece_at(p, offset), n; len; i++, out += n, offset += n, len -= n) {
        if (i >= p->count)
            return ends_early(&p->items[p->count - 1], p->size, err);
        const struct kp_piece *item = &p->items[i];
        uint64_t left = item->start + item->size - offset;
        bool last = i + 1 == p->count; // there the read itself tells where it ends
        n = last || len < left ? len : (size_t)left;
        if (n && read_piece(item, out, n, offset - item->start, err) < 0)
            return -1;
    }
    return 0;
}

int kp_medium_read(const struct kp_medium *m, void *out, size_t len, uint64_t offset,
                   struct kp_err *err)
{
    kp_medium_lock(m);
    int result = read_pieces(&m->now, out, len, offset, err);
    kp_medium_unlock(m);
    return result;
}

static int readv_pieces(const struct kp_pieces *p, struct iovec *parts, int count, uint64_t offset,
                        struct kp_err *err)
{
    const struct kp_piece *item = &p->items[kp_piece_at(p, offset)];
    size_t wanted = 0;
    for (int i = 0; i < count; i++)
        wanted += parts[i].iov_len;
    if (offset + wanted <= item->start + item->size && count <= PARTS_MAX &&
        preadv(item->fd, parts, count, (off_t)(offset - item->start)) == (ssize_t)wanted)
        return 0;
    for (int i = 0; i < count; offset += parts[i].iov_len, i++) // what was short part by part
        if (read_pieces(p, parts[i].iov_base, parts[i].iov_len, offset, err) < 0)
            return -1;
    return 0;
}

int kp_medium_readv(const struct kp_medium *m, struct iovec *parts, int count, uint64_t offset,
                    struct kp_err *err)
{
    kp_medium_lock(m);
    int result = readv_pieces(&m->now, parts, count, offset, err);
    kp_medium_unlock(m);
    return result;
}

int kp_medium_write(struct kp_medium *m, const void *data, size_t len, uint64_t offset,
                    struct kp_err *err)
{
    const struct kp_pieces *p = &m->now;
    const char *from = data;
    for (size_t i = kp_piece_at(p, offset), n; len; i++, from += n, offset += n, len -= n) {
        const struct kp_piece *item = &p->items[i];
        uint64_t left = item->start + item->size - offset;
        if (i >= p->count || (i + 1 == p->count && len > left))
            return kp_fail(err, KP_FAILED, "%s: write beyond its end", m->path);
        n = len < left ? len : (size_t)left;
        if (n && kp_pwrite_full(item->fd, from, n, offset - item->start, err) < 0)
            return kp_wrap(err, "%s", item->path);
    }
    return 0;
}

int kp_medium_resize(struct kp_medium *m, uint64_t size, struct kp_err *err)
{
    struct kp_piece *last = &m->now.items[m->now.count - 1];
    if (size < last->start)
        return kp_fail(err, KP_FAILED, "%s: is wholly beyond the end of the bundle; remove it",
                       last->path);
    if (ftruncate(last->fd, (off_t)(size - last->start)) < 0)
        return kp_fail_sys(err, errno, "%s: set its size", last->path);
    last->size = size - last->start;
    m->now.size = size;
    return 0;
}

int kp_medium_sync(struct kp_medium *m, struct kp_err *err)
{
    for (size_t i = 0; i < m->now.count; i++)
        if (fsync(m->now.items[i].fd) < 0)
            return kp_fail_sys(err, errno, "write %s", m->now.items[i].path);
    return 0;
}
