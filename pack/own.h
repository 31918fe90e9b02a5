/* SPDX-License-Identifier: Apache-2.0 */
/* Our own static programs for the nodes, found per arch under libexec, checked to be what they
 * claim. */
#pragma once

#include "core/cli.h"
#include "pack/plan.h"

#define KP_OWN_FOLDER "/usr/local/libexec/kpack"
#define KP_OWN_URL "kpack" /* origin of our own files in plan and bundle */

/* Fills KP_OWN_PROGRAMS files for the arch. Refused: not there (KP_MISSING "missing_arch"), of
 * another machine, or dynamically linked (sites have no libraries to link with). */
KP_CHECK int kp_own_find(struct kp_arena *arena, const struct kp_text_list *folders,
                         const char *folder_default, const char *arch,
                         struct kp_plan_file files[KP_OWN_PROGRAMS], struct kp_err *err);
/* <folder of the executable>/.. : share/kpack and libexec/kpack lie beneath it, installed and in
 * the build tree alike. kp_free. */
char *kp_own_base(void);
