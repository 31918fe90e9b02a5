/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nothing is kept beside the file while it is repaired: what is overwritten was found to be wrong,
 * what is written was checked before, so no moment leaves less that is right than there was.
 */
#include "bundle/split.h"
#include "bundle/stretch.h"
#include "core/interrupt.h"
#include "core/text.h"

#include <fcntl.h>

#define COPIES_MAX 16

struct repairing {
    const struct kp_bundle *b; /* a copy whose front is good: ours, or another */
    struct kp_medium *ours;
    struct kp_medium *others[COPIES_MAX];
    size_t other_count;
    uint8_t *leaves;
    struct kp_hash *hash;
    uint64_t good; /* ranges of ours that were right */
    struct kp_repaired done;
};

static void release(struct repairing *r)
{
    kp_medium_free(r->ours);
    for (size_t i = 0; i < r->other_count; i++)
        kp_medium_free(r->others[i]);
    kp_free(r->leaves);
    kp_hash_free(r->hash);
}

static bool read_good(const struct repairing *r, const struct kp_medium *from,
                      const struct kp_stretch *s, uint8_t *buffer)
{
    return s->at + s->len <= kp_medium_size(from) &&
           kp_medium_read(from, buffer, s->len, s->at, NULL) == 0 &&
           kp_stretch_fits(r->b, s, r->leaves, buffer, r->hash);
}

static int put(struct repairing *r, const void *data, uint64_t at, size_t len, struct kp_err *err)
{
    r->done.ranges++;
    r->done.bytes += len;
    return kp_medium_write(r->ours, data, len, at, err);
}

static int repair_stretch(struct repairing *r, const struct kp_stretch *s, uint8_t *buffer,
                          struct kp_err *err)
{
    if (kp_interrupt_check(err) < 0)
        return -1;
    if (read_good(r, r->ours, s, buffer)) {
        r->good++;
        return 0;
    }
    for (size_t i = 0; i < r->other_count; i++)
        if (read_good(r, r->others[i], s, buffer))
            return put(r, buffer, s->at, s->len, err);
    kp_auto_free char *range = kp_medium_range_text(r->ours, s->at, s->at + s->len - 1);
    kp_fail_as(err, KP_MISSING, "no_good_copy", "%s: no copy has them right", range);
    return kp_hint(err,
                   "give one more copy: --from THIRD_COPY; what could be repaired is repaired");
}

/* bundle.json and bundle.sig; ours are taken where they are good. */
static int repair_front(struct repairing *r, bool ours_good, struct kp_err *err)
{
    uint64_t at = r->b->signatures_at, len = at + kp_layout_entry_size(KP_SIG_SIZE);
    if (ours_good)
        return 0;
    kp_auto_free uint8_t *front = kp_alloc(len);
    kp_layout_entry_write(front, KP_PATH_MANIFEST, r->b->text, r->b->text_len);
    kp_layout_entry_write(front + at, KP_PATH_SIGNATURES, r->b->signatures, KP_SIG_SIZE);
    return put(r, front, 0, len, err);
}

static int repair_tail(struct repairing *r, struct kp_err *err)
{
    struct kp_stretch first = kp_stretch_at(r->b, 0);
    kp_auto_free uint8_t *stored = kp_alloc(first.len);
    kp_auto_free uint8_t *buffer = kp_alloc(KP_STRETCH_MAX);
    struct kp_err unrepaired = KP_ERR_INIT;
    if (repair_stretch(r, &first, stored, err) < 0)
        return -1;
    r->leaves = kp_stretch_leaves(r->b, stored);
    for (uint64_t i = 1; i < kp_stretch_count(r->b); i++) {
        struct kp_stretch s = kp_stretch_at(r->b, i);
        struct kp_err here = KP_ERR_INIT;
        if (repair_stretch(r, &s, buffer, &here) == 0)
            continue;
        if (here.code != KP_MISSING) {
            *err = here;
            return -1;
        }
        if (!unrepaired.code) // the others may still be repaired
            unrepaired = here;
    }
    if (kp_medium_sync(r->ours, err) < 0)
        return -1;
    if (unrepaired.code) {
        *err = unrepaired;
        return -1;
    }
    return 0;
}

