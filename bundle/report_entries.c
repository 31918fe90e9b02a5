/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/reader.h"
#include "bundle/report.h"

#include <stdlib.h>

#define RANGES_MAX 100000 /* in one report: 100 GB of damage */

struct range {
    size_t entry;
    uint64_t first, last;
};
struct collecting {
    const struct kp_verify_options *options; /* of the caller */
    struct range *ranges;
    size_t count;
};

static void pass_progress(void *user, uint64_t done, uint64_t total)
{
    const struct collecting *c = user;
    c->options->progress(c->options->user, done, total);
}

static void take_range(void *user, size_t entry, uint64_t first, uint64_t last)
{
    struct collecting *c = user;
    if (c->count == RANGES_MAX)
        return;
    if ((c->count & (c->count - 1)) == 0)
        c->ranges = kp_realloc_array(c->ranges, c->count ? 2 * c->count : 1, sizeof(*c->ranges));
    c->ranges[c->count++] = (struct range){entry, first, last};
}

static int compare_ranges(const void *a, const void *b)
{
    const struct range *x = a, *y = b;
    return x->first < y->first ? -1 : x->first > y->first;
}

static json_t *ranges_of(const struct collecting *c, size_t entry)
{
    json_t *list = json_array();
    for (size_t i = 0; i < c->count; i++)
        if (c->ranges[i].entry == entry)
            json_array_append_new(list, json_pack("[I, I]", (json_int_t)c->ranges[i].first,
                                                  (json_int_t)c->ranges[i].last));
    return list;
}

static json_t *entry_json(const struct kp_bundle *b, const struct collecting *c, size_t i, bool all)
{
    const struct kp_entry *entry = &b->manifest->entries[i];
    char what[KP_REF_MAX];
    kp_auto_json ranges = ranges_of(c, i);
    bool damaged = json_array_size(ranges) > 0;
    kp_reader_describe(b, i, what, sizeof(what));
    return json_pack("{s:s, s:s, s:I, s:s, s:s, s:O}", "path", entry->path, "what", what, "size",
                     (json_int_t)entry->size, "sha256", kp_digest_hex(&entry->sha256).hex, "state",
                     damaged ? "damaged" : (all ? "ok" : "unchecked"), "ranges", ranges);
}

int kp_bundle_verify_entries(struct kp_bundle *bundle, const struct kp_verify_options *options,
                             json_t **entries, struct kp_err *err)
{
    static const struct kp_verify_options defaults;
    struct collecting c = {.options = options ? options : &defaults};
    struct kp_verify_options own = *c.options;
    const struct kp_manifest *m = bundle->manifest;
    own.progress = c.options->progress ? pass_progress : NULL;
    own.damaged = take_range;
    own.user = &c;
    int result = kp_bundle_verify(bundle, &own, NULL, err);
    if (c.count)
        qsort(c.ranges, c.count, sizeof(*c.ranges), compare_ranges);
    // Damaged leaves leave nothing that the rest could be checked by.
    bool leaves = c.count && c.ranges[0].entry == 0;
    bool all = result == 0 || (own.all && c.count && !leaves);
    *entries = json_array();
    for (size_t i = 0; i < m->entry_count; i++)
        json_array_append_new(*entries, entry_json(bundle, &c, i, all));
    kp_auto_json end = ranges_of(&c, m->entry_count);
    json_array_append_new(*entries, json_pack("{s:s, s:s, s:O}", "path", "end of archive", "state",
                                              json_array_size(end) ? "damaged"
                                              : all                ? "ok"
                                                                   : "unchecked",
                                              "ranges", end));
    kp_free(c.ranges);
    return result;
}
