/* SPDX-License-Identifier: Apache-2.0 */
/* A host's kubelet and kernel parameters: what all nodes say alike stands once for the cluster. */
#include "install/inventory/custom.h"
#include "install/inventory/kubespray.h"
#include "install/inventory/kubespray_convert.h"
#include "install/kernel.h"

/* --- flags ------------------------------------------------------------------------------------ */

enum kind { TEXT, WORDS, PAIRS, SIGNALS, GATES };

/* Flags that are fields of KubeletConfiguration: cmd/kubelet/app/options. */
static const struct flag {
    const char *name, *field;
    enum kind kind;
} flags[] = {
    {"allowed-unsafe-sysctls", "allowedUnsafeSysctls", WORDS},
    {"container-log-max-files", "containerLogMaxFiles", TEXT},
    {"container-log-max-size", "containerLogMaxSize", TEXT},
    {"cpu-manager-policy", "cpuManagerPolicy", TEXT},
    {"enforce-node-allocatable", "enforceNodeAllocatable", WORDS},
    {"event-burst", "eventBurst", TEXT},
    {"event-qps", "eventRecordQPS", TEXT},
    {"eviction-hard", "evictionHard", SIGNALS},
    {"eviction-max-pod-grace-period", "evictionMaxPodGracePeriod", TEXT},
    {"eviction-minimum-reclaim", "evictionMinimumReclaim", PAIRS},
    {"eviction-pressure-transition-period", "evictionPressureTransitionPeriod", TEXT},
    {"eviction-soft", "evictionSoft", SIGNALS},
    {"eviction-soft-grace-period", "evictionSoftGracePeriod", PAIRS},
    {"feature-gates", "featureGates", GATES},
    {"image-gc-high-threshold", "imageGCHighThresholdPercent", TEXT},
    {"image-gc-low-threshold", "imageGCLowThresholdPercent", TEXT},
    {"kube-api-burst", "kubeAPIBurst", TEXT},
    {"kube-api-qps", "kubeAPIQPS", TEXT},
    {"kube-reserved", "kubeReserved", PAIRS},
    {"make-iptables-util-chains", "makeIPTablesUtilChains", TEXT},
    {"max-open-files", "maxOpenFiles", TEXT},
    {"max-pods", "maxPods", TEXT},
    {"memory-manager-policy", "memoryManagerPolicy", TEXT},
    {"node-status-update-frequency", "nodeStatusUpdateFrequency", TEXT},
    {"pod-max-pids", "podPidsLimit", TEXT},
    {"registry-burst", "registryBurst", TEXT},
    {"registry-qps", "registryPullQPS", TEXT},
    {"reserved-cpus", "reservedSystemCPUs", TEXT},
    {"serialize-image-pulls", "serializeImagePulls", TEXT},
    {"streaming-connection-idle-timeout", "streamingConnectionIdleTimeout", TEXT},
    {"sync-frequency", "syncFrequency", TEXT},
    {"system-reserved", "systemReserved", PAIRS},
    {"topology-manager-policy", "topologyManagerPolicy", TEXT},
    {"topology-manager-scope", "topologyManagerScope", TEXT},
};

static const struct flag *find_flag(const char *name)
{
    for (size_t i = 0; i < KP_COUNT(flags); i++)
        if (strcmp(flags[i].name, name) == 0)
            return &flags[i];
    return NULL;
}

static json_t *value_of_flag(struct kp_converter *c, const struct flag *flag, const char *text,
                             const struct kp_yaml *at)
{
    // the element itself with its value alone
    struct kp_yaml value = *at;
    value.type = KP_YAML_SCALAR;
    value.text = text;
    if (flag->kind == TEXT)
        return kp_convert_json(c, &value);
    if (flag->kind == GATES)
        return kp_convert_gates(c, &value);
    json_t *words = kp_convert_words(c, &value);
    if (flag->kind == WORDS)
        return words;
    json_t *pairs = kp_convert_pairs(c, words, flag->kind == SIGNALS ? '<' : '=', at);
    json_decref(words);
    return pairs;
}

