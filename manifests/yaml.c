/* SPDX-License-Identifier: Apache-2.0 */
#include "manifests/yaml.h"

#include "core/file.h"
#include "core/json.h"
#include "core/text.h"

#include <assert.h>
#include <stdio.h>
#include <yaml.h>

#define CHILDREN_MAX ((size_t)65536)

struct kp_yaml_document {
    struct kp_arena *arena;
    const char *name;
    const struct kp_yaml *root;
};

struct parse {
    yaml_parser_t parser;
    struct kp_yaml_document *document;
    struct kp_err *err;
    size_t depth;
};

/* The children of one list or map while their number is not known yet. */
struct children {
    struct kp_yaml **items, **keys;
    size_t count, cap;
};

static void children_release(struct children *c)
{
    kp_free(c->items);
    kp_free(c->keys);
}
KP_DEFINE_AUTO_VALUE(children);

#define auto_event __attribute__((cleanup(yaml_event_delete))) yaml_event_t

static int fail_at(struct parse *p, yaml_mark_t mark, const char *text)
{
    return kp_fail_as(p->err, KP_USAGE, "bad_yaml", "%s:%zu:%zu: %s", p->document->name,
                      mark.line + 1, mark.column + 1, text);
}

static int fail_syntax(struct parse *p)
{
    const yaml_parser_t *parser = &p->parser;
    const char *problem = parser->problem ? parser->problem : "cannot be read";
    const char *context = parser->context;
    if (parser->error == YAML_READER_ERROR)
        return kp_fail_as(p->err, KP_USAGE, "bad_yaml", "%s: byte %zu: %s", p->document->name,
                          parser->problem_offset, problem);
    return kp_fail_as(p->err, KP_USAGE, "bad_yaml", "%s:%zu:%zu: %s%s%s%s", p->document->name,
                      parser->problem_mark.line + 1, parser->problem_mark.column + 1, problem,
                      context ? " (" : "", context ? context : "", context ? ")" : "");
}

static int next_event(struct parse *p, yaml_event_t *event)
{
    return yaml_parser_parse(&p->parser, event) ? 0 : fail_syntax(p);
}

static struct kp_yaml *new_node(struct parse *p, enum kp_yaml_type type, yaml_mark_t mark,
                                const char *path)
{
    struct kp_yaml *node = kp_arena_alloc(p->document->arena, sizeof(*node));
    node->type = type;
    node->line = (unsigned)mark.line + 1;
    node->column = (unsigned)mark.column + 1;
    node->path = path;
    node->document = p->document;
    return node;
}

static int parse_node(struct parse *p, const yaml_event_t *event, const char *path,
                      struct kp_yaml **out);

static int parse_scalar(struct parse *p, const yaml_event_t *event, const char *path,
                        struct kp_yaml **out)
{
    const char *value = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    if (event->data.scalar.tag || event->data.scalar.anchor)
        return fail_at(p, event->start_mark, "tags and anchors are not allowed");
    if (memchr(value, '\0', len))
        return fail_at(p, event->start_mark, "a zero byte is not allowed");
    *out = new_node(p, KP_YAML_SCALAR, event->start_mark, path);
    (*out)->text = kp_arena_strndup(p->document->arena, value, len);
    (*out)->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    return 0;
}

static int add_child(struct parse *p, struct children *c, struct kp_yaml *key,
                     struct kp_yaml *value)
{
    if (c->count == CHILDREN_MAX)
        return kp_yaml_fail(value, p->err, "more than %zu elements", CHILDREN_MAX);
    if (c->count == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 16;
        c->items = kp_realloc_array(c->items, c->cap, sizeof(struct kp_yaml *));
        c->keys = kp_realloc_array(c->keys, c->cap, sizeof(struct kp_yaml *));
    }
    c->items[c->count] = value;
    c->keys[c->count++] = key;
    return 0;
}

