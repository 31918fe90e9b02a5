/* SPDX-License-Identifier: Apache-2.0 */
#include "install/steps/approve.h"

#include "core/interrupt.h"
#include "core/text.h"
#include "install/check/lifetimes.h"
#include "install/inventory/network.h"
#include "install/node/approve_rules.h"
#include "install/pki/pki.h"
#include "install/steps/common.h"
#include "install/steps/kubeadm.h"

#include <stdlib.h>

#define UNITS "/etc/systemd/system/"
#define NODES "/etc/kpack/nodes.json"
#define CREDENTIAL "/etc/kubernetes/kpack-approver.conf"
#define CONFIG "/etc/kubernetes/kpack-approver.yaml"
#define USER "kpack:approver"
#define CA_FILE "/etc/kubernetes/pki/ca.crt"
#define CREDENTIAL_MAX ((size_t)256 << 10)
#define KUBELET_PORT 10250
#define SERVING_S 180.0
#define ASK_AGAIN_S 5.0
#define PAUSE_NS 500000000L

/* --- what control planes are given ------------------------------------------------------------ */

static int by_name(const void *a, const void *b)
{
    const struct kp_node *const *one = a, *const *other = b;
    return strcmp((*one)->name, (*other)->name);
}

char *kp_approve_nodes_text(const struct kp_inventory *inventory, const char *without)
{
    size_t n = kp_inventory_members(inventory);
    kp_auto_free const struct kp_node **sorted = kp_alloc_array(n + 1, sizeof(*sorted));
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        sorted[i] = &inventory->nodes[i];
    qsort(sorted, n, sizeof(*sorted), by_name);
    for (size_t i = 0; i < n; i++)
        if (!without || strcmp(sorted[i]->name, without) != 0)
            json_array_append_new(list,
                                  json_pack("{s:s, s:[s, s*]}", "name", sorted[i]->name,
                                            "addresses", sorted[i]->address, sorted[i]->address2));
    kp_auto_json document = json_pack("{s:s, s:o}", "kind", KP_APPROVE_KIND, "nodes", list);
    return kp_json_dump(document, false);
}

int kp_approve_place_nodes(struct kp_site *site, struct kp_site_node *node, const char *without,
                           struct kp_err *err)
{
    kp_auto_free char *text = kp_approve_nodes_text(site->inventory, without);
    return kp_place(site, node, NODES, kp_slice_of(text), 0644, NULL, err);
}

int kp_approve_role(struct kp_site *site, struct kp_site_node *first, struct kp_err *err)
{
    kp_auto(kp_vars) none = kp_vars_new();
    kp_auto_free char *yaml = NULL;
    (void)first;
    if (kp_render(&yaml, "rbac-approver.yaml", none, err) < 0)
        return -1;
    return kp_kube_apply(site, "the role of the approver", kp_slice_of(yaml), NULL, err);
}

/* Signed on the node by the CA on its disk: the key never leaves it, and no API server is asked. */
int kp_approve_credential(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char script[] =
        "umask 077; \"$1\" kubeconfig user --config \"$2\" --client-name \"$3\" >\"$4.part\" &&"
        " mv -f \"$4.part\" \"$4\"";
    static const char *const argv[] = {"/bin/sh", "-c", script,     "sh", KP_KUBEADM,
                                       CONFIG,    USER, CREDENTIAL, NULL};
    return kp_kubeadm_configured(site, node, CONFIG, argv, err);
}

static int is_credential_good(struct kp_site_node *node, bool *good, struct kp_err *err)
{
    kp_auto_value(kp_buf) text = KP_BUF_SECRET(CREDENTIAL_MAX);
    kp_auto_free char *pem = NULL;
    char name[KP_CERTIFICATE_NAME_MAX];
    struct kp_err ignored;
    time_t begins, ends;
    size_t len;
    bool found;
    *good = false;
    if (kp_session_get(node->session, CREDENTIAL, &text, &found, err) < 0)
        return kp_wrap(err, "read " CREDENTIAL);
    if (!found || !kp_lifetime_embedded(kp_buf_slice(&text), &pem, &len) ||
        kp_pki_life(&begins, &ends, name, sizeof(name), (struct kp_slice){pem, len}, &ignored) < 0)
        return 0;
    *good = strcmp(name, USER) == 0 && ends - time(NULL) > (ends - begins) / 2;
    return 0;
}

static int place_credential(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    struct kp_change change = {.changed = true};
    bool good;
    if (is_credential_good(node, &good, err) < 0)
        return -1;
    if (good)
        return 0;
    kp_step_changed(site, node, "issue the approver's credential", &change);
    return site->dry_run ? 0 : kp_approve_credential(site, node, err);
}

int kp_approve_place(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_free char *hand = kp_hand_path(site, node);
    kp_auto(kp_vars) vars = kp_vars_new();
    bool joined, changed = false;
    if (kp_joined(site, node, &joined, err) < 0)
        return -1;
    if (!joined && !site->dry_run)
        return 0; // said where it failed
    if (!hand)
        return kp_fail_as(err, KP_MISSING, "missing_file", "the bundle has no knode for %s",
                          node->arch);
    kp_vars_set(vars, "program", hand);
    kp_vars_set(vars, "kubeconfig", CREDENTIAL);
    kp_vars_set(vars, "nodes", NODES);
    if (kp_approve_place_nodes(site, node, NULL, err) < 0 ||
        (joined && place_credential(site, node, err) < 0) ||
        kp_place_template(site, node, UNITS KP_APPROVE_SERVICE, KP_APPROVE_SERVICE, vars, &changed,
                          err) < 0 ||
        kp_place_template(site, node, UNITS KP_APPROVE_TIMER, KP_APPROVE_TIMER, vars, &changed,
                          err) < 0)
        return -1;
    return kp_place_service(site, node, KP_APPROVE_TIMER, changed, err);
}

