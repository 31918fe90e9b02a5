/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/archive.h"

#include "core/buf.h"
#include "core/file.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define READ_BLOCK ((size_t)1 << 20) /* a leaf of a bundle */
#define NAMES_SHOWN 12

/* One pass over an archive. */
struct walk {
    const char *label;
    struct archive *handle;
    int fd;
    char *block;
    uint64_t left; /* bytes of fd that are still to be read, where it is only a part */
    const struct kp_archive_part *part;
    struct kp_err read_err; /* of the part's own reader */
    struct kp_hash *hash;   /* of the stored bytes as they are read; NULL for zip, hashed before */
    int read_errno;
    uint64_t unpacked;
    uint64_t total_max;
    size_t entries;
};

static void walk_release(struct walk *walk)
{
    if (walk->handle)
        archive_read_free(walk->handle);
    if (walk->fd >= 0)
        close(walk->fd);
    kp_free(walk->block);
    kp_hash_free(walk->hash);
}

static la_ssize_t read_part(struct walk *walk, const void **block)
{
    size_t len = 0;
    *block = walk->block;
    if (walk->part->read(walk->part->read_user, walk->block, READ_BLOCK, &len, &walk->read_err) < 0)
        return ARCHIVE_FATAL;
    return (la_ssize_t)len;
}

static la_ssize_t read_stored(struct archive *handle, void *user, const void **block)
{
    struct walk *walk = user;
    ssize_t n;
    if (walk->part && walk->part->read)
        return read_part(walk, block);
    size_t most = walk->part && walk->left < READ_BLOCK ? (size_t)walk->left : READ_BLOCK;
    do
        n = read(walk->fd, walk->block, most);
    while (n < 0 && errno == EINTR);
    if (n > 0 && walk->part)
        walk->left -= (uint64_t)n;
    if (n < 0) {
        walk->read_errno = errno;
        archive_set_error(handle, errno, "%s", kp_strerror(errno));
        return ARCHIVE_FATAL;
    }
    if (walk->hash)
        kp_hash_update(walk->hash, walk->block, (size_t)n);
    *block = walk->block;
    return n;
}

static la_int64_t seek_stored(struct archive *handle, void *user, la_int64_t offset, int whence)
{
    struct walk *walk = user;
    off_t at = lseek(walk->fd, offset, whence);
    if (at < 0)
        archive_set_error(handle, errno, "%s", kp_strerror(errno));
    return at < 0 ? ARCHIVE_FATAL : at;
}

static int damaged(struct kp_cache *cache, const struct kp_digest *digest, const char *label,
                   struct kp_err *err)
{
    kp_cache_drop(cache, digest);
    kp_fail_as(err, KP_DAMAGED, "damaged", "%s: the cached bytes differ from sha256:%s", label,
               kp_digest_hex(digest).hex);
    return kp_hint(err, "removed from the cache; run again to fetch it anew");
}

static int fail_reading(const struct walk *walk, struct kp_err *err)
{
    if (walk->read_err.code) {
        *err = walk->read_err;
        return -1;
    }
    if (walk->read_errno)
        return kp_fail_sys(err, walk->read_errno, "read %s", walk->label);
    const char *why = archive_error_string(walk->handle);
    kp_fail_as(err, KP_FAILED, "bad_archive", "%s: %s", walk->label,
               why ? why : "not a readable archive");
    return walk->part
               ? -1
               : kp_hint(err,
                         "its digest is right: the file at its source is not an archive of a kind "
                         "that is known (tar, tar.gz, .xz, .zst, .bz2, zip)");
}

/* A zip is read from its end (only there are links marked), so it is hashed beforehand. */
static int begin_zip(struct walk *walk, struct kp_cache *cache, const struct kp_digest *digest,
                     struct kp_err *err)
{
    struct kp_digest seen;
    if (kp_sha256_fd(walk->fd, &seen, NULL, err) < 0)
        return kp_wrap(err, "%s", walk->label);
    if (!kp_digest_equal(&seen, digest))
        return damaged(cache, digest, walk->label, err);
    if (lseek(walk->fd, 0, SEEK_SET) < 0)
        return kp_fail_sys(err, errno, "read %s", walk->label);
    archive_read_set_seek_callback(walk->handle, seek_stored);
    archive_read_support_format_zip_seekable(walk->handle);
    return 0;
}

