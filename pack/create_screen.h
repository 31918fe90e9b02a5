/* SPDX-License-Identifier: Apache-2.0 */
/* What kpack create shows while it works, and its plan. */
#pragma once

#include "core/screen.h"
#include "pack/gather.h"

struct kp_create_screen;
/* screen is borrowed. */
struct kp_create_screen *kp_create_screen_new(struct kp_screen *screen);
void kp_create_screen_free(struct kp_create_screen *shown);
KP_DEFINE_AUTO(kp_create_screen);
struct kp_fetch_watch kp_create_watch(struct kp_create_screen *shown);
/* Bytes that the summary row counts to at first; what is learned on the way is added. */
void kp_create_expect(struct kp_create_screen *shown, uint64_t bytes);

/* "release …" and "plan …", two lines; kp_free. */
char *kp_plan_summary(const struct kp_gather *gather);
/* Every file, image and manifest with its size and how it is checked, as tables on stdout. */
void kp_plan_print(const struct kp_gather *gather);
json_t *kp_plan_json(const struct kp_gather *gather);
/* Node programs that are not carried, by package name: calls line once per family of distributions.
 */
void kp_plan_programs(const struct kp_plan *plan, void (*line)(void *user, const char *text),
                      void *user);
