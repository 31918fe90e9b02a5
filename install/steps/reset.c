/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking away what the steps put on a node, and only that. The Kubernetes parts go only where the
 * node's own record says that they were begun by kinstall; a file goes only while it is still the
 * one that was placed.
 */
#include "install/steps/reset.h"

#include "install/kernel.h"
#include "install/node/catch_up_unit.h"
#include "install/steps/approve.h"
#include "install/steps/common.h"
#include "install/steps/firewall.h"
#include "install/steps/proxy.h"
#include "install/steps/packages.h"
#include "install/steps/prepare.h"
#include "install/steps/certs.h"
#include "install/steps/runtime.h"
#include "install/steps/reset_network.h"

#include <unistd.h>

#define FILE_MAX ((size_t)1 << 20)
#define OURS "# written by kinstall"

/* Pods' volumes and root file systems that are mounted still, deepest first. */
static int unmount_pods(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char script[] = "tac /proc/self/mounts | while read -r _ at _; do case $at in"
                                 " /var/lib/kubelet/*|/run/containerd/*|/run/netns/cni-*|/var/lib/"
                                 "containerd/*|/run/containers/storage/*|/var/lib/containers/"
                                 "storage/*) umount -l \"$at\";; esac; done";
    static const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    int status;
    return kp_ask(site, node, argv, 120, &status, NULL, err);
}

static int run_kubeadm_reset(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    const struct kp_runtime_place *place = kp_runtime_place(kp_node_runtime(site, node).kind);
    const char *argv[] = {KP_KUBEADM, "reset", "--force", "--cri-socket", place->endpoint, NULL};
    static const char *const folders[] = {"/etc/kubernetes", "/var/lib/kubelet", "/var/lib/etcd",
                                          "/var/log/pods", "/var/log/containers"};
    struct kp_change change = {.changed = true};
    bool there;
    if (kp_have_file(node, KP_KUBEADM, &there, err) < 0)
        return -1;
    kp_step_note(site, node, "kubeadm reset");
    if (there && kp_ask(site, node, argv, 300, NULL, NULL, err) < 0)
        return -1;
    if (there)
        kp_step_changed(site, node, "kubeadm reset", &change);
    if (unmount_pods(site, node, err) < 0)
        return -1;
    for (size_t i = 0; i < KP_COUNT(folders); i++)
        if (kp_place_removed(site, node, folders[i], NULL, err) < 0)
            return -1;
    return kp_reset_network(site, node, err);
}

/* Stops a unit whose file is ours and takes the file away. */
static int reset_unit(struct kp_site *site, struct kp_site_node *node, const char *unit, bool *ours,
                      struct kp_err *err)
{
    kp_auto_free char *path = kp_asprintf("/etc/systemd/system/%s", unit);
    kp_auto_value(kp_buf) text = KP_BUF(FILE_MAX);
    bool found;
    if (kp_session_get(node->session, path, &text, &found, err) < 0)
        return -1;
    *ours = found && kp_slice_starts(kp_buf_slice(&text), OURS);
    if (!*ours)
        return 0;
    if (kp_place_unit(site, node, unit, KP_UNIT_STOP_DISABLE, NULL, err) < 0)
        return -1;
    return kp_place_removed(site, node, path, NULL, err);
}

/* Programs that are still the ones of the bundle. */
static int reset_programs(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    for (size_t i = 0; i < site->manifest->file_count; i++) {
        const struct kp_file *file = &site->manifest->files[i];
        kp_auto_value(kp_change) would = {0};
        if (strcmp(file->arch, node->arch) != 0 || !file->target[0])
            continue;
        if (kp_session_fetch(node->session, file, NULL, KP_DRY_RUN, &would, err) < 0)
            return kp_wrap(err, "%s", file->name);
        if (!would.changed && kp_place_removed(site, node, file->target, NULL, err) < 0)
            return -1;
    }
    return 0;
}

static int reset_hosts(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_value(kp_buf) old = KP_BUF(FILE_MAX);
    bool found;
    if (kp_session_get(node->session, "/etc/hosts", &old, &found, err) < 0)
        return -1;
    if (!found)
        return 0;
    kp_auto_free char *text = kp_hosts_merge(kp_buf_slice(&old), NULL);
    return kp_place(site, node, "/etc/hosts", kp_slice_of(text), 0644, NULL, err);
}

