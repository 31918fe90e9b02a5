/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/trust_list.h"

#include "bundle/names.h"
#include "bundle/spki.h"
#include "core/text.h"

void kp_trust_list_free(struct kp_trust_list *list)
{
    if (!list)
        return;
    kp_document_free(list->document);
    kp_arena_free(list->arena);
    kp_free(list);
}

static const char *read_time(struct kp_json_reader *r, const char *key, bool optional)
{
    time_t when;
    const char *text = optional ? kp_json_text_optional(r, key, KP_KEY_FILE_MAX)
                                : kp_json_text(r, key, KP_KEY_FILE_MAX);
    if (!r->failed && text && !kp_parse_utc(text, &when))
        kp_json_complain(r, key, "\"%.64s\": a time like 2026-11-23T21:00:00Z is needed", text);
    return text;
}

static void read_roles(struct kp_json_reader *r, struct kp_trust_key *key)
{
    const char **texts = kp_json_texts(r, "roles", KP_KEY_ROLES, false, NULL);
    for (; !r->failed && *texts; texts++) {
        unsigned role = kp_key_role_parse(*texts);
        if (!role || key->roles & role)
            kp_json_complain(r, "roles", "\"%.64s\" is unknown or there twice", *texts);
        key->roles |= role;
    }
}

static void read_key(struct kp_trust_list *list, struct kp_json_reader *r, size_t i)
{
    struct kp_trust_key *key = &list->keys[i];
    struct kp_err err = KP_ERR_INIT;
    struct kp_digest id;
    key->name = kp_json_text(r, "name", KP_KEY_FILE_MAX);
    key->id = kp_json_digest(r, "id");
    const char *pem = kp_json_text(r, "pem", KP_KEY_FILE_MAX);
    read_roles(r, key);
    key->not_before = read_time(r, "not_before", true);
    key->not_after = read_time(r, "not_after", true);
    if (r->failed)
        return;
    if (!kp_name_ok(key->name))
        kp_json_complain(r, "name", "letters, digits and . _ + - are allowed");
    if (kp_spki_parse(kp_slice_of(pem), key->public_key, &err) < 0) {
        kp_json_complain(r, "pem", "%s", err.message);
        return;
    }
    kp_spki_id(key->public_key, &id);
    if (!kp_digest_equal(&id, &key->id))
        kp_json_complain(r, "id", "is not the id of the key in pem");
    for (size_t k = 0; k < i; k++)
        if (kp_digest_equal(&list->keys[k].id, &key->id) ||
            strcmp(list->keys[k].name, key->name) == 0)
            kp_json_complain(r, "id", "key or name is there twice");
}

static void read_thresholds(struct kp_trust_list *list, struct kp_json_reader *top)
{
    kp_auto_free char *path = kp_asprintf("%s: thresholds", top->path);
    struct kp_json_reader r =
        kp_json_read(kp_json_object(top, "thresholds", false), path, list->arena, top->err);
    for (unsigned i = 0; i < KP_KEY_ROLES && !top->failed && !r.failed; i++) {
        const char *text = kp_key_role_text(1U << i);
        unsigned holders = 0;
        for (size_t k = 0; k < list->key_count; k++)
            holders += list->keys[k].roles & 1U << i ? 1 : 0;
        if (i >= KP_KEY_ROLES_NEEDED && !holders && !json_object_get(r.object, text))
            continue;
        list->thresholds[i] = (unsigned)kp_json_number(&r, text, KP_TRUST_KEYS_MAX);
        if (!r.failed && (!list->thresholds[i] || list->thresholds[i] > holders))
            kp_json_complain(&r, text, "is %u, and %u key%s have that role", list->thresholds[i],
                             holders, holders == 1 ? "" : "s");
    }
    top->failed = kp_json_finish(&r) < 0 || top->failed;
}

static int read_list(struct kp_trust_list *list, const json_t *value, struct kp_err *err)
{
    struct kp_json_reader top = kp_json_read(value, "trust list", list->arena, err);
    const json_t *array;
    (void)kp_json_text(&top, "kind", KP_KEY_FILE_MAX);
    list->version = kp_json_number(&top, "version", KP_TRUST_VERSION_MAX);
    list->created = read_time(&top, "created", false);
    list->has_previous = json_object_get(value, "previous") != NULL;
    if (list->has_previous)
        list->previous = kp_json_digest(&top, "previous");
    if (!top.failed && (!list->version || list->has_previous != (list->version > 1)))
        kp_json_complain(&top, "version", "1 has no previous list, every later one has");
    list->key_count = kp_json_array(&top, "keys", KP_TRUST_KEYS_MAX, false, &array);
    list->keys = kp_arena_array(list->arena, list->key_count, sizeof(*list->keys));
    for (size_t i = 0; i < list->key_count && !top.failed; i++) {
        struct kp_json_reader item = kp_json_element(&top, "keys", array, i);
        if (!item.failed)
            read_key(list, &item, i);
        top.failed = kp_json_finish(&item) < 0;
    }
    if (!top.failed)
        read_thresholds(list, &top);
    return kp_json_finish(&top);
}

