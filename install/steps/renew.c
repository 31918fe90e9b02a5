/* SPDX-License-Identifier: Apache-2.0 */
#include "install/steps/renew.h"

#include "core/interrupt.h"
#include "core/text.h"
#include "install/check/lifetimes.h"
#include "install/etcd/etcd.h"
#include "install/pki/pki.h"
#include "install/resumable.h"
#include "install/steps/approve.h"
#include "install/steps/common.h"
#include "install/steps/endpoint.h"
#include "install/steps/etcd.h"
#include "install/steps/kubeadm.h"
#include "install/steps/static_pods.h"
#include "install/steps/upgrade.h"

#define STATE_FILE "certs-renew.json"
#define CONFIG "/etc/kubernetes/kpack-renew.yaml"
#define ETCD_STEP "certs-etcd"
#define MIRROR_STEP "certs-mirror"
#define FILES_STEP "certs-files"
#define RESTART_STEP "certs-restart"
#define DAY_S 86400L
#define ETCD_S 120.0
#define PAUSE_NS 500000000L

bool kp_renew_is_due(time_t made, time_t ends, time_t started, long days, time_t now)
{
    return made < started && (days == 0 || ends - now < days * DAY_S);
}

bool kp_renew_due(const struct kp_site *site, struct kp_slice pem)
{
    char name[KP_CERTIFICATE_NAME_MAX];
    time_t begins, ends;
    struct kp_err ignored; // what cannot be read is not kept
    if (!site->renew.id[0])
        return false;
    if (kp_pki_life(&begins, &ends, name, sizeof(name), pem, &ignored) < 0)
        return true;
    return kp_renew_is_due(begins + KP_PKI_BACKDATED_S, ends, site->renew.started, site->renew.days,
                           time(NULL));
}

static int take_up(struct kp_site *site, bool *again, struct kp_err *err)
{
    kp_auto_json state = NULL;
    *again = false;
    if (kp_resumable_read(&state, site, STATE_FILE, err) < 0)
        return -1;
    if (!json_is_integer(json_object_get(state, "started")) ||
        json_integer_value(json_object_get(state, "days")) != site->renew.days ||
        !kp_resumable_text(state, "id", site->renew.id, sizeof(site->renew.id)))
        return 0; // none, or another renewal than the one that is asked for now
    site->renew.started = (time_t)json_integer_value(json_object_get(state, "started"));
    *again = true;
    return 0;
}

int kp_renew_begin(struct kp_site *site, long days, bool *again, struct kp_err *err)
{
    site->renew.days = days;
    if (take_up(site, again, err) < 0 || *again)
        return *again ? 0 : -1;
    snprintf(site->renew.id, sizeof(site->renew.id), "%s", site->run_id);
    site->renew.started = time(NULL);
    if (site->dry_run)
        return 0;
    kp_auto_json state = json_pack("{s:s, s:I, s:I}", "id", site->renew.id, "started",
                                   (json_int_t)site->renew.started, "days", (json_int_t)days);
    return kp_resumable_keep(site, STATE_FILE, state, err);
}

int kp_renew_end(struct kp_site *site, struct kp_err *err)
{
    return kp_resumable_end(site, STATE_FILE, err);
}

int kp_renew_done(struct kp_site *site, struct kp_site_node *node, const char *step, bool *done,
                  struct kp_err *err)
{
    return kp_resumable_done(site, node, step, site->renew.id, done, err);
}

int kp_renew_mark(struct kp_site *site, struct kp_site_node *node, const char *step, bool finished,
                  struct kp_err *err)
{
    return kp_resumable_mark(site, node, step, site->renew.id, finished, err);
}

static bool was_cut_off(const struct kp_site_node *node, const char *step)
{
    return kp_was_begun(node, step) &&
           !json_object_get(json_object_get(node->record, "finished"), step);
}

/* The engine asks: is it so already? */
#define CHECK(name, step)                                                                          \
    static int name(struct kp_site *site, struct kp_site_node *node, bool *done,                   \
                    struct kp_err *err)                                                            \
    {                                                                                              \
        return kp_renew_done(site, node, step, done, err);                                         \
    }
CHECK(check_etcd, ETCD_STEP)
CHECK(check_mirror, MIRROR_STEP)
CHECK(check_files, FILES_STEP)
CHECK(check_restart, RESTART_STEP)

