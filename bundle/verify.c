/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every byte after bundle.sig: bundle.leaves first, then two leaves per work item (a whole small
 * entry counts as one), each read once. The leaves are covered by bundle.leaves's digest in the
 * signed manifest, so content of many leaves is not hashed a second time as a whole.
 */
#include "bundle/stretch.h"

#include "core/interrupt.h"
#include "core/pool.h"

#include <pthread.h>
#include <stdio.h>

struct verifier {
    const struct kp_bundle *b;
    const struct kp_verify_options *options;
    uint8_t *leaves; /* bundle.leaves's content */
    struct worker {
        uint8_t *buffers[2];
        struct kp_hash *hash;
        struct kp_hash_pair *pair;
    } * workers;
    unsigned threads;
    pthread_mutex_t lock; /* guards all below and the calls of progress */
    uint64_t done;
    uint64_t damages;
    size_t damaged_entry; /* of the first one */
    uint64_t first, last; /* its place in the file */
};

static void release_verifier(struct verifier *v)
{
    for (unsigned i = 0; v->workers && i < v->threads; i++) {
        kp_free(v->workers[i].buffers[0]);
        kp_free(v->workers[i].buffers[1]);
        kp_hash_free(v->workers[i].hash);
        kp_hash_pair_free(v->workers[i].pair);
    }
    kp_free(v->workers);
    kp_free(v->leaves);
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

static const char *path_of(const struct kp_bundle *b, size_t entry)
{
    return entry < b->manifest->entry_count ? b->manifest->entries[entry].path : "end of archive";
}

static int verify_item(void *user, size_t item, unsigned index, struct kp_err *err)
{
    struct verifier *v = user;
    struct worker *worker = &v->workers[index];
    const uint8_t *const stored[2] = {worker->buffers[0], worker->buffers[1]};
    struct kp_stretch s[2];
    bool good[2] = {true, true};
    uint64_t first = 1 + 2 * item, left = kp_stretch_count(v->b) - first; // after bundle.leaves
    size_t n = left < 2 ? 1 : 2;
    if (kp_interrupt_check(err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        s[i] = kp_stretch_at(v->b, first + i);
        if (kp_medium_read(v->b->medium, worker->buffers[i], s[i].len, s[i].at, err) < 0)
            return kp_wrap(err, "%s", path_of(v->b, s[i].entry));
    }
    if (n == 2)
        kp_stretch_fit_two(v->b, s, v->leaves, stored, worker->hash, worker->pair, good);
    else
        good[0] = kp_stretch_fits(v->b, s, v->leaves, stored[0], worker->hash);
    for (size_t i = 0; i < n; i++) {
        if (!good[i])
            note_damage(v, s[i].entry, s[i].at, s[i].len);
        report(v, s[i].len);
    }
    return (good[0] && good[1]) || v->options->all ? 0 : -1; // explain() states the fact
}

static void make_workers(struct verifier *v)
{
    v->threads = v->options->threads ? v->options->threads : kp_cores();
    v->workers = kp_alloc_array(v->threads, sizeof(*v->workers));
    for (unsigned i = 0; i < v->threads; i++) {
        v->workers[i].buffers[0] = kp_alloc(KP_STRETCH_MAX);
        v->workers[i].buffers[1] = kp_alloc(KP_STRETCH_MAX);
        v->workers[i].hash = kp_hash_new();
        v->workers[i].pair = kp_hash_pair_new(false);
    }
}

/* bundle.leaves as a whole, against its digest in the manifest. */
static int verify_leaves(struct verifier *v, struct kp_err *err)
{
    const struct kp_bundle *b = v->b;
    struct kp_stretch s = kp_stretch_at(b, 0);
    kp_auto_free uint8_t *stored = kp_alloc(s.len);
    kp_auto(kp_hash) hash = kp_hash_new();
    if (kp_medium_read(b->medium, stored, s.len, s.at, err) < 0)
        return kp_wrap(err, "%s", b->manifest->entries[0].path);
    if (!kp_stretch_fits(b, &s, NULL, stored, hash)) {
        note_damage(v, 0, s.at, s.len);
        return -1;
    }
    v->leaves = kp_stretch_leaves(b, stored);
    report(v, s.len);
    return 0;
}

static int run(struct verifier *v, struct kp_err *err)
{
    if (verify_leaves(v, err) < 0)
        return -1;
    make_workers(v);
    if (kp_parallel(v->threads, kp_stretch_count(v->b) / 2, verify_item, v, err) < 0)
        return -1;
    return kp_medium_unchanged(v->b->medium, err);
}

static int explain(const struct verifier *v, struct kp_damage *damage, struct kp_err *err)
{
    const struct kp_manifest *m = v->b->manifest;
    bool end = v->damaged_entry == m->entry_count;
    struct kp_damage found = {.first = v->first, .last = v->last};
    kp_auto_free char *range = kp_medium_range_text(v->b->medium, v->first, v->last);
    snprintf(found.path, sizeof(found.path), "%s", path_of(v->b, v->damaged_entry));
    if (!end)
        kp_reader_describe(v->b, v->damaged_entry, found.what, sizeof(found.what));
    kp_fail_as(err, KP_DAMAGED, "damaged", "%s%s%s%s, %s", found.path, found.what[0] ? " (" : "",
               found.what, found.what[0] ? ")" : "", range);
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
