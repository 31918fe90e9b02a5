/* SPDX-License-Identifier: Apache-2.0 */
#include "install/addons/objects.h"

#include "core/text.h"
#include "install/steps/common.h"

#define DOCUMENTS_MAX ((size_t)4 << 20)
#define KINDS_MAX ((size_t)256 << 10)
#define MANAGER "kpack:Apply"

bool kp_object_is(const struct kp_record_object *object, const char *kind)
{
    return strcmp(object->kind, kind) == 0;
}

static json_t *named(const struct kp_record_object *object)
{
    return json_pack("{s:s, s:s, s:{s:s, s:s*}}", "apiVersion", object->api_version, "kind",
                     object->kind, "metadata", "name", object->name, "namespace",
                     *object->namespace_ ? object->namespace_ : NULL);
}

static void add_document(struct kp_buf *out, const struct kp_record_object *object)
{
    kp_auto_json value = named(object);
    kp_auto_free char *text = kp_json_dump(value, true);
    kp_buf_addf(out, "---\n%s", text ? text : "");
}

/* --- states ----------------------------------------------------------------------------------- */

static bool is_listed(const struct kp_record_object *object, const struct kp_slice *words)
{
    bool here = kp_slice_equal(words[2], object->namespace_) ||
                (!*object->namespace_ && kp_slice_equal(words[2], "default"));
    return kp_slice_equal(words[0], object->api_version) &&
           kp_slice_equal(words[1], object->kind) && here && kp_slice_equal(words[3], object->name);
}

static enum kp_object_state state_of(struct kp_slice managers)
{
    struct kp_slice word;
    if (!managers.len)
        return KP_OBJECT_UNCLAIMED;
    while (kp_slice_cut(&managers, ',', &word))
        if (kp_slice_equal(word, MANAGER))
            return KP_OBJECT_OURS;
    return KP_OBJECT_OTHERS;
}

void kp_objects_read_states(struct kp_slice text, const struct kp_record_object *objects,
                            size_t count, enum kp_object_state *states)
{
    struct kp_slice line, words[4];
    while (kp_slice_line(&text, &line)) {
        size_t n = 0;
        while (n < 4 && kp_slice_cut(&line, '|', &words[n]))
            n++;
        for (size_t i = 0; n == 4 && i < count; i++)
            if (is_listed(&objects[i], words))
                states[i] = state_of(line);
    }
}

static int ask_states(struct kp_site *site, const struct kp_record_object *objects, size_t count,
                      enum kp_object_state *states, struct kp_err *err)
{
    static const char *const argv[] = {
        "get",
        "-f",
        "-",
        "--ignore-not-found",
        "--show-managed-fields",
        "-o",
        "jsonpath={range .items[*]}{.apiVersion}|{.kind}|{.metadata.namespace}|{.metadata.name}|"
        "{range .metadata.managedFields[*]}{.manager}:{.operation},{end}{\"\\n\"}{end}",
        NULL};
    // Two that are always there: so the answer is always a list.
    static const struct kp_record_object always[] = {
        {.api_version = "v1", .kind = "Namespace", .namespace_ = "", .name = "kube-system"},
        {.api_version = "v1", .kind = "Namespace", .namespace_ = "", .name = "default"}};
    kp_auto_value(kp_buf) yaml = KP_BUF(DOCUMENTS_MAX);
    kp_auto_free char *text = NULL;
    for (size_t i = 0; i < KP_COUNT(always); i++)
        add_document(&yaml, &always[i]);
    for (size_t i = 0; i < count; i++)
        add_document(&yaml, &objects[i]);
    if (kp_kube_long(site, argv, kp_buf_slice(&yaml), KP_DELETE_S, &text, err) < 0)
        return -1;
    kp_objects_read_states(kp_slice_of(text), objects, count, states);
    return 0;
}

static bool is_unknown_kind(const struct kp_err *err)
{
    return strstr(err->message, "no matches for kind") ||
           strstr(err->message, "doesn't have a resource type");
}

int kp_objects_states(struct kp_site *site, const struct kp_record_object *objects, size_t count,
                      enum kp_object_state *states, struct kp_err *err)
{
    struct kp_err failure = KP_ERR_INIT;
    for (size_t i = 0; i < count; i++)
        states[i] = KP_OBJECT_ABSENT;
    if (count == 0 || ask_states(site, objects, count, states, &failure) == 0)
        return 0;
    // One kind that is not there any more spoils the whole question: each half by itself.
    if (is_unknown_kind(&failure)) {
        if (count == 1)
            return 0;
        return kp_objects_states(site, objects, count / 2, states, err) < 0
                   ? -1
                   : kp_objects_states(site, objects + count / 2, count - count / 2,
                                       states + count / 2, err);
    }
    *err = failure;
    return -1;
}

