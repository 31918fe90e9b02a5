/* SPDX-License-Identifier: Apache-2.0 */
#include "install/check/preflight.h"

#include "install/check/preflight_rules.h"

static bool is_ours(const struct kp_site *site, const struct kp_site_node *node)
{
    return strcmp(kp_json_string(node->record, "cluster"), site->inventory->cluster) == 0;
}

static void look_at_node(const struct kp_site *site, const struct kp_site_node *node,
                         struct kp_findings *out)
{
    static kp_rule *const rules[] = {
        kp_rule_os,           kp_rule_arch,     kp_rule_cgroups, kp_rule_cpu,
        kp_rule_memory,       kp_rule_disk,     kp_rule_clock,   kp_rule_swap,
        kp_rule_capabilities, kp_rule_modules,  kp_rule_kernel,  kp_rule_programs,
        kp_rule_security,     kp_rule_address,  kp_rule_ports,   kp_rule_networks,
        kp_rule_leftovers,    kp_rule_runtimes, kp_rule_proxy,
    };
    const struct kp_look look = {
        .site = site,
        .node = node,
        .system = json_object_get(node->facts, "system"),
        .kernel = json_object_get(node->facts, "kernel"),
        .network = json_object_get(node->facts, "network"),
        .leftovers = json_object_get(node->facts, "leftovers"),
        .ours = is_ours(site, node),
        .out = out,
    };
    for (size_t i = 0; i < KP_COUNT(rules); i++)
        rules[i](&look);
}

/* Where there is a cluster already it is not begun with a node missing: that one may be dead. */
static void find_unconnected(const struct kp_site *site, const struct kp_site_node *node,
                             struct kp_findings *out)
{
    const char *name = node->node->name, *hint = node->failure.hint;
    kp_auto_free char *more = NULL;
    bool made = false;
    for (size_t i = 0; i < site->node_count; i++)
        made = made || (!site->nodes[i].failed && is_ours(site, &site->nodes[i]));
    if (made && strcmp(kp_err_reason(&node->failure), "unreachable") == 0)
        more = kp_asprintf("%s where it is dead for good: kinstall remove %s --force-dead -i %s, "
                           "and leave it out of the inventory",
                           hint, name, site->inventory->path);
    kp_findings_add(out, node, KP_LEVEL_ERROR, "connect", node->failure.message,
                    more ? more : hint);
}

void kp_preflight(const struct kp_site *site, struct kp_findings *out)
{
    for (size_t i = 0; i < site->node_count; i++) {
        const struct kp_site_node *node = &site->nodes[i];
        if (node->failed)
            find_unconnected(site, node, out);
        else
            look_at_node(site, node, out);
    }
    kp_rule_duplicates(site, out);
}
