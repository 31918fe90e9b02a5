/* SPDX-License-Identifier: Apache-2.0 */
/* A gathered plan -> the manifest of a bundle, its provenance, and the file. */
#pragma once

#include "bundle/writer.h"
#include "pack/gather.h"

/* The manifest: a function of the plan and of what was packed, nothing else. *out:
 * kp_manifest_free. */
KP_CHECK int kp_assemble(struct kp_manifest **out, const struct kp_gather *gather,
                         struct kp_err *err);
struct kp_assembling {
    const struct kp_gather *gather;
    const struct kp_key *key; /* NULL: unsigned */
    uint64_t split;           /* size of slices; 0: one file */
    kp_bundle_progress *progress;
    void *user;
};
KP_CHECK int kp_assemble_write(const struct kp_assembling *assembling, struct kp_manifest *manifest,
                               const char *path, struct kp_bundle_written *out, struct kp_err *err);