static int apply_issue(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    if (site->inventory->etcd.external && kp_etcd_make_pki(site, err) < 0)
        return -1;
    return kp_mirror_make_pki(site, node, err);
}

struct looking {
    const struct kp_site *site;
    enum kp_certificate_kind kind;
    bool due;
};

static int look(void *user, const struct kp_lifetime *found, struct kp_err *err)
{
    struct looking *looking = user;
    long days = looking->site->renew.days;
    (void)err;
    if (found->kind == looking->kind)
        looking->due = looking->due || days == 0 || found->ends - time(NULL) < days * DAY_S;
    return 0;
}

static int is_due(struct kp_site *site, struct kp_site_node *node, enum kp_certificate_kind kind,
                  bool *due, struct kp_err *err)
{
    struct looking looking = {site, kind, false};
    if (kp_lifetimes(node, look, &looking, err) < 0)
        return -1;
    *due = looking.due;
    return 0;
}

static int apply_etcd(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    bool changed = was_cut_off(node, ETCD_STEP), due = false;
    struct kp_change would = {.changed = true};
    if (site->dry_run) { // nothing was issued that could be compared
        if (is_due(site, node, KP_CERTIFICATE_OWN, &due, err) < 0)
            return -1;
        if (!due)
            return 0;
        kp_step_changed(site, node, "give etcd's member its new certificate", &would);
        return kp_etcd_restart(site, node, err);
    }
    if (kp_renew_mark(site, node, ETCD_STEP, false, err) < 0 ||
        kp_etcd_place_certificates(site, node, &changed, err) < 0 ||
        (changed && kp_etcd_restart(site, node, err) < 0))
        return -1;
    return kp_renew_mark(site, node, ETCD_STEP, true, err);
}

static int apply_mirror(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    bool again = was_cut_off(node, MIRROR_STEP), due = false;
    struct kp_change would = {.changed = true};
    if (site->dry_run) {
        if (is_due(site, node, KP_CERTIFICATE_OWN, &due, err) < 0)
            return -1;
        if (due)
            kp_step_changed(site, node, "give the mirror its new certificate, restart kregistry",
                            &would);
        return 0;
    }
    if (kp_renew_mark(site, node, MIRROR_STEP, false, err) < 0 ||
        kp_mirror_renew(site, node, again, err) < 0)
        return -1;
    return kp_renew_mark(site, node, MIRROR_STEP, true, err);
}

static int apply_files(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const argv[] = {KP_KUBEADM, "certs", "renew", "all",
                                       "--config", CONFIG,  NULL};
    struct kp_change change = {.changed = true};
    bool due = false;
    if (is_due(site, node, KP_CERTIFICATE_CONTROL, &due, err) < 0)
        return -1;
    due = due || was_cut_off(node, FILES_STEP);
    if (!due)
        return 0; // and nothing that reads them is restarted either
    kp_step_changed(site, node, "kubeadm certs renew all", &change);
    if (site->dry_run)
        return 0;
    kp_step_note(site, node, "kubeadm certs renew all");
    // Behind it the restart is due, whatever happens to this run.
    if (kp_renew_mark(site, node, RESTART_STEP, false, err) < 0 ||
        kp_renew_mark(site, node, FILES_STEP, false, err) < 0 ||
        kp_kubeadm_configured(site, node, CONFIG, argv, err) < 0 ||
        kp_etcd_place_client(site, node, NULL, err) < 0 ||
        kp_approve_credential(site, node, err) < 0)
        return -1;
    return kp_renew_mark(site, node, FILES_STEP, true, err);
}

/* Its member may go only while the others are a quorum without it. */
static int restart_etcd(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const struct kp_static_pod etcd = {"etcd", "/etc/kubernetes/pki/etcd/server.crt"};
    double until = kp_now() + ETCD_S;
    if (site->inventory->etcd.external)
        return 0;
    // The others may be about to find their new files themselves.
    while (kp_etcd_others_well(site, node, err) < 0) {
        struct timespec pause = {.tv_nsec = PAUSE_NS};
        if (kp_session_lost_by(err) || kp_now() > until || kp_interrupted())
            return -1;
        nanosleep(&pause, NULL);
    }
    if (kp_static_pods_restart(site, node, &etcd, 1, err) < 0)
        return -1;
    return kp_etcd_await(site, node, ETCD_S, err);
}

