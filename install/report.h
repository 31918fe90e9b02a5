/* SPDX-License-Identifier: Apache-2.0 */
/* What a run says at its end: per failed node the step, the command, its output and what to do. */
#pragma once

#include "install/step.h"

void kp_report_failures(const struct kp_site *site, const char *again, FILE *out);
json_t *kp_report_nodes(const struct kp_site *site);
/* The document of a verb that has nothing more to say: the cluster and what became of each node.
 * Returns result (kp_json_end). */
int kp_report_end(const struct kp_site *site, int result, struct kp_err *err);
