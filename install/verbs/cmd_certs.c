/* SPDX-License-Identifier: Apache-2.0 */
#include "core/file.h"
#include "core/text.h"
#include "install/verbs/cmd.h"
#include "install/check/lifetimes.h"
#include "install/journal.h"
#include "install/pki/pki.h"
#include "install/report.h"
#include "install/site.h"
#include "install/steps/approve.h"
#include "install/steps/common.h"
#include "install/steps/renew.h"
#include "install/steps/site_ca.h"

#include <stdio.h>
#include <time.h>

#define DAY_S 86400L
#define WARN_DAYS 30
#define FILE_MAX ((size_t)256 << 10)
#define GATE_S 300
#define AGAIN "run the same command again to continue"

struct options {
    struct kp_site_options site;
    uint64_t days, node_timeout;
    const char *output;
    bool plan;
};

static const struct kp_option option_table[] = {
    KP_SITE_OPTIONS(options),
    {"days", 0, KP_OPT_NUMBER, offsetof(struct options, days), "N",
     "check: what ends within so many days counts as a fault (30); renew: only that (all)", 36500},
    {"plan", 0, KP_OPT_FLAG, offsetof(struct options, plan), NULL,
     "renew: show what would be done; changes nothing", 0},
    {"output", 'o', KP_OPT_TEXT, offsetof(struct options, output), "FILE",
     "request: where to write it; standard output if not given", 0},
    {"node-timeout", 0, KP_OPT_NUMBER, offsetof(struct options, node_timeout), "SECONDS",
     "renew: how long a changed node may take to be well; default 300", 86400},
    {.name = NULL},
};

static const char *const own[] = {"mirror-ca.pem", "mirror.pem", "etcd/ca.pem", "site-ca.pem"};

struct checking {
    json_t *list;
    time_t now;
    long days;
    size_t bad;
    json_t *requests; /* for certificates, that the rules left alone */
    size_t refused;
    const char *node; /* that is looked at */
};

static void add(struct checking *c, const char *node, const struct kp_lifetime *life)
{
    long left = (long)((life->ends - c->now) / DAY_S);
    bool ok = life->ends > c->now && left >= c->days;
    c->bad += !ok;
    json_array_append_new(c->list, json_pack("{s:s, s:s, s:s, s:s, s:I, s:b}", "node", node, "file",
                                             life->path, "name", life->name, "ends",
                                             kp_text_utc(life->ends).s, "days", (json_int_t)left,
                                             "ok", (int)ok));
}

static int visit(void *user, const struct kp_lifetime *life, struct kp_err *err)
{
    struct checking *c = user;
    (void)err;
    add(c, c->node, life);
    return 0;
}

static int look_here(struct checking *c, const struct kp_site *site, struct kp_err *err)
{
    for (size_t i = 0; i < KP_COUNT(own); i++) {
        kp_auto_free char *path = kp_path_join(site->state_folder, own[i]), *text = NULL;
        struct kp_lifetime life = {.path = path};
        size_t len;
        if (!kp_file_exists(path))
            continue;
        if (kp_file_read(path, FILE_MAX, &text, &len, err) < 0 ||
            kp_pki_life(&life.begins, &life.ends, life.name, sizeof(life.name),
                        (struct kp_slice){text, len}, err) < 0)
            return kp_wrap(err, "%s", path);
        add(c, "(this host)", &life);
    }
    return 0;
}

static void print_list(const struct checking *c)
{
    static const char *const heads[] = {"NODE", "CERTIFICATE", "NAME", "ENDS", "DAYS LEFT"};
    kp_auto(kp_table) table = kp_table_new(KP_COUNT(heads), heads);
    size_t i;
    const json_t *item;
    kp_table_right(table, 4);
    json_array_foreach(c->list, i, item)
    {
        bool ok = json_is_true(json_object_get(item, "ok"));
        kp_table_cell(table, KP_PLAIN, "%s", json_string_value(json_object_get(item, "node")));
        kp_table_cell(table, KP_PLAIN, "%s", json_string_value(json_object_get(item, "file")));
        kp_table_cell(table, KP_PLAIN, "%s", json_string_value(json_object_get(item, "name")));
        kp_table_cell(table, KP_PLAIN, "%s", json_string_value(json_object_get(item, "ends")));
        kp_table_cell(table, ok ? KP_PLAIN : KP_RED, "%lld",
                      (long long)json_integer_value(json_object_get(item, "days")));
    }
    kp_table_print(table, stdout);
    json_array_foreach(c->requests, i, item)
    {
        printf("%sleft alone%s: the request %s of %s: %s\n", kp_colour_on(stdout, KP_RED),
               kp_colour_off(stdout), json_string_value(json_object_get(item, "request")),
               json_string_value(json_object_get(item, "requester")),
               json_string_value(json_object_get(item, "why")));
    }
}

