/* SPDX-License-Identifier: Apache-2.0 */
#include "install/addons/addons.h"

#include "core/text.h"
#include "install/addons/objects.h"
#include "install/steps/common.h"
#include "install/steps/network.h"

#include <stdio.h>

#define ADDON_MAX ((size_t)16 << 20)
#define WAIT_S 300
#define CRD_S 60

struct applying { /* one add-on */
    struct kp_site *site;
    struct kp_records *records;
    struct kp_addon addon;
    struct kp_buf yaml;
    struct kp_listing *listing; /* of yaml */
    struct kp_record_object *objects;
    size_t count;
};

static void applying_release(struct applying *a)
{
    kp_listing_free(a->listing);
    kp_buf_release(&a->yaml);
    kp_free(a->objects);
}
KP_DEFINE_AUTO_VALUE(applying);

bool kp_addons_next(const struct kp_manifest *manifest, struct kp_addon *addon)
{
    size_t i = addon->next;
    while (i < manifest->manifest_count && kp_manifest_is_network(&manifest->manifests[i]))
        i++;
    if (i >= manifest->manifest_count)
        return false;
    const struct kp_cluster_manifest *first = &manifest->manifests[i];
    *addon = (struct kp_addon){.name = first->addon ? first->addon : first->name,
                               .version = first->version ? first->version : "",
                               .why = first->why,
                               .first = i,
                               .next = i + 1};
    while (addon->next < manifest->manifest_count && manifest->manifests[addon->next].addon &&
           strcmp(manifest->manifests[addon->next].addon, addon->name) == 0)
        addon->next++;
    return true;
}

int kp_addon_render(struct kp_site *site, const struct kp_addon *addon, struct kp_buf *out,
                    struct kp_err *err)
{
    for (size_t i = addon->first; i < addon->next; i++) {
        const struct kp_cluster_manifest *manifest = &site->manifest->manifests[i];
        if (i > addon->first)
            kp_buf_adds(out, "\n---\n");
        if (kp_manifest_render(site, manifest, out, err) < 0)
            return kp_wrap(err, "manifest %s (%s)", manifest->name, manifest->why);
    }
    return 0;
}

/* What stands in it; `a` was set to zero but for site, records and addon. */
static int open_addon(struct applying *a, struct kp_err *err)
{
    a->yaml = KP_BUF(ADDON_MAX);
    if (kp_addon_render(a->site, &a->addon, &a->yaml, err) < 0 ||
        kp_listing_read(&a->listing, kp_buf_slice(&a->yaml), a->addon.name, err) < 0)
        return -1;
    a->count = a->listing->count;
    a->objects = kp_alloc_array(a->count + 1, sizeof(*a->objects));
    for (size_t i = 0; i < a->count; i++) {
        const struct kp_listed *listed = &a->listing->items[i];
        a->objects[i] = (struct kp_record_object){.api_version = listed->api_version,
                                                  .kind = listed->kind,
                                                  .namespace_ = listed->namespace_,
                                                  .name = listed->name};
    }
    return 0;
}

static bool is_removed(struct kp_records *records, const char *name)
{
    const struct kp_record *record = kp_records_find(records, name);
    return record && record->removed;
}

/* --- the record ------------------------------------------------------------------------------- */

static struct kp_record_object keep(struct kp_arena *arena, const struct kp_record_object *o)
{
    return (struct kp_record_object){.api_version = kp_arena_strdup(arena, o->api_version),
                                     .kind = kp_arena_strdup(arena, o->kind),
                                     .namespace_ = kp_arena_strdup(arena, o->namespace_),
                                     .name = kp_arena_strdup(arena, o->name),
                                     .foreign = o->foreign};
}

static const struct kp_record_object *known_as(const struct kp_record *record,
                                               const struct kp_record_object *object)
{
    struct kp_record one = *record;
    for (size_t i = 0; i < record->count; i++) {
        one.objects = &record->objects[i];
        one.count = 1;
        if (kp_record_has(&one, object))
            return &record->objects[i];
    }
    return NULL;
}

