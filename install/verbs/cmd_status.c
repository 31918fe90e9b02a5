/* SPDX-License-Identifier: Apache-2.0 */
#include "install/check/cis.h"
#include "install/check/cis_screen.h"
#include "install/verbs/cmd.h"
#include "install/site.h"

#include <stdio.h>

struct options {
    struct kp_site_options site;
    bool cis;
};

static const struct kp_option option_table[] = {
    KP_SITE_OPTIONS(options),
    {"cis", 0, KP_OPT_FLAG, offsetof(struct options, cis), NULL,
     "the checks of the CIS Kubernetes Benchmark 1.9 on what kinstall sets", 0},
    {.name = NULL}};

#define KUBECONFIG_ENV "KUBECONFIG=/etc/kubernetes/admin.conf"
#define NODES_MAX_BYTES ((size_t)8 << 20)

/* The Ready condition of each node as the API server has it: name -> "True", "False", "Unknown". */
static int ask_cluster(struct kp_site_node *first, json_t **out, struct kp_err *err)
{
    static const char *const argv[] = {
        "/usr/local/bin/kubectl", "get", "nodes", "--request-timeout=10s", "-o", "json", NULL};
    // kubectl's cache is to lie where a reset takes it away
    static const char *const env[] = {KUBECONFIG_ENV, "HOME=/var/lib/kpack", NULL};
    const struct kp_run run = {.argv = argv, .env = env, .timeout = 30};
    kp_auto_value(kp_run_result) result = {0};
    if (kp_session_run(first->session, &run, &result, err) < 0)
        return -1;
    if (result.status != 0)
        return kp_fail_as(err, KP_FAILED, "api_unreachable", "kubectl get nodes: %.200s",
                          result.err_out.data ? result.err_out.data : "");
    return kp_json_parse(out, kp_buf_slice(&result.out), NODES_MAX_BYTES, "kubectl get nodes", err);
}

static const char *ready_state(const json_t *nodes, const char *name)
{
    size_t i, j;
    json_t *item, *condition;
    json_array_foreach(json_object_get(nodes, "items"), i, item)
    {
        const char *have = NULL;
        json_t *conditions = NULL;
        if (json_unpack(item, "{s:{s:s}, s:{s:o}}", "metadata", "name", &have, "status",
                        "conditions", &conditions) < 0 ||
            strcmp(have, name) != 0)
            continue;
        json_array_foreach(conditions, j, condition)
        {
            const char *type = json_string_value(json_object_get(condition, "type"));
            const char *status = json_string_value(json_object_get(condition, "status"));
            if (type && status && strcmp(type, "Ready") == 0)
                return status;
        }
    }
    return NULL;
}

/* A node that was reset, or never begun: it answers by SSH, and nothing of ours is there. */
static bool is_bare(const struct kp_site_node *node)
{
    return node->failed ? kp_site_is_bare(node) : !json_object_get(node->record, "cluster");
}

static const char *word_of(const struct kp_site_node *node, bool asked, const char *ready)
{
    if (!ready && is_bare(node))
        return "not installed";
    if (node->failed)
        return "unreachable";
    if (node->node->roles == KP_ROLE_ETCD)
        return "etcd"; // `kinstall etcd status` knows more
    if (!ready)
        return asked ? "not a member" : "unknown";
    return strcmp(ready, "True") == 0 ? "Ready" : "NotReady";
}

static bool is_good(const char *state)
{
    return strcmp(state, "Ready") == 0 || strcmp(state, "etcd") == 0;
}

static json_t *collect(const struct kp_site *site, const json_t *nodes, size_t *bad)
{
    json_t *list = json_array();
    for (size_t i = 0; i < site->node_count; i++) {
        const struct kp_site_node *node = &site->nodes[i];
        const char *state =
            word_of(node, nodes != NULL, nodes ? ready_state(nodes, node->node->name) : NULL);
        json_t *finished = json_object_get(node->record, "finished");
        *bad += !is_good(state);
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:O*}", "name", node->node->name,
                                              "address", node->node->address, "state", state,
                                              "finished", finished));
    }
    return list;
}

static void print_table(const struct kp_site *site, const json_t *list)
{
    static const char *const heads[] = {"NODE", "ADDRESS", "ROLE", "STATE"};
    kp_auto(kp_table) table = kp_table_new(KP_COUNT(heads), heads);
    for (size_t i = 0; i < site->node_count; i++) {
        const struct kp_node *node = site->nodes[i].node;
        const char *state = json_string_value(json_object_get(json_array_get(list, i), "state"));
        kp_table_cell(table, KP_PLAIN, "%s", node->name);
        kp_table_cell(table, KP_PLAIN, "%s", node->address);
        kp_table_cell(table, KP_PLAIN, "%s",
                      node->roles & KP_ROLE_CONTROL_PLANE ? "control-plane"
                      : node->roles & KP_ROLE_WORKER      ? "worker"
                                                          : "etcd");
        kp_table_cell(table, is_good(state) ? KP_GREEN : KP_RED, "%s", state);
    }
    kp_table_print(table, stdout);
    for (size_t i = 0; i < site->node_count; i++)
        if (site->nodes[i].failed && !is_bare(&site->nodes[i]))
            printf("  %s\n", site->nodes[i].failure.message);
}

static int show_cis(struct kp_site *site, bool as_json, struct kp_err *err)
{
    kp_auto_json report = NULL;
    if (kp_cis_report(&report, site, err) < 0)
        return -1;
    json_int_t failed = json_integer_value(json_object_get(report, "failed"));
    int result =
        failed ? kp_fail_as(err, KP_FAILED, "cis", "%lld checks failed", (long long)failed) : 0;
    if (as_json)
        return kp_json_end(report, result, err);
    kp_cis_print(report, stdout);
    return result;
}

static int run_status(void *user, int argc, char **argv, struct kp_err *err)
{
    (void)argc;
    (void)argv;
    const struct options *options = user;
    kp_auto(kp_open_site) open = NULL;
    if (kp_site_open(&open, &options->site,
                     KP_SITE_READ_ONLY | KP_SITE_NO_BUNDLE | KP_SITE_KEPT_FRONT, err) < 0 ||
        kp_site_connect(open, err) < 0)
        return -1;
    struct kp_site *site = kp_site_of(open);
    if (options->cis)
        return show_cis(site, options->site.json, err);
    kp_auto_json nodes = NULL;
    struct kp_err unreachable = KP_ERR_INIT;
    for (size_t i = 0; i < site->inventory->control_plane_count && !nodes; i++)
        if (!site->nodes[i].failed && ask_cluster(&site->nodes[i], &nodes, &unreachable) < 0)
            nodes = NULL;
    size_t bad = 0;
    kp_auto_json list = collect(site, nodes, &bad);
    int result = bad ? kp_fail_as(err, KP_FAILED, "not_ready", "%zu of %zu nodes are not Ready",
                                  bad, site->node_count)
                     : 0;
    if (!nodes && unreachable.code) {
        *err = unreachable;
        result = -1;
    }
    if (options->site.json) {
        kp_auto_json out =
            json_pack("{s:s, s:O}", "cluster", site->inventory->cluster, "nodes", list);
        return kp_json_end(out, result, err);
    }
    print_table(site, list);
    return result;
}

const struct kp_command kp_cmd_status = {
    "status",
    "",
    0,
    0,
    "shows each node as the API server and the node itself see it",
    NULL,
    option_table,
    sizeof(struct options),
    run_status,
};
