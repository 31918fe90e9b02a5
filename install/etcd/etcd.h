/* SPDX-License-Identifier: Apache-2.0 */
/*
 * etcd of the cluster, stacked or external, asked through the etcdctl of a node whose own member is
 * meant. Which nodes carry it, what its members are, which one is a hand for the rest: decided
 * here.
 */
#pragma once

#include "install/step.h"

#define KP_ETCDCTL "/usr/local/bin/etcdctl"
#define KP_ETCDUTL "/usr/local/bin/etcdutl"
#define KP_ETCD_FOLDER "/etc/kpack/etcd"     /* external: certificates, settings */
#define KP_ETCD_DATA "/var/lib/kpack-etcd"   /* external: kubeadm reset knows nothing of it */
#define KP_ETCD_STACKED_DATA "/var/lib/etcd" /* kubeadm's */
#define KP_ETCD_MEMBERS_MAX 32
#define KP_ETCD_JSON_MAX ((size_t)4 << 20)
#define KP_ETCD_UNIT "etcd.service"

struct kp_etcd_member {
    char id[24];    /* decimal, as etcdctl's JSON has it; kp_etcd_hex for its commands */
    char name[64];  /* "" : added, never started */
    char peer[128]; /* its first peer URL */
    bool learner;
};
struct kp_etcd_members {
    struct kp_etcd_member items[KP_ETCD_MEMBERS_MAX];
    size_t count;
};
struct kp_etcd_status {                                    /* of one member, as it says itself */
    char cluster[24], member[24], leader[24], version[32]; /* ids in decimal */
    char storage[32]; /* "3.6.0": what may read its data; "" before 3.6 */
    uint64_t db_size, in_use, revision, raft_index, raft_term;
    bool learner;
};

/* Numbers of etcd's JSON may exceed 63 bits: integers of 16 and more digits become texts. */
KP_CHECK int kp_etcd_parse(json_t **out, struct kp_slice text, struct kp_err *err);
KP_CHECK int kp_etcd_read_members(struct kp_etcd_members *out, const json_t *answer,
                                  struct kp_err *err);
KP_CHECK int kp_etcd_read_status(struct kp_etcd_status *out, const json_t *answer,
                                 struct kp_err *err);
/* "14841639068965178418" -> "cdf818194e3a8c32" */
KP_CHECK int kp_etcd_hex(char out[17], const char *decimal, struct kp_err *err);

/* Does this node of the inventory carry a member? */
bool kp_etcd_carries(const struct kp_inventory *inventory, const struct kp_node *node);
size_t kp_etcd_count(const struct kp_inventory *inventory);
/* "https://10.77.0.21:2380"; kp_free. */
char *kp_etcd_url(const struct kp_node *node, unsigned port);
#define KP_ETCD_CLIENT_PORT 2379
#define KP_ETCD_PEER_PORT 2380

/* etcdctl at the node's own member; argv without the program. status NULL: another than 0 is an
 * error. *out (may be NULL): kp_free. */
KP_CHECK int kp_etcd_ctl(struct kp_site *site, struct kp_site_node *node, const char *const *argv,
                         unsigned timeout, int *status, char **out, struct kp_err *err);
/* How many lines of etcdctl's answer have the pattern (of grep); the answer itself does not leave
 * the node. */
KP_CHECK int kp_etcd_count_lines(struct kp_site *site, struct kp_site_node *node,
                                 const char *const *argv, const char *pattern, uint64_t *lines,
                                 struct kp_err *err);
/* Its own member answers and sees a quorum (a linearizable read). */
KP_CHECK int kp_etcd_is_healthy(struct kp_site *site, struct kp_site_node *node, bool *healthy,
                                struct kp_err *err);
KP_CHECK int kp_etcd_await(struct kp_site *site, struct kp_site_node *node, double seconds,
                           struct kp_err *err);
KP_CHECK int kp_etcd_list(struct kp_site *site, struct kp_site_node *node,
                          struct kp_etcd_members *out, struct kp_err *err);
KP_CHECK int kp_etcd_ask_status(struct kp_site *site, struct kp_site_node *node,
                                struct kp_etcd_status *out, struct kp_err *err);
/* A connected node with a healthy member, not `except` (may be NULL); *out NULL where there is none
 * within the time. */
KP_CHECK int kp_etcd_hand(struct kp_site *site, const struct kp_site_node *except, double seconds,
                          struct kp_site_node **out, struct kp_err *err);
/* The same where there has to be one: else that is the error, with the reason where a node that
 * carries a member could not be asked. */
KP_CHECK int kp_etcd_need_hand(struct kp_site *site, const struct kp_site_node *except,
                               double seconds, struct kp_site_node **out, struct kp_err *err);
/* By name, or by the node's address where it never started; NULL where it is not a member. */
const struct kp_etcd_member *kp_etcd_find(const struct kp_etcd_members *members,
                                          const struct kp_node *node);
/* May one more of n members go, of which `healthy` answer? The one that goes is one of the healthy
 * or not; those that stay must be a quorum of themselves. */
bool kp_etcd_can_lose(size_t n, size_t healthy, bool it_is_healthy);
