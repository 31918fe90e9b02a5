/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/checker.h"

#include "bundle/medium.h"
#include "core/pool.h"
#include "core/text.h"
#include "registry/catalog.h"

#include <pthread.h>

#define BLOCK ((size_t)512 << 10)
#define THREADS_MAX 64U

struct place {
    size_t bundle, entry;
};
struct waiter {
    struct place place;
    uint64_t ticket;
};

struct kp_checker {
    struct kp_checker_events events;
    struct kp_bundle *bundles[KP_REGISTRY_BUNDLES_MAX];
    uint8_t *states[KP_REGISTRY_BUNDLES_MAX]; /* enum kp_check_state; atomic, changed under lock */
    size_t bundle_count;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct place *wanted; /* a stack is enough: all of it is taken before any background work */
    size_t wanted_count, wanted_room;
    struct waiter *waiters;
    size_t waiter_count, waiter_room;
    struct place cursor; /* the next background entry */
    pthread_mutex_t renewing;
    bool background, stop;
    double last_unreadable;
    struct kp_checker_counters counters;
    pthread_t threads[THREADS_MAX];
    unsigned thread_count;
};

static size_t entry_count(const struct kp_checker *checker, size_t bundle)
{
    return kp_bundle_manifest(checker->bundles[bundle])->entry_count;
}

struct kp_checker *kp_checker_new(struct kp_bundle *const *bundles, size_t count,
                                  const struct kp_checker_events *events)
{
    struct kp_checker *checker = kp_alloc(sizeof(*checker));
    checker->events = *events;
    checker->bundle_count = count;
    for (size_t i = 0; i < count; i++) {
        checker->bundles[i] = bundles[i];
        checker->states[i] = kp_alloc(entry_count(checker, i) + 1);
        checker->counters.entries += entry_count(checker, i);
    }
    pthread_mutex_init(&checker->lock, NULL);
    pthread_mutex_init(&checker->renewing, NULL);
    pthread_cond_init(&checker->more, NULL);
    return checker;
}

void kp_checker_free(struct kp_checker *checker)
{
    if (!checker)
        return;
    pthread_mutex_lock(&checker->lock);
    __atomic_store_n(&checker->stop, true, __ATOMIC_RELAXED);
    pthread_cond_broadcast(&checker->more);
    pthread_mutex_unlock(&checker->lock);
    for (unsigned i = 0; i < checker->thread_count; i++)
        pthread_join(checker->threads[i], NULL);
    for (size_t i = 0; i < checker->bundle_count; i++)
        kp_free(checker->states[i]);
    kp_free(checker->wanted);
    kp_free(checker->waiters);
    pthread_cond_destroy(&checker->more);
    pthread_mutex_destroy(&checker->lock);
    pthread_mutex_destroy(&checker->renewing);
    kp_free(checker);
}

/* --- checking one entry --- */

static bool take_wanted(struct kp_checker *checker, struct place *out);
static void check_place(struct kp_checker *checker, struct place place, bool wanted, char *scratch);

static bool stopping(const struct kp_checker *checker)
{
    return __atomic_load_n(&checker->stop, __ATOMIC_RELAXED);
}

/* Somebody waits for another entry: background work steps aside at its next block. */
static void serve_wanted(struct kp_checker *checker, char *scratch)
{
    struct place place;
    while (__atomic_load_n(&checker->wanted_count, __ATOMIC_RELAXED) && !stopping(checker) &&
           take_wanted(checker, &place))
        check_place(checker, place, true, scratch);
}

static int hash_entry(struct kp_checker *checker, struct place place, bool wanted, char *scratch,
                      struct kp_err *err)
{
    const struct kp_bundle *bundle = checker->bundles[place.bundle];
    const struct kp_entry *entry = &kp_bundle_manifest(bundle)->entries[place.entry];
    kp_auto(kp_hash) hash = kp_hash_new();
    struct kp_digest digest;
    for (uint64_t at = 0; at < entry->size;) {
        size_t n = entry->size - at < BLOCK ? (size_t)(entry->size - at) : BLOCK;
        if (!wanted)
            serve_wanted(checker, scratch);
        if (stopping(checker))
            return kp_fail_as(err, KP_FAILED, "interrupted", "interrupted");
        if (kp_bundle_read_entry(bundle, place.entry, at, scratch, n, err) < 0)
            return kp_wrap(err, "%s", entry->path);
        kp_hash_update(hash, scratch, n);
        __atomic_add_fetch(&checker->counters.bytes, n, __ATOMIC_RELAXED);
        at += n;
    }
    kp_hash_finish(hash, &digest);
    if (!kp_digest_equal(&digest, &entry->sha256))
        return kp_fail_as(err, KP_DAMAGED, "damaged", "%s: its bytes differ from what was signed",
                          entry->path);
    return 0;
}