static void support_filters(struct walk *walk)
{
    archive_read_support_filter_gzip(walk->handle);
    archive_read_support_filter_xz(walk->handle);
    archive_read_support_filter_zstd(walk->handle);
    archive_read_support_filter_bzip2(walk->handle);
}

static void begin_tar(struct walk *walk)
{
    walk->hash = kp_hash_new();
    archive_read_support_format_tar(walk->handle);
    support_filters(walk);
}

static int walk_open(struct walk *walk, struct kp_cache *cache, const struct kp_digest *digest,
                     struct kp_err *err)
{
    char magic[4] = "";
    if (kp_cache_fd(cache, digest, &walk->fd, err) < 0)
        return kp_wrap(err, "%s", walk->label);
    walk->block = kp_alloc(READ_BLOCK);
    walk->handle = archive_read_new();
    if (!walk->handle)
        return kp_fail(err, KP_FAILED, "%s: libarchive does not start", walk->label);
    ssize_t n = pread(walk->fd, magic, sizeof(magic), 0);
    if (n == (ssize_t)sizeof(magic) && memcmp(magic, "PK\003\004", sizeof(magic)) == 0) {
        if (begin_zip(walk, cache, digest, err) < 0)
            return -1;
    } else {
        begin_tar(walk);
    }
    archive_read_set_read_callback(walk->handle, read_stored);
    archive_read_set_callback_data(walk->handle, walk);
    if (archive_read_open1(walk->handle) != ARCHIVE_OK)
        return fail_reading(walk, err);
    return 0;
}

/* What stands behind the end of the archive counts for its digest too. */
static int walk_finish(struct walk *walk, struct kp_cache *cache, const struct kp_digest *digest,
                       struct kp_err *err)
{
    if (!walk->hash)
        return 0;
    const void *block;
    la_ssize_t n;
    while ((n = read_stored(walk->handle, walk, &block)) > 0)
        ;
    if (n < 0)
        return kp_fail_sys(err, walk->read_errno, "read %s", walk->label);
    struct kp_digest seen;
    kp_hash_finish(walk->hash, &seen);
    return kp_digest_equal(&seen, digest) ? 0 : damaged(cache, digest, walk->label, err);
}

/* A pass that failed over damaged bytes is told as what it is. */
static int settle(struct walk *walk, struct kp_cache *cache, const struct kp_digest *digest,
                  int result, struct kp_err *err)
{
    struct kp_err finish = KP_ERR_INIT;
    if (result == 0)
        return walk_finish(walk, cache, digest, err);
    bool doubtful = err && (err->code == KP_MISSING ||
                            (err->reason && strcmp(err->reason, "bad_archive") == 0));
    if (doubtful && walk_finish(walk, cache, digest, &finish) < 0 && finish.code == KP_DAMAGED)
        *err = finish;
    return result;
}

/* Without "./", doubled slashes and a slash at the end. False: absolute, "..", control characters,
 * too long. */
