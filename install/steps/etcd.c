/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Phase etcd: members of an external etcd, made all at once where there is none yet, added one at a
 * time where there is. A member joins as a learner, so that the quorum never waits for it.
 */
#include "install/steps/etcd.h"

#include "core/interrupt.h"
#include "core/text.h"
#include "install/etcd/etcd.h"
#include "install/steps/common.h"

#include <time.h>

#define STEP "etcd-member"
#define START_S 120.0
#define HAND_S 60.0
#define PAUSE_NS 300000000L

static int apply_pki(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    (void)node;
    return site->inventory->etcd.external ? kp_etcd_make_pki(site, err) : 0;
}

static int is_finished(struct kp_site *site, struct kp_site_node *node, bool *finished,
                       struct kp_err *err)
{
    bool begun;
    if (kp_recorded(site, node, STEP, &begun, finished, err) < 0)
        return kp_wrap(err, "%s", node->node->name);
    return 0;
}

/* Whether some node's own record says that there is a cluster of etcd already. */
static int exists(struct kp_site *site, bool *out, struct kp_err *err)
{
    *out = false;
    for (size_t i = 0; i < site->node_count && !*out; i++) {
        struct kp_site_node *node = &site->nodes[i];
        if (!node->failed && (node->node->roles & KP_ROLE_ETCD) &&
            is_finished(site, node, out, err) < 0)
            return -1;
    }
    return 0;
}

static int start(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const reload[] = {"systemctl", "daemon-reload", NULL};
    static const char *const go[] = {"systemctl", "start", "--no-block", KP_ETCD_UNIT, NULL};
    struct kp_change change = {.changed = true};
    kp_step_changed(site, node, "start etcd", &change);
    if (site->dry_run)
        return 0;
    if (kp_ask(site, node, reload, 60, NULL, NULL, err) < 0 ||
        kp_place_enabled(site, node, KP_ETCD_UNIT, err) < 0)
        return -1;
    return kp_ask(site, node, go, 60, NULL, NULL, err);
}

/* Data of a member that was begun here and never finished. */
static int wipe(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const stop[] = {"systemctl", "stop", KP_ETCD_UNIT, NULL};
    int status;
    if (site->dry_run)
        return 0;
    if (kp_ask(site, node, stop, 120, &status, NULL, err) < 0)
        return -1;
    return kp_place_removed(site, node, KP_ETCD_DATA "/member", NULL, err);
}

static char *all_members(const struct kp_site *site)
{
    kp_auto_value(kp_buf) out = KP_BUF(KP_ETCD_MEMBERS_MAX * 256);
    for (size_t i = 0; i < site->node_count; i++) {
        const struct kp_node *node = site->nodes[i].node;
        kp_auto_free char *url = kp_etcd_url(node, KP_ETCD_PEER_PORT);
        if (node->roles & KP_ROLE_ETCD)
            kp_buf_addf(&out, "%s%s=%s", out.len ? "," : "", node->name, url);
    }
    return kp_buf_steal(&out);
}

static int check_bootstrap(struct kp_site *site, struct kp_site_node *node, bool *done,
                           struct kp_err *err)
{
    (void)node;
    return exists(site, done, err);
}

/* All members at once, each waiting for the others. */
static int apply_bootstrap(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_free char *cluster = all_members(site);
    bool changed = false, other = false;
    if (kp_etcd_place_files(site, node, &changed, err) < 0 ||
        kp_etcd_place_initial(site, node, cluster, "new", &other, err) < 0)
        return -1;
    // Other members than at the last try: what it began counts no more.
    if (other && kp_was_begun(node, "etcd-bootstrap") && wipe(site, node, err) < 0)
        return -1;
    return start(site, node, err);
}

/* Whether the others, where they answer, still count it in: a node that was dead may not know that
 * it was removed. */
