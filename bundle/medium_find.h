/* SPDX-License-Identifier: Apache-2.0 */
/* Which files a path means: one, or the slices of a bundle, looked for where people put them. */
#pragma once

#include "bundle/medium.h"

#define KP_SIBLINGS_MAX 256 /* folders beside the first slice's that are looked into */

struct kp_found {
    char *stem;   /* the name without number; NULL: one file */
    char **paths; /* [0]: the file, or slice 1; [i]: slice i + 1, NULL where it is not there */
    bool *beside; /* [i]: found in a folder beside the first slice's */
    size_t count; /* up to the highest number that is there */
    unsigned digits;
};
void kp_found_release(struct kp_found *found);
KP_DEFINE_AUTO_VALUE(kp_found);
KP_CHECK int kp_medium_find(struct kp_found *out, const char *path, struct kp_err *err);
