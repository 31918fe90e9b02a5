/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/split.h"

#include "bundle/slices.h"
#include "bundle/stretch.h"
#include "core/interrupt.h"

struct copying {
    const struct kp_bundle *b;
    const struct kp_splitting *how;
    struct kp_medium *out;
    uint64_t done;
};

static int copy_stretch(struct copying *c, const struct kp_stretch *s, const uint8_t *leaves,
                        uint8_t *buffer, struct kp_hash *hash, struct kp_err *err)
{
    if (kp_interrupt_check(err) < 0 || kp_medium_read(c->b->medium, buffer, s->len, s->at, err) < 0)
        return -1;
    if (!kp_stretch_fits(c->b, s, leaves, buffer, hash)) {
        kp_auto_free char *range = kp_medium_range_text(c->b->medium, s->at, s->at + s->len - 1);
        return kp_fail_as(err, KP_DAMAGED, "damaged", "%s", range);
    }
    if (kp_medium_write(c->out, buffer, s->len, s->at, err) < 0)
        return -1;
    c->done += s->len;
    if (c->how->progress)
        c->how->progress(c->how->user, c->done, c->b->manifest->tail_length);
    return 0;
}

/* The front as it was checked when the bundle was opened. */
static int copy_front(struct copying *c, struct kp_err *err)
{
    uint64_t at = c->b->signatures_at, len = kp_layout_entry_size(KP_SIG_SIZE);
    kp_auto_free uint8_t *front = kp_alloc(at + len);
    kp_layout_entry_write(front, KP_PATH_MANIFEST, c->b->text, c->b->text_len);
    kp_layout_entry_write(front + at, KP_PATH_SIGNATURES, c->b->signatures, KP_SIG_SIZE);
    return kp_medium_write(c->out, front, at + len, 0, err);
}

static int copy_all(struct copying *c, struct kp_err *err)
{
    struct kp_stretch first = kp_stretch_at(c->b, 0);
    kp_auto_free uint8_t *stored = kp_alloc(first.len);
    kp_auto_free uint8_t *buffer = kp_alloc(KP_STRETCH_MAX);
    kp_auto(kp_hash) hash = kp_hash_new();
    if (copy_front(c, err) < 0 || copy_stretch(c, &first, NULL, stored, hash, err) < 0)
        return -1;
    kp_auto_free uint8_t *leaves = kp_stretch_leaves(c->b, stored);
    for (uint64_t i = 1; i < kp_stretch_count(c->b); i++) {
        struct kp_stretch s = kp_stretch_at(c->b, i);
        if (copy_stretch(c, &s, leaves, buffer, hash, err) < 0)
            return -1;
    }
    return kp_medium_unchanged(c->b->medium, err);
}

static int write_copy(struct copying *c, const char *path, struct kp_bundle_written *out,
                      struct kp_err *err)
{
    kp_auto_free uint64_t *sizes = NULL;
    kp_auto_value(kp_slices) list = {0};
    const struct kp_splitting *how = c->how;
    size_t count = 1;
    if (how->size &&
        kp_split_plan(kp_stretch_tail(c->b), c->b->size, how->size, &sizes, &count, err) < 0)
        return -1;
    if (kp_medium_create(&c->out, path, sizes ? sizes : &c->b->size, count, err) < 0 ||
        copy_all(c, err) < 0 ||
        kp_slices_hash(c->out, how->size ? &list : NULL, &out->sha256, err) < 0)
        return -1;
    out->size = c->b->size;
    out->id = c->b->manifest->id;
    out->slices = how->size ? count : 0;
    if (how->size && kp_slices_write(&list, path, &out->id, how->keys, how->key_count, err) < 0)
        return -1;
    return kp_medium_commit(c->out, err);
}

int kp_bundle_copy(const struct kp_bundle *bundle, const char *path, const struct kp_splitting *how,
                   struct kp_bundle_written *out, struct kp_err *err)
{
    struct copying c = {.b = bundle, .how = how};
    struct kp_bundle_written written = {0};
    int result = write_copy(&c, path, &written, err);
    kp_medium_free(c.out);
    if (result < 0)
        return kp_wrap(err, "write %s", path);
    *out = written;
    return 0;
}