/* Takes the waiters of that place out of the list; kp_free. */
static struct waiter *take_waiters(struct kp_checker *checker, struct place place, size_t *count)
{
    struct waiter *out = kp_alloc_array(checker->waiter_count + 1, sizeof(*out));
    size_t kept = 0;
    *count = 0;
    for (size_t i = 0; i < checker->waiter_count; i++) {
        struct waiter *w = &checker->waiters[i];
        if (w->place.bundle == place.bundle && w->place.entry == place.entry)
            out[(*count)++] = *w;
        else
            checker->waiters[kept++] = *w;
    }
    checker->waiter_count = kept;
    return out;
}

static void settle(struct kp_checker *checker, struct place place, enum kp_check_state state)
{
    size_t count;
    pthread_mutex_lock(&checker->lock);
    __atomic_store_n(&checker->states[place.bundle][place.entry], (uint8_t)state, __ATOMIC_RELEASE);
    if (state == KP_CHECK_GOOD)
        checker->counters.good++;
    else
        checker->counters.bad++;
    if (state == KP_CHECK_UNREADABLE)
        checker->last_unreadable = kp_now();
    kp_auto_free struct waiter *ready = take_waiters(checker, place, &count);
    pthread_mutex_unlock(&checker->lock);
    for (size_t i = 0; i < count; i++)
        checker->events.ready(checker->events.user, ready[i].ticket);
}

/* A medium that was changed, replaced or put back is opened anew before its bytes are read. */
static int renew(struct kp_checker *checker, size_t bundle, struct kp_err *err)
{
    struct kp_bundle *b = checker->bundles[bundle];
    int result = 0;
    pthread_mutex_lock(&checker->renewing);
    if (kp_medium_unchanged(kp_bundle_medium(b), NULL) < 0)
        result = kp_bundle_reopen(b, err);
    pthread_mutex_unlock(&checker->renewing);
    return result;
}

static int check_entry(struct kp_checker *checker, struct place place, bool wanted, char *scratch,
                       struct kp_err *err)
{
    if (renew(checker, place.bundle, err) == 0 &&
        hash_entry(checker, place, wanted, scratch, err) == 0 &&
        kp_medium_unchanged(kp_bundle_medium(checker->bundles[place.bundle]), err) == 0)
        return 0;
    // A file that is being written, cut short or replaced is not judged: it may be whole again.
    bool changed = kp_medium_unchanged(kp_bundle_medium(checker->bundles[place.bundle]), NULL) < 0;
    if (changed && err->code == KP_DAMAGED)
        err->code = KP_FAILED;
    return -1;
}

static void check_place(struct kp_checker *checker, struct place place, bool wanted, char *scratch)
{
    struct kp_err err = KP_ERR_INIT;
    int result = check_entry(checker, place, wanted, scratch, &err);
    if (result < 0 && stopping(checker))
        return;
    if (result < 0)
        checker->events.failed(checker->events.user, checker->bundles[place.bundle], place.entry,
                               &err);
    if (result == 0)
        settle(checker, place, KP_CHECK_GOOD);
    else
        settle(checker, place, err.code == KP_DAMAGED ? KP_CHECK_DAMAGED : KP_CHECK_UNREADABLE);
}

/* --- what comes next --- */

static bool take_wanted(struct kp_checker *checker, struct place *out)
{
    pthread_mutex_lock(&checker->lock);
    bool got = checker->wanted_count > 0;
    if (got)
        *out = checker->wanted[--checker->wanted_count];
    pthread_mutex_unlock(&checker->lock);
    return got;
}

/* The next entry that nobody has looked at; marks it queued. Lock held. */
static bool take_background(struct kp_checker *checker, struct place *out)
{
    struct place *cursor = &checker->cursor;
    for (; cursor->bundle < checker->bundle_count; cursor->bundle++, cursor->entry = 0)
        for (; cursor->entry < entry_count(checker, cursor->bundle); cursor->entry++) {
            uint8_t *state = &checker->states[cursor->bundle][cursor->entry];
            if (*state != KP_CHECK_UNKNOWN)
                continue;
            __atomic_store_n(state, KP_CHECK_QUEUED, __ATOMIC_RELEASE);
            *out = *cursor;
            return true;
        }
    return false;
}

static bool take_next(struct kp_checker *checker, struct place *out, bool *wanted)
{
    pthread_mutex_lock(&checker->lock);
    for (;;) {
        *wanted = checker->wanted_count > 0;
        if (checker->stop)
            break;
        if (*wanted) {
            *out = checker->wanted[--checker->wanted_count];
            break;
        }
        if (checker->background && take_background(checker, out))
            break;
        pthread_cond_wait(&checker->more, &checker->lock);
    }
    bool stop = checker->stop;
    pthread_mutex_unlock(&checker->lock);
    return !stop;
}

