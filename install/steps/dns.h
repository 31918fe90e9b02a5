/* SPDX-License-Identifier: Apache-2.0 */
/* CoreDNS as the inventory wants it, its pods on more than one node, the nodes' own DNS cache. */
#pragma once

#include "install/step.h"

/* The Corefile, and that its pods spread: before the network is there, so that nothing restarts. */
KP_CHECK int kp_dns_corefile(struct kp_site *site, struct kp_site_node *first, struct kp_err *err);
KP_CHECK int kp_dns_spread(struct kp_site *site, struct kp_site_node *first, struct kp_err *err);
/* Of the addons. A pod of CoreDNS moves where all are on one node and there is another. */
KP_CHECK int kp_dns_balance(struct kp_site *site, struct kp_site_node *first, struct kp_err *err);
KP_CHECK int kp_dns_cache(struct kp_site *site, struct kp_site_node *first, struct kp_err *err);

/* For tests. *out: kp_free. */
KP_CHECK int kp_dns_render_corefile(char **out, const struct kp_inventory *inventory,
                                    struct kp_err *err);
/* image: the reference of k8s-dns-node-cache. cluster_dns: the address of CoreDNS's Service. */
KP_CHECK int kp_dns_render_cache(char **out, const struct kp_inventory *inventory,
                                 const char *image, struct kp_err *err);
/* The name of the pod that is to move (borrowed from pods), or NULL: by `kubectl get` of CoreDNS's
 * pods and of the nodes. */
const char *kp_dns_crowded(const json_t *pods, const json_t *nodes);
