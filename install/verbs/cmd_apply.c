/* SPDX-License-Identifier: Apache-2.0 */
#include "core/file.h"
#include "core/interrupt.h"
#include "core/text.h"
#include "install/verbs/cmd.h"
#include "install/audit/holdings.h"
#include "install/journal.h"
#include "install/check/preflight.h"
#include "install/report.h"
#include "install/site.h"
#include "install/steps/mark.h"
#include "install/steps/runtime_change.h"
#include "install/steps/site_ca.h"
#include "install/steps/upgrade.h"

#include <stdio.h>

#define AGAIN "run the same command again to continue"

struct options {
    struct kp_site_options site;
};

static const struct kp_option option_table[] = {
    KP_SITE_OPTIONS(options), KP_POLICY_OPTIONS(options), {.name = NULL}};

static const struct kp_step *const phases[] = {
    kp_steps_mirror, kp_steps_prepare, kp_steps_runtime, kp_steps_tools,
    kp_steps_etcd,   kp_steps_init,    kp_steps_join,    kp_steps_network,
    kp_steps_addons, kp_steps_secure,  kp_steps_custom,  kp_steps_prove,
};
#define PLANNED_PHASES (KP_COUNT(phases) - 1) /* proving changes nothing that could be planned */

static void end_check(const struct kp_site *site, const struct kp_findings *findings, double start)
{
    char text[64];
    snprintf(text, sizeof(text), "%zu node%s, %zu warning%s", site->node_count,
             site->node_count == 1 ? "" : "s", findings->warnings,
             findings->warnings == 1 ? "" : "s");
    kp_screen_line(site->screen, " %s✓%s %-9s %-52s %8s", kp_colour_on(stderr, KP_GREEN),
                   kp_colour_off(stderr), "check", text, kp_text_seconds(kp_now() - start).s);
}

/* Connects and looks: all findings of all nodes, before anything changes. */
static int check_nodes(struct kp_open_site *open, const struct options *options, struct kp_err *err)
{
    struct kp_site *site = kp_site_of(open);
    kp_auto_value(kp_findings) findings = {0};
    double start = kp_now();
    if (kp_site_ca_check(site, err) < 0 || kp_site_connect(open, err) < 0 ||
        kp_holdings_find(site, err) < 0)
        return -1;
    kp_preflight(site, &findings);
    if (findings.errors) {
        kp_fail_as(err, KP_FAILED, "preflight", "%zu error%s found; nothing was changed",
                   findings.errors, findings.errors == 1 ? "" : "s");
        kp_hint(err, "mend what is listed, then " AGAIN);
        if (options->site.json) {
            kp_auto_json report = kp_preflight_json(site, &findings);
            return kp_json_end(report, -1, err);
        }
        kp_preflight_print(site, &findings, stderr);
        return -1;
    }
    if (!options->site.quiet && !options->site.json)
        kp_preflight_print_findings(&findings, stderr);
    if (kp_upgrade_refuse_others(site, err) < 0 || kp_runtime_refuse_others(site, err) < 0)
        return -1;
    end_check(site, &findings, start);
    return 0;
}

static size_t total_changes(const struct kp_site *site)
{
    size_t n = 0;
    for (size_t i = 0; i < site->node_count; i++)
        n += site->nodes[i].changes;
    return n;
}

/* Also of a run that stopped: each node has its step and reason. Returns result. */
static int end_json(const struct kp_site *site, double seconds, int result, struct kp_err *err)
{
    kp_auto_json nodes = kp_report_nodes(site);
    kp_auto_json out = json_pack("{s:s, s:s, s:I, s:f, s:f, s:O}", "cluster",
                                 site->inventory->cluster, "kubernetes", site->manifest->kubernetes,
                                 "changes", (json_int_t)total_changes(site), "seconds", seconds,
                                 "kubeadm_seconds", site->kubeadm_seconds, "nodes", nodes);
    return kp_json_end(out, result, err);
}

