/* SPDX-License-Identifier: Apache-2.0 */
#include "core/file.h"
#include "core/pool.h"
#include "install/audit/audit.h"
#include "install/audit/audit_acknowledge.h"
#include "install/confirm.h"
#include "install/verbs/cmd.h"
#include "install/site.h"

#include <stdio.h>
#include <stdlib.h>

struct options {
    struct kp_site_options site;
    bool nodes, yes;
    const char *output, *reason;
};

static const struct kp_option option_table[] = {
    KP_SITE_OPTIONS(options),
    {"nodes", 0, KP_OPT_FLAG, offsetof(struct options, nodes), NULL,
     "look at the nodes too: hash what was placed, name what is extra (needs --bundle)", 0},
    {"insecure-no-verify", 0, KP_OPT_FLAG, offsetof(struct options, site.policy.insecure), NULL,
     "look though nobody trusted has signed the bundle", 0},
    {"output", 'o', KP_OPT_TEXT, offsetof(struct options, output), "FILE", "write the report there",
     0},
    {"reason", 0, KP_OPT_TEXT, offsetof(struct options, reason), "TEXT",
     "acknowledge: why it is so; stands in the log and in every audit", 0},
    {"yes", 0, KP_OPT_FLAG, offsetof(struct options, yes), NULL, "acknowledge: do not ask", 0},
    {.name = NULL}};

struct checking {
    struct kp_site *site;
    const struct kp_audit_book *book;
    json_t **results;
};

static int check_node(void *user, size_t item, unsigned worker, struct kp_err *err)
{
    struct checking *c = user;
    (void)worker;
    return kp_audit_node(c->site, &c->site->nodes[item], c->book, &c->results[item], err);
}

static int check_nodes(struct kp_open_site *open, const struct kp_audit_book *book, json_t *report,
                       size_t *differences, struct kp_err *err)
{
    struct kp_site *site = kp_site_of(open);
    if (kp_site_connect(open, err) < 0)
        return -1;
    kp_auto_free json_t **results = kp_alloc_array(site->node_count, sizeof(json_t *));
    struct checking checking = {site, book, results};
    int failed =
        kp_parallel(site->inventory->parallel, site->node_count, check_node, &checking, err);
    json_t *checked = json_array();
    for (size_t i = 0; i < site->node_count; i++) {
        if (!results[i])
            continue;
        *differences += json_array_size(json_object_get(results[i], "differences"));
        json_array_append_new(checked, results[i]);
    }
    json_object_set_new(report, "checked", checked);
    return failed;
}

/* Opened and verified whole by kp_site_open: what differs would have ended there. */
static void add_bundle(json_t *report, struct kp_open_site *open)
{
    const struct kp_manifest *m = kp_site_of(open)->manifest;
    if (!m)
        return;
    json_t *entries = json_array();
    for (size_t i = 0; i < m->entry_count; i++)
        json_array_append_new(entries,
                              json_pack("{s:s, s:I, s:s, s:s}", "path", m->entries[i].path, "size",
                                        (json_int_t)m->entries[i].size, "sha256",
                                        kp_digest_hex(&m->entries[i].sha256).hex, "state", "ok"));
    const char *insecure = kp_site_insecure(open);
    json_object_set_new(report, "bundle",
                        json_pack("{s:s, s:s, s:I, s:b, s:o}", "id", kp_digest_hex(&m->id).hex,
                                  "name", m->name, "serial", (json_int_t)m->serial, "trusted",
                                  !insecure[0], "entries", entries));
}

static void free_text(char **text)
{
    free(*text); // of open_memstream
}

static int write_report(const json_t *report, const struct options *options, struct kp_err *err)
{
    if (!options->output) {
        kp_audit_print(report, stdout);
        return 0;
    }
    kp_auto_free char *json = options->site.json ? kp_json_dump(report, false) : NULL;
    __attribute__((cleanup(free_text))) char *page = NULL;
    size_t len = 0;
    if (!json) {
        FILE *out = open_memstream(&page, &len);
        kp_audit_print(report, out);
        fclose(out);
    }
    return kp_file_write_atomic(options->output, kp_slice_of(json ? json : page), 0600, err);
}

static int judge(const struct kp_audit_book *book, size_t differences, struct kp_err *err)
{
    bool whole = !book->cut && !book->chain.problem_count && !json_array_size(book->problems);
    if (whole && !differences)
        return 0;
    if (!whole)
        kp_fail_as(err, KP_FAILED, "log_changed",
                   "the audit log is not what it was; the nodes keep the lines they signed, and "
                   "the next run fetches what is not in it");
    else
        kp_fail_as(err, KP_FAILED, "differences", "%zu difference%s", differences,
                   differences == 1 ? "" : "s");
    return -1;
}

/* --- acknowledge ------------------------------------------------------------------------------ */

static int find_on_nodes(const struct kp_site *site, const struct kp_audit_book *book,
                         json_t *findings, struct kp_err *err)
{
    for (size_t i = 0; i < site->node_count; i++) {
        struct kp_site_node *node = &site->nodes[i];
        kp_auto_value(kp_node_log_part) part = {0};
        kp_auto_json list = json_array();
        if (node->failed) {
            fprintf(stderr, "%s cannot be reached: what its log says is not among this: %s\n",
                    node->node->name, node->failure.message);
            continue;
        }
        if (kp_session_placed(node->session, 0, NULL, &part, err) < 0)
            return kp_wrap(err, "%s", node->node->name);
        kp_audit_compare_log(list, book, node->node->name, &part);
        (void)kp_audit_forgive(book, node->node->name, list);
        kp_audit_add_findings(findings, node->node->name, list);
    }
    return 0;
}

