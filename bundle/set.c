/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/set.h"

#include "bundle/reader.h"

#include <fcntl.h>
#include <stdio.h>

struct kp_base_text kp_base_text(const struct kp_base *base)
{
    struct kp_base_text text;
    snprintf(text.s, sizeof(text.s), "%s serial %llu (id %.12s…)", base->name,
             (unsigned long long)base->serial, kp_digest_hex(&base->id).hex);
    return text;
}

static void list_bases(struct kp_buf *buf, const struct kp_base *const *bases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        kp_buf_addf(buf, "%s%s", i ? ", " : "", kp_base_text(bases[i]).s);
}

/* Which of the bundle's bases the file is, by the id of its bundle.json and before anything in it
 * is parsed. */
static int find_place(const struct kp_bundle *bundle, const char *path, size_t *out,
                      struct kp_err *err)
{
    const struct kp_manifest *m = bundle->manifest;
    kp_auto(kp_bundle) front = NULL;
    kp_auto_value(kp_buf) needed = KP_BUF(KP_BASES_MAX * KP_BASE_TEXT_MAX);
    const struct kp_base *missing[KP_BASES_MAX];
    struct kp_digest id;
    if (kp_reader_front(&front, path, O_RDONLY, err) < 0)
        return kp_wrap(err, "%s", path);
    kp_sha256(front->text, front->text_len, &id);
    for (*out = 0; *out < m->base_count; (*out)++)
        if (kp_digest_equal(&m->bases[*out].id, &id) && !bundle->bases[*out])
            return 0;
    size_t count = kp_bundle_missing(bundle, missing);
    kp_fail_as(err, KP_MISSING, "wrong_base", "%s (id %.12s…) is not a base that %s still needs",
               path, kp_digest_hex(&id).hex, bundle->path);
    if (!count)
        return kp_hint(err, "it needs no other bundle%s", m->base_count ? " any more" : "");
    list_bases(&needed, missing, count);
    return kp_hint(err, "it needs %s", kp_buf_slice(&needed).ptr);
}

/* What the delta says of its base must be so: both are covered by the delta's signature. */
static int check_base(const struct kp_bundle *bundle, size_t place, const struct kp_bundle *base,
                      struct kp_err *err)
{
    const struct kp_manifest *m = bundle->manifest, *b = base->manifest;
    const struct kp_base *wanted = &m->bases[place];
    if (strcmp(b->name, wanted->name) != 0 || b->serial != wanted->serial)
        return kp_fail_as(err, KP_DAMAGED, "bad_base", "%s is %s serial %llu; %s says %s",
                          base->path, b->name, (unsigned long long)b->serial, bundle->path,
                          kp_base_text(wanted).s);
    // an id that names a bundle which names it back cannot be made; were it so, neither would end
    for (size_t i = 0; i < b->base_count; i++)
        if (kp_digest_equal(&b->bases[i].id, &m->id))
            return kp_fail_as(err, KP_DAMAGED, "bad_base", "%s and %s are each other's base",
                              base->path, bundle->path);
    for (size_t i = 0; i < m->blob_count; i++) {
        uint64_t size;
        if (m->blobs[i].base != &wanted->id)
            continue;
        struct kp_digest_text hex = kp_digest_hex(&m->blobs[i].sha256);
        if (!kp_bundle_find(base, &m->blobs[i].sha256, NULL, &size))
            return kp_fail_as(err, KP_MISSING, "base_lacks_blob",
                              "%s does not hold blob %s, which %s expects there", base->path,
                              hex.hex, bundle->path);
        if (size != m->blobs[i].size)
            return kp_fail_as(err, KP_DAMAGED, "bad_base", "%s has blob %s with another size",
                              base->path, hex.hex);
    }
    return 0;
}

int kp_bundle_open_base(struct kp_bundle *bundle, const char *path, struct kp_err *err)
{
    kp_auto(kp_bundle) base = NULL;
    size_t place;
    if (find_place(bundle, path, &place, err) < 0 ||
        kp_bundle_open_id(&base, path, &bundle->manifest->bases[place].id, err) < 0 ||
        check_base(bundle, place, base, err) < 0)
        return -1;
    bundle->bases[place] = kp_steal(&base);
    return 0;
}

int kp_bundle_open_bases(struct kp_bundle *bundle, const char *const *paths, size_t count,
                         struct kp_err *err)
{
    for (size_t i = 0; i < count; i++)
        if (kp_bundle_open_base(bundle, paths[i], err) < 0)
            return -1;
    return 0;
}

struct kp_bundle *kp_bundle_base(const struct kp_bundle *bundle, size_t i)
{
    return i < bundle->manifest->base_count ? bundle->bases[i] : NULL;
}

size_t kp_bundle_missing(const struct kp_bundle *bundle, const struct kp_base *out[KP_BASES_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < bundle->manifest->base_count; i++)
        if (!bundle->bases[i])
            out[count++] = &bundle->manifest->bases[i];
    return count;
}

int kp_missing_bases(const char *what, const struct kp_base *const *bases, size_t count,
                     struct kp_err *err)
{
    kp_auto_value(kp_buf) list = KP_BUF(KP_BASES_MAX * KP_BASE_TEXT_MAX);
    list_bases(&list, bases, count);
    return kp_fail_as(err, KP_MISSING, "missing_base", "%s is a delta; missing: %s", what,
                      kp_buf_slice(&list).ptr);
}

int kp_bundle_need_bases(const struct kp_bundle *bundle, struct kp_err *err)
{
    const struct kp_base *missing[KP_BASES_MAX];
    size_t count = kp_bundle_missing(bundle, missing);
    if (!count)
        return 0;
    kp_missing_bases(bundle->path, missing, count, err);
    return kp_hint(err, "give its file by --base FILE");
}

json_t *kp_bases_json(const struct kp_base *bases, size_t count)
{
    json_t *out = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(out, json_pack("{s:s, s:s, s:I}", "id",
                                             kp_digest_hex(&bases[i].id).hex, "name", bases[i].name,
                                             "serial", (json_int_t)bases[i].serial));
    return out;
}
