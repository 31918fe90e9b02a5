/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/slices.h"

#include "bundle/layout.h"
#include "core/file.h"
#include "core/interrupt.h"
#include "core/json.h"
#include "core/text.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define LEAVES_HEX_MAX ((size_t)32 << 20) /* of one slice */

void kp_slices_release(struct kp_slices *s)
{
    for (size_t i = 0; i < s->count; i++)
        kp_free(s->items[i].leaves);
    kp_free(s->items);
    kp_free(s->text);
    *s = (struct kp_slices){0};
}

int kp_split_plan(uint64_t front, uint64_t size, uint64_t split, uint64_t **sizes, size_t *count,
                  struct kp_err *err)
{
    uint64_t tail = size - front;
    if (split < KP_SLICE_SIZE_MIN)
        return kp_fail(err, KP_USAGE, "slices have at least %llu bytes",
                       (unsigned long long)KP_SLICE_SIZE_MIN);
    uint64_t n = 1 + (tail + split - 1) / split;
    if (n > KP_SLICES_MAX)
        return kp_fail(err, KP_USAGE,
                       "slices of %s would be %llu, at most %d are possible: make them larger",
                       kp_text_bytes(split).s, (unsigned long long)n, KP_SLICES_MAX);
    *sizes = kp_alloc_array((size_t)n, sizeof(**sizes));
    (*sizes)[0] = front;
    for (size_t i = 1; i < n; i++, tail -= split)
        (*sizes)[i] = tail < split ? tail : split;
    *count = (size_t)n;
    return 0;
}

/* --- making --- */

struct hashing {
    const struct kp_medium *medium;
    struct kp_hash *whole, *slice, *leaf;
    uint8_t *buffer; /* one leaf */
};

static uint64_t leaves_of(uint64_t size)
{
    return (size + KP_LEAF_SIZE - 1) / KP_LEAF_SIZE;
}

/* File i from its start; sum may be NULL. */
static int hash_file(struct hashing *h, size_t i, struct kp_slice_sum *sum, struct kp_err *err)
{
    uint64_t start, size;
    kp_medium_file(h->medium, i, &start, &size);
    if (sum) {
        sum->size = size;
        sum->leaves = kp_alloc_array(leaves_of(size), sizeof(*sum->leaves));
    }
    for (uint64_t at = 0, k = 0; at < size; at += KP_LEAF_SIZE, k++) {
        size_t n = size - at < KP_LEAF_SIZE ? (size_t)(size - at) : (size_t)KP_LEAF_SIZE;
        if (kp_interrupt_check(err) < 0 ||
            kp_medium_read(h->medium, h->buffer, n, start + at, err) < 0)
            return -1;
        kp_hash_update(h->whole, h->buffer, n);
        if (!sum)
            continue;
        kp_hash_update(h->slice, h->buffer, n);
        kp_sha256(h->buffer, n, &sum->leaves[k]);
    }
    if (sum)
        kp_hash_finish(h->slice, &sum->sha256);
    return 0;
}

int kp_slices_hash(const struct kp_medium *medium, struct kp_slices *list, struct kp_digest *whole,
                   struct kp_err *err)
{
    kp_auto(kp_hash) all = kp_hash_new();
    kp_auto(kp_hash) slice = kp_hash_new();
    kp_auto_free uint8_t *buffer = kp_alloc(KP_LEAF_SIZE);
    struct hashing h = {.medium = medium, .whole = all, .slice = slice, .buffer = buffer};
    size_t n = kp_medium_count(medium);
    if (list) {
        list->items = kp_alloc_array(n, sizeof(*list->items));
        kp_medium_file(medium, 0, NULL, &list->front);
    }
    for (size_t i = 0; i < n; i++) {
        struct kp_slice_sum *sum = list && i ? &list->items[list->count++] : NULL;
        if (hash_file(&h, i, sum, err) < 0)
            return -1;
    }
    kp_hash_finish(all, whole);
    return 0;
}

