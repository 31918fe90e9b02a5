/* SPDX-License-Identifier: Apache-2.0 */
/* Kubespray's values as JSON, which is YAML, too. */
#include "install/inventory/kubespray_convert.h"

#include <strings.h>

#define LIST_MAX ((size_t)64 << 10)

bool kp_convert_empty(const struct kp_yaml *value)
{
    return !value || (value->type == KP_YAML_SCALAR ? !value->text[0] : !value->count);
}

static bool has_template(const struct kp_yaml *value)
{
    if (value->type == KP_YAML_SCALAR)
        return kp_kubespray_template(value);
    for (size_t i = 0; i < value->count; i++)
        if (has_template(value->items[i]))
            return true;
    return false;
}

/* Ansible puts a text into a configuration as it is: there "110" in quotes is a number, too. */
static json_t *json_of_text(const char *text)
{
    int64_t number;
    if (strcasecmp(text, "true") == 0 || strcasecmp(text, "false") == 0)
        return json_boolean(strcasecmp(text, "true") == 0);
    if (kp_parse_i64(kp_slice_of(text), &number))
        return json_integer(number);
    return json_string(text);
}

json_t *kp_convert_json(struct kp_converter *c, const struct kp_yaml *value)
{
    json_t *out = NULL;
    if (value->type == KP_YAML_SCALAR) {
        const char *text = kp_convert_text_at(c, value);
        return text ? json_of_text(text) : NULL;
    }
    if (has_template(value)) {
        kp_convert_complain(c, value,
                            "a template that only Ansible can compute: write the value itself");
        return NULL;
    }
    kp_auto_free char *text = kp_yaml_json(value);
    if (kp_json_parse(&out, kp_slice_of(text), KP_YAML_MAX, kp_yaml_name(value), c->err) < 0)
        c->failed = true;
    return out;
}

char *kp_convert_joined(struct kp_converter *c, const struct kp_yaml *value)
{
    kp_auto_value(kp_buf) out = KP_BUF(LIST_MAX);
    if (value->type == KP_YAML_MAP)
        kp_convert_complain(c, value, "a value or a list of values is needed");
    size_t n = value->type == KP_YAML_LIST ? value->count : 1;
    for (size_t i = 0; i < n && !c->failed; i++) {
        const struct kp_yaml *one = value->type == KP_YAML_LIST ? value->items[i] : value;
        const char *text = kp_convert_text_at(c, one);
        kp_buf_addf(&out, "%s%s", i ? "," : "", text ? text : "");
    }
    return kp_strdup(out.len ? kp_buf_slice(&out).ptr : "");
}

json_t *kp_convert_words(struct kp_converter *c, const struct kp_yaml *value)
{
    json_t *out = json_array();
    kp_auto_free char *all = kp_convert_joined(c, value);
    for (const char *p = all; *p;) {
        size_t len = strcspn(p, ", \t\"");
        if (len)
            json_array_append_new(out, json_stringn(p, len));
        p += len + (p[len] != '\0');
    }
    return out;
}

json_t *kp_convert_pairs(struct kp_converter *c, const json_t *words, char separator,
                         const struct kp_yaml *at)
{
    json_t *out = json_object(), *word;
    size_t i;
    json_array_foreach(words, i, word)
    {
        const char *text = json_string_value(word), *cut = strchr(text, separator);
        kp_auto_free char *name = cut ? kp_strndup(text, (size_t)(cut - text)) : NULL;
        if (!cut || cut == text)
            kp_convert_complain(c, at, "pairs (name=value) are needed");
        else
            json_object_set_new(out, name, json_string(cut + 1));
    }
    return out;
}

json_t *kp_convert_gates(struct kp_converter *c, const struct kp_yaml *value)
{
    json_t *out = json_object(), *gate;
    const char *name;
    if (value->type == KP_YAML_MAP) {
        for (size_t i = 0; i < value->count; i++) {
            const char *text = kp_convert_text_at(c, value->items[i]);
            json_object_set_new(out, value->keys[i], json_of_text(text ? text : ""));
        }
        return out;
    }
    kp_auto_json words = kp_convert_words(c, value);
    kp_auto_json pairs = kp_convert_pairs(c, words, '=', value);
    json_object_foreach(pairs, name, gate)
        json_object_set_new(out, name, json_of_text(json_string_value(gate)));
    return out;
}

void kp_convert_set(json_t *object, const char *path, json_t *value)
{
    const char *dot = strchr(path, '.');
    if (!dot) {
        json_object_set_new(object, path, value);
        return;
    }
    kp_auto_free char *first = kp_strndup(path, (size_t)(dot - path));
    if (!json_object_get(object, first))
        json_object_set_new(object, first, json_object());
    json_object_set_new(json_object_get(object, first), dot + 1, value);
}

void kp_convert_write(struct kp_converter *c, const char *indent, const char *key,
                      const json_t *value)
{
    bool nothing = (json_is_object(value) && !json_object_size(value)) ||
                   (json_is_array(value) && !json_array_size(value));
    if (!value || nothing)
        return;
    kp_auto_free char *text = json_dumps(value, JSON_ENCODE_ANY);
    kp_buf_addf(c->out, "%s%s: %s\n", indent, key, text ? text : "null");
}

static bool is_word(const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const char others[] = "0123456789_.-";
    size_t len = strspn(text, letters);
    while (len && text[len] && (strchr(letters, text[len]) || strchr(others, text[len])))
        len++;
    return len && !text[len];
}

void kp_convert_members(struct kp_converter *c, const char *indent, const char *key, json_t *object)
{
    kp_auto_free char *deeper = kp_asprintf("%s  ", indent);
    const char *name;
    json_t *value;
    if (!json_object_size(object))
        return;
    kp_buf_addf(c->out, "%s%s:\n", indent, key);
    json_object_foreach(object, name, value)
    {
        kp_auto_json quoted = json_string(name);
        kp_auto_free char *member = json_dumps(quoted, JSON_ENCODE_ANY);
        kp_convert_write(c, deeper, is_word(name) ? name : member, value);
    }
}
