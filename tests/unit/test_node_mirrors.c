/* SPDX-License-Identifier: Apache-2.0 */
/* Mirrors that do not answer are tried last; nothing else of the file changes. */
#include "core/file.h"
#include "install/node/node.h"

#include <criterion/criterion.h>

static char *read_golden(const char *name)
{
    kp_auto_free char *path = kp_asprintf("%s/rendered/%s", KP_TEST_DATA, name);
    char *text = NULL;
    struct kp_err err = KP_ERR_INIT;
    size_t len;
    cr_assert_eq(kp_file_read(path, (size_t)1 << 20, &text, &len, &err), 0, "%s", err.message);
    return text;
}

static void expect_order(const char *text, const char *const *want, size_t n)
{
    struct kp_slice urls[KP_NODE_MIRRORS_MAX];
    cr_assert_eq(kp_node_mirrors_read(kp_slice_of(text), urls, KP_NODE_MIRRORS_MAX), n);
    for (size_t i = 0; i < n; i++)
        cr_expect(kp_slice_equal(urls[i], want[i]), "%zu: %.*s", i, (int)urls[i].len, urls[i].ptr);
}

/* As kinstall places them: tests/unit/test_steps.c. */
Test(node_mirrors, each_that_is_gone)
{
    static const char *const all[] = {"https://10.77.0.11:5000", "https://10.77.0.12:5000",
                                      "https://10.77.0.13:5000"};
    static const struct {
        bool up[3], moved;
        size_t order[3];
    } cases[] = {
        {{true, true, true}, false, {0, 1, 2}},    {{false, true, true}, true, {1, 2, 0}},
        {{true, false, true}, true, {0, 2, 1}},    {{true, true, false}, false, {0, 1, 2}},
        {{false, false, true}, true, {2, 0, 1}},   {{false, true, false}, true, {1, 0, 2}},
        {{false, false, false}, false, {0, 1, 2}},
    };
    kp_auto_free char *text = read_golden("hosts-three.toml");
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        struct kp_slice urls[KP_NODE_MIRRORS_MAX];
        const char *want[3];
        size_t n = kp_node_mirrors_read(kp_slice_of(text), urls, KP_NODE_MIRRORS_MAX);
        cr_assert_eq(n, 3);
        cr_expect_eq(kp_node_mirrors_sort(urls, cases[i].up, n), cases[i].moved, "case %zu", i);
        kp_auto_free char *other = kp_node_mirrors_write(kp_slice_of(text), urls, n);
        for (size_t j = 0; j < 3; j++)
            want[j] = all[cases[i].order[j]];
        expect_order(other, want, 3);
        if (!cases[i].moved)
            cr_expect_str_eq(other, text);
        cr_expect_eq(strlen(other), strlen(text)); // no line more or less
    }
}

Test(node_mirrors, odd_files)
{
    struct kp_slice urls[3];
    cr_expect_eq(kp_node_mirrors_read(kp_slice_of(""), urls, 3), 0);
    cr_expect_eq(kp_node_mirrors_read(kp_slice_of("server = \"\n[host.\"x"), urls, 3), 0);
    // Not more than there is room for, and the server is always one of them.
    static const char many[] =
        "server = \"https://s\"\n[host.\"https://a\"]\n[host.\"https://b\"]\n"
        "[host.\"https://c\"]\n";
    cr_expect_eq(kp_node_mirrors_read(kp_slice_of(many), urls, 3), 3);
    cr_expect(kp_slice_equal(urls[2], "https://s"));
}
