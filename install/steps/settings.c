/* SPDX-License-Identifier: Apache-2.0 */
#include "install/steps/settings.h"

#include "install/steps/kubeadm.h"
#include "install/steps/secure.h"
#include "install/steps/site_ca.h"

#define TEXT_MAX ((size_t)8 << 20)
#define GATES_MAX ((size_t)16 << 10)
#define OWN_PATCH "kubeletconfigurationzz-kpack+merge.json" /* behind those of the inventory */
#define KUBELET_TARGET "kubeletconfiguration"
#define LIST_MAX ((size_t)64 << 10)

static const struct {
    const char *name; /* in templates: "api_args" */
    size_t offset;
} components[] = {
    {"api", offsetof(struct kp_inventory, kubernetes.apiserver)},
    {"controller", offsetof(struct kp_inventory, kubernetes.controller_manager)},
    {"scheduler", offsetof(struct kp_inventory, kubernetes.scheduler)},
};

static const struct kp_component *component_at(const struct kp_inventory *inventory, size_t i)
{
    return (const struct kp_component *)((const char *)inventory + components[i].offset);
}

/* --- kubeadm's configuration ------------------------------------------------------------------ */

static void add_arg(struct kp_vars *vars, const char *component, const char *name,
                    const char *value)
{
    kp_auto_free char *list = kp_asprintf("%s_args", component);
    kp_auto_free char *set = kp_asprintf("%s_args_set", component);
    kp_vars_add_pair(vars, list, name, value);
    kp_vars_flag(vars, set, true);
}

void kp_settings_arg(struct kp_vars *vars, const struct kp_site *site, const char *component,
                     const char *name, const char *value)
{
    for (size_t i = 0; i < KP_COUNT(components); i++) {
        const struct kp_component *c = component_at(site->inventory, i);
        if (strcmp(components[i].name, component) == 0 && kp_pair_find(c->args, c->arg_count, name))
            return;
    }
    add_arg(vars, component, name, value);
}

/* In YAML's flow form: no quotes are needed for what the inventory lets through. */
static void add_mount(struct kp_vars *vars, const char *component, const struct kp_mount *mount)
{
    kp_auto_free char *list = kp_asprintf("%s_volumes", component);
    kp_auto_free char *set = kp_asprintf("%s_volumes_set", component);
    kp_vars_add(vars, list, "name: %s, hostPath: %s, mountPath: %s, pathType: %s%s", mount->name,
                mount->host_path, mount->mount_path, kp_mount_types[mount->type],
                mount->read_only ? ", readOnly: true" : "");
    kp_vars_flag(vars, set, true);
}

void kp_settings_mount(struct kp_vars *vars, const char *component, const char *name,
                       const char *path, bool read_only)
{
    const struct kp_mount mount = {
        .name = name, .host_path = path, .mount_path = path, .read_only = read_only};
    add_mount(vars, component, &mount);
}

/* "A=true,B=false": the component's own above those of all; kp_free. */
static char *gates_of(const struct kp_inventory *inventory, const struct kp_component *component)
{
    kp_auto_value(kp_buf) out = KP_BUF(GATES_MAX);
    for (size_t i = 0; i < inventory->kubernetes.feature_gate_count; i++) {
        const struct kp_pair *gate = &inventory->kubernetes.feature_gates[i];
        if (!kp_pair_find(component->feature_gates, component->feature_gate_count, gate->key))
            kp_buf_addf(&out, "%s%s=%s", out.len ? "," : "", gate->key, gate->value);
    }
    for (size_t i = 0; i < component->feature_gate_count; i++)
        kp_buf_addf(&out, "%s%s=%s", out.len ? "," : "", component->feature_gates[i].key,
                    component->feature_gates[i].value);
    return kp_buf_steal(&out);
}

void kp_settings_vars(struct kp_vars *vars, const struct kp_site *site)
{
    for (size_t i = 0; i < KP_COUNT(components); i++) {
        const struct kp_component *component = component_at(site->inventory, i);
        kp_auto_free char *gates = gates_of(site->inventory, component);
        kp_auto_free char *set = kp_asprintf("%s_section", components[i].name);
        bool some = component->arg_count || component->mount_count || gates[0] ||
                    !site->inventory->security.profiling || kp_site_ca_wanted(site->inventory);
        kp_vars_flag(vars, set, some);
        for (size_t j = 0; j < component->arg_count; j++)
            add_arg(vars, components[i].name, component->args[j].key, component->args[j].value);
        if (gates[0])
            add_arg(vars, components[i].name, "feature-gates", gates);
        for (size_t j = 0; j < component->mount_count; j++)
            add_mount(vars, components[i].name, &component->mounts[j]);
    }
    for (size_t i = 0; i < site->inventory->etcd.arg_count; i++)
        kp_vars_add_pair(vars, "etcd_args", site->inventory->etcd.args[i].key,
                         site->inventory->etcd.args[i].value);
}

/* --- configurations that are fields ----------------------------------------------------------- */

