/* SPDX-License-Identifier: Apache-2.0 */
#include "install/kernel.h"

#include <assert.h>

/* Why each: kubeadm wants forwarding and bridge filtering; what the kubelet wants is in its
 * setupKernelTunables (pkg/kubelet/cm/container_manager_linux.go); NodePorts must not be handed out
 * to clients; many pods watch many files. */
const struct kp_kernel_setting kp_kernel_settings[] = {
    {"net.ipv4.ip_forward", "1", false, false, false},
    {"net.bridge.bridge-nf-call-iptables", "1", false, false, false},
    {"net.bridge.bridge-nf-call-ip6tables", "1", false, false, false},
    {"net.ipv4.ip_local_reserved_ports", "30000-32767", false, true, false},
    {"net.ipv6.conf.all.forwarding", "1", false, false, false},
    {"vm.overcommit_memory", "1", true, false, false},
    {"vm.panic_on_oom", "0", true, false, false},
    {"kernel.panic", "10", true, false, false},
    {"kernel.panic_on_oops", "1", true, false, false},
    {"kernel.keys.root_maxkeys", "1000000", true, false, false},
    {"kernel.keys.root_maxbytes", "25000000", true, false, false},
    {"fs.inotify.max_user_instances", "8192", false, true, false},
    {"fs.inotify.max_user_watches", "524288", false, true, false},
    {NULL, NULL, false, false, false},
};

static_assert(KP_COUNT(kp_kernel_settings) + KP_SYSCTLS_MAX <= KP_KERNEL_SETTINGS_MAX,
              "room for all of them");

static bool is_needed(const struct kp_site *site, const struct kp_kernel_setting *setting)
{
    return !strstr(setting->key, "ipv6") || kp_inventory_has_ip6(site->inventory);
}

static const struct kp_kernel_setting *find(const char *key)
{
    for (const struct kp_kernel_setting *s = kp_kernel_settings; s->key; s++)
        if (strcmp(s->key, key) == 0)
            return s;
    return NULL;
}

bool kp_kernel_is_decided(const char *key)
{
    const struct kp_kernel_setting *setting = find(key);
    return setting && !setting->adjustable;
}

size_t kp_kernel_wanted(const struct kp_site *site, const struct kp_site_node *node,
                        struct kp_kernel_setting out[KP_KERNEL_SETTINGS_MAX])
{
    const struct kp_node *n = node->node;
    size_t count = 0;
    for (const struct kp_kernel_setting *s = kp_kernel_settings; s->key; s++)
        if (is_needed(site, s) && !kp_pair_find(n->sysctls, n->sysctl_count, s->key))
            out[count++] = *s;
    for (size_t i = 0; i < n->sysctl_count && count < KP_KERNEL_SETTINGS_MAX; i++)
        out[count++] = (struct kp_kernel_setting){
            .key = n->sysctls[i].key, .value = n->sysctls[i].value, .own = true};
    return count;
}

static const json_t *fact_of(const struct kp_site_node *node, const char *key)
{
    const json_t *kernel = json_object_get(node->facts, "kernel");
    return json_object_get(json_object_get(kernel, "sysctl"), key);
}

/* NULL where the facts do not say. */
static const char *value_of(const struct kp_site_node *node, const char *key)
{
    return json_string_value(json_object_get(fact_of(node, key), "value"));
}

bool kp_kernel_can(const struct kp_site_node *node, const struct kp_kernel_setting *setting)
{
    const char *value = value_of(node, setting->key);
    const json_t *fact = fact_of(node, setting->key);
    const json_t *writable = json_object_get(fact, "writable");
    if (setting->own && fact && !value)
        return false; // the kernel does not know it
    return !value || strcmp(value, setting->value) == 0 || !json_is_false(writable);
}

bool kp_kernel_protect(const struct kp_site *site)
{
    for (size_t i = 0; i < site->node_count; i++)
        for (const struct kp_kernel_setting *s = kp_kernel_settings; s->key; s++)
            if (s->kubelet && !kp_kernel_can(&site->nodes[i], s))
                return false;
    return true;
}

json_t *kp_kernel_before(const struct kp_site *site, const struct kp_site_node *node)
{
    json_t *out = json_object();
    struct kp_kernel_setting wanted[KP_KERNEL_SETTINGS_MAX];
    size_t n = kp_kernel_wanted(site, node, wanted);
    for (size_t i = 0; i < n; i++) {
        const char *value = value_of(node, wanted[i].key);
        if (value && strcmp(value, wanted[i].value) != 0)
            json_object_set_new(out, wanted[i].key, json_string(value));
    }
    return out;
}

json_t *kp_kernel_parse(struct kp_slice text)
{
    json_t *out = json_object();
    struct kp_slice line, key;
    while (kp_slice_line(&text, &line)) {
        if (!kp_slice_cut(&line, '=', &key) || kp_slice_starts(key, "#"))
            continue;
        kp_auto_free char *name = kp_strndup(key.ptr, key.len);
        json_object_set_new(out, name, json_stringn(line.ptr, line.len));
    }
    return out;
}

bool kp_kernel_keep(json_t *before, const json_t *ours, const struct kp_site *site,
                    const struct kp_site_node *node)
{
    kp_auto_json now = kp_kernel_before(site, node);
    bool added = false;
    const char *key;
    json_t *value;
    json_object_foreach(now, key, value)
    {
        if (json_object_get(before, key) || json_object_get(ours, key))
            continue;
        json_object_set(before, key, value);
        added = true;
    }
    return added;
}

/* A container shares all but net.* with its host. */
static bool is_shared(const struct kp_site_node *node, const char *key)
{
    const json_t *system = json_object_get(node->facts, "system");
    return json_is_true(json_object_get(system, "container")) && !kp_starts_with(key, "net.");
}

size_t kp_kernel_dropped(const struct kp_site *site, const struct kp_site_node *node,
                         const json_t *ours, const json_t *before, struct kp_arena *arena,
                         const char **out, size_t max)
{
    struct kp_kernel_setting wanted[KP_KERNEL_SETTINGS_MAX];
    size_t n = 0, count = kp_kernel_wanted(site, node, wanted);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)ours, key, value)
    {
        const char *old = json_string_value(json_object_get(before, key));
        bool kept = false;
        for (size_t i = 0; i < count; i++)
            kept = kept || strcmp(wanted[i].key, key) == 0;
        if (!kept && old && !is_shared(node, key) && n < max)
            out[n++] = kp_arena_printf(arena, "%s=%s", key, old);
    }
    return n;
}

size_t kp_kernel_restore(const struct kp_site *site, const struct kp_site_node *node,
                         const json_t *before, struct kp_arena *arena, const char **out, size_t max)
{
    struct kp_kernel_setting set[KP_KERNEL_SETTINGS_MAX];
    size_t n = 0, count = kp_kernel_wanted(site, node, set);
    for (size_t i = 0; i < count && n < max; i++) {
        const char *old = json_string_value(json_object_get(before, set[i].key));
        const char *now = value_of(node, set[i].key);
        if (!old || !now || strcmp(now, set[i].value) != 0 || is_shared(node, set[i].key))
            continue;
        out[n++] = kp_arena_printf(arena, "%s=%s", set[i].key, old);
    }
    return n;
}
