/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `etcd:` of the inventory: stacked on the control planes or external on nodes with the role etcd,
 * its tunables, and its scheduled snapshots.
 */
#pragma once

#include "install/inventory/keys.h"

#define KP_ETCD_QUOTA_LEAST ((uint64_t)64 << 20)
#define KP_ETCD_QUOTA_MAX ((uint64_t)8 << 30) /* what etcd's documentation holds for sensible */
#define KP_ETCD_KEEP_MAX 1000

enum kp_etcd_mode { KP_ETCD_UNSAID, KP_ETCD_STACKED, KP_ETCD_EXTERNAL };

struct kp_etcd_options {
    unsigned mode;                      /* enum kp_etcd_mode, as it was written */
    bool external;                      /* units on nodes with the role etcd */
    uint64_t quota_bytes;               /* of the database */
    unsigned heartbeat_ms, election_ms; /* 100 and 1000 */
    struct kp_pair *args;               /* more of its own, where stacked */
    size_t arg_count;
    const char *backup_schedule; /* systemd's OnCalendar; NULL: no timer */
    unsigned backup_keep;        /* snapshots that stay on a node */
};
/* Reads the row `backup` (keys.h): that it is there makes the timer. */
int kp_etcd_read_backup(const struct kp_key *key, const struct kp_reading *reading,
                        const struct kp_yaml *value, void *into);
/* Once the keys are read. has_nodes: some node has the role etcd, which is then the default mode,
 * and needed where external is asked for. map: that of `etcd:` or NULL; at: where a fault of the
 * whole is shown. */
KP_CHECK int kp_etcd_options_settle(struct kp_etcd_options *options, const struct kp_yaml *map,
                                    const struct kp_yaml *at, bool has_nodes, struct kp_err *err);
