/* SPDX-License-Identifier: Apache-2.0 */
#include "core/text.h"
#include "install/kernel.h"
#include "install/check/preflight_rules.h"
#include "install/check/space.h"
#include "install/steps/common.h"
#include "install/steps/proxy.h"
#include "manifests/packages.h"

#include <math.h>

/* kubeadm refuses below these (cmd/kubeadm/app/constants: ControlPlaneNumCPU, ControlPlaneMem). */
#define CONTROL_PLANE_CPUS 2
#define CONTROL_PLANE_MEMORY (1700LL << 20)
#define WORKER_MEMORY (700LL << 20)
#define SYSTEMD_LEAST 239
#define FREE_PERCENT 15
#define CLOCK_WARN_S 1.0
#define CLOCK_ERROR_S 5.0
#define CGROUP2_SINCE 135 /* KEP-5573: kubelet and kubeadm refuse cgroup v1 unless told not to */

static bool is_control_plane(const struct kp_look *look)
{
    return (look->node->node->roles & KP_ROLE_CONTROL_PLANE) != 0;
}

static bool is_ignored(const struct kp_look *look, const char *name)
{
    const char **names = look->site->inventory->kubernetes.ignore_preflight;
    for (; names && *names; names++)
        if (strcmp(*names, name) == 0 || strcmp(*names, "all") == 0)
            return true;
    return false;
}

void kp_rule_os(const struct kp_look *look)
{
    const json_t *os = json_object_get(look->system, "os");
    const char *id = kp_json_string(os, "id");
    json_int_t systemd = kp_fact_number(look->system, "systemd");
    if (kp_family_of(id, kp_json_string(os, "id_like")) == KP_FAMILIES)
        kp_found(look, KP_LEVEL_WARNING, "os", "try it on one node first",
                 "%s is no distribution that this was built for", id[0] ? id : "the system");
    if (systemd < SYSTEMD_LEAST)
        kp_found(look, KP_LEVEL_ERROR, "os", "a system with systemd 239 or newer is needed",
                 systemd ? "systemd %d is too old" : "systemd does not run (%d)", (int)systemd);
}

void kp_rule_arch(const struct kp_look *look)
{
    const char *arch = kp_json_string(look->system, "arch");
    for (const char **have = look->site->manifest->arches; *have; have++)
        if (strcmp(*have, arch) == 0)
            return;
    kp_found(look, KP_LEVEL_ERROR, "arch", "make a bundle with --arch for it",
             "the bundle carries nothing for %s", arch);
}

static bool may_use_cgroup1(const struct kp_look *look)
{
    const struct kp_inventory *inventory = look->site->inventory;
    const struct kp_node *node = look->node->node;
    const struct kp_pair *said = kp_pair_find(node->kubelet, node->kubelet_count, "failCgroupV1");
    if (!said)
        said = kp_pair_find(inventory->kubernetes.kubelet, inventory->kubernetes.kubelet_count,
                            "failCgroupV1");
    return said && strcmp(said->value, "false") == 0 && is_ignored(look, "SystemVerification");
}

static void check_cgroup_version(const struct kp_look *look, const json_t *cgroup)
{
    if (kp_fact_number(cgroup, "version") != 1 || kp_minor(look->site) < CGROUP2_SINCE ||
        look->node->node->roles == KP_ROLE_ETCD || may_use_cgroup1(look))
        return;
    kp_found(look, KP_LEVEL_ERROR, "cgroups",
             "boot it with cgroup v2 (kernel command line: systemd.unified_cgroup_hierarchy=1); as "
             "long as Kubernetes has it: kubernetes.kubelet: {failCgroupV1: false} and "
             "kubernetes.ignore_preflight: [SystemVerification]",
             "it has cgroup v1: kubelets of Kubernetes %s do not start on it",
             look->site->manifest->kubernetes);
}

