/* SPDX-License-Identifier: Apache-2.0 */
#include "install/steps/renew.h"

#include "core/interrupt.h"
#include "core/text.h"
#include "install/check/lifetimes.h"
#include "install/steps/approve.h"
#include "install/steps/common.h"
#include "install/steps/kubeadm.h"

#define STEP "certs-kubelet"
#define SERVING_STEP "certs-serving"
#define CONFIG "/etc/kubernetes/kpack-kubelet.yaml"
#define KUBELET_CONF "/etc/kubernetes/kubelet.conf"
#define BOOTSTRAP_CONF "/etc/kubernetes/bootstrap-kubelet.conf"
#define DAY_S 86400L
#define SIGNED_S 180.0
#define PAUSE_NS 500000000L

struct looking {
    enum kp_certificate_kind kind;
    long days;
    bool due, seen;
};

static int look(void *user, const struct kp_lifetime *found, struct kp_err *err)
{
    struct looking *looking = user;
    time_t now = time(NULL);
    (void)err;
    if (found->kind != looking->kind)
        return 0;
    looking->seen = true;
    looking->due = kp_lifetime_is_late(found, now) || found->ends - now < looking->days * DAY_S;
    return 0;
}

static int is_due(struct kp_site *site, struct kp_site_node *node, const char *step,
                  enum kp_certificate_kind kind, bool *due, struct kp_err *err)
{
    struct looking looking = {.kind = kind, .days = site->renew.days};
    bool done;
    *due = false;
    if (kp_renew_done(site, node, step, &done, err) < 0)
        return -1;
    if (done)
        return 0;
    if (kp_lifetimes(node, look, &looking, err) < 0)
        return -1;
    // One that began and did not end has none, or one that nothing asks for yet.
    *due = looking.due || !looking.seen ||
           (kp_was_begun(node, step) &&
            !json_object_get(json_object_get(node->record, "finished"), step));
    return 0;
}

static int shell(struct kp_site *site, struct kp_site_node *node, const char *script,
                 struct kp_err *err)
{
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    return kp_ask(site, node, argv, 120, NULL, NULL, err);
}

/* The kubelet writes it when the cluster has signed. */
static int await_client(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    double until = kp_now() + SIGNED_S;
    kp_step_note(site, node, "the kubelet asks for its certificate");
    while (kp_now() < until) {
        struct timespec pause = {.tv_nsec = PAUSE_NS};
        bool there, configured;
        if (kp_interrupt_check(err) < 0 || kp_have_file(node, KP_KUBELET_CLIENT, &there, err) < 0 ||
            kp_have_file(node, KUBELET_CONF, &configured, err) < 0)
            return -1;
        if (there && configured)
            return 0;
        nanosleep(&pause, NULL);
    }
    kp_fail_as(err, KP_FAILED, "not_signed", "the kubelet got no certificate in %.0f s", SIGNED_S);
    return kp_hint(err, "on %s: journalctl -u kubelet; kubectl get csr", node->node->name);
}

/* The CA is on this node's disk: the way holds also where no API server answers. */
static int renew_here(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char aside[] =
        "cd /etc/kubernetes || exit 1; [ ! -e kubelet.conf ] || mv -f kubelet.conf "
        "kubelet.conf.kpack-before";
    static const char fresh[] = "systemctl stop kubelet;"
                                " rm -f /var/lib/kubelet/pki/kubelet-client-*.pem;"
                                " systemctl start kubelet";
    static const char forget[] = "rm -f /etc/kubernetes/kubelet.conf.kpack-before";
    static const char *const make[] = {KP_KUBEADM, "init",     "phase", "kubeconfig",
                                       "kubelet",  "--config", CONFIG,  NULL};
    static const char *const settle[] = {KP_KUBEADM, "init",     "phase", "kubelet-finalize",
                                         "all",      "--config", CONFIG,  NULL};
    if (shell(site, node, aside, err) < 0 ||
        kp_kubeadm_configured(site, node, CONFIG, make, err) < 0 ||
        shell(site, node, fresh, err) < 0 || await_client(site, node, err) < 0 ||
        kp_kubeadm_configured(site, node, CONFIG, settle, err) < 0)
        return -1;
    return shell(site, node, forget, err);
}

static int place_bootstrap(struct kp_site *site, struct kp_site_node *node, const char *token,
                           struct kp_err *err)
{
    kp_auto(kp_vars) vars = kp_vars_new();
    kp_auto_free char *endpoint = kp_endpoint(site), *text = NULL;
    kp_vars_set(vars, "endpoint", endpoint);
    kp_vars_set(vars, "token", token);
    if (kp_render(&text, "bootstrap-kubelet.conf", vars, err) < 0)
        return -1;
    int result = kp_place_secret(site, node, BOOTSTRAP_CONF, text, NULL, err);
    explicit_bzero(text, strlen(text));
    return result;
}

static int bootstrap(struct kp_site *site, struct kp_site_node *node, const char *token,
                     struct kp_err *err)
{
    static const char fresh[] = "systemctl stop kubelet; rm -f /etc/kubernetes/kubelet.conf"
                                " /var/lib/kubelet/pki/kubelet-client-*.pem;"
                                " systemctl start kubelet";
    struct kp_err ignored;
    if (place_bootstrap(site, node, token, err) < 0)
        return -1;
    int result = shell(site, node, fresh, err);
    if (result == 0)
        result = await_client(site, node, err);
    if (kp_place_removed(site, node, BOOTSTRAP_CONF, NULL, result < 0 ? &ignored : err) < 0)
        return -1;
    return result;
}

static int renew_by_token(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    char token[KP_TOKEN_SIZE];
    struct kp_err ignored = KP_ERR_INIT;
    if (kp_kubeadm_make_token(token, site, err) < 0)
        return -1;
    int result = bootstrap(site, node, token, err);
    if (kp_kubeadm_drop_token(site, token, result < 0 ? &ignored : err) < 0 && result == 0)
        result = -1;
    explicit_bzero(token, sizeof(token));
    return result;
}

int kp_renew_kubelet(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    struct kp_change change = {.changed = true};
    bool due = false;
    if (is_due(site, node, STEP, KP_CERTIFICATE_KUBELET, &due, err) < 0)
        return -1;
    if (!due)
        return 0;
    kp_step_changed(site, node, "the kubelet's client certificate anew", &change);
    if (site->dry_run)
        return 0;
    if (kp_renew_mark(site, node, STEP, false, err) < 0)
        return -1;
    if ((kp_is_control_plane(node) ? renew_here : renew_by_token)(site, node, err) < 0 ||
        kp_renew_gate(site, node, err) < 0)
        return -1;
    return kp_renew_mark(site, node, STEP, true, err);
}

/* One that has none asks for it when it starts. */
int kp_renew_serving(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char forget[] = "rm -f /var/lib/kubelet/pki/kubelet-server-*.pem";
    struct kp_change change = {.changed = true};
    bool asks, due = false;
    if (kp_approve_asks(site, node, &asks, err) < 0 ||
        (asks && is_due(site, node, SERVING_STEP, KP_CERTIFICATE_SERVING, &due, err) < 0))
        return -1;
    if (!due)
        return 0;
    kp_step_changed(site, node, "the kubelet's serving certificate anew", &change);
    if (site->dry_run)
        return 0;
    if (kp_renew_mark(site, node, SERVING_STEP, false, err) < 0 ||
        shell(site, node, forget, err) < 0 || kp_restart_kubelet(site, node, err) < 0 ||
        kp_approve_serving(site, node, err) < 0)
        return -1;
    return kp_renew_mark(site, node, SERVING_STEP, true, err);
}
