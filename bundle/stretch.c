/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/stretch.h"

static uint64_t parts_of(const struct kp_entry *entry)
{
    uint64_t leaves = kp_layout_leaves(entry->size);
    return leaves ? leaves : 1; // an empty entry still has a header
}

uint64_t kp_stretch_count(const struct kp_bundle *b)
{
    size_t last = b->manifest->entry_count - 1;
    return b->first_part[last] + (last ? parts_of(&b->manifest->entries[last]) : 1) + 1;
}

uint64_t kp_stretch_tail(const struct kp_bundle *b)
{
    return b->offsets[0];
}

static struct kp_stretch end_of(const struct kp_bundle *b)
{
    uint64_t at = kp_stretch_tail(b) + b->manifest->tail_length - KP_END_FRAME;
    return (struct kp_stretch){
        .entry = b->manifest->entry_count, .at = at, .len = KP_END_FRAME, .head = KP_END_FRAME};
}

static struct kp_stretch make(const struct kp_bundle *b, size_t entry, uint64_t leaf)
{
    uint64_t size = b->manifest->entries[entry].size, start = b->offsets[entry];
    uint64_t end = start + kp_layout_entry_size(size);
    struct kp_stretch s = {.entry = entry, .leaf = leaf, .at = start};
    if (leaf)
        s.at += kp_layout_block_offset(leaf * KP_LEAF_BLOCKS);
    else
        s.head = size ? KP_ENTRY_HEAD_MAX : KP_HEADER_FRAME;
    if (entry && leaf + 1 < kp_layout_leaves(size))
        end = start + kp_layout_block_offset((leaf + 1) * KP_LEAF_BLOCKS);
    s.len = end - s.at;
    return s;
}

/* The last entry whose value is at or below. */
static size_t search(const uint64_t *values, size_t count, uint64_t wanted)
{
    size_t low = 0, high = count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (values[middle] <= wanted)
            low = middle;
        else
            high = middle;
    }
    return low;
}

struct kp_stretch kp_stretch_at(const struct kp_bundle *b, uint64_t index)
{
    if (index + 1 == kp_stretch_count(b))
        return end_of(b);
    size_t entry = search(b->first_part, b->manifest->entry_count, index);
    return make(b, entry, index - b->first_part[entry]);
}

struct kp_stretch kp_stretch_find(const struct kp_bundle *b, uint64_t offset, uint64_t *index)
{
    struct kp_stretch end = end_of(b);
    uint64_t leaf = 0;
    if (offset >= end.at) {
        if (index)
            *index = kp_stretch_count(b) - 1;
        return end;
    }
    size_t entry = search(b->offsets, b->manifest->entry_count, offset);
    uint64_t inside = offset - b->offsets[entry], first = kp_layout_block_offset(KP_LEAF_BLOCKS);
    if (entry && inside >= first)
        leaf = 1 + (inside - first) / (KP_LEAF_BLOCKS * (KP_BLOCK_MAX + KP_BLOCK_HEADER));
    uint64_t last = parts_of(&b->manifest->entries[entry]) - 1;
    leaf = entry && leaf > last ? last : leaf; // padding may be in a block that is no leaf's own
    if (index)
        *index = b->first_part[entry] + leaf;
    return make(b, entry, leaf);
}

static void take_hash(void *user, const uint8_t *content, size_t len)
{
    kp_hash_update(user, content, len);
}

static bool content_fits(const struct kp_bundle *b, const struct kp_stretch *s,
                         const uint8_t *leaves, const struct kp_digest *seen)
{
    const struct kp_entry *entry = &b->manifest->entries[s->entry];
    struct kp_digest leaf;
    if ((!s->entry || kp_layout_leaves(entry->size) <= 1) && !kp_digest_equal(seen, &entry->sha256))
        return false;
    if (!s->entry || !entry->size)
        return true;
    memcpy(leaf.bytes, leaves + (b->first_leaf[s->entry] + s->leaf) * KP_SHA256_LEN, KP_SHA256_LEN);
    return kp_digest_equal(seen, &leaf);
}