static bool normalise(const char *name, char out[KP_ARCHIVE_NAME_MAX + 1])
{
    size_t at = 0;
    struct kp_slice rest = kp_slice_of(name), part;
    if (!name || name[0] == '/' || rest.len > KP_ARCHIVE_NAME_MAX)
        return false;
    for (bool more = true; more;) {
        more = kp_slice_cut(&rest, '/', &part);
        part = more ? part : rest;
        if (kp_slice_equal(part, ".."))
            return false;
        if (!part.len || kp_slice_equal(part, "."))
            continue;
        if (at)
            out[at++] = '/';
        memcpy(out + at, part.ptr, part.len);
        at += part.len;
    }
    out[at] = '\0';
    for (const char *p = out; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return false;
    return true;
}

/* The next entry with its normalised name; *more is false at the end. */
static int walk_next(struct walk *walk, struct archive_entry **entry,
                     char name[KP_ARCHIVE_NAME_MAX + 1], bool *more, struct kp_err *err)
{
    int got = archive_read_next_header(walk->handle, entry);
    *more = got != ARCHIVE_EOF;
    if (!*more)
        return 0;
    if (got != ARCHIVE_OK && got != ARCHIVE_WARN)
        return fail_reading(walk, err);
    if (++walk->entries > KP_ARCHIVE_ENTRIES_MAX)
        return kp_fail_as(err, KP_FAILED, "too_large", "%s: more than %d entries", walk->label,
                          KP_ARCHIVE_ENTRIES_MAX);
    const char *raw = archive_entry_pathname(*entry);
    if (!raw || !normalise(raw, name))
        return kp_fail_as(err, KP_FAILED, "bad_archive",
                          "%s: refused, it has an entry whose name is absolute, has '..' or is "
                          "not plain: '%.200s'",
                          walk->label, raw ? raw : "");
    return 0;
}

static int count_unpacked(struct walk *walk, size_t len, struct kp_err *err)
{
    walk->unpacked += len;
    if (walk->unpacked <= walk->total_max)
        return 0;
    return kp_fail_as(err, KP_FAILED, "too_large", "%s: unpacks to more than %llu bytes",
                      walk->label, (unsigned long long)walk->total_max);
}

/* An entry that is not wanted is read over here, and not by libarchive, so that it counts. */
static int skip_entry(struct walk *walk, struct kp_err *err)
{
    const void *block;
    size_t len;
    la_int64_t offset;
    int got;
    while ((got = archive_read_data_block(walk->handle, &block, &len, &offset)) == ARCHIVE_OK)
        if (count_unpacked(walk, len, err) < 0)
            return -1;
    return got == ARCHIVE_EOF ? 0 : fail_reading(walk, err);
}

/* archive_read_data fills the holes of sparse files with zeros, so what is hashed is the file. */
static int copy_entry(struct walk *walk, struct kp_cache *cache, uint64_t member_max,
                      struct kp_archive_member *member, struct kp_err *err)
{
    kp_auto(kp_cache_new) blob = NULL;
    kp_auto(kp_hash) hash = kp_hash_new();
    kp_auto_free char *buffer = kp_alloc(READ_BLOCK);
    if (kp_cache_begin(&blob, cache, err) < 0)
        return -1;
    for (;;) {
        la_ssize_t n = archive_read_data(walk->handle, buffer, READ_BLOCK);
        if (n < 0)
            return fail_reading(walk, err);
        if (n == 0)
            break;
        member->size += (uint64_t)n;
        if (member->size > member_max)
            return kp_fail_as(err, KP_FAILED, "too_large",
                              "%s: member %s is larger than %llu bytes", walk->label, member->name,
                              (unsigned long long)member_max);
        if (count_unpacked(walk, (size_t)n, err) < 0)
            return -1;
        kp_hash_update(hash, buffer, (size_t)n);
        if (kp_write_full(kp_cache_new_fd(blob), buffer, (size_t)n, err) < 0)
            return kp_wrap(err, "unpack %s of %s into %s", member->name, walk->label,
                           kp_cache_path(cache));
    }
    kp_hash_finish(hash, &member->digest);
    return kp_cache_commit(blob, &member->digest, err);
}

struct wanted {
    char name[KP_ARCHIVE_NAME_MAX + 1];
    bool found;
};

static int check_regular(const struct walk *walk, struct archive_entry *entry, const char *name,
                         bool seen, struct kp_err *err)
{
    if (seen)
        return kp_fail_as(err, KP_FAILED, "bad_archive", "%s: member %s is there twice",
                          walk->label, name);
    if (archive_entry_hardlink(entry) || archive_entry_filetype(entry) != AE_IFREG)
        return kp_fail_as(err, KP_FAILED, "bad_archive",
                          "%s: member %s is a link, folder or device, not a file", walk->label,
                          name);
    return 0;
}

static void note_name(struct kp_buf *names, size_t *count, const char *name)
{
    if (*count < NAMES_SHOWN)
        kp_buf_addf(names, "%s%s", *count ? ", " : "", name);
    (*count)++;
}

static int missing(const struct walk *walk, const char *member, const struct kp_buf *names,
                   size_t count, struct kp_err *err)
{
    kp_fail_as(err, KP_MISSING, "missing_member", "%s: no member %s", walk->label, member);
    if (count > NAMES_SHOWN)
        return kp_hint(err, "it has %s and %zu more", names->data, count - NAMES_SHOWN);
    return kp_hint(err, "it has %s", count ? names->data : "no files");
}

static int extract_pass(struct walk *walk, struct kp_cache *cache, uint64_t member_max,
                        struct kp_archive_member *members, struct wanted *wanted, size_t count,
                        struct kp_err *err)
{
    kp_auto_value(kp_buf) names = KP_BUF(512);
    size_t name_count = 0;
    struct archive_entry *entry;
    char name[KP_ARCHIVE_NAME_MAX + 1];
    for (bool more = true; more;) {
        if (walk_next(walk, &entry, name, &more, err) < 0)
            return -1;
        if (!more)
            break;
        size_t i = 0;
        while (i < count && strcmp(wanted[i].name, name) != 0)
            i++;
        if (archive_entry_filetype(entry) == AE_IFREG)
            note_name(&names, &name_count, name);
        if (i == count) {
            if (skip_entry(walk, err) < 0)
                return -1;
            continue;
        }
        if (check_regular(walk, entry, name, wanted[i].found, err) < 0 ||
            copy_entry(walk, cache, member_max, &members[i], err) < 0)
            return -1;
        for (size_t k = i; k < count; k++)
            if (strcmp(wanted[k].name, name) == 0) {
                members[k].digest = members[i].digest;
                members[k].size = members[i].size;
                wanted[k].found = true;
            }
    }
    for (size_t i = 0; i < count; i++)
        if (!wanted[i].found)
            return missing(walk, members[i].name, &names, name_count, err);
    return 0;
}

static char *memo_key(const struct kp_digest *archive, const char *name)
{
    return kp_asprintf("member %s of %s", name, kp_digest_hex(archive).hex);
}

static bool all_known(struct kp_cache *cache, const struct kp_digest *archive,
                      struct kp_archive_member *members, const struct wanted *wanted, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        kp_auto_free char *key = memo_key(archive, wanted[i].name);
        struct kp_memo memo;
        if (!kp_cache_memo(cache, key, &memo))
            return false;
        members[i].digest = memo.digest;
        members[i].size = memo.size;
    }
    return true;
}

