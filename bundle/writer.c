/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bundle.json comes first and holds the digest of bundle.leaves, which is known last. Its length is
 * known before, though, and with it every offset: blobs are copied to their places in any order, on
 * all cores, read once and hashed as they pass; the front is written at the end.
 */
#include "bundle/writer.h"

#include "bundle/index.h"
#include "bundle/layout.h"
#include "bundle/slices.h"
#include "core/file.h"
#include "core/interrupt.h"
#include "core/pool.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

struct writer {
    const struct kp_bundle_writing *writing;
    struct kp_manifest *manifest;
    struct kp_medium *out;
    char *index; /* index.json */
    size_t index_len;
    uint64_t front, size; /* where the tail begins; of the whole file */
    uint64_t *offsets;    /* of each entry, in the file */
    uint64_t *first_leaf; /* of each entry, in leaves */
    size_t *order;        /* entries with blobs, largest first, so that no thread ends alone */
    uint8_t *leaves;
    pthread_mutex_t lock; /* guards done and the calls of progress */
    uint64_t done;
    struct kp_slices list; /* where slices are written */
};

static void release_writer(struct writer *w)
{
    kp_medium_free(w->out);
    kp_slices_release(&w->list);
    kp_free(w->index);
    kp_free(w->offsets);
    kp_free(w->first_leaf);
    kp_free(w->order);
    kp_free(w->leaves);
    pthread_mutex_destroy(&w->lock);
}

static int compare_blobs(const void *a, const void *b)
{
    return memcmp(((const struct kp_blob *)a)->sha256.bytes,
                  ((const struct kp_blob *)b)->sha256.bytes, KP_SHA256_LEN);
}

static struct kp_entry entry_of(struct kp_manifest *m, const char *path, const void *data,
                                size_t len)
{
    struct kp_entry entry = {.path = kp_arena_strdup(m->arena, path), .size = len};
    if (data)
        kp_sha256(data, len, &entry.sha256);
    return entry;
}

static void plan_entries(struct writer *w)
{
    struct kp_manifest *m = w->manifest;
    uint64_t leaves = 0;
    size_t n = KP_FIXED_ENTRIES;
    m->entries = kp_arena_array(m->arena, m->blob_count + KP_FIXED_ENTRIES, sizeof(*m->entries));
    m->entries[1] =
        entry_of(m, KP_PATH_OCI_LAYOUT, KP_OCI_LAYOUT_TEXT, sizeof(KP_OCI_LAYOUT_TEXT) - 1);
    m->entries[2] = entry_of(m, KP_PATH_INDEX, w->index, w->index_len);
    for (size_t i = 0; i < m->blob_count; i++) {
        if (m->blobs[i].base)
            continue;
        m->entries[n] = entry_of(m, kp_layout_blob_path(&m->blobs[i].sha256).s, NULL, 0);
        m->entries[n].size = m->blobs[i].size;
        m->entries[n++].sha256 = m->blobs[i].sha256;
    }
    m->entry_count = n;
    w->first_leaf = kp_alloc_array(n, sizeof(*w->first_leaf));
    for (size_t i = 1; i < n; i++) {
        w->first_leaf[i] = leaves;
        leaves += kp_layout_leaves(m->entries[i].size);
    }
    w->leaves = kp_alloc_array(leaves, KP_SHA256_LEN);
    m->entries[0] = entry_of(m, KP_PATH_LEAVES, NULL, leaves * KP_SHA256_LEN);
}

/* What we would write, read by the strict reader: nothing leaves here that it refuses. */
static int check_manifest(struct writer *w, size_t *len, struct kp_err *err)
{
    kp_auto(kp_manifest) parsed = NULL;
    kp_auto_free char *text = kp_manifest_dump(w->manifest, len);
    if (kp_manifest_parse(&parsed, (struct kp_slice){text, *len}, err) == 0)
        return 0;
    if (err)
        err->code = KP_USAGE;
    return kp_wrap(err, "the bundle cannot be described");
}

