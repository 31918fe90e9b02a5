/* SPDX-License-Identifier: Apache-2.0 */
/* Members of external etcd come and go: the API servers' list of them follows. */
#include "core/interrupt.h"
#include "core/text.h"
#include "install/etcd/etcd.h"
#include "install/steps/common.h"
#include "install/steps/endpoint.h"
#include "install/steps/etcd.h"
#include "install/steps/kubeadm.h"

#include <time.h>

#define MANIFEST "/etc/kubernetes/manifests/kube-apiserver.yaml"
#define MANIFEST_MAX ((size_t)256 << 10)
#define CONFIG "/etc/kubernetes/kpack-etcd.yaml"
#define OPTION "--etcd-servers="
#define LIST_MAX ((size_t)KP_ETCD_MEMBERS_MAX * 128)
#define STARTED_S 120.0
#define PAUSE_NS 500000000L

char *kp_etcd_servers(const struct kp_site *site)
{
    kp_auto_value(kp_buf) out = KP_BUF(LIST_MAX);
    for (size_t i = 0; i < site->node_count; i++) {
        kp_auto_free char *url = kp_etcd_url(site->nodes[i].node, KP_ETCD_CLIENT_PORT);
        if (site->nodes[i].node->roles & KP_ROLE_ETCD)
            kp_buf_addf(&out, "%s%s", out.len ? "," : "", url);
    }
    return kp_buf_steal(&out);
}

bool kp_etcd_servers_are(struct kp_slice manifest, const char *wanted)
{
    struct kp_slice line;
    while (kp_slice_line(&manifest, &line)) {
        const char *at = memmem(line.ptr, line.len, OPTION, strlen(OPTION));
        if (!at)
            continue;
        at += strlen(OPTION);
        return kp_slice_equal(
            kp_slice_trim((struct kp_slice){at, (size_t)(line.ptr + line.len - at)}), wanted);
    }
    return false;
}

static int is_so(struct kp_site_node *node, const char *wanted, bool *so, struct kp_err *err)
{
    kp_auto_value(kp_buf) text = KP_BUF(MANIFEST_MAX);
    bool found;
    if (kp_session_get(node->session, MANIFEST, &text, &found, err) < 0)
        return kp_wrap(err, "read " MANIFEST);
    *so = found && kp_etcd_servers_are(kp_buf_slice(&text), wanted);
    return 0;
}

/* The kubelet stops the old one first: that one must not answer for its successor. */
static int await_process(struct kp_site *site, struct kp_site_node *node, const char *wanted,
                         struct kp_err *err)
{
    static const char script[] =
        "for p in /proc/[0-9]*; do a=$(tr '\\0' '\\n' 2>/dev/null <$p/cmdline) || continue;"
        " case $a in *kube-apiserver*) printf '%s\\n' \"$a\" | grep -qxF -e \"$1\" && exit 0;; "
        "esac;"
        " done; exit 1";
    kp_auto_free char *option = kp_asprintf(OPTION "%s", wanted);
    kp_auto_free char *name = kp_inventory_endpoint_name(site->inventory);
    const char *argv[] = {"/bin/sh", "-c", script, "sh", option, NULL};
    double until = kp_now() + STARTED_S;
    int status = 1;
    while (status != 0) {
        struct timespec pause = {.tv_nsec = PAUSE_NS};
        if (kp_interrupt_check(err) < 0 || kp_ask(site, node, argv, 60, &status, NULL, err) < 0)
            return -1;
        if (status != 0 && kp_now() > until) {
            kp_fail_as(err, KP_FAILED, "not_started",
                       "the kubelet did not start kube-apiserver with its new list of etcd's "
                       "members in %.0f s",
                       STARTED_S);
            return kp_hint(err, "on %s: crictl ps -a; journalctl -u kubelet", node->node->name);
        }
        nanosleep(&pause, NULL);
    }
    return kp_endpoint_await(site, node, name, err);
}

int kp_etcd_follow(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const upload[] = {KP_KUBEADM, "init",     "phase", "upload-config",
                                         "kubeadm",  "--config", CONFIG,  NULL};
    static const char *const argv[] = {KP_KUBEADM,  "init",     "phase", "control-plane",
                                       "apiserver", "--config", CONFIG,  NULL};
    struct kp_change change = {.changed = true};
    bool so = false, finished;
    if (!site->inventory->etcd.external)
        return 0;
    kp_auto_free char *wanted = kp_etcd_servers(site);
    if (kp_joined(site, node, &finished, err) < 0)
        return -1;
    if (!finished)
        return 0;
    if (is_so(node, wanted, &so, err) < 0)
        return -1;
    if (so)
        return 0;
    kp_auto_free char *what = kp_asprintf("give the API server etcd's members: %s", wanted);
    kp_step_changed(site, node, what, &change);
    if (site->dry_run)
        return 0;
    kp_step_note(site, node, "the API server's list of etcd's members");
    // Control planes that join later read it there.
    if (node == kp_first(site) && kp_kubeadm_configured(site, node, CONFIG, upload, err) < 0)
        return kp_wrap(err, "kubeadm's configuration in the cluster");
    if (kp_kubeadm_configured(site, node, CONFIG, argv, err) < 0)
        return -1;
    return await_process(site, node, wanted, err);
}