static void print_ready(const struct kp_site *site, double seconds)
{
    size_t changes = total_changes(site);
    kp_auto_free char *kubeconfig = kp_path_join(site->state_folder, "kubeconfig");
    printf(
        "cluster %s is ready: Kubernetes %s, %zu node%s, %s (kubeadm %s, everything else %s)%s\n",
        site->inventory->cluster, site->manifest->kubernetes, site->node_count,
        site->node_count == 1 ? "" : "s", kp_text_seconds(seconds).s,
        kp_text_seconds(site->kubeadm_seconds).s,
        kp_text_seconds(seconds - site->kubeadm_seconds).s,
        changes ? "" : "; nothing had to be changed");
    printf("  export KUBECONFIG=%s\n", kubeconfig);
}

static int install(struct kp_open_site *open, const struct options *options, struct kp_err *err)
{
    struct kp_site *site = kp_site_of(open);
    double start = kp_now();
    if (check_nodes(open, options, err) < 0)
        return -1;
    if (kp_site_lock_nodes(open, err) < 0 || kp_site_accept(open, err) < 0)
        return -1;
    site->hooks = true;
    int result = kp_steps_run(site, phases, KP_COUNT(phases), err);
    if (kp_site_insecure(open)[0]) { // marked also where the run stopped behind init
        struct kp_err unmarked = KP_ERR_INIT;
        if (kp_mark_insecure(site, &unmarked) < 0 && result == 0) {
            *err = unmarked;
            result = -1;
        }
    }
    double seconds = kp_now() - start + kp_site_verify_seconds(open);
    kp_journal_note(site->journal, result == 0 ? "ready" : "stopped", NULL, NULL,
                    result == 0 ? NULL : err->message);
    if (result < 0)
        kp_report_failures(site, AGAIN, stderr);
    if (options->site.json)
        return end_json(site, seconds, result, err);
    if (result == 0)
        print_ready(site, seconds);
    return result;
}

static int run_apply(void *user, int argc, char **argv, struct kp_err *err)
{
    (void)argc;
    (void)argv;
    const struct options *options = user;
    kp_auto(kp_open_site) open = NULL;
    if (kp_site_open(&open, &options->site, KP_SITE_APPLY, err) < 0)
        return -1;
    return install(open, options, err);
}

static int run_plan(void *user, int argc, char **argv, struct kp_err *err)
{
    (void)argc;
    (void)argv;
    const struct options *options = user;
    kp_auto(kp_open_site) open = NULL;
    if (kp_site_open(&open, &options->site, KP_SITE_APPLY | KP_SITE_READ_ONLY | KP_SITE_DRY_RUN,
                     err) < 0)
        return -1;
    struct kp_site *site = kp_site_of(open);
    if (check_nodes(open, options, err) < 0)
        return -1;
    site->hooks = true;
    int result = kp_steps_run(site, phases, PLANNED_PHASES, err);
    if (result < 0)
        kp_report_failures(site, "nothing was changed", stderr);
    if (options->site.json)
        return end_json(site, 0, result, err);
    if (result < 0)
        return -1;
    for (size_t i = 0; i < site->node_count; i++)
        printf("%-12s %zu change%s\n", site->nodes[i].node->name, site->nodes[i].changes,
               site->nodes[i].changes == 1 ? "" : "s");
    printf("%s; nothing was changed\n",
           total_changes(site) ? "this is what apply would do" : "everything is as it should be");
    return 0;
}

#define DETAILS                                                                                    \
    "Verifies every byte of the bundle before it opens a connection, checks all nodes, then "      \
    "makes "                                                                                       \
    "each node what the inventory says. A run that was cut off is simply run again."

const struct kp_command kp_cmd_main = {
    "",
    "",
    0,
    0,
    "Installs, or brings to the state that the inventory asks for (= apply).",
    DETAILS,
    option_table,
    sizeof(struct options),
    run_apply};
const struct kp_command kp_cmd_apply = {
    "apply",
    "",
    0,
    0,
    "installs, or brings to the state that the inventory asks for",
    DETAILS,
    option_table,
    sizeof(struct options),
    run_apply};
const struct kp_command kp_cmd_plan = {"plan",
                                       "",
                                       0,
                                       0,
                                       "shows per node what apply would change; changes nothing",
                                       NULL,
                                       option_table,
                                       sizeof(struct options),
                                       run_plan};