void kp_rule_cgroups(const struct kp_look *look)
{
    static const char *const needed[] = {"cpu", "memory", "pids"};
    const json_t *cgroup = json_object_get(look->kernel, "cgroup");
    const json_t *controllers = json_object_get(cgroup, "controllers");
    check_cgroup_version(look, cgroup);
    for (size_t i = 0; i < KP_COUNT(needed); i++)
        if (!kp_json_lists(controllers, needed[i]))
            kp_found(look, KP_LEVEL_ERROR, "cgroups",
                     "switch it on by the kernel's command line (cgroup_enable=)",
                     "the cgroup controller %s is not there", needed[i]);
}

void kp_rule_cpu(const struct kp_look *look)
{
    json_int_t cpus = kp_fact_number(look->system, "cpus");
    if (is_control_plane(look) && cpus < CONTROL_PLANE_CPUS && !is_ignored(look, "NumCPU"))
        kp_found(look, KP_LEVEL_ERROR, "cpu", "give it another core, or ignore_preflight: [NumCPU]",
                 "%d core, a control plane needs %d", (int)cpus, CONTROL_PLANE_CPUS);
}

void kp_rule_memory(const struct kp_look *look)
{
    json_int_t total = kp_fact_number(json_object_get(look->system, "memory"), "total");
    json_int_t needed = is_control_plane(look) ? CONTROL_PLANE_MEMORY : WORKER_MEMORY;
    if (total < needed && !is_ignored(look, "Mem"))
        kp_found(look, KP_LEVEL_ERROR, "memory", "give it more, or ignore_preflight: [Mem]",
                 "%s of memory, %s needed", kp_text_bytes((uint64_t)total).s,
                 kp_text_bytes((uint64_t)needed).s);
}

struct place {
    const char *path;
    uint64_t needed;
};

/* The kubelet's own limits: images go above 85 % used, pods below 10 % free. */
static void check_pressure(const struct kp_look *look, const struct place *place, uint64_t size,
                           uint64_t available)
{
    const struct kp_inventory *inventory = look->site->inventory;
    uint64_t left = available - place->needed;
    if (!place->needed || !size || left >= size / 100 * FREE_PERCENT ||
        kp_pair_find(inventory->kubernetes.kubelet, inventory->kubernetes.kubelet_count,
                     "evictionHard"))
        return;
    kp_found(
        look, KP_LEVEL_WARNING, "pressure",
        "free space there, or lower the limits: kubernetes.kubelet: {evictionHard: …, "
        "imageGCHighThresholdPercent: …}",
        "%s will have %llu %% free; the kubelet throws out images below 15 %%, pods below 10 %%",
        place->path, (unsigned long long)(left * 100 / size));
}

static void check_place(const struct kp_look *look, const struct place *place)
{
    const json_t *disks = json_object_get(look->system, "disks");
    const json_t *disk = json_object_get(disks, place->path);
    uint64_t available = (uint64_t)kp_fact_number(disk, "free");
    if (!disk)
        return;
    if (available >= place->needed) {
        check_pressure(look, place, (uint64_t)kp_fact_number(disk, "size"), available);
        return;
    }
    kp_found(look, KP_LEVEL_ERROR, "disk", "free space there, or mount a larger disk",
             "%s has %s free, %s needed", place->path, kp_text_bytes(available).s,
             kp_text_bytes(place->needed).s);
}

/* What lies on one file system is needed there together; the device tells. */
void kp_rule_disk(const struct kp_look *look)
{
    struct kp_space space;
    struct kp_err err = KP_ERR_INIT;
    if (look->ours) // what was placed already would be counted twice
        return;
    if (kp_space_needed(look->site, look->node->node, look->node->arch, &space, &err) < 0) {
        kp_found(look, KP_LEVEL_ERROR, "disk", "", "%s", err.message);
        return;
    }
    struct place places[] = {
        {"/var/lib", space.total - space.files - space.images},
        {"/var/lib/containerd", space.images},
        {"/usr/local", space.files},
    };
    const json_t *disks = json_object_get(look->system, "disks");
    for (size_t i = KP_COUNT(places); i-- > 1;) {
        const char *device = kp_json_string(json_object_get(disks, places[i].path), "device");
        const char *root = kp_json_string(json_object_get(disks, places[0].path), "device");
        if (strcmp(device, root) == 0) {
            places[0].needed += places[i].needed;
            places[i].needed = 0;
        }
    }
    for (size_t i = 0; i < KP_COUNT(places); i++)
        check_place(look, &places[i]);
}

