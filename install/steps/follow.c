/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inventory has changed and the cluster runs: kubeadm's own phases on one node after the other.
 * What a node had is kept beside it and comes back where the new does not start.
 */
#include "install/steps/settings.h"

#include "core/interrupt.h"
#include "core/text.h"
#include "install/etcd/etcd.h"
#include "install/steps/endpoint.h"
#include "install/steps/etcd.h"
#include "install/steps/kubeadm.h"
#include "install/steps/static_pods.h"

#include <time.h>

#define CONFIG "/etc/kubernetes/kpack-settings.yaml"
#define BEFORE KP_SETTINGS_FOLDER "/before"
#define KUBELET_CONFIG "/var/lib/kubelet/config.yaml"
#define CALM_S 4.0 /* a component that refuses its arguments ends within a second or two */
#define ETCD_S 120.0
#define KUBELET_S 60.0
#define ROLLOUT_S 300
#define PAUSE_NS 500000000L
#define COMPONENTS_MAX 3
#define API "kube-apiserver" /* the first of those of the phase control-plane */
#define SETTINGS_MAX ((size_t)8 << 20)
#define SUM_MAX 65 /* SHA-256 in hex */

struct following { /* one kind of settings on one node */
    enum kp_settings kind;
    char *config, *text, *path;
};

static void following_release(struct following *f)
{
    kp_free(f->config);
    kp_free(f->text);
    kp_free(f->path);
}
KP_DEFINE_AUTO_VALUE(following);

/* *due: what this node was given is another than what the inventory says now; that is shown. */
static int begin(struct following *f, struct kp_site *site, struct kp_site_node *node,
                 enum kp_settings kind, const char *what, bool *due, struct kp_err *err)
{
    kp_auto_value(kp_change) change = {0};
    bool joined;
    *due = false;
    f->kind = kind;
    if (!kp_settings_apply_to(kind, site, node))
        return 0;
    if (kp_joined(site, node, &joined, err) < 0)
        return -1;
    if (!joined)
        return 0;
    if (kp_kubeadm_node_config(&f->config, site, node, err) < 0)
        return -1;
    f->text = kp_settings_text(kind, site, node->node, f->config);
    f->path = kp_settings_path(kind);
    if (kp_session_put(node->session, f->path, kp_slice_of(f->text), 0600, KP_DRY_RUN, &change,
                       err) < 0)
        return kp_wrap(err, "compare %s", f->path);
    *due = change.changed;
    if (change.changed)
        kp_step_changed(site, node, what, &change);
    return 0;
}

/* It is so: the next run finds nothing to do. */
static int end(const struct following *f, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_value(kp_change) change = {0};
    if (kp_session_put(node->session, f->path, kp_slice_of(f->text), 0600, 0, &change, err) < 0)
        return kp_wrap(err, "write %s", f->path);
    return 0;
}

/* --- static pods ------------------------------------------------------------------------------ */

struct pods { /* the components of one phase */
    const char *names[COMPONENTS_MAX];
    size_t count;
    const char *phase[3]; /* of kubeadm init phase, ended by NULL */
    char *process[COMPONENTS_MAX];
    char sums[COMPONENTS_MAX][SUM_MAX];
};

static void pods_release(struct pods *pods)
{
    for (size_t i = 0; i < pods->count; i++)
        kp_free(pods->process[i]);
}
KP_DEFINE_AUTO_VALUE(pods);

static int sum_of(struct kp_site *site, struct kp_site_node *node, const char *name,
                  char out[SUM_MAX], struct kp_err *err)
{
    kp_auto_free char *path = kp_asprintf(KP_STATIC_PODS_FOLDER "/%s.yaml", name), *said = NULL;
    const char *argv[] = {"sha256sum", "--", path, NULL};
    int status; // one that is gone has none
    if (kp_ask(site, node, argv, 30, &status, &said, err) < 0)
        return -1;
    snprintf(out, SUM_MAX, "%s", status == 0 ? said : "");
    return 0;
}

static int look_at_pods(struct pods *pods, struct kp_site *site, struct kp_site_node *node,
                        struct kp_err *err)
{
    for (size_t i = 0; i < pods->count; i++)
        if (kp_static_pod_find(site, node, pods->names[i], &pods->process[i], err) < 0 ||
            sum_of(site, node, pods->names[i], pods->sums[i], err) < 0)
            return -1;
    return 0;
}

