/* SPDX-License-Identifier: Apache-2.0 */
#include "install/etcd/etcd_restore.h"

#include "core/file.h"
#include "core/interrupt.h"
#include "core/pool.h"
#include "core/text.h"
#include "install/check/health.h"
#include "install/journal.h"
#include "install/steps/common.h"
#include "install/steps/kubeadm.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#define KIND "kpack.etcd-restore/v1"
#define STATE_FILE "etcd-restore.json"
#define STATE_MAX ((size_t)64 << 10)
#define TOKEN_RANDOM 12
#define STOP_S 180.0
#define START_S 180.0
#define SECONDS_LEN 19 /* of 2026-11-24T04:41:07 */
#define BUMP "1000000000"
#define PAUSE_NS 500000000L

/* $1: where they go; the names follow. What is aside already stays. */
static const char aside_script[] =
    "set -e; to=$1; shift; mkdir -p \"$to\"; for name; do"
    " from=/etc/kubernetes/manifests/$name.yaml;"
    " if [ -e \"$from\" ]; then mv -f \"$from\" \"$to/$name.yaml\"; fi; done; sync";
static const char back_script[] =
    "set -e; from=$1; shift; for name; do"
    " if [ -e \"$from/$name.yaml\" ]; then"
    " mv -f \"$from/$name.yaml\" /etc/kubernetes/manifests/$name.yaml; fi; done; sync";
static const char running_script[] =
    "for f in /proc/[0-9]*/comm; do read -r name <\"$f\" 2>/dev/null || continue;"
    " case $name in kube-apiserver|kube-controller|kube-scheduler|etcd) exit 1;; esac; done";
/* data token snapshot name cluster peer [--bump…]: nothing is done twice, and the data that were
 * there are never deleted. */
static const char restore_script[] =
    "set -e; data=$1 token=$2 file=$3 name=$4 cluster=$5 peer=$6; shift 6;"
    " mark=/var/lib/kpack/etcd-restored;"
    " if [ -e $mark ] && [ \"$(cat $mark)\" = \"$token\" ] && [ -d \"$data/member\" ]; then exit "
    "0; fi;"
    " rm -rf \"$data.restore\";"
    " " KP_ETCDUTL " snapshot restore \"$file\" --data-dir \"$data.restore\" --name \"$name\""
    " --initial-cluster \"$cluster\" --initial-cluster-token \"$token\""
    " --initial-advertise-peer-urls \"$peer\" \"$@\";"
    " chmod 700 \"$data.restore\";"
    " if [ -e \"$data\" ]; then mv -T \"$data\" \"$data.before-$token\"; fi;"
    " mv -T \"$data.restore\" \"$data\"; sync; echo \"$token\" >$mark.partial;"
    " mv $mark.partial $mark; sync";
#define ASIDE "/etc/kubernetes/kpack-restore"

static char *state_path(const struct kp_site *site)
{
    return kp_path_join(site->state_folder, STATE_FILE);
}

static bool read_state(const char *path, const char *sha256, char *token, size_t size)
{
    kp_auto_free char *text = NULL;
    kp_auto_json state = NULL;
    struct kp_err ignored;
    size_t len;
    if (!kp_file_exists(path) || kp_file_read(path, STATE_MAX, &text, &len, &ignored) < 0 ||
        kp_json_parse(&state, (struct kp_slice){text, len}, STATE_MAX, STATE_FILE, &ignored) < 0)
        return false;
    const char *have = json_string_value(json_object_get(state, "sha256"));
    const char *old = json_string_value(json_object_get(state, "token"));
    if (!have || !old || strcmp(have, sha256) != 0 || strlen(old) >= size)
        return false;
    memcpy(token, old, strlen(old) + 1);
    return true;
}

int kp_etcd_restore_begin(struct kp_site *site, struct kp_etcd_restore *restore, bool *resumed,
                          struct kp_err *err)
{
    kp_auto_free char *path = state_path(site);
    char random[TOKEN_RANDOM + 1];
    *resumed = read_state(path, restore->snapshot.sha256, restore->token, sizeof(restore->token));
    if (*resumed)
        return 0;
    if (kp_random_word(random, TOKEN_RANDOM, false, err) < 0)
        return -1;
    snprintf(restore->token, sizeof(restore->token), "%.60s-%s", site->inventory->cluster, random);
    kp_auto_json state = json_pack("{s:s, s:s, s:s, s:s, s:s}", "kind", KIND, "sha256",
                                   restore->snapshot.sha256, "token", restore->token, "file",
                                   restore->file, "begun", kp_text_utc(time(NULL)).s);
    kp_auto_free char *text = kp_json_dump(state, false);
    return kp_file_write_atomic(path, kp_slice_of(text), 0600, err);
}

