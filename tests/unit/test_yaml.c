/* SPDX-License-Identifier: Apache-2.0 */
#include "manifests/yaml.h"

#include "core/buf.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct kp_yaml_document *parse_ok(const char *text)
{
    struct kp_yaml_document *document = NULL;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_yaml_parse(&document, kp_slice_of(text), "t.yaml", &err), 0, "%s", err.message);
    return document;
}

Test(yaml, positions_and_paths)
{
    kp_auto(kp_yaml_document) document =
        parse_ok("cluster: demo\nnodes:\n  - {name: a, roles: [x, 'y']}\n  - name: b\n");
    const struct kp_yaml *root = kp_yaml_root(document);
    cr_assert_eq(root->type, KP_YAML_MAP);
    cr_assert_eq(root->count, 2);
    cr_assert_str_eq(root->path, "");
    const struct kp_yaml *nodes = kp_yaml_get(root, "nodes");
    cr_assert_eq(nodes->type, KP_YAML_LIST);
    cr_assert_eq(nodes->count, 2);
    const struct kp_yaml *roles = kp_yaml_get(nodes->items[0], "roles");
    cr_assert_str_eq(roles->items[1]->path, "nodes[0].roles[1]");
    cr_assert_eq(roles->items[1]->line, 3);
    cr_assert_eq(roles->items[1]->column, 26);
    cr_assert(!roles->items[1]->plain);
    cr_assert(roles->items[0]->plain);
    cr_assert_str_eq(nodes->items[1]->key_nodes[0]->path, "nodes[1].name");
}

struct flaw {
    const char *name, *text, *message;
};
static const struct flaw flaws[] = {
    {"empty", "", "t.yaml: is empty"},
    {"only a comment", "# hello\n", "t.yaml: is empty"},
    {"duplicate key", "a: 1\nb: 2\na: 3\n",
     "t.yaml:3:1: a: the key is given twice, first in line 1"},
    {"duplicate key inside", "x:\n- {k: 1, k: 2}\n",
     "t.yaml:2:10: x[0].k: the key is given twice, first in line 2"},
    {"alias", "a: &n 1\nb: *n\n", "t.yaml:1:4: tags and anchors are not allowed"},
    {"alias to a map", "a: &n {b: 1}\nc: *n\n", "t.yaml:1:4: tags and anchors are not allowed"},
    {"tag", "a: !!str 1\n", "t.yaml:1:4: tags and anchors are not allowed"},
    {"tag of a list", "a: !x [1]\n", "t.yaml:1:4: tags and anchors are not allowed"},
    {"two documents", "a: 1\n---\nb: 1\n", "t.yaml:2:1: only one document is allowed"},
    {"key that is a list", "[a, b]: 1\n", "t.yaml:1:1: a key must be a plain text"},
    {"zero byte", "a: \"x\\0y\"\n", "t.yaml:1:4: a zero byte is not allowed"},
    {"tab as indent", "a:\n\tb: 1\n", "t.yaml:2:1: found character that cannot start any token"},
    {"open quote", "a: \"x\n", "t.yaml:2:1: found unexpected end of stream"},
    {"bad indent", "a: 1\n  b: 2\n", "t.yaml:2:4: mapping values are not allowed"},
    {"not UTF-8", "a: \xff\n", "t.yaml: byte 3: "},
};

Test(yaml, flaws_are_named)
{
    for (size_t i = 0; i < KP_COUNT(flaws); i++) {
        struct kp_yaml_document *document = NULL;
        struct kp_err err = KP_ERR_INIT;
        cr_assert_eq(kp_yaml_parse(&document, kp_slice_of(flaws[i].text), "t.yaml", &err), -1,
                     "%s was accepted", flaws[i].name);
        cr_assert_eq(err.code, KP_USAGE);
        cr_assert(strncmp(err.message, flaws[i].message, strlen(flaws[i].message)) == 0,
                  "%s: got '%s'", flaws[i].name, err.message);
        cr_assert_null(document);
    }
}

static int parse_nested(size_t depth, struct kp_err *err)
{
    kp_auto_value(kp_buf) text = KP_BUF(4096);
    kp_auto(kp_yaml_document) document = NULL;
    for (size_t i = 0; i < depth; i++)
        kp_buf_adds(&text, "[");
    for (size_t i = 0; i < depth; i++)
        kp_buf_adds(&text, "]");
    return kp_yaml_parse(&document, kp_buf_slice(&text), "t.yaml", err);
}

Test(yaml, depth_and_size_are_bounded)
{
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(parse_nested(KP_YAML_DEPTH_MAX, &err), 0, "%s", err.message);
    cr_assert_eq(parse_nested(KP_YAML_DEPTH_MAX + 1, &err), -1);
    cr_assert_str_eq(err.message, "t.yaml:1:33: nested too deeply");
    kp_auto_free char *big = kp_alloc(KP_YAML_MAX + 1);
    memset(big, '#', KP_YAML_MAX + 1);
    kp_auto(kp_yaml_document) document = NULL;
    cr_assert_eq(kp_yaml_parse(&document, (struct kp_slice){big, KP_YAML_MAX + 1}, "t.yaml", &err),
                 -1);
    cr_assert_str_eq(err.reason, "too_large");
}

