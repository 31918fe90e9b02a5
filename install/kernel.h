/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel parameters that nodes are given: which, why, and what a node cannot have. */
#pragma once

#include "install/step.h"

#define KP_KERNEL_BEFORE "/var/lib/kpack/sysctl.json"
#define KP_KERNEL_FILE "/etc/sysctl.d/90-kpack.conf"
#define KP_KERNEL_SETTINGS_MAX 96 /* as knode takes at once */

struct kp_kernel_setting {
    const char *key, *value;
    bool kubelet;    /* a kubelet with protectKernelDefaults does not start without it */
    bool adjustable; /* `sysctls` of the inventory may say another value */
    bool own;        /* of the inventory alone */
};
/* Those that every cluster wants, ended by key NULL. */
extern const struct kp_kernel_setting kp_kernel_settings[];

/* What this node is to have: what its cluster needs (IPv6 only where pods have it), and what the
 * inventory says. The number of them. */
size_t kp_kernel_wanted(const struct kp_site *site, const struct kp_site_node *node,
                        struct kp_kernel_setting out[KP_KERNEL_SETTINGS_MAX]);
/* kinstall decides it alone: not to be set by the inventory. */
bool kp_kernel_is_decided(const char *key);
/* By the node's facts: it is so already, or can be set; also where the facts do not say. One of the
 * inventory must be known to the kernel, too. */
bool kp_kernel_can(const struct kp_site_node *node, const struct kp_kernel_setting *setting);
/* Every node can have all that the kubelet wants: protectKernelDefaults may be on. */
bool kp_kernel_protect(const struct kp_site *site);
/* {key: value} of what differs on the node now from what it is to be given, by its facts. */
json_t *kp_kernel_before(const struct kp_site *site, const struct kp_site_node *node);
/* What our file on a node says: {"net.core.somaxconn": "2048"}. */
json_t *kp_kernel_parse(struct kp_slice text);
/* Adds to before ({key: value}) what the node has now and is to be given otherwise, unless it was
 * given by us (ours: kp_kernel_parse) or is there already. Was anything added? */
bool kp_kernel_keep(json_t *before, const json_t *ours, const struct kp_site *site,
                    const struct kp_site_node *node);
/* "key=value", as it was before, of what we gave the node and it is to have no more; what a
 * container shares with its host stays. Texts live in arena. The number of them. */
size_t kp_kernel_dropped(const struct kp_site *site, const struct kp_site_node *node,
                         const json_t *ours, const json_t *before, struct kp_arena *arena,
                         const char **out, size_t max);
/* "key=value" of all in before that is still what we have set, and the node's own: a container
 * shares all but net.* with its host. Texts live in arena. The number of them. */
size_t kp_kernel_restore(const struct kp_site *site, const struct kp_site_node *node,
                         const json_t *before, struct kp_arena *arena, const char **out,
                         size_t max);
