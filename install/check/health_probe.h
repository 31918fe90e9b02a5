/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the verification that send something through the cluster. */
#pragma once

#include "install/check/health_report.h"

#define KP_HEALTH_ALL_PAIRS 10 /* nodes up to which every ordered pair is tried */

/* The API server's /readyz by the cluster's own name, from every node. */
KP_CHECK int kp_health_endpoint(struct kp_health *health, struct kp_site *site, struct kp_err *err);
/* Makes the probe's pods, in a namespace of this run, and does not wait for them. */
KP_CHECK int kp_health_probe_start(struct kp_site *site, struct kp_err *err);
/* Probe pods: pull, DNS, pod to pod, Service. */
KP_CHECK int kp_health_probe(struct kp_health *health, struct kp_site *site, struct kp_err *err);
/* Whether the way from node i to node j of n is tried. */
bool kp_health_tries(size_t i, size_t j, size_t n);
size_t kp_health_pairs(size_t n);
