/* SPDX-License-Identifier: Apache-2.0 */
#include "install/check/cis_screen.h"

#include "core/screen.h"

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static void print_failures(const json_t *check, FILE *to)
{
    size_t i;
    json_t *failure;
    json_array_foreach(json_object_get(check, "failures"), i, failure)
    {
        const char *wanted = text_of(failure, "wanted");
        fprintf(to, "  %s  %s: %s is %s%s%s\n", text_of(check, "id"), text_of(failure, "node"),
                text_of(failure, "subject"), text_of(failure, "found"), *wanted ? ", wanted " : "",
                wanted);
    }
}

void kp_cis_print(const json_t *report, FILE *to)
{
    static const char *const heads[] = {"ID", "CHECK", "NODES", "RESULT"};
    kp_auto(kp_table) table = kp_table_new(KP_COUNT(heads), heads);
    size_t i;
    json_t *check, *gap;
    const json_t *checks = json_object_get(report, "checks");
    json_array_foreach(checks, i, check)
    {
        bool ok = json_is_true(json_object_get(check, "ok"));
        json_int_t nodes = json_integer_value(json_object_get(check, "nodes"));
        kp_table_cell(table, KP_PLAIN, "%s", text_of(check, "id"));
        kp_table_cell(table, KP_PLAIN, "%s", text_of(check, "title"));
        kp_table_cell(table, KP_PLAIN, "%lld", (long long)nodes);
        kp_table_cell(table, ok ? (nodes ? KP_GREEN : KP_PLAIN) : KP_RED, "%s",
                      ok ? (nodes ? "ok" : "nothing there") : "failed");
    }
    kp_table_print(table, to);
    json_array_foreach(checks, i, check) print_failures(check, to);
    fprintf(to, "not covered of %s:\n", text_of(report, "benchmark"));
    json_array_foreach(json_object_get(report, "not_covered"), i, gap)
        fprintf(to, "  %s: %s\n", text_of(gap, "ids"), text_of(gap, "why"));
}
