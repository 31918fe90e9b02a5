/* SPDX-License-Identifier: Apache-2.0 */
/* Components, gates, patches, kube-proxy, names, etcd, security: what the first control plane sees.
 */
#include "install/inventory/custom.h"
#include "install/inventory/kubespray.h"
#include "install/inventory/kubespray_convert.h"
#include "install/inventory/network.h"

#define NODE_RESTRICTION "NodeRestriction" /* kubeadm's own list is this alone */
#define KUBESPRAY_HEARTBEAT 250
#define KUBESPRAY_ELECTION 5000
#define KUBESPRAY_NODE_PREFIX "24"
#define VXLAN_HEADERS 50

static const struct kp_yaml *of_cluster(const struct kp_converter *c, const char *name)
{
    return kp_convert_find(c, c->control_plane, name);
}

static const char *text_of_cluster(struct kp_converter *c, const char *name)
{
    const char *text = kp_convert_text(c, c->control_plane, name);
    return text && *text ? text : NULL;
}

static bool truth_of_cluster(struct kp_converter *c, const char *name, bool fallback)
{
    return kp_convert_truth(c, c->control_plane, name, fallback);
}

/* --- components ------------------------------------------------------------------------------- */

struct component {
    const char *name; /* ours */
    enum kp_kubespray_place place;
    const char *extra_args, *gates, *volumes; /* Kubespray's variables */
};
static const struct component components[] = {
    {"apiserver", KP_KUBESPRAY_API, "kube_kubeadm_apiserver_extra_args",
     "kube_apiserver_feature_gates", "apiserver_extra_volumes"},
    {"controller_manager", KP_KUBESPRAY_CONTROLLER, "kube_kubeadm_controller_extra_args",
     "kube_controller_feature_gates", "controller_manager_extra_volumes"},
    {"scheduler", KP_KUBESPRAY_SCHEDULER, "kube_kubeadm_scheduler_extra_args",
     "kube_scheduler_feature_gates", "scheduler_extra_volumes"},
};

static void add_arg(struct kp_converter *c, json_t *out, const char *arg,
                    const struct kp_yaml *value)
{
    kp_auto_free char *text = kp_convert_joined(c, value);
    if (*text)
        json_object_set_new(out, arg, json_string(text));
}

static void add_placed(struct kp_converter *c, json_t *out, enum kp_kubespray_place place)
{
    bool oidc = truth_of_cluster(c, "kube_oidc_auth", false);
    for (const struct kp_kubespray_term *t = kp_kubespray_terms; t->name; t++) {
        const struct kp_yaml *value = t->place == place ? of_cluster(c, t->name) : NULL;
        if (!kp_convert_empty(value) && (oidc || !kp_starts_with(t->key, "oidc-")))
            add_arg(c, out, t->key, value);
    }
}

/* Arguments by name; those that other keys decide are named. */
static void add_extra(struct kp_converter *c, json_t *out, const char *variable,
                      const char *component)
{
    const struct kp_yaml *map = of_cluster(c, variable);
    if (kp_convert_empty(map))
        return;
    if (map->type != KP_YAML_MAP) {
        kp_convert_complain(c, map, "arguments (name: value) are needed");
        return;
    }
    for (size_t i = 0; i < map->count && !c->failed; i++) {
        const char *by = kp_custom_decider(component, map->keys[i]);
        kp_auto_free char *text =
            kp_asprintf("%s: %s is decided by %s", variable, map->keys[i], by ? by : "");
        if (by)
            kp_convert_note(c, map->key_nodes[i], text);
        else
            add_arg(c, out, map->keys[i], map->items[i]);
    }
}

static void add_admission(struct kp_converter *c, json_t *out)
{
    const struct kp_yaml *list = of_cluster(c, "kube_apiserver_enable_admission_plugins");
    kp_auto_free char *text = kp_convert_empty(list) ? NULL : kp_convert_joined(c, list);
    if (!text)
        return;
    kp_auto_free char *with = kp_asprintf("%s," NODE_RESTRICTION, text);
    json_object_set_new(out, "enable-admission-plugins",
                        json_string(strstr(text, NODE_RESTRICTION) ? text : with));
}