int kp_approve_follow(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    bool placed = false;
    if (kp_is_control_plane(node) && kp_have_file(node, UNITS KP_APPROVE_SERVICE, &placed, err) < 0)
        return -1;
    return placed ? kp_approve_place(site, node, err) : 0;
}

/* --- what kubelets have ----------------------------------------------------------------------- */

int kp_approve_refused(struct kp_site_node *node, json_t **out, struct kp_err *err)
{
    kp_auto_value(kp_buf) text = KP_BUF(KP_APPROVE_LAST_MAX);
    kp_auto_json last = NULL;
    bool found;
    *out = NULL;
    if (kp_session_get(node->session, KP_APPROVE_LAST, &text, &found, err) < 0)
        return kp_wrap(err, "%s: read " KP_APPROVE_LAST, node->node->name);
    if (!found)
        return 0;
    if (kp_json_parse(&last, kp_buf_slice(&text), KP_APPROVE_LAST_MAX, KP_APPROVE_LAST, err) < 0)
        return kp_wrap(err, "%s", node->node->name);
    *out = json_incref(json_object_get(last, "refused"));
    return 0;
}

int kp_approve_asks(struct kp_site *site, struct kp_site_node *node, bool *asks, struct kp_err *err)
{
    static const char *const argv[] = {"grep", "-q", "^serverTLSBootstrap: true",
                                       "/var/lib/kubelet/config.yaml", NULL};
    int status;
    if (kp_ask(site, node, argv, 30, &status, NULL, err) < 0)
        return -1;
    *asks = status == 0;
    return 0;
}

/* It has a certificate and serves with it: why is what a client says that asked. */
static int serves(struct kp_site_node *node, bool *well, char *why, size_t size, struct kp_err *err)
{
    kp_auto_value(kp_buf) ca = KP_BUF(KP_PEM_MAX);
    kp_auto_json answer = NULL;
    bool found;
    *well = false;
    if (kp_have_file(node, KP_KUBELET_SERVER, &found, err) < 0)
        return -1;
    if (!found) {
        snprintf(why, size, "its kubelet has no certificate yet");
        return 0;
    }
    if (kp_session_get(node->session, CA_FILE, &ca, NULL, err) < 0)
        return kp_wrap(err, "read the cluster's CA");
    kp_auto_free char *host = kp_network_url_host(node->node->address);
    kp_auto_free char *target = kp_asprintf("%s:%d", host, KUBELET_PORT);
    kp_auto_json question = json_pack("{s:s, s:s}", "tls", target, "ca", kp_buf_slice(&ca).ptr);
    if (kp_session_probe(node->session, question, &answer, err) < 0)
        return -1;
    *well = json_is_true(json_object_get(answer, "ok"));
    const char *said = json_string_value(json_object_get(answer, "message"));
    snprintf(why, size, "%s", said ? said : "");
    return 0;
}

/* Its own reason, where the rules left this node's request alone. */
static void find_reason(struct kp_site *site, const struct kp_site_node *node, char *why,
                        size_t size)
{
    kp_auto_free char *user = kp_asprintf("system:node:%s", node->node->name);
    kp_auto_json refused = NULL;
    struct kp_err ignored;
    size_t i;
    const json_t *one;
    if (kp_approve_refused(kp_first(site), &refused, &ignored) < 0)
        return;
    json_array_foreach(refused, i, one)
    {
        const char *who = json_string_value(json_object_get(one, "requester"));
        const char *name = json_string_value(json_object_get(one, "name"));
        const char *reason = json_string_value(json_object_get(one, "why"));
        if (who && name && reason && strcmp(who, user) == 0)
            snprintf(why, size, "its request %s is left alone: %s", name, reason);
    }
}

static int await_serving(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const look[] = {"systemctl", "start", KP_APPROVE_SERVICE, NULL};
    double until = kp_now() + SERVING_S, next = 0;
    char why[sizeof(err->message)] = "";
    struct kp_err ignored;
    bool well;
    int status; // an API server that restarts is asked again
    kp_step_note(site, node, "the kubelet's serving certificate");
    while (kp_now() < until) {
        struct timespec pause = {.tv_nsec = PAUSE_NS};
        if (kp_interrupt_check(err) < 0 || serves(node, &well, why, sizeof(why), err) < 0)
            return -1;
        if (well)
            return 0;
        if (kp_now() > next) {
            (void)!kp_ask(site, kp_first(site), look, 60, &status, NULL, &ignored);
            next = kp_now() + ASK_AGAIN_S;
        }
        nanosleep(&pause, NULL);
    }
    find_reason(site, node, why, sizeof(why));
    kp_fail_as(err, KP_FAILED, "not_serving",
               "the kubelet has no serving certificate of the cluster after %.0f s: %.300s",
               SERVING_S, why);
    return kp_hint(err,
                   "kubectl get csr; on %s: journalctl -u kubelet; on %s: journalctl -u "
                   "kpack-approve",
                   node->node->name, kp_first(site)->node->name);
}

int kp_approve_serving(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    struct kp_change change = {.changed = true};
    char why[256];
    bool joined, ask, well;
    if (kp_joined(site, node, &joined, err) < 0)
        return -1;
    if (joined && kp_approve_asks(site, node, &ask, err) < 0)
        return -1;
    if (!joined || !ask)
        return 0;
    if (serves(node, &well, why, sizeof(why), err) < 0)
        return -1;
    if (well)
        return 0;
    kp_step_changed(site, node, "a serving certificate for the kubelet", &change);
    return site->dry_run ? 0 : await_serving(site, node, err);
}
