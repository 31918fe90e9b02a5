/* SPDX-License-Identifier: Apache-2.0 */
#include "manifests/walk.h"

#include <stdio.h>
#include <yaml.h>

struct level {
    bool map;
    bool value_next; // in a map: the key has been read
    size_t index;    // in a list
    size_t path_len; // of the path up to this level
    char key[128];
};

struct walk {
    yaml_parser_t parser;
    const char *name;
    struct kp_err *err;
    int (*each)(void *user, const struct kp_walk_scalar *scalar, struct kp_err *err);
    void *user;
    struct level levels[KP_WALK_DEPTH_MAX];
    size_t depth;
    unsigned document, document_line;
    char path[KP_WALK_PATH_MAX];
};

#define auto_event __attribute__((cleanup(yaml_event_delete))) yaml_event_t

static int fail_at(struct walk *w, yaml_mark_t mark, const char *text)
{
    return kp_fail_as(w->err, KP_USAGE, "bad_yaml", "%s:%zu:%zu: %s", w->name, mark.line + 1,
                      mark.column + 1, text);
}

static void add_path(struct walk *w, size_t from, const char *key, size_t index)
{
    size_t room = sizeof(w->path) - from;
    if (key)
        snprintf(w->path + from, room, "%s%s", from ? "." : "", key);
    else
        snprintf(w->path + from, room, "[%zu]", index);
}

/* Sets the path to the place of the value that comes now. */
static void place_value(struct walk *w)
{
    if (!w->depth) {
        w->path[0] = '\0';
        return;
    }
    struct level *top = &w->levels[w->depth - 1];
    add_path(w, top->path_len, top->map ? top->key : NULL, top->index);
}

static void finish_value(struct walk *w)
{
    if (!w->depth)
        return;
    struct level *top = &w->levels[w->depth - 1];
    top->value_next = false;
    top->index++;
}

static const char *nearest_key(const struct walk *w)
{
    for (size_t i = w->depth; i > 0; i--)
        if (w->levels[i - 1].map)
            return w->levels[i - 1].key;
    return "";
}

static bool is_key(const struct walk *w)
{
    return w->depth && w->levels[w->depth - 1].map && !w->levels[w->depth - 1].value_next;
}

static int take_scalar(struct walk *w, const yaml_event_t *event)
{
    yaml_scalar_style_t style = event->data.scalar.style;
    struct kp_slice text = {(const char *)event->data.scalar.value, event->data.scalar.length};
    if (is_key(w)) {
        struct level *top = &w->levels[w->depth - 1];
        snprintf(top->key, sizeof(top->key), "%.*s", (int)(text.len < 127 ? text.len : 127),
                 text.ptr);
        top->value_next = true;
        return 0;
    }
    place_value(w);
    struct kp_walk_scalar scalar = {
        .line = (unsigned)event->start_mark.line + 1,
        .column = (unsigned)event->start_mark.column + 1,
        .path = w->path,
        .key = nearest_key(w),
        .text = text,
        .document = w->document,
        .document_line = w->document_line,
        .block = style == YAML_LITERAL_SCALAR_STYLE || style == YAML_FOLDED_SCALAR_STYLE,
    };
    int result = w->each(w->user, &scalar, w->err);
    finish_value(w);
    return result;
}

static int open_level(struct walk *w, const yaml_event_t *event, bool map)
{
    if (is_key(w))
        return fail_at(w, event->start_mark, "a key must be a text");
    if (w->depth == KP_WALK_DEPTH_MAX)
        return fail_at(w, event->start_mark, "nested too deeply");
    place_value(w);
    size_t len = strlen(w->path);
    w->levels[w->depth++] = (struct level){.map = map, .path_len = len};
    return 0;
}

static int take_event(struct walk *w, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return take_scalar(w, event);
    case YAML_DOCUMENT_START_EVENT:
        w->document++;
        w->document_line = (unsigned)event->start_mark.line + 1;
        return 0;
    case YAML_MAPPING_START_EVENT:
        return open_level(w, event, true);
    case YAML_SEQUENCE_START_EVENT:
        return open_level(w, event, false);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        w->depth--;
        finish_value(w);
        return 0;
    case YAML_ALIAS_EVENT: // what it names was seen where it was written
        if (is_key(w))
            return fail_at(w, event->start_mark, "an alias as a key is not allowed");
        finish_value(w);
        return 0;
    default:
        return 0;
    }
}

static int walk_all(struct walk *w)
{
    for (;;) {
        auto_event event = {0};
        if (!yaml_parser_parse(&w->parser, &event))
            return fail_at(w, w->parser.problem_mark,
                           w->parser.problem ? w->parser.problem : "cannot be read");
        if (event.type == YAML_STREAM_END_EVENT)
            return 0;
        if (take_event(w, &event) < 0)
            return -1;
    }
}

int kp_yaml_walk(struct kp_slice text, const char *name,
                 int (*each)(void *user, const struct kp_walk_scalar *scalar, struct kp_err *err),
                 void *user, struct kp_err *err)
{
    if (text.len > KP_WALK_MAX)
        return kp_fail_as(err, KP_USAGE, "too_large", "%s: larger than %zu bytes", name,
                          KP_WALK_MAX);
    kp_auto_free struct walk *w = kp_alloc(sizeof(*w));
    w->name = name;
    w->err = err;
    w->each = each;
    w->user = user;
    if (!yaml_parser_initialize(&w->parser))
        return kp_fail(err, KP_FAILED, "%s: out of memory", name);
    yaml_parser_set_input_string(&w->parser, (const unsigned char *)(text.len ? text.ptr : ""),
                                 text.len);
    yaml_parser_set_encoding(&w->parser, YAML_UTF8_ENCODING);
    int result = walk_all(w);
    yaml_parser_delete(&w->parser);
    return result;
}