/* *fresh: how many of its objects the record does not have yet. Of these, what is there already and
 * not ours is marked: it is changed, but never deleted. */
static int mark_foreign(struct applying *a, const struct kp_record *record, size_t *fresh,
                        struct kp_err *err)
{
    kp_auto_free struct kp_record_object *asked = kp_alloc_array(a->count + 1, sizeof(*asked));
    kp_auto_free size_t *places = kp_alloc_array(a->count + 1, sizeof(*places));
    kp_auto_free enum kp_object_state *states = kp_alloc_array(a->count + 1, sizeof(*states));
    size_t n = 0;
    for (size_t i = 0; i < a->count; i++) {
        const struct kp_record_object *known = known_as(record, &a->objects[i]);
        if (known) {
            a->objects[i].foreign = known->foreign;
            continue;
        }
        places[n] = i;
        asked[n++] = a->objects[i];
    }
    *fresh = n;
    if (kp_objects_states(a->site, asked, n, states, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        a->objects[places[i]].foreign =
            states[i] == KP_OBJECT_OTHERS || states[i] == KP_OBJECT_UNCLAIMED;
    return 0;
}

/* The record becomes: its objects, and behind them those of `also` that it does not have. */
static void set_objects(struct applying *a, struct kp_record *record,
                        const struct kp_record_object *also, size_t also_count)
{
    struct kp_arena *arena = a->records->arena;
    struct kp_record_object *out = kp_arena_array(arena, a->count + also_count + 1, sizeof(*out));
    size_t n = 0;
    for (size_t i = 0; i < a->count; i++)
        out[n++] = keep(arena, &a->objects[i]);
    struct kp_record now = {.objects = out, .count = n};
    for (size_t i = 0; i < also_count; i++)
        if (!kp_record_has(&now, &also[i]))
            out[n++] = also[i];
    record->objects = out;
    record->count = n;
}

static void set_programs(struct applying *a, struct kp_record *record)
{
    const char **out =
        kp_arena_array(a->records->arena, a->listing->program_count + 1, sizeof(*out));
    for (size_t i = 0; i < a->listing->program_count; i++)
        out[i] = kp_arena_strdup(a->records->arena, a->listing->programs[i]);
    record->programs = out;
    record->version = kp_arena_strdup(a->records->arena, a->addon.version);
}

/* --- applying --------------------------------------------------------------------------------- */

/* The documents that come first, or the others. */
static void part_of(const struct applying *a, bool first, struct kp_buf *out)
{
    const struct kp_listing *l = a->listing;
    size_t at = 0;
    for (size_t d = 0; d < l->document_count; d++) {
        bool all = true;
        for (; at < l->count && l->items[at].document == d; at++)
            all = all && kp_listed_comes_first(&l->items[at]);
        if (all != first)
            continue;
        struct kp_slice text = l->documents[d];
        if (!kp_slice_starts(text, "---"))
            kp_buf_adds(out, "---\n");
        kp_buf_add(out, text.ptr, text.len);
        if (text.len && text.ptr[text.len - 1] != '\n')
            kp_buf_adds(out, "\n");
    }
}

static int await_crds(const struct applying *a, struct kp_err *err)
{
    for (size_t i = 0; !a->site->dry_run && i < a->count; i++)
        if (kp_object_is(&a->objects[i], "CustomResourceDefinition") &&
            kp_kube_wait(a->site, "crd", "", a->objects[i].name, CRD_S, err) < 0)
            return -1;
    return 0;
}

static int apply_parts(const struct applying *a, struct kp_err *err)
{
    kp_auto_value(kp_buf) first = KP_BUF(ADDON_MAX);
    kp_auto_value(kp_buf) rest = KP_BUF(ADDON_MAX);
    bool changed = false;
    kp_auto_free char *what = kp_asprintf("%s (namespaces and kinds)", a->addon.name);
    part_of(a, true, &first);
    part_of(a, false, &rest);
    if (first.len && kp_kube_apply(a->site, what, kp_buf_slice(&first), &changed, err) < 0)
        return -1;
    if (changed && await_crds(a, err) < 0)
        return -1;
    return rest.len ? kp_kube_apply(a->site, a->addon.name, kp_buf_slice(&rest), NULL, err) : 0;
}

/* What the record has and the manifest no longer does. Namespaces that hold something else, and
 * kinds that others use, stay. */
static int prune(struct applying *a, struct kp_record *record, struct kp_err *err)
{
    struct kp_record now = {.objects = a->objects, .count = a->count};
    kp_auto_free struct kp_record_object *gone = kp_alloc_array(record->count + 1, sizeof(*gone));
    kp_auto(kp_arena) arena = kp_arena_new();
    struct kp_change change = {.changed = true};
    kp_auto_json stays = json_array();
    size_t n = 0;
    for (size_t i = 0; i < record->count; i++)
        if (!kp_record_has(&now, &record->objects[i]))
            gone[n++] = record->objects[i];
    if (n == 0)
        return 0;
    for (size_t i = 0; i < n; i++)
        kp_step_changed(a->site, kp_first(a->site),
                        kp_arena_printf(arena, "%s: delete %s, which it no longer has",
                                        a->addon.name, kp_record_text(arena, &gone[i])),
                        &change);
    if (a->site->dry_run)
        return 0;
    struct kp_record old = *record;
    old.objects = gone;
    old.count = n;
    if (kp_addon_delete(a->site, a->records, &old, record, false, stays, err) < 0)
        return -1;
    for (size_t i = 0; i < json_array_size(stays); i++)
        kp_screen_line(a->site->screen, "  note: %s: stays: %s", a->addon.name,
                       json_string_value(json_array_get(stays, i)));
    return 0;
}

static bool is_current(const struct applying *a, const struct kp_record *record)
{
    if (record->count != a->count || strcmp(record->version, a->addon.version) != 0)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!kp_record_has(record, &a->objects[i]))
            return false;
    return true;
}

static int apply_addon(struct applying *a, struct kp_err *err)
{
    struct kp_record *record;
    size_t fresh = 0;
    bool dry = a->site->dry_run;
    if (open_addon(a, err) < 0 || kp_records_add(a->records, a->addon.name, &record, err) < 0)
        return -1;
    if (!a->records->known) // the cluster is not made yet
        return kp_kube_apply(a->site, a->addon.name, kp_buf_slice(&a->yaml), NULL, err);
    if (!dry && mark_foreign(a, record, &fresh, err) < 0)
        return -1;
    struct kp_record before = *record;
    if (fresh) { // first the note: what a run that is cut off has made must not be forgotten
        set_objects(a, record, before.objects, before.count);
        set_programs(a, record);
        if (kp_records_store(a->records, a->site, err) < 0)
            return -1;
    }
    if (apply_parts(a, err) < 0 || prune(a, &before, err) < 0)
        return -1;
    if (dry || (!fresh && is_current(a, record)))
        return 0;
    set_objects(a, record, NULL, 0);
    set_programs(a, record);
    return kp_records_store(a->records, a->site, err);
}

/* --- waiting ---------------------------------------------------------------------------------- */

static const char *workload_kind(const char *kind)
{
    static const char *const kinds[][2] = {{"Deployment", "deployment"},
                                           {"DaemonSet", "daemonset"},
                                           {"StatefulSet", "statefulset"},
                                           {"Job", "job"}};
    for (size_t i = 0; i < KP_COUNT(kinds); i++)
        if (strcmp(kind, kinds[i][0]) == 0)
            return kinds[i][1];
    return NULL;
}

static bool is_waited(const struct applying *a, const struct kp_wait *wait)
{
    for (size_t i = 0; i < a->count; i++) {
        const char *kind = workload_kind(a->objects[i].kind);
        if (kind && strcmp(kind, wait->kind) == 0 && strcmp(a->objects[i].name, wait->name) == 0)
            return true;
    }
    return false;
}

static int await_addon(struct applying *a, struct kp_err *err)
{
    if (open_addon(a, err) < 0)
        return -1;
    for (size_t i = 0; i < a->count; i++) {
        const struct kp_record_object *o = &a->objects[i];
        const char *kind = workload_kind(o->kind);
        if (kind && kp_kube_wait(a->site, kind, *o->namespace_ ? o->namespace_ : "default", o->name,
                                 WAIT_S, err) < 0)
            return -1;
    }
    // what the release names beside that: objects that its own controllers make
    for (size_t i = a->addon.first; i < a->addon.next; i++) {
        const struct kp_cluster_manifest *manifest = &a->site->manifest->manifests[i];
        for (size_t j = 0; j < manifest->wait_count; j++) {
            const struct kp_wait *w = &manifest->wait[j];
            if (!is_waited(a, w) &&
                kp_kube_wait(a->site, w->kind, w->namespace_, w->name, WAIT_S, err) < 0)
                return -1;
        }
    }
    return 0;
}

int kp_addon_await(struct kp_site *site, struct kp_records *records, const struct kp_addon *addon,
                   struct kp_err *err)
{
    kp_auto_value(applying) a = {.site = site, .records = records, .addon = *addon};
    return await_addon(&a, err) < 0 ? kp_wrap(err, "%s", addon->name) : 0;
}

static bool is_users(const struct kp_addon *addon)
{
    return !kp_starts_with(addon->why, "add-on ");
}

static int await_from(struct kp_site *site, struct kp_records *records, size_t from, size_t to,
                      struct kp_err *err)
{
    struct kp_addon addon = {.next = from};
    while (!site->dry_run && kp_addons_next(site->manifest, &addon) && addon.first < to)
        if (!is_removed(records, addon.name) && kp_addon_await(site, records, &addon, err) < 0)
            return -1;
    return 0;
}

/* Not in this bundle, and yet on the cluster: said, never deleted by itself. */
static void say_others(struct kp_site *site, const struct kp_records *records)
{
    for (size_t i = 0; i < records->count; i++) {
        const struct kp_record *record = &records->items[i];
        struct kp_addon addon = {.next = 0};
        bool found = false;
        while (!found && kp_addons_next(site->manifest, &addon))
            found = strcmp(addon.name, record->name) == 0;
        if (!found && !record->removed && record->count)
            kp_screen_line(site->screen,
                           "  note: %s is on the cluster and not in this bundle; it stays: "
                           "kinstall remove-addon %s",
                           record->name, record->name);
    }
}

int kp_addons_apply(struct kp_site *site, struct kp_err *err)
{
    kp_auto(kp_records) records = NULL;
    struct kp_addon addon = {.next = 0};
    size_t waited = 0;
    if (kp_records_load(&records, site, err) < 0)
        return -1;
    while (kp_addons_next(site->manifest, &addon)) {
        kp_auto_value(applying) a = {.site = site, .records = records, .addon = addon};
        if (is_removed(records, addon.name)) {
            kp_screen_line(site->screen,
                           "  note: %s stays away (removed %s); back by: kinstall remove-addon "
                           "--undo %s",
                           addon.name, kp_records_find(records, addon.name)->removed, addon.name);
            continue;
        }
        kp_step_note(site, NULL, "%s", addon.name);
        // what the user gave may need all that stands before it
        if (is_users(&addon) && await_from(site, records, waited, addon.first, err) < 0)
            return -1;
        waited = is_users(&addon) ? addon.first : waited;
        if (apply_addon(&a, err) < 0)
            return kp_wrap(err, "%s (%s)", addon.name, addon.why);
    }
    say_others(site, records);
    return 0;
}

int kp_addons_await(struct kp_site *site, struct kp_err *err)
{
    kp_auto(kp_records) records = NULL;
    if (kp_records_load(&records, site, err) < 0)
        return -1;
    return await_from(site, records, 0, SIZE_MAX, err);
}

void kp_addons_describe(const struct kp_site *site, char *out, size_t size)
{
    struct kp_addon addon = {.next = 0};
    size_t used = 0;
    out[0] = '\0';
    while (kp_addons_next(site->manifest, &addon) && used < size)
        used += (size_t)snprintf(out + used, size - used, ", %s%s%s", addon.name,
                                 *addon.version ? " " : "", addon.version);
}
