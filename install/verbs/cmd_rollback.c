/* SPDX-License-Identifier: Apache-2.0 */
#include "install/audit/audit_log.h"
#include "install/verbs/cmd.h"
#include "install/journal.h"
#include "install/report.h"
#include "install/site.h"
#include "install/steps/common.h"
#include "install/steps/upgrade.h"

#include <stdio.h>

#define GATE_S 300
#define DRAIN_S 300

struct options {
    struct kp_site_options site;
    uint64_t node_timeout, drain_timeout;
    bool force_drain;
};

static const struct kp_option option_table[] = {
    KP_SITE_OPTIONS(options),
    {"node-timeout", 0, KP_OPT_NUMBER, offsetof(struct options, node_timeout), "SECONDS",
     "how long the node may take to be well; default 300", 86400},
    {"drain-timeout", 0, KP_OPT_NUMBER, offsetof(struct options, drain_timeout), "SECONDS",
     "how long emptying a node that is Ready may take; default 300", 86400},
    {"force-drain", 0, KP_OPT_FLAG, offsetof(struct options, force_drain), NULL,
     "delete pods that no controller makes anew", 0},
    {.name = NULL},
};

static int find_node(struct kp_site *site, const char *name, struct kp_site_node **out,
                     struct kp_err *err)
{
    for (size_t i = 0; i < site->node_count; i++)
        if (strcmp(site->nodes[i].node->name, name) == 0) {
            *out = &site->nodes[i];
            return 0;
        }
    return kp_fail(err, KP_USAGE, "%s: no such node in %s", name, site->inventory->path);
}

/* A kubelet must never be newer than the API server that it talks to. */
static int check_others(struct kp_site *site, const struct kp_site_node *node, const char *to,
                        struct kp_err *err)
{
    kp_auto_free struct kp_node_versions *versions =
        kp_alloc_array(site->node_count + 1, sizeof(*versions));
    if (!kp_is_control_plane(node))
        return 0;
    if (kp_upgrade_versions(versions, site, err) < 0)
        return -1;
    for (size_t i = 0; i < site->node_count; i++) {
        const struct kp_site_node *other = &site->nodes[i];
        if (other == node || kp_is_control_plane(other) || strcmp(versions[i].kubelet, to) != 0)
            continue;
        kp_fail_as(err, KP_FAILED, "skew",
                   "%s has the kubelet of %s already, which must not be newer than the API server",
                   other->node->name, to);
        return kp_hint(err, "first: kinstall rollback %s -i %s", other->node->name,
                       site->inventory->path);
    }
    return 0;
}

static int take_back(struct kp_site *site, struct kp_site_node *node, bool json, struct kp_err *err)
{
    char from[KP_VERSION_MAX] = "", to[KP_VERSION_MAX] = "";
    bool found;
    if (kp_upgrade_kept(node, from, to, &found, err) < 0)
        return -1;
    if (!found || strcmp(from, to) == 0) {
        kp_fail_as(err, KP_MISSING, "nothing_kept", "%s keeps nothing of before in " KP_KEPT_FOLDER,
                   node->node->name);
        return kp_hint(err, "only a node whose upgrade was begun can be taken back");
    }
    if (check_others(site, node, to, err) < 0 || kp_upgrade_refuse_etcd(site, node, err) < 0)
        return -1;
    kp_screen_line(site->screen, "rollback  %s: %s to %s", node->node->name, to, from);
    if (kp_upgrade_restore(site, node, from, err) < 0)
        return -1;
    if (!json)
        printf("%s is back at %s and Ready; upgrade begins with it anew\n", node->node->name, from);
    return 0;
}

static int run_rollback(void *user, int argc, char **argv, struct kp_err *err)
{
    (void)argc;
    const struct options *options = user;
    kp_auto(kp_open_site) open = NULL;
    struct kp_site_node *node = NULL;
    if (kp_site_open(&open, &options->site, KP_SITE_NO_BUNDLE | KP_SITE_KEPT_FRONT, err) < 0)
        return -1;
    struct kp_site *site = kp_site_of(open);
    site->upgrade.gate_seconds = options->node_timeout ? (double)options->node_timeout : GATE_S;
    site->upgrade.drain_seconds = options->drain_timeout ? options->drain_timeout : DRAIN_S;
    site->upgrade.force_drain = options->force_drain;
    // Again behind connecting, which may have put another control plane in front.
    if (find_node(site, argv[0], &node, err) < 0 || kp_site_connect(open, err) < 0 ||
        find_node(site, argv[0], &node, err) < 0)
        return -1;
    if (node->failed) {
        *err = node->failure;
        return kp_wrap(err, "%s", node->node->name);
    }
    if (kp_site_lock_nodes(open, err) < 0)
        return -1;
    kp_journal_note(site->journal, "rollback", node->node->name, NULL, NULL);
    int result = take_back(site, node, options->site.json, err);
    struct kp_err failure = KP_ERR_INIT;
    if (kp_audit_log_end(site->audit, result == 0 ? NULL : err->message, &failure) < 0 &&
        result == 0) {
        *err = failure;
        result = -1;
    }
    return options->site.json ? kp_report_end(site, result, err) : result;
}

const struct kp_command kp_cmd_rollback = {
    "rollback",
    "NODE",
    1,
    1,
    "takes one node back to what it was before its upgrade",
    "Programs, configuration and, on a control plane, static pods come back from what the node "
    "kept; then it must be Ready with its old version. A node that is Ready is emptied first. "
    "Nothing "
    "of the cluster's data is touched.",
    option_table,
    sizeof(struct options),
    run_rollback,
};
