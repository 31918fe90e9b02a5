/* SPDX-License-Identifier: Apache-2.0 */
#include "core/json.h"

#include <criterion/criterion.h>

static int parse(const char *text, json_t **out, struct kp_err *err)
{
    return kp_json_parse(out, kp_slice_of(text), 4096, "doc", err);
}

Test(json, refuses_what_is_not_strict)
{
    kp_auto_value(kp_buf) deep = KP_BUF(4096);
    for (int i = 0; i < 100; i++)
        kp_buf_adds(&deep, "[");
    const char *const bad[] = {"",    "{",      "{\"a\":1,\"a\":2}", "{} {}", "{\"a\":1,}",
                               "nul", deep.data};
    for (size_t i = 0; i < KP_COUNT(bad); i++) {
        struct kp_err err = KP_ERR_INIT;
        kp_auto_json value = NULL;
        cr_assert_eq(parse(bad[i], &value, &err), -1, "%s", bad[i]);
        cr_assert_str_eq(err.reason, "bad_json");
    }
    struct kp_err err = KP_ERR_INIT;
    kp_auto_json value = NULL;
    cr_assert_eq(kp_json_parse(&value, kp_slice_of("[1,2,3]"), 3, "doc", &err), -1);
    cr_assert_str_eq(err.reason, "too_large");
}

struct wanted {
    const char *name;
    uint64_t size;
};

static int read_wanted(const char *text, struct wanted *out, struct kp_arena *arena,
                       struct kp_err *err)
{
    kp_auto_json value = NULL;
    if (parse(text, &value, err) < 0)
        return -1;
    struct kp_json_reader r = kp_json_read(value, "doc", arena, err);
    out->name = kp_json_text(&r, "name", 8);
    out->size = kp_json_number(&r, "size", 100);
    return kp_json_finish(&r);
}

Test(json, reader_says_where_and_what)
{
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"[]", "doc: an object is needed"},
        {"{\"name\":\"a\"}", "doc.size: is missing"},
        {"{\"name\":1,\"size\":1}", "doc.name: a text is needed"},
        {"{\"name\":\"123456789\",\"size\":1}", "doc.name: longer than 8 bytes"},
        {"{\"name\":\"a\",\"size\":101}", "doc.size: a whole number from 0 to 100 is needed"},
        {"{\"name\":\"a\",\"size\":-1}", "doc.size: a whole number from 0 to 100 is needed"},
        {"{\"name\":\"a\",\"size\":1.5}", "doc.size: a whole number from 0 to 100 is needed"},
        {"{\"name\":\"a\",\"size\":1,\"more\":0}", "doc.more: unknown key"},
    };
    for (size_t i = 0; i < KP_COUNT(bad); i++) {
        kp_auto(kp_arena) arena = kp_arena_new();
        struct kp_err err = KP_ERR_INIT;
        struct wanted wanted;
        cr_assert_eq(read_wanted(bad[i].text, &wanted, arena, &err), -1, "%s", bad[i].text);
        cr_assert_str_eq(err.message, bad[i].message);
    }
    kp_auto(kp_arena) arena = kp_arena_new();
    struct kp_err err = KP_ERR_INIT;
    struct wanted wanted;
    cr_assert_eq(read_wanted("{\"name\":\"abc\",\"size\":42}", &wanted, arena, &err), 0);
    cr_assert_str_eq(wanted.name, "abc");
    cr_assert_eq(wanted.size, 42);
}