static json_t *key_json(const struct kp_trust_key *key)
{
    kp_auto_free char *pem = kp_spki_pem(key->public_key);
    json_t *roles = json_array();
    for (unsigned i = 0; i < KP_KEY_ROLES; i++)
        if (key->roles & 1U << i)
            json_array_append_new(roles, json_string(kp_key_role_text(1U << i)));
    return json_pack("{s:s, s:s, s:s, s:o, s:s*, s:s*}", "name", key->name, "id",
                     kp_digest_hex(&key->id).hex, "pem", pem, "roles", roles, "not_before",
                     key->not_before, "not_after", key->not_after);
}

static json_t *list_json(const struct kp_trust_list *list)
{
    json_t *keys = json_array(), *thresholds = json_object();
    for (size_t i = 0; i < list->key_count; i++)
        json_array_append_new(keys, key_json(&list->keys[i]));
    for (unsigned i = 0; i < KP_KEY_ROLES && (i < KP_KEY_ROLES_NEEDED || list->thresholds[i]); i++)
        json_object_set_new(thresholds, kp_key_role_text(1U << i),
                            json_integer(list->thresholds[i]));
    struct kp_digest_text previous = kp_digest_hex(&list->previous);
    return json_pack("{s:s, s:I, s:s, s:s*, s:o, s:o}", "kind", KP_TRUST_LIST_KIND, "version",
                     (json_int_t)list->version, "created", list->created, "previous",
                     list->has_previous ? previous.hex : NULL, "thresholds", thresholds, "keys",
                     keys);
}

char *kp_trust_list_dump(const struct kp_trust_list *list)
{
    kp_auto_json value = list_json(list);
    return kp_json_dump(value, false);
}

int kp_trust_list_parse(struct kp_trust_list **out, struct kp_document *document,
                        struct kp_err *err)
{
    kp_auto(kp_trust_list) list = kp_alloc(sizeof(*list));
    kp_auto_json value = NULL;
    list->document = document;
    list->arena = kp_arena_new();
    if (kp_document_parse(&value, document, KP_TRUST_LIST_KIND, err) < 0)
        return kp_wrap(err, "trust list");
    if (read_list(list, value, err) < 0) {
        if (err) {
            err->code = KP_UNTRUSTED;
            err->reason = "bad_document";
        }
        return -1;
    }
    if (kp_document_canonical(document, list_json(list), err) < 0)
        return kp_wrap(err, "trust list");
    *out = kp_steal(&list);
    return 0;
}

/* A store of that list's keys alone; the list stays the caller's. */
static int verify_by(const struct kp_trust_list *judge, const struct kp_trust_list *list,
                     const struct kp_revoked *revoked, struct kp_err *err)
{
    const struct kp_judging how = {.role = KP_KEY_ROOT,
                                   .created = list->created,
                                   .revoked = revoked,
                                   .keys = judge->keys,
                                   .key_count = judge->key_count,
                                   .threshold = judge->thresholds[2],
                                   .what = "the trust list"};
    return kp_signatures_judge(&list->document->signatures, &how, kp_document_slice(list->document),
                               NULL, err);
}

int kp_trust_list_check(const struct kp_trust_list *list, const struct kp_revoked *revoked,
                        struct kp_err *err)
{
    if (verify_by(list, list, revoked, err) < 0)
        return kp_wrap(err, "version %llu by its own keys", (unsigned long long)list->version);
    return 0;
}

int kp_trust_list_follows(const struct kp_trust_list *next, const struct kp_trust_list *old,
                          const struct kp_revoked *revoked, struct kp_err *err)
{
    unsigned long long version = next->version, have = old->version;
    if (version <= have)
        return kp_fail_as(err, KP_UNTRUSTED, "rollback",
                          "trust list of version %llu, and %llu is in use; lists only go forward",
                          version, have);
    if (version != have + 1) {
        kp_fail_as(err, KP_UNTRUSTED, "missing_list",
                   "trust list of version %llu, and %llu is in use: the ones between are missing",
                   version, have);
        return kp_hint(err, "import them all at once: kinstall trust import FILE…");
    }
    if (!kp_digest_equal(&next->previous, &old->document->id))
        return kp_fail_as(err, KP_UNTRUSTED, "bad_chain",
                          "trust list of version %llu was made on another list than the one in use",
                          version);
    if (verify_by(old, next, revoked, err) < 0)
        return kp_wrap(err, "version %llu by the keys of version %llu", version, have);
    return kp_trust_list_check(next, revoked, err);
}
