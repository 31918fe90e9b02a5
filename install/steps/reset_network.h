/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "core/buf.h"
#include "install/step.h"

/* Takes away what Flannel, Calico, Cilium, Multus and kube-proxy left; nothing where there is
 * nothing. */
KP_CHECK int kp_reset_network(struct kp_site *site, struct kp_site_node *node, struct kp_err *err);
/* Input for `iptables-restore --noflush` that takes away the chains of
 * kube-proxy and network plugins (KUBE-*, CNI-*, FLANNEL-*, CILIUM_*, cali-*) of one table and the
 * rules that jump to them, and nothing else; "" where there are none. save: the
 * output of iptables-save -t TABLE. kp_free. */
char *kp_reset_rules(struct kp_slice save, const char *table);

/* The interface is one that such a plugin makes, and nobody else. */
bool kp_reset_is_our_link(struct kp_slice name);
