/* SPDX-License-Identifier: Apache-2.0 */
#include "core/file.h"
#include "core/text.h"
#include "install/audit/audit_log.h"
#include "install/verbs/cmd.h"
#include "install/confirm.h"
#include "install/etcd/etcd_restore.h"
#include "install/journal.h"
#include "install/site.h"
#include "install/steps/common.h"

#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#define DEFRAG_S 300

struct options {
    struct kp_site_options site;
    const char *output;
    bool yes, other_cluster;
};

static const struct kp_option option_table[] = {
    KP_SITE_OPTIONS(options),
    {"output", 'o', KP_OPT_TEXT, offsetof(struct options, output), "FILE",
     "backup: where the snapshot goes (default: <cluster>.state/etcd-backups/…)", 0},
    {"yes", 'y', KP_OPT_FLAG, offsetof(struct options, yes), NULL,
     "restore: do not ask; what was written since the snapshot is set aside", 0},
    {"other-cluster", 0, KP_OPT_FLAG, offsetof(struct options, other_cluster), NULL,
     "restore: also a snapshot of another cluster, or one that does not say of which it is", 0},
    {.name = NULL},
};

struct row { /* one member, or one node that should have one */
    const struct kp_site_node *node;
    const struct kp_etcd_member *member;
    struct kp_etcd_status status;
    bool answers, healthy;
};
struct report {
    struct row rows[2 * KP_ETCD_MEMBERS_MAX];
    size_t count;
    struct kp_etcd_members members;
    json_t *alarms; /* [{member, alarm}] */
    bool ok;
};

static const char *alarm_word(json_int_t number)
{
    return number == 1 ? "NOSPACE" : number == 2 ? "CORRUPT" : "UNKNOWN";
}

static int ask_alarms(struct kp_site *site, struct kp_site_node *hand, struct report *report,
                      struct kp_err *err)
{
    static const char *const argv[] = {"alarm", "list", "-w", "json", NULL};
    kp_auto_free char *text = NULL;
    kp_auto_json answer = NULL;
    size_t i;
    const json_t *item;
    if (kp_etcd_ctl(site, hand, argv, 10, NULL, &text, err) < 0 ||
        kp_etcd_parse(&answer, kp_slice_of(text), err) < 0)
        return -1;
    json_array_foreach(json_object_get(answer, "alarms"), i, item)
    {
        const json_t *id = json_object_get(item, "memberID");
        const char *word = alarm_word(json_integer_value(json_object_get(item, "alarm")));
        json_array_append_new(report->alarms, json_pack("{s:O, s:s}", "member", id, "alarm", word));
    }
    return 0;
}

static const char *alarms_of(const struct report *report, const char *member)
{
    size_t i;
    const json_t *item;
    json_array_foreach(report->alarms, i, item)
    {
        const char *id = json_string_value(json_object_get(item, "member"));
        if (id && strcmp(id, member) == 0)
            return json_string_value(json_object_get(item, "alarm"));
    }
    return "";
}

static void ask_row(struct kp_site *site, struct kp_site_node *node, struct report *report)
{
    struct row *row = &report->rows[report->count++];
    struct kp_err ignored = KP_ERR_INIT;
    *row = (struct row){.node = node};
    if (node->failed)
        return;
    row->answers = kp_etcd_ask_status(site, node, &row->status, &ignored) == 0;
    if (row->answers && kp_etcd_is_healthy(site, node, &row->healthy, &ignored) < 0)
        row->healthy = false;
}

