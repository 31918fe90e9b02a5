/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hand: the control plane by which the cluster is asked and told. A node's own record says that
 * it was brought in, never that it was taken out behind its back: one that was removed as dead and
 * comes back with its old disk still has it. So the cluster is asked who its control planes are.
 */
#pragma once

#include "install/step.h"

/* The names of the cluster's control planes as this node's API server has them, one a line:
 * "node/cp1"; false where it cannot tell. kp_free. */
typedef bool kp_hand_ask(struct kp_site_node *node, char **names);
/* By kubectl on the node. */
bool kp_hand_ask_node(struct kp_site_node *node, char **names);

/* Asks those that are connected and in the cluster by their own record, in order, until one can
 * tell, and sets `removed` of those that the cluster does not know. Nobody is asked where there is
 * no choice; where nobody can tell the records stand. */
void kp_hand_look(struct kp_site *site, kp_hand_ask *ask);
/* The first that is connected, in the cluster and not removed; except (may be NULL): any but this
 * one. node_count where there is none. */
size_t kp_hand_find(const struct kp_site *site, const char *except);
/* Before anything is changed: those that were removed fail, and are told how they come back. */
void kp_hand_refuse_removed(struct kp_site *site);
