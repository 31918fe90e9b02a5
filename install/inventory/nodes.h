/* SPDX-License-Identifier: Apache-2.0 */
/* What a table of keys cannot say of nodes: readers of single keys, and what is settled after. */
#pragma once

#include "install/inventory/inventory.h"
#include "install/inventory/keys.h"

/* Readers of rows (keys.h): into is the struct kp_node, for the defaults the struct kp_inventory.
 */
int kp_nodes_read_roles(const struct kp_key *key, const struct kp_reading *reading,
                        const struct kp_yaml *value, void *into);
int kp_nodes_read_taints(const struct kp_key *key, const struct kp_reading *reading,
                         const struct kp_yaml *value, void *into);
int kp_nodes_read_ssh(const struct kp_key *key, const struct kp_reading *reading,
                      const struct kp_yaml *value, void *into);
int kp_nodes_read_ssh_defaults(const struct kp_key *key, const struct kp_reading *reading,
                               const struct kp_yaml *value, void *into);
void kp_nodes_begin(const struct kp_reading *reading, const char *name, const struct kp_yaml *map,
                    void *into);
int kp_nodes_done(const struct kp_reading *reading, const struct kp_yaml *map, void *into);
/* Of all nodes, once they are read: control planes first. list is theirs. */
KP_CHECK int kp_nodes_settle(const struct kp_reading *reading, const struct kp_yaml *list);