static int gather(struct kp_site *site, struct report *report, struct kp_err *err)
{
    struct kp_site_node *hand = NULL;
    report->ok = true;
    for (size_t i = 0; i < site->node_count && report->count < KP_ETCD_MEMBERS_MAX; i++)
        if (kp_etcd_carries(site->inventory, site->nodes[i].node))
            ask_row(site, &site->nodes[i], report);
    if (kp_etcd_hand(site, NULL, 0, &hand, err) < 0)
        return -1;
    if (hand && (kp_etcd_list(site, hand, &report->members, err) < 0 ||
                 ask_alarms(site, hand, report, err) < 0))
        return -1;
    size_t nodes = report->count;
    for (size_t j = 0; j < nodes; j++)
        if (hand)
            report->rows[j].member = kp_etcd_find(&report->members, report->rows[j].node->node);
    for (size_t i = 0; i < report->members.count; i++) { // those that the inventory does not know
        bool known = false;
        for (size_t j = 0; j < nodes; j++)
            known = known || report->rows[j].member == &report->members.items[i];
        if (!known)
            report->rows[report->count++] = (struct row){.member = &report->members.items[i]};
    }
    for (size_t i = 0; i < report->count; i++)
        report->ok = report->ok && report->rows[i].healthy;
    report->ok = report->ok && hand && json_array_size(report->alarms) == 0;
    return 0;
}

static const char *state_of(const struct row *row)
{
    if (!row->node)
        return "not in the inventory";
    if (row->node->failed || (!row->answers && kp_session_lost(row->node->session)))
        return "unreachable";
    if (!row->answers)
        return "down";
    if (row->status.learner)
        return "learner";
    return row->healthy ? "healthy" : "no quorum";
}

static bool is_leader(const struct row *row)
{
    return row->answers && strcmp(row->status.leader, row->status.member) == 0;
}

static void print_row(struct kp_table *table, const struct report *report, const struct row *row)
{
    char hex[17] = "-";
    struct kp_err ignored;
    const char *id = row->answers ? row->status.member : row->member ? row->member->id : NULL;
    if (id && kp_etcd_hex(hex, id, &ignored) < 0)
        hex[0] = '\0';
    kp_table_cell(table, KP_PLAIN, "%s", hex);
    kp_table_cell(table, KP_PLAIN, "%s", row->node ? row->node->node->name : row->member->name);
    kp_table_cell(table, KP_PLAIN, "%s", row->answers ? row->status.version : "-");
    if (row->answers) {
        kp_table_cell(table, KP_PLAIN, "%s", kp_text_bytes(row->status.db_size).s);
        kp_table_cell(table, KP_PLAIN, "%s", kp_text_bytes(row->status.in_use).s);
        kp_table_cell(table, KP_PLAIN, "%s", is_leader(row) ? "yes" : "");
        kp_table_cell(table, KP_PLAIN, "%llu", (unsigned long long)row->status.raft_index);
    } else {
        for (int i = 0; i < 4; i++)
            kp_table_cell(table, KP_DIM, "-");
    }
    kp_table_cell(table, KP_RED, "%s", id ? alarms_of(report, id) : "");
    kp_table_cell(table, row->healthy ? KP_GREEN : KP_RED, "%s", state_of(row));
}

static void print_report(const struct report *report)
{
    static const char *const heads[] = {"MEMBER", "NODE",       "VERSION", "SIZE", "IN USE",
                                        "LEADER", "RAFT INDEX", "ALARMS",  "STATE"};
    kp_auto(kp_table) table = kp_table_new(KP_COUNT(heads), heads);
    for (size_t i = 0; i < report->count; i++)
        print_row(table, report, &report->rows[i]);
    kp_table_print(table, stdout);
}

static json_t *row_json(const struct row *row)
{
    json_t *out = json_pack(
        "{s:s?, s:s?, s:s, s:b, s:b}", "node", row->node ? row->node->node->name : NULL, "member",
        row->answers  ? row->status.member
        : row->member ? row->member->id
                      : NULL,
        "state", state_of(row), "healthy", row->healthy, "leader", is_leader(row));
    if (row->answers)
        json_object_update_new(out, json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "version",
                                              row->status.version, "cluster", row->status.cluster,
                                              "db_size", (json_int_t)row->status.db_size, "in_use",
                                              (json_int_t)row->status.in_use, "revision",
                                              (json_int_t)row->status.revision, "raft_index",
                                              (json_int_t)row->status.raft_index, "raft_term",
                                              (json_int_t)row->status.raft_term));
    return out;
}

