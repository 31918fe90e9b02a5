/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --package FILE.deb|rpm: carried as they are to KP_PACKAGE_FOLDER on the nodes, where kinstall
 * installs them (manifests/packages.h).
 */
#pragma once

#include "manifests/packages.h"
#include "pack/plan.h"

/* Name, version and arch of a .deb come from its control file (deb(5)), whatever the file is
 * called; those of an .rpm from its name, as its distribution forms it (NAME-VERSION-RELEASE.ARCH).
 * A package for every arch ("all", "noarch") gets the bundle's arch `arch`. *matches: it is for
 * that arch. Of `programs` (NULL-terminated) out gets those that it brings: by its list of files,
 * or by its name, where the program is made at install time (iptables, by alternatives). */
KP_CHECK int kp_package_describe(struct kp_arena *arena, const char *path, const char *arch,
                                 const char *const *programs, struct kp_plan_file *out,
                                 bool *matches, struct kp_err *err);