static void print_findings(const json_t *findings)
{
    size_t i;
    const json_t *one;
    json_array_foreach(findings, i, one)
    {
        const char *node = json_string_value(json_object_get(one, "node"));
        const char *text = json_string_value(json_object_get(one, "text"));
        json_int_t line = json_integer_value(json_object_get(one, "line"));
        if (line)
            fprintf(stderr, "  " KP_AUDIT_FILE " line %lld: %s\n", (long long)line, text);
        else
            fprintf(stderr, "  %s: %s\n", node, text);
    }
}

static int own_up(struct kp_site *site, const struct options *options, json_t *findings,
                  struct kp_err *err)
{
    size_t n = json_array_size(findings);
    kp_auto_free char *who = kp_audit_who();
    kp_auto_free char *what =
        kp_asprintf("This writes into the audit log that %s owns up to %zu finding%s for good", who,
                    n, n == 1 ? "" : "s");
    if (kp_confirm(options->yes, what, "the cluster's name", site->inventory->cluster, err) < 0)
        return -1;
    json_t *record =
        json_pack("{s:s, s:s, s:O}", "who", who, "reason", options->reason, "what", findings);
    if (!record)
        return kp_fail(err, KP_USAGE, "--reason is not text in UTF-8");
    return kp_audit_log_add(site->audit, "acknowledged", record, err);
}

static int run_acknowledge(const struct options *options, struct kp_err *err)
{
    kp_auto(kp_open_site) open = NULL;
    kp_auto_value(kp_audit_book) book = {0};
    if (!options->reason || !*options->reason || strlen(options->reason) > KP_AUDIT_REASON_MAX)
        return kp_fail(err, KP_USAGE, "--reason TEXT is needed, of at most %d bytes",
                       KP_AUDIT_REASON_MAX);
    if (options->nodes || options->output)
        return kp_fail(err, KP_USAGE, "acknowledge takes neither --nodes nor --output");
    if (kp_site_open(&open, &options->site, KP_SITE_NO_BUNDLE | KP_SITE_KEPT_FRONT, err) < 0 ||
        kp_site_connect(open, err) < 0 || kp_site_lock_nodes(open, err) < 0)
        return -1;
    struct kp_site *site = kp_site_of(open);
    if (kp_audit_book_read(&book, site->state_folder, true, err) < 0)
        return -1;
    kp_auto_json findings = kp_audit_findings_of_book(&book);
    if (find_on_nodes(site, &book, findings, err) < 0)
        return -1;
    size_t n = json_array_size(findings);
    print_findings(findings);
    if (n && own_up(site, options, findings, err) < 0)
        return -1;
    if (kp_audit_end(site, NULL, err) < 0)
        return -1;
    if (options->site.json) {
        kp_auto_json out = json_pack("{s:O}", "acknowledged", findings);
        return kp_json_end(out, 0, err);
    }
    if (n)
        printf("%zu finding%s acknowledged; every audit says so\n", n, n == 1 ? " is" : "s are");
    else
        printf("the audit log is whole: there is nothing to acknowledge\n");
    return 0;
}

static int run_audit(void *user, int argc, char **argv, struct kp_err *err)
{
    const struct options *options = user;
    kp_auto(kp_open_site) open = NULL;
    kp_auto_value(kp_audit_book) book = {0};
    size_t differences = 0;
    if (argc && strcmp(argv[0], "acknowledge") == 0)
        return run_acknowledge(options, err);
    if (argc)
        return kp_fail(err, KP_USAGE, "%s: nothing or acknowledge is what audit takes", argv[0]);
    if (options->reason || options->yes)
        return kp_fail(err, KP_USAGE, "--reason and --yes are of audit acknowledge");
    if (options->nodes && !options->site.bundle)
        return kp_fail(err, KP_USAGE, "--nodes needs --bundle FILE: what was signed is in it");
    if (kp_site_open(&open, &options->site, KP_SITE_READ_ONLY | KP_SITE_NO_BUNDLE, err) < 0)
        return -1;
    const struct kp_site *site = kp_site_of(open);
    if (kp_audit_book_read(&book, site->state_folder, true, err) < 0)
        return -1;
    kp_auto_json report = kp_audit_report(&book, site->state_folder, site->inventory->cluster);
    add_bundle(report, open);
    if (options->nodes && check_nodes(open, &book, report, &differences, err) < 0)
        return -1;
    int result = judge(&book, differences, err);
    if (options->site.json && !options->output)
        return kp_json_end(report, result, err);
    struct kp_err failure = KP_ERR_INIT;
    if (write_report(report, options, &failure) < 0) {
        *err = failure;
        return -1;
    }
    if (options->site.json) {
        kp_auto_json out = json_pack("{s:s}", "file", options->output);
        return kp_json_end(out, result, err);
    }
    return result;
}

const struct kp_command kp_cmd_audit = {
    "audit",
    "[acknowledge]",
    0,
    1,
    "who installed what from where, and whether it is so still",
    "Reads the site's audit log: every run with its bundle, its signers and the policy under which "
    "it was accepted, and every file with the node's own signed word for it. With --nodes each "
    "node is looked at again: files that differ from what was signed or placed, extra units, "
    "drop-ins, static pods, plugins and images are named. Changes nothing. Exit code 0: all is as "
    "it was; 1: something differs. acknowledge: what is wrong with the log itself (lines that are "
    "lost, a node that was made anew) is owned up to, in the log: by whom and why; every later "
    "audit shows that instead.",
    option_table,
    sizeof(struct options),
    run_audit,
};