static int plan_offsets(struct writer *w, struct kp_err *err)
{
    struct kp_manifest *m = w->manifest;
    size_t manifest_len;
    m->tail_length = KP_END_FRAME;
    for (size_t i = 0; i < m->entry_count; i++)
        m->tail_length += kp_layout_entry_size(m->entries[i].size);
    if (check_manifest(w, &manifest_len, err) < 0)
        return -1;
    w->front = kp_layout_entry_size(manifest_len) + kp_layout_entry_size(KP_SIG_SIZE);
    w->size = w->front + m->tail_length;
    w->offsets = kp_alloc_array(m->entry_count, sizeof(*w->offsets));
    uint64_t at = w->front;
    for (size_t i = 0; i < m->entry_count; i++) {
        w->offsets[i] = at;
        at += kp_layout_entry_size(m->entries[i].size);
    }
    return 0;
}

static int compare_sizes(const void *a, const void *b, void *user)
{
    const struct kp_entry *entries = user;
    size_t i = *(const size_t *)a, k = *(const size_t *)b;
    if (entries[i].size != entries[k].size)
        return entries[i].size < entries[k].size ? 1 : -1;
    return i < k ? -1 : 1;
}

static int plan(struct writer *w, struct kp_err *err)
{
    struct kp_manifest *m = w->manifest;
    if (m->blob_count)
        qsort(m->blobs, m->blob_count, sizeof(*m->blobs), compare_blobs);
    if (kp_index_make(m, &w->index, &w->index_len, err) < 0)
        return -1;
    plan_entries(w);
    if (plan_offsets(w, err) < 0)
        return -1;
    size_t n = m->entry_count - KP_FIXED_ENTRIES;
    w->order = kp_alloc_array(n, sizeof(*w->order));
    for (size_t i = 0; i < n; i++)
        w->order[i] = i + KP_FIXED_ENTRIES;
    qsort_r(w->order, n, sizeof(*w->order), compare_sizes, m->entries);
    return 0;
}

static int open_out(struct writer *w, const char *path, struct kp_err *err)
{
    kp_auto_free uint64_t *sizes = NULL;
    size_t count = 1;
    if (!w->writing->split)
        return kp_medium_create(&w->out, path, &w->size, 1, err);
    if (kp_split_plan(w->front, w->size, w->writing->split, &sizes, &count, err) < 0)
        return -1;
    return kp_medium_create(&w->out, path, sizes, count, err);
}

static void report(struct writer *w, uint64_t bytes)
{
    if (!w->writing->progress)
        return;
    pthread_mutex_lock(&w->lock);
    w->done += bytes;
    w->writing->progress(w->writing->user, w->done, w->manifest->tail_length);
    pthread_mutex_unlock(&w->lock);
}

/* One blob on its way: where it comes from and what was seen. */
struct copying {
    struct writer *w;
    size_t entry;
    int source;
    uint8_t *buffer; /* one stored leaf and the entry's head */
    struct kp_hash *whole, *leaf;
};

/* Reads leaf `index` behind buffer+len, in its stored form; the new len. */
static int fill_leaf(struct copying *c, uint64_t index, size_t *len, struct kp_err *err)
{
    uint64_t size = c->w->manifest->entries[c->entry].size;
    uint64_t last = (index + 1) * KP_LEAF_BLOCKS, blocks = kp_layout_blocks(size);
    for (uint64_t i = index * KP_LEAF_BLOCKS; i < last && i < blocks; i++) {
        struct kp_block block = kp_layout_block(size, i);
        uint8_t *content = c->buffer + *len + KP_BLOCK_HEADER;
        memcpy(c->buffer + *len, block.header, KP_BLOCK_HEADER);
        if (kp_pread_full(c->source, content, block.content, i * KP_BLOCK_MAX, err) < 0)
            return -1;
        memset(content + block.content, 0, block.padding);
        kp_hash_update(c->whole, content, block.content);
        kp_hash_update(c->leaf, content, block.content);
        *len += kp_layout_block_stored(&block);
    }
    return 0;
}