int kp_objects_delete(struct kp_site *site, const struct kp_record_object *objects, size_t count,
                      struct kp_err *err)
{
    static const char *const argv[] = {"delete",         "-f", "-", "--ignore-not-found",
                                       "--timeout=150s", NULL};
    kp_auto_value(kp_buf) yaml = KP_BUF(DOCUMENTS_MAX);
    if (count == 0)
        return 0;
    for (size_t i = count; i > 0; i--)
        add_document(&yaml, &objects[i - 1]);
    return kp_kube_long(site, argv, kp_buf_slice(&yaml), KP_DELETE_S, NULL, err);
}

/* --- strangers -------------------------------------------------------------------------------- */

/* What Kubernetes makes by itself in every namespace, or what only tells of other objects. */
static bool is_of_the_cluster(const json_t *object)
{
    static const char *const kinds[] = {"Event",      "Endpoints",   "EndpointSlice",     "Lease",
                                        "PodMetrics", "PodTemplate", "ControllerRevision"};
    const char *kind = kp_json_string(object, "kind"),
               *name = kp_json_string_in(object, "metadata", "name");
    for (size_t i = 0; i < KP_COUNT(kinds); i++)
        if (strcmp(kind, kinds[i]) == 0)
            return true;
    return (strcmp(kind, "ServiceAccount") == 0 && strcmp(name, "default") == 0) ||
           (strcmp(kind, "ConfigMap") == 0 && strcmp(name, "kube-root-ca.crt") == 0) ||
           json_object_get(json_object_get(object, "metadata"), "deletionTimestamp") ||
           json_array_size(
               json_object_get(json_object_get(object, "metadata"), "ownerReferences")) > 0;
}

static bool is_program(const struct kp_record *record, const char *manager)
{
    for (const char **p = record->programs; *p; p++)
        if (strcmp(*p, manager) == 0 || (*manager && kp_ends_with(*p, manager)))
            return true;
    return false;
}

/* Its programs made it: every one that has written into it is one of them. */
static bool is_made_by_it(const struct kp_record *record, const json_t *object)
{
    const json_t *fields = json_object_get(json_object_get(object, "metadata"), "managedFields");
    size_t i;
    const json_t *field;
    json_array_foreach(fields, i, field)
    {
        if (!is_program(record, kp_json_string(field, "manager")))
            return false;
    }
    return json_array_size(fields) > 0;
}

json_t *kp_objects_judge(const struct kp_record *record, const json_t *list)
{
    json_t *out = json_array();
    size_t i;
    const json_t *object;
    json_array_foreach(json_object_get(list, "items"), i, object)
    {
        const char *namespace_ = kp_json_string_in(object, "metadata", "namespace");
        struct kp_record_object one = {.api_version = kp_json_string(object, "apiVersion"),
                                       .kind = kp_json_string(object, "kind"),
                                       .namespace_ = namespace_,
                                       .name = kp_json_string_in(object, "metadata", "name")};
        struct kp_record_object plain = one;
        plain.namespace_ = strcmp(namespace_, "default") == 0 ? "" : namespace_;
        if (kp_record_has(record, &one) || kp_record_has(record, &plain) ||
            is_of_the_cluster(object) || is_made_by_it(record, object))
            continue;
        json_array_append_new(out, json_sprintf("%s %s", one.kind, one.name));
    }
    return out;
}

/* "pods,services,…": all kinds that can stand in a namespace. */
static int list_kinds(struct kp_site *site, struct kp_buf *out, struct kp_err *err)
{
    static const char *const argv[] = {
        "api-resources", "--namespaced", "--verbs=list,delete", "-o", "name", NULL};
    kp_auto_free char *text = NULL;
    struct kp_slice line;
    if (kp_kube(site, argv, (struct kp_slice){0}, &text, err) < 0)
        return -1;
    struct kp_slice rest = kp_slice_of(text);
    while (kp_slice_line(&rest, &line))
        if (line.len && !kp_slice_starts(line, "events"))
            kp_buf_addf(out, "%s%.*s", out->len ? "," : "", (int)line.len, line.ptr);
    return 0;
}

int kp_objects_strangers(struct kp_site *site, const struct kp_record *record,
                         const struct kp_record_object *container, json_t **out, struct kp_err *err)
{
    kp_auto_value(kp_buf) kinds = KP_BUF(KINDS_MAX);
    kp_auto_json list = NULL;
    bool namespace_ = kp_object_is(container, "Namespace"), found;
    if (namespace_ && list_kinds(site, &kinds, err) < 0)
        return -1;
    const char *inside[] = {"get",  kp_buf_slice(&kinds).ptr, "-n", container->name, "-o",
                            "json", "--show-managed-fields",  NULL};
    const char *of_kind[] = {"get",  container->name,         "-A", "-o",
                             "json", "--show-managed-fields", NULL};
    if (kp_kube_json(site, &list, &found, namespace_ ? inside : of_kind, err) < 0)
        return -1;
    *out = kp_objects_judge(record, list);
    return 0;
}
