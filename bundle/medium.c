/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/medium_internal.h"

#include "core/file.h"
#include "core/text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

void kp_pieces_release(struct kp_pieces *p)
{
    for (size_t i = 0; i < p->count; i++) {
        if (p->items[i].fd >= 0)
            close(p->items[i].fd);
        kp_free(p->items[i].path);
    }
    for (size_t i = 0; i < p->absent_count; i++)
        kp_free(p->absent[i]);
    kp_free(p->items);
    kp_free(p->absent);
    kp_free(p->stem);
    *p = (struct kp_pieces){0};
}

static struct kp_stamp stamp_of(const struct stat *st)
{
    return (struct kp_stamp){st->st_dev, st->st_ino, st->st_size, st->st_mtim, st->st_ctim};
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool same_stamp(const struct kp_stamp *a, const struct kp_stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           same_time(a->modified, b->modified) && same_time(a->changed, b->changed);
}

static bool tells_changes(int fd)
{
    static const unsigned long native[] = {
        EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC,       BTRFS_SUPER_MAGIC, TMPFS_MAGIC,
        F2FS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, RAMFS_MAGIC};
    struct statfs fs;
    if (fstatfs(fd, &fs) < 0)
        return false;
    for (size_t i = 0; i < KP_COUNT(native); i++)
        if ((unsigned long)fs.f_type == native[i])
            return true;
    return false;
}

int kp_piece_open(struct kp_piece *p, int flags, mode_t mode, struct kp_err *err)
{
    struct stat st;
    p->fd = open(p->path, flags | O_CLOEXEC | O_NONBLOCK, mode);
    if (p->fd < 0)
        return errno == ENOENT ? kp_fail_as(err, KP_MISSING, "no_file", "no such file")
                               : kp_fail_sys(err, errno, "open");
    if (fstat(p->fd, &st) < 0)
        return kp_fail_sys(err, errno, "open");
    if (!S_ISREG(st.st_mode))
        return kp_fail(err, KP_USAGE, "not a regular file");
    p->size = (uint64_t)st.st_size;
    p->stamp = stamp_of(&st);
    p->tells_changes = tells_changes(p->fd);
    return 0;
}

static void note_absent(struct kp_pieces *out, const struct kp_found *found, size_t i)
{
    out->absent = kp_realloc_array(out->absent, out->absent_count + 1, sizeof(*out->absent));
    out->absent[out->absent_count++] =
        kp_asprintf("%s.%0*zu", found->stem, (int)found->digits, i + 1);
}

static int open_found(struct kp_pieces *out, struct kp_found *found, int flags, struct kp_err *err)
{
    out->items = kp_alloc_array(found->count + 1, sizeof(*out->items));
    out->stem = kp_steal(&found->stem);
    found->stem = kp_strdup(out->stem);
    out->digits = found->digits;
    for (size_t i = 0; i < found->count; i++) {
        struct kp_piece *p = &out->items[out->count];
        if (!found->paths[i])
            note_absent(out, found, i);
        if (!found->paths[i] || out->absent_count) { // its place is not known
            out->extra += found->paths[i] && found->beside && !found->beside[i];
            continue;
        }
        *p = (struct kp_piece){.path = kp_steal(&found->paths[i]), .fd = -1, .start = out->size};
        p->beside = found->beside && found->beside[i];
        out->count++;
        if (kp_piece_open(p, flags, 0, err) < 0)
            return out->stem ? kp_wrap(err, "%s", p->path) : -1;
        out->size += p->size;
    }
    return 0;
}

static int open_pieces(const struct kp_medium *m, struct kp_pieces *out, struct kp_err *err)
{
    kp_auto_value(kp_found) found = {0};
    kp_auto_value(kp_pieces) opened = {0};
    if (m->single) {
        found = (struct kp_found){.count = 1, .paths = kp_alloc(sizeof(char *))};
        found.paths[0] = kp_strdup(m->path);
    } else if (kp_medium_find(&found, m->path, err) < 0) {
        return -1;
    }
    if (open_found(&opened, &found, m->flags, err) < 0)
        return -1;
    *out = opened;
    opened = (struct kp_pieces){0};
    return 0;
}

struct kp_medium *kp_medium_new(const char *path, int flags)
{
    struct kp_medium *m = kp_alloc(sizeof(*m));
    m->path = kp_strdup(path);
    m->flags = flags;
    pthread_rwlock_init(&m->lock, NULL);
    return m;
}

static int open_medium(struct kp_medium **out, const char *path, int flags, bool single,
                       struct kp_err *err)
{
    kp_auto(kp_medium) m = kp_medium_new(path, flags);
    m->single = single;
    if (open_pieces(m, &m->now, err) < 0)
        return -1;
    *out = kp_steal(&m);
    return 0;
}

int kp_medium_open(struct kp_medium **out, const char *path, int flags, struct kp_err *err)
{
    return open_medium(out, path, flags, false, err);
}

int kp_medium_open_file(struct kp_medium **out, const char *path, int flags, struct kp_err *err)
{
    return open_medium(out, path, flags, true, err);
}

void kp_medium_free(struct kp_medium *m)
{
    if (!m)
        return;
    kp_medium_discard(m);
    kp_pieces_release(&m->now);
    pthread_rwlock_destroy(&m->lock);
    kp_free(m->path);
    kp_free(m);
}

/* --- what it is --- */

const char *kp_medium_path(const struct kp_medium *m)
{
    return m->path;
}

uint64_t kp_medium_size(const struct kp_medium *m)
{
    return m->now.size;
}

size_t kp_medium_count(const struct kp_medium *m)
{
    return m->now.count;
}

bool kp_medium_sliced(const struct kp_medium *m)
{
    return m->now.stem != NULL;
}

const char *kp_medium_file(const struct kp_medium *m, size_t i, uint64_t *start, uint64_t *size)
{
    const struct kp_piece *p = &m->now.items[i];
    if (start)
        *start = p->start;
    if (size)
        *size = p->size;
    return p->path;
}

size_t kp_piece_at(const struct kp_pieces *p, uint64_t offset)
{
    size_t low = 0, high = p->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (p->items[middle].start <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

size_t kp_medium_file_at(const struct kp_medium *m, uint64_t offset)
{
    return kp_piece_at(&m->now, offset);
}

static char *range_text(const struct kp_pieces *p, uint64_t first, uint64_t last)
{
    size_t from = kp_piece_at(p, first), to = kp_piece_at(p, last);
    const struct kp_piece *a = &p->items[from], *b = &p->items[to];
    if (!p->stem)
        return kp_asprintf("bytes %s – %s of the file", kp_text_grouped(first).s,
                           kp_text_grouped(last).s);
    if (from == to)
        return kp_asprintf("bytes %s – %s of %s", kp_text_grouped(first - a->start).s,
                           kp_text_grouped(last - a->start).s, a->path);
    return kp_asprintf("byte %s of %s – byte %s of %s", kp_text_grouped(first - a->start).s,
                       a->path, kp_text_grouped(last - b->start).s, b->path);
}

char *kp_medium_range_text(const struct kp_medium *m, uint64_t first, uint64_t last)
{
    return range_text(&m->now, first, last);
}

/* --- changes --- */

static int check_piece(const struct kp_piece *p, struct kp_err *err)
{
    struct stat st;
    if (fstat(p->fd, &st) < 0)
        return kp_fail_sys(err, errno, "%s: stat", p->path);
    struct kp_stamp now = stamp_of(&st);
    if (!same_stamp(&now, &p->stamp))
        return kp_fail_as(err, KP_DAMAGED, "changed", "%s: the file changed while it was read",
                          p->path);
    if (stat(p->path, &st) < 0 && errno != ENOENT)
        return kp_fail_sys(err, errno, "%s: stat", p->path);
    now = stamp_of(&st);
    if (now.inode != p->stamp.inode || now.device != p->stamp.device)
        return kp_fail_as(err, KP_DAMAGED, "changed",
                          "%s: was replaced by another file while it was read", p->path);
    return 0;
}

int kp_medium_unchanged(const struct kp_medium *m, struct kp_err *err)
{
    int result = 0;
    kp_medium_lock(m);
    for (size_t i = 0; result == 0 && i < m->now.count; i++)
        result = check_piece(&m->now.items[i], err);
    kp_medium_unlock(m);
    return result;
}

void kp_medium_accept(struct kp_medium *m)
{
    struct stat st;
    for (size_t i = 0; i < m->now.count; i++)
        if (fstat(m->now.items[i].fd, &st) == 0)
            m->now.items[i].stamp = stamp_of(&st);
}

bool kp_medium_tells_changes(const struct kp_medium *m)
{
    bool all = true;
    kp_medium_lock(m);
    for (size_t i = 0; i < m->now.count; i++)
        all = all && m->now.items[i].tells_changes;
    kp_medium_unlock(m);
    return all;
}

int kp_medium_reopen(struct kp_medium *m,
                     int (*check)(void *user, const struct kp_medium *fresh, struct kp_err *err),
                     void *user, struct kp_err *err)
{
    kp_auto(kp_medium) fresh = NULL;
    if (open_medium(&fresh, m->path, m->flags, m->single, err) < 0 ||
        (check && check(user, fresh, err) < 0))
        return -1;
    pthread_rwlock_wrlock(&m->lock);
    struct kp_pieces old = m->now;
    m->now = fresh->now;
    fresh->now = old; // closed with it
    pthread_rwlock_unlock(&m->lock);
    return 0;
}

/* --- the size of the whole --- */

static const char *slice_base(const struct kp_pieces *p, char *out, size_t len, size_t number)
{
    snprintf(out, len, "%s.%0*zu", kp_path_base(p->stem), (int)p->digits, number);
    return out;
}

/* By the size of the second the number of all: 001 has the front, all but the last are as large. */
static size_t count_needed(const struct kp_pieces *p, uint64_t size)
{
    if (p->count < 2 || !p->items[1].size || size < p->items[1].start)
        return 0;
    return 1 + (size_t)((size - p->items[1].start + p->items[1].size - 1) / p->items[1].size);
}

static int missing_slices(const struct kp_pieces *p, uint64_t size, struct kp_err *err)
{
    kp_auto_value(kp_buf) names = KP_BUF(KP_ERR_MESSAGE_MAX / 2);
    char name[NAME_MAX + 1];
    size_t needed = count_needed(p, size), highest = p->count + p->absent_count + p->extra, n = 0;
    for (size_t i = 0; i < p->absent_count && (!needed || p->count + i < needed); i++, n++)
        kp_buf_addf(&names, "%s%s", n ? ", " : "", kp_path_base(p->absent[i]));
    for (size_t i = highest + 1; i <= needed && n < 16; i++, n++)
        kp_buf_addf(&names, "%s%s", n ? ", " : "", slice_base(p, name, sizeof(name), i));
    if (!n)
        kp_buf_addf(&names, "%s", slice_base(p, name, sizeof(name), highest + 1));
    kp_fail_as(err, KP_MISSING, "missing_slice", "%s%s missing (%s of %s bytes are there)",
               kp_buf_slice(&names).ptr, n > 1 ? " are" : " is", kp_text_grouped(p->size).s,
               kp_text_grouped(size).s);
    return kp_hint(err, "put it beside %s, or in a folder beside that one's", p->items[0].path);
}

/* The slice whose size is not that of most others; where none stands out the last. */
static size_t odd_slice(const struct kp_pieces *p)
{
    size_t last = p->count - 1;
    for (size_t i = 1; i < last; i++) {
        size_t same = 0;
        for (size_t k = 1; k < last; k++)
            same += p->items[k].size == p->items[i].size;
        if (2 * same < last - 1)
            return i;
    }
    return last;
}

static int wrong_size(const struct kp_pieces *p, uint64_t size, struct kp_err *err)
{
    bool more = p->size > size;
    uint64_t off = more ? p->size - size : size - p->size;
    if (more && p->stem && p->count > 1 && p->items[p->count - 1].start >= size)
        return kp_fail_as(err, KP_DAMAGED, "trailing_data",
                          "%s does not belong to it: the bundle ends before",
                          p->items[p->count - 1].path);
    const char *name = p->stem ? p->items[odd_slice(p)].path : NULL;
    if (more)
        return kp_fail_as(err, KP_DAMAGED, "trailing_data",
                          "%s%s%s bytes after the end of the bundle, which are not part of it",
                          name ? name : "", name ? ": " : "", kp_text_grouped(off).s);
    kp_fail_as(err, KP_DAMAGED, "truncated",
               "%s%s%s bytes of %s are there; the last %s are missing", name ? name : "",
               name ? ": " : "", kp_text_grouped(p->size).s, kp_text_grouped(size).s,
               kp_text_grouped(off).s);
    return kp_hint(err, "copy the file again");
}

/* The folders beside may hold more slices of that name, of another bundle. */
static void drop_strangers(struct kp_pieces *p, uint64_t size)
{
    while (p->count > 1 && p->items[p->count - 1].beside && p->items[p->count - 1].start >= size) {
        struct kp_piece *last = &p->items[--p->count];
        p->size = last->start;
        close(last->fd);
        kp_free(last->path);
    }
}

int kp_medium_check_size(struct kp_medium *m, uint64_t size, struct kp_err *err)
{
    struct kp_pieces *p = &m->now;
    drop_strangers(p, size);
    size_t needed = count_needed(p, size);
    if (p->size == size && !p->extra)
        return 0;
    if (p->size == size)
        return kp_fail_as(err, KP_DAMAGED, "trailing_data",
                          "the bundle ends with %s; remove the slices after it",
                          p->items[p->count - 1].path);
    if (p->stem && (p->absent_count || (p->size < size && needed > p->count) ||
                    (p->count == 1 && p->size < size)))
        return missing_slices(p, size, err);
    return wrong_size(p, size, err);
}
