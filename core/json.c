/* SPDX-License-Identifier: Apache-2.0 */
#include "core/json.h"

#include "core/text.h"

#include <stdio.h>

static int check_depth(struct kp_slice text, const char *what, struct kp_err *err)
{
    size_t depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (quoted) {
            i += c == '\\';
            quoted = c != '"';
            continue;
        }
        quoted = c == '"';
        depth += c == '[' || c == '{';
        depth -= depth && (c == ']' || c == '}');
        if (depth > KP_JSON_DEPTH_MAX)
            return kp_fail_as(err, KP_FAILED, "bad_json", "%s: nested deeper than %d", what,
                              KP_JSON_DEPTH_MAX);
    }
    return 0;
}

int kp_json_parse(json_t **out, struct kp_slice text, size_t max, const char *what,
                  struct kp_err *err)
{
    json_error_t error;
    if (text.len > max)
        return kp_fail_as(err, KP_FAILED, "too_large", "%s: larger than %zu bytes", what, max);
    if (check_depth(text, what, err) < 0)
        return -1;
    json_t *value = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, &error);
    if (!value)
        return kp_fail_as(err, KP_FAILED, "bad_json", "%s:%d:%d: %s", what, error.line,
                          error.column, error.text);
    *out = value;
    return 0;
}

char *kp_json_dump(const json_t *value, bool compact)
{
    size_t flags = (compact ? JSON_COMPACT : JSON_INDENT(2)) | JSON_ENCODE_ANY;
    char *text = json_dumps(value, flags);
    char *out = kp_asprintf("%s\n", text ? text : "null");
    kp_free(text);
    return out;
}

bool kp_json_lists(const json_t *array, const char *text)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *item = json_string_value(json_array_get(array, i));
        if (item && strcmp(item, text) == 0)
            return true;
    }
    return false;
}

