/* SPDX-License-Identifier: Apache-2.0 */
#include "core/text.h"
#include "install/audit/audit_log.h"
#include "install/report.h"
#include "install/verbs/cmd.h"
#include "install/confirm.h"
#include "install/etcd/etcd.h"
#include "install/journal.h"
#include "install/site.h"
#include "install/steps/approve.h"
#include "install/steps/common.h"
#include "install/steps/upgrade.h"

#include <stdio.h>

#define DRAIN_S 300
#define DRAIN_MAX_S 86400
#define HAND_S 30.0

struct options {
    struct kp_site_options site;
    uint64_t drain_timeout;
    bool force_drain, force_dead, yes;
};

static const struct kp_option option_table[] = {
    KP_SITE_OPTIONS(options),
    {"drain-timeout", 0, KP_OPT_NUMBER, offsetof(struct options, drain_timeout), "SECONDS",
     "how long its pods may take to move elsewhere (300)", DRAIN_MAX_S},
    {"force-drain", 0, KP_OPT_FLAG, offsetof(struct options, force_drain), NULL,
     "delete also pods of no controller, which come back nowhere", 0},
    {"force-dead", 0, KP_OPT_FLAG, offsetof(struct options, force_dead), NULL,
     "the node is dead: take it out of the cluster without its own help", 0},
    {"yes", 'y', KP_OPT_FLAG, offsetof(struct options, yes), NULL, "do not ask", 0},
    {.name = NULL},
};

struct removal {
    struct kp_open_site *open;
    struct kp_site *site;
    struct kp_site_node *node;
    const struct options *options;
};

static struct kp_site_node *find(struct kp_site *site, const char *name)
{
    for (size_t i = 0; i < site->node_count; i++)
        if (strcmp(site->nodes[i].node->name, name) == 0)
            return &site->nodes[i];
    return NULL;
}

static bool is_only(const struct kp_site *site, const struct kp_site_node *node,
                    bool (*counts)(const struct kp_site *site, const struct kp_node *node))
{
    if (!counts(site, node->node))
        return false;
    for (size_t i = 0; i < site->node_count; i++)
        if (&site->nodes[i] != node && counts(site, site->nodes[i].node))
            return false;
    return true;
}

static bool is_control(const struct kp_site *site, const struct kp_node *node)
{
    (void)site;
    return (node->roles & KP_ROLE_CONTROL_PLANE) != 0;
}

static bool is_mirror(const struct kp_site *site, const struct kp_node *node)
{
    (void)site;
    return node->mirror;
}

static bool carries(const struct kp_site *site, const struct kp_node *node)
{
    return kp_etcd_carries(site->inventory, node);
}

static int check_last(const struct removal *r, struct kp_err *err)
{
    const char *what = NULL;
    if (is_only(r->site, r->node, is_control))
        what = "the only control plane";
    else if (is_only(r->site, r->node, carries))
        what = "the only member of etcd";
    else if (is_only(r->site, r->node, is_mirror))
        what = "the only mirror";
    if (!what)
        return 0;
    kp_fail_as(err, KP_USAGE, "last_node", "%s is %s", r->node->node->name, what);
    return kp_hint(err, "add another one first; kinstall reset takes the whole cluster away");
}

/* A node that does not answer is dead only when somebody says so, by its name. One that was cleaned
 * by a removal that was cut off is to be forgotten yet. */
static int check_alive(const struct removal *r, struct kp_err *err)
{
    const char *name = r->node->node->name;
    if (r->node->failed && !r->options->force_dead && !kp_site_is_bare(r->node)) {
        kp_fail_as(err, KP_FAILED, "node_failed", "%s cannot be reached: %s", name,
                   r->node->failure.message);
        return kp_hint(err,
                       "if it is dead for good: kinstall remove %s --force-dead (what is on its "
                       "disk stays there)",
                       name);
    }
    if (!r->node->failed && r->options->force_dead)
        return kp_fail_as(err, KP_USAGE, "node_alive",
                          "%s answers: leave --force-dead away, and it is drained and cleaned",
                          name);
    return 0;
}

