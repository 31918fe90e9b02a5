/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/receipt.h"

#include "bundle/names.h"
#include "core/file.h"
#include "core/text.h"

#include <stdlib.h>

struct kp_receipt *kp_receipt_new(void)
{
    struct kp_receipt *receipt = kp_alloc(sizeof(*receipt));
    receipt->arena = kp_arena_new();
    receipt->cluster = receipt->created = "";
    return receipt;
}

void kp_receipt_free(struct kp_receipt *receipt)
{
    if (!receipt)
        return;
    kp_arena_free(receipt->arena);
    kp_free(receipt);
}

static int compare_bundles(const void *pa, const void *pb)
{
    const struct kp_receipt_bundle *a = pa, *b = pb;
    if (a->serial != b->serial)
        return a->serial > b->serial ? -1 : 1;
    return memcmp(a->id.bytes, b->id.bytes, KP_SHA256_LEN);
}

static int compare_blob(const void *key, const void *item)
{
    return memcmp(((const struct kp_digest *)key)->bytes,
                  ((const struct kp_receipt_blob *)item)->sha256.bytes, KP_SHA256_LEN);
}

const struct kp_receipt_blob *kp_receipt_blob(const struct kp_receipt_bundle *bundle,
                                              const struct kp_digest *digest)
{
    if (!bundle->blob_count)
        return NULL;
    return bsearch(digest, bundle->blobs, bundle->blob_count, sizeof(*bundle->blobs), compare_blob);
}

static int add_mirror(struct kp_receipt *receipt, struct kp_receipt_bundle *bundle,
                      const char *mirror, struct kp_err *err)
{
    if (bundle->mirror_count == KP_RECEIPT_MIRRORS_MAX)
        return kp_fail(err, KP_USAGE, "more than %d mirrors", KP_RECEIPT_MIRRORS_MAX);
    const char **mirrors =
        kp_arena_array(receipt->arena, bundle->mirror_count + 2, sizeof(*mirrors));
    for (size_t i = 0; i < bundle->mirror_count; i++)
        mirrors[i] = bundle->mirrors[i];
    if (mirror)
        mirrors[bundle->mirror_count++] = kp_arena_strdup(receipt->arena, mirror);
    bundle->mirrors = mirrors;
    return 0;
}

static void take_content(struct kp_arena *arena, struct kp_receipt_bundle *bundle,
                         const struct kp_manifest *m)
{
    bundle->blobs = kp_arena_array(arena, m->blob_count, sizeof(*bundle->blobs));
    bundle->files = kp_arena_array(arena, m->file_count, sizeof(*bundle->files));
    for (size_t i = 0; i < m->blob_count; i++)
        if (!m->blobs[i].base)
            bundle->blobs[bundle->blob_count++] =
                (struct kp_receipt_blob){m->blobs[i].sha256, m->blobs[i].size};
    for (size_t i = 0; i < m->file_count; i++) {
        const struct kp_file *file = &m->files[i];
        if (!kp_receipt_blob(bundle, &file->blob))
            continue;
        bundle->files[bundle->file_count++] = (struct kp_receipt_file){
            .origin = kp_arena_strdup(arena, file->origin),
            .name = kp_arena_strdup(arena, file->name),
            .arch = kp_arena_strdup(arena, file->arch),
            .sha256 = file->sha256,
            .size = file->size,
            .blob = file->blob,
        };
    }
}

int kp_receipt_add(struct kp_receipt *receipt, const struct kp_manifest *manifest, uint64_t size,
                   const char *mirror, struct kp_err *err)
{
    for (size_t i = 0; i < receipt->bundle_count; i++)
        if (kp_digest_equal(&receipt->bundles[i].id, &manifest->id))
            return add_mirror(receipt, &receipt->bundles[i], mirror, err);
    if (receipt->bundle_count == KP_RECEIPT_BUNDLES_MAX)
        return kp_fail(err, KP_USAGE, "more than %d bundles", KP_RECEIPT_BUNDLES_MAX);
    struct kp_receipt_bundle *bundle = &receipt->bundles[receipt->bundle_count];
    *bundle = (struct kp_receipt_bundle){
        .id = manifest->id,
        .name = kp_arena_strdup(receipt->arena, manifest->name),
        .serial = manifest->serial,
        .size = size,
    };
    if (add_mirror(receipt, bundle, mirror, err) < 0)
        return -1;
    take_content(receipt->arena, bundle, manifest);
    receipt->bundle_count++;
    qsort(receipt->bundles, receipt->bundle_count, sizeof(*bundle), compare_bundles);
    return 0;
}