static void note_flag(struct kp_converter *c, const struct kp_yaml *at, const char *variable,
                      const char *name)
{
    kp_auto_free char *text =
        kp_asprintf("%s: --%s has no place in the kubelet's configuration", variable, name);
    kp_convert_note(c, at, text);
}

static void add_flag(struct kp_converter *c, json_t *out, const char *variable, const char *text,
                     const struct kp_yaml *at)
{
    const char *name = text + strspn(text, "-"), *equals = strchr(name, '=');
    kp_auto_free char *alone = equals ? kp_strndup(name, (size_t)(equals - name)) : kp_strdup(name);
    const struct flag *flag = find_flag(alone);
    if (!flag || !equals)
        note_flag(c, at, variable, alone);
    else
        json_object_set_new(out, flag->field, value_of_flag(c, flag, equals + 1, at));
}

/* A list of flags, or one text with blanks between them. */
static void add_flags(struct kp_converter *c, size_t host, json_t *out, const char *variable)
{
    const struct kp_yaml *value = kp_convert_find(c, host, variable);
    if (kp_convert_empty(value))
        return;
    size_t n = value->type == KP_YAML_LIST ? value->count : 1;
    for (size_t i = 0; i < n && !c->failed; i++) {
        const struct kp_yaml *at = value->type == KP_YAML_LIST ? value->items[i] : value;
        const char *text = kp_convert_text_at(c, at);
        for (const char *p = text ? text : ""; *p;) {
            size_t len = strcspn(p, " ");
            kp_auto_free char *one = kp_strndup(p, len);
            if (len)
                add_flag(c, out, variable, one, at);
            p += len + (p[len] == ' ');
        }
    }
}

/* --- fields ----------------------------------------------------------------------------------- */

static void add_placed(struct kp_converter *c, size_t host, json_t *out)
{
    for (const struct kp_kubespray_term *t = kp_kubespray_terms; t->name; t++) {
        const struct kp_yaml *value =
            t->place == KP_KUBESPRAY_KUBELET ? kp_convert_find(c, host, t->name) : NULL;
        if (!kp_convert_empty(value))
            json_object_set_new(out, t->key, kp_convert_json(c, value));
    }
    // one at a time is the kubelet's way otherwise, whatever the number
    if (json_integer_value(json_object_get(out, "maxParallelImagePulls")) > 1)
        json_object_set_new(out, "serializeImagePulls", json_false());
}

/* {"cpu": "100m", …} out of PREFIX_cpu_reserved …, on control planes PREFIX_master_cpu_reserved. */
static json_t *reserved(struct kp_converter *c, size_t host, const char *prefix, const char *cpu,
                        const char *memory)
{
    static const char *const resources[][2] = {{"cpu", "cpu"},
                                               {"memory", "memory"},
                                               {"ephemeral_storage", "ephemeral-storage"},
                                               {"pid", "pid"}};
    json_t *out = json_object();
    kp_auto_free char *switch_name = kp_asprintf("%s_reserved", prefix);
    bool all = kp_convert_truth(c, host, switch_name, false);
    for (size_t i = 0; i < KP_COUNT(resources); i++) {
        kp_auto_free char *master = kp_asprintf("%s_master_%s_reserved", prefix, resources[i][0]);
        kp_auto_free char *plain = kp_asprintf("%s_%s_reserved", prefix, resources[i][0]);
        const char *text =
            kp_convert_is_control_plane(c, host) ? kp_convert_text(c, host, master) : NULL;
        text = text ? text : kp_convert_text(c, host, plain);
        if (!text && all && i < 2)
            text = i == 0 ? cpu : memory;
        if (text && *text)
            json_object_set_new(out, resources[i][1], json_string(text));
    }
    return out;
}

static void add_if_any(json_t *out, const char *key, json_t *object)
{
    if (json_object_size(object))
        json_object_set(out, key, object);
    json_decref(object);
}