/* needed: a gate that is on whatever is said; or NULL. */
static void add_fields(struct kp_buf *out, const struct kp_inventory *inventory,
                       const struct kp_pair *fields, size_t count, const char *needed)
{
    static const char gates_key[] = "featureGates";
    const struct kp_pair *own = kp_pair_find(fields, count, gates_key);
    kp_auto_json gates = own ? json_loads(own->value, 0, NULL) : json_object();
    for (size_t i = 0; i < inventory->kubernetes.feature_gate_count; i++) {
        const struct kp_pair *gate = &inventory->kubernetes.feature_gates[i];
        if (json_is_object(gates) && !json_object_get(gates, gate->key))
            json_object_set_new(gates, gate->key, json_boolean(strcmp(gate->value, "true") == 0));
    }
    if (needed && json_is_object(gates))
        json_object_set_new(gates, needed, json_true());
    for (size_t i = 0; i < count; i++)
        if (&fields[i] != own)
            kp_buf_addf(out, "%s: %s\n", fields[i].key, fields[i].value);
    kp_auto_free char *text = json_object_size(gates) ? kp_json_dump(gates, true) : NULL;
    if (text)
        kp_buf_addf(out, "%s: %s", gates_key, text);
}

void kp_settings_add_kubelet(struct kp_buf *out, const struct kp_inventory *inventory)
{
    add_fields(out, inventory, inventory->kubernetes.kubelet, inventory->kubernetes.kubelet_count,
               NULL);
}

void kp_settings_add_proxy(struct kp_buf *out, const struct kp_inventory *inventory,
                           const char *gate)
{
    add_fields(out, inventory, inventory->kubernetes.kube_proxy,
               inventory->kubernetes.kube_proxy_count, gate);
}

/* --- patches ---------------------------------------------------------------------------------- */

/* The kubelet's own fields as a merge patch; NULL where it has none; kp_free. */
static char *own_patch(const struct kp_node *node)
{
    kp_auto_value(kp_buf) out = KP_BUF(TEXT_MAX);
    if (!node->kubelet_count)
        return NULL;
    for (size_t i = 0; i < node->kubelet_count; i++)
        kp_buf_addf(&out, "%s\"%s\": %s", i ? ",\n " : "{", node->kubelet[i].key,
                    node->kubelet[i].value);
    kp_buf_adds(&out, "}\n");
    return kp_buf_steal(&out);
}

bool kp_settings_patched(const struct kp_site *site, const struct kp_node *node)
{
    return site->inventory->kubernetes.patch_count || node->kubelet_count;
}

static void add_patches(struct kp_buf *out, const struct kp_site *site, const struct kp_node *node,
                        enum kp_settings kind)
{
    static const enum kp_settings none = KP_SETTINGS_KINDS;
    kp_auto_free char *own = own_patch(node);
    for (size_t i = 0; i < site->inventory->kubernetes.patch_count; i++) {
        const struct kp_patch *patch = &site->inventory->kubernetes.patches[i];
        const char *target = kp_patch_target(patch->name);
        enum kp_settings is = !target                               ? none
                              : strcmp(target, KUBELET_TARGET) == 0 ? KP_SETTINGS_KUBELET
                              : strcmp(target, "etcd") == 0         ? KP_SETTINGS_ETCD
                                                                    : KP_SETTINGS_CONTROL;
        if (is == kind)
            kp_buf_addf(out, "# %s\n%s\n", patch->name, patch->text);
    }
    if (own && kind == KP_SETTINGS_KUBELET)
        kp_buf_addf(out, "# %s\n%s", OWN_PATCH, own);
}

static int place_patches(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    const struct kp_inventory *inventory = site->inventory;
    kp_auto_free char *own = own_patch(node->node);
    for (size_t i = 0; i < inventory->kubernetes.patch_count; i++) {
        const struct kp_patch *patch = &inventory->kubernetes.patches[i];
        kp_auto_free char *path = kp_asprintf(KP_PATCHES_FOLDER "/%s", patch->name);
        if (kp_place(site, node, path, kp_slice_of(patch->text), 0600, NULL, err) < 0)
            return -1;
    }
    return own ? kp_place(site, node, KP_PATCHES_FOLDER "/" OWN_PATCH, kp_slice_of(own), 0600, NULL,
                          err)
               : 0;
}

static bool is_wanted(const struct kp_site *site, const struct kp_node *node, const char *name)
{
    for (size_t i = 0; i < site->inventory->kubernetes.patch_count; i++)
        if (strcmp(site->inventory->kubernetes.patches[i].name, name) == 0)
            return true;
    return node->kubelet_count && strcmp(name, OWN_PATCH) == 0;
}

