/* SPDX-License-Identifier: Apache-2.0 */
/* Ctrl-C and SIGTERM as a flag and a descriptor, so that loops can end in an orderly way. */
#pragma once

#include "core/err.h"

/* Catches SIGINT, SIGTERM and SIGHUP, ignores SIGPIPE. A second SIGINT ends the process at once. */
void kp_interrupt_catch(void);
bool kp_interrupted(void);
int kp_interrupt_fd(void); /* readable once interrupted; for poll; -1 before kp_interrupt_catch */
/* KP_FAILED "interrupted" where interrupted, else 0. */
KP_CHECK int kp_interrupt_check(struct kp_err *err);
