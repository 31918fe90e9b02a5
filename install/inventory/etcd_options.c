/* SPDX-License-Identifier: Apache-2.0 */
#include "install/inventory/etcd_options.h"

#include "install/inventory/inventory.h"

#define ELECTION_RATIO 5 /* etcd refuses less: an election must outlast some heartbeats */

int kp_etcd_read_backup(const struct kp_key *key, const struct kp_reading *reading,
                        const struct kp_yaml *value, void *into)
{
    struct kp_inventory *inventory = into;
    inventory->etcd.backup_schedule = "daily";
    return kp_keys_read(key->section, reading, value, into);
}

int kp_etcd_options_settle(struct kp_etcd_options *options, const struct kp_yaml *map,
                           const struct kp_yaml *at, bool has_nodes, struct kp_err *err)
{
    const struct kp_yaml *election = kp_yaml_get(map, "election_ms");
    if (options->election_ms < ELECTION_RATIO * options->heartbeat_ms)
        return kp_yaml_fail(election ? election : map, err,
                            "%u is less than %d times heartbeat_ms (%u)", options->election_ms,
                            ELECTION_RATIO, options->heartbeat_ms);
    options->external = options->mode ? options->mode == KP_ETCD_EXTERNAL : has_nodes;
    if (options->external && !has_nodes)
        return kp_yaml_fail(map, err, "mode: external needs nodes with the role etcd");
    if (!options->external && has_nodes)
        return kp_yaml_fail(map ? map : at, err,
                            "mode: stacked, but there are nodes with the role etcd");
    return 0;
}
