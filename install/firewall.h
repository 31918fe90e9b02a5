/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's own firewall: what a node's roles need of it, and that as rules of nftables, firewalld
 * and ufw. Pure: nothing here talks to a node (install/steps/firewall.c does). Only an active
 * firewall gets rules, none is ever switched on or off, and the rules of others stay as they are.
 */
#pragma once

#include "install/step.h"

#define KP_OPENINGS_MAX 32
#define KP_FIREWALL_TEXT_MAX ((size_t)4 << 20)
#define KP_FIREWALL_SCRIPT "/usr/local/libexec/kpack/firewall"
#define KP_FIREWALL_CHAINS_MAX 16

enum kp_opening_from {
    KP_FROM_ANY,
    KP_FROM_API,   /* security.api_from: anybody where that is not given */
    KP_FROM_NODES, /* all nodes of the inventory */
    KP_FROM_ETCD,  /* control planes and etcd's nodes */
};
struct kp_opening {
    const char *protocol; /* "tcp", "udp"; "4": IP in IP, which has no ports */
    unsigned first, last;
    enum kp_opening_from from;
    const char *why;
};
/* What this node needs, in the order of docs/operations.md; its number. Pods, which may go anywhere
 * and to which anybody may go as far as rules of the cluster let them, come beside it. */
size_t kp_firewall_openings(const struct kp_site *site, const struct kp_node *node,
                            struct kp_opening out[KP_OPENINGS_MAX]);
/* Their addresses and networks of one family, ", " between them; "" for none, NULL for anybody.
 * kp_free. */
char *kp_firewall_sources(const struct kp_inventory *inventory, enum kp_opening_from from, bool ip6,
                          const char *separator);

struct kp_chain_at { /* a chain that the kernel asks for every packet */
    const char *family, *table, *name, *hook;
    bool drops; /* its policy; else its rules are to be looked at */
};
/* The filter chains of others in `nft -j list chains`: not those of iptables, firewalld, kube-proxy
 * and network plugins. Texts are of the list. */
size_t kp_firewall_chains(const json_t *list, struct kp_chain_at out[KP_FIREWALL_CHAINS_MAX]);
/* The program that puts the rules into these chains, looks whether they are there (check), or takes
 * them out (remove). kp_free. */
KP_CHECK int kp_firewall_nft(char **out, const struct kp_site *site, const struct kp_node *node,
                             const struct kp_chain_at *chains, size_t n, struct kp_err *err);

/* firewalld's own files: two policies, and sets of addresses. */
#define KP_FIREWALLD_FILES_MAX 8
struct kp_firewalld_file {
    char *path, *text; /* text NULL: not needed here */
};
size_t kp_firewall_firewalld(const struct kp_site *site, const struct kp_node *node,
                             struct kp_firewalld_file out[KP_FIREWALLD_FILES_MAX]);

/* One rule a line, as `ufw show added` prints it without the leading "ufw ". kp_free. */
char *kp_firewall_ufw(const struct kp_site *site, const struct kp_node *node);
