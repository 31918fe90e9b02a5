/* SPDX-License-Identifier: Apache-2.0 */
#include "manifests/render.h"

#include <stdio.h>
#include <stdlib.h>

#define TAG_MAX 64

struct item {
    const char *key; /* of a pair, or NULL */
    const char *value;
};
struct var {
    const char *key;
    struct item *items; /* one for a plain value */
    size_t count;
    bool list;
};
struct kp_vars {
    struct kp_arena *arena;
    struct var *vars;
    size_t count;
};
struct tag {   /* one {{…}} */
    char kind; /* 'v' value, '#', '^', '/' */
    char name[TAG_MAX];
    size_t start, end; /* of the tag; for sections the whole line where it stands alone on it */
};
struct rendering {
    const char *name;
    const struct kp_vars *vars;
    const struct item *item; /* {{.}}, or NULL */
    struct kp_buf *out;
    struct kp_err *err;
};

struct kp_vars *kp_vars_new(void)
{
    struct kp_vars *vars = kp_alloc(sizeof(*vars));
    vars->arena = kp_arena_new();
    return vars;
}

void kp_vars_free(struct kp_vars *vars)
{
    if (!vars)
        return;
    for (size_t i = 0; i < vars->count; i++)
        kp_free(vars->vars[i].items);
    kp_free(vars->vars);
    kp_arena_free(vars->arena);
    kp_free(vars);
}

static struct var *find_var(const struct kp_vars *vars, const char *key)
{
    for (size_t i = 0; i < vars->count; i++)
        if (strcmp(vars->vars[i].key, key) == 0)
            return &vars->vars[i];
    return NULL;
}

static struct var *need_var(struct kp_vars *vars, const char *key)
{
    struct var *var = find_var(vars, key);
    if (var)
        return var;
    vars->vars = kp_realloc_array(vars->vars, vars->count + 1, sizeof(*vars->vars));
    var = &vars->vars[vars->count++];
    *var = (struct var){.key = kp_arena_strdup(vars->arena, key)};
    return var;
}

static void add_item(struct var *var, const char *key, const char *value)
{
    var->items = kp_realloc_array(var->items, var->count + 1, sizeof(*var->items));
    var->items[var->count++] = (struct item){key, value};
}

void kp_vars_set(struct kp_vars *vars, const char *key, const char *value)
{
    struct var *var = need_var(vars, key);
    var->count = 0;
    var->list = false;
    add_item(var, NULL, kp_arena_strdup(vars->arena, value ? value : ""));
}