struct working { /* one act on many nodes, side by side */
    struct kp_site *site;
    const struct kp_etcd_restore *restore;
    bool (*takes)(const struct kp_site *site, const struct kp_site_node *node);
    int (*act)(struct kp_site *site, const struct kp_etcd_restore *restore,
               struct kp_site_node *node, struct kp_err *err);
};

static int work_on(void *user, size_t item, unsigned worker, struct kp_err *err)
{
    const struct working *w = user;
    struct kp_site_node *node = &w->site->nodes[item];
    (void)worker;
    if (!w->takes(w->site, node))
        return 0;
    if (kp_interrupt_check(err) < 0)
        return -1;
    return w->act(w->site, w->restore, node, err) < 0 ? kp_wrap(err, "%s", node->node->name) : 0;
}

static bool is_control(const struct kp_site *site, const struct kp_site_node *node)
{
    (void)site;
    return kp_is_control_plane(node);
}

static bool carries(const struct kp_site *site, const struct kp_site_node *node)
{
    return kp_etcd_carries(site->inventory, node->node);
}

static bool is_member(const struct kp_site *site, const struct kp_site_node *node)
{
    (void)site;
    return (node->node->roles & (KP_ROLE_CONTROL_PLANE | KP_ROLE_WORKER)) != 0 && !node->failed;
}

static const char *data_of(const struct kp_site *site)
{
    return site->inventory->etcd.external ? KP_ETCD_DATA : KP_ETCD_STACKED_DATA;
}

static char *path_there(const struct kp_etcd_restore *restore)
{
    return kp_asprintf(KP_ETCD_BACKUPS "/restore-%.16s.db", restore->snapshot.sha256);
}

static int bring(struct kp_site *site, const struct kp_etcd_restore *restore,
                 struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_free char *path = path_there(restore);
    struct kp_etcd_snapshot seen = {.revision = 0};
    if (kp_etcd_snapshot_send(site, node, restore->file, path, restore->snapshot.sha256, err) < 0)
        return -1;
    return kp_etcd_snapshot_judge(site, node, path, &seen, err);
}

static int shell(struct kp_site *site, struct kp_site_node *node, const char *script,
                 const char *const *args, size_t n, unsigned timeout, int *status,
                 struct kp_err *err)
{
    const char *argv[16] = {"/bin/sh", "-c", script, "sh"};
    for (size_t i = 0; i < n && i + 5 < KP_COUNT(argv); i++)
        argv[4 + i] = args[i];
    return kp_ask(site, node, argv, timeout, status, NULL, err);
}

static int await_stopped(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    double until = kp_now() + STOP_S;
    for (;;) {
        int status;
        if (shell(site, node, running_script, NULL, 0, 30, &status, err) < 0)
            return -1;
        if (status == 0)
            return 0;
        if (kp_interrupt_check(err) < 0)
            return -1;
        if (kp_now() > until)
            break;
        struct timespec pause = {.tv_nsec = PAUSE_NS};
        nanosleep(&pause, NULL);
    }
    kp_fail_as(err, KP_FAILED, "timeout", "the API server or etcd still runs after %.0f s", STOP_S);
    return kp_hint(err, "does its kubelet run? systemctl status kubelet; then the same again");
}

static int stop_control(struct kp_site *site, const struct kp_etcd_restore *restore,
                        struct kp_site_node *node, struct kp_err *err)
{
    static const char *const args[] = {ASIDE, "kube-apiserver", "kube-controller-manager",
                                       "kube-scheduler", "etcd"};
    static const char *const kubelet[] = {"systemctl", "start", "kubelet", NULL};
    struct kp_change change = {.changed = true};
    (void)restore;
    // The kubelet ends the pods of manifests that are gone; one that does not run would not.
    if (kp_ask(site, node, kubelet, 60, NULL, NULL, err) < 0)
        return -1;
    kp_step_changed(site, node, "stop the control plane (its manifests lie in " ASIDE ")", &change);
    return shell(site, node, aside_script, args, KP_COUNT(args), 60, NULL, err);
}

static int stop_etcd(struct kp_site *site, const struct kp_etcd_restore *restore,
                     struct kp_site_node *node, struct kp_err *err)
{
    static const char *const argv[] = {"systemctl", "stop", KP_ETCD_UNIT, NULL};
    (void)restore;
    if (site->inventory->etcd.external && kp_ask(site, node, argv, 180, NULL, NULL, err) < 0)
        return -1;
    return await_stopped(site, node, err);
}

