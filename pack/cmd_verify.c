/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/report.h"
#include "bundle/set.h"
#include "core/screen.h"
#include "core/text.h"
#include "pack/commands.h"

#include <stdio.h>

static void show_progress(void *user, uint64_t done, uint64_t total)
{
    (void)total;
    kp_row_set(user, done);
}

/* What came out for one bundle, as far as it came. */
struct verified {
    json_t *entries; /* NULL: not looked at */
    const char *path;
    struct kp_bundle *bundle; /* NULL: not opened */
    struct kp_signers signers;
    double seconds;
};

static void verified_release(struct verified *v)
{
    json_decref(v->entries);
    kp_bundle_free(v->bundle);
}
KP_DEFINE_AUTO_VALUE(verified);

static void add_bundle(json_t *out, const struct verified *v)
{
    const struct kp_manifest *m = kp_bundle_manifest(v->bundle);
    const struct kp_base *missing[KP_BASES_MAX];
    kp_auto_json more = json_pack(
        "{s:s, s:s, s:I, s:s, s:s*, s:s, s:I, s:f, s:b, s:o}", "id", kp_digest_hex(&m->id).hex,
        "name", m->name, "serial", (json_int_t)m->serial, "created", m->created, "expires",
        m->expires, "kubernetes", m->kubernetes, "size", (json_int_t)kp_bundle_size(v->bundle),
        "seconds", v->seconds, "complete", kp_bundle_missing(v->bundle, missing) == 0, "bases",
        kp_bases_json(m->bases, m->base_count));
    json_object_update(out, more);
}

/* One line: the whole verdict, good or bad. failure NULL: good. */
static void print_json(const struct verified *v, const struct kp_err *failure)
{
    kp_auto_json out = json_pack("{s:s, s:b, s:i}", "bundle", v->path, "ok", failure == NULL,
                                 "code", failure ? (int)failure->code : 0);
    if (failure) {
        json_object_set_new(out, "reason", json_string(kp_err_reason(failure)));
        json_object_set_new(out, "message", json_string(failure->message));
        if (failure->hint[0])
            json_object_set_new(out, "hint", json_string(failure->hint));
    }
    if (v->bundle)
        add_bundle(out, v);
    json_object_set_new(out, "signers", kp_signers_json(&v->signers));
    json_object_set_new(out, "policy",
                        json_pack("{s:I, s:I, s:b}", "threshold", (json_int_t)v->signers.needed,
                                  "valid", (json_int_t)v->signers.valid, "met",
                                  v->signers.needed && v->signers.valid >= v->signers.needed));
    json_object_set(out, "entries", v->entries);
    kp_auto_free char *text = kp_json_dump(out, true);
    fputs(text, stdout);
}

static void print_good(const struct verified *v)
{
    const struct kp_manifest *m = kp_bundle_manifest(v->bundle);
    uint64_t size = kp_bundle_size(v->bundle);
    kp_auto_value(kp_buf) names = KP_BUF(65536);
    kp_signers_text(&v->signers, &names);
    printf("ok        %s   serial %llu   signed by %s   %s verified in %s (%s)\n", m->name,
           (unsigned long long)m->serial, kp_buf_slice(&names).ptr, kp_text_bytes(size).s,
           kp_text_seconds(v->seconds).s,
           kp_text_rate(v->seconds > 0 ? (double)size / v->seconds : 0).s);
    for (size_t i = 0; i < m->base_count; i++) {
        const struct kp_bundle *base = kp_bundle_base(v->bundle, i);
        printf("          %s base %s%s%s\n", base ? "with" : "needs", kp_base_text(&m->bases[i]).s,
               base ? "   verified: " : "", base ? kp_bundle_path(base) : "");
    }
}

