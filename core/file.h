/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files: bounded reads, whole writes, atomic replacement (temporary, fsync, rename, fsync of the
 * folder), creation beneath a folder without following links (openat2).
 */
#pragma once

#include "core/buf.h"
#include "core/mem.h"

#include <sys/types.h>

/* Reads a whole file of at most max bytes; *out is NUL-terminated beyond *len, freed by kp_free. */
KP_CHECK int kp_file_read(const char *path, size_t max, char **out, size_t *len,
                          struct kp_err *err);
KP_CHECK int kp_file_read_at(int dir, const char *path, size_t max, char **out, size_t *len,
                             struct kp_err *err);
/* Exactly len bytes at offset; a shorter file is KP_DAMAGED "truncated". */
KP_CHECK int kp_pread_full(int fd, void *out, size_t len, uint64_t offset, struct kp_err *err);
KP_CHECK int kp_pwrite_full(int fd, const void *data, size_t len, uint64_t offset,
                            struct kp_err *err);
KP_CHECK int kp_write_full(int fd, const void *data, size_t len, struct kp_err *err);
/* Replaces path atomically and durably; mode as given whatever the umask. */
KP_CHECK int kp_file_write_atomic(const char *path, struct kp_slice data, mode_t mode,
                                  struct kp_err *err);
/* Makes the folder and its parents (mode for those that are made); one that is there is fine. */
KP_CHECK int kp_mkdirs(const char *path, mode_t mode, struct kp_err *err);
/* Removes a tree without following links or crossing file systems; one that is not there is fine.
 * One that is a file system of its own is emptied, and stays mounted. */
KP_CHECK int kp_remove_tree(const char *path, struct kp_err *err);
/* Opens relative path beneath dir by openat2(RESOLVE_BENEATH|RESOLVE_NO_SYMLINKS); -1 and errno. */
int kp_open_beneath(int dir, const char *path, int flags, mode_t mode);
/* fsync of the folder that holds path. */
KP_CHECK int kp_sync_parent(const char *path, struct kp_err *err);
/* Takes an exclusive lock on the file (made where missing). *held: somebody else has it, and who
 * (first line of the file) in holder, kp_free. The lock lives as long as *fd. */
KP_CHECK int kp_file_lock(const char *path, int *fd, bool *held, char **holder, struct kp_err *err);

bool kp_file_exists(const char *path);
char *kp_path_join(const char *folder, const char *name); /* kp_free */
const char *kp_path_base(const char *path); /* borrowed: the part after the last '/' */
char *kp_path_dir(const char *path);        /* kp_free; "." where there is no '/' */
/* $HOME-based folders of the XDG specification: "config" "cache" "data" "state" -> e.g. ~/.config
 */
char *kp_xdg_dir(const char *kind);
/* Expands a leading "~/"; kp_free. */
char *kp_path_expand(const char *path);
/* Bytes free for us on the file system of path. */
KP_CHECK int kp_disk_free(const char *path, uint64_t *out, struct kp_err *err);
