/* SPDX-License-Identifier: Apache-2.0 */
/* What other steps and tests use of the phase prepare. */
#pragma once

#include "install/step.h"

/* /etc/hosts with our block replaced, or put at the end; without block: taken away. kp_free. */
char *kp_hosts_merge(struct kp_slice old, const char *block);
/* Where our block of the hosts file has the name; NULL: nowhere. kp_free. */
char *kp_hosts_address(struct kp_slice hosts, const char *name);
/* Writes the block: all nodes, and the cluster's own name at that address (NULL: not at all). */
KP_CHECK int kp_place_hosts(struct kp_site *site, struct kp_site_node *node, const char *address,
                            bool *changed, struct kp_err *err);