static int copy_content(struct copying *c, struct kp_err *err)
{
    struct writer *w = c->w;
    const struct kp_entry *entry = &w->manifest->entries[c->entry];
    uint64_t at = w->offsets[c->entry], leaves = kp_layout_leaves(entry->size);
    size_t len = kp_layout_entry_head(c->buffer, entry->path, entry->size);
    for (uint64_t i = 0; i < leaves || (i == 0 && len); i++, at += len, len = 0) {
        if (kp_interrupt_check(err) < 0 || fill_leaf(c, i, &len, err) < 0)
            return -1;
        if (i < leaves) {
            struct kp_digest leaf;
            kp_hash_finish(c->leaf, &leaf);
            memcpy(w->leaves + (w->first_leaf[c->entry] + i) * KP_SHA256_LEN, leaf.bytes,
                   KP_SHA256_LEN);
        }
        if (kp_medium_write(w->out, c->buffer, len, at, err) < 0)
            return -1;
        report(w, len);
    }
    return 0;
}

static int check_source(struct copying *c, struct kp_err *err)
{
    const struct kp_entry *entry = &c->w->manifest->entries[c->entry];
    struct stat st;
    if (fstat(c->source, &st) < 0)
        return kp_fail_sys(err, errno, "blob %s", entry->path);
    if ((uint64_t)st.st_size != entry->size)
        return kp_fail_as(err, KP_DAMAGED, "damaged", "%s: its source has %llu bytes, not %llu",
                          entry->path, (unsigned long long)st.st_size,
                          (unsigned long long)entry->size);
    return 0;
}

static int copy_blob(void *user, size_t item, unsigned worker, struct kp_err *err)
{
    struct writer *w = user;
    struct copying c = {.w = w, .entry = w->order[item]};
    const struct kp_entry *entry = &w->manifest->entries[c.entry];
    uint64_t stored = kp_layout_entry_size(entry->size);
    (void)worker;
    kp_auto_fd int source = -1;
    if (w->writing->source.open(w->writing->source.user, &entry->sha256, &source, err) < 0)
        return -1;
    kp_auto(kp_hash) whole = kp_hash_new();
    kp_auto(kp_hash) leaf = kp_hash_new();
    kp_auto_free uint8_t *buffer =
        kp_alloc(KP_ENTRY_HEAD_MAX + (stored < KP_LEAF_STORED_MAX ? stored : KP_LEAF_STORED_MAX));
    c.source = source;
    c.buffer = buffer;
    c.whole = whole;
    c.leaf = leaf;
    struct kp_digest seen;
    if (check_source(&c, err) < 0 || copy_content(&c, err) < 0)
        return -1;
    kp_hash_finish(whole, &seen);
    if (!kp_digest_equal(&seen, &entry->sha256))
        return kp_fail_as(err, KP_DAMAGED, "damaged", "%s: its source has other content (%s)",
                          entry->path, kp_digest_hex(&seen).hex);
    return 0;
}

static int write_entry(struct writer *w, uint64_t offset, const char *path, const void *data,
                       size_t len, struct kp_err *err)
{
    size_t stored = kp_layout_entry_size(len);
    kp_auto_free uint8_t *buffer = kp_alloc(stored);
    kp_layout_entry_write(buffer, path, data, len);
    return kp_medium_write(w->out, buffer, stored, offset, err);
}

/* An entry that lies in memory, with its leaves. */
static int write_small(struct writer *w, size_t i, const char *data, struct kp_err *err)
{
    const struct kp_entry *entry = &w->manifest->entries[i];
    uint64_t leaf = w->first_leaf[i];
    for (size_t at = 0; at < entry->size; at += KP_LEAF_SIZE, leaf++) {
        struct kp_digest digest;
        size_t left = entry->size - at;
        kp_sha256(data + at, left < KP_LEAF_SIZE ? left : KP_LEAF_SIZE, &digest);
        memcpy(w->leaves + leaf * KP_SHA256_LEN, digest.bytes, KP_SHA256_LEN);
    }
    return write_entry(w, w->offsets[i], entry->path, data, entry->size, err);
}