/* --- writing --- */

static void set_digest(json_t *object, const char *key, const struct kp_digest *digest)
{
    json_object_set_new(object, key, json_string(kp_digest_hex(digest).hex));
}

static void set_number(json_t *object, const char *key, uint64_t number)
{
    json_object_set_new(object, key, json_integer((json_int_t)number));
}

static json_t *file_json(const struct kp_receipt_file *file)
{
    json_t *out = json_pack("{s:s, s:s, s:s}", "origin", file->origin, "name", file->name, "arch",
                            file->arch);
    set_digest(out, "sha256", &file->sha256);
    set_number(out, "size", file->size);
    set_digest(out, "blob", &file->blob);
    return out;
}

static json_t *bundle_json(const struct kp_receipt_bundle *bundle)
{
    json_t *out = json_object(), *mirrors = json_array(), *blobs = json_array(),
           *files = json_array();
    for (size_t i = 0; i < bundle->mirror_count; i++)
        json_array_append_new(mirrors, json_string(bundle->mirrors[i]));
    for (size_t i = 0; i < bundle->blob_count; i++) {
        json_t *blob = json_object();
        set_digest(blob, "sha256", &bundle->blobs[i].sha256);
        set_number(blob, "size", bundle->blobs[i].size);
        json_array_append_new(blobs, blob);
    }
    for (size_t i = 0; i < bundle->file_count; i++)
        json_array_append_new(files, file_json(&bundle->files[i]));
    set_digest(out, "id", &bundle->id);
    json_object_set_new(out, "name", json_string(bundle->name));
    set_number(out, "serial", bundle->serial);
    set_number(out, "size", bundle->size);
    json_object_set_new(out, "mirrors", mirrors);
    json_object_set_new(out, "blobs", blobs);
    json_object_set_new(out, "files", files);
    return out;
}

char *kp_receipt_dump(const struct kp_receipt *receipt)
{
    json_t *bundles = json_array();
    for (size_t i = 0; i < receipt->bundle_count; i++)
        json_array_append_new(bundles, bundle_json(&receipt->bundles[i]));
    kp_auto_json out = json_pack("{s:s, s:s, s:s, s:o}", "kind", KP_RECEIPT_KIND, "cluster",
                                 receipt->cluster, "created", receipt->created, "bundles", bundles);
    return kp_json_dump(out, false);
}

/* --- reading --- */

static const char *read_plain(struct kp_json_reader *r, const char *key)
{
    const char *text = kp_json_text(r, key, KP_TEXT_MAX);
    if (!r->failed && !kp_text_plain(text, KP_TEXT_MAX))
        kp_json_complain(r, key, "printable ASCII is needed");
    return text;
}

static const char *read_name(struct kp_json_reader *r, const char *key)
{
    const char *text = kp_json_text(r, key, KP_NAME_MAX);
    if (!r->failed && !kp_name_ok(text))
        kp_json_complain(r, key, "\"%.64s\": a name is needed", text);
    return text;
}

static void *begin_list(struct kp_json_reader *r, const char *key, size_t max, size_t size,
                        const json_t **array, size_t *count)
{
    *count = kp_json_array(r, key, max, false, array);
    return kp_arena_array(r->arena, *count, size);
}

static void end_element(struct kp_json_reader *r, struct kp_json_reader *item)
{
    if (kp_json_finish(item) < 0)
        r->failed = true;
}

static void read_blobs(struct kp_json_reader *r, struct kp_receipt_bundle *bundle)
{
    const json_t *array;
    bundle->blobs =
        begin_list(r, "blobs", KP_ENTRIES_MAX, sizeof(*bundle->blobs), &array, &bundle->blob_count);
    for (size_t i = 0; i < bundle->blob_count && !r->failed; i++) {
        struct kp_json_reader item = kp_json_element(r, "blobs", array, i);
        struct kp_receipt_blob *blob = &bundle->blobs[i];
        blob->sha256 = kp_json_digest(&item, "sha256");
        blob->size = kp_json_number(&item, "size", KP_ENTRY_SIZE_MAX);
        if (i && compare_blob(&blob->sha256, &blob[-1]) <= 0)
            kp_json_complain(&item, "sha256", "blobs are not in ascending order");
        end_element(r, &item);
    }
}

