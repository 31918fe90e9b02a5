/* SPDX-License-Identifier: Apache-2.0 */
#include "install/inventory/keys.h"

#include "core/file.h"
#include "core/text.h"

#include <assert.h>

#define KEYS_MAX 128 /* of one section */

static void *member(const struct kp_key *key, void *into)
{
    return (char *)into + key->offset;
}

static void put_number(const struct kp_key *key, void *into, uint64_t number)
{
    void *at = member(key, into);
    if (key->size == sizeof(bool))
        *(bool *)at = number != 0;
    else if (key->size == sizeof(unsigned))
        *(unsigned *)at = (unsigned)number;
    else
        *(uint64_t *)at = number;
}

static void put_array(const struct kp_key *key, void *into, void *array, size_t count)
{
    *(void **)member(key, into) = array;
    *(size_t *)((char *)into + key->count) = count;
}

/* Errors of a single value; reading NULL: the table's own fallback, which must be good. */
static int complain(const struct kp_reading *reading, const struct kp_yaml *at, const char *need,
                    const char *text)
{
    assert(reading);
    return kp_yaml_fail(at, reading->err, "%s is not %s", text[0] ? text : "''", need);
}

static int put_word(const struct kp_key *key, const struct kp_reading *reading,
                    const struct kp_yaml *at, const char *text, void *into)
{
    kp_auto_value(kp_buf) words = KP_BUF(1024);
    for (size_t i = 0; key->words[i]; i++) {
        if (strcmp(key->words[i], text) == 0) {
            put_number(key, into, key->least + i);
            return 0;
        }
        kp_buf_addf(&words, "%s%s", i ? ", " : "", key->words[i]);
    }
    assert(reading);
    return kp_yaml_fail(at, reading->err, "one of %s is needed, not '%s'", words.data, text);
}

static int put_bool(const struct kp_key *key, const struct kp_reading *reading,
                    const struct kp_yaml *at, const char *text, void *into)
{
    bool yes = strcmp(text, "true") == 0;
    if ((at && !at->plain) || (!yes && strcmp(text, "false") != 0)) {
        assert(reading);
        return kp_yaml_fail(at, reading->err, "true or false is needed, not '%s'", text);
    }
    put_number(key, into, yes);
    return 0;
}

static int put_amount(const struct kp_key *key, const struct kp_reading *reading,
                      const struct kp_yaml *at, const char *text, void *into)
{
    uint64_t number = 0;
    bool size = key->type == KP_KEY_SIZE;
    bool good = size ? kp_parse_size(kp_slice_of(text), &number)
                     : kp_parse_u64(kp_slice_of(text), key->most, &number) && (!at || at->plain);
    if (good && number >= key->least && number <= key->most) {
        put_number(key, into, number);
        return 0;
    }
    kp_auto_free char *kind = kp_key_kind(key);
    assert(reading);
    return kp_yaml_fail(at, reading->err, "a %s is needed, not '%s'", kind, text);
}

static int put_text(const struct kp_key *key, const struct kp_reading *reading,
                    const struct kp_yaml *at, const char *text, void *into)
{
    const char **out = member(key, into);
    if (!reading) { // the table's own text lives for ever
        *out = text;
        return 0;
    }
    if (!text[0] && key->required)
        return kp_yaml_fail(at, reading->err, "must not be empty");
    if (key->good && !key->good(text))
        return complain(reading, at, key->need, text);
    *out = kp_arena_strdup(reading->arena, text);
    return 0;
}

static int put_path(const struct kp_key *key, const struct kp_reading *reading, const char *text,
                    void *into)
{
    assert(reading);
    kp_auto_free char *expanded = kp_path_expand(text);
    kp_auto_free char *joined =
        expanded[0] == '/' ? kp_strdup(expanded) : kp_path_join(reading->folder, expanded);
    *(const char **)member(key, into) = kp_arena_strdup(reading->arena, joined);
    return 0;
}

static int put_scalar(const struct kp_key *key, const struct kp_reading *reading,
                      const struct kp_yaml *at, const char *text, void *into)
{
    switch (key->type) {
    case KP_KEY_WORD:
        return put_word(key, reading, at, text, into);
    case KP_KEY_BOOL:
        return put_bool(key, reading, at, text, into);
    case KP_KEY_NUMBER:
    case KP_KEY_SIZE:
        return put_amount(key, reading, at, text, into);
    case KP_KEY_PATH:
        return put_path(key, reading, text, into);
    default:
        return put_text(key, reading, at, text, into);
    }
}

static int put_texts(const struct kp_key *key, const struct kp_reading *reading,
                     const struct kp_yaml *value, void *into)
{
    size_t n = value->type == KP_YAML_LIST ? value->count : 1;
    if (n > key->most)
        return kp_yaml_fail(value, reading->err, "at most %llu are allowed",
                            (unsigned long long)key->most);
    const char **out = kp_arena_array(reading->arena, n + 1, sizeof(*out));
    for (size_t i = 0; i < n; i++) {
        const struct kp_yaml *item = value->type == KP_YAML_LIST ? value->items[i] : value;
        if (item->type != KP_YAML_SCALAR || kp_yaml_is_null(item))
            return kp_yaml_fail(item, reading->err, "a text is needed");
        if (key->good && !key->good(item->text))
            return complain(reading, item, key->need, item->text);
        out[i] = kp_arena_strdup(reading->arena, item->text);
    }
    put_array(key, into, out, n);
    return 0;
}