static int note_all(struct kp_cache *cache, const struct kp_digest *archive,
                    const struct kp_archive_member *members, const struct wanted *wanted,
                    size_t count, struct kp_err *err)
{
    for (size_t i = 0; i < count; i++) {
        kp_auto_free char *key = memo_key(archive, wanted[i].name);
        struct kp_memo memo = {members[i].digest, members[i].size};
        if (kp_cache_note(cache, key, &memo, err) < 0)
            return -1;
    }
    return 0;
}

int kp_archive_extract(struct kp_cache *cache, const struct kp_digest *archive, const char *label,
                       struct kp_archive_member *members, size_t count,
                       const struct kp_archive_limits *limits, struct kp_err *err)
{
    uint64_t total = limits && limits->total ? limits->total : KP_ARCHIVE_TOTAL_MAX;
    uint64_t member = limits && limits->member ? limits->member : KP_ARCHIVE_MEMBER_MAX;
    kp_auto_free struct wanted *wanted = kp_alloc_array(count, sizeof(*wanted));
    for (size_t i = 0; i < count; i++) {
        members[i].size = 0;
        if (!normalise(members[i].name, wanted[i].name) || !wanted[i].name[0])
            return kp_fail(err, KP_USAGE, "%s: '%s' is no name of a member", label,
                           members[i].name);
    }
    if (all_known(cache, archive, members, wanted, count))
        return 0;
    for (size_t i = 0; i < count; i++)
        members[i].size = 0;
    __attribute__((cleanup(walk_release))) struct walk walk = {
        .label = label, .fd = -1, .total_max = total};
    int result = walk_open(&walk, cache, archive, err);
    if (result == 0)
        result = extract_pass(&walk, cache, member, members, wanted, count, err);
    if (settle(&walk, cache, archive, result, err) < 0)
        return -1;
    return note_all(cache, archive, members, wanted, count, err);
}

