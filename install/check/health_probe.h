/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of health.c that send something through the cluster. */
#pragma once

#include "install/check/health.h"

/* Adds a check to the report; no failures: it is well. Takes failures. */
void kp_health_note(struct kp_health *health, const char *name, double start, const char *detail,
                    json_t *failures);
/* The API server's /readyz by the cluster's own name, from every node. */
KP_CHECK int kp_health_endpoint(struct kp_health *health, struct kp_site *site, struct kp_err *err);
/* Makes the probe's pods, in a namespace of this run, and does not wait for them. */
KP_CHECK int kp_health_probe_start(struct kp_site *site, struct kp_err *err);
/* Probe pods: pull, DNS, pod to pod, Service. */
KP_CHECK int kp_health_probe(struct kp_health *health, struct kp_site *site, struct kp_err *err);
