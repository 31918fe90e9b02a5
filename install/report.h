/* SPDX-License-Identifier: Apache-2.0 */
/* What a run says at its end: per failed node the step, the command, its output and what to do. */
#pragma once

#include "install/step.h"

void kp_report_failures(const struct kp_site *site, const char *again, FILE *out);
json_t *kp_report_nodes(const struct kp_site *site);
