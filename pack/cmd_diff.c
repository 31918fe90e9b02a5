/* SPDX-License-Identifier: Apache-2.0 */
/* kpack diff OLD NEW. Only the signed manifests are read, so deltas serve like whole bundles. */
#include "core/screen.h"
#include "core/text.h"
#include "pack/base.h"
#include "pack/commands.h"

#include <stdio.h>

struct side {
    struct kp_trust *trust;
    struct kp_bundle *bundle;
    struct kp_signers signers;
    const struct kp_manifest *m;
};

/* One line of the report; `before` or `after` is "" where the thing is only on one side. */
struct change {
    const char *kind, *name, *before, *after;
};

struct diffing {
    const struct kp_manifest *old, *new;
    struct kp_arena *arena;
    json_t *changes;
    struct kp_table *table;
};

static void add_change(struct diffing *d, const struct change *c)
{
    const char *what = !c->before[0] ? "added" : !c->after[0] ? "removed" : "changed";
    json_array_append_new(d->changes,
                          json_pack("{s:s, s:s, s:s, s:s, s:s}", "kind", c->kind, "change", what,
                                    "name", c->name, "old", c->before, "new", c->after));
    kp_table_cell(d->table, KP_PLAIN, "%s", what);
    kp_table_cell(d->table, KP_PLAIN, "%s", c->kind);
    kp_table_cell(d->table, KP_PLAIN, "%s", c->name);
    kp_table_cell(d->table, KP_PLAIN, "%s", c->before[0] ? c->before : "-");
    kp_table_cell(d->table, KP_PLAIN, "%s", c->after[0] ? c->after : "-");
}

/* Both lists in one form: what names a thing, what it is. */
struct item {
    const char *name, *value;
};

static const struct item *find_item(const struct item *items, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(items[i].name, name) == 0)
            return &items[i];
    return NULL;
}

static void compare(struct diffing *d, const char *kind, const struct item *old, size_t old_count,
                    const struct item *new, size_t new_count)
{
    for (size_t i = 0; i < old_count; i++) {
        const struct item *now = find_item(new, new_count, old[i].name);
        struct change c = {kind, old[i].name, old[i].value, now ? now->value : ""};
        if (!now || strcmp(now->value, old[i].value) != 0)
            add_change(d, &c);
    }
    for (size_t i = 0; i < new_count; i++) {
        struct change c = {kind, new[i].name, "", new[i].value};
        if (!find_item(old, old_count, new[i].name))
            add_change(d, &c);
    }
}

static const char *short_digest(struct diffing *d, const struct kp_digest *digest)
{
    return kp_arena_printf(d->arena, "sha256:%.12s", kp_digest_hex(digest).hex);
}

static struct item *head_items(struct diffing *d, const struct kp_manifest *m, size_t *count)
{
    const char *arches = "";
    for (size_t i = 0; m->arches[i]; i++)
        arches = kp_arena_printf(d->arena, "%s%s%s", arches, i ? "," : "", m->arches[i]);
    const char *runtimes = "";
    for (size_t i = 0; i < m->runtime_count; i++)
        runtimes = kp_arena_printf(d->arena, "%s%s%s %s", runtimes, i ? ", " : "",
                                   m->runtimes[i].name, m->runtimes[i].version);
    const struct item items[] = {
        {"kubernetes", m->kubernetes},
        {"kubeadm api", m->kubeadm_api},
        {"containerd config", kp_arena_printf(d->arena, "%u", m->containerd_config)},
        {"runtimes", runtimes},
        {"network", m->network},
        {"arches", arches},
        {"minimum kinstall", m->minimum_kinstall},
    };
    *count = KP_COUNT(items);
    struct item *out = kp_arena_array(d->arena, KP_COUNT(items), sizeof(*out));
    memcpy(out, items, sizeof(items));
    return out;
}

static struct item *file_items(struct diffing *d, const struct kp_manifest *m, size_t *count)
{
    struct item *out = kp_arena_array(d->arena, m->file_count, sizeof(*out));
    for (size_t i = 0; i < m->file_count; i++) {
        const struct kp_file *f = &m->files[i];
        out[i].name = kp_arena_printf(d->arena, "%s (%s%s%s)", f->target, f->arch,
                                      f->runtime ? ", " : "", f->runtime ? f->runtime : "");
        out[i].value = kp_arena_printf(d->arena, "%s %s", f->version, short_digest(d, &f->sha256));
    }
    *count = m->file_count;
    return out;
}

static struct item *image_items(struct diffing *d, const struct kp_manifest *m, size_t *count)
{
    struct item *out = kp_arena_array(d->arena, m->image_count, sizeof(*out));
    for (size_t i = 0; i < m->image_count; i++)
        out[i] = (struct item){m->images[i].reference, short_digest(d, &m->images[i].digest)};
    *count = m->image_count;
    return out;
}