static void keep_children(struct parse *p, struct kp_yaml *node, const struct children *c)
{
    struct kp_arena *arena = p->document->arena;
    node->count = c->count;
    node->items = kp_arena_array(arena, c->count + 1, sizeof(struct kp_yaml *));
    if (c->count)
        memcpy(node->items, c->items, c->count * sizeof(struct kp_yaml *));
    if (node->type != KP_YAML_MAP)
        return;
    node->key_nodes = kp_arena_array(arena, c->count + 1, sizeof(struct kp_yaml *));
    node->keys = kp_arena_array(arena, c->count + 1, sizeof(char *));
    for (size_t i = 0; i < c->count; i++) {
        node->key_nodes[i] = c->keys[i];
        node->keys[i] = c->keys[i]->text;
    }
}

static int parse_list(struct parse *p, const yaml_event_t *start, const char *path,
                      struct kp_yaml **out)
{
    kp_auto_value(children) c = {0};
    if (start->data.sequence_start.tag || start->data.sequence_start.anchor)
        return fail_at(p, start->start_mark, "tags and anchors are not allowed");
    *out = new_node(p, KP_YAML_LIST, start->start_mark, path);
    for (;;) {
        auto_event event = {0};
        if (next_event(p, &event) < 0)
            return -1;
        if (event.type == YAML_SEQUENCE_END_EVENT)
            break;
        struct kp_yaml *item;
        const char *child = kp_arena_printf(p->document->arena, "%s[%zu]", path, c.count);
        if (parse_node(p, &event, child, &item) < 0 || add_child(p, &c, NULL, item) < 0)
            return -1;
    }
    keep_children(p, *out, &c);
    return 0;
}

static int parse_key(struct parse *p, const yaml_event_t *event, const char *path,
                     struct children *c, struct kp_yaml **out)
{
    if (event->type != YAML_SCALAR_EVENT)
        return fail_at(p, event->start_mark, "a key must be a plain text");
    if (parse_scalar(p, event, "", out) < 0)
        return -1;
    (*out)->path =
        kp_arena_printf(p->document->arena, "%s%s%s", path, *path ? "." : "", (*out)->text);
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->keys[i]->text, (*out)->text) == 0)
            return kp_yaml_fail(*out, p->err, "the key is given twice, first in line %u",
                                c->keys[i]->line);
    return 0;
}

static int parse_map(struct parse *p, const yaml_event_t *start, const char *path,
                     struct kp_yaml **out)
{
    kp_auto_value(children) c = {0};
    if (start->data.mapping_start.tag || start->data.mapping_start.anchor)
        return fail_at(p, start->start_mark, "tags and anchors are not allowed");
    *out = new_node(p, KP_YAML_MAP, start->start_mark, path);
    for (;;) {
        auto_event event = {0};
        auto_event value_event = {0};
        struct kp_yaml *key, *value;
        if (next_event(p, &event) < 0)
            return -1;
        if (event.type == YAML_MAPPING_END_EVENT)
            break;
        if (parse_key(p, &event, path, &c, &key) < 0 || next_event(p, &value_event) < 0 ||
            parse_node(p, &value_event, key->path, &value) < 0 || add_child(p, &c, key, value) < 0)
            return -1;
    }
    keep_children(p, *out, &c);
    return 0;
}

static int parse_node(struct parse *p, const yaml_event_t *event, const char *path,
                      struct kp_yaml **out)
{
    int result;
    if (event->type == YAML_SCALAR_EVENT)
        return parse_scalar(p, event, path, out);
    if (event->type == YAML_ALIAS_EVENT)
        return fail_at(p, event->start_mark, "aliases (*name) are not allowed");
    if (p->depth == KP_YAML_DEPTH_MAX)
        return fail_at(p, event->start_mark, "nested too deeply");
    p->depth++;
    if (event->type == YAML_SEQUENCE_START_EVENT)
        result = parse_list(p, event, path, out);
    else
        result = parse_map(p, event, path, out);
    p->depth--;
    return result;
}

