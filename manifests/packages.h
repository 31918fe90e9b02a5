/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Distribution packages that a bundle carries (kpack create --package): files beneath
 * KP_PACKAGE_FOLDER, whose component is NAME.deb or NAME.rpm and whose `programs` are those of the
 * bundle's `programs` that they bring.
 */
#pragma once

#include "bundle/manifest.h"
#include "manifests/programs.h"

#define KP_PACKAGE_FOLDER "/var/lib/kpack/packages"

/* Is it a package that nodes of this family and arch ("amd64") install, in one of these roles? */
bool kp_package_fits(const struct kp_file *file, enum kp_family family, const char *arch,
                     unsigned roles);
/* "conntrack" of conntrack.deb: as the distribution's package database knows it; kp_free. */
char *kp_package_name(const struct kp_file *file);
/* "conntrack_1.4.7-1_amd64.deb"; borrowed. */
const char *kp_package_file(const struct kp_file *file);
/* The carried package that brings the program to such a node, or NULL. */
const struct kp_file *kp_package_for(const struct kp_manifest *manifest, const char *program,
                                     enum kp_family family, const char *arch, unsigned roles);