static int dump(struct kp_slices *s, struct kp_err *err)
{
    kp_auto_value(kp_buf) out = KP_BUF(KP_SLICES_TEXT_MAX);
    kp_buf_addf(&out,
                "{\"kind\":\"" KP_SLICES_KIND "\",\n\"bundle\":\"%s\",\n\"front\":%llu,\n"
                "\"slices\":[",
                kp_digest_hex(&s->bundle).hex, (unsigned long long)s->front);
    for (size_t i = 0; i < s->count; i++) {
        const struct kp_slice_sum *sum = &s->items[i];
        kp_buf_addf(&out, "%s\n{\"size\":%llu,\"sha256\":\"%s\",\"leaves\":\"", i ? "," : "",
                    (unsigned long long)sum->size, kp_digest_hex(&sum->sha256).hex);
        for (uint64_t k = 0; k < leaves_of(sum->size); k++)
            kp_buf_adds(&out, kp_digest_hex(&sum->leaves[k]).hex);
        kp_buf_adds(&out, "\"}");
    }
    kp_buf_adds(&out, "]}\n");
    if (out.overflow)
        return kp_fail(err, KP_USAGE, "the bundle is too large for a slice list");
    s->text_len = out.len;
    kp_free(s->text);
    s->text = kp_buf_steal(&out);
    return 0;
}

static int write_list(const char *path, struct kp_slice text, const char *block, struct kp_err *err)
{
    size_t first = kp_layout_entry_size(text.len), second = kp_layout_entry_size(KP_SIG_SIZE);
    size_t len = first + second + KP_END_FRAME;
    kp_auto_free uint8_t *out = kp_alloc(len);
    kp_layout_entry_write(out, KP_PATH_SLICES, text.ptr, text.len);
    kp_layout_entry_write(out + first, KP_PATH_SLICES_SIG, block, KP_SIG_SIZE);
    kp_layout_end(out + first + second);
    return kp_file_write_atomic(path, (struct kp_slice){(const char *)out, len}, 0644, err);
}

int kp_slices_write(struct kp_slices *list, const char *stem, const struct kp_digest *id,
                    const struct kp_key *const *keys, size_t key_count, struct kp_err *err)
{
    kp_auto_free char *path = kp_asprintf("%s" KP_SLICES_SUFFIX, stem);
    kp_auto_free struct kp_signature_set *set = kp_alloc(sizeof(*set));
    kp_auto_free char *block = kp_alloc(KP_SIG_SIZE);
    list->bundle = *id;
    if (dump(list, err) < 0)
        return -1;
    struct kp_slice text = {list->text, list->text_len};
    for (size_t i = 0; i < key_count; i++) {
        struct kp_signature signature;
        if (kp_sign(keys[i], text, &signature, err) < 0 ||
            kp_signature_add(set, &signature, err) < 0)
            return -1;
    }
    kp_signatures_format(set, block);
    return write_list(path, text, block, err);
}

/* --- reading --- */

static int bad_list(struct kp_err *err)
{
    return kp_fail_as(err, KP_DAMAGED, "bad_slice_list", "not as a slice list is");
}

static void read_leaves(struct kp_json_reader *r, struct kp_slice_sum *sum)
{
    const char *text = kp_json_text(r, "leaves", LEAVES_HEX_MAX);
    uint64_t n = leaves_of(sum->size);
    if (r->failed || strlen(text) != n * KP_SHA256_HEX) {
        kp_json_complain(r, "leaves", "one digest for each MiB is needed");
        return;
    }
    sum->leaves = kp_alloc_array(n, sizeof(*sum->leaves));
    for (uint64_t i = 0; i < n; i++)
        if (!kp_parse_hex((struct kp_slice){text + i * KP_SHA256_HEX, KP_SHA256_HEX},
                          sum->leaves[i].bytes, KP_SHA256_LEN))
            kp_json_complain(r, "leaves", "not 64 lower-case hexadecimal digits");
}

static int read_document(struct kp_slices *s, const json_t *document, struct kp_arena *arena,
                         struct kp_err *err)
{
    struct kp_json_reader r = kp_json_read(document, KP_PATH_SLICES, arena, err);
    const json_t *list;
    const char *kind = kp_json_text(&r, "kind", KP_NAME_MAX);
    if (!r.failed && strcmp(kind, KP_SLICES_KIND) != 0)
        kp_json_complain(&r, "kind", "%s is not " KP_SLICES_KIND, kind);
    s->bundle = kp_json_digest(&r, "bundle");
    s->front = kp_json_number(&r, "front", INT64_MAX);
    size_t n = kp_json_array(&r, "slices", KP_SLICES_MAX, false, &list);
    s->items = kp_alloc_array(n, sizeof(*s->items));
    for (; !r.failed && s->count < n; s->count++) {
        struct kp_slice_sum *sum = &s->items[s->count];
        struct kp_json_reader item = kp_json_element(&r, "slices", list, s->count);
        sum->size = kp_json_number(&item, "size", KP_SLICES_TEXT_MAX * KP_LEAF_SIZE);
        sum->sha256 = kp_json_digest(&item, "sha256");
        if (!item.failed && !sum->size)
            kp_json_complain(&item, "size", "is 0");
        if (!item.failed)
            read_leaves(&item, sum);
        if (kp_json_finish(&item) < 0)
            r.failed = true;
    }
    return kp_json_finish(&r);
}

