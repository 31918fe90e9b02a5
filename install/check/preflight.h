/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pre-checks: all findings of all nodes at once, from their facts, before anything changes. Pure:
 * facts in, findings out; nothing here talks to a node.
 */
#pragma once

#include "install/check/findings.h"

/* Looks at every node that is connected; nodes that failed to connect become findings too. */
void kp_preflight(const struct kp_site *site, struct kp_findings *out);
/* The table of SCREENS.md, the findings below it and the last line, to out. */
void kp_preflight_print(const struct kp_site *site, const struct kp_findings *findings, FILE *out);
/* Only the findings, one line each. */
void kp_preflight_print_findings(const struct kp_findings *findings, FILE *out);
json_t *kp_preflight_json(const struct kp_site *site, const struct kp_findings *findings);
