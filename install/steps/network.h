/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "bundle/manifest.h"
#include "core/buf.h"

/* Literal replacement, left to right, never inside what was replaced; values[i] stands for
 * replace[i]. */
KP_CHECK int kp_manifest_fill(struct kp_buf *out, struct kp_slice text,
                              const struct kp_replace *replace, size_t n, const char *const *values,
                              struct kp_err *err);
