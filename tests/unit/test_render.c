/* SPDX-License-Identifier: Apache-2.0 */
#include "core/file.h"
#include "manifests/render.h"

#include <criterion/criterion.h>

static struct kp_vars *sample(void)
{
    struct kp_vars *vars = kp_vars_new();
    kp_vars_set(vars, "name", "old");
    kp_vars_setf(vars, "name", "cp%d", 1);
    kp_vars_flag(vars, "on", true);
    kp_vars_flag(vars, "off", false);
    kp_vars_add(vars, "list", "a");
    kp_vars_add(vars, "list", "%s", "b");
    kp_vars_set(vars, "evil", "a\"\nb: c");
    return vars;
}

Test(render, what_templates_say)
{
    static const struct {
        const char *template_text, *want;
    } cases[] = {
        {"node: {{name}}\n", "node: cp1\n"},
        {"{{#on}}\nx\n{{/on}}\ny\n", "x\ny\n"},
        {"{{#off}}\nx\n{{/off}}\ny\n", "y\n"},
        {"{{^off}}\nx\n{{/off}}\ny\n", "x\ny\n"},
        {"{{#missing}}x{{/missing}}y", "y"},
        {"{{#list}}\n- {{.}} of {{name}}\n{{/list}}\nend\n", "- a of cp1\n- b of cp1\nend\n"},
        {"a {{#on}}b{{/on}} c", "a b c"},
        {"  {{#on}}\n  x\n  {{/on}}", "  x\n"},
        {"{{#list}}{{#on}}{{.}}{{/on}}{{/list}}", "ab"},
        {"", ""},
    };
    kp_auto(kp_vars) vars = sample();
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        kp_auto_free char *out = NULL;
        struct kp_err err = KP_ERR_INIT;
        cr_assert_eq(kp_render_text(&out, "t", kp_slice_of(cases[i].template_text), vars, &err), 0,
                     "%s: %s", cases[i].template_text, err.message);
        cr_expect_str_eq(out, cases[i].want, "%s", cases[i].template_text);
    }
}

Test(render, flaws_are_named)
{
    static const struct {
        const char *template_text, *word;
    } cases[] = {
        {"{{nobody}}", "nobody gave 'nobody'"},
        {"{{evil}}", "cannot stand here is in the value of 'evil'"},
        {"{{list}}", "a list is used as a value: 'list'"},
        {"{{.}}", "no list around"},
        {"{{#on}}x", "no end of section 'on'"},
        {"x{{/on}}", "not begun: 'on'"},
        {"{{name", "without name or end"},
        {"{{}}", "without name or end"},
    };
    kp_auto(kp_vars) vars = sample();
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        char *out = NULL;
        struct kp_err err = KP_ERR_INIT;
        cr_expect_eq(kp_render_text(&out, "t", kp_slice_of(cases[i].template_text), vars, &err), -1,
                     "%s", cases[i].template_text);
        cr_expect(strstr(err.message, cases[i].word), "%s: %s", cases[i].template_text,
                  err.message);
        cr_expect_null(out);
    }
}

Test(render, every_template_is_in_the_program_and_closed)
{
    size_t n = 0;
    for (const struct kp_embedded *t = kp_templates; t->name; t++, n++) {
        kp_auto(kp_vars) none = kp_vars_new();
        char *out = NULL;
        struct kp_err err = KP_ERR_INIT;
        cr_expect(t->size > 0, "%s", t->name);
        if (kp_render(&out, t->name, none, &err) < 0)
            cr_expect(strstr(err.message, "nobody gave"), "%s: %s", t->name, err.message);
        kp_free(out);
    }
    cr_expect(n >= 15);
    char *out = NULL;
    struct kp_err err = KP_ERR_INIT;
    kp_auto(kp_vars) none = kp_vars_new();
    cr_expect_eq(kp_render(&out, "no-such.yaml", none, &err), -1);
    cr_expect(strstr(err.message, "no-such.yaml"));
}