static int list_pass(struct walk *walk,
                     int (*each)(void *user, const char *name, uint64_t size, struct kp_err *err),
                     void *user, struct kp_err *err)
{
    struct archive_entry *entry;
    char name[KP_ARCHIVE_NAME_MAX + 1];
    bool more;
    while (walk_next(walk, &entry, name, &more, err) == 0) {
        if (!more)
            return 0;
        uint64_t before = walk->unpacked;
        bool file = archive_entry_filetype(entry) == AE_IFREG && !archive_entry_hardlink(entry);
        if (skip_entry(walk, err) < 0)
            return -1;
        uint64_t size = archive_entry_size_is_set(entry) ? (uint64_t)archive_entry_size(entry)
                                                         : walk->unpacked - before;
        if (file && each(user, name, size, err) < 0)
            return -1;
    }
    return -1;
}

int kp_archive_list(struct kp_cache *cache, const struct kp_digest *archive, const char *label,
                    int (*each)(void *user, const char *name, uint64_t size, struct kp_err *err),
                    void *user, struct kp_err *err)
{
    __attribute__((cleanup(walk_release))) struct walk walk = {
        .label = label, .fd = -1, .total_max = KP_ARCHIVE_TOTAL_MAX};
    int result = walk_open(&walk, cache, archive, err);
    if (result == 0)
        result = list_pass(&walk, each, user, err);
    return settle(&walk, cache, archive, result, err);
}

static size_t text_max(const struct kp_archive_part *part)
{
    return part->text_max ? part->text_max : KP_ARCHIVE_TEXT_MAX;
}

static int read_content(struct walk *walk, const char *name, struct kp_buf *out, struct kp_err *err)
{
    char block[4096];
    for (;;) {
        la_ssize_t n = archive_read_data(walk->handle, block, sizeof(block));
        if (n < 0)
            return fail_reading(walk, err);
        if (n == 0)
            return 0;
        if (!kp_buf_add(out, block, (size_t)n))
            return kp_fail_as(err, KP_FAILED, "too_large", "%s: %s is larger than %zu bytes",
                              walk->label, name, text_max(walk->part));
        if (count_unpacked(walk, (size_t)n, err) < 0)
            return -1;
    }
}

static int part_pass(struct walk *walk, kp_archive_each *each, void *user, struct kp_err *err)
{
    struct archive_entry *entry;
    char name[KP_ARCHIVE_NAME_MAX + 1];
    bool more;
    while (walk_next(walk, &entry, name, &more, err) == 0) {
        kp_auto_value(kp_buf) content = KP_BUF(text_max(walk->part));
        if (!more)
            return 0;
        if (archive_entry_filetype(entry) == AE_IFDIR)
            continue;
        bool take = walk->part->wants && walk->part->wants(user, name);
        if ((take ? read_content(walk, name, &content, err) : skip_entry(walk, err)) < 0 ||
            each(user, name, kp_buf_slice(&content), err) < 0)
            return -1;
    }
    return -1;
}

int kp_archive_part(const struct kp_archive_part *part, kp_archive_each *each, void *user,
                    struct kp_err *err)
{
    __attribute__((cleanup(walk_release))) struct walk walk = {
        .label = part->label, .total_max = KP_ARCHIVE_TOTAL_MAX, .part = part, .left = part->len};
    walk.fd = part->read ? -1 : fcntl(part->fd, F_DUPFD_CLOEXEC, 0);
    if (!part->read && (walk.fd < 0 || lseek(walk.fd, (off_t)part->offset, SEEK_SET) < 0))
        return kp_fail_sys(err, errno, "read %s", part->label);
    walk.block = kp_alloc(READ_BLOCK);
    walk.handle = archive_read_new();
    if (!walk.handle)
        return kp_fail(err, KP_FAILED, "%s: libarchive does not start", part->label);
    support_filters(&walk);
    if (part->kind == KP_ARCHIVE_RPM) {
        archive_read_support_filter_rpm(walk.handle);
        archive_read_support_format_cpio(walk.handle);
    } else {
        archive_read_support_format_tar(walk.handle);
    }
    archive_read_set_read_callback(walk.handle, read_stored);
    archive_read_set_callback_data(walk.handle, &walk);
    if (archive_read_open1(walk.handle) != ARCHIVE_OK)
        return fail_reading(&walk, err);
    return part_pass(&walk, each, user, err);
}