static int write_tail(struct writer *w, struct kp_err *err)
{
    struct kp_manifest *m = w->manifest;
    uint8_t end[KP_END_FRAME];
    kp_layout_end(end);
    if (kp_parallel(w->writing->threads, m->entry_count - KP_FIXED_ENTRIES, copy_blob, w, err) <
            0 ||
        write_small(w, 1, KP_OCI_LAYOUT_TEXT, err) < 0 || write_small(w, 2, w->index, err) < 0)
        return -1;
    kp_sha256(w->leaves, m->entries[0].size, &m->entries[0].sha256);
    if (write_entry(w, w->offsets[0], KP_PATH_LEAVES, w->leaves, m->entries[0].size, err) < 0)
        return -1;
    return kp_medium_write(w->out, end, sizeof(end), w->size - sizeof(end), err);
}

static int write_front(struct writer *w, struct kp_bundle_written *out, struct kp_err *err)
{
    kp_auto_free struct kp_signature_set *set = kp_alloc(sizeof(*set));
    kp_auto_free char *block = kp_alloc(KP_SIG_SIZE);
    size_t len;
    kp_auto_free char *text = kp_manifest_dump(w->manifest, &len);
    uint64_t signatures_at = kp_layout_entry_size(len);
    assert(signatures_at + kp_layout_entry_size(KP_SIG_SIZE) == w->front);
    for (size_t i = 0; i < w->writing->key_count; i++) {
        struct kp_signature signature;
        if (kp_sign(w->writing->keys[i], (struct kp_slice){text, len}, &signature, err) < 0 ||
            kp_signature_add(set, &signature, err) < 0)
            return -1;
    }
    kp_signatures_format(set, block);
    kp_sha256(text, len, &out->id);
    if (write_entry(w, 0, KP_PATH_MANIFEST, text, len, err) < 0)
        return -1;
    return write_entry(w, signatures_at, KP_PATH_SIGNATURES, block, KP_SIG_SIZE, err);
}

struct finishing {
    struct writer *w;
    struct kp_bundle_written *out;
};

/* The disk is busy with item 0 while item 1 hashes what the cache still holds. */
static int finish_part(void *user, size_t item, unsigned worker, struct kp_err *err)
{
    struct finishing *f = user;
    (void)worker;
    if (item == 0)
        return kp_medium_sync(f->w->out, err);
    f->out->size = f->w->size;
    return kp_slices_hash(f->w->out, f->w->writing->split ? &f->w->list : NULL, &f->out->sha256,
                          err);
}

static int finish(struct writer *w, const char *path, struct kp_bundle_written *out,
                  struct kp_err *err)
{
    struct finishing f = {.w = w, .out = out};
    if (kp_parallel(2, 2, finish_part, &f, err) < 0)
        return -1;
    out->slices = w->writing->split ? kp_medium_count(w->out) : 0;
    if (w->writing->split &&
        kp_slices_write(&w->list, path, &out->id, w->writing->keys, w->writing->key_count, err) < 0)
        return -1;
    return kp_medium_commit(w->out, err);
}

static int write_bundle(struct writer *w, const char *path, struct kp_bundle_written *out,
                        struct kp_err *err)
{
    if (plan(w, err) < 0 || open_out(w, path, err) < 0)
        return -1;
    if (write_tail(w, err) < 0 || write_front(w, out, err) < 0)
        return -1;
    return finish(w, path, out, err);
}

int kp_bundle_write(const struct kp_bundle_writing *writing, const char *path,
                    struct kp_bundle_written *out, struct kp_err *err)
{
    struct writer w = {.writing = writing, .manifest = writing->manifest};
    struct kp_bundle_written written = {0};
    pthread_mutex_init(&w.lock, NULL);
    int result = write_bundle(&w, path, &written, err);
    release_writer(&w);
    if (result < 0)
        return kp_wrap(err, "write bundle %s", path);
    *out = written;
    return 0;
}