/* External etcd and the scheduled snapshots. Snapshots stay: they may be all that is left. */
static int reset_etcd(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const units[] = {"kpack-etcd-backup.timer", "kpack-etcd-backup.service"};
    bool ours;
    for (size_t i = 0; i < KP_COUNT(units); i++)
        if (reset_unit(site, node, units[i], &ours, err) < 0)
            return -1;
    if (reset_unit(site, node, "etcd.service", &ours, err) < 0)
        return -1;
    return ours ? kp_place_removed(site, node, "/var/lib/kpack-etcd", NULL, err) : 0;
}

/* The rest of the folder may be podman's. */
static int drop_crio_cas(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    const struct kp_inventory *inventory = site->inventory;
    for (size_t i = 0; site->mirror_urls[i]; i++)
        if (kp_drop_crio_ca(site, node, site->mirror_urls[i], err) < 0)
            return -1;
    for (size_t i = 0; i < inventory->registry_count; i++)
        for (size_t k = 0; inventory->registries[i].ca && k < inventory->registries[i].url_count;
             k++)
            if (kp_drop_crio_ca(site, node, inventory->registries[i].urls[k], err) < 0)
                return -1;
    return 0;
}

int kp_reset_runtime(struct kp_site *site, struct kp_site_node *node, enum kp_runtime_kind kind,
                     struct kp_err *err)
{
    static const char *const files[][8] = {
        [KP_RUNTIME_CONTAINERD] = {"/etc/containerd/config.toml", "/etc/containerd/certs.d",
                                   "/etc/nerdctl/nerdctl.toml", "/etc/crictl.yaml",
                                   "/etc/cni/nerdctl",
                                   "/etc/systemd/system/containerd.service.d/20-kpack-proxy.conf",
                                   "/var/lib/nerdctl"},
        [KP_RUNTIME_CRIO] = {"/etc/crio", "/etc/containers/registries.conf.d/10-kpack.conf",
                             "/etc/crictl.yaml",
                             "/etc/systemd/system/crio.service.d/20-kpack-proxy.conf",
                             "/var/lib/crio"},
    };
    const struct kp_runtime_place *place = kp_runtime_place(kind);
    bool ours;
    if (reset_unit(site, node, place->unit, &ours, err) < 0)
        return -1;
    if (!ours)
        return 0;
    if (unmount_pods(site, node, err) < 0 ||
        kp_place_removed(site, node, place->run, NULL, err) < 0 ||
        kp_place_removed(site, node, place->state, NULL, err) < 0)
        return -1;
    for (size_t i = 0; files[kind][i]; i++)
        if (kp_place_removed(site, node, files[kind][i], NULL, err) < 0)
            return -1;
    return kind == KP_RUNTIME_CRIO ? drop_crio_cas(site, node, err) : 0;
}

static int reset_services(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const timed[] = {KP_CATCH_UP_TIMER, KP_CATCH_UP_SERVICE, KP_APPROVE_TIMER,
                                        KP_APPROVE_SERVICE};
    bool ours;
    for (size_t i = 0; i < KP_COUNT(timed); i++)
        if (reset_unit(site, node, timed[i], &ours, err) < 0)
            return -1;
    if (kp_place_removed(site, node, KP_APPROVE_FOLDER, NULL, err) < 0)
        return -1;
    if (reset_etcd(site, node, err) < 0 ||
        kp_reset_runtime(site, node, KP_RUNTIME_CONTAINERD, err) < 0 ||
        kp_reset_runtime(site, node, KP_RUNTIME_CRIO, err) < 0)
        return -1;
    if (reset_unit(site, node, "kpack-mirrors.service", &ours, err) < 0 ||
        reset_unit(site, node, "kpack-bpf.service", &ours, err) < 0)
        return -1;
    return reset_unit(site, node, "kregistry.service", &ours, err);
}

