/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "install/step.h"

/* Takes a runtime of that kind away, with its configuration, images and containers, where its unit
 * is ours. Its programs stay. */
KP_CHECK int kp_reset_runtime(struct kp_site *site, struct kp_site_node *node,
                              enum kp_runtime_kind kind, struct kp_err *err);
