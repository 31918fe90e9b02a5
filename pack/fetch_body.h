/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the bytes of one download go: a partial file in the cache, resumed, or memory; hashed as
 * they pass and held to the sizes and the digest that the job names. No network here; used by
 * fetch_http.
 */
#pragma once

#include "pack/fetch_http.h"
#include "pack/fetch_rules.h"

struct kp_body {
    struct kp_fetch_job *job;
    struct kp_cache *cache;
    struct kp_partial *partial; /* NULL for memory */
    struct kp_hash *hash;
    uint64_t have;    /* bytes that are there and hashed */
    uint64_t fetched; /* bytes that came by network since it was opened */
    bool resumed;     /* what is there was not sent as one answer */
    bool restart;     /* what is there does not fit what the server has: reset, then ask anew */
};

enum kp_body_state {
    KP_BODY_READY, /* ask the server, from byte `have` on */
    KP_BODY_BUSY,  /* another process is at it */
    KP_BODY_THERE, /* complete and in the cache already */
};

/* Opens the partial download and hashes what is there. */
KP_CHECK int kp_body_open(struct kp_body *body, enum kp_body_state *state, struct kp_err *err);
void kp_body_release(struct kp_body *body);                           /* partial downloads stay */
KP_CHECK int kp_body_reset(struct kp_body *body, struct kp_err *err); /* back to byte 0 */
/* Before the first byte of a 200 or 206: sizes, ranges, validators. May set restart. */
KP_CHECK int kp_body_begin(struct kp_body *body, const struct kp_reply *answer, const char *what,
                           struct kp_err *err);
KP_CHECK int kp_body_write(struct kp_body *body, const void *data, size_t len, const char *what,
                           struct kp_err *err);
/* All bytes are there: size and digest are checked, the blob gets its name. May set restart, where
 * what was resumed is to blame. A wrong digest leaves nothing behind. */
KP_CHECK int kp_body_finish(struct kp_body *body, const char *what, struct kp_err *err);
