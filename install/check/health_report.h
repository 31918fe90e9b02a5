/* SPDX-License-Identifier: Apache-2.0 */
/* What the verification of a cluster found; the last one stays as report.json in the state folder.
 */
#pragma once

#include "install/step.h"

struct kp_health {
    json_t *checks; /* [{name, ok, seconds, detail, failures: [texts]}] in order */
    bool ok;
    char first_failure[512];
};
void kp_health_release(struct kp_health *health);
KP_DEFINE_AUTO_VALUE(kp_health);

/* Adds a check to the report; no failures: it is well. Takes failures. */
void kp_health_note(struct kp_health *health, const char *name, double start, const char *detail,
                    json_t *failures);
KP_CHECK int kp_health_store(const struct kp_health *health, const struct kp_site *site, bool deep,
                             struct kp_err *err);
/* The last report in the state folder was a deep one of this bundle, all was well, and this run has
 * changed nothing so far. */
bool kp_health_still_proven(struct kp_site *site);