static int move_pods(struct kp_site *site, struct kp_site_node *node, const struct pods *pods,
                     bool back, struct kp_err *err)
{
    // A name with a dot before it is none to the kubelet.
    static const char script[] =
        "set -eu; b=$1 m=$2 d=$3; shift 3; mkdir -p -m 0700 \"$b\"; for n; do"
        " if [ \"$d\" = back ]; then s=$b/$n.yaml t=$m; else s=$m/$n.yaml t=$b; fi;"
        " [ -e \"$s\" ] || continue; cp -a \"$s\" \"$t/.kpack-new\";"
        " mv -f \"$t/.kpack-new\" \"$t/$n.yaml\"; done; sync";
    const char *argv[7 + COMPONENTS_MAX + 1] = {
        "/bin/sh", "-c", script, "sh", BEFORE, KP_STATIC_PODS_FOLDER, back ? "back" : "away"};
    for (size_t i = 0; i < pods->count; i++)
        argv[7 + i] = pods->names[i];
    return kp_ask(site, node, argv, 60, NULL, NULL, err);
}

/* What was made anew runs, and goes on running. */
static int await_pods(struct kp_site *site, struct kp_site_node *node, const struct pods *pods,
                      struct kp_err *err)
{
    kp_auto_free char *name = kp_inventory_endpoint_name(site->inventory);
    for (size_t i = 0; i < pods->count; i++) {
        char now[SUM_MAX];
        bool api = strcmp(pods->names[i], API) == 0;
        bool etcd = strcmp(pods->names[i], "etcd") == 0;
        if (sum_of(site, node, pods->names[i], now, err) < 0)
            return -1;
        if (strcmp(now, pods->sums[i]) == 0)
            continue;
        kp_step_note(site, node, "%s starts anew", pods->names[i]);
        // An API server is not ready without the member beside it; one may be away at a time.
        if (kp_static_pod_await(site, node, pods->names[i], pods->process[i],
                                api || etcd ? 0 : CALM_S, err) < 0 ||
            (etcd && kp_etcd_await(site, node, ETCD_S, err) < 0) ||
            ((api || etcd) && kp_endpoint_await(site, node, name, err) < 0))
            return kp_wrap(err, "%s with its new settings", pods->names[i]);
    }
    return 0;
}

/* An API server that cannot start takes the cluster away: it gets back what it had. */
static int go_back(struct kp_site *site, struct kp_site_node *node, const struct pods *pods,
                   struct kp_err *err)
{
    struct kp_err failure = *err, ignored = KP_ERR_INIT;
    kp_auto_free char *name = kp_inventory_endpoint_name(site->inventory);
    if (kp_interrupted())
        return -1; // the next run goes on
    kp_step_note(site, node, "putting back what was there");
    bool back = move_pods(site, node, pods, true, &ignored) == 0 &&
                kp_endpoint_await(site, node, name, &ignored) == 0;
    *err = failure;
    err->hint[0] = '\0';
    return kp_hint(err,
                   "%s on %s: crictl ps -a, crictl logs say why; correct the inventory "
                   "(kubernetes, etcd.args, patches), then the same command again",
                   back ? "the node has what it had before, and works;"
                        : "what it had before lies in " BEFORE ", and does not start either;",
                   node->node->name);
}

/* Does the API server have to read its policies again? word: what marks them. */
static int have_policies_changed(const struct following *f, struct kp_site_node *node,
                                 struct kp_slice *word, bool *out, struct kp_err *err)
{
    kp_auto_value(kp_buf) before = KP_BUF(SETTINGS_MAX);
    bool found;
    const char *line = strstr(f->text, "\n" KP_SETTINGS_POLICIES);
    *out = false;
    if (!line)
        return 0;
    *word = kp_slice_of(line + 1);
    word->len = strcspn(word->ptr, "\n");
    if (kp_session_get(node->session, f->path, &before, &found, err) < 0)
        return kp_wrap(err, "read %s", f->path);
    kp_auto_free char *now = kp_strndup(word->ptr, word->len);
    *out = !strstr(kp_buf_slice(&before).ptr, now);
    *word = (struct kp_slice){word->ptr + strlen(KP_SETTINGS_POLICIES),
                              word->len - strlen(KP_SETTINGS_POLICIES)};
    return 0;
}

