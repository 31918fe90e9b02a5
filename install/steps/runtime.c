/* SPDX-License-Identifier: Apache-2.0 */
/* Phase runtime: containerd or CRI-O, runc or crun, crictl, nerdctl, the CNI plugins. */
#include "install/steps/runtime.h"

#include "install/steps/common.h"
#include "install/steps/images.h"

#define MIRRORS "kpack-mirrors.service"
#define MIRRORS_FILE "/etc/systemd/system/" MIRRORS
#define LABELLED_TIMEOUT_S 300

static bool has_component(const struct kp_site *site, const struct kp_site_node *node,
                          const char *name)
{
    for (size_t i = 0; i < site->manifest->file_count; i++)
        if (strcmp(site->manifest->files[i].component, name) == 0 &&
            strcmp(site->manifest->files[i].arch, node->arch) == 0)
            return true;
    return false;
}

struct kp_runtime kp_node_runtime(const struct kp_site *site, const struct kp_site_node *node)
{
    return kp_runtime_of(site->inventory, site->manifest, node->node);
}

static const char *pause_image(const struct kp_site *site)
{
    const struct kp_image *pause = kp_manifest_image(site->manifest, "pause");
    return pause ? pause->reference : NULL;
}

static const char *oci_target(const struct kp_site *site, const struct kp_site_node *node,
                              const char *name)
{
    const struct kp_file *file = kp_manifest_file(site->manifest, name, node->arch);
    return file ? file->target : NULL;
}

bool kp_node_enforces(const struct kp_site_node *node)
{
    const json_t *system = json_object_get(node->facts, "system");
    const char *selinux = json_string_value(json_object_get(system, "selinux"));
    return selinux && strcmp(selinux, "enforcing") == 0;
}

int kp_runtime_vars(struct kp_vars *vars, const struct kp_site *site,
                    const struct kp_site_node *node, struct kp_err *err)
{
    const char *pause = pause_image(site), *oci = kp_runtime_oci(site->inventory, node->node);
    const char *program = oci_target(site, node, oci);
    if (!pause)
        return kp_fail_as(err, KP_MISSING, "missing_image", "the bundle has no pause image");
    if (!program)
        return kp_fail_as(err, KP_MISSING, "missing_file", "the bundle has no %s for %s", oci,
                          node->arch);
    kp_vars_set(vars, "pause", pause);
    kp_vars_set(vars, "oci", oci);
    kp_vars_set(vars, "oci_program", program);
    // Without CAP_SYS_RESOURCE runc cannot lower oom_score_adj, and no sandbox would start.
    kp_vars_flag(vars, "restrict_oom_score_adj", !kp_fact_true(node, "system", "cap_sys_resource"));
    kp_vars_flag(vars, "selinux", kp_node_enforces(node));
    return 0;
}

static int place_containerd(struct kp_site *site, struct kp_site_node *node, bool *changed,
                            struct kp_err *err)
{
    kp_auto(kp_vars) vars = kp_vars_new();
    kp_auto(kp_vars) none = kp_vars_new();
    kp_auto_free char *name =
        kp_asprintf("containerd-v%u.toml", kp_node_runtime(site, node).config);
    if (kp_place_component(site, node, "containerd", changed, err) < 0 ||
        kp_runtime_vars(vars, site, node, err) < 0 ||
        kp_place_template(site, node, "/etc/containerd/config.toml", name, vars, changed, err) < 0)
        return -1;
    return kp_place_template(site, node, "/etc/systemd/system/containerd.service",
                             "containerd.service", none, changed, err);
}

/* What restorecon sets is what the node's own policy says of the place. */
static int keep_labels(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    const struct kp_runtime_place *place = kp_runtime_place(kp_node_runtime(site, node).kind);
    const char *argv[] = {"restorecon",      "-R",       "/usr/local/bin",
                          "/usr/local/sbin", "/opt/cni", "/etc/systemd/system",
                          place->config,     NULL};
    return kp_ask(site, node, argv, LABELLED_TIMEOUT_S, NULL, NULL, err);
}

/* The file of the runtime's environment, or none where there is no proxy. */
static int place_proxy(struct kp_site *site, struct kp_site_node *node, bool *changed,
                       struct kp_err *err)
{
    const struct kp_inventory *inventory = site->inventory;
    const struct kp_runtime_place *place = kp_runtime_place(kp_node_runtime(site, node).kind);
    kp_auto_free char *path =
        kp_asprintf("/etc/systemd/system/%s.d/20-kpack-proxy.conf", place->unit);
    kp_auto_free char *exceptions = kp_http_proxy_exceptions(inventory);
    kp_auto(kp_vars) vars = kp_vars_new();
    bool there;
    if (!kp_http_proxy_is_set(inventory)) {
        if (kp_have_file(node, path, &there, err) < 0)
            return -1;
        return there ? kp_place_removed(site, node, path, changed, err) : 0;
    }
    kp_vars_set(vars, "http", inventory->proxy.http);
    kp_vars_set(vars, "https", inventory->proxy.https);
    kp_vars_set(vars, "no_proxy", exceptions);
    return kp_place_template(site, node, path, "proxy.conf", vars, changed, err);
}