static char *all_members(const struct kp_site *site)
{
    kp_auto_value(kp_buf) out = KP_BUF(KP_ETCD_MEMBERS_MAX * 256);
    for (size_t i = 0; i < site->node_count; i++) {
        const struct kp_node *node = site->nodes[i].node;
        kp_auto_free char *url = kp_etcd_url(node, KP_ETCD_PEER_PORT);
        if (kp_etcd_carries(site->inventory, node))
            kp_buf_addf(&out, "%s%s=%s", out.len ? "," : "", node->name, url);
    }
    return kp_buf_steal(&out);
}

static int can_bump(struct kp_site *site, struct kp_site_node *node, bool *out, struct kp_err *err)
{
    static const char *const argv[] = {KP_ETCDUTL, "snapshot", "restore", "--help", NULL};
    kp_auto_free char *text = NULL;
    if (kp_ask(site, node, argv, 30, NULL, &text, err) < 0)
        return -1;
    *out = strstr(text, "--bump-revision") != NULL;
    return 0;
}

static int put_data(struct kp_site *site, const struct kp_etcd_restore *restore,
                    struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_free char *path = path_there(restore), *cluster = all_members(site);
    kp_auto_free char *peer = kp_etcd_url(node->node, KP_ETCD_PEER_PORT);
    const char *args[] = {data_of(site),           restore->token,    path,
                          node->node->name,        cluster,           peer,
                          "--bump-revision=" BUMP, "--mark-compacted"};
    struct kp_change change = {.changed = true};
    bool bump;
    if (can_bump(site, node, &bump, err) < 0)
        return -1;
    size_t n = bump ? KP_COUNT(args) : KP_COUNT(args) - 2;
    if (!bump)
        kp_screen_line(site->screen,
                       "  %-12s this etcdutl cannot raise revisions: all that watches "
                       "is restarted instead",
                       node->node->name);
    kp_auto_free char *what = kp_asprintf("restore %s; the data before are in %s.before-%s",
                                          data_of(site), data_of(site), restore->token);
    kp_step_changed(site, node, what, &change);
    return shell(site, node, restore_script, args, n, KP_ETCD_SNAPSHOT_S, NULL, err);
}

static int start_etcd(struct kp_site *site, const struct kp_etcd_restore *restore,
                      struct kp_site_node *node, struct kp_err *err)
{
    static const char *const unit[] = {"systemctl", "start", "--no-block", KP_ETCD_UNIT, NULL};
    static const char *const args[] = {ASIDE, "etcd"};
    (void)restore;
    if (site->inventory->etcd.external)
        return kp_ask(site, node, unit, 60, NULL, NULL, err);
    return shell(site, node, back_script, args, KP_COUNT(args), 60, NULL, err);
}

static int await_etcd(struct kp_site *site, const struct kp_etcd_restore *restore,
                      struct kp_site_node *node, struct kp_err *err)
{
    (void)restore;
    return kp_etcd_await(site, node, START_S, err);
}

static int start_control(struct kp_site *site, const struct kp_etcd_restore *restore,
                         struct kp_site_node *node, struct kp_err *err)
{
    static const char *const args[] = {ASIDE, "kube-apiserver", "kube-controller-manager",
                                       "kube-scheduler"};
    (void)restore;
    return shell(site, node, back_script, args, KP_COUNT(args), 60, NULL, err);
}

/* Ready, and done with reading who may do what. */
static int await_api(struct kp_site *site, const struct kp_etcd_restore *restore,
                     struct kp_site_node *node, struct kp_err *err)
{
    static const char *const argv[] = {
        KP_KUBECTL, "--kubeconfig", KP_ADMIN_CONF, "--request-timeout=10s", "get", "nodes",
        "-o",       "name",         NULL};
    double until = kp_now() + START_S;
    (void)restore;
    for (;;) {
        int status;
        if (kp_interrupt_check(err) < 0 || kp_ask(site, node, argv, 30, &status, NULL, err) < 0)
            return -1;
        if (status == 0)
            return 0;
        if (kp_now() > until)
            break;
        struct timespec pause = {.tv_nsec = PAUSE_NS};
        nanosleep(&pause, NULL);
    }
    kp_fail_as(err, KP_FAILED, "api_unreachable", "its API server does not answer after %.0f s",
               START_S);
    return kp_hint(err, "on %s: crictl ps -a; journalctl -u kubelet", node->node->name);
}

/* What a kubelet knows of pods and nodes is of the cluster that was. */
static int restart_kubelet(struct kp_site *site, const struct kp_etcd_restore *restore,
                           struct kp_site_node *node, struct kp_err *err)
{
    static const char *const argv[] = {"systemctl", "restart", "kubelet", NULL};
    (void)restore;
    return kp_ask(site, node, argv, 120, NULL, NULL, err);
}