static int end_json(const struct kp_site *site, const struct report *report, int result,
                    struct kp_err *err)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < report->count; i++)
        json_array_append_new(rows, row_json(&report->rows[i]));
    kp_auto_json out = json_pack("{s:s, s:s, s:o, s:O}", "cluster", site->inventory->cluster,
                                 "mode", site->inventory->etcd.external ? "external" : "stacked",
                                 "members", rows, "alarms", report->alarms);
    return kp_json_end(out, result, err);
}

static int show_status(struct kp_open_site *open, const struct options *options, struct kp_err *err)
{
    kp_auto_free struct report *report = kp_alloc(sizeof(*report));
    kp_auto_json alarms = json_array();
    report->alarms = alarms;
    struct kp_site *site = kp_site_of(open);
    if (gather(site, report, err) < 0)
        return -1;
    int result = report->ok
                     ? 0
                     : kp_fail_as(err, KP_FAILED, "etcd_unhealthy", "etcd is not as it should be");
    if (options->site.json)
        return end_json(site, report, result, err);
    print_report(report);
    return result;
}

static char *default_path(const struct kp_site *site)
{
    char stamp[32];
    struct tm utc;
    time_t now = time(NULL);
    gmtime_r(&now, &utc);
    strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &utc);
    return kp_asprintf("%s/etcd-backups/%s-%s.db", site->state_folder, site->inventory->cluster,
                       stamp);
}

static int back_up(struct kp_open_site *open, const struct options *options, struct kp_err *err)
{
    struct kp_site *site = kp_site_of(open);
    kp_auto_free char *path = options->output ? kp_strdup(options->output) : default_path(site);
    kp_auto_free char *folder = kp_path_dir(path);
    struct kp_etcd_snapshot snapshot;
    if ((!options->output && kp_mkdirs(folder, 0700, err) < 0) ||
        kp_etcd_snapshot_take(site, path, &snapshot, err) < 0 ||
        kp_audit_log_end(site->audit, NULL, err) < 0)
        return -1;
    kp_journal_note(site->journal, "etcd-backup", snapshot.node, NULL, path);
    if (options->site.json) {
        kp_auto_json out = kp_etcd_snapshot_json(&snapshot);
        json_object_set_new(out, "file", json_string(path));
        return kp_json_end(out, 0, err);
    }
    printf("%s\n  %s, revision %llu, %llu keys, from %s; sha256 %s\n", path,
           kp_text_bytes(snapshot.size).s, (unsigned long long)snapshot.revision,
           (unsigned long long)snapshot.keys, snapshot.node, snapshot.sha256);
    return 0;
}

/* members: a JSON list that gets the figures; NULL: they are printed. */
static int defrag_one(struct kp_site *site, struct kp_site_node *node, json_t *members,
                      struct kp_err *err)
{
    static const char *const argv[] = {"defrag", NULL};
    struct kp_etcd_status before, after;
    // The others carry the cluster while this one answers nobody.
    for (size_t i = 0; i < site->node_count; i++)
        if (kp_etcd_carries(site->inventory, site->nodes[i].node) &&
            kp_etcd_await(site, &site->nodes[i], 30, err) < 0)
            return -1;
    if (kp_etcd_ask_status(site, node, &before, err) < 0 ||
        kp_etcd_ctl(site, node, argv, DEFRAG_S, NULL, NULL, err) < 0 ||
        kp_etcd_await(site, node, 60, err) < 0 || kp_etcd_ask_status(site, node, &after, err) < 0)
        return kp_wrap(err, "%s", node->node->name);
    if (members)
        return json_array_append_new(members, json_pack("{s:s, s:I, s:I}", "name", node->node->name,
                                                        "before", (json_int_t)before.db_size,
                                                        "after", (json_int_t)after.db_size));
    printf("%-12s %10s -> %s%s\n", node->node->name, kp_text_bytes(before.db_size).s,
           kp_text_bytes(after.db_size).s,
           strcmp(before.leader, before.member) == 0 ? "  (leader, last)" : "");
    return 0;
}

