/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/checked.h"

#include "bundle/medium.h"
#include "bundle/stretch.h"

#define PART ((size_t)KP_BLOCK_MAX)

struct kp_leaves {
    uint8_t *content;
};

void kp_leaves_free(struct kp_leaves *leaves)
{
    if (!leaves)
        return;
    kp_free(leaves->content);
    kp_free(leaves);
}

int kp_leaves_load(struct kp_leaves **out, const struct kp_bundle *b, struct kp_err *err)
{
    const struct kp_entry *entry = &b->manifest->entries[0];
    kp_auto(kp_leaves) leaves = kp_alloc(sizeof(*leaves));
    struct kp_digest seen;
    leaves->content = kp_alloc(entry->size + 1);
    if (kp_bundle_read_entry(b, 0, 0, leaves->content, entry->size, err) < 0)
        return -1;
    kp_sha256(leaves->content, entry->size, &seen);
    if (!kp_digest_equal(&seen, &entry->sha256))
        return kp_fail_as(err, KP_DAMAGED, "damaged", "%s: its bytes differ from what was signed",
                          entry->path);
    *out = kp_steal(&leaves);
    return 0;
}

struct range { /* of the entry's content: what the caller wants */
    uint64_t from, to;
    char *out;
};

static void take_overlap(const struct range *r, const char *part, uint64_t at, size_t n)
{
    uint64_t from = at > r->from ? at : r->from, to = at + n < r->to ? at + n : r->to;
    if (from < to)
        memcpy(r->out + (from - r->from), part + (from - at), to - from);
}

static int read_leaf(const struct kp_leaves *leaves, const struct kp_bundle *b, size_t entry,
                     uint64_t leaf, const struct range *r, char *part, struct kp_err *err)
{
    const struct kp_entry *e = &b->manifest->entries[entry];
    uint64_t end = (leaf + 1) * KP_LEAF_SIZE < e->size ? (leaf + 1) * KP_LEAF_SIZE : e->size;
    kp_auto(kp_hash) hash = kp_hash_new();
    struct kp_digest seen, wanted;
    for (uint64_t at = leaf * KP_LEAF_SIZE; at < end;) {
        size_t n = end - at < PART ? (size_t)(end - at) : PART;
        if (kp_bundle_read_entry(b, entry, at, part, n, err) < 0)
            return -1;
        kp_hash_update(hash, part, n);
        take_overlap(r, part, at, n);
        at += n;
    }
    kp_hash_finish(hash, &seen);
    memcpy(wanted.bytes, leaves->content + (b->first_leaf[entry] + leaf) * KP_SHA256_LEN,
           KP_SHA256_LEN);
    if (kp_digest_equal(&seen, &wanted))
        return 0;
    return kp_fail_as(err, KP_DAMAGED, "damaged", "%s: its bytes differ from what was signed",
                      e->path);
}

int kp_leaves_read(const struct kp_leaves *leaves, const struct kp_bundle *b, size_t entry,
                   uint64_t offset, void *out, size_t len, struct kp_err *err)
{
    const struct kp_manifest *m = b->manifest;
    if (!entry || entry >= m->entry_count || offset > m->entries[entry].size ||
        len > m->entries[entry].size - offset)
        return kp_fail(err, KP_FAILED, "entry %zu: no such range", entry);
    struct range r = {.from = offset, .to = offset + len, .out = out};
    kp_auto_free char *part = kp_alloc(PART);
    for (uint64_t leaf = offset / KP_LEAF_SIZE; len && leaf * KP_LEAF_SIZE < r.to; leaf++)
        if (read_leaf(leaves, b, entry, leaf, &r, part, err) < 0)
            return -1;
    return 0;
}
