/* SPDX-License-Identifier: Apache-2.0 */
/* kube-proxy as the inventory wants it (kubernetes.kube_proxy): on the nodes and in the cluster. */
#pragma once

#include "install/step.h"
#include "manifests/render.h"

#define KP_PROXY_MODULES_MAX 16

/* Kernel modules that the mode stands on; their number. */
size_t kp_proxy_modules(const struct kp_inventory *inventory, const char **out, size_t max);
/* Others announce addresses on the nodes' network by ARP (kube-vip, MetalLB). */
bool kp_wants_strict_arp(const struct kp_site *site);
/* "guards": per family "-4" or "-6", and "from PODS to SERVICES". What a pod sends to a Service is
 * rewritten before it is routed; what is not must not leave the site by the default route. */
void kp_proxy_guards(struct kp_vars *vars, const struct kp_inventory *inventory);
/* Takes the rules away that the kubelet's unit made of them. */
KP_CHECK int kp_proxy_unguard(struct kp_site *site, struct kp_site_node *node, struct kp_err *err);
/* KubeProxyConfiguration out of its ConfigMap; *config (json_decref) stays NULL where there is
 * none. */
KP_CHECK int kp_proxy_config(struct kp_site *site, json_t **config, struct kp_err *err);
/* Of the addons: the cluster's configuration follows the inventory, kube-proxy is restarted. */
KP_CHECK int kp_proxy_apply(struct kp_site *site, struct kp_site_node *first, struct kp_err *err);
#define KP_PROXY_TRACE_MAX 8
/* How a node shows that the Service at address is known to kube-proxy: argv, a text that its output
 * then has (kp_free), and one that it has where kube-proxy knows any. False in modes where nothing
 * shows it. */
bool kp_proxy_trace(const struct kp_inventory *inventory, const char *address, const char **argv,
                    char **text, const char **alive);
