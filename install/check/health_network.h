/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the final verification that are about the network plugin: NetworkPolicy, and second
 * interfaces by Multus. */
#pragma once

#include "install/check/health_report.h"

/*
 * Where policy may be enforced: from two pods to `url` (a probe pod's, selected by app: probe),
 * both ways work; then a policy lets only one through. Where the network is known to enforce it
 * anything else is a failure; of another network what was seen is said. The check carries
 * "enforced": true or false, and site->policy is the sentence for the screen.
 */
KP_CHECK int kp_health_policy(struct kp_health *health, struct kp_site *site,
                              const char *namespace_, const char *url, struct kp_err *err);
/* Where the bundle has Multus: two pods on one node with a second interface, one of which gets the
 * other's page over it. */
KP_CHECK int kp_health_attachment(struct kp_health *health, struct kp_site *site,
                                  const char *namespace_, struct kp_err *err);