static void add_masks(struct kp_converter *c, json_t *out)
{
    const char *four = text_of_cluster(c, "kube_network_node_prefix");
    bool dual = kp_convert_dual(c);
    const char *six = dual ? text_of_cluster(c, "kube_network_node_prefix_ipv6") : NULL;
    if (four && strcmp(four, KUBESPRAY_NODE_PREFIX) != 0)
        json_object_set_new(out, dual ? "node-cidr-mask-size-ipv4" : "node-cidr-mask-size",
                            json_string(four));
    if (six)
        json_object_set_new(out, "node-cidr-mask-size-ipv6", json_string(six));
}

/* hostPath … to host_path … */
static json_t *volume_of(struct kp_converter *c, const struct kp_yaml *item)
{
    static const char *const names[][2] = {{"name", "name"},
                                           {"hostPath", "host_path"},
                                           {"mountPath", "mount_path"},
                                           {"readOnly", "read_only"},
                                           {"pathType", "type"}};
    json_t *out = json_object();
    for (size_t i = 0; i < KP_COUNT(names); i++) {
        const struct kp_yaml *value = kp_yaml_get(item, names[i][0]);
        if (!kp_convert_empty(value))
            json_object_set_new(out, names[i][1], kp_convert_json(c, value));
        else if (i < 3)
            kp_convert_complain(c, item, "a volume (name, hostPath, mountPath) is needed");
    }
    return out;
}

static void write_component(struct kp_converter *c, const struct component *component)
{
    kp_auto_json args = json_object();
    kp_auto_json volumes = json_array();
    const struct kp_yaml *gates = of_cluster(c, component->gates);
    const struct kp_yaml *list = of_cluster(c, component->volumes);
    add_placed(c, args, component->place);
    if (component->place == KP_KUBESPRAY_API)
        add_admission(c, args);
    if (component->place == KP_KUBESPRAY_CONTROLLER)
        add_masks(c, args);
    add_extra(c, args, component->extra_args, component->name);
    for (size_t i = 0; list && list->type == KP_YAML_LIST && i < list->count; i++)
        json_array_append_new(volumes, volume_of(c, list->items[i]));
    kp_auto_json of_gates = kp_convert_empty(gates) ? json_object() : kp_convert_gates(c, gates);
    if (!json_object_size(args) && !json_array_size(volumes) && !json_object_size(of_gates))
        return;
    kp_buf_addf(c->out, "  %s:\n", component->name);
    kp_convert_members(c, "    ", "args", args);
    kp_convert_write(c, "    ", "feature_gates", of_gates);
    kp_convert_write(c, "    ", "volumes", volumes);
}

/* --- kube-proxy ------------------------------------------------------------------------------- */

static bool is_proxy(struct kp_converter *c, const char *mode)
{
    const char *text = text_of_cluster(c, "kube_proxy_mode");
    return text && strcmp(text, mode) == 0;
}

/* The lists of IPVS are for IPVS; a list that only Ansible can compute is the sample's own. */
static bool proxy_counts(struct kp_converter *c, const struct kp_kubespray_term *term,
                         const struct kp_yaml *value)
{
    if (kp_convert_empty(value) || (kp_starts_with(term->key, "ipvs.") && !is_proxy(c, "ipvs")))
        return false;
    if (value->type != KP_YAML_SCALAR || !kp_kubespray_template(value))
        return true;
    kp_convert_note(c, value, term->name);
    return false;
}

static void write_proxy(struct kp_converter *c)
{
    kp_auto_json fields = json_object();
    for (const struct kp_kubespray_term *t = kp_kubespray_terms; t->name; t++) {
        const struct kp_yaml *value =
            t->place == KP_KUBESPRAY_PROXY ? of_cluster(c, t->name) : NULL;
        if (value && proxy_counts(c, t, value))
            kp_convert_set(fields, t->key, kp_convert_json(c, value));
    }
    const struct kp_yaml *gates = of_cluster(c, "kube_proxy_feature_gates");
    if (!kp_convert_empty(gates))
        json_object_set_new(fields, "featureGates", kp_convert_gates(c, gates));
    kp_convert_members(c, "  ", "kube_proxy_config", fields);
}

/* --- the network's, names, patches ------------------------------------------------------------ */

