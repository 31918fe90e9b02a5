/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verifies the entries of bundles against the signed manifest, on threads of its own: what is asked
 * for first, everything else in the background. A blob is served only once it is found good.
 */
#pragma once

#include "bundle/bundle.h"

#define KP_CHECK_RETRY_SECONDS 5.0

enum kp_check_state {
    KP_CHECK_UNKNOWN, /* not looked at yet */
    KP_CHECK_QUEUED,
    KP_CHECK_GOOD,
    KP_CHECK_DAMAGED,
    KP_CHECK_UNREADABLE, /* an I/O error; tried again when asked for later */
};
struct kp_checker_events {                      /* called by checking threads, without locks held */
    void (*ready)(void *user, uint64_t ticket); /* what was asked for under ticket is settled */
    void (*failed)(void *user, const struct kp_bundle *bundle, size_t entry,
                   const struct kp_err *err); /* once for each bad entry */
    void *user;
};
struct kp_checker_counters {
    uint64_t entries, good, bad, bytes; /* bytes: hashed so far */
    uint64_t doubts;                    /* times that a medium was changed, or could not be read */
};

struct kp_checker;
/* bundles are borrowed. */
struct kp_checker *kp_checker_new(struct kp_bundle *const *bundles, size_t count,
                                  const struct kp_checker_events *events);
/* Stops the threads (each after the block it is at) and frees. */
void kp_checker_free(struct kp_checker *checker);
KP_DEFINE_AUTO(kp_checker);
/* threads 0: one per core. background: also check what nobody asked for. */
KP_CHECK int kp_checker_start(struct kp_checker *checker, unsigned threads, bool background,
                              struct kp_err *err);
/* GOOD, DAMAGED or UNREADABLE; else QUEUED, and ready(ticket) will be called. Never blocks on I/O.
 */
enum kp_check_state kp_checker_ask(struct kp_checker *checker, size_t bundle, size_t entry,
                                   uint64_t ticket);
/* Its medium changed or failed: everything of it is checked again before it is served. Any thread.
 */
void kp_checker_doubt(struct kp_checker *checker, size_t bundle);
struct kp_checker_counters kp_checker_counters(struct kp_checker *checker);
