/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members of upstream archives (tar, plain or gzip, xz, zstd, bzip2; zip), taken by name out of the
 * cache into the cache, in one pass. Over libarchive, which never writes to disk here: a name of an
 * archive is only ever compared. The archive's own digest is checked over the bytes as they are
 * read. Names are compared without leading "./" and doubled slashes. An archive with an absolute
 * name or
 * ".." is refused whole; a wanted member must be a regular file (not a link or device), found once.
 */
#pragma once

#include "pack/cache.h"

#define KP_ARCHIVE_ENTRIES_MAX 200000
#define KP_ARCHIVE_TOTAL_MAX                                                                       \
    ((uint64_t)8 << 30)                           /* unpacked bytes read over: more is "too_large" \
                                                   */
#define KP_ARCHIVE_MEMBER_MAX ((uint64_t)2 << 30) /* one member */
#define KP_ARCHIVE_NAME_MAX 1024

struct kp_archive_member {
    const char *name;        /* "bin/containerd"; set by the caller */
    struct kp_digest digest; /* of the unpacked bytes, which are in the cache */
    uint64_t size;
};

struct kp_archive_limits { /* 0 is the constant above; for tests and small archives */
    uint64_t total, member;
};

/* `label` names the archive in errors ("containerd-1.7.27-linux-amd64.tar.gz"). A member that is
 * not there is KP_MISSING and the error lists what is. Members unpacked by an earlier run are not
 * unpacked again. */
KP_CHECK int kp_archive_extract(struct kp_cache *cache, const struct kp_digest *archive,
                                const char *label, struct kp_archive_member *members, size_t count,
                                const struct kp_archive_limits *limits, struct kp_err *err);
/* One part of a file that is an archive of its own: a member of a .deb (tar), or a whole RPM (its
 * payload). */
enum kp_archive_kind { KP_ARCHIVE_TAR, KP_ARCHIVE_RPM };
struct kp_archive_part {
    int fd; /* borrowed; its offset is moved */
    uint64_t offset, len;
    /* Not NULL: the bytes come from here, and not from fd; *len 0 is the end. */
    int (*read)(void *read_user, char *out, size_t max, size_t *len, struct kp_err *err);
    void *read_user;
    enum kp_archive_kind kind;
    const char *label;                           /* for errors */
    bool (*wants)(void *user, const char *name); /* whose content is handed out; NULL: of none */
    size_t text_max;                             /* of one content; 0: KP_ARCHIVE_TEXT_MAX */
};
#define KP_ARCHIVE_TEXT_MAX ((size_t)1 << 20)
/* Calls each with the normalised name of every entry that is no folder, and with its content where
 * it is wanted (else empty). No digest is checked. */
typedef int kp_archive_each(void *user, const char *name, struct kp_slice content,
                            struct kp_err *err);
KP_CHECK int kp_archive_part(const struct kp_archive_part *part, kp_archive_each *each, void *user,
                             struct kp_err *err);
/* Calls each with the normalised name and size of every regular file. -1 from each stops. */
KP_CHECK int
kp_archive_list(struct kp_cache *cache, const struct kp_digest *archive, const char *label,
                int (*each)(void *user, const char *name, uint64_t size, struct kp_err *err),
                void *user, struct kp_err *err);