static int look_at_etcd(const struct removal *r, struct kp_site_node **hand,
                        struct kp_etcd_members *members, struct kp_err *err)
{
    size_t healthy = 0, voters = 0;
    bool its = false;
    if (kp_etcd_need_hand(r->site, r->node, HAND_S, hand, err) < 0 ||
        kp_etcd_list(r->site, *hand, members, err) < 0)
        return -1;
    const struct kp_etcd_member *mine = kp_etcd_find(members, r->node->node);
    for (size_t i = 0; i < members->count; i++)
        voters += !members->items[i].learner;
    for (size_t i = 0; i < r->site->node_count; i++) {
        struct kp_site_node *node = &r->site->nodes[i];
        struct kp_err ignored = KP_ERR_INIT;
        bool well = false;
        if (node->failed || !carries(r->site, node->node))
            continue;
        if (kp_etcd_is_healthy(r->site, node, &well, &ignored) < 0 || !well)
            continue;
        healthy++;
        its = its || node == r->node;
    }
    if (!mine || mine->learner || kp_etcd_can_lose(voters, healthy, its))
        return 0;
    kp_fail_as(err, KP_FAILED, "etcd_quorum",
               "%zu of %zu members of etcd are healthy: without %s they would be no quorum",
               healthy, voters, r->node->node->name);
    return kp_hint(err, "mend or remove a member that is down first: kinstall etcd status");
}

static int drop_member(const struct removal *r, struct kp_err *err)
{
    struct kp_site_node *hand;
    struct kp_etcd_members members;
    struct kp_change change = {.changed = true};
    char id[17];
    const char *argv[] = {"member", "remove", id, NULL};
    if (!carries(r->site, r->node->node))
        return 0;
    if (look_at_etcd(r, &hand, &members, err) < 0)
        return -1;
    const struct kp_etcd_member *mine = kp_etcd_find(&members, r->node->node);
    if (!mine)
        return 0;
    if (kp_etcd_hex(id, mine->id, err) < 0 ||
        kp_etcd_ctl(r->site, hand, argv, 20, NULL, NULL, err) < 0)
        return kp_wrap(err, "etcdctl member remove");
    kp_step_changed(r->site, hand, "etcdctl member remove", &change);
    kp_screen_line(r->site->screen, "  %-12s its member %s is out of etcd", r->node->node->name,
                   id);
    return 0;
}

static int is_object(const struct removal *r, bool *found, struct kp_err *err)
{
    const char *argv[] = {"get", "node", r->node->node->name, "-o", "json", NULL};
    kp_auto_json object = NULL;
    *found = false;
    if (!(r->node->node->roles & (KP_ROLE_CONTROL_PLANE | KP_ROLE_WORKER)))
        return 0;
    return kp_kube_json(r->site, &object, found, argv, err);
}

static int empty(const struct removal *r, struct kp_err *err)
{
    const char *cordon[] = {"cordon", r->node->node->name, NULL};
    bool found;
    if (is_object(r, &found, err) < 0)
        return -1;
    if (!found)
        return 0;
    if (r->node->failed) // its pods are gone with it; the API's garbage collection takes them
        return kp_kube(r->site, cordon, (struct kp_slice){"", 0}, NULL, err);
    kp_screen_line(r->site->screen, "  %-12s its pods move elsewhere (at most %llu s)",
                   r->node->node->name, (unsigned long long)r->site->upgrade.drain_seconds);
    return kp_upgrade_drain(r->site, r->node, err);
}

static int forget(const struct removal *r, struct kp_err *err)
{
    const char *argv[] = {"delete", "node", r->node->node->name, "--ignore-not-found", NULL};
    bool found;
    if (is_object(r, &found, err) < 0)
        return -1;
    return found ? kp_kube(r->site, argv, (struct kp_slice){"", 0}, NULL, err) : 0;
}

