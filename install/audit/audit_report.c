/* SPDX-License-Identifier: Apache-2.0 */
/* The audit's report: one JSON document, and one page for people made of it. */
#include "install/audit/audit.h"

#include "core/screen.h"

#include <stdio.h>

static const char *state_of(const struct kp_audit_book *book)
{
    if (!book->chain.head.count)
        return book->cut ? "cut" : "missing";
    if (book->chain.problem_count || json_array_size(book->problems))
        return "broken";
    return book->cut ? "cut" : "whole";
}

static json_t *problems_of(const struct kp_audit_book *book)
{
    json_t *list = json_deep_copy(book->problems);
    for (size_t i = 0; i < book->chain.problem_count && i < KP_CHAIN_PROBLEMS_MAX; i++)
        json_array_append_new(list, json_pack("{s:I, s:s}", "line",
                                              (json_int_t)book->chain.problems[i].line, "text",
                                              book->chain.problems[i].text));
    return list;
}

static json_t *nodes_of(const struct kp_audit_book *book)
{
    json_t *list = json_array(), *node, *file;
    const char *name, *path;
    json_object_foreach(book->nodes, name, node)
    {
        json_t *files = json_array(), *made = json_array();
        json_object_foreach(json_object_get(node, "files"), path, file)
            json_array_append(files, file);
        json_object_foreach(json_object_get(node, "seen"), path, file)
            json_array_append(made, file);
        json_array_append_new(list, json_pack("{s:s, s:O?, s:O?, s:o, s:o}", "name", name, "key",
                                              json_object_get(node, "key"), "lines",
                                              json_object_get(node, "count"), "files", files,
                                              "made_by_the_cluster", made));
    }
    return list;
}

json_t *kp_audit_report(const struct kp_audit_book *book, const char *state_folder,
                        const char *cluster)
{
    json_t *log = json_pack(
        "{s:s, s:s, s:s, s:I, s:I, s:s, s:I, s:o}", "folder", state_folder, "file", KP_AUDIT_FILE,
        "state", state_of(book), "lines", (json_int_t)book->chain.head.count, "kept_lines",
        (json_int_t)book->kept.count, "head", kp_digest_hex(&book->chain.head.digest).hex,
        "torn_bytes", (json_int_t)book->chain.torn, "problems", problems_of(book));
    return json_pack("{s:s, s:s, s:o, s:O, s:O, s:o}", "kind", "kpack.audit/v1", "cluster", cluster,
                     "log", log, "acknowledged", book->acknowledged, "runs", book->runs, "nodes",
                     nodes_of(book));
}

static void print_log(const json_t *log, FILE *out)
{
    const char *state = kp_json_string(log, "state");
    bool whole = strcmp(state, "whole") == 0;
    size_t i;
    const json_t *problem;
    fprintf(out, "log       %lld lines, %s%s%s   head %.16s…\n",
            (long long)json_integer_value(json_object_get(log, "lines")),
            kp_colour_on(out, whole ? KP_GREEN : KP_RED), state, kp_colour_off(out),
            kp_json_string(log, "head"));
    if (strcmp(state, "cut") == 0)
        fprintf(out, "  %s%s/%s had %lld lines when the last run ended (%s)%s\n",
                kp_colour_on(out, KP_RED), kp_json_string(log, "folder"),
                kp_json_string(log, "file"),
                (long long)json_integer_value(json_object_get(log, "kept_lines")),
                KP_AUDIT_HEAD_FILE, kp_colour_off(out));
    json_array_foreach(json_object_get(log, "problems"), i, problem)
        fprintf(out, "  %sline %lld: %s%s\n", kp_colour_on(out, KP_RED),
                (long long)json_integer_value(json_object_get(problem, "line")),
                kp_json_string(problem, "text"), kp_colour_off(out));
    if (json_integer_value(json_object_get(log, "torn_bytes")))
        fprintf(out, "  its last line was being written when a run was ended: no tampering\n");
}

static void print_acknowledged(const json_t *list, FILE *out)
{
    size_t i;
    const json_t *one;
    json_array_foreach(list, i, one)
    {
        size_t n = json_array_size(json_object_get(one, "what"));
        fprintf(out, "owned up  %s by %s to %zu finding%s: %s\n", kp_json_string(one, "time"),
                kp_json_string(one, "who"), n, n == 1 ? "" : "s", kp_json_string(one, "reason"));
    }
}

static void name_signers(struct kp_buf *buf, const json_t *run)
{
    size_t i;
    const json_t *signer;
    json_array_foreach(json_object_get(run, "signers"), i, signer)
    {
        if (strcmp(kp_json_string(signer, "state"), "valid") == 0)
            kp_buf_addf(buf, "%s%s (%.8s)", buf->len ? ", " : "", kp_json_string(signer, "name"),
                        kp_json_string(signer, "key"));
    }
}

