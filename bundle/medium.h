/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a bundle is read from: one file, or its slices x.tar.zst.001, .002 … in place, as one run of
 * bytes. Each file is opened once; where it is changed, replaced or cannot be read any more, the
 * error names that file and the bytes. Reading is thread-safe, kp_medium_reopen too.
 */
#pragma once

#include "core/mem.h"

#include <sys/stat.h>
#include <sys/uio.h>

#define KP_SLICES_MAX 9999
#define KP_SLICE_SIZE_MIN ((uint64_t)1024)
#define KP_SLICE_FAT32 (((uint64_t)4 << 30) - 1) /* the largest file that FAT32 takes */
#define KP_SLICE_DIGITS 3                        /* 4 where there are more than 999 */

/* "x.tar.zst.002": the stem's length and the number; false where it does not end like a slice. */
bool kp_slice_name(const char *path, size_t *stem, unsigned *number);
/* Digits that the names of so many slices have, so that a shell's glob lists them in order. */
unsigned kp_slice_digits(size_t count);

struct kp_medium;
/* path: the file; or x.tar.zst where only x.tar.zst.001 … are there; or any of the slices; or a
 * folder that holds one bundle, whole or in slices. Slices are looked for beside the first, then in
 * the folders beside its folder (/media/ann/STICK2 for /media/ann/STICK1). flags: O_RDONLY or
 * O_RDWR. Errors: KP_MISSING "no_file", "missing_slice" where the first is not there; KP_USAGE. */
KP_CHECK int kp_medium_open(struct kp_medium **out, const char *path, int flags,
                            struct kp_err *err);
/* This one file and no other, even where its name is a slice's. */
KP_CHECK int kp_medium_open_file(struct kp_medium **out, const char *path, int flags,
                                 struct kp_err *err);
/* New files to be written: PATH.partial, or PATH.001.partial … of these sizes where count > 1;
 * locked, space reserved. kp_medium_commit makes them durable and gives them their names, the first
 * one last; without it kp_medium_free removes them. */
KP_CHECK int kp_medium_create(struct kp_medium **out, const char *path, const uint64_t *sizes,
                              size_t count, struct kp_err *err);
KP_CHECK int kp_medium_sync(struct kp_medium *medium, struct kp_err *err);
KP_CHECK int kp_medium_commit(struct kp_medium *medium, struct kp_err *err);
void kp_medium_free(struct kp_medium *medium);
KP_DEFINE_AUTO(kp_medium);

const char *kp_medium_path(const struct kp_medium *medium); /* as it was given */
uint64_t kp_medium_size(const struct kp_medium *medium);    /* of all files together */
size_t kp_medium_count(const struct kp_medium *medium);     /* files; 1: not sliced, or only .001 */
bool kp_medium_sliced(const struct kp_medium *medium);
/* File i: its path (borrowed until a reopen), where it begins, its size. */
const char *kp_medium_file(const struct kp_medium *medium, size_t i, uint64_t *start,
                           uint64_t *size);
/* The same by a byte of the whole; the last file where it lies beyond the end. */
size_t kp_medium_file_at(const struct kp_medium *medium, uint64_t offset);
/* ": byte range of that file" for messages: the file's name and its own bytes, "x.tar.zst.003,
 * bytes 1 – 2"; of one file "bytes 1 – 2 of the file". kp_free. */
char *kp_medium_range_text(const struct kp_medium *medium, uint64_t first, uint64_t last);

/* Exactly len bytes. Errors: KP_FAILED "io_error" (and other errnos), KP_DAMAGED "changed" where a
 * file is shorter now than when it was opened, "truncated" beyond the end of all. */
KP_CHECK int kp_medium_read(const struct kp_medium *medium, void *out, size_t len, uint64_t offset,
                            struct kp_err *err);
/* The same into parts; their fields are changed. */
KP_CHECK int kp_medium_readv(const struct kp_medium *medium, struct iovec *parts, int count,
                             uint64_t offset, struct kp_err *err);
KP_CHECK int kp_medium_write(struct kp_medium *medium, const void *data, size_t len,
                             uint64_t offset, struct kp_err *err);
/* Sets the last file's size, so that the whole has `size` bytes; not beyond its first byte. */
KP_CHECK int kp_medium_resize(struct kp_medium *medium, uint64_t size, struct kp_err *err);

/* KP_DAMAGED "changed" where a file was written to, has another size or was replaced since it was
 * opened. Cheap: two stat calls per file. */
KP_CHECK int kp_medium_unchanged(const struct kp_medium *medium, struct kp_err *err);
/* What we wrote ourselves is no change. */
void kp_medium_accept(struct kp_medium *medium);
/* Whether the file systems tell every write by ctime: local ones of Linux do; FAT, network and FUSE
 * file systems may not. */
bool kp_medium_tells_changes(const struct kp_medium *medium);
/* Opens the same path anew in place of what was open; readers that are at it finish first. `check`
 * is asked before the swap. Errors leave the old in place. */
KP_CHECK int kp_medium_reopen(struct kp_medium *medium,
                              int (*check)(void *user, const struct kp_medium *fresh,
                                           struct kp_err *err),
                              void *user, struct kp_err *err);
/* Slices that ought to be there for a whole of `size` bytes and are not: KP_MISSING
 * "missing_slice" with their names; too much: KP_DAMAGED "trailing_data"; too little: "truncated".
 * 0 where the size fits. */
KP_CHECK int kp_medium_check_size(struct kp_medium *medium, uint64_t size, struct kp_err *err);