static int tidy(struct kp_site *site, const struct kp_etcd_restore *restore,
                struct kp_site_node *node, struct kp_err *err)
{
    static const char *const argv[] = {"rmdir", ASIDE, NULL};
    kp_auto_free char *path = path_there(restore);
    int status;
    if (kp_is_control_plane(node) && kp_ask(site, node, argv, 30, &status, NULL, err) < 0)
        return -1;
    return kp_session_remove(node->session, path, 0, NULL, err);
}

static bool any_role(const struct kp_site *site, const struct kp_site_node *node)
{
    return carries(site, node) || is_control(site, node);
}

/* Each kubelet has renewed its lease since: until then a node's Ready is the snapshot's. */
static json_t *stale_leases(const struct kp_site *site, const json_t *list, const char *since)
{
    json_t *stale = json_array();
    for (size_t i = 0; i < kp_members(site); i++) {
        const char *name = site->nodes[i].node->name, *renewed = NULL;
        size_t j;
        const json_t *item;
        json_array_foreach(json_object_get(list, "items"), j, item)
        {
            const char *its =
                json_string_value(json_object_get(json_object_get(item, "metadata"), "name"));
            if (its && strcmp(its, name) == 0)
                renewed =
                    json_string_value(json_object_get(json_object_get(item, "spec"), "renewTime"));
        }
        if (!site->nodes[i].failed && (!renewed || strncmp(renewed, since, SECONDS_LEN) < 0))
            json_array_append_new(stale, json_string(name));
    }
    return stale;
}

static int await_leases(struct kp_site *site, time_t since, struct kp_err *err)
{
    static const char *const argv[] = {"get", "lease", "-n", "kube-node-lease", "-o", "json", NULL};
    struct kp_text from = kp_text_utc(since);
    double until = kp_now() + START_S;
    for (;;) {
        kp_auto_json list = NULL;
        if (kp_interrupt_check(err) < 0 || kp_kube_json(site, &list, NULL, argv, err) < 0)
            return -1;
        kp_auto_json stale = stale_leases(site, list, from.s);
        if (json_array_size(stale) == 0)
            return 0;
        if (kp_now() > until)
            return kp_fail_as(err, KP_FAILED, "not_ready", "%s: its kubelet does not report",
                              json_string_value(json_array_get(stale, 0)));
        struct timespec pause = {.tv_nsec = PAUSE_NS};
        nanosleep(&pause, NULL);
    }
}

static int prove(struct kp_site *site, struct kp_err *err)
{
    kp_auto_value(kp_health) health = {0};
    if (kp_health_check(&health, site, false, err) < 0)
        return -1;
    if (health.ok)
        return 0;
    return kp_fail_as(err, KP_FAILED, "not_ready",
                      "etcd is restored, but the cluster is not well yet: %s",
                      health.first_failure);
}

int kp_etcd_restore_run(struct kp_site *site, const struct kp_etcd_restore *restore,
                        struct kp_err *err)
{
    static const struct {
        const char *what;
        bool (*takes)(const struct kp_site *site, const struct kp_site_node *node);
        int (*act)(struct kp_site *site, const struct kp_etcd_restore *restore,
                   struct kp_site_node *node, struct kp_err *err);
    } acts[] = {
        {"snapshot to every etcd node, verified there", carries, bring},
        {"control planes stopped", is_control, stop_control},
        {"etcd stopped", any_role, stop_etcd},
        {"data restored, the old ones kept aside", carries, put_data},
        {"etcd started", carries, start_etcd},
        {"every member healthy", carries, await_etcd},
        {"control planes started", is_control, start_control},
        {"every API server answers", is_control, await_api},
        {"kubelets restarted", is_member, restart_kubelet},
    };
    kp_auto_free char *state = state_path(site);
    time_t begun = time(NULL);
    for (size_t i = 0; i < KP_COUNT(acts); i++) {
        struct working working = {site, restore, acts[i].takes, acts[i].act};
        double start = kp_now();
        kp_journal_note(site->journal, "phase", NULL, "etcd-restore", acts[i].what);
        if (kp_parallel(site->inventory->parallel, site->node_count, work_on, &working, err) < 0)
            return kp_hint(err, "run the same command again to go on");
        kp_screen_line(site->screen, " %s✓%s %-52s %8s", kp_colour_on(stderr, KP_GREEN),
                       kp_colour_off(stderr), acts[i].what, kp_text_seconds(kp_now() - start).s);
    }
    if (await_leases(site, begun, err) < 0 || prove(site, err) < 0)
        return kp_hint(err, "run the same command again to go on");
    struct working last = {site, restore, any_role, tidy};
    if (kp_parallel(site->inventory->parallel, site->node_count, work_on, &last, err) < 0)
        return -1;
    return unlink(state) < 0 ? kp_fail_sys(err, errno, "remove %s", state) : 0;
}