/* What the inventory names no more. */
static int remove_patches(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const argv[] = {"find", KP_PATCHES_FOLDER, "-maxdepth", "1", "-type", "f",
                                       NULL};
    kp_auto_free char *list = NULL;
    int status; // the folder may not be there
    if (kp_ask(site, node, argv, 30, &status, &list, err) < 0)
        return -1;
    struct kp_slice rest = kp_slice_of(list ? list : ""), line;
    while (status == 0 && kp_slice_line(&rest, &line)) {
        kp_auto_free char *path = kp_asprintf("%.*s", (int)line.len, line.ptr);
        const char *slash = strrchr(path, '/');
        if (slash && !is_wanted(site, node->node, slash + 1) &&
            kp_place_removed(site, node, path, NULL, err) < 0)
            return -1;
    }
    return 0;
}

/* --- texts ------------------------------------------------------------------------------------ */

/* Adds the YAML document of that kind. */
static void add_document(struct kp_buf *out, struct kp_slice config, const char *kind)
{
    struct kp_slice line;
    kp_auto_value(kp_buf) document = KP_BUF(TEXT_MAX);
    bool wanted = false;
    while (kp_slice_line(&config, &line)) {
        bool ends = kp_slice_equal(line, "---");
        if (ends && wanted)
            break;
        if (ends)
            kp_buf_clear(&document);
        else
            kp_buf_addf(&document, "%.*s\n", (int)line.len, line.ptr);
        wanted = wanted || kp_slice_equal(line, kind);
    }
    if (wanted)
        kp_buf_add(out, document.data, document.len);
}

/* Splits the cluster's configuration: etcd's own part, and the rest. The names in the API server's
 * certificate are looked after by themselves (steps/sans.c). */
static void add_cluster(struct kp_buf *out, struct kp_slice config, bool etcd, bool external)
{
    kp_auto_value(kp_buf) document = KP_BUF(TEXT_MAX);
    struct kp_slice line;
    bool in_etcd = false, in_sans = false;
    add_document(&document, config, "kind: ClusterConfiguration");
    struct kp_slice rest = kp_buf_slice(&document);
    while (kp_slice_line(&rest, &line)) {
        if (line.len && line.ptr[0] != ' ')
            in_etcd = kp_slice_equal(line, "etcd:");
        in_sans =
            kp_slice_equal(line, "  certSANs:") || (in_sans && kp_slice_starts(line, "    - "));
        bool wanted = etcd ? in_etcd : !in_sans && (!in_etcd || external);
        if (wanted)
            kp_buf_addf(out, "%.*s\n", (int)line.len, line.ptr);
    }
}

char *kp_settings_text(enum kp_settings kind, const struct kp_site *site,
                       const struct kp_node *node, const char *config)
{
    kp_auto_value(kp_buf) out = KP_BUF(TEXT_MAX);
    struct kp_slice text = kp_slice_of(config);
    bool external = site->inventory->etcd.external;
    kp_buf_adds(&out, "# what kinstall has applied to this node; changed by it alone\n");
    if (kind == KP_SETTINGS_KUBELET)
        add_document(&out, text, "kind: KubeletConfiguration");
    else if (kind == KP_SETTINGS_PROXY)
        add_document(&out, text, "kind: KubeProxyConfiguration");
    else
        add_cluster(&out, text, kind == KP_SETTINGS_ETCD, external);
    if (kind == KP_SETTINGS_CONTROL) {
        kp_auto_free char *policies = kp_secure_policies(site);
        kp_buf_addf(&out, KP_SETTINGS_POLICIES "%s\n", policies);
    }
    add_patches(&out, site, node, kind);
    return kp_buf_steal(&out);
}

char *kp_settings_path(enum kp_settings kind)
{
    static const char *const names[] = {"etcd", "control-plane", "kubelet", "kube-proxy"};
    return kp_asprintf(KP_SETTINGS_FOLDER "/settings-%s.yaml", names[kind]);
}

bool kp_settings_apply_to(enum kp_settings kind, const struct kp_site *site,
                          const struct kp_site_node *node)
{
    switch (kind) {
    case KP_SETTINGS_KUBELET:
        return true;
    case KP_SETTINGS_ETCD:
        return kp_is_control_plane(node) && !site->inventory->etcd.external;
    case KP_SETTINGS_PROXY:
        return kp_is_control_plane(node) && site->inventory->net.kube_proxy != KP_PROXY_NONE;
    default:
        return kp_is_control_plane(node);
    }
}

int kp_settings_prepare(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_free char *config = NULL;
    bool joined;
    if (place_patches(site, node, err) < 0 || remove_patches(site, node, err) < 0 ||
        kp_joined(site, node, &joined, err) < 0)
        return -1;
    if (joined)
        return 0;
    if (kp_kubeadm_node_config(&config, site, node, err) < 0)
        return -1;
    for (enum kp_settings kind = 0; kind < KP_SETTINGS_KINDS; kind++) {
        kp_auto_free char *path = kp_settings_path(kind);
        kp_auto_free char *text = kp_settings_text(kind, site, node->node, config);
        if (kp_settings_apply_to(kind, site, node) &&
            kp_place(site, node, path, kp_slice_of(text), 0600, NULL, err) < 0)
            return -1;
    }
    return 0;
}