/* Its kubelet gets no serving certificate any more. */
static int disown(const struct removal *r, struct kp_err *err)
{
    for (size_t i = 0; i < kp_control_planes(r->site); i++) {
        struct kp_site_node *node = &r->site->nodes[i];
        if (node == r->node || node->failed)
            continue;
        if (kp_approve_place_nodes(r->site, node, r->node->node->name, err) < 0)
            return kp_wrap(err, "%s", node->node->name);
    }
    return 0;
}

static int remove_node(const struct removal *r, struct kp_err *err)
{
    kp_journal_note(r->site->journal, "remove", r->node->node->name, NULL,
                    r->node->failed ? "dead" : NULL);
    if (empty(r, err) < 0 || drop_member(r, err) < 0)
        return kp_wrap(err, "%s", r->node->node->name);
    if (!r->node->failed && kp_node_reset(r->site, r->node, err) < 0)
        return kp_wrap(err, "%s: reset", r->node->node->name);
    if (forget(r, err) < 0)
        return -1;
    return disown(r, err);
}

static int check(struct removal *r, const char *name, struct kp_err *err)
{
    struct kp_site_node *hand;
    struct kp_etcd_members members;
    if (check_last(r, err) < 0 || check_alive(r, err) < 0)
        return -1;
    kp_site_choose_first(r->open, name);
    r->node = find(r->site, name);
    if (kp_first(r->site) == r->node || kp_first(r->site)->failed) {
        if (kp_site_all_asked(r->site, KP_ROLE_CONTROL_PLANE, r->node, err) < 0)
            return -1;
        return kp_fail_as(err, KP_FAILED, "no_control_plane",
                          "no other control plane is in the cluster");
    }
    if (carries(r->site, r->node->node) && look_at_etcd(r, &hand, &members, err) < 0)
        return -1;
    return 0;
}

static int run_remove(void *user, int argc, char **argv, struct kp_err *err)
{
    const struct options *options = user;
    kp_auto(kp_open_site) open = NULL;
    (void)argc;
    if (kp_site_open(&open, &options->site, KP_SITE_NO_BUNDLE | KP_SITE_KEPT_FRONT, err) < 0)
        return -1;
    struct removal r = {.open = open, .site = kp_site_of(open), .options = options};
    if (!find(r.site, argv[0]))
        return kp_fail(err, KP_USAGE, "%s: no such node in %s", argv[0], r.site->inventory->path);
    if (kp_site_connect(open, err) < 0)
        return -1;
    r.node = find(r.site, argv[0]);
    r.site->upgrade.drain_seconds = options->drain_timeout ? options->drain_timeout : DRAIN_S;
    r.site->upgrade.force_drain = options->force_drain;
    kp_auto_free char *what =
        kp_asprintf("This takes %s out of the cluster %s%s", argv[0], r.site->inventory->cluster,
                    options->force_dead ? ", as dead" : " and deletes what the cluster has on it");
    if (check(&r, argv[0], err) < 0 ||
        kp_confirm(options->yes, what, "the node's name", argv[0], err) < 0 ||
        kp_site_lock_nodes(open, err) < 0)
        return -1;
    int result = remove_node(&r, err);
    struct kp_err ignored = KP_ERR_INIT;
    if (kp_audit_log_end(r.site->audit, result < 0 ? err->message : NULL,
                         result < 0 ? &ignored : err) < 0)
        return -1;
    if (result < 0)
        kp_hint(err, "run the same command again to continue");
    if (options->site.json)
        return kp_report_end(r.site, result, err);
    if (result < 0)
        return -1;
    printf("%s is out of the cluster %s\n  now take it out of %s, then: kinstall apply (else it "
           "would be added again)\n",
           argv[0], r.site->inventory->cluster, r.site->inventory->path);
    return 0;
}

const struct kp_command kp_cmd_remove = {
    "remove",
    "NODE",
    1,
    1,
    "takes one node out of the cluster, and the cluster from the node",
    "Moves its pods elsewhere (disruption budgets hold), takes its member out of etcd where the "
    "others stay a quorum, cleans the node and deletes its object. A node that is dead is taken "
    "out by --force-dead; also the first control plane: any other one is the hand.",
    option_table,
    sizeof(struct options),
    run_remove,
};
