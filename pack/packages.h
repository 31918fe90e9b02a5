/* SPDX-License-Identifier: Apache-2.0 */
/* --package FILE.deb|rpm: carried as they are, to /var/lib/kpack/packages on the nodes. */
#pragma once

#include "pack/plan.h"

#define KP_PACKAGE_FOLDER "/var/lib/kpack/packages"

/* Name, version and arch come from the file name as its distribution forms it
 * (NAME_VERSION_ARCH.deb, NAME-VERSION-RELEASE.ARCH.rpm); the file must begin like one. A package
 * for every arch ("all", "noarch") gets the bundle's arch `arch`. *matches: it is for that arch. */
KP_CHECK int kp_package_describe(struct kp_arena *arena, const char *path, const char *arch,
                                 struct kp_plan_file *out, bool *matches, struct kp_err *err);