static int is_listed(struct kp_site *site, struct kp_site_node *node, struct kp_site_node *hand,
                     bool *listed, struct kp_err *err)
{
    struct kp_etcd_members members;
    *listed = true;
    if (!hand)
        return 0;
    if (kp_etcd_list(site, hand, &members, err) < 0)
        return -1;
    *listed = kp_etcd_find(&members, node->node) != NULL;
    return 0;
}

static int check_member(struct kp_site *site, struct kp_site_node *node, bool *done,
                        struct kp_err *err)
{
    struct kp_site_node *hand;
    bool listed;
    if (is_finished(site, node, done, err) < 0)
        return -1;
    if (!*done)
        return 0;
    if (kp_etcd_hand(site, node, 0, &hand, err) < 0 ||
        is_listed(site, node, hand, &listed, err) < 0)
        return -1;
    *done = listed;
    return 0;
}

static int has_data(struct kp_site_node *node, bool *out, struct kp_err *err)
{
    return kp_have_file(node, KP_ETCD_DATA "/member", out, err);
}

static int remove_member(struct kp_site *site, struct kp_site_node *hand,
                         const struct kp_etcd_member *member, struct kp_err *err)
{
    char id[17];
    const char *argv[] = {"member", "remove", id, NULL};
    if (kp_etcd_hex(id, member->id, err) < 0)
        return -1;
    return kp_etcd_ctl(site, hand, argv, 20, NULL, NULL, err);
}

/* Makes the cluster expect the node. One that is expected under this name but has lost its data is
 * taken out first: etcd would take it for a liar. */
static int announce(struct kp_site *site, struct kp_site_node *node, struct kp_site_node *hand,
                    struct kp_err *err)
{
    kp_auto_free char *url = kp_etcd_url(node->node, KP_ETCD_PEER_PORT);
    kp_auto_free char *peers = kp_asprintf("--peer-urls=%s", url);
    const char *add[] = {"member", "add", node->node->name, "--learner", peers, NULL};
    struct kp_etcd_members members;
    bool data;
    if (kp_etcd_list(site, hand, &members, err) < 0 || has_data(node, &data, err) < 0)
        return -1;
    const struct kp_etcd_member *mine = kp_etcd_find(&members, node->node);
    if (mine && (!mine->name[0] || data))
        return 0;
    if (mine && remove_member(site, hand, mine, err) < 0)
        return kp_wrap(err, "take out the member that lost its data");
    if (data && wipe(site, node, err) < 0)
        return -1;
    struct kp_change change = {.changed = true};
    kp_step_changed(site, node, "etcdctl member add", &change);
    return kp_etcd_ctl(site, hand, add, 20, NULL, NULL, err);
}

static int describe_cluster(struct kp_site *site, struct kp_site_node *node,
                            struct kp_site_node *hand, char **out, struct kp_err *err)
{
    struct kp_etcd_members members;
    kp_auto_value(kp_buf) text = KP_BUF(KP_ETCD_MEMBERS_MAX * 256);
    if (kp_etcd_list(site, hand, &members, err) < 0)
        return -1;
    const struct kp_etcd_member *mine = kp_etcd_find(&members, node->node);
    for (size_t i = 0; i < members.count; i++) {
        const struct kp_etcd_member *m = &members.items[i];
        if (m == mine || m->name[0])
            kp_buf_addf(&text, "%s%s=%s", text.len ? "," : "",
                        m == mine ? node->node->name : m->name, m->peer);
    }
    *out = kp_buf_steal(&text);
    return 0;
}