static int defrag_all(struct kp_site *site, json_t *members, struct kp_err *err)
{
    struct kp_site_node *leader = NULL;
    for (size_t i = 0; i < site->node_count; i++) {
        struct kp_site_node *node = &site->nodes[i];
        struct kp_etcd_status status;
        if (!kp_etcd_carries(site->inventory, node->node))
            continue;
        if (node->failed)
            return kp_fail_as(err, KP_FAILED, "node_failed", "%s: %s", node->node->name,
                              node->failure.message);
        if (kp_etcd_ask_status(site, node, &status, err) < 0)
            return -1;
        if (!leader && strcmp(status.leader, status.member) == 0)
            leader = node;
        else if (defrag_one(site, node, members, err) < 0)
            return -1;
    }
    if (leader && defrag_one(site, leader, members, err) < 0)
        return -1;
    return kp_audit_log_end(site->audit, NULL, err);
}

static int defrag(struct kp_open_site *open, const struct options *options, struct kp_err *err)
{
    struct kp_site *site = kp_site_of(open);
    kp_auto_json members = options->site.json ? json_array() : NULL;
    int result = defrag_all(site, members, err);
    if (!members)
        return result;
    kp_auto_json out =
        json_pack("{s:s, s:O}", "cluster", site->inventory->cluster, "members", members);
    return kp_json_end(out, result, err);
}

static int check_file(const char *path, struct kp_etcd_snapshot *snapshot, bool described,
                      struct kp_err *err)
{
    struct kp_digest digest;
    uint64_t size;
    if (kp_sha256_file(path, &digest, &size, err) < 0)
        return -1;
    const char *hex = kp_digest_hex(&digest).hex;
    char text[65];
    snprintf(text, sizeof(text), "%s", hex);
    if (described && strcmp(text, snapshot->sha256) != 0)
        return kp_fail_as(err, KP_DAMAGED, "damaged",
                          "%s is not what %s.json describes (SHA-256 differs)", path, path);
    snprintf(snapshot->sha256, sizeof(snapshot->sha256), "%s", text);
    snapshot->size = size;
    return 0;
}

static int check_identity(struct kp_site *site, const struct options *options,
                          const struct kp_etcd_snapshot *snapshot, bool described, const char *path,
                          struct kp_err *err)
{
    char ca[65];
    if (options->other_cluster)
        return 0;
    if (!described) {
        kp_fail_as(err, KP_UNTRUSTED, "unknown_cluster",
                   "%s.json is missing: nothing says of which cluster this snapshot is", path);
        return kp_hint(err, "--other-cluster restores it all the same");
    }
    if (kp_etcd_identity(site, ca, err) < 0)
        return -1;
    if (strcmp(ca, snapshot->ca) == 0)
        return 0;
    kp_fail_as(err, KP_UNTRUSTED, "other_cluster",
               "%s is a snapshot of another cluster (%s, CA %.12s…; this one has CA %.12s…)", path,
               snapshot->cluster, snapshot->ca, ca);
    return kp_hint(err, "--other-cluster restores it all the same: its tokens and nodes' "
                        "certificates will not be accepted");
}

static int all_connected(const struct kp_site *site, struct kp_err *err)
{
    for (size_t i = 0; i < site->node_count; i++) {
        const struct kp_site_node *node = &site->nodes[i];
        if (!node->failed ||
            (!kp_is_control_plane(node) && !kp_etcd_carries(site->inventory, node->node)))
            continue;
        kp_fail_as(err, KP_FAILED, "node_failed", "%s: %s", node->node->name,
                   node->failure.message);
        return kp_hint(err,
                       "every control plane and etcd node is needed; one that is gone for "
                       "good is taken out of %s first",
                       site->inventory->path);
    }
    return 0;
}

