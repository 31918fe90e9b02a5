/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does the cluster work? Nodes Ready as in the inventory, system pods Ready, and with a probe pod
 * on each node: pull by tag from the mirror, DNS, pod to pod between nodes, a Service, the API
 * through the cluster's own name.
 */
#pragma once

#include "install/check/health_report.h"

/* deep: with probe pods, which are taken away again; else only what can be asked. -1 only where the
 * cluster could not be asked; what is found wrong is in *out. */
KP_CHECK int kp_health_check(struct kp_health *out, struct kp_site *site, bool deep,
                             struct kp_err *err);
