/* SPDX-License-Identifier: Apache-2.0 */
#include "core/screen.h"
#include "core/text.h"
#include "install/audit/holdings.h"
#include "install/check/preflight.h"
#include "install/journal.h"
#include "install/report.h"
#include "install/site.h"
#include "install/steps/common.h"
#include "install/steps/runtime.h"
#include "install/steps/runtime_change.h"
#include "install/steps/upgrade.h"
#include "install/verbs/cmd.h"

#include <stdio.h>

#define AGAIN "run the same command again to continue"
#define GATE_S 300
#define DRAIN_S 300

struct options {
    struct kp_site_options site;
    uint64_t node_timeout, drain_timeout;
    bool plan, force_drain;
};

static const struct kp_option option_table[] = {
    KP_SITE_OPTIONS(options),
    KP_POLICY_OPTIONS(options),
    {"plan", 0, KP_OPT_FLAG, offsetof(struct options, plan), NULL,
     "show what would be done, in which order; changes nothing", 0},
    {"node-timeout", 0, KP_OPT_NUMBER, offsetof(struct options, node_timeout), "SECONDS",
     "how long a changed node may take to be well; default 300", 86400},
    {"drain-timeout", 0, KP_OPT_NUMBER, offsetof(struct options, drain_timeout), "SECONDS",
     "how long emptying a node may take; default 300", 86400},
    {"force-drain", 0, KP_OPT_FLAG, offsetof(struct options, force_drain), NULL,
     "delete pods that no controller makes anew", 0},
    {.name = NULL},
};

static int check_site(struct kp_open_site *open, struct kp_err *err)
{
    struct kp_site *site = kp_site_of(open);
    kp_auto_value(kp_findings) findings = {0};
    if (kp_site_connect(open, err) < 0 || kp_holdings_find(site, err) < 0)
        return -1;
    kp_preflight(site, &findings);
    if (findings.errors) {
        kp_preflight_print(site, &findings, stderr);
        kp_fail_as(err, KP_FAILED, "preflight", "%zu error%s found; nothing was changed",
                   findings.errors, findings.errors == 1 ? "" : "s");
        return kp_hint(err, "mend what is listed above, then " AGAIN);
    }
    return kp_upgrade_refuse_others(site, err);
}

static const char *how(enum kp_runtime_difference difference, bool begun)
{
    static const char *const texts[] = {"stays", "containers go on", "all its pods are made anew"};
    return begun ? "begun, goes on" : texts[difference];
}

static int plan_json(struct kp_site *site, json_t **out, struct kp_err *err)
{
    kp_auto_json list = json_array();
    for (size_t i = 0; i < kp_members(site); i++) {
        struct kp_site_node *node = &site->nodes[i];
        struct kp_runtime wanted = kp_node_runtime(site, node);
        struct kp_runtime_now now;
        if (node->failed) {
            *err = node->failure;
            return kp_wrap(err, "%s", node->node->name);
        }
        if (kp_runtime_ask(site, node, &now, err) < 0)
            return kp_wrap(err, "%s", node->node->name);
        enum kp_runtime_difference difference = kp_runtime_compare(&now, &wanted);
        kp_auto_free char *from =
            kp_asprintf("%s %s", now.found ? kp_runtime_kinds[now.kind] : "none", now.version);
        kp_auto_free char *to = kp_asprintf("%s %s", kp_runtime_kinds[wanted.kind], wanted.version);
        json_array_append_new(
            list,
            json_pack("{s:s, s:s, s:s, s:s, s:b}", "node", node->node->name, "now", from, "wanted",
                      to, "how", now.member ? how(difference, now.begun) : "not in the cluster yet",
                      "change", now.member && (now.begun || difference != KP_RUNTIME_SAME)));
    }
    *out = kp_steal(&list);
    return 0;
}

static size_t count_changes(const json_t *list)
{
    size_t n = 0, i;
    const json_t *one;
    json_array_foreach(list, i, one) n += json_is_true(json_object_get(one, "change"));
    return n;
}

static void print_plan(const json_t *list)
{
    static const char *const heads[] = {"NODE", "RUNTIME", "WANTED", "HOW"};
    static const char *const keys[] = {"node", "now", "wanted", "how"};
    kp_auto(kp_table) table = kp_table_new(KP_COUNT(heads), heads);
    size_t i;
    const json_t *one;
    json_array_foreach(list, i, one)
    {
        for (size_t k = 0; k < KP_COUNT(keys); k++)
            kp_table_cell(table, KP_PLAIN, "%s", json_string_value(json_object_get(one, keys[k])));
    }
    kp_table_print(table, stdout);
    printf("%s; nothing was changed\n", count_changes(list)
                                            ? "node by node: emptied, changed, well again, next"
                                            : "every node has the runtime that the inventory says");
}

static int change_site(struct kp_open_site *open, const struct options *options, const json_t *plan,
                       struct kp_err *err)
{
    struct kp_site *site = kp_site_of(open);
    double start = kp_now();
    size_t count, changes = count_changes(plan);
    const struct kp_step *const *phases = kp_runtime_phases(&count);
    if (kp_site_lock_nodes(open, err) < 0 || kp_site_accept(open, err) < 0)
        return -1;
    kp_journal_note(site->journal, "runtime", NULL, NULL, NULL);
    int result = kp_steps_run(site, phases, count, err);
    kp_journal_note(site->journal, result == 0 ? "ready" : "stopped", NULL, NULL,
                    result == 0 ? NULL : err->message);
    if (result < 0) {
        kp_report_failures(site, AGAIN, stderr);
        return -1;
    }
    if (!options->site.json)
        printf("cluster %s: the runtime of %zu node%s was changed, %s\n", site->inventory->cluster,
               changes, changes == 1 ? "" : "s", kp_text_seconds(kp_now() - start).s);
    return 0;
}

static int run_runtime(void *user, int argc, char **argv, struct kp_err *err)
{
    (void)argc;
    (void)argv;
    const struct options *options = user;
    kp_auto(kp_open_site) open = NULL;
    kp_auto_json plan = NULL;
    int flags = KP_SITE_APPLY | (options->plan ? KP_SITE_READ_ONLY | KP_SITE_DRY_RUN : 0);
    if (kp_site_open(&open, &options->site, flags, err) < 0)
        return -1;
    struct kp_site *site = kp_site_of(open);
    site->upgrade.gate_seconds = options->node_timeout ? (double)options->node_timeout : GATE_S;
    site->upgrade.drain_seconds = options->drain_timeout ? options->drain_timeout : DRAIN_S;
    site->upgrade.force_drain = options->force_drain;
    if (check_site(open, err) < 0 || plan_json(site, &plan, err) < 0)
        return -1;
    int result = options->plan ? 0 : change_site(open, options, plan, err);
    if (options->site.json) {
        kp_auto_json nodes = kp_report_nodes(site);
        kp_auto_json out = json_pack("{s:b, s:s, s:O, s:O}", "ok", result == 0, "cluster",
                                     site->inventory->cluster, "runtimes", plan, "nodes", nodes);
        kp_json_print(out);
    } else if (options->plan) {
        print_plan(plan);
    }
    return result;
}

const struct kp_command kp_cmd_runtime = {
    "runtime",
    "",
    0,
    0,
    "brings nodes of the cluster to the runtime that the inventory says, node by node",
    "Another kind or version of containerd or CRI-O on nodes that are in the cluster. Each is "
    "emptied, changed, and must be well before the next begins; the first that is not stops the "
    "run, and the same command goes on from there. Upwards within one kind containers go on; else "
    "every pod of the node is made anew.",
    option_table,
    sizeof(struct options),
    run_runtime,
};
