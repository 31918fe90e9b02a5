/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hosts.yaml: which nodes there are, how they are reached, what the cluster shall be; in our own
 * form or Kubespray's (install/inventory/kubespray.h). Every key is a row of
 * install/inventory/keys_table.c, which docs/inventory.md is made from.
 * Errors: hosts.yaml:14:7: nodes[2].address: …
 */
#pragma once

#include "bundle/manifest.h"
#include "install/inventory/custom.h"
#include "install/inventory/etcd_options.h"
#include "install/inventory/keys.h"
#include "install/inventory/network_options.h"
#include "install/inventory/registries.h"
#include "install/security.h"
#include "install/session/session.h"

#define KP_NODES_MAX 1000
#define KP_LABELS_MAX 64
#define KP_TEXTS_MAX 64

enum kp_sudo { KP_SUDO_UNSAID, KP_SUDO_AUTO, KP_SUDO_NOPASSWD, KP_SUDO_PASSWORD, KP_SUDO_NONE };
struct kp_taint {
    const char *key, *value, *effect; /* NoSchedule, PreferNoSchedule, NoExecute */
};
struct kp_node {
    const char *name;     /* DNS label; the node's name in Kubernetes */
    const char *address;  /* IP by which nodes reach each other, of the cluster's first family */
    const char *address2; /* of the other family, or NULL; both are the kubelet's --node-ip */
    size_t place;         /* in the inventory, control planes first; kp_inventory_at */
    unsigned roles;       /* KP_ROLE_* */
    bool mirror;          /* keeps the bundle and serves it */
    struct kp_ssh_target ssh;
    unsigned sudo_word; /* enum kp_sudo, as it was read last */
    bool ask_password;  /* `sudo: password`: asked for once per run, put into ssh.sudo_password */
    struct kp_pair *labels;
    size_t label_count;
    struct kp_pair *annotations, *sysctls;
    size_t annotation_count, sysctl_count;
    struct kp_pair *kubelet; /* fields of KubeletConfiguration and their JSON, on top of the
                                cluster's */
    size_t kubelet_count;
    const char **groups; /* of the inventory, which the four above came from, too */
    size_t group_count;
    struct kp_taint *taints; /* NULL and taints_set false: the role's default */
    size_t taint_count;
    bool taints_set;
    const char *runtime, *oci_runtime; /* NULL: the cluster's (install/runtime.h) */
    unsigned line;                     /* in the inventory */
};
struct kp_inventory {
    struct kp_arena *arena;
    const char *path;  /* as given */
    const char *notes; /* of a Kubespray inventory: lines about what was not taken over; or NULL */
    const char
        *cluster; /* DNS label; names the endpoint <cluster>.kpack.internal and the state folder */
    struct kp_node ssh_defaults; /* its ssh only */
    struct kp_node *nodes; /* control planes first, etcd alone last, else the order of the file */
    size_t node_count, control_plane_count;
    struct {
        const char *version;  /* "v1.30" or "v1.30.14": what the bundle must be; NULL: any */
        const char *network;  /* NULL: the bundle's */
        const char *endpoint; /* "local" | "first" | "kube-vip" | host:port (install/endpoint.h) */
        const char *vip_address, *vip_interface; /* of kube-vip; interface NULL: it finds its own */
        const char *pods, *services; /* one network, or "10.233.64.0/18,fd10:233:64::/56" */
        const char *domain;          /* cluster.local */
        const char *
            *ignore_preflight; /* names for kubeadm's --ignore-preflight-errors; NULL-terminated */
        size_t ignore_preflight_count;
        const char **cert_sans;
        size_t cert_san_count;
        const char *
            *resolvers; /* the site's DNS servers for CoreDNS; empty: none, no forward line */
        size_t resolver_count;
        bool keep_swap;
        struct kp_pair *kubelet, *kube_proxy; /* fields of their configurations, and their JSON */
        size_t kubelet_count, kube_proxy_count;
        struct kp_component apiserver, controller_manager, scheduler;
        struct kp_pair *feature_gates; /* of all components */
        size_t feature_gate_count;
        const char *patch_folder;
        struct kp_patch *patches; /* by name */
        size_t patch_count;
    } kubernetes;
    struct {
        unsigned port;      /* 5000 */
        const char *folder; /* on mirror nodes: /var/lib/kpack/bundles */
    } mirror;
    struct kp_network_options net;
    struct kp_pair *sysctls; /* of every node, beside what Kubernetes wants */
    size_t sysctl_count;
    struct kp_group *groups;
    size_t group_count;
    struct { /* the cluster's CA, where it is one of the site's (install/steps/site_ca.h) */
        const char *certificate, *key; /* files */
        bool requested;                /* signed by the site: kinstall certs request, accept */
    } pki;
    const char *runtime, *oci_runtime; /* NULL: the bundle's first, runc */
    struct kp_http_proxy proxy;
    struct kp_registry *registries;
    size_t registry_count;
    struct kp_security security;
    struct kp_etcd_options etcd;
    unsigned parallel; /* nodes at once in one step; default 20 */
};
KP_CHECK int kp_inventory_load(struct kp_inventory **out, const char *path, struct kp_err *err);
void kp_inventory_free(struct kp_inventory *inventory);
KP_DEFINE_AUTO(kp_inventory);
/* The inventory against the bundle: arches, network plugin, versions. */
KP_CHECK int kp_inventory_check_bundle(const struct kp_inventory *inventory,
                                       const struct kp_manifest *manifest, struct kp_err *err);
/* The node at that place of the inventory. What is written down lists nodes by this, so that it is
 * the same whichever control plane a run has put in front (kp_site_choose_first). */
const struct kp_node *kp_inventory_at(const struct kp_inventory *inventory, size_t place);
/* How many of the nodes, the first ones, are of the cluster itself: all but those that only carry
 * etcd. */
size_t kp_inventory_members(const struct kp_inventory *inventory);
/* The role of the nodes that carry a member of etcd: KP_ROLE_ETCD where it is external, else
 * KP_ROLE_CONTROL_PLANE. */
unsigned kp_inventory_etcd_role(const struct kp_inventory *inventory);
/* "demo.kpack.internal" */
char *kp_inventory_endpoint_name(const struct kp_inventory *inventory);
/* The state folder beside the inventory: <dir of path>/<cluster>.state; kp_free. */
char *kp_inventory_state_folder(const struct kp_inventory *inventory);
