/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of an upgrade. Each node: keep, kubeadm, drain, runtime and kubelet, gate, uncordon. */
#include "install/steps/upgrade.h"

#include "install/journal.h"
#include "install/steps/common.h"
#include "install/steps/images.h"
#include "install/steps/kubeadm.h"
#include "install/steps/network.h"
#include "install/steps/runtime.h"
#include "install/steps/secure.h"
#include "install/steps/settings.h"

#include "core/text.h"

#define UNIT "kpack-upgrade"
#define CONFIG "/etc/kubernetes/kpack-upgrade.yaml"
#define KUBEADM_TIMEOUT 1200
#define IGNORED_MAX ((size_t)64 << 10)

static int check_upgraded(struct kp_site *site, struct kp_site_node *node, bool *done,
                          struct kp_err *err)
{
    bool begun, finished;
    if (kp_recorded(site, node, KP_UPGRADE_STEP, &begun, &finished, err) < 0)
        return -1;
    const json_t *all = json_object_get(node->record, "finished");
    const char *to = json_string_value(json_object_get(all, KP_UPGRADE_STEP));
    *done = to && strcmp(to, site->manifest->kubernetes) == 0;
    return 0;
}

/* kubeadm reads what the cluster shall be from the cluster: the new version's images and fields go
 * there first, in the form of the new kubeadm. */
static int upload_config(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const argv[] = {KP_KUBEADM, "init",     "phase", "upload-config",
                                       "all",      "--config", CONFIG,  NULL};
    return kp_kubeadm_configured(site, node, CONFIG, argv, err);
}

/* kubeadm that an earlier run began works on: its API server may be the one that restarts. */
static int is_at_work(struct kp_site *site, struct kp_site_node *node, bool *active,
                      struct kp_err *err)
{
    static const char *const argv[] = {"systemctl", "is-active", "--quiet", UNIT ".service", NULL};
    int status;
    if (kp_ask(site, node, argv, 30, &status, NULL, err) < 0)
        return -1;
    *active = status == 0;
    return 0;
}

static char *ignored_checks(const struct kp_site *site)
{
    kp_auto_value(kp_buf) out = KP_BUF(IGNORED_MAX);
    for (size_t i = 0; i < site->inventory->kubernetes.ignore_preflight_count; i++)
        kp_buf_addf(&out, "%s%s", i ? "," : "--ignore-preflight-errors=",
                    site->inventory->kubernetes.ignore_preflight[i]);
    return out.len ? kp_buf_steal(&out) : NULL;
}

static void add_options(const char **to, const char *ignored, const char *patches)
{
    if (ignored)
        *to++ = ignored;
    if (patches)
        *to = patches;
}

/* As a transient unit: a run that died leaves it to the next, which takes up or reads its end. */
static int run_kubeadm(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const env[] = {KP_PATH_ENV, "HOME=/root", NULL};
    kp_auto_free char *ignored = ignored_checks(site);
    const char *patches =
        kp_settings_patched(site, node->node) ? "--patches=" KP_PATCHES_FOLDER : NULL;
    const char *apply[] = {KP_KUBEADM, "upgrade", "apply", site->manifest->kubernetes,
                           "--yes",    NULL,      NULL,    NULL};
    const char *others[] = {KP_KUBEADM, "upgrade", "node", NULL, NULL, NULL};
    add_options(&apply[5], ignored, patches);
    add_options(&others[3], ignored, patches);
    bool first = node == kp_first(site);
    struct kp_run run = {
        .argv = first ? apply : others, .env = env, .timeout = KUBEADM_TIMEOUT, .unit = UNIT};
    kp_auto_value(kp_run_result) result = {0};
    bool active;
    if (is_at_work(site, node, &active, err) < 0)
        return -1;
    if (first && !active && upload_config(site, node, err) < 0)
        return kp_wrap(err, "hand the new configuration to the cluster");
    kp_step_note(site, node, "kubeadm upgrade %s", first ? "apply" : "node");
    return kp_step_run(site, node, &run, &result, err);
}

static int run_phase_here(struct kp_site *site, struct kp_site_node *node,
                          const struct kp_step *steps, struct kp_err *err)
{
    for (; steps->name; steps++)
        if (steps->apply(site, node, err) < 0)
            return kp_wrap(err, "%s", steps->name);
    return 0;
}

/* A run that died between a program and the restart of its service has left the old one running. */
static int restart(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    const char *unit = kp_runtime_place(kp_node_runtime(site, node).kind)->unit;
    if (kp_place_unit(site, node, unit, KP_UNIT_RESTART, NULL, err) < 0)
        return -1;
    return kp_restart_kubelet(site, node, err);
}

static int change_node(struct kp_site *site, struct kp_site_node *node, bool again,
                       struct kp_err *err)
{
    if (kp_place_component(site, node, "kubeadm", NULL, err) < 0 ||
        run_kubeadm(site, node, err) < 0 || kp_upgrade_drain(site, node, err) < 0)
        return -1;
    kp_step_note(site, node, "runtime, kubelet");
    if (run_phase_here(site, node, kp_steps_runtime, err) < 0 ||
        run_phase_here(site, node, kp_steps_tools, err) < 0)
        return -1;
    return again ? restart(site, node, err) : 0;
}

