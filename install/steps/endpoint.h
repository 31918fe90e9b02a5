/* SPDX-License-Identifier: Apache-2.0 */
/* The way to the API on each node (install/endpoint.h), behind init and join. */
#pragma once

#include "core/buf.h"
#include "install/step.h"

/* Behind its join: haproxy or kube-vip where they belong, the name in the hosts file, and the pods
 * that hold a stale copy of it made anew. May be run any number of times. */
KP_CHECK int kp_endpoint_settle(struct kp_site *site, struct kp_site_node *node,
                                struct kp_err *err);
/* kube-vip's pod for the first control plane while it is made; nothing in other modes. */
KP_CHECK int kp_endpoint_before_init(struct kp_site *site, struct kp_site_node *node,
                                     struct kp_err *err);
/* The API server's certificate has all names of the endpoint and of the inventory: else it is
 * issued anew, on this control plane alone. */
KP_CHECK int kp_endpoint_certificate(struct kp_site *site, struct kp_site_node *node,
                                     struct kp_err *err);

/* Waits until this node's own API server is ready and serves a certificate with that name. */
KP_CHECK int kp_endpoint_await(struct kp_site *site, struct kp_site_node *node, const char *name,
                               struct kp_err *err);

/* Uids of pods whose copy of the hosts file has the name at another address than wanted, each once,
 * separated by spaces. listing: lines "/var/lib/kubelet/pods/<uid>/etc-hosts:ADDRESS NAME". Static
 * pods (uids without dashes) are left out: none of them asks by the name. kp_free. */
char *kp_endpoint_stale_pods(struct kp_slice listing, const char *wanted);
