/* SPDX-License-Identifier: Apache-2.0 */
#include "core/text.h"
#include "install/verbs/cmd.h"
#include "install/audit/holdings.h"
#include "install/journal.h"
#include "install/check/preflight.h"
#include "install/report.h"
#include "install/site.h"
#include "install/steps/common.h"
#include "install/steps/mark.h"
#include "install/steps/runtime_change.h"
#include "install/steps/upgrade.h"

#include <stdio.h>

#define AGAIN "run the same command again to continue"
#define GATE_S 300
#define DRAIN_S 300

struct options {
    struct kp_site_options site;
    uint64_t batch, node_timeout, drain_timeout;
    bool plan, force_drain;
};

static const struct kp_option option_table[] = {
    KP_SITE_OPTIONS(options),
    KP_POLICY_OPTIONS(options),
    {"plan", 0, KP_OPT_FLAG, offsetof(struct options, plan), NULL,
     "show what would be done, in which order; changes nothing", 0},
    {"batch", 0, KP_OPT_NUMBER, offsetof(struct options, batch), "N",
     "workers at once; default 1 (control planes always go one by one)", 100},
    {"node-timeout", 0, KP_OPT_NUMBER, offsetof(struct options, node_timeout), "SECONDS",
     "how long a changed node may take to be well; default 300", 86400},
    {"drain-timeout", 0, KP_OPT_NUMBER, offsetof(struct options, drain_timeout), "SECONDS",
     "how long emptying a node may take; default 300", 86400},
    {"force-drain", 0, KP_OPT_FLAG, offsetof(struct options, force_drain), NULL,
     "delete pods that no controller makes anew", 0},
    {.name = NULL},
};

struct upgrade { /* one run of the command */
    const struct options *options;
    struct kp_open_site *open;
    struct kp_site *site;
    struct kp_node_versions *versions;
    struct kp_bundle *before; /* front of the bundle that was applied last, or NULL */
};

static void upgrade_release(struct upgrade *u)
{
    kp_free(u->versions);
    kp_bundle_free(u->before);
    kp_open_site_free(u->open);
}
KP_DEFINE_AUTO_VALUE(upgrade);

/* A run that stopped behind the last program has left no node at the old version: the node that was
 * begun knows where it came from. */
static int find_origin(struct upgrade *u, struct kp_err *err)
{
    struct kp_site *site = u->site;
    char from[KP_VERSION_MAX], to[KP_VERSION_MAX];
    bool found;
    if (strcmp(site->upgrade.from, site->manifest->kubernetes) != 0)
        return 0;
    for (size_t i = 0; i < site->node_count; i++) {
        if (!u->versions[i].begun)
            continue;
        if (kp_upgrade_kept(&site->nodes[i], from, to, &found, err) < 0)
            return kp_wrap(err, "%s", site->nodes[i].node->name);
        if (found && strcmp(to, site->manifest->kubernetes) == 0)
            snprintf(site->upgrade.from, sizeof(site->upgrade.from), "%s", from);
    }
    return 0;
}

static int find_versions(struct upgrade *u, struct kp_err *err)
{
    struct kp_site *site = u->site;
    kp_auto_free const char **names = kp_alloc_array(site->node_count + 1, sizeof(*names));
    for (size_t i = 0; i < site->node_count; i++)
        names[i] = site->nodes[i].node->name;
    u->versions = kp_alloc_array(site->node_count + 1, sizeof(*u->versions));
    if (kp_upgrade_versions(u->versions, site, err) < 0 ||
        kp_upgrade_judge(site->upgrade.from, u->versions, names, site->node_count,
                         site->manifest->kubernetes, err) < 0)
        return -1;
    return find_origin(u, err);
}

