/* SPDX-License-Identifier: Apache-2.0 */
#include "install/addons/records.h"

#include "core/text.h"
#include "install/steps/common.h"

#define FIELDS                                                                                     \
    4 /* of an object's line: apiVersion, kind, namespace, name; "-" where there is none */

void kp_records_free(struct kp_records *records)
{
    if (!records)
        return;
    kp_arena_free(records->arena);
    kp_free(records);
}

static bool same(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

/* Of one object: a new version of its API is still the same object. */
static bool same_object(const struct kp_record_object *a, const struct kp_record_object *b)
{
    size_t group = strcspn(a->api_version, "/"), other = strcspn(b->api_version, "/");
    bool core = !a->api_version[group], core_too = !b->api_version[other];
    return core == core_too &&
           (core || (group == other && strncmp(a->api_version, b->api_version, group) == 0)) &&
           same(a->kind, b->kind) && same(a->namespace_, b->namespace_) && same(a->name, b->name);
}

bool kp_record_has(const struct kp_record *record, const struct kp_record_object *object)
{
    for (size_t i = 0; i < record->count; i++)
        if (same_object(&record->objects[i], object))
            return true;
    return false;
}

struct kp_record *kp_records_find(struct kp_records *records, const char *name)
{
    for (size_t i = 0; i < records->count; i++)
        if (same(records->items[i].name, name))
            return &records->items[i];
    return NULL;
}

int kp_records_add(struct kp_records *records, const char *name, struct kp_record **out,
                   struct kp_err *err)
{
    *out = kp_records_find(records, name);
    if (*out)
        return 0;
    if (records->count == KP_RECORDS_MAX)
        return kp_fail(err, KP_FAILED, "more than %d add-ons", KP_RECORDS_MAX);
    *out = &records->items[records->count++];
    **out = (struct kp_record){.name = kp_arena_strdup(records->arena, name),
                               .version = "",
                               .programs = kp_arena_array(records->arena, 1, sizeof(char *))};
    return 0;
}

const char *kp_record_text(struct kp_arena *arena, const struct kp_record_object *object)
{
    return kp_arena_printf(arena, "%s%s%s %s", object->namespace_, *object->namespace_ ? "/" : "",
                           object->kind, object->name);
}

/* --- reading ---------------------------------------------------------------------------------- */

static int read_object(struct kp_records *records, const char *line, struct kp_record_object *out,
                       struct kp_err *err)
{
    struct kp_slice rest = kp_slice_of(line), words[FIELDS];
    for (size_t i = 0; i < FIELDS; i++) {
        if (!kp_slice_cut(&rest, ' ', &words[i])) {
            words[i] = rest;
            rest.len = 0;
        }
        if (!words[i].len)
            return kp_fail_as(err, KP_DAMAGED, "bad_record", "\"%.100s\" names no object", line);
    }
    const char *texts[FIELDS];
    for (size_t i = 0; i < FIELDS; i++)
        texts[i] = kp_slice_equal(words[i], "-")
                       ? ""
                       : kp_arena_strndup(records->arena, words[i].ptr, words[i].len);
    *out = (struct kp_record_object){.api_version = texts[0],
                                     .kind = texts[1],
                                     .namespace_ = texts[2],
                                     .name = texts[3],
                                     .foreign = kp_slice_equal(rest, "foreign")};
    return 0;
}

static int read_record(struct kp_records *records, const char *name, const json_t *document,
                       struct kp_err *err)
{
    struct kp_record *record;
    struct kp_json_reader r = kp_json_read(document, name, records->arena, err);
    size_t programs;
    if (kp_records_add(records, name, &record, err) < 0)
        return -1;
    record->version = kp_json_text(&r, "version", KP_NAME_MAX);
    record->removed = kp_json_text_optional(&r, "removed", KP_NAME_MAX);
    const char **lines = kp_json_texts(&r, "objects", KP_LISTED_MAX, false, &record->count);
    record->programs = kp_json_texts(&r, "programs", KP_LISTED_PROGRAMS_MAX, false, &programs);
    if (kp_json_finish(&r) < 0)
        return -1;
    record->objects = kp_arena_array(records->arena, record->count, sizeof(*record->objects));
    for (size_t i = 0; i < record->count; i++)
        if (read_object(records, lines[i], &record->objects[i], err) < 0)
            return -1;
    return 0;
}

int kp_records_read(struct kp_records **out, const json_t *config_map, struct kp_err *err)
{
    kp_auto(kp_records) records = kp_alloc(sizeof(*records));
    const json_t *value;
    const char *name;
    records->arena = kp_arena_new();
    records->known = true;
    json_object_foreach((json_t *)json_object_get(config_map, "data"), name, value)
    {
        kp_auto_json document = NULL;
        const char *text = json_string_value(value);
        if (kp_json_parse(&document, kp_slice_of(text ? text : ""), KP_RECORD_SIZE_MAX, name, err) <
                0 ||
            read_record(records, name, document, err) < 0) {
            err->code = KP_DAMAGED;
            return kp_wrap(err, "ConfigMap " KP_RECORDS_NAMESPACE "/" KP_RECORDS_NAME);
        }
    }
    *out = kp_steal(&records);
    return 0;
}

int kp_records_load(struct kp_records **out, struct kp_site *site, struct kp_err *err)
{
    static const char *const argv[] = {
        "get", "configmap", KP_RECORDS_NAME, "-n", KP_RECORDS_NAMESPACE, "-o", "json", NULL};
    kp_auto_json config_map = NULL;
    bool made, found = false;
    if (kp_cluster_made(site, &made, err) < 0 ||
        (made && kp_kube_json(site, &config_map, &found, argv, err) < 0) ||
        kp_records_read(out, config_map, err) < 0)
        return -1;
    (*out)->known = made;
    return 0;
}

/* --- writing ---------------------------------------------------------------------------------- */

static const char *or_dash(const char *text)
{
    return *text ? text : "-";
}

static json_t *record_json(const struct kp_record *record)
{
    json_t *objects = json_array(), *programs = json_array();
    for (size_t i = 0; i < record->count; i++) {
        const struct kp_record_object *o = &record->objects[i];
        json_array_append_new(objects, json_sprintf("%s %s %s %s%s", o->api_version, o->kind,
                                                    or_dash(o->namespace_), o->name,
                                                    o->foreign ? " foreign" : ""));
    }
    for (const char **p = record->programs; *p; p++)
        json_array_append_new(programs, json_string(*p));
    return json_pack("{s:s, s:s*, s:o, s:o}", "version", record->version, "removed",
                     record->removed, "objects", objects, "programs", programs);
}

int kp_records_dump(char **out, const struct kp_records *records, struct kp_err *err)
{
    json_t *data = json_object();
    kp_auto_json map = json_pack("{s:s, s:s, s:{s:s, s:s}, s:o}", "apiVersion", "v1", "kind",
                                 "ConfigMap", "metadata", "name", KP_RECORDS_NAME, "namespace",
                                 KP_RECORDS_NAMESPACE, "data", data);
    for (size_t i = 0; i < records->count; i++) {
        const struct kp_record *record = &records->items[i];
        kp_auto_json value = record_json(record);
        kp_auto_free char *text = kp_json_dump(value, true);
        // a ConfigMap's keys have no "+"
        if (strchr(record->name, '+') || strlen(record->name) > KP_LISTED_NAME_MAX)
            return kp_fail(err, KP_FAILED,
                           "add-on %s: a name of letters, digits and . _ - is needed",
                           record->name);
        json_object_set_new(data, record->name, json_string(text));
    }
    char *text = kp_json_dump(map, true);
    if (strlen(text) > KP_RECORD_SIZE_MAX) {
        kp_free(text);
        return kp_fail(err, KP_FAILED, "the add-ons have more objects than one ConfigMap can list");
    }
    *out = text;
    return 0;
}

int kp_records_store(const struct kp_records *records, struct kp_site *site, struct kp_err *err)
{
    static const char *const argv[] = {
        "apply", "--server-side", "--force-conflicts", "--field-manager=kpack", "-f", "-", NULL};
    kp_auto_free char *text = NULL;
    if (kp_records_dump(&text, records, err) < 0)
        return -1;
    if (kp_kube(site, argv, kp_slice_of(text), NULL, err) < 0)
        return kp_wrap(err, "note what add-ons have applied");
    return 0;
}
