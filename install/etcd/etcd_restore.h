/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole cluster's etcd out of one snapshot, stacked or external: every API server and every
 * member is stopped, each node gets the same data under a new cluster token and with the right list
 * of members, and all are started again. The old data stay beside as <data>.before-<token>. What
 * was begun is noted in the state folder: cut off anywhere, the same command goes on.
 *
 * Revisions are raised by a billion and what was before is marked compacted (etcdutl
 * --bump-revision
 * --mark-compacted), so that no watch or cache goes on at a revision that never was.
 */
#pragma once

#include "install/etcd/etcd_snapshot.h"

struct kp_etcd_restore {
    const char *file; /* on this host */
    struct kp_etcd_snapshot snapshot;
    char token[80];
};
/* Reads what the state folder says of a restore that was cut off: the same snapshot keeps its
 * token, any other gets a new one. */
KP_CHECK int kp_etcd_restore_begin(struct kp_site *site, struct kp_etcd_restore *restore,
                                   bool *resumed, struct kp_err *err);
KP_CHECK int kp_etcd_restore_run(struct kp_site *site, const struct kp_etcd_restore *restore,
                                 struct kp_err *err);
