/* SPDX-License-Identifier: Apache-2.0 */
#include "install/check/findings.h"

#define FINDINGS_MAX 100000

void kp_findings_release(struct kp_findings *findings)
{
    for (size_t i = 0; i < findings->count; i++) {
        kp_free(findings->items[i].text);
        kp_free(findings->items[i].next);
    }
    kp_free(findings->items);
    *findings = (struct kp_findings){0};
}

void kp_findings_add(struct kp_findings *findings, const struct kp_site_node *node,
                     enum kp_level level, const char *check, const char *text, const char *next)
{
    if (findings->count == FINDINGS_MAX)
        return;
    findings->items =
        kp_realloc_array(findings->items, findings->count + 1, sizeof(struct kp_finding));
    findings->items[findings->count++] =
        (struct kp_finding){node, level, check, kp_strdup(text), kp_strdup(next)};
    if (level == KP_LEVEL_ERROR)
        findings->errors++;
    else if (level == KP_LEVEL_WARNING)
        findings->warnings++;
}
