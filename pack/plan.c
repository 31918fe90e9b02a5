/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/plan.h"

const char *kp_checked_text(enum kp_checked checked)
{
    static const char *const texts[KP_CHECKED_COUNT] = {"seen", "pinned", "expected-match",
                                                        "expected-mismatch", "local"};
    return texts[checked];
}

struct kp_plan *kp_plan_new(void)
{
    struct kp_plan *plan = kp_alloc(sizeof(*plan));
    plan->arena = kp_arena_new();
    return plan;
}

void kp_plan_free(struct kp_plan *plan)
{
    if (!plan)
        return;
    json_decref(plan->revocations);
    kp_arena_free(plan->arena);
    kp_free(plan);
}
