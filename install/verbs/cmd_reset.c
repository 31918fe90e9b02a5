/* SPDX-License-Identifier: Apache-2.0 */
#include "core/file.h"
#include "install/audit/audit_log.h"
#include "install/verbs/cmd.h"
#include "install/confirm.h"
#include "install/journal.h"
#include "install/report.h"
#include "install/site.h"

#include <stdio.h>
#include <unistd.h>

struct options {
    struct kp_site_options site;
    struct kp_text_list nodes;
    bool yes;
};

static const struct kp_option option_table[] = {
    KP_SITE_OPTIONS(options),
    {"node", 'n', KP_OPT_LIST, offsetof(struct options, nodes), "NAME",
     "only this node (may be given several times)", 0},
    {"yes", 'y', KP_OPT_FLAG, offsetof(struct options, yes), NULL,
     "do not ask; the cluster's data on these nodes are lost", 0},
    {.name = NULL},
};

static bool is_chosen(const struct options *options, const char *name)
{
    for (size_t i = 0; i < options->nodes.count; i++)
        if (strcmp(options->nodes.items[i], name) == 0)
            return true;
    return options->nodes.count == 0;
}

static int check_names(const struct options *options, const struct kp_site *site,
                       struct kp_err *err)
{
    for (size_t i = 0; i < options->nodes.count; i++) {
        size_t j = 0;
        while (j < site->node_count &&
               strcmp(site->nodes[j].node->name, options->nodes.items[i]) != 0)
            j++;
        if (j == site->node_count)
            return kp_fail(err, KP_USAGE, "--node %s: no such node in %s", options->nodes.items[i],
                           site->inventory->path);
    }
    return 0;
}

static int confirm(const struct options *options, const struct kp_site *site, struct kp_err *err)
{
    kp_auto_value(kp_buf) what = KP_BUF((size_t)1 << 20);
    kp_buf_adds(&what, "This takes Kubernetes and all its data from:");
    for (size_t i = 0; i < site->node_count; i++)
        if (is_chosen(options, site->nodes[i].node->name))
            kp_buf_addf(&what, " %s", site->nodes[i].node->name);
    return kp_confirm(options->yes, kp_buf_slice(&what).ptr, "the cluster's name",
                      site->inventory->cluster, err);
}

/* false: its line has stopped. */
static bool reset_node(struct kp_site *site, struct kp_site_node *node, bool quiet)
{
    // An earlier run that was cut off came to the end with it.
    bool bare = kp_site_is_bare(node);
    if (!bare && !node->failed && kp_node_reset(site, node, &node->failure) < 0) {
        node->failed = true;
        node->failed_step = kp_strdup("reset");
    }
    if (bare)
        node->failed = false;
    if (node->failed || quiet)
        return !node->failed;
    if (bare)
        printf("%-12s nothing of kinstall's is there\n", node->node->name);
    else
        printf("%-12s reset, %zu change%s\n", node->node->name, node->changes,
               node->changes == 1 ? "" : "s");
    return true;
}

/* A node that cannot be reached stops its own line only: the others are reset all the same. */
static size_t reset_nodes(struct kp_site *site, const struct options *options)
{
    size_t failed = 0;
    for (size_t i = 0; i < site->node_count; i++) {
        struct kp_site_node *node = &site->nodes[i];
        if (!is_chosen(options, node->node->name)) {
            node->failed = false;
            continue;
        }
        failed += !reset_node(site, node, options->site.json);
    }
    return failed;
}

static int run_reset(void *user, int argc, char **argv, struct kp_err *err)
{
    (void)argc;
    (void)argv;
    const struct options *options = user;
    kp_auto(kp_open_site) open = NULL;
    if (kp_site_open(&open, &options->site, KP_SITE_NO_BUNDLE | KP_SITE_KEPT_FRONT, err) < 0)
        return -1;
    struct kp_site *site = kp_site_of(open);
    if (check_names(options, site, err) < 0 || confirm(options, site, err) < 0 ||
        kp_site_connect(open, err) < 0 || kp_site_lock_nodes(open, err) < 0)
        return -1;
    kp_journal_note(site->journal, "reset", NULL, NULL, NULL);
    size_t failed = reset_nodes(site, options);
    if (kp_audit_log_end(site->audit, failed ? "not every node was reset" : NULL, err) < 0)
        return -1;
    if (failed) {
        kp_report_failures(site, "run the same command again", stderr);
        kp_fail_as(err, KP_FAILED, "node_failed", "%zu node%s could not be reset", failed,
                   failed == 1 ? "" : "s");
    } else if (!options->nodes.count) {
        kp_auto_free char *kubeconfig = kp_path_join(site->state_folder, "kubeconfig");
        (void)unlink(kubeconfig);
    }
    int result = failed ? -1 : 0;
    return options->site.json ? kp_report_end(site, result, err) : result;
}

const struct kp_command kp_cmd_reset = {
    "reset",
    "",
    0,
    0,
    "takes away what kinstall put on the nodes, and only that",
    "Leaves SSH, foreign firewall rules and foreign files as they are.",
    option_table,
    sizeof(struct options),
    run_reset,
};
