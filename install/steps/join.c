/* SPDX-License-Identifier: Apache-2.0 */
/* Phase join: further control planes one by one, workers side by side; each pins the cluster's CA.
 */
#include "install/etcd/etcd.h"
#include "install/pki/pki.h"
#include "install/steps/approve.h"
#include "install/steps/common.h"
#include "install/steps/etcd.h"
#include "install/steps/kubeadm.h"
#include "install/steps/endpoint.h"
#include "install/steps/settings.h"

#include "core/interrupt.h"
#include "core/text.h"

#include <time.h>

#define STEP "kubeadm-join"
#define SIGNED_S 60.0
#define PAUSE_NS 200000000L
#define HAND_S 60.0
#define CA_CERTIFICATE "/etc/kubernetes/pki/ca.crt"
#define UPLOAD_CONFIG "/etc/kubernetes/kpack-upload.yaml"

static int get_node(struct kp_site *site, const struct kp_site_node *node, json_t **out,
                    bool *found, struct kp_err *err)
{
    const char *argv[] = {"get", "node", node->node->name, "-o", "json", NULL};
    return kp_kube_json(site, out, found, argv, err);
}

/* A worker is in with its own certificate and its object; a control plane when it has its label,
 * which kubeadm sets last. */
static int is_complete(struct kp_site *site, struct kp_site_node *node, bool *complete,
                       struct kp_err *err)
{
    kp_auto_json object = NULL;
    bool bootstrapped;
    *complete = false;
    if (kp_have_file(node, "/var/lib/kubelet/pki/kubelet-client-current.pem", &bootstrapped, err) <
        0)
        return -1;
    if (!bootstrapped)
        return 0;
    if (get_node(site, node, &object, complete, err) < 0)
        return -1;
    const json_t *labels = json_object_get(json_object_get(object, "metadata"), "labels");
    if (kp_is_control_plane(node))
        *complete = *complete && json_object_get(labels, "node-role.kubernetes.io/control-plane");
    return 0;
}

static const struct kp_kubeadm_task task = {
    .unit = "kpack-join",
    .verb = "join",
    .config = "/etc/kubernetes/kpack-join.yaml",
    .complete = is_complete,
    .timeout = 900,
};

static int check_join(struct kp_site *site, struct kp_site_node *node, bool *done,
                      struct kp_err *err)
{
    bool begun, finished, foreign;
    if (kp_recorded(site, node, STEP, &begun, &finished, err) < 0)
        return -1;
    *done = finished;
    if (begun || finished)
        return 0;
    if (kp_have_file(node, "/etc/kubernetes/kubelet.conf", &foreign, err) < 0)
        return -1;
    if (!foreign)
        return 0;
    kp_fail_as(err, KP_FAILED, "leftover_cluster",
               "this node belongs to a cluster that kinstall did not join it to "
               "(/etc/kubernetes/kubelet.conf)");
    return kp_hint(err,
                   "take it out there and run kubeadm reset on it, then the same command again");
}

static int count_pending(struct kp_site *site, size_t *pending, struct kp_err *err)
{
    *pending = 0;
    for (size_t i = 1; i < kp_members(site); i++) {
        bool begun, finished;
        if (site->nodes[i].failed)
            continue;
        if (kp_recorded(site, &site->nodes[i], STEP, &begun, &finished, err) < 0)
            return kp_wrap(err, "%s", site->nodes[i].node->name);
        *pending += !finished;
    }
    return 0;
}

/* kubeadm join asks each five seconds for cluster-info signed with its token: waiting here costs
 * less. */
static int await_signature(struct kp_site *site, const char *token, struct kp_err *err)
{
    static const char *const argv[] = {"get",         "configmap", "cluster-info", "-n",
                                       "kube-public", "-o",        "json",         NULL};
    kp_auto_free char *key = kp_asprintf("jws-kubeconfig-%.*s", KP_TOKEN_ID_LEN, token);
    double start = kp_now();
    while (kp_now() - start < SIGNED_S) {
        kp_auto_json map = NULL;
        bool found;
        if (kp_kube_json(site, &map, &found, argv, err) < 0)
            return -1;
        if (found && json_object_get(json_object_get(map, "data"), key))
            return 0;
        struct timespec pause = {.tv_nsec = PAUSE_NS};
        nanosleep(&pause, NULL);
    }
    kp_fail_as(err, KP_FAILED, "no_controller",
               "the controller manager did not sign the join token in %.0f s", SIGNED_S);
    return kp_hint(err, "on %s: crictl ps -a; crictl logs of kube-controller-manager",
                   kp_first(site)->node->name);
}

