/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every byte after bundle.sig: bundle.leaves first, then one work item per leaf (a whole small
 * entry is one item), each read once. The leaves are covered by bundle.leaves's digest in the
 * signed manifest, so content of many leaves is not hashed a second time as a whole.
 */
#include "bundle/reader.h"

#include "core/file.h"
#include "core/interrupt.h"
#include "core/pool.h"
#include "core/text.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>

struct verifier {
    const struct kp_bundle *b;
    const struct kp_verify_options *options;
    uint8_t *leaves;      /* bundle.leaves's content */
    uint64_t *first_item; /* of each entry */
    struct worker {
        uint8_t *buffer;
        struct kp_hash *hash;
    } * workers;
    unsigned threads;
    pthread_mutex_t lock; /* guards all below and the calls of progress */
    uint64_t done;
    uint64_t damages;
    size_t damaged_entry; /* of the first one */
    uint64_t first, last; /* its place in the file */
};

/* A part of an entry as it lies in the file. */
struct stretch {
    size_t entry;
    uint64_t leaf;
    uint64_t at, len;
    size_t head; /* bytes of it that are the entry's head */
};

static void release_verifier(struct verifier *v)
{
    for (unsigned i = 0; v->workers && i < v->threads; i++) {
        kp_free(v->workers[i].buffer);
        kp_hash_free(v->workers[i].hash);
    }
    kp_free(v->workers);
    kp_free(v->leaves);
    kp_free(v->first_item);
    pthread_mutex_destroy(&v->lock);
}

static void note_damage(struct verifier *v, size_t entry, uint64_t at, uint64_t len)
{
    pthread_mutex_lock(&v->lock);
    if (!v->damages || at < v->first) {
        v->damaged_entry = entry;
        v->first = at;
        v->last = at + len - 1;
    }
    v->damages++;
    if (v->options->damaged)
        v->options->damaged(v->options->user, entry, at, at + len - 1);
    pthread_mutex_unlock(&v->lock);
}

static void report(struct verifier *v, uint64_t len)
{
    if (!v->options->progress)
        return;
    pthread_mutex_lock(&v->lock);
    v->done += len;
    v->options->progress(v->options->user, v->done, v->b->manifest->tail_length);
    pthread_mutex_unlock(&v->lock);
}

static uint64_t items_of(const struct kp_entry *entry)
{
    uint64_t leaves = kp_layout_leaves(entry->size);
    return leaves ? leaves : 1; // an empty entry still has a header
}

static struct stretch stretch_of(const struct verifier *v, size_t entry, uint64_t leaf)
{
    const struct kp_bundle *b = v->b;
    uint64_t size = b->manifest->entries[entry].size, start = b->offsets[entry];
    uint64_t end = start + kp_layout_entry_size(size);
    struct stretch s = {.entry = entry, .leaf = leaf, .at = start};
    if (leaf)
        s.at += kp_layout_block_offset(leaf * KP_LEAF_BLOCKS);
    else
        s.head = size ? KP_ENTRY_HEAD_MAX : KP_HEADER_FRAME;
    if (leaf + 1 < kp_layout_leaves(size))
        end = start + kp_layout_block_offset((leaf + 1) * KP_LEAF_BLOCKS);
    s.len = end - s.at;
    return s;
}

static struct stretch find_item(const struct verifier *v, uint64_t item)
{
    size_t low = 1,
           high = v->b->manifest->entry_count; // the last entry that begins at or before it
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (v->first_item[middle] <= item)
            low = middle;
        else
            high = middle;
    }
    return stretch_of(v, low, item - v->first_item[low]);
}

static void take_hash(void *user, const uint8_t *content, size_t len)
{
    kp_hash_update(user, content, len);
}

/* Head, block headers, padding are compared, the content is hashed. */
static bool check_stretch(const struct verifier *v, const struct stretch *s, const uint8_t *stored,
                          struct kp_hash *hash, struct kp_digest *digest)
{
    const struct kp_entry *entry = &v->b->manifest->entries[s->entry];
    uint8_t head[KP_ENTRY_HEAD_MAX];
    uint64_t first = s->leaf * KP_LEAF_BLOCKS, left = kp_layout_blocks(entry->size) - first;
    bool good = true;
    if (s->head) {
        kp_layout_entry_head(head, entry->path, entry->size);
        good = memcmp(stored, head, s->head) == 0;
    }
    good = kp_layout_blocks_read(stored + s->head, entry->size, first,
                                 left < KP_LEAF_BLOCKS ? left : KP_LEAF_BLOCKS, take_hash, hash) &&
           good;
    kp_hash_finish(hash, digest);
    return good;
}

static bool content_fits(const struct verifier *v, const struct stretch *s,
                         const struct kp_digest *seen)
{
    const struct kp_entry *entry = &v->b->manifest->entries[s->entry];
    struct kp_digest leaf;
    if (kp_layout_leaves(entry->size) <= 1 && !kp_digest_equal(seen, &entry->sha256))
        return false;
    if (!entry->size)
        return true;
    memcpy(leaf.bytes, v->leaves + (v->b->first_leaf[s->entry] + s->leaf) * KP_SHA256_LEN,
           KP_SHA256_LEN);
    return kp_digest_equal(seen, &leaf);
}

