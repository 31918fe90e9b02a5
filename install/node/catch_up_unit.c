/* SPDX-License-Identifier: Apache-2.0 */
#include "install/node/catch_up_unit.h"

#define START "ExecStart="

/* The part of the line that names bundles: from behind the program to the first other option. */
static bool take_option(struct kp_slice *rest, const char *name, struct kp_slice *value)
{
    struct kp_slice word, from = *rest;
    if (!kp_slice_cut(&from, ' ', &word) || !kp_slice_equal(word, name) ||
        !kp_slice_cut(&from, ' ', value))
        return false;
    *rest = from;
    return true;
}

static bool take_bundle(struct kp_slice *rest, const char *folder, struct kp_served *out)
{
    struct kp_slice path, id, from = *rest;
    if (!take_option(&from, "--bundle", &path) || !take_option(&from, "--id", &id) ||
        id.len != KP_SHA256_HEX || !kp_digest_parse(id, &out->id))
        return false;
    kp_auto_free char *needed = kp_asprintf("%s/%s.tar.zst", folder, kp_digest_hex(&out->id).hex);
    if (!kp_slice_equal(path, needed))
        return false;
    *rest = from;
    return true;
}

/* Those of an earlier kinstall have none. */
static bool take_accepted(struct kp_slice *rest, uint64_t *out)
{
    struct kp_slice number;
    return !take_option(rest, "--accepted", &number) || kp_parse_u64(number, INT64_MAX, out);
}

/* The one ExecStart: *before ends behind the program and its blank, *rest begins behind the
 * bundles. */
static bool take_apart(struct kp_slice text, const char *folder, struct kp_slice *before,
                       struct kp_slice *rest, struct kp_served_list *out)
{
    struct kp_slice line, program, all = text;
    bool found = false;
    *out = (struct kp_served_list){.count = 0};
    while (kp_slice_line(&all, &line)) {
        if (!kp_slice_starts(line, START))
            continue;
        if (found || !kp_slice_cut(&line, ' ', &program))
            return false;
        struct kp_served one = {{{0}}, 0, 0};
        while (out->count < KP_SERVED_MAX && take_bundle(&line, folder, &one))
            out->items[out->count++] = one;
        if (!out->count || !take_accepted(&line, &out->accepted) ||
            !kp_slice_starts(line, "--listen "))
            return false;
        *before = (struct kp_slice){text.ptr, (size_t)(program.ptr + program.len + 1 - text.ptr)};
        *rest = (struct kp_slice){line.ptr, (size_t)(text.ptr + text.len - line.ptr)};
        found = true;
    }
    return found;
}

int kp_catch_up_read_unit(struct kp_served_list *out, struct kp_slice text, const char *folder,
                          struct kp_err *err)
{
    struct kp_slice before, rest;
    if (take_apart(text, folder, &before, &rest, out))
        return 0;
    kp_fail_as(err, KP_FAILED, "foreign_unit", "kregistry.service is not as kinstall writes it");
    return kp_hint(err, "run kinstall again with the site's bundle");
}

char *kp_catch_up_write_unit(struct kp_slice text, const char *folder,
                             const struct kp_served_list *wanted)
{
    kp_auto_value(kp_buf) out = KP_BUF(KP_CATCH_UP_UNIT_MAX);
    struct kp_served_list ignored;
    struct kp_slice before, rest;
    if (!take_apart(text, folder, &before, &rest, &ignored))
        return NULL;
    kp_buf_add(&out, before.ptr, before.len);
    for (size_t i = 0; i < wanted->count; i++) {
        struct kp_digest_text id = kp_digest_hex(&wanted->items[i].id);
        kp_buf_addf(&out, "--bundle %s/%s.tar.zst --id %s ", folder, id.hex, id.hex);
    }
    if (wanted->accepted)
        kp_buf_addf(&out, "--accepted %llu ", (unsigned long long)wanted->accepted);
    kp_buf_add(&out, rest.ptr, rest.len);
    return out.overflow ? NULL : kp_buf_steal(&out);
}

static bool add(struct kp_served_list *list, const struct kp_digest *id)
{
    if (kp_served_find(list, id))
        return true;
    if (list->count == KP_SERVED_MAX)
        return false;
    list->items[list->count++] = (struct kp_served){.id = *id};
    return true;
}

int kp_catch_up_plan(struct kp_served_list *out, const struct kp_manifest *fresh,
                     const struct kp_served_list *said, const struct kp_served_list *own,
                     struct kp_err *err)
{
    *out = (struct kp_served_list){.count = 0, .accepted = said->accepted};
    bool fits = add(out, &fresh->id), whole = true;
    for (size_t i = 0; i < fresh->base_count; i++)
        fits = fits && add(out, &fresh->bases[i].id);
    if (!fits)
        return kp_fail_as(err, KP_FAILED, "too_many", "more than %d bundles would be served",
                          KP_SERVED_MAX);
    size_t needed = out->count;
    for (size_t i = 1; i < said->count; i++) {
        const struct kp_digest *id = &said->items[i].id;
        // Never what was not accepted here before: it may be older than what is served.
        whole = whole && (kp_served_find(own, id) || kp_served_find(out, id)) && add(out, id);
    }
    if (!whole)
        out->count = needed;
    return 0;
}