/* Kubespray reserves for itself what it has values for; for the system only where it is told to. */
static void add_reserved(struct kp_converter *c, size_t host, json_t *out)
{
    add_if_any(out, "kubeReserved", reserved(c, host, "kube", "100m", "256Mi"));
    if (kp_convert_truth(c, host, "system_reserved", false))
        add_if_any(out, "systemReserved", reserved(c, host, "system", "500m", "512Mi"));
}

static void add_own(struct kp_converter *c, size_t host, json_t *out)
{
    bool control_plane = kp_convert_is_control_plane(c, host);
    const struct kp_yaml *hard =
        control_plane ? kp_convert_find(c, host, "eviction_hard_control_plane") : NULL;
    const struct kp_yaml *enforce = kp_convert_find(c, host, "kubelet_enforce_node_allocatable");
    const struct kp_yaml *gates = kp_convert_find(c, host, "kubelet_feature_gates");
    if (kp_convert_empty(hard))
        hard = kp_convert_find(c, host, "eviction_hard");
    if (!kp_convert_empty(hard))
        json_object_set_new(out, "evictionHard", kp_convert_json(c, hard));
    if (!kp_convert_empty(gates))
        json_object_set_new(out, "featureGates", kp_convert_gates(c, gates));
    if (kp_convert_empty(enforce))
        return;
    json_t *words = kp_convert_words(c, enforce);
    if (json_array_size(words))
        json_object_set(out, "enforceNodeAllocatable", words);
    json_decref(words);
}

/* Fields as Kubernetes names them; those that are not the inventory's to set are named. */
static void add_fields(struct kp_converter *c, json_t *out, const struct kp_yaml *map)
{
    if (map->type != KP_YAML_MAP) {
        kp_convert_complain(c, map, "fields (name: value) are needed");
        return;
    }
    kp_auto_json all = kp_convert_json(c, map);
    for (size_t i = 0; i < map->count && all; i++) {
        const char *field = map->keys[i];
        kp_auto_free char *text =
            kp_asprintf("%s is set by kinstall itself", map->key_nodes[i]->path);
        if (kp_custom_kubelet_free(field))
            json_object_set(out, field, json_object_get(all, field));
        else
            kp_convert_note(c, map->key_nodes[i], text);
    }
}

static void add_extra(struct kp_converter *c, size_t host, json_t *out, const char *name)
{
    const struct kp_yaml *map = kp_convert_find(c, host, name);
    if (!kp_convert_empty(map))
        add_fields(c, out, map);
}

/* Of kubeadm_patches as a list: the merging ones of the kubelet's configuration. */
static void add_patches(struct kp_converter *c, size_t host, json_t *out)
{
    const struct kp_yaml *list = kp_convert_find(c, host, "kubeadm_patches");
    for (size_t i = 0; list && list->type == KP_YAML_LIST && i < list->count; i++) {
        const struct kp_yaml *target = kp_yaml_get(list->items[i], "target");
        const struct kp_yaml *type = kp_yaml_get(list->items[i], "type");
        const struct kp_yaml *patch = kp_yaml_get(list->items[i], "patch");
        const char *what = target ? kp_convert_text_at(c, target) : NULL;
        const char *how = type ? kp_convert_text_at(c, type) : "strategic";
        if (what && how && patch && patch->type == KP_YAML_MAP && strcmp(how, "json") != 0 &&
            strcmp(what, "kubeletconfiguration") == 0)
            add_fields(c, out, patch);
        else
            kp_convert_note(c, list->items[i],
                            "kubeadm_patches: of a list only those of kubeletconfiguration are "
                            "taken over; the others are files in the folder of kubernetes.patches");
    }
}

static json_t *kubelet_of(struct kp_converter *c, size_t host)
{
    json_t *out = json_object();
    add_placed(c, host, out);
    add_own(c, host, out);
    add_reserved(c, host, out);
    add_flags(c, host, out, "kubelet_custom_flags");
    add_extra(c, host, out, "kubelet_config_extra_args");
    if (!kp_convert_is_control_plane(c, host)) {
        add_flags(c, host, out, "kubelet_node_custom_flags");
        add_extra(c, host, out, "kubelet_node_config_extra_args");
    }
    add_patches(c, host, out);
    return out;
}

