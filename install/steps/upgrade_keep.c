/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a node had before its upgrade: programs (as hard links where the file system allows it, for
 * they are replaced by rename), configuration and static pods (copies), with their sums.
 */
#include "install/steps/common.h"
#include "install/steps/runtime.h"
#include "install/steps/runtime_change.h"
#include "install/steps/upgrade.h"

#define KEEP_TIMEOUT 300
#define FOR_FILE KP_KEPT_FOLDER "/for"
#define FOR_MAX 256
#define ARGV_MAX 64

/* Programs are replaced by rename; the rest is written in place, by kubeadm for one. */
static const char keep_script[] =
    "set -eu; d=$1 from=$2 to=$3; shift 3;"
    " case $(cat \"$d/for\" 2>/dev/null || :) in *\" $to\") exit 0;; esac;"
    " rm -rf \"$d\" \"$d.partial\"; mkdir -p -m 0700 \"$d.partial/root\";"
    " for f; do [ -f \"$f\" ] || continue; t=$d.partial/root$f; mkdir -p \"${t%/*}\";"
    " case $f in /usr/local/*|/opt/*) cp -al \"$f\" \"$t\" 2>/dev/null || cp -a \"$f\" \"$t\";;"
    " *) cp -a \"$f\" \"$t\";; esac; done;"
    " cd \"$d.partial/root\"; find . -type f -exec sha256sum {} + >../sums;"
    " printf '%s\\n' \"$from $to\" >../for; sync; mv \"$d.partial\" \"$d\"; sync";

/* All is checked before anything is put back; a name that begins with a dot is none to the kubelet,
 * which watches the folder of static pods. */
static const char restore_script[] =
    "set -eu; cd \"$1/root\"; sha256sum --quiet --strict -c ../sums >&2;"
    " find . -type f -exec sh -c 'set -eu; for f; do t=${f#.}; d=${t%/*}; mkdir -p \"$d\";"
    " cp -a \"$f\" \"$d/.kpack-back\"; mv -f \"$d/.kpack-back\" \"$t\"; done' sh {} +; sync";

static const char *const kept_files[] = {
    "/usr/local/bin/kubelet",
    "/usr/local/bin/kubeadm",
    "/usr/local/bin/kubectl",
    "/usr/local/bin/containerd",
    "/usr/local/bin/containerd-shim-runc-v2",
    "/usr/local/bin/ctr",
    "/usr/local/bin/crictl",
    "/usr/local/bin/nerdctl",
    "/usr/local/bin/etcdctl",
    "/usr/local/bin/etcdutl",
    "/usr/local/sbin/runc",
    "/usr/local/bin/crun",
    "/usr/local/bin/crio",
    "/usr/local/bin/pinns",
    "/usr/local/libexec/crio/conmon",
    "/etc/containerd/config.toml",
    "/etc/crictl.yaml",
    "/etc/crio/crio.conf",
    "/etc/systemd/system/crio.service",
    "/etc/systemd/system/containerd.service",
    "/etc/systemd/system/kubelet.service",
    "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf",
    "/var/lib/kubelet/config.yaml",
    "/var/lib/kubelet/kubeadm-flags.env",
    "/etc/kubernetes/kpack/settings-etcd.yaml",
    "/etc/kubernetes/kpack/settings-control-plane.yaml",
    "/etc/kubernetes/kpack/settings-kubelet.yaml",
    "/etc/kubernetes/kpack/settings-kube-proxy.yaml",
    "/etc/kubernetes/manifests/etcd.yaml",
    "/etc/kubernetes/manifests/kube-apiserver.yaml",
    "/etc/kubernetes/manifests/kube-controller-manager.yaml",
    "/etc/kubernetes/manifests/kube-scheduler.yaml",
};

/* The signed files of the release that lie elsewhere: the CNI plugins. */
static size_t add_plugins(const char **argv, size_t n, size_t room, const struct kp_site *site,
                          const struct kp_site_node *node)
{
    for (size_t i = 0; i < site->manifest->file_count && n + 1 < room; i++) {
        const struct kp_file *file = &site->manifest->files[i];
        if (strcmp(file->component, "cni-plugins") == 0 && strcmp(file->arch, node->arch) == 0)
            argv[n++] = file->target;
    }
    argv[n] = NULL;
    return n;
}

