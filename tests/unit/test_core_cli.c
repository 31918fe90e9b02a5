/* SPDX-License-Identifier: Apache-2.0 */
#include "core/cli.h"
#include "core/screen.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>

struct options {
    const char *file;
    struct kp_text_list keys;
    uint64_t jobs, size;
    bool json;
};

static struct options seen;
static int seen_words;

static int run_copy(void *options, int argc, char **argv, struct kp_err *err)
{
    (void)argv;
    seen = *(struct options *)options;
    seen_words = argc;
    return seen.file && strcmp(seen.file, "bad") == 0
               ? kp_fail_as(err, KP_MISSING, "missing_image", "image x is missing")
               : 0;
}

static const struct kp_option table[] = {
    {"file", 'f', KP_OPT_TEXT, offsetof(struct options, file), "FILE", "a file", 0},
    {"key", 0, KP_OPT_LIST, offsetof(struct options, keys), "FILE", "a key", 0},
    {"jobs", 'j', KP_OPT_NUMBER, offsetof(struct options, jobs), "N", "how many", 64},
    {"size", 0, KP_OPT_SIZE, offsetof(struct options, size), "SIZE", "how much", 0},
    {"json", 0, KP_OPT_FLAG, offsetof(struct options, json), NULL, "json", 0},
    {.name = NULL},
};
static const struct kp_command commands[] = {
    {"copy", "NAME…", 1, 2, "copies", NULL, table, sizeof(struct options), run_copy},
    {.name = NULL},
};
static const struct kp_program program = {"prog", "does things", commands, NULL};

static int call(const char *const *words)
{
    char *argv[16];
    int argc = 0;
    argv[argc++] = (char *)(uintptr_t) "prog";
    for (; *words; words++)
        argv[argc++] = (char *)(uintptr_t)*words;
    argv[argc] = NULL;
    return kp_cli_main(&program, argc, argv);
}

Test(cli, takes_options_in_any_place)
{
    const char *const words[] = {"copy",  "a",  "--file=x", "-j",    "4",  "--key", "k1",
                                 "--key", "k2", "--size",   "64MiB", "--", "-b",    NULL};
    cr_assert_eq(call(words), 0);
    cr_assert_str_eq(seen.file, "x");
    cr_assert_eq(seen.jobs, 4);
    cr_assert_eq(seen.size, 64u << 20);
    cr_assert_eq(seen.keys.count, 2);
    cr_assert_eq(seen_words, 2);
}

Test(cli, refuses_and_names_the_nearest, .init = cr_redirect_stderr)
{
    const char *const words[] = {"copy", "a", "--flie", "x", NULL};
    cr_assert_eq(call(words), KP_USAGE);
    cr_assert_stderr_eq_str("prog: unknown option --flie\n      did you mean --file?\n");
}

Test(cli, bad_words, .init = cr_redirect_stderr)
{
    const char *const table_of_words[][6] = {
        {"cpy", NULL},
        {"copy", NULL},
        {"copy", "a", "b", "c", NULL},
        {"copy", "a", "--jobs", "65", NULL},
        {"copy", "a", "--jobs", "-1", NULL},
        {"copy", "a", "--size", "much", NULL},
        {"copy", "a", "--file", NULL},
        {"copy", "a", "--json=1", NULL},
    };
    for (size_t i = 0; i < KP_COUNT(table_of_words); i++)
        cr_assert_eq(call(table_of_words[i]), KP_USAGE, "case %zu", i);
}

Test(cli, errors_are_json_where_asked_for, .init = cr_redirect_stdout)
{
    const char *const words[] = {"copy", "a", "--file", "bad", "--json", NULL};
    cr_assert_eq(call(words), KP_MISSING);
    fflush(stdout);
    cr_assert_stdout_eq_str("{\n  \"ok\": false,\n  \"code\": 5,\n  \"reason\": "
                            "\"missing_image\",\n  \"message\": \"image x is missing\"\n}\n");
}

/* What is wrong may stand before --json; the reason of last resort is the code's word. */
Test(cli, wrong_usage_is_json_too, .init = cr_redirect_stdout)
{
    const char *const words[] = {"copy", "a", "--jobs", "65", "--json", NULL};
    cr_assert_eq(call(words), KP_USAGE);
    fflush(stdout);
    cr_assert_stdout_eq_str("{\n  \"ok\": false,\n  \"code\": 2,\n  \"reason\": \"usage\",\n  "
                            "\"message\": \"--jobs 65: a whole number within its range is "
                            "needed\"\n}\n");
}

Test(screen, tables_line_up, .init = cr_redirect_stdout)
{
    static const char *const heads[] = {"NODE", "SIZE"};
    kp_auto(kp_table) table_of_nodes = kp_table_new(2, heads);
    kp_table_right(table_of_nodes, 1);
    kp_table_cell(table_of_nodes, KP_PLAIN, "é");
    kp_table_cell(table_of_nodes, KP_PLAIN, "10 MB");
    kp_table_print(table_of_nodes, stdout);
    fflush(stdout);
    cr_assert_stdout_eq_str("NODE   SIZE\né     10 MB\n");
}
