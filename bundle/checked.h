/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading with the proof of what was read: for media whose file system does not tell when a file
 * was changed (FAT, NFS, FUSE), where what was verified before says nothing of what comes now. Each
 * MiB is hashed as it is read and compared with its leaf in bundle.leaves.
 */
#pragma once

#include "bundle/bundle.h"

struct kp_leaves;
/* The content of bundle.leaves, against its digest in the signed manifest; 32 bytes per MiB.
 * KP_DAMAGED "damaged". */
KP_CHECK int kp_leaves_load(struct kp_leaves **out, const struct kp_bundle *bundle,
                            struct kp_err *err);
void kp_leaves_free(struct kp_leaves *leaves);
KP_DEFINE_AUTO(kp_leaves);
/* As kp_bundle_read_entry, of an entry after bundle.leaves; reads and hashes all of each MiB that
 * the range touches. KP_DAMAGED "damaged" where one is not what was signed: out is then not to be
 * used. Thread-safe. */
KP_CHECK int kp_leaves_read(const struct kp_leaves *leaves, const struct kp_bundle *bundle,
                            size_t entry, uint64_t offset, void *out, size_t len,
                            struct kp_err *err);
