/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packages of the distribution that the bundle carries: installed on the nodes of their family and
 * architecture, all of a node in one command of dpkg or rpm, which asks no repository. What was not
 * there before is written down on the node, and only that is taken away by reset.
 */
#pragma once

#include "install/step.h"
#include "manifests/packages.h"

#define KP_PACKAGES_RECORD "/var/lib/kpack/packages.json"

enum kp_package_state {
    KP_PACKAGE_ABSENT,
    KP_PACKAGE_TRACES, /* removed by Debian's words, with its configuration kept */
    KP_PACKAGE_BROKEN, /* half unpacked or not configured */
    KP_PACKAGE_THERE
};
/* Reads one package's state out of the answer of dpkg-query or rpm -q; *version is the installed
 * one, kp_free, NULL where it is not THERE. arch: "amd64". */
enum kp_package_state kp_package_state_of(struct kp_slice answer, enum kp_family family,
                                          const char *name, const char *arch, char **version);
/* The step of phase prepare. */
KP_CHECK int kp_packages_apply(struct kp_site *site, struct kp_site_node *node, struct kp_err *err);
/* Takes away what apply has installed and was not there before; what something else needs by now
 * stays, and is said. */
KP_CHECK int kp_packages_reset(struct kp_site *site, struct kp_site_node *node, struct kp_err *err);