/* All findings of all nodes and all versions, before anything changes. */
static int check_site(struct upgrade *u, struct kp_err *err)
{
    kp_auto_value(kp_findings) findings = {0};
    if (kp_site_connect(u->open, err) < 0 || kp_holdings_find(u->site, err) < 0)
        return -1;
    kp_preflight(u->site, &findings);
    if (findings.errors) {
        kp_preflight_print(u->site, &findings, stderr);
        kp_fail_as(err, KP_FAILED, "preflight", "%zu error%s found; nothing was changed",
                   findings.errors, findings.errors == 1 ? "" : "s");
        return kp_hint(err, "mend what is listed above, then " AGAIN);
    }
    return find_versions(u, err) < 0 ? -1 : kp_runtime_refuse_kinds(u->site, err);
}

static const char *component_version(const struct kp_manifest *m, const char *name)
{
    for (size_t i = 0; m && i < m->file_count; i++)
        if (strcmp(m->files[i].component, name) == 0)
            return m->files[i].version;
    return "";
}

/* The tag of an image of the release. */
static const char *image_version(const struct kp_manifest *m, const char *name)
{
    const struct kp_image *image = m ? kp_manifest_image(m, name) : NULL;
    const char *colon = image ? strrchr(image->reference, ':') : NULL;
    return colon ? colon + 1 : "";
}

static json_t *list_parts(const struct upgrade *u)
{
    static const char *const files[] = {"containerd", "runc", "crictl", "nerdctl", "cni-plugins"};
    static const char *const images[] = {"etcd", "coredns", "pause", "flannel"};
    const struct kp_manifest *old = u->before ? kp_bundle_manifest(u->before) : NULL;
    json_t *list = json_array();
    for (size_t i = 0; i < KP_COUNT(files) + KP_COUNT(images); i++) {
        bool file = i < KP_COUNT(files);
        const char *name = file ? files[i] : images[i - KP_COUNT(files)];
        const char *to = file ? component_version(u->site->manifest, name)
                              : image_version(u->site->manifest, name);
        const char *from = file ? component_version(old, name) : image_version(old, name);
        if (*to)
            json_array_append_new(
                list, json_pack("{s:s, s:s, s:s}", "name", name, "from", from, "to", to));
    }
    return list;
}

static const char *state_of(const struct kp_node_versions *v)
{
    return v->done ? "done" : v->begun ? "begun, goes on" : "to do";
}

static json_t *list_nodes(const struct upgrade *u)
{
    json_t *list = json_array();
    for (size_t i = 0; i < u->site->node_count; i++) {
        const struct kp_node_versions *v = &u->versions[i];
        const struct kp_site_node *node = &u->site->nodes[i];
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "name", node->node->name, "role",
                            kp_is_control_plane(node) ? "control-plane" : "worker", "kubelet",
                            v->kubelet, "control_plane", v->control, "to",
                            u->site->manifest->kubernetes, "state", state_of(v)));
    }
    return list;
}

static void print_plan(const struct upgrade *u)
{
    static const char *const heads[] = {"ORDER",         "NODE", "ROLE", "KUBELET",
                                        "CONTROL PLANE", "TO",   "STATE"};
    kp_auto(kp_table) table = kp_table_new(KP_COUNT(heads), heads);
    kp_auto_json nodes = list_nodes(u);
    kp_auto_json parts = list_parts(u);
    size_t i;
    json_t *one;
    json_array_foreach(nodes, i, one)
    {
        static const char *const keys[] = {"name",          "role", "kubelet",
                                           "control_plane", "to",   "state"};
        kp_table_cell(table, KP_PLAIN, "%zu", i + 1);
        for (size_t k = 0; k < KP_COUNT(keys); k++) {
            const char *text = json_string_value(json_object_get(one, keys[k]));
            kp_table_cell(table, KP_PLAIN, "%s", *text ? text : "-");
        }
    }
    kp_table_print(table, stdout);
    json_array_foreach(parts, i, one)
    {
        const char *name = json_string_value(json_object_get(one, "name"));
        const char *from = json_string_value(json_object_get(one, "from"));
        const char *to = json_string_value(json_object_get(one, "to"));
        printf("%-12s %s%s%s\n", name, *from && strcmp(from, to) != 0 ? from : "",
               *from && strcmp(from, to) != 0 ? " -> " : "", to);
    }
    printf("each node: kept as it is for a return, kubeadm upgrade, emptied, containerd and "
           "kubelet, well again, next\n"
           "this is what upgrade would do; nothing was changed\n");
}

