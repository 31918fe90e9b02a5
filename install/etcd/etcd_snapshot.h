/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots of etcd on the admin host: FILE.db and FILE.db.json, which says of which cluster, when,
 * by which member, with which digest, hash and revision. Both 0600: a snapshot holds every Secret.
 */
#pragma once

#include "install/etcd/etcd.h"

#define KP_ETCD_BACKUPS "/var/lib/kpack-etcd-backup" /* on nodes, 0700 */
#define KP_ETCD_SNAPSHOT_S 900

struct kp_etcd_snapshot {
    char cluster[64]; /* the inventory's name of it */
    char ca[65];      /* SHA-256 of the Kubernetes CA's key: whose data these are */
    char etcd[24];    /* etcd's own id of the cluster, in decimal */
    char node[64], version[32], bundle[65], kubernetes[32], time[48];
    char sha256[65];
    uint64_t size, revision, keys, hash;
};
json_t *kp_etcd_snapshot_json(const struct kp_etcd_snapshot *snapshot);
KP_CHECK int kp_etcd_snapshot_read(struct kp_etcd_snapshot *out, const json_t *document,
                                   const char *name, struct kp_err *err);
/* "<path>.json"; *found false where it is not there. */
KP_CHECK int kp_etcd_snapshot_load(struct kp_etcd_snapshot *out, const char *path, bool *found,
                                   struct kp_err *err);
/* SHA-256 of the key of the Kubernetes CA on a control plane that is connected. */
KP_CHECK int kp_etcd_identity(struct kp_site *site, char out[65], struct kp_err *err);
/* What etcdutl says of a snapshot on a node: it verifies the hash inside. */
KP_CHECK int kp_etcd_snapshot_judge(struct kp_site *site, struct kp_site_node *node,
                                    const char *path, struct kp_etcd_snapshot *out,
                                    struct kp_err *err);
/* Makes one on the leader's node, verifies it there, copies it to path (made 0600, atomically) and
 * verifies the copy; the node's own is removed. */
KP_CHECK int kp_etcd_snapshot_take(struct kp_site *site, const char *path,
                                   struct kp_etcd_snapshot *out, struct kp_err *err);
/* Sends the file to the path on the node; verified there by sha256 (hex). One that is there and
 * right is left. */
KP_CHECK int kp_etcd_snapshot_send(struct kp_site *site, struct kp_site_node *node,
                                   const char *file, const char *path, const char *sha256,
                                   struct kp_err *err);