static int restart_readers(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const struct kp_static_pod api = {"kube-apiserver", "/etc/kubernetes/pki/apiserver.crt"};
    static const struct kp_static_pod controllers[] = {
        {"kube-controller-manager", "/etc/kubernetes/controller-manager.conf"},
        {"kube-scheduler", "/etc/kubernetes/scheduler.conf"},
    };
    kp_auto_free char *name = kp_inventory_endpoint_name(site->inventory);
    if (restart_etcd(site, node, err) < 0 || kp_static_pods_restart(site, node, &api, 1, err) < 0 ||
        kp_endpoint_await(site, node, name, err) < 0 ||
        kp_static_pods_restart(site, node, controllers, KP_COUNT(controllers), err) < 0)
        return -1;
    return kp_renew_kubelet(site, node, err);
}

static int apply_restart(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    struct kp_change change = {.changed = true};
    bool due = false;
    if (site->dry_run) {
        if (is_due(site, node, KP_CERTIFICATE_CONTROL, &due, err) < 0)
            return -1;
        if (due)
            kp_step_changed(site, node,
                            "restart etcd (where stacked), kube-apiserver, "
                            "kube-controller-manager, kube-scheduler, one by one",
                            &change);
        return 0;
    }
    if (!was_cut_off(node, RESTART_STEP))
        return 0; // its files were not due
    kp_step_changed(site, node, "restart the static pods of the control plane", &change);
    if (restart_readers(site, node, err) < 0 || kp_renew_gate(site, node, err) < 0)
        return -1;
    return kp_renew_mark(site, node, RESTART_STEP, true, err);
}

int kp_renew_gate(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    if (kp_upgrade_gate(site, node, site->manifest->kubernetes, err) == 0)
        return 0;
    err->hint[0] = '\0';
    return kp_hint(err,
                   "on %s: journalctl -u kubelet; then the same command again, which goes on "
                   "from here",
                   node->node->name);
}

static int describe_issue(const struct kp_site *site, char *out, size_t size)
{
    if (site->renew.days)
        snprintf(out, size, "what ends within %ld days", site->renew.days);
    else
        snprintf(out, size, "all");
    return 0;
}

static int describe_control(const struct kp_site *site, char *out, size_t size)
{
    size_t n = kp_control_planes(site);
    snprintf(out, size, "%zu control plane%s, one by one", n, n == 1 ? "" : "s");
    return 0;
}

static const struct kp_step own[] = {
    {.name = "certs-issue",
     .phase = "issue",
     .nodes = KP_STEP_ADMIN,
     .apply = apply_issue,
     .describe = describe_issue,
     .halting = true},
    {.name = ETCD_STEP,
     .phase = "issue",
     .nodes = KP_STEP_ETCD,
     .check = check_etcd,
     .apply = apply_etcd,
     .halting = true},
    {.name = MIRROR_STEP,
     .phase = "issue",
     .nodes = KP_STEP_MIRRORS,
     .check = check_mirror,
     .apply = apply_mirror,
     .halting = true},
    {.name = NULL},
};

static const struct kp_step control[] = {
    {.name = FILES_STEP,
     .phase = "control",
     .nodes = KP_STEP_CONTROL_PLANES,
     .check = check_files,
     .apply = apply_files,
     .describe = describe_control,
     .halting = true},
    {.name = RESTART_STEP,
     .phase = "control",
     .nodes = KP_STEP_CONTROL_PLANES,
     .check = check_restart,
     .apply = apply_restart,
     .halting = true},
    {.name = NULL},
};

static const struct kp_step rest[] = {
    {.name = "certs-kubelet",
     .phase = "kubelets",
     .nodes = KP_STEP_ALL,
     .apply = kp_renew_kubelet,
     .halting = true},
    {.name = "certs-serving",
     .phase = "kubelets",
     .nodes = KP_STEP_ALL,
     .apply = kp_renew_serving,
     .halting = true},
    {.name = "kubeconfig",
     .phase = "kubelets",
     .nodes = KP_STEP_FIRST,
     .apply = kp_prove_kubeconfig,
     .halting = true},
    {.name = NULL},
};

const struct kp_step *const *kp_renew_phases(size_t *count)
{
    static const struct kp_step *const phases[] = {own, control, rest};
    *count = KP_COUNT(phases);
    return phases;
}