/* Each control plane sees the same requests: those that a first one named are not named again. */
static bool is_listed(const struct checking *c, const json_t *one)
{
    size_t i;
    const json_t *item;
    json_array_foreach(c->requests, i, item)
    {
        if (json_equal(json_object_get(item, "request"), json_object_get(one, "name")))
            return true;
    }
    return false;
}

static int look_at_requests(struct checking *c, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_json refused = NULL;
    size_t i;
    const json_t *one;
    if (!kp_is_control_plane(node))
        return 0;
    if (kp_approve_refused(node, &refused, err) < 0)
        return -1;
    json_array_foreach(refused, i, one)
    {
        if (is_listed(c, one))
            continue;
        c->refused++;
        json_array_append_new(c->requests,
                              json_pack("{s:s, s:O?, s:O?, s:O?}", "node", node->node->name,
                                        "request", json_object_get(one, "name"), "requester",
                                        json_object_get(one, "requester"), "why",
                                        json_object_get(one, "why")));
    }
    return 0;
}

static int check_nodes(struct checking *c, struct kp_site *site, struct kp_err *err)
{
    for (size_t i = 0; i < site->node_count; i++) {
        struct kp_site_node *node = &site->nodes[i];
        if (node->failed) {
            fprintf(stderr, "%s cannot be reached: %s\n", node->node->name, node->failure.message);
            c->bad++;
            continue;
        }
        c->node = node->node->name;
        if (kp_lifetimes(node, visit, c, err) < 0 || look_at_requests(c, node, err) < 0)
            return -1;
    }
    return look_here(c, site, err);
}

static int run_check(const struct options *options, struct kp_err *err)
{
    kp_auto(kp_open_site) open = NULL;
    if (kp_site_open(&open, &options->site,
                     KP_SITE_READ_ONLY | KP_SITE_NO_BUNDLE | KP_SITE_KEPT_FRONT, err) < 0 ||
        kp_site_connect(open, err) < 0)
        return -1;
    kp_auto_json list = json_array();
    kp_auto_json requests = json_array();
    struct checking c = {.list = list,
                         .requests = requests,
                         .now = time(NULL),
                         .days = options->days ? (long)options->days : WARN_DAYS};
    if (check_nodes(&c, kp_site_of(open), err) < 0)
        return -1;
    if (c.bad) {
        kp_fail_as(err, KP_FAILED, "certificates", "%zu end within %ld days, or could not be read",
                   c.bad, c.days);
        kp_hint(err, "kinstall certs renew makes anew all but the CAs (docs/operations.md)");
    } else if (c.refused) {
        kp_fail_as(err, KP_FAILED, "requests", "%zu request%s for a certificate %s left alone",
                   c.refused, c.refused == 1 ? "" : "s", c.refused == 1 ? "is" : "are");
        kp_hint(err, "find out who made them; then: kubectl certificate deny NAME");
    }
    int result = c.bad || c.refused ? -1 : 0;
    if (options->site.json) {
        kp_auto_json out =
            json_pack("{s:s, s:I, s:O, s:O}", "cluster", kp_site_of(open)->inventory->cluster,
                      "days", (json_int_t)c.days, "certificates", list, "requests", requests);
        return kp_json_end(out, result, err);
    }
    print_list(&c);
    return result;
}

static int check_reached(const struct kp_site *site, struct kp_err *err)
{
    for (size_t i = 0; i < site->node_count; i++) {
        if (!site->nodes[i].failed)
            continue;
        kp_fail_as(err, KP_FAILED, "node_failed", "%s cannot be reached: %s; nothing was changed",
                   site->nodes[i].node->name, site->nodes[i].failure.message);
        return kp_hint(err, "a node that is dead for good: kinstall remove %s --force-dead",
                       site->nodes[i].node->name);
    }
    if (!site->manifest) {
        kp_fail_as(err, KP_MISSING, "no_bundle", "%s does not know what was installed",
                   site->state_folder);
        return kp_hint(err, "give the bundle: --bundle FILE");
    }
    return 0;
}

/* Returns result. */
static int end_renewal(const struct kp_site *site, const struct options *options, int result,
                       struct kp_err *err)
{
    size_t changes = 0;
    for (size_t i = 0; i < site->node_count; i++)
        changes += site->nodes[i].changes;
    if (options->site.json) {
        kp_auto_json nodes = kp_report_nodes(site);
        kp_auto_json out =
            json_pack("{s:s, s:b, s:I, s:O}", "cluster", site->inventory->cluster, "plan",
                      (int)options->plan, "changes", (json_int_t)changes, "nodes", nodes);
        return kp_json_end(out, result, err);
    }
    if (result == 0 && options->plan)
        printf("this is what certs renew would do; nothing was changed\n");
    else if (result == 0)
        printf("certificates of %s are renewed%s\n", site->inventory->cluster,
               changes ? "" : ": none of them was due");
    return result;
}

