/* SPDX-License-Identifier: Apache-2.0 */
/* Phase tools: kubelet, kubeadm, kubectl; the kubelet is enabled, kubeadm starts it. */
#include "install/runtime.h"
#include "install/steps/approve.h"
#include "install/steps/certs.h"
#include "install/steps/common.h"
#include "install/steps/proxy.h"

#define UNIT "kubelet.service"
#define UNIT_FILE "/etc/systemd/system/" UNIT
#define DROP_IN "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf"

static int apply_programs(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const optional[] = {"kubectl", "etcdctl", "etcdutl"};
    if (kp_place_component(site, node, "kubeadm", NULL, err) < 0)
        return -1;
    for (size_t i = 0; i < KP_COUNT(optional); i++) {
        const struct kp_file *file = kp_manifest_file(site->manifest, optional[i], node->arch);
        if (file && (file->roles & node->node->roles) &&
            kp_place_file(site, node, optional[i], false, NULL, err) < 0)
            return -1;
    }
    return 0;
}

/* What the kubelet is started with is nobody's but root's (CIS 4.1.1). */
static int place_drop_in(struct kp_site *site, struct kp_site_node *node, bool *changed,
                         struct kp_err *err)
{
    kp_auto(kp_vars) vars = kp_vars_new();
    kp_auto_free char *text = NULL;
    kp_proxy_guards(vars, site->inventory);
    if (kp_render(&text, "kubelet-kubeadm.conf", vars, err) < 0)
        return -1;
    return kp_place(site, node, DROP_IN, kp_slice_of(text), 0600, changed, err);
}

/* A kubelet that runs already is restarted by what was changed beneath it; one that was never
 * configured is left for kubeadm to start. */
static int apply_kubelet(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    bool changed = false, configured;
    kp_auto(kp_vars) vars = kp_vars_new();
    struct kp_runtime runtime = kp_runtime_of(site->inventory, site->manifest, node->node);
    kp_vars_set(vars, "runtime", kp_runtime_place(runtime.kind)->unit);
    if (kp_place_component(site, node, "kubelet", &changed, err) < 0 ||
        kp_place_template(site, node, UNIT_FILE, "kubelet.service", vars, &changed, err) < 0 ||
        place_drop_in(site, node, &changed, err) < 0 ||
        kp_have_file(node, "/var/lib/kubelet/config.yaml", &configured, err) < 0)
        return -1;
    if (configured && !changed)
        return kp_place_service(site, node, UNIT, false, err);
    if (changed && kp_place_unit(site, node, UNIT, KP_UNIT_RELOAD_DAEMON, NULL, err) < 0)
        return -1;
    if (kp_place_enabled(site, node, UNIT, err) < 0)
        return -1;
    return configured ? kp_restart_kubelet(site, node, err) : 0;
}

/* The hands of earlier bundles; the one that runs stays. */
static int apply_old_hands(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const argv[] = {"find", KP_HANDS, "-maxdepth", "1", "-type",
                                       "f",    "-name",  "knode-*",   NULL};
    kp_auto_free char *keep = kp_hand_path(site, node);
    kp_auto_free char *list = NULL;
    if (!keep || kp_ask(site, node, argv, 30, NULL, &list, err) < 0)
        return keep ? -1 : 0;
    struct kp_slice rest = kp_slice_of(list), line;
    while (kp_slice_line(&rest, &line)) {
        kp_auto_free char *path = kp_asprintf("%.*s", (int)line.len, line.ptr);
        if (*path && strcmp(path, keep) != 0 && kp_place_removed(site, node, path, NULL, err) < 0)
            return -1;
    }
    return 0;
}

static int describe(const struct kp_site *site, char *out, size_t size)
{
    snprintf(out, size, "kubelet, kubeadm, kubectl %s; images arrive in the background",
             site->manifest->kubernetes);
    return 0;
}

const struct kp_step kp_steps_tools[] = {
    {.name = "kube-programs",
     .phase = "tools",
     .nodes = KP_STEP_ALL,
     .apply = apply_programs,
     .describe = describe},
    {.name = "registry-auths",
     .phase = "tools",
     .nodes = KP_STEP_ALL,
     .apply = kp_place_kubelet_auths},
    {.name = "kubelet", .phase = "tools", .nodes = KP_STEP_ALL, .apply = apply_kubelet},
    {.name = "approver-hand",
     .phase = "tools",
     .nodes = KP_STEP_CONTROL_PLANES,
     .apply = kp_approve_follow},
    {.name = "old-knode", .phase = "tools", .nodes = KP_STEP_EVERY, .apply = apply_old_hands},
    {.name = NULL},
};