/* Theirs is the nodes' for Cilium, ours what pods send through VXLAN; 0 leaves it to the plugin. */
static void write_network(struct kp_converter *c)
{
    static const struct {
        const char *plugin, *name, *ours;
        unsigned less;
    } table[] = {{"calico", "calico_mtu", "mtu", 0},
                 {"calico", "calico_vxlan_port", "vxlan_port", 0},
                 {"cilium", "cilium_mtu", "mtu", VXLAN_HEADERS},
                 {"flannel", "flannel_interface", "interface", 0}};
    const char *plugin = text_of_cluster(c, "kube_network_plugin");
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        bool counts = strcmp(plugin ? plugin : "calico", table[i].plugin) == 0;
        const char *text = counts ? text_of_cluster(c, table[i].name) : NULL;
        uint64_t number = 0;
        bool is_number = text && kp_parse_u64(kp_slice_of(text), UINT32_MAX, &number);
        kp_auto_json value = NULL;
        if (!text || !*text || (is_number && number <= table[i].less))
            continue;
        value = is_number ? json_integer((json_int_t)(number - table[i].less))
                          : kp_convert_json(c, of_cluster(c, table[i].name));
        kp_convert_write(c, "  ", table[i].ours, value);
    }
}

/* "10.0.0.5 ntp.site time.site # clocks" */
static bool add_dns_line(json_t *hosts, char *line)
{
    const char *address = NULL;
    char *rest = line, *word;
    line[strcspn(line, "#\r")] = '\0';
    while ((word = strsep(&rest, " \t"))) {
        if (!*word)
            continue;
        if (address) {
            if (!json_object_get(hosts, word))
                json_object_set_new(hosts, word, json_array());
            json_array_append_new(json_object_get(hosts, word), json_string(address));
        }
        address = address ? address : word;
    }
    return !address || kp_network_is_ip(address);
}

static void write_dns_hosts(struct kp_converter *c)
{
    const struct kp_yaml *value = of_cluster(c, "dns_etchosts");
    kp_auto_json hosts = json_object();
    if (kp_convert_empty(value))
        return;
    if (value->type != KP_YAML_SCALAR || kp_kubespray_template(value)) {
        kp_convert_complain(c, value, "the lines of a hosts file are needed");
        return;
    }
    struct kp_slice rest = kp_slice_of(value->text), line;
    while (kp_slice_line(&rest, &line)) {
        kp_auto_free char *text = kp_strndup(line.ptr, line.len);
        if (!add_dns_line(hosts, text))
            kp_convert_complain(c, value, "each line is an address and its names");
    }
    kp_convert_write(c, "  ", "dns_hosts", hosts);
}

/* "{{ inventory_dir }}/patches" is "patches" of the inventory's folder. */
static void write_patches(struct kp_converter *c)
{
    const struct kp_yaml *patches = of_cluster(c, "kubeadm_patches");
    const struct kp_yaml *enabled = kp_yaml_get(patches, "enabled");
    const struct kp_yaml *source = kp_yaml_get(patches, "source_dir");
    const char *on = enabled ? kp_convert_text_at(c, enabled) : NULL;
    if (!on || strcasecmp(on, "true") != 0 || !source || source->type != KP_YAML_SCALAR)
        return;
    const char *text = source->text, *rest = strstr(text, "}}");
    if (kp_starts_with(text, "{{") && rest && strstr(text, "inventory_dir") &&
        strstr(text, "inventory_dir") < rest && !strstr(rest + 2, "{{"))
        text = rest + 2 + strspn(rest + 2, "/");
    else
        text = kp_convert_text_at(c, source);
    kp_convert_pair(c, "  ", "patches", text);
}

void kp_convert_kubernetes(struct kp_converter *c)
{
    const struct kp_yaml *gates = of_cluster(c, "kube_feature_gates");
    kp_auto_json of_gates = kp_convert_empty(gates) ? json_object() : kp_convert_gates(c, gates);
    write_network(c);
    write_dns_hosts(c);
    kp_convert_members(c, "  ", "kubelet", c->common_kubelet);
    write_proxy(c);
    kp_convert_write(c, "  ", "feature_gates", of_gates);
    for (size_t i = 0; i < KP_COUNT(components); i++)
        write_component(c, &components[i]);
    write_patches(c);
}