static int read_ca_hash(struct kp_site *site, struct kp_err *err)
{
    kp_auto_value(kp_buf) pem = KP_BUF(KP_PEM_MAX);
    struct kp_digest hash;
    if (kp_session_get(kp_first(site)->session, CA_CERTIFICATE, &pem, NULL, err) < 0)
        return kp_wrap(err, "read the cluster's CA");
    if (kp_pki_spki_hash(&hash, kp_buf_slice(&pem), err) < 0)
        return -1;
    snprintf(site->join.ca_hash, sizeof(site->join.ca_hash), "%s", kp_digest_hex(&hash).hex);
    return 0;
}

static int apply_token(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    size_t pending;
    (void)node;
    if (count_pending(site, &pending, err) < 0)
        return -1;
    if (pending == 0 || site->dry_run)
        return 0;
    if (read_ca_hash(site, err) < 0 || kp_kubeadm_make_token(site->join.token, site, err) < 0)
        return -1;
    return await_signature(site, site->join.token, err);
}

/* Certificates of the first control plane go into the cluster under a key of this one join. */
static int upload_certificates(struct kp_site *site, const char *key, struct kp_err *err)
{
    static const char *const argv[] = {
        KP_KUBEADM,     "init",           "phase",
        "upload-certs", "--upload-certs", "--skip-certificate-key-print",
        "--config",     UPLOAD_CONFIG,    NULL};
    struct kp_site_node *first = kp_first(site);
    kp_auto_free char *config = NULL;
    struct kp_err ignored;
    if (kp_kubeadm_init_config(&config, site, site->join.token, key, err) < 0 ||
        kp_place_secret(site, first, UPLOAD_CONFIG, config, NULL, err) < 0)
        return -1;
    explicit_bzero(config, strlen(config));
    int result = kp_ask(site, first, argv, 120, NULL, NULL, err);
    if (kp_place_removed(site, first, UPLOAD_CONFIG, NULL, result < 0 ? &ignored : err) < 0)
        return -1;
    return result;
}

/* kubeadm join waits five minutes for a control plane that is gone. */
static int await_hand(struct kp_site *site, struct kp_err *err)
{
    static const char *const argv[] = {"get", "--raw", "/readyz", NULL};
    struct kp_slice none = {0};
    for (double start = kp_now();;) {
        *err = KP_ERR_INIT;
        if (kp_kube(site, argv, none, NULL, err) == 0)
            return 0;
        if (kp_now() - start > HAND_S || kp_interrupted() ||
            strcmp(kp_err_reason(err), "connection_lost") == 0)
            return kp_wrap(err, "%s, by which it would join", kp_first(site)->node->name);
        struct timespec pause = {.tv_nsec = PAUSE_NS};
        nanosleep(&pause, NULL);
    }
}

static int join(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    char key[KP_CERTIFICATE_KEY_HEX + 1] = "";
    kp_auto_free char *config = NULL;
    if (await_hand(site, err) < 0)
        return -1;
    if (kp_is_control_plane(node) && (kp_random_word(key, KP_CERTIFICATE_KEY_HEX, true, err) < 0 ||
                                      upload_certificates(site, key, err) < 0))
        return -1;
    if (kp_kubeadm_join_config(&config, site, node, site->join.token, site->join.ca_hash, key,
                               err) < 0)
        return -1;
    int result = kp_kubeadm_run(site, node, &task, config, err);
    explicit_bzero(key, sizeof(key));
    explicit_bzero(config, strlen(config));
    return result;
}

/* Behind kubeadm reset, which takes out its own node's member where it can: one that was added and
 * never started goes; one that started is not taken out by itself. */
static int withdraw_member(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    struct kp_change change = {.changed = true};
    struct kp_etcd_members members;
    char id[17];
    if (site->inventory->etcd.external || !kp_is_control_plane(node))
        return 0;
    if (kp_etcd_list(site, kp_first(site), &members, err) < 0)
        return kp_wrap(err, "etcd's members, asked on %s", kp_first(site)->node->name);
    const struct kp_etcd_member *member = kp_etcd_find(&members, node->node);
    if (!member)
        return 0;
    if (kp_etcd_hex(id, member->id, err) < 0)
        return -1;
    if (member->name[0]) {
        kp_fail_as(err, KP_FAILED, "member_left",
                   "etcd still lists this node as a member that has started (%s)", id);
        return kp_hint(err,
                       "it is not taken out by itself; where it is of the join that failed, on "
                       "another control plane: etcdctl member remove %s",
                       id);
    }
    const char *argv[] = {"member", "remove", id, NULL};
    if (kp_etcd_ctl(site, kp_first(site), argv, 60, NULL, NULL, err) < 0)
        return kp_wrap(err, "take out a member that never started");
    kp_auto_free char *what = kp_asprintf("take out etcd's member %s, which never started", id);
    kp_step_changed(site, node, what, &change);
    return 0;
}

