/* SPDX-License-Identifier: Apache-2.0 */
#include "install/node/node.h"

#include "core/text.h"

static int complain(struct kp_err *err, const char *key, const char *what)
{
    return kp_fail_as(err, KP_USAGE, "bad_request", "request field \"%s\" %s", key, what);
}

int kp_node_text(const json_t *args, const char *key, size_t max, const char **out,
                 struct kp_err *err)
{
    const json_t *value = json_object_get(args, key);
    if (!json_is_string(value))
        return complain(err, key, "is missing or not a text");
    if (json_string_length(value) > max ||
        strlen(json_string_value(value)) != json_string_length(value))
        return complain(err, key, "is too long or has a zero byte");
    *out = json_string_value(value);
    return 0;
}

int kp_node_number(const json_t *args, const char *key, uint64_t max, uint64_t *out,
                   struct kp_err *err)
{
    const json_t *value = json_object_get(args, key);
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        (uint64_t)json_integer_value(value) > max)
        return complain(err, key, "is missing, not a number, or too large");
    *out = (uint64_t)json_integer_value(value);
    return 0;
}

bool kp_node_flag(const json_t *args, const char *key)
{
    return json_is_true(json_object_get(args, key));
}

int kp_node_texts(const json_t *args, const char *key, size_t max, const char ***out, size_t *count,
                  struct kp_err *err)
{
    const json_t *value = json_object_get(args, key);
    *out = NULL;
    *count = 0;
    if (!value)
        return 0;
    if (!json_is_array(value) || json_array_size(value) > max)
        return complain(err, key, "is not a list, or too long");
    size_t n = json_array_size(value);
    kp_auto_free const char **items = kp_alloc_array(n + 1, sizeof(*items));
    for (size_t i = 0; i < n; i++) {
        items[i] = json_string_value(json_array_get(value, i));
        if (!items[i] || strlen(items[i]) != json_string_length(json_array_get(value, i)))
            return complain(err, key, "has an item that is not a text");
    }
    *out = kp_steal(&items);
    *count = n;
    return 0;
}

static bool part_is_bad(const char *part, size_t len)
{
    return len == 0 || len > 255 || (len == 1 && part[0] == '.') ||
           (len == 2 && part[0] == '.' && part[1] == '.');
}

static bool path_is_bad(const char *path)
{
    if (path[0] != '/')
        return true;
    for (const char *part = path + 1;;) {
        size_t len = strcspn(part, "/");
        if (part_is_bad(part, len))
            return true;
        part += len;
        if (!*part++)
            return false;
    }
}

bool kp_node_path_is_plain(const char *path)
{
    for (const char *p = path; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return false;
    return strlen(path) <= KP_PATH_MAX && !path_is_bad(path);
}

int kp_node_path(const json_t *args, const char *key, const char **out, struct kp_err *err)
{
    if (kp_node_text(args, key, KP_PATH_MAX, out, err) < 0)
        return -1;
    for (const char *p = *out; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return complain(err, key, "has a control character");
    if (path_is_bad(*out))
        return complain(err, key, "is not a plain absolute path");
    return 0;
}

char *kp_node_own(const struct kp_node_state *state, const char *path)
{
    return kp_asprintf("%s%s", state->root, path);
}

json_t *kp_node_json_text(struct kp_slice text)
{
    json_t *value = json_stringn(text.ptr ? text.ptr : "", text.len);
    if (value)
        return value;
    kp_auto_free char *copy = kp_strndup(text.ptr, text.len);
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)copy[i] >= 0x80)
            copy[i] = '?';
    return json_stringn(copy, text.len);
}

json_t *kp_node_change(bool changed, const char *diff)
{
    json_t *out = json_pack("{s:b}", "changed", (int)changed);
    if (diff)
        json_object_set_new(out, "diff", kp_node_json_text(kp_slice_of(diff)));
    return out;
}