/* Where its arguments changed as well, it has started anew already. */
static int follow_policies(struct kp_site *site, struct kp_site_node *node, const struct pods *pods,
                           struct kp_slice word, struct kp_err *err)
{
    char now[SUM_MAX];
    kp_auto_free char *text = kp_strndup(word.ptr, word.len);
    kp_auto_free char *name = kp_inventory_endpoint_name(site->inventory);
    if (sum_of(site, node, API, now, err) < 0)
        return -1;
    if (strcmp(now, pods->sums[0]) != 0)
        return 0;
    if (kp_static_pod_anew(site, node, API, text, err) < 0 ||
        kp_endpoint_await(site, node, name, err) < 0)
        return kp_wrap(err, "the API server with its new policies");
    return 0;
}

static int follow_pods(struct kp_site *site, struct kp_site_node *node, struct pods *pods,
                       struct kp_err *err)
{
    const char *argv[] = {KP_KUBEADM,     "init",     "phase", pods->phase[0],
                          pods->phase[1], "--config", CONFIG,  NULL};
    if (look_at_pods(pods, site, node, err) < 0 || move_pods(site, node, pods, false, err) < 0)
        return -1;
    kp_step_note(site, node, "kubeadm init phase %s %s", pods->phase[0], pods->phase[1]);
    if (kp_kubeadm_configured(site, node, CONFIG, argv, err) < 0 ||
        await_pods(site, node, pods, err) < 0)
        return go_back(site, node, pods, err);
    return 0;
}

/* Control planes that join later, and upgrades, read it there. */
static int upload(struct kp_site *site, struct kp_site_node *node, const char *what,
                  struct kp_err *err)
{
    const char *argv[] = {KP_KUBEADM, "init",     "phase", "upload-config",
                          what,       "--config", CONFIG,  NULL};
    if (node != kp_first(site))
        return 0;
    if (kp_kubeadm_configured(site, node, CONFIG, argv, err) < 0)
        return kp_wrap(err, "kubeadm's configuration in the cluster");
    return 0;
}

int kp_follow_etcd(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_value(following) f = {0};
    kp_auto_value(pods) pods = {.names = {"etcd"}, .count = 1, .phase = {"etcd", "local", NULL}};
    bool due;
    if (begin(&f, site, node, KP_SETTINGS_ETCD, "give etcd's member its new settings", &due, err) <
        0)
        return -1;
    if (!due || site->dry_run)
        return 0;
    if (kp_etcd_others_well(site, node, err) < 0 || follow_pods(site, node, &pods, err) < 0 ||
        upload(site, node, "kubeadm", err) < 0)
        return -1;
    return end(&f, node, err);
}

int kp_follow_control(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_value(following) f = {0};
    kp_auto_value(pods) pods = {.names = {API, "kube-controller-manager", "kube-scheduler"},
                                .count = 3,
                                .phase = {"control-plane", "all", NULL}};
    struct kp_slice word = {0};
    bool due, policies;
    if (begin(&f, site, node, KP_SETTINGS_CONTROL, "give the control plane its new settings", &due,
              err) < 0)
        return -1;
    if (!due || site->dry_run)
        return 0;
    if (have_policies_changed(&f, node, &word, &policies, err) < 0 ||
        follow_pods(site, node, &pods, err) < 0 ||
        (policies && follow_policies(site, node, &pods, word, err) < 0) ||
        upload(site, node, "kubeadm", err) < 0)
        return -1;
    return end(&f, node, err);
}

/* --- kubelets --------------------------------------------------------------------------------- */

static int await_kubelet(struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_json question = json_pack("{s:s}", "http", "http://127.0.0.1:10248/healthz");
    double until = kp_now() + KUBELET_S, well_since = 0;
    while (kp_now() < until) {
        struct timespec pause = {.tv_nsec = PAUSE_NS};
        kp_auto_json answer = NULL;
        if (kp_interrupt_check(err) < 0 ||
            kp_session_probe(node->session, question, &answer, err) < 0)
            return -1;
        bool well = json_is_true(json_object_get(answer, "ok"));
        if (!well)
            well_since = 0;
        else if (well_since == 0)
            well_since = kp_now();
        else if (kp_now() - well_since >= 1)
            return 0;
        nanosleep(&pause, NULL);
    }
    kp_fail_as(err, KP_FAILED, "not_ready",
               "the kubelet is not well with its new settings after "
               "%.0f s",
               KUBELET_S);
    return -1;
}