/* Its object may say Ready for a while yet, and kubeadm would refuse the name. */
static int take_back(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    const char *argv[] = {"delete", "node", node->node->name, "--ignore-not-found", NULL};
    struct kp_slice none = {0};
    if (kp_kubeadm_reset(site, node, err) < 0 || withdraw_member(site, node, err) < 0)
        return -1;
    // An etcd that still ran made folders in it again behind kubeadm reset. No member has data
    // here.
    bool stacked = kp_is_control_plane(node) && !site->inventory->etcd.external;
    if (stacked && kp_place_removed(site, node, KP_ETCD_STACKED_DATA, NULL, err) < 0)
        return -1;
    return kp_kube(site, argv, none, NULL, err);
}

static int apply_join(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    struct kp_change change = {.changed = true};
    bool settled = false;
    if (!site->dry_run && kp_was_begun(node, STEP)) {
        if (kp_kubeadm_attach(site, node, &task, &settled, err) < 0)
            return -1;
        if (!settled && take_back(site, node, err) < 0)
            return -1;
    }
    kp_step_changed(site, node, "kubeadm join", &change);
    if (site->dry_run)
        return 0;
    if (!settled && join(site, node, err) < 0)
        return -1;
    // kubeadm has put the first control plane's certificates for external etcd over its own.
    return kp_is_control_plane(node) ? kp_etcd_place_client(site, node, NULL, err) : 0;
}

/* The token is of no use any more: gone from the cluster and from memory. */
static int apply_forget(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    (void)node;
    if (!site->join.token[0])
        return 0;
    int result = kp_kubeadm_drop_token(site, site->join.token, err);
    explicit_bzero(site->join.token, sizeof(site->join.token));
    return result;
}

static int describe(const struct kp_site *site, char *out, size_t size)
{
    size_t control = kp_control_planes(site), workers = kp_members(site) - control;
    snprintf(out, size, "%zu control plane%s, %zu worker%s", control, control == 1 ? "" : "s",
             workers, workers == 1 ? "" : "s");
    return 0;
}

const struct kp_step kp_steps_join[] = {
    // What the inventory changes of nodes that are in, before others join by it: one after the
    // other, and one that is not well stops the rest.
    {.name = "etcd-settings",
     .phase = "join",
     .nodes = KP_STEP_CONTROL_PLANES,
     .apply = kp_follow_etcd,
     .serial = true,
     .halting = true},
    {.name = "control-settings",
     .phase = "join",
     .nodes = KP_STEP_CONTROL_PLANES,
     .apply = kp_follow_control,
     .serial = true,
     .halting = true},
    {.name = "kubelet-settings",
     .phase = "join",
     .nodes = KP_STEP_ALL,
     .apply = kp_follow_kubelet,
     .serial = true,
     .halting = true},
    {.name = "proxy-settings",
     .phase = "join",
     .nodes = KP_STEP_CONTROL_PLANES,
     .apply = kp_follow_proxy,
     .serial = true,
     .halting = true},
    {.name = "join-token",
     .phase = "join",
     .nodes = KP_STEP_FIRST,
     .apply = apply_token,
     .describe = describe},
    {.name = STEP,
     .phase = "join",
     .nodes = KP_STEP_OTHER_CONTROL_PLANES,
     .serial = true,
     .check = check_join,
     .apply = apply_join,
     .recorded = true},
    {.name = STEP,
     .phase = "join",
     .nodes = KP_STEP_WORKERS,
     .check = check_join,
     .apply = apply_join,
     .recorded = true},
    {.name = "endpoint", .phase = "join", .nodes = KP_STEP_ALL, .apply = kp_endpoint_settle},
    // One after the other: an API server that is badly off stops the rest.
    {.name = "api-certificate",
     .phase = "join",
     .nodes = KP_STEP_CONTROL_PLANES,
     .serial = true,
     .apply = kp_endpoint_certificate},
    {.name = "approver-role", .phase = "join", .nodes = KP_STEP_FIRST, .apply = kp_approve_role},
    {.name = "approver",
     .phase = "join",
     .nodes = KP_STEP_CONTROL_PLANES,
     .apply = kp_approve_place},
    {.name = "serving", .phase = "join", .nodes = KP_STEP_ALL, .apply = kp_approve_serving},
    {.name = "join-forget", .phase = "join", .nodes = KP_STEP_FIRST, .apply = apply_forget},
    {.name = NULL},
};
