/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/fetch_body.h"

#include "core/file.h"
#include "core/text.h"

#include <fcntl.h>
#include <stdio.h>

#define HASH_BLOCK ((size_t)1 << 20)
#define WRITEBACK_STEP ((uint64_t)8 << 20)

static uint64_t size_limit(const struct kp_fetch_job *job)
{
    uint64_t most = job->to_memory ? KP_FETCH_MEMORY_MAX : KP_FETCH_SIZE_MAX;
    return job->max && job->max < most ? job->max : most;
}

void kp_body_release(struct kp_body *body)
{
    kp_partial_free(body->partial);
    kp_hash_free(body->hash);
    body->partial = NULL;
    body->hash = NULL;
}

int kp_body_reset(struct kp_body *body, struct kp_err *err)
{
    struct kp_digest ignored;
    kp_hash_finish(body->hash, &ignored);
    body->have = 0;
    body->restart = body->resumed = false;
    body->job->resumed_from = 0;
    kp_buf_clear(&body->job->body);
    return body->partial ? kp_partial_reset(body->partial, err) : 0;
}

static int hash_partial(struct kp_body *body, struct kp_err *err)
{
    kp_auto_free char *block = kp_alloc(HASH_BLOCK);
    while (body->have < body->partial->size) {
        uint64_t left = body->partial->size - body->have;
        size_t n = left < HASH_BLOCK ? (size_t)left : HASH_BLOCK;
        if (kp_pread_full(body->partial->fd, block, n, body->have, err) < 0)
            return kp_wrap(err, "continue %s", body->job->name);
        kp_hash_update(body->hash, block, n);
        body->have += n;
    }
    return 0;
}

static void partial_key(const struct kp_fetch_job *job, char key[KP_SHA256_HEX + 1])
{
    struct kp_digest digest;
    if (job->expected)
        digest = *job->expected;
    else
        kp_sha256(job->url, strlen(job->url), &digest);
    snprintf(key, KP_SHA256_HEX + 1, "%s", kp_digest_hex(&digest).hex);
}

/* Without a digest only a validator can tell that the rest belongs to what is there. */
static bool can_continue(const struct kp_body *body)
{
    const struct kp_partial *partial = body->partial;
    const struct kp_fetch_job *job = body->job;
    bool known = job->expected || partial->etag[0] || partial->modified[0];
    return known && partial->size <= size_limit(job) && (!job->size || partial->size <= job->size);
}

int kp_body_open(struct kp_body *body, enum kp_body_state *state, struct kp_err *err)
{
    struct kp_fetch_job *job = body->job;
    *state = KP_BODY_READY;
    if (!body->hash)
        body->hash = kp_hash_new();
    if (job->to_memory) {
        kp_buf_release(&job->body);
        job->body = KP_BUF((size_t)size_limit(job));
        return 0;
    }
    char key[KP_SHA256_HEX + 1];
    partial_key(job, key);
    if (kp_partial_open(&body->partial, body->cache, key, err) < 0)
        return -1;
    if (!body->partial) {
        *state = KP_BODY_BUSY;
        return 0;
    }
    uint64_t size;
    if (job->expected && kp_cache_has(body->cache, job->expected, &size)) {
        kp_partial_discard(body->partial); // another process finished it while we waited
        job->digest = *job->expected;
        job->got = size;
        job->cached = true;
        *state = KP_BODY_THERE;
        return 0;
    }
    if (!can_continue(body))
        return kp_body_reset(body, err);
    if (hash_partial(body, err) < 0)
        return -1;
    job->resumed_from = body->have;
    body->resumed = body->have > 0;
    return 0;
}

static int too_large(const struct kp_fetch_job *job, const char *what, struct kp_err *err)
{
    return kp_fail_as(err, KP_FAILED, "too_large", "%s: larger than the %llu bytes allowed", what,
                      (unsigned long long)size_limit(job));
}

static int check_total(struct kp_body *body, uint64_t total, const char *what, struct kp_err *err)
{
    const struct kp_fetch_job *job = body->job;
    if (job->size && total != job->size)
        return kp_fail_as(err, KP_FAILED, "wrong_size",
                          "%s: the server offers %llu bytes, %llu were expected", what,
                          (unsigned long long)total, (unsigned long long)job->size);
    return total > size_limit(job) ? too_large(job, what, err) : 0;
}

/* The part must continue what is there, and be of the same whole. */
static bool fits_partial(const struct kp_body *body, const struct kp_reply *answer)
{
    const struct kp_partial *partial = body->partial;
    if (!partial || !answer->has_range || answer->first != body->have)
        return false;
    return !partial->total || !answer->range_total || partial->total == answer->range_total;
}