static int place_oci(struct kp_site *site, struct kp_site_node *node, bool *changed,
                     struct kp_err *err)
{
    const char *oci = kp_runtime_oci(site->inventory, node->node);
    if (kp_place_component(site, node, "runc", changed, err) < 0)
        return -1;
    return strcmp(oci, "runc") == 0 ? 0 : kp_place_component(site, node, oci, changed, err);
}

int kp_runtime_place_all(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static int (*const place[])(struct kp_site *, struct kp_site_node *, bool *,
                                struct kp_err *) = {
        [KP_RUNTIME_CONTAINERD] = place_containerd, [KP_RUNTIME_CRIO] = kp_place_crio};
    enum kp_runtime_kind kind = kp_node_runtime(site, node).kind;
    bool changed = false, other = false;
    if (place_oci(site, node, &other, err) < 0 || place[kind](site, node, &changed, err) < 0 ||
        place_proxy(site, node, &changed, err) < 0)
        return -1;
    if (changed && !site->dry_run && kp_node_enforces(node) && keep_labels(site, node, err) < 0)
        return -1;
    return kp_place_service(site, node, kp_runtime_place(kind)->unit, changed, err);
}

/* containerd 1.7 knows no dial_timeout: on each node a service tells it which mirrors are gone. */
static int apply_mirror_order(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_free char *hand = kp_hand_path(site, node);
    bool needed = kp_node_runtime(site, node).config == 2 && site->mirror_urls[0] &&
                  site->mirror_urls[1] && hand;
    bool there, changed = false;
    kp_auto(kp_vars) vars = kp_vars_new();
    if (!needed) {
        if (kp_have_file(node, MIRRORS_FILE, &there, err) < 0)
            return -1;
        if (there && kp_place_unit(site, node, MIRRORS, KP_UNIT_STOP_DISABLE, NULL, err) < 0)
            return -1;
        return kp_place_removed(site, node, MIRRORS_FILE, NULL, err);
    }
    kp_vars_set(vars, "program", hand);
    if (kp_place_template(site, node, MIRRORS_FILE, MIRRORS, vars, &changed, err) < 0)
        return -1;
    return kp_place_service(site, node, MIRRORS, changed, err);
}

static int apply_crictl(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    const struct kp_runtime_place *place = kp_runtime_place(kp_node_runtime(site, node).kind);
    kp_auto(kp_vars) vars = kp_vars_new();
    kp_vars_set(vars, "endpoint", place->endpoint);
    if (kp_place_component(site, node, "crictl", NULL, err) < 0)
        return -1;
    return kp_place_template(site, node, "/etc/crictl.yaml", "crictl.yaml", vars, NULL, err);
}

/* nerdctl speaks to containerd only. */
static int apply_nerdctl(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char path[] = "/etc/nerdctl/nerdctl.toml";
    kp_auto(kp_vars) none = kp_vars_new();
    if (!has_component(site, node, "nerdctl") ||
        kp_node_runtime(site, node).kind != KP_RUNTIME_CONTAINERD)
        return 0;
    if (kp_place_component(site, node, "nerdctl", NULL, err) < 0)
        return -1;
    return kp_place_template(site, node, path, "nerdctl.toml", none, NULL, err);
}

static int apply_cni(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    return kp_place_component(site, node, "cni-plugins", NULL, err);
}

static const char *version_of(const struct kp_site *site, const char *component)
{
    for (size_t i = 0; i < site->manifest->file_count; i++)
        if (strcmp(site->manifest->files[i].component, component) == 0)
            return site->manifest->files[i].version;
    return "";
}

/* "containerd 1.7.27 (2), crio 1.30.14 (1), runc 1.2.6": each runtime and on how many nodes. */
static int describe(const struct kp_site *site, char *out, size_t size)
{
    size_t members = kp_members(site), used = 0;
    for (size_t i = 0; i < members; i++) {
        struct kp_runtime mine = kp_node_runtime(site, &site->nodes[i]);
        size_t same = 0, before = 0;
        for (size_t j = 0; j < members; j++) {
            bool equal = strcmp(kp_node_runtime(site, &site->nodes[j]).name, mine.name) == 0;
            same += equal;
            before += equal && j < i;
        }
        if (!before && used < size)
            used += (size_t)snprintf(out + used, size - used, "%s %s on %zu node%s, ",
                                     kp_runtime_kinds[mine.kind], mine.version, same,
                                     same == 1 ? "" : "s");
    }
    if (used < size)
        snprintf(out + used, size - used, "runc %s", version_of(site, "runc"));
    return 0;
}

const struct kp_step kp_steps_runtime[] = {
    {.name = "runtime",
     .phase = "runtime",
     .nodes = KP_STEP_ALL,
     .apply = kp_runtime_place_all,
     .describe = describe},
    {.name = "mirror-order", .phase = "runtime", .nodes = KP_STEP_ALL, .apply = apply_mirror_order},
    {.name = "crictl", .phase = "runtime", .nodes = KP_STEP_ALL, .apply = apply_crictl},
    {.name = "nerdctl", .phase = "runtime", .nodes = KP_STEP_ALL, .apply = apply_nerdctl},
    // From here on images arrive while the rest is being placed.
    {.name = "images", .phase = "runtime", .nodes = KP_STEP_ALL, .apply = kp_images_start},
    {.name = "cni-plugins", .phase = "runtime", .nodes = KP_STEP_ALL, .apply = apply_cni},
    {.name = NULL},
};