static void read_files(struct kp_json_reader *r, struct kp_receipt_bundle *bundle)
{
    const json_t *array;
    bundle->files =
        begin_list(r, "files", KP_FILES_MAX, sizeof(*bundle->files), &array, &bundle->file_count);
    for (size_t i = 0; i < bundle->file_count && !r->failed; i++) {
        struct kp_json_reader item = kp_json_element(r, "files", array, i);
        struct kp_receipt_file *file = &bundle->files[i];
        file->origin = read_plain(&item, "origin");
        file->name = read_name(&item, "name");
        file->arch = read_name(&item, "arch");
        file->sha256 = kp_json_digest(&item, "sha256");
        file->size = kp_json_number(&item, "size", INT64_MAX);
        file->blob = kp_json_digest(&item, "blob");
        if (!item.failed && !kp_receipt_blob(bundle, &file->blob))
            kp_json_complain(&item, "blob", "%s is not in blobs", kp_digest_hex(&file->blob).hex);
        end_element(r, &item);
    }
}

static void read_bundle(struct kp_json_reader *r, struct kp_receipt_bundle *bundle)
{
    bundle->id = kp_json_digest(r, "id");
    bundle->name = read_name(r, "name");
    bundle->serial = kp_json_number(r, "serial", INT64_MAX);
    bundle->size = kp_json_number(r, "size", INT64_MAX);
    bundle->mirrors =
        kp_json_texts(r, "mirrors", KP_RECEIPT_MIRRORS_MAX, false, &bundle->mirror_count);
    for (size_t i = 0; !r->failed && i < bundle->mirror_count; i++)
        if (!kp_name_ok(bundle->mirrors[i]))
            kp_json_complain(r, "mirrors", "\"%.64s\": a name is needed", bundle->mirrors[i]);
    if (r->failed)
        return;
    read_blobs(r, bundle);
    if (!r->failed)
        read_files(r, bundle);
}

static int read_receipt(struct kp_receipt *receipt, const json_t *document, const char *name,
                        struct kp_err *err)
{
    struct kp_json_reader r = kp_json_read(document, name, receipt->arena, err);
    const json_t *array;
    time_t when;
    const char *kind = kp_json_text(&r, "kind", KP_NAME_MAX);
    if (!r.failed && strcmp(kind, KP_RECEIPT_KIND) != 0)
        kp_json_complain(&r, "kind", "\"%.64s\": %s is needed", kind, KP_RECEIPT_KIND);
    receipt->cluster = read_plain(&r, "cluster");
    receipt->created = read_plain(&r, "created");
    if (!r.failed && !kp_parse_utc(receipt->created, &when))
        kp_json_complain(&r, "created", "UTC as 2026-11-23T21:00:00Z is needed");
    receipt->bundle_count = kp_json_array(&r, "bundles", KP_RECEIPT_BUNDLES_MAX, false, &array);
    for (size_t i = 0; i < receipt->bundle_count && !r.failed; i++) {
        struct kp_json_reader item = kp_json_element(&r, "bundles", array, i);
        struct kp_receipt_bundle *bundle = &receipt->bundles[i];
        read_bundle(&item, bundle);
        if (!item.failed && i && compare_bundles(&bundle[-1], bundle) >= 0)
            kp_json_complain(&item, "id", "the newest serial comes first, and each id once");
        end_element(&r, &item);
    }
    return kp_json_finish(&r);
}

int kp_receipt_parse(struct kp_receipt **out, struct kp_slice text, const char *name,
                     struct kp_err *err)
{
    kp_auto(kp_receipt) receipt = kp_receipt_new();
    kp_auto_json document = NULL;
    if (kp_json_parse(&document, text, KP_RECEIPT_MAX, name, err) < 0 ||
        read_receipt(receipt, document, name, err) < 0) {
        if (err) {
            err->code = KP_USAGE;
            err->reason = "bad_receipt";
        }
        return -1;
    }
    *out = kp_steal(&receipt);
    return 0;
}

int kp_receipt_load(struct kp_receipt **out, const char *path, struct kp_err *err)
{
    kp_auto_free char *text = NULL;
    size_t len;
    if (kp_file_read(path, KP_RECEIPT_MAX, &text, &len, err) < 0)
        return -1;
    return kp_receipt_parse(out, (struct kp_slice){text, len}, path, err);
}