int kp_body_begin(struct kp_body *body, const struct kp_reply *answer, const char *what,
                  struct kp_err *err)
{
    uint64_t total = answer->has_length ? answer->length : 0;
    if (answer->encoded)
        return kp_fail_as(err, KP_FAILED, "bad_answer",
                          "%s: sent with a Content-Encoding, though none was asked for", what);
    if (answer->status == 206) {
        total = answer->range_total;
        body->resumed = true;
        if (!fits_partial(body, answer)) {
            body->restart = true;
            return kp_fail_as(err, KP_FAILED, "bad_answer",
                              "%s: the server sends another range than was asked for", what);
        }
    } else if (body->have && kp_body_reset(body, err) < 0) {
        return -1;
    }
    if (total && !body->job->head && check_total(body, total, what, err) < 0) {
        body->restart = body->have > 0 && answer->status == 206;
        return -1;
    }
    body->job->total_bytes = total ? total : body->job->size;
    if (!body->partial)
        return 0;
    body->partial->total = total;
    snprintf(body->partial->etag, sizeof(body->partial->etag), "%s", answer->etag);
    snprintf(body->partial->modified, sizeof(body->partial->modified), "%s", answer->modified);
    return kp_partial_save_info(body->partial, err);
}

static int store(struct kp_body *body, const void *data, size_t len, struct kp_err *err)
{
    if (!body->partial)
        return kp_buf_add(&body->job->body, data, len)
                   ? 0
                   : kp_fail_as(err, KP_FAILED, "too_large", "larger than %zu bytes",
                                body->job->body.max);
    if (kp_pwrite_full(body->partial->fd, data, len, body->have, err) < 0) {
        kp_wrap(err, "store %s in %s", body->job->name, kp_cache_path(body->cache));
        return kp_hint(err,
                       "free space there, or set XDG_CACHE_HOME to another file system; what was "
                       "fetched is kept and continued");
    }
    // why: write-back begins while bytes still arrive, so that the fsync at the end is short
    if (body->have / WRITEBACK_STEP != (body->have + len) / WRITEBACK_STEP)
        (void)sync_file_range(body->partial->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    body->partial->size = body->have + len;
    return 0;
}

int kp_body_write(struct kp_body *body, const void *data, size_t len, const char *what,
                  struct kp_err *err)
{
    struct kp_fetch_job *job = body->job;
    if (job->size && body->have + len > job->size)
        return kp_fail_as(err, KP_FAILED, "wrong_size",
                          "%s: the server sends more than the %llu bytes that were expected", what,
                          (unsigned long long)job->size);
    if (body->have + len > size_limit(job))
        return too_large(job, what, err);
    if (store(body, data, len, err) < 0)
        return -1;
    kp_hash_update(body->hash, data, len);
    body->have += len;
    body->fetched += len;
    job->done_bytes = body->have;
    return 0;
}

static int wrong_digest(struct kp_body *body, const struct kp_digest *seen, const char *what,
                        struct kp_err *err)
{
    const struct kp_fetch_job *job = body->job;
    // why: a partial file may be of another version of the same name; one that began at 0 is not
    body->restart = body->resumed;
    if (!body->restart && body->partial)
        kp_partial_discard(body->partial);
    kp_fail_as(err, KP_DAMAGED, "checksum",
               "%s: checksum mismatch: expected sha256:%s, got sha256:%s (%llu bytes)", what,
               kp_digest_hex(job->expected).hex, kp_digest_hex(seen).hex,
               (unsigned long long)body->have);
    return kp_hint(err, "nothing of it was kept; if the source changed on purpose, correct the "
                        "digest in the release file or lock, else distrust the source");
}

int kp_body_finish(struct kp_body *body, const char *what, struct kp_err *err)
{
    struct kp_fetch_job *job = body->job;
    struct kp_digest seen;
    if (job->head)
        return 0;
    if (job->size && body->have != job->size)
        return kp_fail_as(err, KP_FAILED, "wrong_size", "%s: %llu bytes, %llu were expected", what,
                          (unsigned long long)body->have, (unsigned long long)job->size);
    kp_hash_finish(body->hash, &seen);
    if (job->expected && !kp_digest_equal(&seen, job->expected))
        return wrong_digest(body, &seen, what, err);
    if (body->partial && kp_partial_commit(body->partial, &seen, err) < 0)
        return -1;
    job->digest = seen;
    job->got = job->done_bytes = job->total_bytes = body->have;
    return 0;
}
