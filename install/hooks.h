/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scripts of the bundle beside the phases. On a node one runs as a transient unit, so that it goes
 * on when the connection is lost, and the next run waits for it; here it is a child. Each runs once
 * in a run: what a run that was cut off has done is in hooks.json of the state folder, and is not
 * done again by the run that continues it. A run that ended well begins anew.
 */
#pragma once

#include "install/step.h"

/* The step that runs the hook which is site->hook on its nodes. */
struct kp_step kp_hook_step(const struct kp_hook *hook);
/* A line for each hook. */
void kp_hooks_plan(struct kp_site *site);
/* The run ended well. */
void kp_hooks_end(struct kp_site *site);
