/* SPDX-License-Identifier: Apache-2.0 */
#include "install/check/cis_screen.h"

#include "core/json.h"
#include "core/screen.h"

static void print_failures(const json_t *check, FILE *to)
{
    size_t i;
    json_t *failure;
    json_array_foreach(json_object_get(check, "failures"), i, failure)
    {
        const char *wanted = kp_json_string(failure, "wanted");
        fprintf(to, "  %s  %s: %s is %s%s%s\n", kp_json_string(check, "id"),
                kp_json_string(failure, "node"), kp_json_string(failure, "subject"),
                kp_json_string(failure, "found"), *wanted ? ", wanted " : "", wanted);
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
        kp_table_cell(table, KP_PLAIN, "%s", kp_json_string(check, "id"));
        kp_table_cell(table, KP_PLAIN, "%s", kp_json_string(check, "title"));
        kp_table_cell(table, KP_PLAIN, "%lld", (long long)nodes);
        kp_table_cell(table, ok ? (nodes ? KP_GREEN : KP_PLAIN) : KP_RED, "%s",
                      ok ? (nodes ? "ok" : "nothing there") : "failed");
    }
    kp_table_print(table, to);
    json_array_foreach(checks, i, check) print_failures(check, to);
    fprintf(to, "not covered of %s:\n", kp_json_string(report, "benchmark"));
    json_array_foreach(json_object_get(report, "not_covered"), i, gap)
        fprintf(to, "  %s: %s\n", kp_json_string(gap, "ids"), kp_json_string(gap, "why"));
}