/* --- kernel parameters ------------------------------------------------------------------------ */

static void add_sysctl(struct kp_converter *c, json_t *out, const struct kp_yaml *item)
{
    const struct kp_yaml *name = kp_yaml_get(item, "name"), *value = kp_yaml_get(item, "value");
    const char *key = name ? kp_convert_text_at(c, name) : NULL;
    const char *text = value ? kp_convert_text_at(c, value) : NULL;
    if (!key || !text) {
        kp_convert_complain(c, item, "a kernel parameter ({name: …, value: …}) is needed");
        return;
    }
    kp_auto_free char *decided =
        kp_asprintf("additional_sysctl: %s is set by kinstall itself", key);
    if (kp_kernel_is_decided(key))
        kp_convert_note(c, item, decided);
    else
        json_object_set_new(out, key, json_string(text));
}

static json_t *sysctls_of(struct kp_converter *c, size_t host)
{
    const struct kp_yaml *list = kp_convert_find(c, host, "additional_sysctl");
    json_t *out = json_object();
    if (list && list->type != KP_YAML_LIST)
        kp_convert_complain(c, list, "a list of kernel parameters ({name: …, value: …}) is needed");
    for (size_t i = 0; list && i < list->count && !c->failed; i++)
        add_sysctl(c, out, list->items[i]);
    return out;
}

/* --- what all have, and what one has ---------------------------------------------------------- */

/* Out of *common goes what this one says otherwise or not at all. */
static void keep_common(json_t *common, const json_t *one)
{
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(common, next, key, value)
    {
        if (!json_equal(value, json_object_get(one, key)))
            json_object_del(common, key);
    }
}

static json_t *common_of(json_t *const *all, size_t count)
{
    json_t *common = NULL;
    for (size_t i = 0; i < count; i++) {
        if (all[i] && !common)
            common = json_copy(all[i]);
        else if (all[i])
            keep_common(common, all[i]);
    }
    return common ? common : json_object();
}

static void drop_common(json_t *const *all, size_t count, const json_t *common)
{
    const char *key;
    json_t *value;
    for (size_t i = 0; i < count; i++) {
        json_object_foreach((json_t *)common, key, value) json_object_del(all[i], key);
    }
}

void kp_convert_kubelets_begin(struct kp_converter *c)
{
    size_t n = kp_kubespray_host_count(c->from);
    c->kubelets = kp_alloc_array(n + 1, sizeof(*c->kubelets));
    c->sysctls = kp_alloc_array(n + 1, sizeof(*c->sysctls));
    // the notes of one host are those of all
    for (size_t i = 0; i < n && !c->failed; i++) {
        if (!kp_convert_is_node(c, i))
            continue;
        c->kubelets[i] = kubelet_of(c, i);
        c->sysctls[i] = sysctls_of(c, i);
    }
    c->common_kubelet = common_of(c->kubelets, n);
    c->common_sysctls = common_of(c->sysctls, n);
    drop_common(c->kubelets, n, c->common_kubelet);
    drop_common(c->sysctls, n, c->common_sysctls);
}

void kp_convert_kubelets_free(struct kp_converter *c)
{
    for (size_t i = 0; c->kubelets && i < kp_kubespray_host_count(c->from); i++) {
        json_decref(c->kubelets[i]);
        json_decref(c->sysctls[i]);
    }
    json_decref(c->common_kubelet);
    json_decref(c->common_sysctls);
    kp_free(c->kubelets);
    kp_free(c->sysctls);
}

void kp_convert_node(struct kp_converter *c, size_t host)
{
    kp_convert_write(c, "    ", "sysctls", c->sysctls[host]);
    kp_convert_members(c, "    ", "kubelet", c->kubelets[host]);
}