void kp_rule_clock(const struct kp_look *look)
{
    double offset = json_real_value(json_object_get(look->system, "clock_difference"));
    double away = fabs(offset);
    if (away < CLOCK_WARN_S)
        return;
    kp_found(look, away < CLOCK_ERROR_S ? KP_LEVEL_WARNING : KP_LEVEL_ERROR, "clock",
             "start time synchronisation: systemctl enable --now chronyd (or systemd-timesyncd)",
             "clock is %.1f s %s this host", away, offset > 0 ? "ahead of" : "behind");
}

void kp_rule_swap(const struct kp_look *look)
{
    const json_t *swap = json_object_get(look->system, "swap");
    if (!json_array_size(swap) || look->site->inventory->kubernetes.keep_swap)
        return;
    kp_found(look, KP_LEVEL_WARNING, "swap",
             "kinstall turns it off and masks it; keep it with swap: keep", "swap is on (%s)",
             kp_json_string(json_array_get(swap, 0), "device"));
}

void kp_rule_capabilities(const struct kp_look *look)
{
    if (json_is_false(json_object_get(look->system, "cap_sys_resource")))
        kp_found(look, KP_LEVEL_WARNING, "capabilities",
                 "containerd is told restrict_oom_score_adj; pods that ask for SYS_RESOURCE fail",
                 "the node lacks CAP_SYS_RESOURCE (a container or nested machine)");
}

void kp_rule_modules(const struct kp_look *look)
{
    const char *needed[2 + KP_PROXY_MODULES_MAX] = {"overlay", "br_netfilter"};
    size_t n = 2 + kp_proxy_modules(look->site->inventory, needed + 2, KP_PROXY_MODULES_MAX);
    const json_t *modules = json_object_get(look->kernel, "modules");
    bool folder = json_is_true(json_object_get(look->kernel, "modules_folder"));
    for (size_t i = 0; i < n; i++) {
        if (strcmp(kp_json_string(modules, needed[i]), "missing") != 0)
            continue;
        // Those of kube-proxy's mode are named after what they do, and seen where they do it.
        kp_found(look, folder || i >= 2 ? KP_LEVEL_ERROR : KP_LEVEL_WARNING, "modules",
                 "install the kernel's module package", "kernel module %s is not there", needed[i]);
    }
}

/* "6.1.0-13-amd64" */
static bool is_older(const char *kernel, unsigned major, unsigned minor)
{
    struct kp_slice rest = kp_slice_of(kernel), part;
    uint64_t a = 0, b = 0;
    if (!kp_slice_cut(&rest, '.', &part) || !kp_parse_u64(part, UINT32_MAX, &a))
        return false;
    part = (struct kp_slice){rest.ptr, strspn(rest.ptr, "0123456789")};
    return kp_parse_u64(part, UINT32_MAX, &b) && (a < major || (a == major && b < minor));
}

/* kube-proxy itself refuses an older kernel (pkg/proxy/nftables). */
void kp_rule_proxy(const struct kp_look *look)
{
    const char *kernel = kp_json_string(look->system, "kernel");
    if (look->site->inventory->net.kube_proxy == KP_PROXY_NFTABLES && is_older(kernel, 5, 13))
        kp_found(look, KP_LEVEL_ERROR, "kernel",
                 "a newer kernel, or kubernetes.kube_proxy: iptables",
                 "kube_proxy: nftables needs Linux 5.13, this is %s", kernel);
}

