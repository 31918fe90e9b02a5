/* SPDX-License-Identifier: Apache-2.0 */
/* What is found wrong before anything changes: one list for all nodes. */
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
/* Copies the texts; next: what to do, or NULL. What is beyond 100000 findings is not kept. */
void kp_findings_add(struct kp_findings *findings, const struct kp_site_node *node,
                     enum kp_level level, const char *check, const char *text, const char *next);
