/* SPDX-License-Identifier: Apache-2.0 */
/* Where a node's runtime and kubelet pull from, and with which credentials. */
#pragma once

#include "install/step.h"

/* certs.d of containerd, or registries.conf.d, policy and CAs of CRI-O. */
KP_CHECK int kp_place_pulls(struct kp_site *site, struct kp_site_node *node, struct kp_err *err);
/* The credentials of the inventory's registries in the kubelet's config.json; entries of others
 * stay. A kubelet that runs is restarted. */
KP_CHECK int kp_place_kubelet_auths(struct kp_site *site, struct kp_site_node *node,
                                    struct kp_err *err);
/* The CA of one of CRI-O's hosts, by its URL. */
KP_CHECK int kp_drop_crio_ca(struct kp_site *site, struct kp_site_node *node, const char *url,
                             struct kp_err *err);
/* "2.1.9": containerd knows dial_timeout in hosts.toml. */
bool kp_knows_dial_timeout(const char *version);
