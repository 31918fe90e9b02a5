/* SPDX-License-Identifier: Apache-2.0 */
#include "install/report.h"

#include "install/journal.h"

static void print_failure(const struct kp_site *site, const struct kp_site_node *node, FILE *out)
{
    const struct kp_err *failure = &node->failure;
    fprintf(out, " %s✗%s %-9s %s: %s\n", kp_colour_on(out, KP_RED), kp_colour_off(out),
            node->failed_step, node->node->name, failure->message);
    if (failure->hint[0])
        fprintf(out, "   next: %s\n", failure->hint);
    if (!site->journal)
        return;
    kp_auto_free char *log = kp_journal_log_path(site->journal, node->node->name);
    fprintf(out, "   log: %s\n", log);
}

void kp_report_failures(const struct kp_site *site, const char *again, FILE *out)
{
    size_t failed = 0;
    for (size_t i = 0; i < site->node_count; i++) {
        if (!site->nodes[i].failed)
            continue;
        failed++;
        print_failure(site, &site->nodes[i], out);
    }
    if (!failed)
        return;
    fputs("   ", out);
    for (size_t i = 0; i < site->node_count; i++)
        if (!site->nodes[i].failed)
            fprintf(out, "%s ", site->nodes[i].node->name);
    fprintf(out, "%s%s\n",
            failed < site->node_count ? "did what they could and stay as they are; " : "", again);
}

json_t *kp_report_nodes(const struct kp_site *site)
{
    json_t *list = json_array();
    for (size_t i = 0; i < site->node_count; i++) {
        const struct kp_site_node *node = &site->nodes[i];
        json_t *one = json_pack("{s:s, s:b, s:I}", "name", node->node->name, "ok", !node->failed,
                                "changes", (json_int_t)node->changes);
        if (node->failed) {
            json_object_set_new(one, "step", json_string(node->failed_step));
            json_object_set_new(one, "error", json_string(node->failure.message));
            json_object_set_new(one, "reason", json_string(kp_err_reason(&node->failure)));
        }
        json_array_append_new(list, one);
    }
    return list;
}

int kp_report_end(const struct kp_site *site, int result, struct kp_err *err)
{
    kp_auto_json nodes = kp_report_nodes(site);
    kp_auto_json out = json_pack("{s:s, s:O}", "cluster", site->inventory->cluster, "nodes", nodes);
    return kp_json_end(out, result, err);
}
