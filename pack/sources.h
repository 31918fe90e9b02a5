/* SPDX-License-Identifier: Apache-2.0 */
/* Where create finds what lies on this machine: release files, and the local files that a lock
 * names. */
#pragma once

#include "pack/resolve.h"

/* `file` if given, else base/share/kpack/releases/v<minor>.yaml. A version of which there is no
 * file is KP_USAGE with what there is. */
KP_CHECK int kp_sources_release(struct kp_releases **out, const char *kubernetes, const char *file,
                                const char *base, struct kp_err *err);
/* Fills in `local` of a lock's local sources from the request's manifests, packages and libexec
 * folders, where the digest is the same. What is not found stays NULL: the cache may have it. */
KP_CHECK int kp_sources_find(struct kp_plan *plan, const struct kp_request *request,
                             struct kp_err *err);