static int verify_item(void *user, size_t item, unsigned index, struct kp_err *err)
{
    struct verifier *v = user;
    struct worker *worker = &v->workers[index];
    struct stretch s = find_item(v, item);
    struct kp_digest seen;
    if (kp_interrupt_check(err) < 0)
        return -1;
    if (kp_pread_full(v->b->fd, worker->buffer, s.len, s.at, err) < 0)
        return kp_wrap(err, "%s", v->b->manifest->entries[s.entry].path);
    bool good =
        check_stretch(v, &s, worker->buffer, worker->hash, &seen) && content_fits(v, &s, &seen);
    if (!good)
        note_damage(v, s.entry, s.at, s.len);
    report(v, s.len);
    return good || v->options->all ? 0 : -1; // stops the others; explain() states the fact
}

static uint64_t plan_items(struct verifier *v)
{
    const struct kp_manifest *m = v->b->manifest;
    uint64_t items = 0;
    v->first_item = kp_alloc_array(m->entry_count, sizeof(*v->first_item));
    for (size_t i = 1; i < m->entry_count; i++) {
        v->first_item[i] = items;
        items += items_of(&m->entries[i]);
    }
    v->threads = v->options->threads ? v->options->threads : kp_cores();
    v->workers = kp_alloc_array(v->threads, sizeof(*v->workers));
    for (unsigned i = 0; i < v->threads; i++) {
        v->workers[i].buffer = kp_alloc(KP_ENTRY_HEAD_MAX + KP_LEAF_STORED_MAX);
        v->workers[i].hash = kp_hash_new();
    }
    return items;
}

/* bundle.leaves as a whole, against its digest in the manifest. */
static int verify_leaves(struct verifier *v, struct kp_err *err)
{
    const struct kp_bundle *b = v->b;
    const struct kp_entry *entry = &b->manifest->entries[0];
    uint64_t at = b->offsets[0], len = kp_reader_entry_size(b, 0);
    uint8_t head[KP_ENTRY_HEAD_MAX];
    kp_auto_free uint8_t *stored = kp_alloc(len);
    kp_auto(kp_hash) hash = kp_hash_new();
    struct kp_digest seen;
    if (kp_pread_full(b->fd, stored, len, at, err) < 0)
        return kp_wrap(err, "%s", entry->path);
    size_t head_len = kp_layout_entry_head(head, entry->path, entry->size);
    bool good = kp_layout_blocks_read(stored + head_len, entry->size, 0,
                                      kp_layout_blocks(entry->size), take_hash, hash);
    kp_hash_finish(hash, &seen);
    if (!good || memcmp(stored, head, head_len) != 0 || !kp_digest_equal(&seen, &entry->sha256)) {
        note_damage(v, 0, at, len);
        return -1;
    }
    v->leaves = kp_alloc(entry->size);
    report(v, len);
    return kp_bundle_read_entry(b, 0, 0, v->leaves, entry->size, err);
}

static int verify_end(struct verifier *v, struct kp_err *err)
{
    uint8_t stored[KP_END_FRAME], needed[KP_END_FRAME];
    uint64_t at = v->b->size - KP_END_FRAME;
    struct stat st;
    if (kp_pread_full(v->b->fd, stored, sizeof(stored), at, err) < 0)
        return -1;
    kp_layout_end(needed);
    if (memcmp(stored, needed, sizeof(needed)) != 0)
        note_damage(v, v->b->manifest->entry_count, at, sizeof(stored));
    report(v, sizeof(stored));
    if (fstat(v->b->fd, &st) < 0)
        return kp_fail_sys(err, errno, "stat");
    if ((uint64_t)st.st_size != v->b->size)
        return kp_fail_as(err, KP_DAMAGED, "changed", "the file changed while it was read");
    return 0;
}

static int run(struct verifier *v, struct kp_err *err)
{
    if (verify_leaves(v, err) < 0)
        return -1;
    uint64_t items = plan_items(v);
    if (kp_parallel(v->threads, items, verify_item, v, err) < 0)
        return -1;
    return verify_end(v, err);
}

static int explain(const struct verifier *v, struct kp_damage *damage, struct kp_err *err)
{
    const struct kp_manifest *m = v->b->manifest;
    bool end = v->damaged_entry == m->entry_count;
    struct kp_damage found = {.first = v->first, .last = v->last};
    snprintf(found.path, sizeof(found.path), "%s",
             end ? "end of archive" : m->entries[v->damaged_entry].path);
    if (!end)
        kp_reader_describe(v->b, v->damaged_entry, found.what, sizeof(found.what));
    kp_fail_as(err, KP_DAMAGED, "damaged", "%s%s%s%s, bytes %s – %s of the file", found.path,
               found.what[0] ? " (" : "", found.what, found.what[0] ? ")" : "",
               kp_text_grouped(found.first).s, kp_text_grouped(found.last).s);
    if (v->options->all && v->damages > 1)
        kp_wrap(err, "%llu damaged places, the first", (unsigned long long)v->damages);
    if (damage)
        *damage = found;
    return kp_hint(err, "the signature holds, the bytes do not; copy the file again");
}

int kp_bundle_verify(struct kp_bundle *bundle, const struct kp_verify_options *options,
                     struct kp_damage *damage, struct kp_err *err)
{
    static const struct kp_verify_options defaults;
    struct verifier v = {.b = bundle, .options = options ? options : &defaults};
    pthread_mutex_init(&v.lock, NULL);
    int result = run(&v, err);
    if (v.damages)
        result = explain(&v, damage, err);
    release_verifier(&v);
    return result < 0 ? kp_wrap(err, "%s", bundle->path) : 0;
}