static int expect_end(struct parse *p)
{
    auto_event end = {0};
    auto_event after = {0};
    if (next_event(p, &end) < 0 || next_event(p, &after) < 0)
        return -1;
    if (after.type != YAML_STREAM_END_EVENT)
        return fail_at(p, after.start_mark, "only one document is allowed");
    return 0;
}

static int parse_document(struct parse *p)
{
    auto_event stream = {0};
    auto_event start = {0};
    auto_event first = {0};
    struct kp_yaml *root;
    if (next_event(p, &stream) < 0 || next_event(p, &start) < 0)
        return -1;
    if (start.type != YAML_DOCUMENT_START_EVENT)
        return kp_fail_as(p->err, KP_USAGE, "bad_yaml", "%s: is empty", p->document->name);
    if (next_event(p, &first) < 0 || parse_node(p, &first, "", &root) < 0)
        return -1;
    p->document->root = root;
    return expect_end(p);
}

int kp_yaml_parse(struct kp_yaml_document **out, struct kp_slice text, const char *name,
                  struct kp_err *err)
{
    if (text.len > KP_YAML_MAX)
        return kp_fail_as(err, KP_USAGE, "too_large", "%s: larger than %zu bytes", name,
                          KP_YAML_MAX);
    kp_auto(kp_yaml_document) document = kp_alloc(sizeof(*document));
    document->arena = kp_arena_new();
    document->name = kp_arena_strdup(document->arena, name);
    struct parse p = {.document = document, .err = err};
    if (!yaml_parser_initialize(&p.parser))
        return kp_fail(err, KP_FAILED, "%s: out of memory", name);
    // libyaml takes a NULL input of length 0 for a broken contract
    yaml_parser_set_input_string(&p.parser, (const unsigned char *)(text.len ? text.ptr : ""),
                                 text.len);
    yaml_parser_set_encoding(&p.parser, YAML_UTF8_ENCODING);
    int result = parse_document(&p);
    yaml_parser_delete(&p.parser);
    if (result == 0)
        *out = kp_steal(&document);
    return result;
}

int kp_yaml_load(struct kp_yaml_document **out, const char *path, struct kp_err *err)
{
    kp_auto_free char *text = NULL;
    size_t len;
    if (kp_file_read(path, KP_YAML_MAX, &text, &len, err) < 0)
        return -1;
    return kp_yaml_parse(out, (struct kp_slice){text, len}, path, err);
}

void kp_yaml_document_free(struct kp_yaml_document *document)
{
    if (!document)
        return;
    kp_arena_free(document->arena);
    kp_free(document);
}

const struct kp_yaml *kp_yaml_root(const struct kp_yaml_document *document)
{
    return document->root;
}

const char *kp_yaml_name(const struct kp_yaml *at)
{
    return at->document->name;
}

struct kp_arena *kp_yaml_arena(struct kp_yaml_document *document)
{
    return document->arena;
}

static json_t *scalar_json(const struct kp_yaml *node)
{
    int64_t number;
    if (node->plain &&
        (!*node->text || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0))
        return json_null();
    if (node->plain && (strcmp(node->text, "true") == 0 || strcmp(node->text, "false") == 0))
        return json_boolean(node->text[0] == 't');
    if (node->plain && kp_parse_i64(kp_slice_of(node->text), &number))
        return json_integer(number);
    return json_string(node->text);
}

static json_t *node_json(const struct kp_yaml *node)
{
    if (node->type == KP_YAML_SCALAR)
        return scalar_json(node);
    json_t *out = node->type == KP_YAML_LIST ? json_array() : json_object();
    for (size_t i = 0; i < node->count; i++) {
        if (node->type == KP_YAML_LIST)
            json_array_append_new(out, node_json(node->items[i]));
        else
            json_object_set_new(out, node->keys[i], node_json(node->items[i]));
    }
    return out;
}

char *kp_yaml_json(const struct kp_yaml *node)
{
    kp_auto_json json = node_json(node);
    return kp_json_dump(json, true);
}