void kp_vars_setf(struct kp_vars *vars, const char *key, const char *fmt, ...)
{
    char text[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    kp_vars_set(vars, key, text);
}

void kp_vars_flag(struct kp_vars *vars, const char *key, bool on)
{
    kp_vars_set(vars, key, on ? "true" : "");
}

void kp_vars_add(struct kp_vars *vars, const char *key, const char *fmt, ...)
{
    char text[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    struct var *var = need_var(vars, key);
    var->list = true;
    add_item(var, NULL, kp_arena_strdup(vars->arena, text));
}

void kp_vars_add_pair(struct kp_vars *vars, const char *list, const char *key, const char *value)
{
    struct var *var = need_var(vars, list);
    var->list = true;
    add_item(var, kp_arena_strdup(vars->arena, key), kp_arena_strdup(vars->arena, value));
}

static int complain(const struct rendering *r, const char *what, const char *name)
{
    return kp_fail_as(r->err, KP_FAILED, "bad_template", "template %s: %s '%s'", r->name, what,
                      name);
}

static int add_value(struct rendering *r, const char *name, const char *value)
{
    for (const unsigned char *p = (const unsigned char *)value; *p; p++)
        if (*p < 0x20 || *p == 0x7f || *p == '"' || *p == '\\' || *p == '\'')
            return complain(r, "a character that cannot stand here is in the value of", name);
    kp_buf_adds(r->out, value);
    return 0;
}

/* A section's tag that stands alone on its line takes the line with it. */
static void widen_to_line(struct kp_slice text, struct tag *tag)
{
    size_t start = tag->start, end = tag->end;
    while (start > 0 && text.ptr[start - 1] == ' ')
        start--;
    if (start > 0 && text.ptr[start - 1] != '\n')
        return;
    if (end < text.len && text.ptr[end] != '\n')
        return;
    tag->start = start;
    tag->end = end < text.len ? end + 1 : end;
}

/* The next tag at or after `from`; false at the end. A tag without end is returned with an empty
 * name. */
static bool next_tag(struct kp_slice text, size_t from, struct tag *tag)
{
    const char *open = memmem(text.ptr + from, text.len - from, "{{", 2);
    if (!open)
        return false;
    *tag = (struct tag){.kind = 'v', .start = (size_t)(open - text.ptr)};
    size_t rest = text.len - tag->start;
    const char *close = memmem(open, rest, "}}", 2);
    const char *name = open + 2;
    tag->end = close ? (size_t)(close - text.ptr) + 2 : text.len;
    if (!close)
        return true;
    if (*name == '#' || *name == '^' || *name == '/')
        tag->kind = *name++;
    size_t len = (size_t)(close - name);
    if (len == 0 || len >= TAG_MAX)
        return true;
    memcpy(tag->name, name, len);
    if (tag->kind != 'v')
        widen_to_line(text, tag);
    return true;
}

/* Finds the end of the section that `open` begins; nested sections of the same name are not used.
 */
static bool find_close(struct kp_slice text, const struct tag *open, struct tag *close)
{
    size_t from = open->end;
    while (next_tag(text, from, close)) {
        if (close->kind == '/' && strcmp(close->name, open->name) == 0)
            return true;
        from = close->end;
    }
    return false;
}

static int render_part(const struct rendering *outer, struct kp_slice text, unsigned depth);

static int render_section(struct rendering *r, struct kp_slice body, const struct tag *tag,
                          unsigned depth)
{
    const struct var *var = find_var(r->vars, tag->name);
    bool given = var && var->count > 0 && (var->list || var->items[0].value[0]);
    if (given != (tag->kind == '#'))
        return 0;
    if (!given || !var->list)
        return render_part(r, body, depth);
    for (size_t i = 0; i < var->count; i++) {
        struct rendering inner = *r;
        inner.item = &var->items[i];
        if (render_part(&inner, body, depth) < 0)
            return -1;
    }
    return 0;
}

static int render_value(struct rendering *r, const struct tag *tag)
{
    if (strcmp(tag->name, ".") == 0)
        return r->item ? add_value(r, ".", r->item->value) : complain(r, "no list around", ".");
    if (strcmp(tag->name, ".key") == 0)
        return r->item && r->item->key ? add_value(r, ".key", r->item->key)
                                       : complain(r, "no pair around", ".key");
    const struct var *var = find_var(r->vars, tag->name);
    if (!var || var->list)
        return complain(r, var ? "a list is used as a value:" : "nobody gave", tag->name);
    return add_value(r, tag->name, var->items[0].value);
}

static int render_part(const struct rendering *outer, struct kp_slice text, unsigned depth)
{
    struct rendering r = *outer;
    struct tag tag, close;
    size_t at = 0;
    if (depth > KP_RENDER_DEPTH_MAX)
        return complain(&r, "too many sections inside each other at", "…");
    while (next_tag(text, at, &tag)) {
        kp_buf_add(r.out, text.ptr + at, tag.start - at);
        at = tag.end;
        if (!tag.name[0])
            return complain(&r, "a tag without name or end:", "{{");
        if (tag.kind == '/')
            return complain(&r, "the end of a section that was not begun:", tag.name);
        if (tag.kind == 'v') {
            if (render_value(&r, &tag) < 0)
                return -1;
            continue;
        }
        if (!find_close(text, &tag, &close))
            return complain(&r, "no end of section", tag.name);
        struct kp_slice body = {text.ptr + tag.end, close.start - tag.end};
        if (render_section(&r, body, &tag, depth + 1) < 0)
            return -1;
        at = close.end;
    }
    kp_buf_add(r.out, text.ptr + at, text.len - at);
    return 0;
}

int kp_render_text(char **out, const char *name, struct kp_slice text, const struct kp_vars *vars,
                   struct kp_err *err)
{
    kp_auto_value(kp_buf) buf = KP_BUF_SECRET(KP_RENDER_MAX);
    struct rendering r = {.name = name, .vars = vars, .out = &buf, .err = err};
    if (render_part(&r, text, 0) < 0)
        return -1;
    if (buf.overflow)
        return complain(&r, "more than 1 MiB comes out of", name);
    *out = kp_buf_steal(&buf);
    return 0;
}

int kp_render(char **out, const char *name, const struct kp_vars *vars, struct kp_err *err)
{
    for (const struct kp_embedded *t = kp_templates; t->name; t++)
        if (strcmp(t->name, name) == 0)
            return kp_render_text(out, name, (struct kp_slice){t->data, t->size}, vars, err);
    return kp_fail_as(err, KP_FAILED, "bad_template", "there is no template %s", name);
}
