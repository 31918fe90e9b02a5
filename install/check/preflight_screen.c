/* SPDX-License-Identifier: Apache-2.0 */
/* What the pre-checks found, for people and for machines. */
#include "install/check/preflight.h"

#include "core/text.h"
#include "install/check/preflight_rules.h"
#include "install/check/space.h"

static const char *level_text(enum kp_level level)
{
    static const char *const texts[] = {"note", "warning", "error"};
    return texts[level];
}

static void count_of(const struct kp_findings *findings, const struct kp_site_node *node,
                     size_t *errors, size_t *warnings)
{
    *errors = *warnings = 0;
    for (size_t i = 0; i < findings->count; i++) {
        if (findings->items[i].node != node || findings->items[i].level == KP_LEVEL_NOTE)
            continue;
        *(findings->items[i].level == KP_LEVEL_ERROR ? errors : warnings) += 1;
    }
}

static void add_space_cell(struct kp_table *table, const struct kp_site *site,
                           const struct kp_site_node *node)
{
    const json_t *disks = json_object_get(json_object_get(node->facts, "system"), "disks");
    json_int_t available = kp_fact_number(json_object_get(disks, "/var/lib"), "free");
    struct kp_space space;
    struct kp_err ignored = KP_ERR_INIT;
    if (!node->arch || kp_space_needed(site, node->node, node->arch, &space, &ignored) < 0)
        space.total = 0;
    kp_table_cell(table, KP_PLAIN, "%.1f / %.1f GB", (double)available / 1e9,
                  (double)space.total / 1e9);
}

static void add_result_cell(struct kp_table *table, size_t errors, size_t warnings)
{
    if (errors)
        kp_table_cell(table, KP_RED, "%zu error%s", errors, errors == 1 ? "" : "s");
    else if (warnings)
        kp_table_cell(table, KP_YELLOW, "%zu warning%s", warnings, warnings == 1 ? "" : "s");
    else
        kp_table_cell(table, KP_GREEN, "ok");
}

static const char *role_text(const struct kp_node *node)
{
    if (node->roles == KP_ROLE_ETCD)
        return "etcd";
    if (node->roles & KP_ROLE_ETCD)
        return node->roles & KP_ROLE_CONTROL_PLANE ? "control-plane+etcd" : "worker+etcd";
    if (node->roles == (KP_ROLE_CONTROL_PLANE | KP_ROLE_WORKER))
        return "both";
    return node->roles & KP_ROLE_CONTROL_PLANE ? "control-plane" : "worker";
}

static void add_row(struct kp_table *table, const struct kp_site *site,
                    const struct kp_site_node *node, const struct kp_findings *findings)
{
    const json_t *system = json_object_get(node->facts, "system");
    size_t errors, warnings;
    count_of(findings, node, &errors, &warnings);
    kp_table_cell(table, KP_PLAIN, "%s", node->node->name);
    kp_table_cell(table, KP_PLAIN, "%s", role_text(node->node));
    kp_table_cell(table, KP_PLAIN, "%s%s", node->node->ssh.user,
                  node->node->ssh.sudo ? "+sudo" : "");
    if (!system) {
        for (int i = 0; i < 5; i++)
            kp_table_cell(table, KP_DIM, "-");
        add_result_cell(table, errors, warnings);
        return;
    }
    kp_table_cell(table, KP_PLAIN, "%s %s", kp_json_string(json_object_get(system, "os"), "id"),
                  kp_json_string(json_object_get(system, "os"), "version_id"));
    kp_table_cell(table, KP_PLAIN, "%d", (int)kp_fact_number(system, "cpus"));
    kp_table_cell(table, KP_PLAIN, "%.0f GB",
                  (double)kp_fact_number(json_object_get(system, "memory"), "total") / 1e9);
    add_space_cell(table, site, node);
    kp_table_cell(table, KP_PLAIN, "%+.1f s",
                  json_real_value(json_object_get(system, "clock_difference")));
    add_result_cell(table, errors, warnings);
}

static void print_finding(const struct kp_finding *finding, int width, FILE *out)
{
    static const enum kp_colour colours[] = {KP_DIM, KP_YELLOW, KP_RED};
    fprintf(out, "  %-*s  %s%-7s%s  %s\n", width, finding->node ? finding->node->node->name : "all",
            kp_colour_on(out, colours[finding->level]), level_text(finding->level),
            kp_colour_off(out), finding->text);
    if (finding->next && finding->next[0])
        fprintf(out, "  %*s           → %s\n", width, "", finding->next);
}

void kp_preflight_print_findings(const struct kp_findings *findings, FILE *out)
{
    size_t width = 3;
    for (size_t i = 0; i < findings->count; i++) {
        const struct kp_site_node *node = findings->items[i].node;
        size_t len = node ? strlen(node->node->name) : 0;
        width = len > width ? len : width;
    }
    for (size_t i = 0; i < findings->count; i++)
        print_finding(&findings->items[i], (int)width, out);
}

void kp_preflight_print(const struct kp_site *site, const struct kp_findings *findings, FILE *out)
{
    static const char *const heads[] = {
        "NODE", "ROLE", "SSH", "OS", "CPU", "MEMORY", "DISK FREE/NEEDED", "CLOCK", "RESULT"};
    kp_auto(kp_table) table = kp_table_new(KP_COUNT(heads), heads);
    for (size_t i = 0; i < site->node_count; i++)
        add_row(table, site, &site->nodes[i], findings);
    kp_table_print(table, out);
    kp_preflight_print_findings(findings, out);
    fprintf(out, "%zu error%s, %zu warning%s; nothing was changed\n", findings->errors,
            findings->errors == 1 ? "" : "s", findings->warnings,
            findings->warnings == 1 ? "" : "s");
}

json_t *kp_preflight_json(const struct kp_site *site, const struct kp_findings *findings)
{
    json_t *list = json_array(), *nodes = json_array();
    for (size_t i = 0; i < findings->count; i++) {
        const struct kp_finding *f = &findings->items[i];
        json_array_append_new(list, json_pack("{s:s*, s:s, s:s, s:s, s:s*}", "node",
                                              f->node ? f->node->node->name : NULL, "level",
                                              level_text(f->level), "check", f->check, "text",
                                              f->text, "next", f->next));
    }
    for (size_t i = 0; i < site->node_count; i++)
        json_array_append_new(nodes, json_pack("{s:s, s:O*}", "name", site->nodes[i].node->name,
                                               "facts", site->nodes[i].facts));
    return json_pack("{s:b, s:i, s:i, s:o, s:o}", "ok", findings->errors == 0, "errors",
                     (int)findings->errors, "warnings", (int)findings->warnings, "findings", list,
                     "nodes", nodes);
}