static int restore(struct kp_open_site *open, const struct options *options, const char *path,
                   struct kp_err *err)
{
    struct kp_site *site = kp_site_of(open);
    struct kp_etcd_restore r = {.file = path};
    bool described, resumed;
    if (kp_etcd_snapshot_load(&r.snapshot, path, &described, err) < 0 ||
        check_file(path, &r.snapshot, described, err) < 0 || all_connected(site, err) < 0 ||
        check_identity(site, options, &r.snapshot, described, path, err) < 0)
        return -1;
    kp_auto_free char *what =
        kp_asprintf("This stops the API and sets the cluster %s back to %s",
                    site->inventory->cluster, described ? r.snapshot.time : path);
    if (kp_confirm(options->yes, what, "the cluster's name", site->inventory->cluster, err) < 0 ||
        kp_etcd_restore_begin(site, &r, &resumed, err) < 0)
        return -1;
    if (resumed)
        kp_screen_line(site->screen, "going on with the restore that was cut off (%s)", r.token);
    int result = kp_etcd_restore_run(site, &r, err);
    struct kp_err ignored;
    if (kp_audit_log_end(site->audit, result < 0 ? err->message : NULL,
                         result < 0 ? &ignored : err) < 0)
        return -1;
    if (options->site.json) {
        kp_auto_json out =
            json_pack("{s:s, s:s, s:s*, s:s}", "cluster", site->inventory->cluster, "file", path,
                      "taken", described ? r.snapshot.time : NULL, "token", r.token);
        return kp_json_end(out, result, err);
    }
    if (result == 0)
        printf("etcd of %s is restored%s%s; the data before stay on the nodes as "
               "*.before-%s\n",
               site->inventory->cluster, described ? " to " : "", described ? r.snapshot.time : "",
               r.token);
    return result;
}

static int run_etcd(void *user, int argc, char **argv, struct kp_err *err)
{
    const struct options *options = user;
    kp_auto(kp_open_site) open = NULL;
    bool status = strcmp(argv[0], "status") == 0 && argc == 1;
    bool backup = strcmp(argv[0], "backup") == 0 && argc == 1;
    bool clean = strcmp(argv[0], "defrag") == 0 && argc == 1;
    bool back = strcmp(argv[0], "restore") == 0 && argc == 2;
    int flags = KP_SITE_NO_BUNDLE | KP_SITE_KEPT_FRONT | (status ? KP_SITE_READ_ONLY : 0);
    if (!status && !backup && !clean && !back)
        return kp_fail(err, KP_USAGE, "status, backup, defrag or restore SNAPSHOT is needed");
    if (kp_site_open(&open, &options->site, flags, err) < 0 || kp_site_connect(open, err) < 0)
        return -1;
    if (status)
        return show_status(open, options, err);
    if (kp_site_lock_nodes(open, err) < 0)
        return -1;
    if (backup)
        return back_up(open, options, err);
    return clean ? defrag(open, options, err) : restore(open, options, argv[1], err);
}

const struct kp_command kp_cmd_etcd = {
    "etcd",
    "status | backup | defrag | restore SNAPSHOT",
    1,
    2,
    "etcd's state, snapshots and their return, stacked or external",
    "backup takes a snapshot on the leader, has etcdutl verify it, copies it here (0600: it holds "
    "every Secret) and writes beside it of which cluster it is. restore stops every API server "
    "and member, puts the snapshot's data in place of all of them and keeps the old ones aside; "
    "cut off, the same command goes on. defrag goes one member at a time, the leader last.",
    option_table,
    sizeof(struct options),
    run_etcd,
};
