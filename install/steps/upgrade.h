/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From one Kubernetes version to the next, node by node: which versions the nodes have and whether
 * the bundle's may follow them (kubernetes.io/releases/version-skew-policy), what is kept of the
 * old on each node, and the steps themselves. The order: mirrors (which serve the old bundle too),
 * images everywhere, the first control plane, the others, the network plugin, workers in batches,
 * then everything that apply does. What is done on a node stands in its record ("upgrade").
 */
#pragma once

#include "install/step.h"

#define KP_UPGRADE_STEP "upgrade" /* in the node's record; its digest is the version */
#define KP_KEPT_FOLDER "/var/lib/kpack/rollback"
#define KP_CORDONED_BY "kpack.io/cordoned-by"
#define KP_VERSION_MAX 32

struct kp_node_versions {
    bool member;                  /* init or join ended on it */
    char kubelet[KP_VERSION_MAX]; /* "v1.30.14": of the program on its disk; "" where none is */
    char control[KP_VERSION_MAX]; /* of kube-apiserver's manifest; "" on workers */
    bool done;                    /* its record says that the upgrade to the bundle's ended */
    bool begun;                   /* it began and did not end */
};
/* Asks every node that is connected; out has node_count of them. */
KP_CHECK int kp_upgrade_versions(struct kp_node_versions *out, struct kp_site *site,
                                 struct kp_err *err);
/* The version that the nodes are at which are not at `target` yet, or target's own where there is
 * none; from has KP_VERSION_MAX bytes. KP_FAILED: "downgrade", "skew" (two minors; names the one
 * between), "mixed", "not_member". names[i] belongs to versions[i]. */
KP_CHECK int kp_upgrade_judge(char *from, const struct kp_node_versions *versions,
                              const char *const *names, size_t count, const char *target,
                              struct kp_err *err);
/* For apply and plan: nodes that are in the cluster have the bundle's version already, else
 * KP_FAILED "other_version", which names upgrade. */
KP_CHECK int kp_upgrade_refuse_others(struct kp_site *site, struct kp_err *err);

/* What kp_steps_run is given, in order; *count of them. Borrowed. */
const struct kp_step *const *kp_upgrade_phases(size_t *count);

/* Programs, configuration and static pods as they are now go to KP_KEPT_FOLDER, once per upgrade:
 * what is kept for the same target is left alone, for a run that goes on may find it half changed.
 */
KP_CHECK int kp_upgrade_keep(struct kp_site *site, struct kp_site_node *node, const char *from,
                             struct kp_err *err);
/* What is kept there: from and to (KP_VERSION_MAX each); *found false where nothing is. */
KP_CHECK int kp_upgrade_kept(struct kp_site_node *node, char *from, char *to, bool *found,
                             struct kp_err *err);
/* Pure: an etcd of that image's tag ("3.5.24-0") reads data of that storage version ("3.6.0"; "":
 * before 3.6). Its data follow the cluster's version, and go back by no rollback. */
bool kp_upgrade_etcd_reads(const char *tag, const char *storage);
/* KP_FAILED "etcd_newer" where the etcd that the node kept cannot read what its member has by now.
 * A member that does not answer is not judged. */
KP_CHECK int kp_upgrade_refuse_etcd(struct kp_site *site, struct kp_site_node *node,
                                    struct kp_err *err);
/* Empties the node, puts it back, checked by its sums, starts containerd and kubelet, waits until
 * the node is Ready with the old version, and lets pods come again. Where the runtime becomes an
 * older one every pod of the node is made anew: it cannot take over what a newer one has made. */
KP_CHECK int kp_upgrade_restore(struct kp_site *site, struct kp_site_node *node, const char *from,
                                struct kp_err *err);

/* Waits until the node is Ready with that kubelet and its static and DaemonSet pods are Ready; on a
 * control plane also for the static pods' version. */
KP_CHECK int kp_upgrade_gate(struct kp_site *site, struct kp_site_node *node, const char *version,
                             struct kp_err *err);
/* Cordons and drains; a node that somebody else had cordoned stays so afterwards. */
KP_CHECK int kp_upgrade_drain(struct kp_site *site, struct kp_site_node *node, struct kp_err *err);
/* The same; a node whose kubelet does not work can end no pod and is cordoned only. Without an API
 * server nothing is done. */
KP_CHECK int kp_upgrade_drain_ready(struct kp_site *site, struct kp_site_node *node,
                                    struct kp_err *err);
KP_CHECK int kp_upgrade_uncordon(struct kp_site *site, struct kp_site_node *node,
                                 struct kp_err *err);
/* Pure part of the gate: why the pods of a node (kubectl get pods -o json) are not as they should
 * be; "" where they are. */
void kp_upgrade_pods_lack(char *out, size_t size, const json_t *pods, const char *version);
