/* SPDX-License-Identifier: Apache-2.0 */
#include "install/addons/addons.h"

#include "core/text.h"
#include "install/addons/objects.h"
#include "install/steps/common.h"

#include <time.h>

#define NAMED_MAX 5 /* of what keeps a namespace, in one line */

struct removing {
    struct kp_site *site;
    struct kp_records *records;
    const struct kp_record *part, *all;
    bool whole;
    json_t *stays;
    struct kp_arena *arena;
    struct kp_record_object *chosen; /* of the part: that are to go */
    size_t count;
};

static void stay(struct removing *r, const struct kp_record_object *object, const char *why)
{
    json_array_append_new(r->stays, json_sprintf("%s: %s", kp_record_text(r->arena, object), why));
}

static bool is_given(const struct kp_record_object *object)
{
    static const char *const names[] = {"default", "kube-system", "kube-public", "kube-node-lease"};
    for (size_t i = 0; kp_object_is(object, "Namespace") && i < KP_COUNT(names); i++)
        if (strcmp(object->name, names[i]) == 0)
            return true;
    return false;
}

static const char *other_owner(const struct removing *r, const struct kp_record_object *object)
{
    for (size_t i = 0; i < r->records->count; i++) {
        const struct kp_record *other = &r->records->items[i];
        if (strcmp(other->name, r->all->name) != 0 && !other->removed &&
            kp_record_has(other, object))
            return other->name;
    }
    return NULL;
}

/* What there is of it and is ours alone. */
static int choose(struct removing *r, struct kp_err *err)
{
    kp_auto_free enum kp_object_state *states = kp_alloc_array(r->part->count + 1, sizeof(*states));
    r->chosen = kp_arena_array(r->arena, r->part->count + 1, sizeof(*r->chosen));
    if (kp_objects_states(r->site, r->part->objects, r->part->count, states, err) < 0)
        return -1;
    for (size_t i = 0; i < r->part->count; i++) {
        const struct kp_record_object *object = &r->part->objects[i];
        const char *owner = other_owner(r, object);
        if (states[i] == KP_OBJECT_ABSENT || is_given(object))
            continue;
        if (owner)
            stay(r, object, kp_arena_printf(r->arena, "%s has it too", owner));
        else if (object->foreign)
            stay(r, object, "it was there before");
        else if (states[i] == KP_OBJECT_OTHERS)
            stay(r, object, "somebody else has made it anew");
        else
            r->chosen[r->count++] = *object;
    }
    return 0;
}

/* Those of the kind, or (kind NULL) all that are neither namespaces nor kinds. */
static size_t pick(const struct removing *r, const char *kind, struct kp_record_object *out)
{
    size_t n = 0;
    for (size_t i = 0; i < r->count; i++) {
        const struct kp_record_object *object = &r->chosen[i];
        bool holds =
            kp_object_is(object, "Namespace") || kp_object_is(object, "CustomResourceDefinition");
        if (kind ? kp_object_is(object, kind) : !holds)
            out[n++] = *object;
    }
    return n;
}

static const char *some_of(struct removing *r, const json_t *strangers)
{
    size_t n = json_array_size(strangers);
    const char *out = "";
    for (size_t i = 0; i < n && i < NAMED_MAX; i++)
        out = kp_arena_printf(r->arena, "%s%s%s", out, i ? ", " : "",
                              json_string_value(json_array_get(strangers, i)));
    return n > NAMED_MAX ? kp_arena_printf(r->arena, "%s and %zu more", out, n - NAMED_MAX) : out;
}

/* A namespace or a kind that holds something of others is not taken away with it. */
static int delete_holders(struct removing *r, const char *kind, struct kp_err *err)
{
    kp_auto_free struct kp_record_object *objects = kp_alloc_array(r->count + 1, sizeof(*objects));
    size_t n = pick(r, kind, objects), kept = 0;
    for (size_t i = 0; !r->whole && i < n; i++) {
        kp_auto_json strangers = NULL;
        if (kp_objects_strangers(r->site, r->all, &objects[i], &strangers, err) < 0)
            return kp_wrap(err, "look into %s", kp_record_text(r->arena, &objects[i]));
        if (json_array_size(strangers))
            stay(r, &objects[i],
                 kp_arena_printf(r->arena, "it holds what is not of this add-on: %s",
                                 some_of(r, strangers)));
        else
            objects[kept++] = objects[i];
    }
    return kp_objects_delete(r->site, objects, r->whole ? n : kept, err);
}

int kp_addon_delete(struct kp_site *site, struct kp_records *records, const struct kp_record *part,
                    const struct kp_record *whole_record, bool whole, json_t *stays,
                    struct kp_err *err)
{
    kp_auto(kp_arena) arena = kp_arena_new();
    struct removing r = {.site = site,
                         .records = records,
                         .part = part,
                         .all = whole_record,
                         .whole = whole,
                         .stays = stays,
                         .arena = arena};
    if (choose(&r, err) < 0)
        return -1;
    kp_auto_free struct kp_record_object *plain = kp_alloc_array(r.count + 1, sizeof(*plain));
    size_t n = pick(&r, NULL, plain);
    kp_step_note(site, NULL, "%s: deleting %zu objects", whole_record->name, r.count);
    if (kp_objects_delete(site, plain, n, err) < 0 ||
        delete_holders(&r, "CustomResourceDefinition", err) < 0 ||
        delete_holders(&r, "Namespace", err) < 0)
        return kp_wrap(err, "%s", whole_record->name);
    return 0;
}

int kp_addon_remove(struct kp_site *site, struct kp_records *records, struct kp_record *record,
                    bool whole, json_t *stays, struct kp_err *err)
{
    kp_auto_free char *what = kp_asprintf("remove the add-on %s", record->name);
    struct kp_change change = {.changed = true};
    if (kp_addon_delete(site, records, record, record, whole, stays, err) < 0)
        return -1;
    kp_step_changed(site, kp_first(site), what, &change);
    record->removed = kp_arena_strdup(records->arena, kp_text_utc(time(NULL)).s);
    record->count = 0;
    return kp_records_store(records, site, err);
}