static int fail_with(const struct kp_yaml *at, struct kp_err *err, const char *text)
{
    return kp_fail(err, KP_USAGE, "%s:%u:%u: %s%s%s", at->document->name, at->line, at->column,
                   at->path, *at->path ? ": " : "", text);
}

int kp_yaml_fail(const struct kp_yaml *at, struct kp_err *err, const char *fmt, ...)
{
    char text[KP_ERR_MESSAGE_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return fail_with(at, err, text);
}

bool kp_yaml_is_null(const struct kp_yaml *node)
{
    return node->type == KP_YAML_SCALAR && node->plain &&
           (*node->text == '\0' || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0);
}

const struct kp_yaml *kp_yaml_get(const struct kp_yaml *map, const char *key)
{
    if (!map || map->type != KP_YAML_MAP)
        return NULL;
    for (size_t i = 0; i < map->count; i++)
        if (strcmp(map->keys[i], key) == 0)
            return kp_yaml_is_null(map->items[i]) ? NULL : map->items[i];
    return NULL;
}

struct kp_yaml_reader kp_yaml_read(const struct kp_yaml *map, struct kp_err *err)
{
    struct kp_yaml_reader r = {.map = map, .err = err};
    if (map && map->type != KP_YAML_MAP) {
        kp_yaml_fail(map, err, "a mapping (key: value) is needed");
        r.failed = true;
    }
    return r;
}

static void complain(struct kp_yaml_reader *r, const struct kp_yaml *at, const char *text)
{
    if (r->failed)
        return;
    r->failed = true;
    if (at)
        fail_with(at, r->err, text);
    else if (r->err && r->err->code == KP_OK) // a map that is not there: its parent's error wins
        kp_fail(r->err, KP_USAGE, "%s", text);
}

void kp_yaml_complain(struct kp_yaml_reader *r, const char *key, const char *fmt, ...)
{
    char text[KP_ERR_MESSAGE_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    const struct kp_yaml *value = kp_yaml_get(r->map, key);
    complain(r, value ? value : r->map, text);
}

static void note_known(struct kp_yaml_reader *r, const char *key)
{
    for (size_t i = 0; i < r->known_count; i++)
        if (strcmp(r->known[i], key) == 0)
            return;
    assert(r->known_count < KP_COUNT(r->known));
    r->known[r->known_count++] = key;
}

const struct kp_yaml *kp_yaml_node(struct kp_yaml_reader *r, const char *key, bool required)
{
    if (r->failed)
        return NULL;
    note_known(r, key);
    const struct kp_yaml *value = kp_yaml_get(r->map, key);
    if (!value && required)
        kp_yaml_complain(r, key, "%s is missing", key);
    return value;
}

static const struct kp_yaml *scalar(struct kp_yaml_reader *r, const char *key, bool required)
{
    const struct kp_yaml *value = kp_yaml_node(r, key, required);
    if (!value || value->type == KP_YAML_SCALAR)
        return value;
    complain(r, value, "a single text is needed");
    return NULL;
}

const char *kp_yaml_text(struct kp_yaml_reader *r, const char *key, const char *fallback)
{
    const struct kp_yaml *value = scalar(r, key, false);
    return value ? value->text : fallback;
}

const char *kp_yaml_text_required(struct kp_yaml_reader *r, const char *key)
{
    const struct kp_yaml *value = scalar(r, key, true);
    if (value && *value->text == '\0')
        complain(r, value, "must not be empty");
    return value ? value->text : "";
}

bool kp_yaml_bool(struct kp_yaml_reader *r, const char *key, bool fallback)
{
    const struct kp_yaml *value = scalar(r, key, false);
    if (!value)
        return fallback;
    bool yes = value->plain && strcmp(value->text, "true") == 0;
    if (!yes && !(value->plain && strcmp(value->text, "false") == 0))
        kp_yaml_complain(r, key, "true or false is needed, not '%s'", value->text);
    return yes;
}

uint64_t kp_yaml_number(struct kp_yaml_reader *r, const char *key, uint64_t least, uint64_t most,
                        uint64_t fallback)
{
    uint64_t number;
    const struct kp_yaml *value = scalar(r, key, false);
    if (!value)
        return fallback;
    if (value->plain && kp_parse_u64(kp_slice_of(value->text), most, &number) && number >= least)
        return number;
    kp_yaml_complain(r, key, "a whole number from %llu to %llu is needed, not '%s'",
                     (unsigned long long)least, (unsigned long long)most, value->text);
    return fallback;
}

static const char *join_words(struct kp_arena *arena, const char *const *words)
{
    const char *out = "";
    for (size_t i = 0; words[i]; i++)
        out = kp_arena_printf(arena, "%s%s%s", out, i ? ", " : "", words[i]);
    return out;
}

int kp_yaml_choice(struct kp_yaml_reader *r, const char *key, const char *const *words,
                   int fallback)
{
    const struct kp_yaml *value = scalar(r, key, false);
    if (!value)
        return fallback;
    for (int i = 0; words[i]; i++)
        if (strcmp(words[i], value->text) == 0)
            return i;
    kp_auto(kp_arena) arena = kp_arena_new();
    kp_yaml_complain(r, key, "one of %s is needed, not '%s'", join_words(arena, words),
                     value->text);
    return fallback;
}

const char **kp_yaml_texts(struct kp_yaml_reader *r, const char *key, size_t max, size_t *count)
{
    static const char *none[] = {NULL};
    const struct kp_yaml *value = kp_yaml_node(r, key, false);
    if (count)
        *count = 0;
    if (!value)
        return none;
    size_t n = value->type == KP_YAML_LIST ? value->count : 1;
    const char **out = kp_arena_array(value->document->arena, n + 1, sizeof(*out));
    if (n > max)
        kp_yaml_complain(r, key, "at most %zu are allowed", max);
    for (size_t i = 0; i < n && !r->failed; i++) {
        const struct kp_yaml *item = value->type == KP_YAML_LIST ? value->items[i] : value;
        if (item->type != KP_YAML_SCALAR || kp_yaml_is_null(item))
            complain(r, item, "a text is needed");
        else
            out[i] = item->text;
    }
    if (r->failed)
        return none;
    if (count)
        *count = n;
    return out;
}

const struct kp_yaml *kp_yaml_list(struct kp_yaml_reader *r, const char *key, size_t max,
                                   bool required)
{
    const struct kp_yaml *value = kp_yaml_node(r, key, required);
    if (!value)
        return NULL;
    if (value->type != KP_YAML_LIST) {
        complain(r, value, "a list is needed");
        return NULL;
    }
    if (value->count > max) {
        kp_yaml_complain(r, key, "at most %zu are allowed", max);
        return NULL;
    }
    return value;
}

const struct kp_yaml *kp_yaml_map(struct kp_yaml_reader *r, const char *key, bool required)
{
    const struct kp_yaml *value = kp_yaml_node(r, key, required);
    if (!value || value->type == KP_YAML_MAP)
        return value;
    complain(r, value, "a mapping (key: value) is needed");
    return NULL;
}

static bool is_known(const struct kp_yaml_reader *r, const char *key)
{
    for (size_t i = 0; i < r->known_count; i++)
        if (strcmp(r->known[i], key) == 0)
            return true;
    return false;
}

int kp_yaml_finish(struct kp_yaml_reader *r)
{
    if (r->failed)
        return -1;
    for (size_t i = 0; r->map && i < r->map->count; i++) {
        const char *key = r->map->keys[i];
        if (is_known(r, key))
            continue;
        const char *near = kp_nearest(key, r->known, r->known_count);
        r->failed = true;
        return kp_yaml_fail(r->map->key_nodes[i], r->err, "unknown key%s%s%s",
                            near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    return 0;
}