int kp_slices_parse(struct kp_slices *out, struct kp_slice text, struct kp_err *err)
{
    kp_auto_json document = NULL;
    kp_auto(kp_arena) arena = kp_arena_new();
    kp_auto_value(kp_slices) s = {.text = kp_strndup(text.ptr, text.len), .text_len = text.len};
    if (kp_json_parse(&document, text, KP_SLICES_TEXT_MAX, KP_PATH_SLICES, err) < 0 ||
        read_document(&s, document, arena, err) < 0) {
        if (err) {
            err->code = KP_DAMAGED;
            err->reason = "bad_slice_list";
        }
        return -1;
    }
    *out = s;
    s = (struct kp_slices){0};
    return 0;
}

struct filling {
    char *at;
};

static void take_content(void *user, const uint8_t *content, size_t len)
{
    struct filling *filling = user;
    memcpy(filling->at, content, len);
    filling->at += len;
}

/* One of the two entries; *data moves on. The content: kp_free. */
static char *take_entry(struct kp_slice *data, const char *path, size_t max, size_t *len)
{
    uint64_t size;
    uint8_t head[KP_ENTRY_HEAD_MAX];
    const uint8_t *stored = (const uint8_t *)data->ptr;
    if (data->len < KP_ENTRY_HEAD_MAX || !kp_layout_claimed_size(stored, &size) || !size ||
        size > max || data->len < kp_layout_entry_size(size) ||
        kp_layout_entry_head(head, path, size) != sizeof(head) ||
        memcmp(stored, head, sizeof(head)) != 0)
        return NULL;
    kp_auto_free char *out = kp_alloc(size + 1);
    struct filling filling = {out};
    if (!kp_layout_blocks_read(stored + sizeof(head), size, 0, kp_layout_blocks(size), take_content,
                               &filling))
        return NULL;
    data->ptr += kp_layout_entry_size(size);
    data->len -= kp_layout_entry_size(size);
    *len = size;
    return kp_steal(&out);
}

static int read_list(const char *path, char **text, size_t *len, char **block, struct kp_err *err)
{
    kp_auto_free char *data = NULL;
    uint8_t end[KP_END_FRAME];
    size_t data_len, block_len;
    if (!kp_file_exists(path)) {
        kp_fail_as(err, KP_MISSING, "no_slice_list", "there is no slice list");
        return kp_hint(err,
                       "one slice alone is checked by %s; without it check all slices "
                       "together, from the first on",
                       kp_path_base(path));
    }
    if (kp_file_read(path, KP_SLICES_TEXT_MAX + (KP_SLICES_TEXT_MAX >> 8), &data, &data_len, err) <
        0)
        return -1;
    struct kp_slice left = {data, data_len};
    kp_layout_end(end);
    *text = take_entry(&left, KP_PATH_SLICES, KP_SLICES_TEXT_MAX, len);
    *block = *text ? take_entry(&left, KP_PATH_SLICES_SIG, KP_SIG_SIZE, &block_len) : NULL;
    if (*block && block_len == KP_SIG_SIZE && left.len == sizeof(end) &&
        memcmp(left.ptr, end, sizeof(end)) == 0)
        return 0;
    return bad_list(err);
}

int kp_slices_open(struct kp_slices *out, const char *path, const struct kp_trust *trust,
                   struct kp_signers *signers, struct kp_err *err)
{
    kp_auto_free char *text = NULL;
    kp_auto_free char *block = NULL;
    kp_auto_free struct kp_signature_set *set = kp_alloc(sizeof(*set));
    size_t len;
    if (read_list(path, &text, &len, &block, err) < 0 || kp_signatures_parse(set, block, err) < 0 ||
        kp_signatures_verify(set, trust, (struct kp_slice){text, len}, signers, err) < 0 ||
        kp_slices_parse(out, (struct kp_slice){text, len}, err) < 0)
        return kp_wrap(err, "%s", path);
    return 0;
}

