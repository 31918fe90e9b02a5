/* SPDX-License-Identifier: Apache-2.0 */
/* A bundle on its way between one file and slices, and what makes a damaged copy whole again. */
#pragma once

#include "bundle/writer.h"

struct kp_splitting {
    uint64_t size; /* of slices; 0: one file */
    const struct kp_key *const *keys;
    size_t key_count; /* signers of the slice list; 0: unsigned */
    kp_bundle_progress *progress;
    void *user;
};
/* Writes the open bundle to path as one file or slices. The copy is verified whole, and is what the
 * bundle's signature says, before it gets its name. `trust` as for kp_bundle_open. */
KP_CHECK int kp_bundle_copy(const struct kp_bundle *bundle, const char *path,
                            const struct kp_splitting *how, struct kp_bundle_written *out,
                            struct kp_err *err);

struct kp_repaired {
    uint64_t ranges, bytes; /* fetched */
};
/* Makes the bundle at path whole, from other copies, whole or sliced, which may be damaged too
 * elsewhere. Only ranges found bad are written, in place, each only with bytes that are right by
 * the signed manifest; so a power cut at any time leaves a file that is no worse. Errors:
 * KP_UNTRUSTED, KP_MISSING "no_good_copy" where a range is bad in all copies. */
KP_CHECK int kp_bundle_repair(const char *path, const char *const *others, size_t other_count,
                              const struct kp_trust *trust, struct kp_repaired *out,
                              struct kp_err *err);