/* --- etcd, security --------------------------------------------------------------------------- */

/* fallback 0: none */
static void add_number(struct kp_converter *c, json_t *out, const char *key, const char *name,
                       int fallback)
{
    const struct kp_yaml *value = of_cluster(c, name);
    if (!kp_convert_empty(value))
        json_object_set_new(out, key, kp_convert_json(c, value));
    else if (fallback)
        json_object_set_new(out, key, json_integer(fallback));
}

static void write_etcd(struct kp_converter *c)
{
    kp_auto_json args = json_object();
    kp_auto_json all = json_object();
    add_placed(c, args, KP_KUBESPRAY_ETCD);
    add_extra(c, args, "etcd_extra_vars", "etcd");
    if (c->external_etcd && json_object_size(args)) {
        kp_convert_note(c, NULL, "etcd_: arguments of etcd are for stacked etcd only");
        json_object_clear(args);
    }
    add_number(c, all, "quota_bytes", "etcd_quota_backend_bytes", 0);
    bool timed = text_of_cluster(c, "etcd_heartbeat_interval") ||
                 text_of_cluster(c, "etcd_election_timeout");
    if (timed) {
        add_number(c, all, "heartbeat_ms", "etcd_heartbeat_interval", KUBESPRAY_HEARTBEAT);
        add_number(c, all, "election_ms", "etcd_election_timeout", KUBESPRAY_ELECTION);
    }
    if (json_object_size(args))
        json_object_set(all, "args", args);
    kp_convert_members(c, "", "etcd", all);
}

static void add_pod_security(struct kp_converter *c, json_t *out)
{
    const char *level = text_of_cluster(c, "kube_pod_security_default_enforce");
    const struct kp_yaml *exempt = of_cluster(c, "kube_pod_security_exemptions_namespaces");
    if (!truth_of_cluster(c, "kube_pod_security_use_default", false))
        return;
    if (level)
        json_object_set_new(out, "pod_security",
                            json_string(strcmp(level, "privileged") == 0 ? "off" : level));
    if (!kp_convert_empty(exempt))
        json_object_set_new(out, "pod_security_exempt", kp_convert_words(c, exempt));
}

static void write_security(struct kp_converter *c)
{
    kp_auto_json out = json_object();
    const char *tls = text_of_cluster(c, "tls_min_version");
    add_pod_security(c, out);
    if (truth_of_cluster(c, "kube_profiling", false))
        json_object_set_new(out, "profiling", json_true());
    if (!truth_of_cluster(c, "kubelet_protect_kernel_defaults", true))
        json_object_set_new(out, "protect_kernel", json_string("false"));
    if (tls && strcmp(tls, "VersionTLS13") == 0)
        json_object_set_new(out, "tls", json_string("1.3"));
    else if (tls && strcmp(tls, "VersionTLS12") != 0)
        kp_convert_note(c, of_cluster(c, "tls_min_version"),
                        "tls_min_version: nothing below TLS 1.2 is spoken");
    kp_convert_members(c, "", "security", out);
}

/* What Kubespray installs into the cluster, here comes with the bundle. */
static void note_addons(struct kp_converter *c)
{
    static const char *const addons[][2] = {
        {"cert_manager_enabled", "cert-manager"}, {"gateway_api_enabled", "gateway-api"},
        {"kube_network_plugin_multus", "multus"}, {"local_path_provisioner_enabled", "local-path"},
        {"metallb_enabled", "metallb"},           {"metrics_server_enabled", "metrics-server"}};
    for (size_t i = 0; i < KP_COUNT(addons); i++) {
        kp_auto_free char *text =
            kp_asprintf("%s: is in the bundle, where it was made by kpack create --with %s",
                        addons[i][0], addons[i][1]);
        if (truth_of_cluster(c, addons[i][0], false))
            kp_convert_note(c, of_cluster(c, addons[i][0]), text);
    }
}

void kp_convert_cluster(struct kp_converter *c)
{
    write_etcd(c);
    write_security(c);
    kp_convert_members(c, "", "sysctls", c->common_sysctls);
    note_addons(c);
}
