/* SPDX-License-Identifier: Apache-2.0 */
#include "install/kernel.h"

#include <assert.h>

/* Why each: kubeadm wants forwarding and bridge filtering; what the kubelet wants is in its
 * setupKernelTunables (pkg/kubelet/cm/container_manager_linux.go); NodePorts must not be handed out
 * to clients; many pods watch many files. */
const struct kp_kernel_setting kp_kernel_settings[] = {
    {"net.ipv4.ip_forward", "1", false},
    {"net.bridge.bridge-nf-call-iptables", "1", false},
    {"net.bridge.bridge-nf-call-ip6tables", "1", false},
    {"net.ipv4.ip_local_reserved_ports", "30000-32767", false},
    {"net.ipv6.conf.all.forwarding", "1", false},
    {"vm.overcommit_memory", "1", true},
    {"vm.panic_on_oom", "0", true},
    {"kernel.panic", "10", true},
    {"kernel.panic_on_oops", "1", true},
    {"kernel.keys.root_maxkeys", "1000000", true},
    {"kernel.keys.root_maxbytes", "25000000", true},
    {"fs.inotify.max_user_instances", "8192", false},
    {"fs.inotify.max_user_watches", "524288", false},
    {NULL, NULL, false},
};

static_assert(KP_COUNT(kp_kernel_settings) <= KP_KERNEL_SETTINGS_MAX, "room for all of them");

bool kp_kernel_is_needed(const struct kp_site *site, const struct kp_kernel_setting *setting)
{
    return !strstr(setting->key, "ipv6") || kp_inventory_has_ip6(site->inventory);
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
    const json_t *writable = json_object_get(fact_of(node, setting->key), "writable");
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
    for (const struct kp_kernel_setting *s = kp_kernel_settings; s->key; s++) {
        const char *value = value_of(node, s->key);
        if (kp_kernel_is_needed(site, s) && value && strcmp(value, s->value) != 0)
            json_object_set_new(out, s->key, json_string(value));
    }
    return out;
}

size_t kp_kernel_restore(const struct kp_site_node *node, const json_t *before,
                         struct kp_arena *arena, const char **out, size_t max)
{
    const json_t *system = json_object_get(node->facts, "system");
    bool container = json_is_true(json_object_get(system, "container"));
    size_t n = 0;
    for (const struct kp_kernel_setting *s = kp_kernel_settings; s->key && n < max; s++) {
        const char *old = json_string_value(json_object_get(before, s->key));
        const char *now = value_of(node, s->key);
        if (!old || !now || strcmp(now, s->value) != 0 ||
            (container && !kp_starts_with(s->key, "net.")))
            continue;
        out[n++] = kp_arena_printf(arena, "%s=%s", s->key, old);
    }
    return n;
}