const char *kp_json_string(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

const char *kp_json_string_in(const json_t *object, const char *part, const char *key)
{
    return kp_json_string(json_object_get(object, part), key);
}

void kp_json_print(const json_t *value)
{
    kp_auto_free char *text = kp_json_dump(value, false);
    fputs(text, stdout);
}

static void add_error(json_t *value, const struct kp_err *err)
{
    json_object_set_new(value, "code", json_integer(err->code ? err->code : KP_FAILED));
    json_object_set_new(value, "reason", json_string(kp_err_reason(err)));
    json_object_set_new(value, "message", json_string(err->message));
    if (err->hint[0])
        json_object_set_new(value, "hint", json_string(err->hint));
}

int kp_json_end(json_t *value, int result, struct kp_err *err)
{
    json_object_set_new(value, "ok", json_boolean(result >= 0));
    if (result < 0)
        add_error(value, err);
    kp_json_print(value);
    if (err)
        err->reported = true;
    return result;
}

struct kp_json_reader kp_json_read(const json_t *value, const char *path, struct kp_arena *arena,
                                   struct kp_err *err)
{
    struct kp_json_reader r = {.object = value, .path = path, .arena = arena, .err = err};
    if (!json_is_object(value)) {
        r.failed = true;
        kp_fail_as(err, KP_FAILED, "bad_document", "%s: an object is needed", path);
        return r;
    }
    r.seen = kp_arena_alloc(arena, json_object_size(value) + 1);
    return r;
}

void kp_json_complain(struct kp_json_reader *r, const char *key, const char *fmt, ...)
{
    if (r->failed)
        return;
    r->failed = true;
    char text[KP_ERR_MESSAGE_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    kp_fail_as(r->err, KP_FAILED, "bad_document", "%s.%s: %s", r->path, key, text);
}

static void mark_seen(struct kp_json_reader *r, const char *key)
{
    size_t i = 0;
    for (void *it = json_object_iter((json_t *)(uintptr_t)r->object); it;
         it = json_object_iter_next((json_t *)(uintptr_t)r->object, it), i++)
        if (strcmp(json_object_iter_key(it), key) == 0)
            r->seen[i] = 1;
}

static const json_t *get(struct kp_json_reader *r, const char *key, bool optional)
{
    if (r->failed)
        return NULL;
    const json_t *value = json_object_get(r->object, key);
    if (!value) {
        if (!optional)
            kp_json_complain(r, key, "is missing");
        return NULL;
    }
    if (r->seen)
        mark_seen(r, key);
    return value;
}

static const char *read_text(struct kp_json_reader *r, const char *key, size_t max, bool optional)
{
    const json_t *value = get(r, key, optional);
    if (!value)
        return NULL;
    if (!json_is_string(value)) {
        kp_json_complain(r, key, "a text is needed");
        return NULL;
    }
    size_t len = json_string_length(value);
    if (len > max) { // a zero byte within was refused when the document was parsed
        kp_json_complain(r, key, "longer than %zu bytes", max);
        return NULL;
    }
    return kp_arena_strndup(r->arena, json_string_value(value), len);
}

const char *kp_json_text(struct kp_json_reader *r, const char *key, size_t max)
{
    const char *text = read_text(r, key, max, false);
    return text ? text : "";
}

const char *kp_json_text_optional(struct kp_json_reader *r, const char *key, size_t max)
{
    return read_text(r, key, max, true);
}

static uint64_t read_number(struct kp_json_reader *r, const char *key, uint64_t max,
                            uint64_t fallback, bool optional)
{
    const json_t *value = get(r, key, optional);
    if (!value)
        return fallback;
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 0 || (uint64_t)number > max) {
        kp_json_complain(r, key, "a whole number from 0 to %llu is needed",
                         (unsigned long long)max);
        return fallback;
    }
    return (uint64_t)number;
}

uint64_t kp_json_number(struct kp_json_reader *r, const char *key, uint64_t max)
{
    return read_number(r, key, max, 0, false);
}

uint64_t kp_json_number_optional(struct kp_json_reader *r, const char *key, uint64_t max,
                                 uint64_t fallback)
{
    return read_number(r, key, max, fallback, true);
}

bool kp_json_bool_optional(struct kp_json_reader *r, const char *key, bool fallback)
{
    const json_t *value = get(r, key, true);
    if (!value)
        return fallback;
    if (!json_is_boolean(value))
        kp_json_complain(r, key, "true or false is needed");
    return json_is_true(value);
}

struct kp_digest kp_json_digest(struct kp_json_reader *r, const char *key)
{
    struct kp_digest digest = {{0}};
    const char *text = kp_json_text(r, key, KP_SHA256_HEX + 7);
    if (!r->failed && !kp_digest_parse(kp_slice_of(text), &digest))
        kp_json_complain(r, key, "a SHA-256 in lower-case hex is needed");
    return digest;
}

size_t kp_json_array(struct kp_json_reader *r, const char *key, size_t max, bool optional,
                     const json_t **out)
{
    *out = NULL;
    const json_t *value = get(r, key, optional);
    if (!value)
        return 0;
    if (!json_is_array(value) || json_array_size(value) > max) {
        kp_json_complain(r, key, "a list of at most %zu is needed", max);
        return 0;
    }
    *out = value;
    return json_array_size(value);
}

const char **kp_json_texts(struct kp_json_reader *r, const char *key, size_t max, bool optional,
                           size_t *count)
{
    const json_t *array;
    size_t n = kp_json_array(r, key, max, optional, &array);
    const char **out = kp_arena_array(r->arena, n + 1, sizeof(*out));
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(array, i));
        if (!text)
            kp_json_complain(r, key, "element %zu: a text is needed", i);
        out[i] = kp_arena_strdup(r->arena, text ? text : "");
    }
    if (count)
        *count = n;
    return out;
}

const json_t *kp_json_object(struct kp_json_reader *r, const char *key, bool optional)
{
    const json_t *value = get(r, key, optional);
    if (value && !json_is_object(value)) {
        kp_json_complain(r, key, "an object is needed");
        return NULL;
    }
    return value;
}

struct kp_json_reader kp_json_element(struct kp_json_reader *r, const char *key,
                                      const json_t *array, size_t i)
{
    const char *path = kp_arena_printf(r->arena, "%s.%s[%zu]", r->path, key, i);
    return kp_json_read(json_array_get(array, i), path, r->arena, r->err);
}

void kp_json_lenient(struct kp_json_reader *r)
{
    r->seen = NULL;
}

int kp_json_finish(struct kp_json_reader *r)
{
    if (r->failed)
        return -1;
    size_t i = 0;
    json_t *object = (json_t *)(uintptr_t)r->object;
    for (void *it = json_object_iter(object); it && r->seen;
         it = json_object_iter_next(object, it), i++)
        if (!r->seen[i])
            kp_json_complain(r, json_object_iter_key(it), "unknown key");
    return r->failed ? -1 : 0;
}