static json_t *report(const struct upgrade *u)
{
    kp_auto_json nodes = kp_report_nodes(u->site);
    kp_auto_json order = list_nodes(u);
    kp_auto_json parts = list_parts(u);
    return json_pack("{s:s, s:s, s:s, s:O, s:O, s:O}", "cluster", u->site->inventory->cluster,
                     "from", u->site->upgrade.from, "to", u->site->manifest->kubernetes, "order",
                     order, "components", parts, "nodes", nodes);
}

/* The bundle of before is what a node can go back to: the mirrors keep it. */
static int keep_previous(struct upgrade *u, struct kp_err *err)
{
    const struct kp_manifest *old = u->before ? kp_bundle_manifest(u->before) : NULL;
    if (!old || kp_digest_equal(&old->id, &u->site->manifest->id))
        return 0; // a run that goes on
    return kp_previous_keep(&u->site->previous, u->site->state_folder, old, err);
}

static int change_site(struct upgrade *u, struct kp_err *err)
{
    struct kp_site *site = u->site;
    double start = kp_now();
    size_t count;
    const struct kp_step *const *phases = kp_upgrade_phases(&count);
    kp_screen_line(site->screen, "upgrade   %s to %s, %zu nodes", site->upgrade.from,
                   site->manifest->kubernetes, site->node_count);
    if (kp_site_lock_nodes(u->open, err) < 0 || keep_previous(u, err) < 0 ||
        kp_site_accept(u->open, err) < 0)
        return -1;
    kp_journal_note(site->journal, "upgrade", NULL, NULL, site->manifest->kubernetes);
    int result = kp_steps_run(site, phases, count, err);
    if (result == 0 && kp_site_insecure(u->open)[0])
        result = kp_mark_insecure(site, err);
    kp_journal_note(site->journal, result == 0 ? "ready" : "stopped", NULL, NULL,
                    result == 0 ? NULL : err->message);
    if (result < 0) {
        kp_report_failures(site, AGAIN, stderr);
        return -1;
    }
    if (!u->options->site.json)
        printf("cluster %s is at Kubernetes %s: %zu node%s, %s\n", site->inventory->cluster,
               site->manifest->kubernetes, site->node_count, site->node_count == 1 ? "" : "s",
               kp_text_seconds(kp_now() - start).s);
    return 0;
}

static int run_upgrade(void *user, int argc, char **argv, struct kp_err *err)
{
    (void)argc;
    (void)argv;
    const struct options *options = user;
    kp_auto_value(upgrade) u = {.options = options};
    int flags = KP_SITE_APPLY | (options->plan ? KP_SITE_READ_ONLY | KP_SITE_DRY_RUN : 0);
    if (kp_site_open(&u.open, &options->site, flags, err) < 0)
        return -1;
    u.site = kp_site_of(u.open);
    u.site->hooks = true;
    u.site->batch = (unsigned)options->batch;
    u.site->upgrade.gate_seconds = options->node_timeout ? (double)options->node_timeout : GATE_S;
    u.site->upgrade.drain_seconds = options->drain_timeout ? options->drain_timeout : DRAIN_S;
    u.site->upgrade.force_drain = options->force_drain;
    if (kp_site_bundle_before(u.open, &u.before, err) < 0 || check_site(&u, err) < 0)
        return -1;
    int result = options->plan ? 0 : change_site(&u, err);
    if (options->site.json) {
        kp_auto_json out = report(&u);
        return kp_json_end(out, result, err);
    }
    if (options->plan)
        print_plan(&u);
    return result;
}

const struct kp_command kp_cmd_upgrade = {
    "upgrade",
    "",
    0,
    0,
    "brings the cluster to the bundle's Kubernetes version, node by node",
    "One minor version at a time. The first control plane first, the others one by one, then "
    "workers. Each node is kept as it is for a return (kinstall rollback), emptied, changed, and "
    "must be well before the next begins. The first that is not stops the run; the same command "
    "goes on from there.",
    option_table,
    sizeof(struct options),
    run_upgrade,
};
