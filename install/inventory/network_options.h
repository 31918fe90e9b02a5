/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the inventory says of the cluster's own network, beside pods and services: families, sizes,
 * kube-proxy, names. Pure; the keys are rows of install/inventory/keys_table.c.
 */
#pragma once

#include "install/inventory/keys.h"

#define KP_DNS_HOSTS_MAX 512
#define KP_DNS_HOST_ADDRESSES_MAX 16
#define KP_FAMILIES_MAX 2
/* Where pods find the node's own DNS cache; Kubernetes' documents use the same. */
#define KP_NODE_LOCAL_DNS4 "169.254.20.10"
#define KP_NODE_LOCAL_DNS6 "fd00:169:254:20::10"

struct kp_inventory;
struct kp_node;

enum kp_proxy { KP_PROXY_IPTABLES, KP_PROXY_IPVS, KP_PROXY_NFTABLES, KP_PROXY_NONE };

struct kp_dns_host {
    const char *name;
    const char **addresses;
    size_t count;
};
struct kp_network_options {
    unsigned mtu;          /* of the pods' interfaces; 0: what the plugin finds */
    unsigned vxlan_port;   /* 0: the plugin's own */
    const char *interface; /* that nodes reach each other by; NULL: the plugin looks */
    unsigned kube_proxy;   /* enum kp_proxy */
    struct kp_dns_host *dns_hosts;
    size_t dns_host_count;
    bool node_local_dns;
};

/* "iptables" … */
const char *kp_proxy_name(unsigned proxy);
/* By the pods' networks: both families, IPv6 at all, IPv6 alone. */
bool kp_inventory_dual(const struct kp_inventory *inventory);
bool kp_inventory_has_ip6(const struct kp_inventory *inventory);
/* The node's addresses that the cluster uses, the cluster's first family first; their number. */
size_t kp_node_addresses(const struct kp_node *node, const char *out[KP_FAMILIES_MAX]);
/* An address that both have, or NULL. */
const char *kp_node_same_address(const struct kp_node *a, const struct kp_node *b);
/* What kube-controller-manager cuts for each node out of the pods' IPv6 network: /64 where the
 * network is large enough for it, else 256 times smaller than the network. */
unsigned kp_inventory_mask6(const struct kp_inventory *inventory);
/* Where the kubelets send pods for names: the Service of CoreDNS, or the node's own cache. kp_free.
 */
char *kp_inventory_dns(const struct kp_inventory *inventory);

/* OWN readers of the table: `address`, `pods` and `services`, `dns_hosts`. */
KP_CHECK int kp_network_read_address(const struct kp_key *key, const struct kp_reading *reading,
                                     const struct kp_yaml *value, void *into);
KP_CHECK int kp_network_read_cidrs(const struct kp_key *key, const struct kp_reading *reading,
                                   const struct kp_yaml *value, void *into);
KP_CHECK int kp_network_read_dns_hosts(const struct kp_key *key, const struct kp_reading *reading,
                                       const struct kp_yaml *value, void *into);
/* Behind the nodes: default networks of the nodes' families, and whether all of it fits together.
 */
KP_CHECK int kp_network_settle(const struct kp_reading *reading, const struct kp_yaml *root);