static int run_renew(const struct options *options, struct kp_err *err)
{
    kp_auto(kp_open_site) open = NULL;
    bool again;
    size_t count;
    const struct kp_step *const *phases = kp_renew_phases(&count);
    int flags = KP_SITE_NO_BUNDLE | KP_SITE_KEPT_FRONT |
                (options->plan ? KP_SITE_READ_ONLY | KP_SITE_DRY_RUN : 0);
    if (kp_site_open(&open, &options->site, flags, err) < 0 || kp_site_connect(open, err) < 0)
        return -1;
    struct kp_site *site = kp_site_of(open);
    site->upgrade.gate_seconds = options->node_timeout ? (double)options->node_timeout : GATE_S;
    if (check_reached(site, err) < 0 || (!options->plan && kp_site_lock_nodes(open, err) < 0) ||
        kp_renew_begin(site, (long)options->days, &again, err) < 0)
        return -1;
    if (again)
        kp_screen_line(site->screen, "going on with the renewal that was begun %s",
                       kp_text_utc(site->renew.started).s);
    kp_journal_note(site->journal, "certs renew", NULL, NULL, site->renew.id);
    int result = kp_steps_run(site, phases, count, err);
    if (result < 0) {
        kp_report_failures(site, AGAIN, stderr);
        kp_hint(err, AGAIN);
    } else if (!options->plan) {
        result = kp_renew_end(site, err);
    }
    return end_renewal(site, options, result, err);
}

/* Of this host alone: no node is asked. */
static int run_request(const struct options *options, struct kp_err *err)
{
    kp_auto(kp_inventory) inventory = NULL;
    kp_auto_free char *csr = NULL;
    if (!options->site.inventory)
        return kp_fail(err, KP_USAGE, "--inventory FILE is missing");
    if (kp_inventory_load(&inventory, options->site.inventory, err) < 0 ||
        kp_site_ca_request(&csr, inventory, err) < 0)
        return -1;
    if (options->output)
        return kp_file_write_atomic(options->output, kp_slice_of(csr), 0644, err);
    fputs(csr, stdout);
    return 0;
}

static int run_accept(const struct options *options, const char *path, struct kp_err *err)
{
    kp_auto(kp_inventory) inventory = NULL;
    if (!options->site.inventory)
        return kp_fail(err, KP_USAGE, "--inventory FILE is missing");
    if (!path)
        return kp_fail(err, KP_USAGE, "the signed certificate is missing: certs accept FILE");
    if (kp_inventory_load(&inventory, options->site.inventory, err) < 0 ||
        kp_site_ca_accept(inventory, path, err) < 0)
        return -1;
    printf("the next cluster of %s gets this CA\n", options->site.inventory);
    return 0;
}

static int run_certs(void *user, int argc, char **argv, struct kp_err *err)
{
    const struct options *options = user;
    if (argc > 1 && strcmp(argv[0], "accept") != 0)
        return kp_fail(err, KP_USAGE, "certs %s takes no more words", argv[0]);
    if (strcmp(argv[0], "request") == 0)
        return run_request(options, err);
    if (strcmp(argv[0], "accept") == 0)
        return run_accept(options, argc > 1 ? argv[1] : NULL, err);
    if (strcmp(argv[0], "renew") == 0)
        return run_renew(options, err);
    if (strcmp(argv[0], "check") != 0)
        return kp_fail(err, KP_USAGE, "check, renew, request or accept is needed, not %s", argv[0]);
    if (options->plan || options->node_timeout)
        return kp_fail(err, KP_USAGE, "--plan and --node-timeout are of certs renew");
    return run_check(options, err);
}

const struct kp_command kp_cmd_certs = {
    "certs",
    "check|renew|request|accept [FILE]",
    1,
    2,
    "every certificate of every node and when it ends; renew: made anew, node by node",
    "check: exit code 1 where one ends within --days. Kubernetes' own, those inside kubeconfigs, "
    "the "
    "kubelets', external etcd's, the mirrors', and the CAs of this host. renew: all of them but "
    "the CAs, and kubelets' that were not rotated; what reads them is restarted node by node, each "
    "well before the next. Cut off, the same command goes on.",
    option_table,
    sizeof(struct options),
    run_certs,
};