static struct item *manifest_items(struct diffing *d, const struct kp_manifest *m, size_t *count)
{
    struct item *out = kp_arena_array(d->arena, m->manifest_count, sizeof(*out));
    for (size_t i = 0; i < m->manifest_count; i++)
        out[i] = (struct item){m->manifests[i].name, short_digest(d, &m->manifests[i].blob)};
    *count = m->manifest_count;
    return out;
}

static struct item *program_items(struct diffing *d, const struct kp_manifest *m, size_t *count)
{
    size_t n = 0;
    while (m->programs[n])
        n++;
    struct item *out = kp_arena_array(d->arena, n, sizeof(*out));
    for (size_t i = 0; i < n; i++)
        out[i] = (struct item){m->programs[i], "needed"};
    *count = n;
    return out;
}

static void compare_all(struct diffing *d)
{
    static const struct {
        const char *kind;
        struct item *(*items)(struct diffing *d, const struct kp_manifest *m, size_t *count);
    } kinds[] = {{"version", head_items},
                 {"file", file_items},
                 {"image", image_items},
                 {"manifest", manifest_items},
                 {"program", program_items}};
    for (size_t i = 0; i < KP_COUNT(kinds); i++) {
        size_t old_count, new_count;
        const struct item *old = kinds[i].items(d, d->old, &old_count);
        const struct item *new = kinds[i].items(d, d->new, &new_count);
        compare(d, kinds[i].kind, old, old_count, new, new_count);
    }
}

/* What a delta on top of OLD carries. */
static size_t count_carried(const struct kp_manifest *old, const struct kp_manifest *new,
                            uint64_t *bytes)
{
    size_t count = 0;
    *bytes = 0;
    for (size_t i = 0; i < new->blob_count; i++) {
        if (kp_manifest_blob(old, &new->blobs[i].sha256) &&
            !kp_delta_must_carry(new, &new->blobs[i]))
            continue;
        count++;
        *bytes += new->blobs[i].size;
    }
    return count;
}

static json_t *side_json(const struct side *s)
{
    return json_pack("{s:s, s:s, s:s, s:I, s:s, s:o}", "bundle", kp_bundle_path(s->bundle), "id",
                     kp_digest_hex(&s->m->id).hex, "name", s->m->name, "serial",
                     (json_int_t)s->m->serial, "created", s->m->created, "signers",
                     kp_signers_json(&s->signers));
}

static void print_side(const char *what, const struct side *s)
{
    kp_auto_value(kp_buf) names = KP_BUF(65536);
    kp_signers_text(&s->signers, &names);
    printf("%-9s %s   serial %llu   signed by %s\n", what, s->m->name,
           (unsigned long long)s->m->serial, kp_buf_slice(&names).ptr);
}

/* Returns result. */
static int report(const struct diffing *d, const struct side *old, const struct side *new,
                  bool json, int result, struct kp_err *err)
{
    uint64_t bytes;
    size_t blobs = count_carried(d->old, d->new, &bytes);
    bool same = json_array_size(d->changes) == 0;
    if (json) {
        kp_auto_json out = json_pack("{s:b, s:o, s:o, s:O, s:{s:i, s:I}}", "same", same, "old",
                                     side_json(old), "new", side_json(new), "changes", d->changes,
                                     "carry", "blobs", (int)blobs, "bytes", (json_int_t)bytes);
        return kp_json_end(out, result, err);
    }
    print_side("old", old);
    print_side("new", new);
    printf("carry     %zu blobs, %s\n", blobs, kp_text_bytes(bytes).s);
    if (!same) {
        putchar('\n');
        kp_table_print(d->table, stdout);
    }
    return result;
}

static int open_side(struct side *side, const char *path, const struct kp_text_list *keys,
                     struct kp_err *err)
{
    if (kp_open_trusted(&side->bundle, path, keys, &side->trust, &side->signers, err) < 0)
        return -1;
    side->m = kp_bundle_manifest(side->bundle);
    return 0;
}

static void side_release(struct side *side)
{
    kp_bundle_free(side->bundle);
    kp_trust_free(side->trust);
}
KP_DEFINE_AUTO_VALUE(side);

int kp_cmd_diff(void *options, int argc, char **argv, struct kp_err *err)
{
    static const char *const heads[] = {"CHANGE", "KIND", "NAME", "OLD", "NEW"};
    const struct kp_reading_options *o = options;
    kp_auto_value(side) old = {0};
    kp_auto_value(side) new = {0};
    kp_auto(kp_arena) arena = kp_arena_new();
    kp_auto(kp_table) table = kp_table_new(KP_COUNT(heads), heads);
    kp_auto_json changes = json_array();
    (void)argc;
    if (open_side(&old, argv[0], &o->keys, err) < 0 || open_side(&new, argv[1], &o->keys, err) < 0)
        return -1;
    struct diffing d = {
        .old = old.m, .new = new.m, .arena = arena, .changes = changes, .table = table};
    compare_all(&d);
    int result =
        json_array_size(changes) ? kp_fail_as(err, KP_FAILED, "differ", "the bundles differ") : 0;
    return report(&d, &old, &new, o->json, result, err);
}
