/* SPDX-License-Identifier: Apache-2.0 */
#include "install/inventory/etcd_options.h"

#define SCHEDULE_MAX 128
#define ELECTION_RATIO 5 /* etcd refuses less: an election must outlast some heartbeats */

static void read_quota(struct kp_yaml_reader *r, struct kp_etcd_options *out)
{
    const char *text = kp_yaml_text(r, "quota_bytes", NULL);
    uint64_t least = (uint64_t)64 << 20;
    if (!text || r->failed)
        return;
    if (!kp_parse_size(kp_slice_of(text), &out->quota_bytes) || out->quota_bytes < least ||
        out->quota_bytes > KP_ETCD_QUOTA_MAX)
        kp_yaml_complain(r, "quota_bytes", "%s is not a size between 64MiB and 8GiB", text);
}

/* What systemd's calendar events are made of (systemd.time(7)); `systemd-analyze calendar` on the
 * node judges the rest. */
static bool is_schedule(const char *text)
{
    static const char good[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-:*/,.~ ";
    return text[0] && strlen(text) <= SCHEDULE_MAX && strspn(text, good) == strlen(text);
}

static int read_backup(struct kp_etcd_options *out, const struct kp_yaml *map,
                       struct kp_arena *arena, struct kp_err *err)
{
    if (!map)
        return 0;
    struct kp_yaml_reader r = kp_yaml_read(map, err);
    const char *schedule = kp_yaml_text(&r, "schedule", "daily");
    out->backup_keep = (unsigned)kp_yaml_number(&r, "keep", 1, KP_ETCD_KEEP_MAX, 7);
    if (!r.failed && !is_schedule(schedule))
        kp_yaml_complain(&r, "schedule",
                         "a calendar event of systemd is needed, like daily or "
                         "*-*-* 00/6:00:00");
    out->backup_schedule = kp_arena_strdup(arena, schedule);
    return kp_yaml_finish(&r);
}

int kp_etcd_options_read(struct kp_etcd_options *out, const struct kp_yaml *map,
                         const struct kp_yaml *at, bool has_nodes, struct kp_arena *arena,
                         struct kp_err *err)
{
    static const char *const modes[] = {"stacked", "external", NULL};
    static const struct kp_yaml empty = {.type = KP_YAML_MAP, .path = "etcd"};
    struct kp_yaml_reader r = kp_yaml_read(map ? map : &empty, err);
    *out = (struct kp_etcd_options){.quota_bytes = KP_ETCD_QUOTA_DEFAULT};
    out->external = kp_yaml_choice(&r, "mode", modes, has_nodes) == 1;
    read_quota(&r, out);
    out->heartbeat_ms = (unsigned)kp_yaml_number(&r, "heartbeat_ms", 10, 10000, 100);
    out->election_ms = (unsigned)kp_yaml_number(&r, "election_ms", 50, 50000, 1000);
    if (!r.failed && out->election_ms < ELECTION_RATIO * out->heartbeat_ms)
        kp_yaml_complain(&r, "election_ms", "%u is less than %d times heartbeat_ms (%u)",
                         out->election_ms, ELECTION_RATIO, out->heartbeat_ms);
    const struct kp_yaml *backup = kp_yaml_map(&r, "backup", false);
    if (kp_yaml_finish(&r) < 0 || read_backup(out, backup, arena, err) < 0)
        return -1;
    if (out->external && !has_nodes)
        return kp_yaml_fail(map, err, "mode: external needs nodes with the role etcd");
    if (!out->external && has_nodes)
        return kp_yaml_fail(map ? map : at, err,
                            "mode: stacked, but there are nodes with the role etcd");
    return 0;
}