static int put_pairs(const struct kp_key *key, const struct kp_reading *reading,
                     const struct kp_yaml *value, void *into)
{
    if (value->type != KP_YAML_MAP)
        return kp_yaml_fail(value, reading->err, "a mapping (key: value) is needed");
    if (value->count > key->most)
        return kp_yaml_fail(value, reading->err, "at most %llu are allowed",
                            (unsigned long long)key->most);
    struct kp_pair *out = kp_arena_array(reading->arena, value->count + 1, sizeof(*out));
    for (size_t i = 0; i < value->count; i++) {
        const struct kp_yaml *item = value->items[i];
        if (key->good && !key->good(value->keys[i]))
            return complain(reading, value->key_nodes[i], key->need, value->keys[i]);
        if (item->type != KP_YAML_SCALAR)
            return kp_yaml_fail(item, reading->err, "a single text is needed");
        if (key->good_value && !key->good_value(item->text))
            return complain(reading, item, key->need_value, item->text);
        out[i] = (struct kp_pair){kp_arena_strdup(reading->arena, value->keys[i]),
                                  kp_arena_strdup(reading->arena, item->text)};
    }
    put_array(key, into, out, value->count);
    return 0;
}

/* *out counts what has been read, also amid the reading. */
static int put_elements(const struct kp_key *key, const struct kp_reading *reading,
                        const struct kp_yaml *value, void *into)
{
    const struct kp_section *section = key->section;
    bool named = key->type == KP_KEY_NAMED;
    if (value->type != (named ? KP_YAML_MAP : KP_YAML_LIST))
        return kp_yaml_fail(value, reading->err,
                            named ? "a mapping (name: {…}) is needed" : "a list is needed");
    if (value->count > key->most)
        return kp_yaml_fail(value, reading->err, "at most %llu are allowed",
                            (unsigned long long)key->most);
    char *array = kp_arena_array(reading->arena, value->count + 1, section->size);
    for (size_t i = 0; i < value->count; i++) {
        void *element = array + i * section->size;
        const char *name = named ? kp_arena_strdup(reading->arena, value->keys[i]) : NULL;
        if (named && key->good && !key->good(name))
            return complain(reading, value->key_nodes[i], key->need, name);
        kp_keys_defaults(section, element);
        if (section->begin)
            section->begin(reading, name, value->items[i], element);
        if (kp_keys_read(section, reading, value->items[i], element) < 0)
            return -1;
        put_array(key, into, array, i + 1);
        if (section->done && section->done(reading, value->items[i], element) < 0)
            return -1;
    }
    put_array(key, into, array, value->count);
    return 0;
}

static int put(const struct kp_key *key, const struct kp_reading *reading,
               const struct kp_yaml *value, void *into)
{
    switch (key->type) {
    case KP_KEY_TEXTS:
        return put_texts(key, reading, value, into);
    case KP_KEY_PAIRS:
        return put_pairs(key, reading, value, into);
    case KP_KEY_SECTION:
        return kp_keys_read(key->section, reading, value, into);
    case KP_KEY_LIST:
    case KP_KEY_NAMED:
        return put_elements(key, reading, value, into);
    case KP_KEY_OWN:
        return key->read(key, reading, value, into);
    default:
        if (value->type != KP_YAML_SCALAR)
            return kp_yaml_fail(value, reading->err, "a single text is needed");
        return put_scalar(key, reading, value, value->text, into);
    }
}

static int refuse_unknown(const struct kp_section *section, const struct kp_reading *reading,
                          const struct kp_yaml *map)
{
    const char *known[KEYS_MAX];
    size_t n = 0;
    for (const struct kp_key *key = section->keys; key->name; key++) {
        assert(n < KEYS_MAX);
        known[n++] = key->name;
    }
    for (size_t i = 0; i < map->count; i++) {
        bool found = false;
        for (size_t j = 0; j < n; j++)
            found = found || strcmp(known[j], map->keys[i]) == 0;
        if (found)
            continue;
        const char *near = kp_nearest(map->keys[i], known, n);
        return kp_yaml_fail(map->key_nodes[i], reading->err, "unknown key%s%s%s",
                            near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    return 0;
}

void kp_keys_defaults(const struct kp_section *section, void *into)
{
    for (const struct kp_key *key = section->keys; key->name; key++) {
        int bad = 0;
        if (key->type == KP_KEY_SECTION)
            kp_keys_defaults(key->section, into);
        else if (key->fallback)
            bad = put_scalar(key, NULL, NULL, key->fallback, into);
        assert(!bad);
        (void)bad;
    }
}

int kp_keys_read(const struct kp_section *section, const struct kp_reading *reading,
                 const struct kp_yaml *map, void *into)
{
    if (!map)
        return 0;
    if (map->type != KP_YAML_MAP)
        return kp_yaml_fail(map, reading->err, "a mapping (key: value) is needed");
    if (refuse_unknown(section, reading, map) < 0)
        return -1;
    for (const struct kp_key *key = section->keys; key->name; key++) {
        const struct kp_yaml *value = kp_yaml_get(map, key->name);
        if (!value && key->required)
            return kp_yaml_fail(map, reading->err, "%s is missing", key->name);
        if (value && put(key, reading, value, into) < 0)
            return -1;
    }
    return 0;
}