static int restart_kubelet(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    if (kp_restart_kubelet(site, node, err) < 0)
        return -1;
    return await_kubelet(node, err);
}

static int kubelet_back(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const argv[] = {"cp", "-a", BEFORE "/kubelet.yaml", KUBELET_CONFIG, NULL};
    struct kp_err failure = *err, ignored = KP_ERR_INIT;
    if (kp_interrupted())
        return -1;
    bool back = kp_ask(site, node, argv, 60, NULL, NULL, &ignored) == 0 &&
                restart_kubelet(site, node, &ignored) == 0;
    *err = failure;
    err->hint[0] = '\0';
    return kp_hint(err,
                   "%s on %s: journalctl -u kubelet says why; correct the inventory (kubelet), "
                   "then the same command again",
                   back ? "it has what it had before, and works;"
                        : "what it had before lies in " BEFORE ";",
                   node->node->name);
}

/* kubeadm writes it out of the cluster's own and this node's patches. */
static int write_kubelet(struct kp_site *site, struct kp_site_node *node, bool *changed,
                         struct kp_err *err)
{
    static const char keep[] = "mkdir -p -m 0700 \"$1\" && cp -a \"$2\" \"$1/kubelet.yaml\"";
    static const char settle[] = "chmod 600 \"$2\"; cmp -s \"$2\" \"$1/kubelet.yaml\"";
    static const char *const before[] = {"/bin/sh", "-c", keep, "sh", BEFORE, KUBELET_CONFIG, NULL};
    static const char *const after[] = {"/bin/sh", "-c",           settle, "sh",
                                        BEFORE,    KUBELET_CONFIG, NULL};
    bool patched = kp_settings_patched(site, node->node);
    const char *argv[] = {
        KP_KUBEADM, "upgrade",        "node",
        "phase",    "kubelet-config", patched ? "--patches=" KP_PATCHES_FOLDER : NULL,
        NULL};
    int status;
    if (kp_ask(site, node, before, 60, NULL, NULL, err) < 0 ||
        kp_ask(site, node, argv, 120, NULL, NULL, err) < 0 ||
        kp_ask(site, node, after, 60, &status, NULL, err) < 0)
        return -1;
    *changed = status != 0;
    return 0;
}

int kp_follow_kubelet(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_value(following) f = {0};
    bool due, changed;
    if (begin(&f, site, node, KP_SETTINGS_KUBELET, "give the kubelet its new settings", &due, err) <
        0)
        return -1;
    if (!due || site->dry_run)
        return 0;
    kp_step_note(site, node, "the kubelet's settings");
    if (upload(site, node, "kubelet", err) < 0 || write_kubelet(site, node, &changed, err) < 0)
        return -1;
    if (changed && restart_kubelet(site, node, err) < 0)
        return kubelet_back(site, node, err);
    return end(&f, node, err);
}

/* --- kube-proxy ------------------------------------------------------------------------------- */

int kp_follow_proxy(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const phase[] = {KP_KUBEADM,   "init",     "phase", "addon",
                                        "kube-proxy", "--config", CONFIG,  NULL};
    static const char *const restart[] = {"rollout", "restart",     "daemonset/kube-proxy",
                                          "-n",      "kube-system", NULL};
    kp_auto_value(following) f = {0};
    struct kp_slice none = {0};
    bool due;
    if (begin(&f, site, node, KP_SETTINGS_PROXY, "give kube-proxy its new settings", &due, err) < 0)
        return -1;
    if (!due || site->dry_run)
        return 0;
    if (node == kp_first(site) &&
        (kp_kubeadm_configured(site, node, CONFIG, phase, err) < 0 ||
         kp_kube(site, restart, none, NULL, err) < 0 ||
         kp_kube_wait(site, "daemonset", "kube-system", "kube-proxy", ROLLOUT_S, err) < 0))
        return -1;
    return end(&f, node, err);
}
