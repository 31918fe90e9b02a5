/* SPDX-License-Identifier: Apache-2.0 */
/* The node's own firewall gets what its roles need (install/firewall.h), and loses it by reset. */
#pragma once

#include "install/step.h"

KP_CHECK int kp_firewall_apply(struct kp_site *site, struct kp_site_node *node, struct kp_err *err);
KP_CHECK int kp_firewall_reset(struct kp_site *site, struct kp_site_node *node, struct kp_err *err);
