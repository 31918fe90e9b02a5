/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kubelets' serving certificates. Kubelets ask the cluster for them (serverTLSBootstrap), and a
 * rule set (install/node/approve_rules.h) decides on each control plane: the service kpack-approve,
 * which kinstall starts where it waits for a certificate and a timer starts each minute, so that
 * rotation needs no kinstall. It goes by the inventory's nodes and addresses, which are placed
 * beside it, and by a credential of its own that can do nothing else.
 */
#pragma once

#include "install/step.h"

#define KP_APPROVE_SERVICE "kpack-approve.service"
#define KP_APPROVE_TIMER "kpack-approve.timer"
#define KP_APPROVE_FOLDER "/run/kpack/approve"
#define KP_APPROVE_LAST KP_APPROVE_FOLDER "/last.json"
#define KP_APPROVE_LAST_MAX ((size_t)1 << 20)

/* The role and its binding, in the cluster. */
KP_CHECK int kp_approve_role(struct kp_site *site, struct kp_site_node *first, struct kp_err *err);
/* On a control plane: nodes, credential, service and timer. The credential is made anew where less
 * than half of its year is left, or in a renewal that is due. */
KP_CHECK int kp_approve_place(struct kp_site *site, struct kp_site_node *node, struct kp_err *err);
/* The same where it is in place already (any node else is left as it is): its service must follow
 * to the bundle's knode before older ones are removed. */
KP_CHECK int kp_approve_follow(struct kp_site *site, struct kp_site_node *node, struct kp_err *err);
/* The nodes alone; without one that leaves (may be NULL). */
KP_CHECK int kp_approve_place_nodes(struct kp_site *site, struct kp_site_node *node,
                                    const char *without, struct kp_err *err);
/* Makes the credential anew. */
KP_CHECK int kp_approve_credential(struct kp_site *site, struct kp_site_node *node,
                                   struct kp_err *err);
/* Whether the node's kubelet asks the cluster for its serving certificate, by its configuration. */
KP_CHECK int kp_approve_asks(struct kp_site *site, struct kp_site_node *node, bool *asks,
                             struct kp_err *err);
/* The node's kubelet serves with a certificate of the cluster's CA: waits for it, and names why a
 * request was left alone. Kubelets that do not ask (an older configuration) are left as they are.
 */
KP_CHECK int kp_approve_serving(struct kp_site *site, struct kp_site_node *node,
                                struct kp_err *err);
/* What the last look on this control plane left alone: *out the array "refused" of its result
 * (json_decref), NULL where none was taken yet. */
KP_CHECK int kp_approve_refused(struct kp_site_node *node, json_t **out, struct kp_err *err);
/* Pure: the document that the rules read, nodes by name. kp_free. */
char *kp_approve_nodes_text(const struct kp_inventory *inventory, const char *without);
