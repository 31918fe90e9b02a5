/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one address of the API (docs/inventory.md, kubernetes.endpoint): what its name stands for on
 * each node, and the texts that make it so. Pure: nothing here talks to a node.
 */
#pragma once

#include "install/inventory/inventory.h"

#define KP_API_PORT 6443
#define KP_HAPROXY_FOLDER "/etc/kpack/haproxy"
#define KP_HAPROXY_CONFIG KP_HAPROXY_FOLDER "/haproxy.cfg"
#define KP_HAPROXY_POD "/etc/kubernetes/manifests/haproxy.yaml"
#define KP_VIP_POD "/etc/kubernetes/manifests/kube-vip.yaml"

enum kp_endpoint_mode {
    KP_ENDPOINT_LOCAL,    /* each control plane itself, workers through a haproxy of their own */
    KP_ENDPOINT_FIRST,    /* the first control plane */
    KP_ENDPOINT_VIP,      /* an address that kube-vip moves between the control planes */
    KP_ENDPOINT_EXTERNAL, /* host:port of the user's load balancer */
};
enum kp_endpoint_mode kp_endpoint_mode(const struct kp_inventory *inventory);
/* Whether this node needs a haproxy: a worker of mode local with more than one control plane. */
bool kp_endpoint_balanced(const struct kp_inventory *inventory, const struct kp_node *node);
/* Where the cluster's name points on this node: once it has joined, or before (live: address of a
 * control plane that answers). NULL in mode external, which has a name of its own. */
const char *kp_endpoint_address(const struct kp_inventory *inventory, const struct kp_node *node,
                                bool joined, const char *live);
/* "demo.kpack.internal:6443", or the inventory's own host:port; kp_free. */
char *kp_endpoint_text(const struct kp_inventory *inventory);
/* The host of an external endpoint without port and brackets, else NULL; kp_free. */
char *kp_endpoint_external_host(const struct kp_inventory *inventory);
/* Lines for /etc/hosts: all nodes, and the cluster's name at address (NULL: left out). kp_free. */
char *kp_endpoint_hosts(const struct kp_inventory *inventory, const char *address);

/* By the release's short name, or as the user gave it (`--image ghcr.io/kube-vip/kube-vip:…`). */
const struct kp_image *kp_endpoint_image(const struct kp_manifest *manifest, const char *name);
/* False for images that no node of this kind needs: haproxy where there is none, kube-vip. */
bool kp_endpoint_wants_image(const struct kp_inventory *inventory, const struct kp_node *node,
                             const struct kp_image *image);

/* haproxy's configuration and its static pod; a change of the first changes the second, so that the
 * kubelet makes the pod anew. *config, *pod: kp_free. */
KP_CHECK int kp_endpoint_render_haproxy(char **config, char **pod,
                                        const struct kp_inventory *inventory,
                                        const struct kp_manifest *manifest, struct kp_err *err);
/* kube-vip's static pod. making: on the first control plane until its init is done, when from
 * Kubernetes 1.29 on (minor 129) admin.conf has no rights yet. *pod: kp_free. */
KP_CHECK int kp_endpoint_render_vip(char **pod, const struct kp_inventory *inventory,
                                    const struct kp_manifest *manifest, unsigned minor, bool making,
                                    struct kp_err *err);
/* The admin's kubeconfig out of kubeadm's admin.conf: the cluster's context first, in modes without
 * a balanced address one for each control plane beside it, by address with tls-server-name.
 * *out: a secret, kp_free_secret. KP_DAMAGED where admin_conf is not what kubeadm writes. */
KP_CHECK int kp_endpoint_kubeconfig(char **out, const struct kp_inventory *inventory,
                                    struct kp_slice admin_conf, struct kp_err *err);
/* The cluster's CA out of such a file, PEM; false where there is none. *out: kp_free. */
bool kp_endpoint_ca(char **out, size_t *len, struct kp_slice kubeconfig);