/* A package of the bundle brings it: said, and no error. */
static bool is_carried(const struct kp_look *look, const char *program, enum kp_family family)
{
    const char *arch = kp_json_string(look->system, "arch");
    const struct kp_file *package =
        kp_package_for(look->site->manifest, program, family, arch, look->node->node->roles);
    if (package)
        kp_found(look, KP_LEVEL_NOTE, "programs", "",
                 "the program %s will be installed from the bundle (%s)", program,
                 kp_package_file(package));
    return package != NULL;
}

void kp_rule_kernel(const struct kp_look *look)
{
    struct kp_kernel_setting wanted[KP_KERNEL_SETTINGS_MAX];
    size_t n = kp_kernel_wanted(look->site, look->node, wanted);
    for (size_t i = 0; i < n; i++) {
        const struct kp_kernel_setting *s = &wanted[i];
        if (kp_kernel_can(look->node, s))
            continue;
        kp_found(look, s->kubelet ? KP_LEVEL_WARNING : KP_LEVEL_ERROR, "kernel",
                 s->kubelet ? "the kubelets of this cluster run without protectKernelDefaults"
                 : s->own   ? "correct `sysctls` in the inventory, or set it where the node's "
                              "kernel is set up (of a container: its host)"
                            : "set it where the node's kernel is set up (of a container: its host)",
                 "%s cannot be set to %s here", s->key, s->value);
    }
}

void kp_rule_programs(const struct kp_look *look)
{
    /* kubeadm stops without these (preflight checks.go, InPathCheck mandatory); it warns about
     * others. */
    static const char *const mandatory[] = {"conntrack", "ip", "iptables", "mount", "nsenter"};
    const json_t *os = json_object_get(look->system, "os");
    const json_t *programs = json_object_get(look->system, "programs");
    enum kp_family family = kp_family_of(kp_json_string(os, "id"), kp_json_string(os, "id_like"));
    for (const char **name = look->site->manifest->programs; *name; name++) {
        kp_auto_free char *kubeadm_name = kp_asprintf("FileExisting-%s", *name);
        const json_t *path = json_object_get(programs, *name);
        bool must = false;
        for (size_t i = 0; i < KP_COUNT(mandatory); i++)
            must = must || strcmp(mandatory[i], *name) == 0;
        if (json_is_string(path) || is_ignored(look, kubeadm_name) ||
            is_carried(look, *name, family))
            continue;
        kp_auto_free char *next =
            family == KP_FAMILIES
                ? kp_strdup("install it from the distribution's medium")
                : kp_asprintf("install the package %s from the distribution's medium",
                              kp_program_package(*name, family));
        kp_found(look, must ? KP_LEVEL_ERROR : KP_LEVEL_WARNING, "programs", next,
                 "the program %s is not installed", *name);
    }
}

void kp_rule_security(const struct kp_look *look)
{
    size_t i;
    json_t *item;
    if (strcmp(kp_json_string(look->system, "selinux"), "enforcing") == 0)
        kp_found(look, KP_LEVEL_WARNING, "selinux", "kinstall leaves it as it is",
                 "SELinux is enforcing; container-selinux is needed for containers");
    json_array_foreach(json_object_get(look->network, "firewalls"), i, item)
    {
        const char *name = json_string_value(item);
        bool iptables =
            name && (strcmp(name, "iptables") == 0 || strcmp(name, "netfilter-persistent") == 0);
        if (iptables || (name && !look->site->inventory->security.firewall))
            kp_found(look, KP_LEVEL_WARNING, "firewall",
                     "open the ports of docs/operations.md between the nodes",
                     "the firewall %s is active%s", name,
                     iptables ? ", and its rules are kept by iptables" : "");
        else if (name)
            kp_found(look, KP_LEVEL_NOTE, "firewall", "",
                     "the firewall %s gets the rules of this node's roles, where it drops anything",
                     name);
    }
    if (json_array_size(json_object_get(look->network, "proxy")))
        kp_found(look, KP_LEVEL_WARNING, "proxy", "kinstall's services do not use it",
                 "a proxy is set in the environment");
}