int kp_upgrade_keep(struct kp_site *site, struct kp_site_node *node, const char *from,
                    struct kp_err *err)
{
    const char *argv[ARGV_MAX + KP_COUNT(kept_files)] = {
        "/bin/sh", "-c", keep_script, "sh", KP_KEPT_FOLDER, from, site->manifest->kubernetes};
    size_t n = 7;
    kp_step_note(site, node, "keeping what is there");
    for (size_t i = 0; i < KP_COUNT(kept_files); i++)
        argv[n++] = kept_files[i];
    add_plugins(argv, n, KP_COUNT(argv), site, node);
    if (kp_ask(site, node, argv, KEEP_TIMEOUT, NULL, NULL, err) < 0)
        return kp_wrap(err, "keep what is there in " KP_KEPT_FOLDER);
    return 0;
}

int kp_upgrade_kept(struct kp_site_node *node, char *from, char *to, bool *found,
                    struct kp_err *err)
{
    kp_auto_value(kp_buf) text = KP_BUF(FOR_MAX);
    struct kp_slice first;
    if (kp_session_get(node->session, FOR_FILE, &text, found, err) < 0)
        return kp_wrap(err, "read " FOR_FILE);
    struct kp_slice rest = kp_slice_trim(kp_buf_slice(&text));
    if (!*found)
        return 0;
    if (!kp_slice_cut(&rest, ' ', &first) || first.len >= KP_VERSION_MAX ||
        rest.len >= KP_VERSION_MAX)
        return kp_fail_as(err, KP_DAMAGED, "bad_document", FOR_FILE " does not name two versions");
    snprintf(from, KP_VERSION_MAX, "%.*s", (int)first.len, first.ptr);
    snprintf(to, KP_VERSION_MAX, "%.*s", (int)rest.len, rest.ptr);
    return 0;
}

/* An older runtime cannot take over what a newer one has made. */
static int end_newer_pods(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    struct kp_runtime_now now;
    char kept[KP_RUNTIME_TEXT_MAX];
    if (kp_runtime_ask(site, node, &now, err) < 0)
        return -1;
    if (!now.found)
        return 0;
    kp_auto_free char *program =
        kp_asprintf(KP_KEPT_FOLDER "/root%s", kp_runtime_place(now.kind)->program);
    if (kp_runtime_ask_program(site, node, program, kept, err) < 0)
        return -1;
    struct kp_runtime before = {.kind = now.kind, .version = kept};
    if (!kept[0] || kp_runtime_compare(&now, &before) != KP_RUNTIME_REPLACE)
        return 0;
    return kp_runtime_end_pods(site, node, now.kind, err);
}

static int put_back(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const argv[] = {"/bin/sh", "-c", restore_script, "sh", KP_KEPT_FOLDER, NULL};
    static const char *const stop[] = {"systemctl", "stop", "kubelet.service", NULL};
    struct kp_change change = {.changed = true};
    const char *unit = kp_runtime_place(kp_node_runtime(site, node).kind)->unit;
    int ignored; // a kubelet that does not start is what brings people here
    if (kp_ask(site, node, stop, 120, &ignored, NULL, err) < 0 ||
        end_newer_pods(site, node, err) < 0)
        return -1;
    if (kp_ask(site, node, argv, KEEP_TIMEOUT, NULL, NULL, err) < 0)
        return kp_wrap(err, "put back what is in " KP_KEPT_FOLDER);
    kp_step_changed(site, node, "put back the programs and configuration of before", &change);
    if (kp_place_unit(site, node, "kubelet.service", KP_UNIT_RELOAD_DAEMON, NULL, err) < 0 ||
        kp_place_unit(site, node, unit, KP_UNIT_RESTART, NULL, err) < 0)
        return -1;
    return kp_restart_kubelet(site, node, err);
}

int kp_upgrade_restore(struct kp_site *site, struct kp_site_node *node, const char *from,
                       struct kp_err *err)
{
    const char *cluster = site->inventory->cluster;
    // From here on it is not upgraded, whatever its record said.
    if (kp_session_mark(node->session, cluster, KP_UPGRADE_STEP, false, NULL, err) < 0 ||
        kp_upgrade_drain_ready(site, node, err) < 0 || put_back(site, node, err) < 0 ||
        kp_upgrade_gate(site, node, from, err) < 0)
        return -1;
    return kp_upgrade_uncordon(site, node, err);
}