int kp_slices_sign(const char *stem, const struct kp_key *key, struct kp_err *err)
{
    kp_auto_free char *path = kp_asprintf("%s" KP_SLICES_SUFFIX, stem);
    kp_auto_free char *text = NULL;
    kp_auto_free char *block = NULL;
    kp_auto_free struct kp_signature_set *set = kp_alloc(sizeof(*set));
    kp_auto_value(kp_slices) list = {0};
    struct kp_signature signature;
    size_t len;
    if (!kp_file_exists(path))
        return 0;
    struct kp_slice slice;
    if (read_list(path, &text, &len, &block, err) < 0 ||
        (slice = (struct kp_slice){text, len}, kp_slices_parse(&list, slice, err)) < 0 ||
        kp_signatures_parse(set, block, err) < 0 || kp_sign(key, slice, &signature, err) < 0 ||
        kp_signature_add(set, &signature, err) < 0)
        return kp_wrap(err, "%s", path);
    kp_signatures_format(set, block);
    return write_list(path, slice, block, err);
}

/* --- one slice alone --- */

static const struct kp_slice_sum *sum_of(const struct kp_slices *list, unsigned number)
{
    return number >= 2 && number - 2 < list->count ? &list->items[number - 2] : NULL;
}

/* Which slice begins with that leaf; 0: none. */
static size_t slice_like(const struct kp_slices *list, const struct kp_digest *leaf)
{
    for (size_t i = 0; i < list->count; i++)
        if (kp_digest_equal(&list->items[i].leaves[0], leaf))
            return i + 2;
    return 0;
}

static int wrong_slice(const struct kp_slices *list, unsigned number, const struct kp_digest *first,
                       struct kp_err *err)
{
    size_t like = slice_like(list, first);
    if (!like || like == number)
        return 0;
    kp_fail_as(err, KP_DAMAGED, "wrong_slice", "is slice %zu of this bundle, not slice %u", like,
               number);
    return kp_hint(err, "rename it");
}

static int wrong_size(const struct kp_slice_sum *sum, uint64_t size, struct kp_err *err)
{
    if (size == sum->size)
        return 0;
    return kp_fail_as(err, KP_DAMAGED, size < sum->size ? "truncated" : "trailing_data",
                      "has %s bytes, not %s", kp_text_grouped(size).s,
                      kp_text_grouped(sum->size).s);
}

static int verify_leaf(const struct kp_slice_sum *sum, const struct kp_medium *file, uint64_t k,
                       uint8_t *buffer, struct kp_digest *seen, struct kp_err *err)
{
    uint64_t at = k * KP_LEAF_SIZE, size = kp_medium_size(file);
    size_t n = size - at < KP_LEAF_SIZE ? (size_t)(size - at) : (size_t)KP_LEAF_SIZE;
    if (kp_interrupt_check(err) < 0 || kp_medium_read(file, buffer, n, at, err) < 0)
        return -1;
    kp_sha256(buffer, n, seen);
    if (kp_digest_equal(seen, &sum->leaves[k]))
        return 0;
    kp_fail_as(err, KP_DAMAGED, "damaged", "bytes %s – %s of the slice are damaged",
               kp_text_grouped(at).s, kp_text_grouped(at + n - 1).s);
    return kp_hint(err, "copy it again, or: kpack repair SLICE --from OTHER_COPY");
}

int kp_slices_verify_one(const struct kp_slices *list, unsigned number,
                         const struct kp_medium *file, struct kp_err *err)
{
    const struct kp_slice_sum *sum = sum_of(list, number);
    kp_auto_free uint8_t *buffer = kp_alloc(KP_LEAF_SIZE);
    struct kp_digest seen;
    uint64_t size = kp_medium_size(file);
    if (!sum)
        return kp_fail_as(err, KP_DAMAGED, "wrong_slice", "the bundle has %zu slices only",
                          list->count + 1);
    for (uint64_t k = 0; k < leaves_of(size) && k < leaves_of(sum->size); k++) {
        int result = verify_leaf(sum, file, k, buffer, &seen, err);
        if (result < 0 && err && err->code == KP_DAMAGED && k == 0 &&
            wrong_slice(list, number, &seen, err) < 0)
            return -1;
        if (result < 0 && wrong_size(sum, size, size != sum->size ? err : NULL) < 0)
            return -1; // that says more than where the last MiB differs
        if (result < 0)
            return -1;
    }
    if (wrong_size(sum, size, err) < 0)
        return -1;
    return kp_medium_unchanged(file, err);
}