/* Until it has caught up etcd refuses to promote it. */
static int promote(struct kp_site *site, struct kp_site_node *node, struct kp_site_node *hand,
                   struct kp_err *err)
{
    double until = kp_now() + START_S;
    for (;;) {
        struct kp_etcd_members members;
        char id[17];
        const char *argv[] = {"member", "promote", id, NULL};
        int status = 0;
        if (kp_interrupt_check(err) < 0 || kp_etcd_list(site, hand, &members, err) < 0)
            return -1;
        const struct kp_etcd_member *mine = kp_etcd_find(&members, node->node);
        if (mine && !mine->learner)
            return 0;
        if (!mine || kp_etcd_hex(id, mine->id, err) < 0)
            return kp_fail_as(err, KP_FAILED, "etcd_unhealthy",
                              "the member is not expected any more");
        if (kp_etcd_ctl(site, hand, argv, 10, &status, NULL, err) < 0)
            return -1;
        if (status == 0)
            return 0;
        if (kp_now() > until)
            break;
        kp_step_note(site, node, "etcd catches up");
        struct timespec pause = {.tv_nsec = PAUSE_NS};
        nanosleep(&pause, NULL);
    }
    kp_fail_as(err, KP_FAILED, "etcd_unhealthy", "the new member did not catch up in %.0f s",
               START_S);
    return kp_hint(err, "on %s: journalctl -u etcd; is port %d open between the nodes?",
                   node->node->name, KP_ETCD_PEER_PORT);
}

static int join(struct kp_site *site, struct kp_site_node *node, struct kp_site_node *hand,
                struct kp_err *err)
{
    kp_auto_free char *cluster = NULL;
    if (announce(site, node, hand, err) < 0 ||
        describe_cluster(site, node, hand, &cluster, err) < 0 ||
        kp_etcd_place_files(site, node, NULL, err) < 0 ||
        kp_etcd_place_initial(site, node, cluster, "existing", NULL, err) < 0 ||
        start(site, node, err) < 0 || promote(site, node, hand, err) < 0)
        return -1;
    return kp_etcd_await(site, node, START_S, err);
}

static int apply_member(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    struct kp_site_node *hand;
    bool there;
    if (site->dry_run) {
        kp_step_changed(site, node, "join etcd", NULL);
        return 0;
    }
    bool first = kp_was_begun(node, "etcd-bootstrap"), listed;
    if (exists(site, &there, err) < 0 ||
        kp_etcd_hand(site, node, first || !there ? 0 : HAND_S, &hand, err) < 0 ||
        is_listed(site, node, hand, &listed, err) < 0)
        return -1;
    // The first one that is seen well finishes the bootstrap; the others are in it already.
    if (listed && (!there || first))
        return kp_etcd_await(site, node, START_S, err);
    if (!hand) {
        if (kp_site_all_asked(site, KP_ROLE_ETCD, node, err) < 0)
            return -1;
        kp_fail_as(err, KP_FAILED, "etcd_unhealthy",
                   "etcd exists, but none of its members answers with a quorum");
        return kp_hint(err, "kinstall etcd status; with the quorum lost for good: kinstall etcd "
                            "restore SNAPSHOT");
    }
    return join(site, node, hand, err);
}

int kp_etcd_others_well(struct kp_site *site, const struct kp_site_node *node, struct kp_err *err)
{
    // One that cannot be asked may be down: with this one it could be the quorum.
    if (kp_site_all_asked(site, kp_inventory_etcd_role(site->inventory), node, err) < 0)
        return kp_wrap(err, "etcd is not restarted");
    for (size_t i = 0; i < site->node_count; i++) {
        struct kp_site_node *other = &site->nodes[i];
        bool healthy;
        if (other == node || other->failed || !kp_etcd_carries(site->inventory, other->node))
            continue;
        if (kp_etcd_is_healthy(site, other, &healthy, err) < 0)
            return -1;
        if (!healthy)
            return kp_fail_as(err, KP_FAILED, "etcd_unhealthy",
                              "not restarted: the member on %s is not healthy", other->node->name);
    }
    return 0;
}

int kp_etcd_restart(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const argv[] = {"systemctl", "restart", "--no-block", KP_ETCD_UNIT, NULL};
    struct kp_change change = {.changed = true};
    kp_step_changed(site, node, "restart etcd", &change);
    if (site->dry_run)
        return 0;
    if (kp_etcd_others_well(site, node, err) < 0 ||
        kp_place_unit(site, node, "", KP_UNIT_RELOAD_DAEMON, NULL, err) < 0 ||
        kp_ask(site, node, argv, 60, NULL, NULL, err) < 0)
        return -1;
    struct timespec pause = {.tv_sec = 1}; // the one that ends must not answer for its successor
    nanosleep(&pause, NULL);
    return kp_etcd_await(site, node, START_S, err);
}