static bool head_fits(const struct kp_bundle *b, const struct kp_stretch *s, const uint8_t *stored)
{
    const struct kp_entry *entry = &b->manifest->entries[s->entry];
    uint8_t head[KP_ENTRY_HEAD_MAX];
    if (!s->head)
        return true;
    kp_layout_entry_head(head, entry->path, entry->size);
    return memcmp(stored, head, s->head) == 0;
}

bool kp_stretch_fits(const struct kp_bundle *b, const struct kp_stretch *s, const uint8_t *leaves,
                     const uint8_t *stored, struct kp_hash *hash)
{
    struct kp_digest seen;
    if (s->entry == b->manifest->entry_count) {
        uint8_t end[KP_END_FRAME];
        kp_layout_end(end);
        return memcmp(stored, end, KP_END_FRAME) == 0;
    }
    const struct kp_entry *entry = &b->manifest->entries[s->entry];
    uint64_t first = s->leaf * KP_LEAF_BLOCKS, left = kp_layout_blocks(entry->size) - first;
    bool good = head_fits(b, s, stored);
    if (s->entry && left > KP_LEAF_BLOCKS)
        left = KP_LEAF_BLOCKS;
    good =
        kp_layout_blocks_read(stored + s->head, entry->size, first, left, take_hash, hash) && good;
    kp_hash_finish(hash, &seen);
    return content_fits(b, s, leaves, &seen) && good;
}

static bool is_full_leaf(const struct kp_bundle *b, const struct kp_stretch *s)
{
    return s->entry && s->entry < b->manifest->entry_count &&
           (s->leaf + 1) * KP_LEAF_SIZE <= b->manifest->entries[s->entry].size;
}

void kp_stretch_fit_two(const struct kp_bundle *b, const struct kp_stretch s[2],
                        const uint8_t *leaves, const uint8_t *const stored[2], struct kp_hash *hash,
                        struct kp_hash_pair *pair, bool good[2])
{
    const uint8_t *at[2] = {stored[0] + s[0].head, stored[1] + s[1].head};
    struct kp_digest seen[2];
    if (!is_full_leaf(b, &s[0]) || !is_full_leaf(b, &s[1])) {
        for (int k = 0; k < 2; k++)
            good[k] = kp_stretch_fits(b, &s[k], leaves, stored[k], hash);
        return;
    }
    for (int k = 0; k < 2; k++)
        good[k] = head_fits(b, &s[k], stored[k]);
    for (uint64_t i = 0; i < KP_LEAF_BLOCKS; i++) {
        for (int k = 0; k < 2; k++) {
            struct kp_block block = kp_layout_block(b->manifest->entries[s[k].entry].size,
                                                    s[k].leaf * KP_LEAF_BLOCKS + i);
            good[k] = memcmp(at[k], block.header, KP_BLOCK_HEADER) == 0 && good[k];
            at[k] += KP_BLOCK_HEADER;
        }
        kp_hash_pair_update(pair, at[0], at[1], KP_BLOCK_MAX);
        at[0] += KP_BLOCK_MAX;
        at[1] += KP_BLOCK_MAX;
    }
    kp_hash_pair_finish(pair, &seen[0], &seen[1]);
    for (int k = 0; k < 2; k++)
        good[k] = content_fits(b, &s[k], leaves, &seen[k]) && good[k];
}

struct filling {
    uint8_t *at;
};

static void take_content(void *user, const uint8_t *content, size_t len)
{
    struct filling *filling = user;
    memcpy(filling->at, content, len);
    filling->at += len;
}

uint8_t *kp_stretch_leaves(const struct kp_bundle *b, const uint8_t *stored)
{
    uint64_t size = b->manifest->entries[0].size;
    uint8_t *out = kp_alloc(size + 1);
    struct filling filling = {out};
    kp_layout_blocks_read(stored + KP_ENTRY_HEAD_MAX, size, 0, kp_layout_blocks(size), take_content,
                          &filling);
    return out;
}
