/* SPDX-License-Identifier: Apache-2.0 */
/* Phase runtime: containerd, runc, crictl, the CNI plugins. */
#include "install/steps/common.h"
#include "install/steps/images.h"

#define UNIT "containerd.service"
#define UNIT_FILE "/etc/systemd/system/" UNIT
#define MIRRORS "kpack-mirrors.service"
#define MIRRORS_FILE "/etc/systemd/system/" MIRRORS
#define CONFIG_FILE "/etc/containerd/config.toml"

static bool has_component(const struct kp_site *site, const struct kp_site_node *node,
                          const char *name)
{
    for (size_t i = 0; i < site->manifest->file_count; i++)
        if (strcmp(site->manifest->files[i].component, name) == 0 &&
            strcmp(site->manifest->files[i].arch, node->arch) == 0)
            return true;
    return false;
}

static int place_config(struct kp_site *site, struct kp_site_node *node, bool *changed,
                        struct kp_err *err)
{
    const struct kp_image *pause = kp_manifest_image(site->manifest, "pause");
    if (!pause)
        return kp_fail_as(err, KP_MISSING, "missing_image", "the bundle has no pause image");
    const struct kp_file *runc = kp_manifest_file(site->manifest, "runc", node->arch);
    if (!runc)
        return kp_fail_as(err, KP_MISSING, "missing_file", "the bundle has no runc for %s",
                          node->arch);
    kp_auto(kp_vars) vars = kp_vars_new();
    kp_vars_set(vars, "pause", pause->reference);
    kp_vars_set(vars, "runc", runc->target);
    // Without CAP_SYS_RESOURCE runc cannot lower oom_score_adj, and no sandbox would start.
    kp_vars_flag(vars, "restrict_oom_score_adj", !kp_fact_true(node, "system", "cap_sys_resource"));
    kp_auto_free char *name = kp_asprintf("containerd-v%u.toml", site->manifest->containerd_config);
    return kp_place_template(site, node, CONFIG_FILE, name, vars, changed, err);
}

static int apply_containerd(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    bool changed = false, other = false;
    kp_auto(kp_vars) none = kp_vars_new();
    if (kp_place_component(site, node, "containerd", &changed, err) < 0 ||
        kp_place_component(site, node, "runc", &other, err) < 0 ||
        place_config(site, node, &changed, err) < 0 ||
        kp_place_template(site, node, UNIT_FILE, "containerd.service", none, &changed, err) < 0)
        return -1;
    return kp_place_service(site, node, UNIT, changed, err);
}

/* containerd 1.7 knows no dial_timeout: on each node a service tells it which mirrors are gone. */
static int apply_mirror_order(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    const struct kp_file *hand = kp_manifest_file(site->manifest, "knode", node->arch);
    bool needed = site->manifest->containerd_config == 2 && site->mirror_urls[0] &&
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
    kp_vars_setf(vars, "program", "/usr/local/libexec/kpack/knode-%s",
                 kp_digest_hex(&hand->sha256).hex);
    if (kp_place_template(site, node, MIRRORS_FILE, MIRRORS, vars, &changed, err) < 0)
        return -1;
    return kp_place_service(site, node, MIRRORS, changed, err);
}

static int apply_crictl(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto(kp_vars) none = kp_vars_new();
    if (kp_place_component(site, node, "crictl", NULL, err) < 0)
        return -1;
    return kp_place_template(site, node, "/etc/crictl.yaml", "crictl.yaml", none, NULL, err);
}

static int apply_cni(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    if (has_component(site, node, "nerdctl") &&
        kp_place_component(site, node, "nerdctl", NULL, err) < 0)
        return -1;
    return kp_place_component(site, node, "cni-plugins", NULL, err);
}

static const char *version_of(const struct kp_site *site, const char *component)
{
    for (size_t i = 0; i < site->manifest->file_count; i++)
        if (strcmp(site->manifest->files[i].component, component) == 0)
            return site->manifest->files[i].version;
    return "";
}

static int describe(const struct kp_site *site, char *out, size_t size)
{
    snprintf(out, size, "containerd %s, runc %s on %zu node%s", version_of(site, "containerd"),
             version_of(site, "runc"), kp_members(site), kp_members(site) == 1 ? "" : "s");
    return 0;
}

const struct kp_step kp_steps_runtime[] = {
    {.name = "containerd",
     .phase = "runtime",
     .nodes = KP_STEP_ALL,
     .apply = apply_containerd,
     .describe = describe},
    {.name = "mirror-order", .phase = "runtime", .nodes = KP_STEP_ALL, .apply = apply_mirror_order},
    {.name = "crictl", .phase = "runtime", .nodes = KP_STEP_ALL, .apply = apply_crictl},
    // From here on images arrive while the rest is being placed.
    {.name = "images", .phase = "runtime", .nodes = KP_STEP_ALL, .apply = kp_images_start},
    {.name = "cni-plugins", .phase = "runtime", .nodes = KP_STEP_ALL, .apply = apply_cni},
    {.name = NULL},
};
