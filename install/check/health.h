/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does the cluster work? Nodes Ready as in the inventory, system pods Ready, and with a probe pod
 * on each node: pull by tag from the mirror, DNS, pod to pod between nodes, a Service, the API
 * through the cluster's own name. The report goes to report.json in the state folder.
 */
#pragma once

#include "install/step.h"

#define KP_HEALTH_ALL_PAIRS 10 /* nodes up to which every ordered pair is tried */

struct kp_health {
    json_t *checks; /* [{name, ok, seconds, detail, failures: [texts]}] in order */
    bool ok;
    char first_failure[512];
};
void kp_health_release(struct kp_health *health);
KP_DEFINE_AUTO_VALUE(kp_health);

/* deep: with probe pods, which are taken away again; else only what can be asked. -1 only where the
 * cluster could not be asked; what is found wrong is in *out. */
KP_CHECK int kp_health_check(struct kp_health *out, struct kp_site *site, bool deep,
                             struct kp_err *err);
/* Whether the way from node i to node j of n is tried. */
bool kp_health_tries(size_t i, size_t j, size_t n);
size_t kp_health_pairs(size_t n);
KP_CHECK int kp_health_store(const struct kp_health *health, const struct kp_site *site, bool deep,
                             struct kp_err *err);
/* The last report in the state folder was a deep one of this bundle, all was well, and this run has
 * changed nothing so far. */
bool kp_health_still_proven(struct kp_site *site);