static int apply_update(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const active[] = {"systemctl", "is-active", "--quiet", KP_ETCD_UNIT, NULL};
    bool changed = false, finished;
    int status;
    if (is_finished(site, node, &finished, err) < 0)
        return -1;
    if (!finished)
        return 0;
    if (kp_etcd_place_files(site, node, &changed, err) < 0)
        return -1;
    if (changed)
        return kp_etcd_restart(site, node, err);
    if (kp_ask(site, node, active, 30, &status, NULL, err) < 0)
        return -1;
    return status == 0 ? 0 : start(site, node, err);
}

/* Nothing is built on an etcd that is not there. */
static int apply_client(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    struct kp_site_node *hand = NULL;
    if (!site->inventory->etcd.external)
        return 0;
    if (!site->dry_run && kp_etcd_need_hand(site, NULL, HAND_S, &hand, err) < 0)
        return -1;
    return kp_etcd_place_client(site, node, NULL, err);
}

static int apply_backup(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    return kp_etcd_carries(site->inventory, node->node) ? kp_etcd_place_backup(site, node, err) : 0;
}

int kp_etcd_before_init(struct kp_site *site, bool begun, struct kp_err *err)
{
    static const char *const look[] = {"get", "", "--from-key", "--keys-only", "--limit=1", NULL};
    static const char *const drop[] = {"del", "", "--from-key", NULL};
    struct kp_site_node *hand;
    kp_auto_free char *keys = NULL;
    if (!site->inventory->etcd.external)
        return 0;
    if (kp_etcd_need_hand(site, NULL, HAND_S, &hand, err) < 0 ||
        kp_etcd_ctl(site, hand, look, 20, NULL, &keys, err) < 0)
        return -1;
    if (kp_slice_trim(kp_slice_of(keys)).len == 0)
        return 0;
    if (begun) // by this cluster's own init, which never ended: nothing stands on it
        return kp_etcd_ctl(site, hand, drop, 120, NULL, NULL, err);
    kp_fail_as(err, KP_FAILED, "leftover_cluster", "etcd holds the data of an earlier cluster");
    return kp_hint(err, "kinstall reset takes it from all nodes, those with etcd too; or "
                        "kinstall etcd restore, if it is to live on");
}

static int describe(const struct kp_site *site, char *out, size_t size)
{
    size_t n = kp_etcd_count(site->inventory);
    bool external = site->inventory->etcd.external;
    snprintf(out, size, "%s on %zu node%s", external ? "external, systemd units" : "stacked", n,
             n == 1 ? "" : "s");
    return 0;
}

const struct kp_step kp_steps_etcd[] = {
    {.name = "etcd-pki",
     .phase = "etcd",
     .nodes = KP_STEP_ADMIN,
     .apply = apply_pki,
     .describe = describe},
    {.name = "etcd-bootstrap",
     .phase = "etcd",
     .nodes = KP_STEP_ETCD,
     .check = check_bootstrap,
     .apply = apply_bootstrap,
     .recorded = true},
    {.name = STEP,
     .phase = "etcd",
     .nodes = KP_STEP_ETCD,
     .serial = true,
     .check = check_member,
     .apply = apply_member,
     .recorded = true},
    {.name = "etcd-update",
     .phase = "etcd",
     .nodes = KP_STEP_ETCD,
     .serial = true,
     .apply = apply_update},
    {.name = "etcd-client",
     .phase = "etcd",
     .nodes = KP_STEP_CONTROL_PLANES,
     .apply = apply_client},
    {.name = "etcd-backup", .phase = "etcd", .nodes = KP_STEP_EVERY, .apply = apply_backup},
    {.name = NULL},
};