/* With a front of another copy ours might be another bundle altogether: that is not written over.
 */
static int check_kinship(struct repairing *r, struct kp_err *err)
{
    struct kp_stretch first = kp_stretch_at(r->b, 0);
    kp_auto_free uint8_t *stored =
        kp_alloc(first.len > KP_STRETCH_MAX ? first.len : KP_STRETCH_MAX);
    bool related = false;
    for (size_t i = 0; !r->leaves && i <= r->other_count; i++)
        if (read_good(r, i ? r->others[i - 1] : r->ours, &first, stored))
            r->leaves = kp_stretch_leaves(r->b, stored);
    for (uint64_t i = 1; r->leaves && !related && i + 1 < kp_stretch_count(r->b); i++) {
        struct kp_stretch s = kp_stretch_at(r->b, i);
        related = s.len > KP_END_FRAME && read_good(r, r->ours, &s, stored);
    }
    kp_free(r->leaves);
    r->leaves = NULL;
    return related ? 0
                   : kp_fail_as(err, KP_DAMAGED, "no_copy",
                                "is no copy of %s: nothing of it fits; copy it whole instead",
                                r->b->manifest->name);
}

static int fit_size(struct repairing *r, struct kp_err *err)
{
    uint64_t size = kp_stretch_tail(r->b) + r->b->manifest->tail_length;
    struct kp_err shape = KP_ERR_INIT;
    if (kp_medium_check_size(r->ours, size, &shape) == 0)
        return 0;
    if (shape.code == KP_MISSING) { // a whole slice: that is a copy, no repair
        *err = shape;
        return -1;
    }
    return kp_medium_resize(r->ours, size, err);
}

/* Ours or the first other copy whose front is signed as it should be. */
static int find_front(struct kp_bundle **out, const char *path, const char *const *others,
                      size_t count, const struct kp_trust *trust, bool *ours_good,
                      struct kp_err *err)
{
    struct kp_err first = KP_ERR_INIT;
    *ours_good = kp_reader_open_front(out, path, trust, &first) == 0;
    if (*ours_good)
        return 0;
    for (size_t i = 0; i < count; i++)
        if (kp_reader_open_front(out, others[i], trust, err) == 0)
            return 0;
    *err = first;
    return -1;
}

static int open_copies(struct repairing *r, const char *path, const char *const *others,
                       size_t count, struct kp_err *err)
{
    if (!count || count > COPIES_MAX)
        return kp_fail(err, KP_USAGE, "--from: 1 to %d copies are needed", COPIES_MAX);
    if (kp_medium_open(&r->ours, path, O_RDWR, err) < 0)
        return -1;
    for (; r->other_count < count; r->other_count++)
        if (kp_medium_open(&r->others[r->other_count], others[r->other_count], O_RDONLY, err) < 0)
            return kp_wrap(err, "--from %s", others[r->other_count]);
    r->hash = kp_hash_new();
    return 0;
}

static int repair(struct repairing *r, bool ours_good, struct kp_err *err)
{
    if (fit_size(r, err) < 0 || (!ours_good && check_kinship(r, err) < 0))
        return -1;
    return repair_front(r, ours_good, err) < 0 ? -1 : repair_tail(r, err);
}

int kp_bundle_repair(const char *path, const char *const *others, size_t other_count,
                     const struct kp_trust *trust, struct kp_repaired *out, struct kp_err *err)
{
    struct repairing r = {0};
    kp_auto(kp_bundle) front = NULL;
    struct kp_err e = KP_ERR_INIT;
    bool ours_good;
    int result = open_copies(&r, path, others, other_count, &e);
    if (result == 0)
        result = find_front(&front, path, others, other_count, trust, &ours_good, &e);
    r.b = front;
    if (result == 0)
        result = repair(&r, ours_good, &e);
    *out = r.done;
    release(&r);
    if (result < 0) {
        kp_wrap(&e, "repair %s", path);
        if (err)
            *err = e;
    }
    return result;
}