Test(yaml, reader_takes_what_is_there)
{
    static const char *const words[] = {"local", "first", NULL};
    kp_auto(kp_yaml_document) document =
        parse_ok("name: a\nport: 22\nkeep: true\nmode: first\none: x\nmany: [x, y]\nnothing: ~\n"
                 "inner: {k: v}\nquoted: \"~\"\n");
    struct kp_err err = KP_ERR_INIT;
    struct kp_yaml_reader r = kp_yaml_read(kp_yaml_root(document), &err);
    size_t one, many, none;
    cr_assert_str_eq(kp_yaml_text_required(&r, "name"), "a");
    cr_assert_eq(kp_yaml_number(&r, "port", 1, 65535, 7), 22);
    cr_assert_eq(kp_yaml_number(&r, "absent", 1, 65535, 7), 7);
    cr_assert(kp_yaml_bool(&r, "keep", false));
    cr_assert_eq(kp_yaml_choice(&r, "mode", words, 0), 1);
    cr_assert_str_eq(kp_yaml_texts(&r, "one", 1, &one)[0], "x");
    cr_assert_str_eq(kp_yaml_texts(&r, "many", 2, &many)[1], "y");
    cr_assert_null(kp_yaml_texts(&r, "gone", 2, &none)[0]);
    cr_assert(one == 1 && many == 2 && none == 0);
    cr_assert_str_eq(kp_yaml_text(&r, "nothing", "fallback"), "fallback");
    cr_assert_str_eq(kp_yaml_text(&r, "quoted", "fallback"), "~");
    struct kp_yaml_reader inner = kp_yaml_read(kp_yaml_map(&r, "inner", true), &err);
    cr_assert_str_eq(kp_yaml_text(&inner, "k", ""), "v");
    cr_assert_eq(kp_yaml_finish(&inner), 0);
    cr_assert_eq(kp_yaml_finish(&r), 0, "%s", err.message);
}

static void read_all(struct kp_yaml_reader *r)
{
    static const char *const words[] = {"local", "first", NULL};
    kp_yaml_text_required(r, "name");
    kp_yaml_number(r, "port", 1, 65535, 22);
    kp_yaml_bool(r, "keep", false);
    kp_yaml_choice(r, "mode", words, 0);
    kp_yaml_texts(r, "many", 2, NULL);
    kp_yaml_list(r, "list", 1, false);
    kp_yaml_map(r, "map", false);
}

static const struct flaw misfits[] = {
    {"unknown key, near", "name: a\nprot: 1\n",
     "t.yaml:2:1: prot: unknown key, did you mean 'port'?"},
    {"unknown key, far", "name: a\nzzzzzzzz: 1\n", "t.yaml:2:1: zzzzzzzz: unknown key"},
    {"missing", "port: 22\n", "t.yaml:1:1: name is missing"},
    {"empty text", "name: ''\n", "t.yaml:1:7: name: must not be empty"},
    {"text is a list", "name: [a]\n", "t.yaml:1:7: name: a single text is needed"},
    {"number too large", "name: a\nport: 65536\n",
     "t.yaml:2:7: port: a whole number from 1 to 65535 is needed, not '65536'"},
    {"number too small", "name: a\nport: 0\n",
     "t.yaml:2:7: port: a whole number from 1 to 65535 is needed, not '0'"},
    {"number quoted", "name: a\nport: '22'\n",
     "t.yaml:2:7: port: a whole number from 1 to 65535 is needed, not '22'"},
    {"bool by another word", "name: a\nkeep: yes\n",
     "t.yaml:2:7: keep: true or false is needed, not 'yes'"},
    {"choice", "name: a\nmode: last\n",
     "t.yaml:2:7: mode: one of local, first is needed, not 'last'"},
    {"too many", "name: a\nmany: [x, y, z]\n", "t.yaml:2:7: many: at most 2 are allowed"},
    {"a map among texts", "name: a\nmany: [x, {y: z}]\n", "t.yaml:2:11: many[1]: a text is needed"},
    {"a null among texts", "name: a\nmany: [x, ~]\n", "t.yaml:2:11: many[1]: a text is needed"},
    {"list too long", "name: a\nlist: [1, 2]\n", "t.yaml:2:7: list: at most 1 are allowed"},
    {"list is a text", "name: a\nlist: x\n", "t.yaml:2:7: list: a list is needed"},
    {"map is a list", "name: a\nmap: [x]\n", "t.yaml:2:6: map: a mapping (key: value) is needed"},
    {"root is a list", "[a]\n", "t.yaml:1:1: a mapping (key: value) is needed"},
    {"the first error stays", "keep: no\nprot: 1\n", "t.yaml:1:1: name is missing"},
};

Test(yaml, reader_names_misfits)
{
    for (size_t i = 0; i < KP_COUNT(misfits); i++) {
        kp_auto(kp_yaml_document) document = parse_ok(misfits[i].text);
        struct kp_err err = KP_ERR_INIT;
        struct kp_yaml_reader r = kp_yaml_read(kp_yaml_root(document), &err);
        read_all(&r);
        cr_assert_eq(kp_yaml_finish(&r), -1, "%s was accepted", misfits[i].name);
        cr_assert_str_eq(err.message, misfits[i].message, "%s: got '%s'", misfits[i].name,
                         err.message);
        cr_assert_eq(err.code, KP_USAGE);
    }
}

Test(yaml, load_names_the_file)
{
    struct kp_yaml_document *document = NULL;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_yaml_load(&document, "/nonexistent/hosts.yaml", &err), -1);
    cr_assert(strstr(err.message, "/nonexistent/hosts.yaml"));
}