/* Folders that nobody else uses. */
static int drop_empty(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const argv[] = {"rmdir",
                                       "/etc/containerd",
                                       "/etc/nerdctl",
                                       "/etc/cni/nerdctl",
                                       "/etc/systemd/system/containerd.service.d",
                                       "/etc/systemd/system/crio.service.d",
                                       "/etc/containers/registries.conf.d",
                                       "/etc/containers/certs.d",
                                       "/etc/containers",
                                       "/var/lib/containers",
                                       "/usr/local/libexec/crio",
                                       "/opt/containerd/bin",
                                       "/opt/containerd/lib",
                                       "/opt/containerd",
                                       "/opt/cni/bin",
                                       "/opt/cni",
                                       "/etc/cni/net.d",
                                       "/etc/cni",
                                       NULL};
    int status;
    return kp_ask(site, node, argv, 30, &status, NULL, err);
}

/* Swap that was on is not turned on here: whether it shall be is not ours to know. */
static int reset_swap(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    bool unmasked = false;
    if (site->inventory->kubernetes.keep_swap)
        return 0;
    if (kp_place_unit(site, node, "swap.target", KP_UNIT_UNMASK, &unmasked, err) < 0)
        return -1;
    if (unmasked)
        kp_screen_line(site->screen,
                       "  %-12s swap.target is unmasked: swap comes back at the next boot, or by "
                       "swapon -a",
                       node->node->name);
    return 0;
}

/* Kernel parameters go back to what they were, where they are still as we have set them. */
static int reset_kernel(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_value(kp_buf) text = KP_BUF(FILE_MAX);
    kp_auto_json before = NULL;
    kp_auto(kp_arena) arena = kp_arena_new();
    kp_auto_value(kp_change) change = {0};
    const char *settings[KP_KERNEL_SETTINGS_MAX];
    bool found;
    if (kp_session_get(node->session, KP_KERNEL_BEFORE, &text, &found, err) < 0)
        return -1;
    if (!found)
        return 0;
    if (kp_json_parse(&before, kp_buf_slice(&text), FILE_MAX, KP_KERNEL_BEFORE, err) < 0)
        return -1;
    size_t n = kp_kernel_restore(site, node, before, arena, settings, KP_COUNT(settings));
    if (n && kp_session_sysctl(node->session, settings, n, 0, &change, err) < 0)
        return kp_wrap(err, "put kernel parameters back");
    if (n)
        kp_step_changed(site, node, "put kernel parameters back as they were", &change);
    return kp_place_removed(site, node, KP_KERNEL_BEFORE, NULL, err);
}

static int reset_files(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const files[] = {"/etc/sysctl.d/90-kpack.conf",
                                        "/etc/modules-load.d/kpack.conf",
                                        "/etc/systemd/system/kubelet.service.d",
                                        "/run/kpack",
                                        "/etc/kpack",
                                        "/var/lib/kpack",
                                        "/usr/local/libexec/kpack"};
    if (kp_firewall_reset(site, node, err) < 0 || kp_packages_reset(site, node, err) < 0 ||
        reset_kernel(site, node, err) < 0 || reset_programs(site, node, err) < 0 ||
        reset_hosts(site, node, err) < 0)
        return -1;
    if (kp_place_removed(site, node, site->inventory->mirror.folder, NULL, err) < 0)
        return -1;
    if (reset_swap(site, node, err) < 0)
        return -1;
    // The record goes last: cut off before, the same command takes up here.
    for (size_t i = 0; i < KP_COUNT(files); i++)
        if (kp_place_removed(site, node, files[i], NULL, err) < 0)
            return -1;
    if (drop_empty(site, node, err) < 0)
        return -1;
    return kp_place_unit(site, node, "", KP_UNIT_RELOAD_DAEMON, NULL, err);
}

/* The kubelet's control groups: they outlive it, empty. */
static int drop_pod_slices(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const argv[] = {"systemctl", "stop", "kubepods.slice", NULL};
    int status;
    return kp_ask(site, node, argv, 60, &status, NULL, err);
}

int kp_node_reset(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    bool begun, finished, ours;
    if (kp_recorded(site, node, "kubeadm-init", &begun, &finished, err) < 0)
        return -1;
    bool cluster = begun || kp_was_begun(node, "kubeadm-join");
    if (reset_unit(site, node, "kubelet.service", &ours, err) < 0 ||
        (cluster && run_kubeadm_reset(site, node, err) < 0) || reset_services(site, node, err) < 0)
        return -1;
    if (cluster && (drop_pod_slices(site, node, err) < 0 || kp_proxy_unguard(site, node, err) < 0))
        return -1;
    return reset_files(site, node, err);
}
