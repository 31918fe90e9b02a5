/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `etcd:` of the inventory: stacked on the control planes or external on nodes with the role etcd,
 * its tunables, and its scheduled snapshots.
 */
#pragma once

#include "core/mem.h"
#include "manifests/yaml.h"

#define KP_ETCD_QUOTA_DEFAULT ((uint64_t)2 << 30) /* etcd's own */
#define KP_ETCD_QUOTA_MAX ((uint64_t)8 << 30)     /* what etcd's documentation holds for sensible */
#define KP_ETCD_KEEP_MAX 1000

struct kp_etcd_options {
    bool external;                      /* units on nodes with the role etcd */
    uint64_t quota_bytes;               /* of the database */
    unsigned heartbeat_ms, election_ms; /* 100 and 1000 */
    const char *backup_schedule;        /* systemd's OnCalendar; NULL: no timer */
    unsigned backup_keep;               /* snapshots that stay on a node */
};
/* map NULL: the defaults. Texts are copied to the arena. has_nodes: some node has the role etcd,
 * which is then the default mode, and needed where external is asked for. at: where a fault of the
 * whole is shown. */
KP_CHECK int kp_etcd_options_read(struct kp_etcd_options *out, const struct kp_yaml *map,
                                  const struct kp_yaml *at, bool has_nodes, struct kp_arena *arena,
                                  struct kp_err *err);
