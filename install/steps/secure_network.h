/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "install/step.h"

/* The NetworkPolicy with which the inventory's security.isolated and every namespace of the label
 * begin: all denied, DNS allowed. Where the network does not enforce it: nothing. */
KP_CHECK int kp_secure_network(struct kp_site *site, struct kp_site_node *node, struct kp_err *err);
