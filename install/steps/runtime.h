/* SPDX-License-Identifier: Apache-2.0 */
/* What the steps of the runtime share. */
#pragma once

#include "install/runtime.h"
#include "install/step.h"
#include "manifests/render.h"

struct kp_runtime kp_node_runtime(const struct kp_site *site, const struct kp_site_node *node);
/* SELinux is enforcing on the node. */
bool kp_node_enforces(const struct kp_site_node *node);
/* What every runtime's configuration is told: pause, oci, oci_program, restrict_oom_score_adj,
 * selinux. KP_MISSING where the bundle lacks pause or the program. */
KP_CHECK int kp_runtime_vars(struct kp_vars *vars, const struct kp_site *site,
                             const struct kp_site_node *node, struct kp_err *err);
KP_CHECK int kp_render_crio(char **out, const struct kp_site *site, const struct kp_site_node *node,
                            struct kp_err *err);
/* CRI-O and its configuration, unit included; not started. */
KP_CHECK int kp_place_crio(struct kp_site *site, struct kp_site_node *node, bool *changed,
                           struct kp_err *err);
/* The node's runtime as the inventory wants it, placed, configured and running. */
KP_CHECK int kp_runtime_place_all(struct kp_site *site, struct kp_site_node *node,
                                  struct kp_err *err);