/* Whatever went wrong: which node it is, and the way back. */
static int name_way_back(const struct kp_site *site, const struct kp_site_node *node,
                         struct kp_err *err)
{
    char hint[sizeof(err->hint)];
    snprintf(hint, sizeof(hint), "%s", err->hint);
    if (strstr(hint, "kinstall rollback"))
        return -1;
    err->hint[0] = '\0';
    return kp_hint(err,
                   "%s%smend it and run the same command again, which goes on from here; or have "
                   "the node back as it was: kinstall rollback %s -i %s",
                   hint, hint[0] ? "; " : "", node->node->name, site->inventory->path);
}

static int apply_upgrade(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    struct kp_change change = {.changed = true};
    const char *cluster = site->inventory->cluster, *to = site->manifest->kubernetes;
    bool again = kp_was_begun(node, KP_UPGRADE_STEP) &&
                 !json_object_get(json_object_get(node->record, "finished"), KP_UPGRADE_STEP);
    kp_auto_free char *what = kp_asprintf("upgrade from %s to %s", site->upgrade.from, to);
    kp_step_changed(site, node, what, &change);
    if (kp_upgrade_keep(site, node, site->upgrade.from, err) < 0 ||
        kp_session_mark(node->session, cluster, KP_UPGRADE_STEP, false, NULL, err) < 0)
        return -1;
    if (change_node(site, node, again, err) < 0 || kp_upgrade_gate(site, node, to, err) < 0)
        return name_way_back(site, node, err);
    if (kp_upgrade_uncordon(site, node, err) < 0)
        return -1;
    return kp_session_mark(node->session, cluster, KP_UPGRADE_STEP, true, to, err);
}

static int describe_control(const struct kp_site *site, char *out, size_t size)
{
    size_t n = kp_control_planes(site);
    snprintf(out, size, "%zu control plane%s, %s to %s", n, n == 1 ? "" : "s", site->upgrade.from,
             site->manifest->kubernetes);
    return 0;
}

static int describe_workers(const struct kp_site *site, char *out, size_t size)
{
    size_t n = site->node_count - kp_control_planes(site);
    snprintf(out, size, "%zu worker%s, %u at once, %s to %s", n, n == 1 ? "" : "s",
             site->batch ? site->batch : 1, site->upgrade.from, site->manifest->kubernetes);
    return 0;
}

static int describe_images(const struct kp_site *site, char *out, size_t size)
{
    snprintf(out, size, "of %s, on all nodes", site->manifest->kubernetes);
    return 0;
}

static const struct kp_step images[] = {
    {.name = "images",
     .phase = "images",
     .nodes = KP_STEP_ALL,
     .apply = kp_images_start,
     .describe = describe_images},
    {.name = "images-all", .phase = "images", .nodes = KP_STEP_ALL, .apply = kp_images_finish},
    {.name = NULL},
};

static const struct kp_step control[] = {
    {.name = "secrets-key",
     .phase = "control",
     .nodes = KP_STEP_ADMIN,
     .apply = kp_secure_keep_keys,
     .describe = describe_control,
     .halting = true},
    {.name = "secure-files", // the new API servers read them
     .phase = "control",
     .nodes = KP_STEP_CONTROL_PLANES,
     .apply = kp_secure_files,
     .halting = true},
    {.name = "settings",
     .phase = "control",
     .nodes = KP_STEP_ALL,
     .apply = kp_settings_prepare,
     .halting = true},
    {.name = KP_UPGRADE_STEP,
     .phase = "control",
     .nodes = KP_STEP_FIRST,
     .serial = true,
     .check = check_upgraded,
     .apply = apply_upgrade,
     .halting = true},
    {.name = KP_UPGRADE_STEP,
     .phase = "control",
     .nodes = KP_STEP_OTHER_CONTROL_PLANES,
     .serial = true,
     .check = check_upgraded,
     .apply = apply_upgrade,
     .halting = true},
    {.name = "network",
     .phase = "control",
     .nodes = KP_STEP_FIRST,
     .apply = kp_network_apply,
     .halting = true},
    {.name = NULL},
};

static const struct kp_step workers[] = {
    {.name = KP_UPGRADE_STEP,
     .phase = "workers",
     .nodes = KP_STEP_WORKERS,
     .check = check_upgraded,
     .apply = apply_upgrade,
     .describe = describe_workers,
     .halting = true},
    {.name = NULL},
};

const struct kp_step *const *kp_upgrade_phases(size_t *count)
{
    static const struct kp_step *const phases[] = {
        kp_steps_mirror,  kp_steps_prepare, kp_steps_etcd,   images,          control,
        workers,          kp_steps_runtime, kp_steps_tools,  kp_steps_init,   kp_steps_join,
        kp_steps_network, kp_steps_addons,  kp_steps_secure, kp_steps_custom, kp_steps_prove};
    *count = KP_COUNT(phases);
    return phases;
}
