/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts in which the bytes after bundle.sig are checked: a leaf of an entry as it lies in the
 * file, with the entry's head before its first one. Stretches follow each other without a gap;
 * number 0 is all of bundle.leaves, the last is the end of the archive. Pure.
 */
#pragma once

#include "bundle/reader.h"

struct kp_stretch {
    size_t entry; /* entry_count: the end of the archive */
    uint64_t leaf;
    uint64_t at, len; /* in the file */
    size_t head;      /* bytes of it that are the entry's head */
};
#define KP_STRETCH_MAX (KP_ENTRY_HEAD_MAX + KP_LEAF_STORED_MAX) /* of all but number 0 */

uint64_t kp_stretch_count(const struct kp_bundle *bundle);
struct kp_stretch kp_stretch_at(const struct kp_bundle *bundle, uint64_t index);
/* The one that has that byte of the file, which is neither before bundle.leaves nor beyond the end;
 * *index may be NULL. */
struct kp_stretch kp_stretch_find(const struct kp_bundle *bundle, uint64_t offset, uint64_t *index);
/* Head, block headers and padding are compared, the content is hashed. leaves: content of
 * bundle.leaves, unused for number 0 and the end. */
bool kp_stretch_fits(const struct kp_bundle *bundle, const struct kp_stretch *stretch,
                     const uint8_t *leaves, const uint8_t *stored, struct kp_hash *hash);
/* Two at once, as kp_stretch_fits each: full leaves share the hashing. */
void kp_stretch_fit_two(const struct kp_bundle *bundle, const struct kp_stretch stretches[2],
                        const uint8_t *leaves, const uint8_t *const stored[2], struct kp_hash *hash,
                        struct kp_hash_pair *pair, bool good[2]);
/* The content of number 0 out of its stored bytes; *out: kp_free. */
uint8_t *kp_stretch_leaves(const struct kp_bundle *bundle, const uint8_t *stored);
/* Where the bundle's tail begins. */
uint64_t kp_stretch_tail(const struct kp_bundle *bundle);
