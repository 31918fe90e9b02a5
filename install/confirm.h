/* SPDX-License-Identifier: Apache-2.0 */
/* What cannot be taken back is done only after somebody typed the name of what it is done to. */
#pragma once

#include "core/mem.h"

/* yes: --yes was given. Without it and without a terminal: KP_USAGE. `what` is a sentence ("This
 * takes … from: cp1 w1"), word what is to be typed, kind what that is ("the cluster's name"). */
KP_CHECK int kp_confirm(bool yes, const char *what, const char *kind, const char *word,
                        struct kp_err *err);
