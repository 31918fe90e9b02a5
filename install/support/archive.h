/* SPDX-License-Identifier: Apache-2.0 */
/* A small tar.zst of texts in memory: what kinstall support hands out. */
#pragma once

#include "core/mem.h"
#include "core/slice.h"

struct kp_archive;
/* The folder in which the archive is put together must be on the disk of its target. */
KP_CHECK int kp_archive_new(struct kp_archive **out, const char *path, struct kp_err *err);
void kp_archive_free(struct kp_archive *archive); /* what was not finished is gone */
KP_DEFINE_AUTO(kp_archive);
/* name: relative, at most 100 bytes (ustar). */
KP_CHECK int kp_archive_add(struct kp_archive *archive, const char *name, struct kp_slice text,
                            struct kp_err *err);
/* Compresses, 0600, and gives it its name; *size of the file. */
KP_CHECK int kp_archive_finish(struct kp_archive *archive, uint64_t *size, struct kp_err *err);