static void print_policy(struct kp_table *table, const json_t *policy)
{
    bool given = json_array_size(json_object_get(policy, "keys_given")) > 0;
    bool downgrade = json_is_true(json_object_get(policy, "downgrade")) ||
                     json_integer_value(json_object_get(policy, "downgrade")) > 0;
    bool expired = json_is_true(json_object_get(policy, "expired"));
    kp_table_cell(table, downgrade || expired ? KP_YELLOW : KP_PLAIN, "%lld of %lld%s%s%s",
                  (long long)json_integer_value(json_object_get(policy, "valid")),
                  (long long)json_integer_value(json_object_get(policy, "threshold")),
                  given ? ", --key" : "", downgrade ? ", downgrade allowed" : "",
                  expired ? ", expired allowed" : "");
}

static void print_run(struct kp_table *table, const json_t *run)
{
    const json_t *policy = json_object_get(run, "policy"), *bundle = json_object_get(run, "bundle");
    bool insecure = json_is_true(json_object_get(policy, "insecure"));
    const char *result = kp_json_string(json_object_get(run, "end"), "result");
    kp_auto_value(kp_buf) signers = KP_BUF(4096);
    name_signers(&signers, run);
    kp_table_cell(table, KP_PLAIN, "%s", kp_json_string(run, "time"));
    kp_table_cell(table, KP_PLAIN, "%s", kp_json_string(run, "who"));
    kp_table_cell(table, KP_PLAIN, "%s %.12s", kp_json_string(bundle, "name"),
                  kp_json_string(bundle, "id"));
    if (insecure)
        kp_table_cell(table, KP_RED, "NOT VERIFIED");
    else
        kp_table_cell(table, KP_PLAIN, "%s", kp_buf_slice(&signers).ptr);
    print_policy(table, policy);
    kp_table_cell(table, strcmp(result, "done") == 0 ? KP_GREEN : KP_YELLOW, "%s",
                  *result ? result : "cut off");
}

static void print_runs(const json_t *runs, FILE *out)
{
    static const char *const heads[] = {"RUN", "BY", "BUNDLE", "SIGNED BY", "POLICY", "RESULT"};
    kp_auto(kp_table) table = kp_table_new(KP_COUNT(heads), heads);
    size_t i;
    const json_t *run;
    json_array_foreach(runs, i, run) print_run(table, run);
    if (json_array_size(runs))
        kp_table_print(table, out);
}

static void print_differences(const json_t *node, FILE *out)
{
    size_t i;
    const json_t *one;
    json_array_foreach(json_object_get(node, "differences"), i, one)
        fprintf(out, "  %s%-8s%s %s %s\n", kp_colour_on(out, KP_RED), kp_json_string(one, "what"),
                kp_colour_off(out), kp_json_string(one, "path"), kp_json_string(one, "text"));
}

static void print_checked(const json_t *checked, FILE *out)
{
    size_t i;
    const json_t *node;
    json_array_foreach(checked, i, node)
    {
        size_t n = json_array_size(json_object_get(node, "differences"));
        fprintf(out, "%-9s %lld files and %lld images looked at, %s%zu difference%s%s\n",
                kp_json_string(node, "name"),
                (long long)json_integer_value(json_object_get(node, "files")),
                (long long)json_integer_value(json_object_get(node, "images")),
                kp_colour_on(out, n ? KP_RED : KP_GREEN), n, n == 1 ? "" : "s", kp_colour_off(out));
        print_differences(node, out);
    }
}

void kp_audit_print(const json_t *report, FILE *out)
{
    const json_t *checked = json_object_get(report, "checked"), *bundle, *node;
    size_t i;
    fprintf(out, "cluster   %s\n", kp_json_string(report, "cluster"));
    bundle = json_object_get(report, "bundle");
    if (bundle)
        fprintf(out, "bundle    %s   %s\n          every entry of it is as %s\n",
                kp_json_string(bundle, "name"), kp_json_string(bundle, "id"),
                json_is_true(json_object_get(bundle, "trusted"))
                    ? "it was signed"
                    : "its manifest says; NOBODY TRUSTED SIGNED IT");
    print_log(json_object_get(report, "log"), out);
    print_acknowledged(json_object_get(report, "acknowledged"), out);
    print_runs(json_object_get(report, "runs"), out);
    if (checked) {
        print_checked(checked, out);
        return;
    }
    json_array_foreach(json_object_get(report, "nodes"), i, node)
        fprintf(out, "%-9s %zu files placed, %zu made by the cluster; not looked at (--nodes)\n",
                kp_json_string(node, "name"), json_array_size(json_object_get(node, "files")),
                json_array_size(json_object_get(node, "made_by_the_cluster")));
}
