/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --hook PHASE:before|after:WHERE[:SECONDS]=FILE: a script that kinstall runs beside a phase, on
 * the admin host or on nodes. It is carried as a file of the bundle, for every arch.
 */
#pragma once

#include "pack/plan.h"

#define KP_HOOK_SIZE_MAX ((size_t)1 << 20)
#define KP_HOOK_FOLDER "/var/lib/kpack/hooks"

/* One more of the plan's hooks: what the text says into *hook, and its file, whose arch is the
 * caller's to set, into *file. `number` makes its name. KP_USAGE says what is wrong and what there
 * is to choose from. */
KP_CHECK int kp_hook_describe(struct kp_arena *arena, const char *text, size_t number,
                              struct kp_hook *hook, struct kp_plan_file *file, struct kp_err *err);