static void add_damage(struct kp_table *table, const json_t *entry)
{
    const char *what = json_string_value(json_object_get(entry, "what"));
    size_t i;
    const json_t *range;
    json_array_foreach(json_object_get(entry, "ranges"), i, range)
    {
        json_int_t first = json_integer_value(json_array_get(range, 0)),
                   last = json_integer_value(json_array_get(range, 1));
        kp_table_cell(table, KP_RED, "%s", json_string_value(json_object_get(entry, "path")));
        kp_table_cell(table, KP_PLAIN, "%s", what ? what : "");
        kp_table_cell(table, KP_PLAIN, "%s – %s", kp_text_grouped((uint64_t)first).s,
                      kp_text_grouped((uint64_t)last).s);
    }
}

/* --all: every damaged place, a line each. */
static void print_damages(const json_t *entries)
{
    static const char *const heads[] = {"DAMAGED", "WHAT", "BYTES OF THE FILE"};
    kp_auto(kp_table) table = kp_table_new(KP_COUNT(heads), heads);
    size_t i;
    const json_t *entry;
    json_array_foreach(entries, i, entry) add_damage(table, entry);
    kp_table_print(table, stdout);
}

static int verify_file(struct kp_bundle *bundle, bool all, struct kp_screen *screen,
                       json_t **entries, struct kp_err *err)
{
    bool live = kp_screen_live(screen);
    struct kp_row *row = live ? kp_screen_row(screen, "verify", kp_bundle_size(bundle)) : NULL;
    struct kp_verify_options how = {
        .progress = row ? show_progress : NULL, .user = row, .all = all};
    int result = kp_bundle_verify_entries(bundle, &how, entries, err);
    if (row)
        kp_row_done(row, NULL);
    if (result < 0)
        return err->code == KP_DAMAGED ? kp_wrap(err, "damaged") : -1;
    return 0;
}

/* With --base every base must be there, and whole. */
static int verify_bases(const struct kp_reading_options *o, struct kp_bundle *bundle,
                        struct kp_screen *screen, struct kp_err *err)
{
    if (!o->bases.count)
        return 0;
    if (kp_bundle_open_bases(bundle, o->bases.items, o->bases.count, err) < 0 ||
        kp_bundle_need_bases(bundle, err) < 0)
        return -1;
    for (size_t i = 0; i < kp_bundle_manifest(bundle)->base_count; i++) {
        kp_auto_json entries = NULL;
        if (verify_file(kp_bundle_base(bundle, i), o->all, screen, &entries, err) < 0)
            return -1;
    }
    return 0;
}

static int look(const struct kp_reading_options *o, struct verified *v, struct kp_trust **trust,
                struct kp_err *err)
{
    double begin = kp_now();
    if (kp_open_trusted(&v->bundle, v->path, &o->keys, trust, &v->signers, err) < 0)
        return -1;
    kp_auto(kp_screen) screen =
        kp_screen_new(o->quiet || o->json ? KP_SCREEN_QUIET : KP_SCREEN_AUTO);
    int result = verify_file(v->bundle, o->all, screen, &v->entries, err);
    if (result == 0)
        result = verify_bases(o, v->bundle, screen, err);
    v->seconds = kp_now() - begin;
    return result;
}

static int verify_one(const struct kp_reading_options *o, const char *path, struct kp_err *err)
{
    kp_auto(kp_trust) trust = NULL;
    kp_auto_value(verified) v = {.path = path};
    int result = look(o, &v, &trust, err);
    if (o->json)
        print_json(&v, result < 0 ? err : NULL);
    else if (result == 0)
        print_good(&v);
    else if (o->all && v.entries && err->code == KP_DAMAGED)
        print_damages(v.entries);
    // The one document has said it.
    if (result < 0)
        err->reported = o->json;
    return result;
}

int kp_cmd_verify(void *options, int argc, char **argv, struct kp_err *err)
{
    for (int i = 0; i < argc; i++)
        if ((kp_is_lone_slice(argv[i]) ? kp_verify_slice(options, argv[i], err)
                                       : verify_one(options, argv[i], err)) < 0)
            return -1;
    return 0;
}
