/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the medium share: its open files. */
#pragma once

#include "bundle/medium_find.h"

#include <pthread.h>

struct kp_stamp { /* what a write or a replacement changes */
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified, changed;
};

struct kp_piece {
    char *path;
    int fd;
    uint64_t start, size;
    struct kp_stamp stamp;
    bool tells_changes;
    bool beside; /* found in a folder beside the first one's: taken only where it is needed */
};

struct kp_pieces {
    struct kp_piece *items;
    size_t count;
    uint64_t size;
    char **absent; /* names of slices with lower numbers than the highest that is there */
    size_t absent_count;
    size_t extra; /* slices that are there beyond the first absent one */
    char *stem;   /* NULL: one file */
    unsigned digits;
};

struct kp_medium {
    char *path;
    int flags;
    bool single;  /* never look for slices */
    bool writing; /* the files have .partial after their names */
    pthread_rwlock_t lock;
    struct kp_pieces now;
};

void kp_pieces_release(struct kp_pieces *pieces);
KP_DEFINE_AUTO_VALUE(kp_pieces);
/* Opens p->path and fills in the rest but start. */
KP_CHECK int kp_piece_open(struct kp_piece *p, int flags, mode_t mode, struct kp_err *err);
/* Which file has that byte; the last one beyond the end. */
size_t kp_piece_at(const struct kp_pieces *pieces, uint64_t offset);
struct kp_medium *kp_medium_new(const char *path, int flags);
/* Removes what kp_medium_create made and nobody committed. */
void kp_medium_discard(struct kp_medium *medium);
/* Keeps the files as they are while they are read; kp_medium_reopen waits. */
static inline void kp_medium_lock(const struct kp_medium *medium)
{
    pthread_rwlock_rdlock((pthread_rwlock_t *)&medium->lock);
}
static inline void kp_medium_unlock(const struct kp_medium *medium)
{
    pthread_rwlock_unlock((pthread_rwlock_t *)&medium->lock);
}
