/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pre-checks: all findings of all nodes at once, from their facts, before anything changes. Pure:
 * facts in, findings out; nothing here talks to a node.
 */
#pragma once

#include "install/step.h"

enum kp_level { KP_LEVEL_NOTE /* nothing to do */, KP_LEVEL_WARNING, KP_LEVEL_ERROR };
struct kp_finding {
    const struct kp_site_node *node; /* NULL: of the whole site */
    enum kp_level level;
    const char *check; /* static: "memory", "disk", "ports", … for --json */
    char *text, *next; /* what is wrong; what to do */
};
struct kp_findings {
    struct kp_finding *items;
    size_t count, errors, warnings;
};
void kp_findings_release(struct kp_findings *findings);
KP_DEFINE_AUTO_VALUE(kp_findings);
/* Looks at every node that is connected; nodes that failed to connect become findings too. */
void kp_preflight(const struct kp_site *site, struct kp_findings *out);
/* The table of SCREENS.md, the findings below it and the last line, to out. */
void kp_preflight_print(const struct kp_site *site, const struct kp_findings *findings, FILE *out);
/* Only the findings, one line each. */
void kp_preflight_print_findings(const struct kp_findings *findings, FILE *out);
json_t *kp_preflight_json(const struct kp_site *site, const struct kp_findings *findings);
