/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of the registry in the Prometheus text format (0.0.4). Thread-safe. */
#pragma once

#include "net/http_server.h"
#include "registry/checker.h"
#include "registry/oci.h"

#define KP_METRICS_CODES 12 /* the status codes that are told apart; others count as "other" */

struct kp_metrics {
    uint64_t requests[KP_ROUTE_COUNT][KP_METRICS_CODES]; /* atomic */
    uint64_t bytes[KP_ROUTE_COUNT];
    uint64_t aborted;
};
void kp_metrics_count(struct kp_metrics *metrics, enum kp_route route, unsigned status,
                      uint64_t bytes, bool complete);
void kp_metrics_format(const struct kp_metrics *metrics, const struct kp_catalog *catalog,
                       const struct kp_http_counters *http,
                       const struct kp_checker_counters *checks, struct kp_buf *out);
