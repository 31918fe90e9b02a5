/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bundle that was applied before the one that is applied now: the mirrors keep it, so that a
 * node can go back to it. Its id, and those of its bases, stand in the state folder (previous: one
 * id in hex per line).
 */
#pragma once

#include "bundle/manifest.h"

#define KP_PREVIOUS_MAX (KP_BASES_MAX + 1)

struct kp_previous {
    struct kp_digest ids[KP_PREVIOUS_MAX];
    size_t count; /* 0: there is none */
};
/* Nothing there is fine: count 0. */
KP_CHECK int kp_previous_load(struct kp_previous *out, const char *state_folder,
                              struct kp_err *err);
/* manifest is about to be replaced by another. */
KP_CHECK int kp_previous_keep(struct kp_previous *out, const char *state_folder,
                              const struct kp_manifest *manifest, struct kp_err *err);