static void *run_checks(void *user)
{
    struct kp_checker *checker = user;
    kp_auto_free char *scratch = kp_alloc(BLOCK);
    struct place place;
    bool wanted;
    while (take_next(checker, &place, &wanted))
        check_place(checker, place, wanted, scratch);
    return NULL;
}

int kp_checker_start(struct kp_checker *checker, unsigned threads, bool background,
                     struct kp_err *err)
{
    threads = threads ? threads : kp_cores();
    threads = threads < THREADS_MAX ? threads : THREADS_MAX;
    checker->background = background;
    while (checker->thread_count < threads) {
        int sys =
            pthread_create(&checker->threads[checker->thread_count], NULL, run_checks, checker);
        if (sys)
            return kp_fail_sys(err, sys, "checking thread");
        checker->thread_count++;
    }
    return 0;
}

static void add_wanted(struct kp_checker *checker, struct place place)
{
    if (checker->wanted_count == checker->wanted_room) {
        checker->wanted_room = checker->wanted_room ? 2 * checker->wanted_room : 64;
        checker->wanted =
            kp_realloc_array(checker->wanted, checker->wanted_room, sizeof(*checker->wanted));
    }
    checker->wanted[checker->wanted_count] = place;
    __atomic_store_n(&checker->wanted_count, checker->wanted_count + 1, __ATOMIC_RELAXED);
}

static void add_waiter(struct kp_checker *checker, struct place place, uint64_t ticket)
{
    if (checker->waiter_count == checker->waiter_room) {
        checker->waiter_room = checker->waiter_room ? 2 * checker->waiter_room : 64;
        checker->waiters =
            kp_realloc_array(checker->waiters, checker->waiter_room, sizeof(*checker->waiters));
    }
    checker->waiters[checker->waiter_count++] = (struct waiter){place, ticket};
}

/* Under the lock: what the asker gets; UNKNOWN means that it has to be put on the list. */
static enum kp_check_state current(struct kp_checker *checker, uint8_t *state)
{
    if (*state == KP_CHECK_UNREADABLE &&
        kp_now() - checker->last_unreadable >= KP_CHECK_RETRY_SECONDS) {
        checker->counters.bad--;
        return KP_CHECK_UNKNOWN;
    }
    return *state;
}

void kp_checker_doubt(struct kp_checker *checker, size_t bundle)
{
    pthread_mutex_lock(&checker->lock);
    for (size_t i = 0; i < entry_count(checker, bundle); i++) {
        uint8_t *state = &checker->states[bundle][i];
        if (*state == KP_CHECK_GOOD)
            checker->counters.good--;
        else if (*state == KP_CHECK_DAMAGED)
            checker->counters.bad--;
        else
            continue;
        __atomic_store_n(state, KP_CHECK_UNKNOWN, __ATOMIC_RELEASE);
    }
    checker->counters.doubts++;
    pthread_mutex_unlock(&checker->lock);
}

enum kp_check_state kp_checker_ask(struct kp_checker *checker, size_t bundle, size_t entry,
                                   uint64_t ticket)
{
    uint8_t *state = &checker->states[bundle][entry];
    struct place place = {bundle, entry};
    uint8_t seen = __atomic_load_n(state, __ATOMIC_ACQUIRE);
    bool settled = seen == KP_CHECK_GOOD || seen == KP_CHECK_DAMAGED;
    if (settled && kp_medium_unchanged(kp_bundle_medium(checker->bundles[bundle]), NULL) == 0)
        return seen;
    if (settled) // what was verified is not what is there now
        kp_checker_doubt(checker, bundle);
    pthread_mutex_lock(&checker->lock);
    enum kp_check_state now = current(checker, state);
    if (now == KP_CHECK_UNKNOWN) {
        __atomic_store_n(state, KP_CHECK_QUEUED, __ATOMIC_RELEASE);
        add_wanted(checker, place);
        now = KP_CHECK_QUEUED;
    }
    if (now == KP_CHECK_QUEUED) {
        add_waiter(checker, place, ticket);
        pthread_cond_signal(&checker->more);
    }
    pthread_mutex_unlock(&checker->lock);
    return now;
}

struct kp_checker_counters kp_checker_counters(struct kp_checker *checker)
{
    pthread_mutex_lock(&checker->lock);
    struct kp_checker_counters counters = checker->counters;
    pthread_mutex_unlock(&checker->lock);
    return counters;
}
