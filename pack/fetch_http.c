/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/fetch_http.h"

#include "core/interrupt.h"
#include "core/text.h"
#include "pack/fetch_transfer.h"

#define BUSY_POLL 0.25
#define SHOW_EVERY 0.1
#define POLL_MOST 1.0
#define CHALLENGES_MAX 3
#define PROGRESS_LEAST ((uint64_t)64 << 10) /* so many new bytes make the attempts count from 0 */

enum state {
    QUEUED,  /* waits for a free place */
    ASKING,  /* its authority fetches a token */
    WAITING, /* until wake_at: backoff, or another process has the partial file */
    RUNNING,
    ENDED, /* freed by the loop */
};

struct kp_queued {
    struct kp_queued *next;
    struct kp_fetch *fetch;
    struct kp_fetch_job *job;
    struct kp_transfer transfer;
    enum state state;
    double wake_at, shown_at;
    bool authorised, started, noted_busy;
    unsigned attempts, challenges;
    uint64_t best; /* most bytes that any attempt had */
};

struct kp_fetch {
    struct kp_fetch_options options;
    struct kp_wire *wire;
    struct kp_queued *first, **last;
    struct kp_fetch_totals totals;
};

static void or_default(unsigned *value, unsigned fallback)
{
    *value = *value ? *value : fallback;
}

struct kp_fetch *kp_fetch_new(const struct kp_fetch_options *options)
{
    struct kp_fetch *fetch = kp_alloc(sizeof(*fetch));
    struct kp_fetch_options *o = &fetch->options;
    *o = *options;
    o->jobs = o->jobs > KP_FETCH_JOBS_MAX ? KP_FETCH_JOBS_MAX : o->jobs;
    or_default(&o->jobs, KP_FETCH_JOBS);
    or_default(&o->attempts, 6);
    or_default(&o->low_speed_bytes, 1024);
    or_default(&o->low_speed_seconds, 30);
    or_default(&o->connect_seconds, 20);
    o->backoff = o->backoff > 0 ? o->backoff : 0.5;
    o->retry_after_max = o->retry_after_max > 0 ? o->retry_after_max : 120;
    fetch->last = &fetch->first;
    fetch->wire = kp_wire_new(o->jobs * 2);
    return fetch;
}

const struct kp_fetch_options *kp_fetch_options(const struct kp_fetch *fetch)
{
    return &fetch->options;
}

struct kp_fetch_totals kp_fetch_totals(const struct kp_fetch *fetch)
{
    return fetch->totals;
}

/* --- one transfer ------------------------------------------------------------------------- */

static void free_queued(struct kp_queued *q)
{
    kp_transfer_release(&q->transfer);
    kp_free(q);
}

static void drop_all(struct kp_fetch *fetch)
{
    while (fetch->first) {
        struct kp_queued *q = fetch->first;
        fetch->first = q->next;
        if (q->state != ENDED) {
            q->job->queued = NULL;
            kp_buf_release(&q->job->body); // nobody will be told of it
        }
        free_queued(q);
    }
    fetch->last = &fetch->first;
}

void kp_fetch_free(struct kp_fetch *fetch)
{
    if (!fetch)
        return;
    drop_all(fetch);
    kp_wire_free(fetch->wire);
    kp_free(fetch);
}

static void show_moved(struct kp_queued *q, bool always)
{
    const struct kp_fetch_watch *watch = &q->fetch->options.watch;
    double now = kp_now();
    if (!watch->moved || q->job->quiet || (!always && now - q->shown_at < SHOW_EVERY))
        return;
    q->shown_at = now;
    watch->moved(watch->user, q->job);
}

static void count_moved(void *user, size_t bytes)
{
    struct kp_queued *q = user;
    if (!q->job->quiet)
        q->fetch->totals.fetched += bytes;
    show_moved(q, false);
}

void kp_fetch_add(struct kp_fetch *fetch, struct kp_fetch_job *job)
{
    struct kp_queued *q = kp_alloc(sizeof(*q));
    q->fetch = fetch;
    q->job = job;
    kp_transfer_begin(&q->transfer, fetch->wire, &fetch->options, job);
    q->transfer.moved = count_moved;
    q->transfer.user = q;
    job->queued = q;
    *fetch->last = q;
    fetch->last = &q->next;
}

void kp_fetch_wake(struct kp_fetch *fetch, struct kp_fetch_job *job)
{
    (void)fetch;
    if (job->queued && job->queued->state == ASKING)
        job->queued->state = QUEUED;
}

static void note(const struct kp_queued *q, const char *text)
{
    const struct kp_fetch_watch *watch = &q->fetch->options.watch;
    if (watch->note && !q->job->quiet)
        watch->note(watch->user, q->job, text);
}

/* job and its memory are the callbacks' from here on: nothing may touch them afterwards. */
static int end_well(struct kp_queued *q, struct kp_err *err)
{
    const struct kp_fetch_watch *watch = &q->fetch->options.watch;
    struct kp_fetch_job *job = q->job;
    kp_transfer_drop(&q->transfer);
    kp_body_release(&q->transfer.body);
    if (!job->cached)
        show_moved(q, true);
    q->state = ENDED;
    job->queued = NULL;
    if (watch->finished && !job->quiet)
        watch->finished(watch->user, job, true);
    return job->done ? job->done(job->user, job, err) : 0;
}

static int end_badly(struct kp_queued *q, struct kp_err *err)
{
    const struct kp_fetch_watch *watch = &q->fetch->options.watch;
    struct kp_fetch_job *job = q->job;
    kp_transfer_drop(&q->transfer);
    kp_body_release(&q->transfer.body);
    q->state = ENDED;
    job->queued = NULL;
    if (watch->finished && !job->quiet)
        watch->finished(watch->user, job, false);
    return job->failed ? job->failed(job->user, job, err) : -1;
}

static int send_request(struct kp_queued *q, struct kp_err *err)
{
    if (kp_transfer_send(&q->transfer, err) < 0)
        return end_badly(q, err);
    q->fetch->totals.requests++;
    q->state = RUNNING;
    return 0;
}

/* Queues the transfer anew after a wait, or ends it with *err where it had its chances. */
static int try_again(struct kp_queued *q, unsigned attempts, struct kp_err *err)
{
    double asked = q->transfer.answer.retry_after;
    kp_transfer_drop(&q->transfer);
    if (q->transfer.body.have > q->best + PROGRESS_LEAST)
        q->attempts = 0;
    if (q->transfer.body.have > q->best)
        q->best = q->transfer.body.have;
    if (++q->attempts >= attempts) {
        if (attempts > 1)
            kp_wrap(err, "after %u attempts", q->attempts);
        return end_badly(q, err);
    }
    if (asked > q->fetch->options.retry_after_max) {
        kp_fail_as(err, KP_FAILED, "rate_limited",
                   "%s: HTTP %u, the server asks to come back in %s", q->transfer.what,
                   q->transfer.answer.status, kp_text_seconds(asked).s);
        kp_hint(err, "run again then (what was fetched is kept), log in, or use a mirror");
        return end_badly(q, err);
    }
    double wait = asked >= 0 ? asked : kp_backoff(q->fetch->options.backoff, q->attempts);
    q->fetch->totals.retries++;
    q->wake_at = kp_now() + wait;
    q->state = WAITING;
    q->authorised = false;
    kp_auto_free char *text = kp_asprintf("again in %s: %s", kp_text_seconds(wait).s, err->message);
    note(q, text);
    // why: memory is cheap to fetch again, and a document has no validators here
    return q->job->to_memory ? kp_body_reset(&q->transfer.body, err) : 0;
}

/* What is there does not fit what the server has: once more, from byte 0. */
static int start_over(struct kp_queued *q, struct kp_err *err)
{
    kp_transfer_drop(&q->transfer);
    note(q, "what was there is of another version: from the beginning");
    q->state = QUEUED;
    q->authorised = false;
    return kp_body_reset(&q->transfer.body, err) < 0 ? end_badly(q, err) : 0;
}

static int finish_body(struct kp_queued *q, struct kp_err *err)
{
    if (kp_body_finish(&q->transfer.body, q->transfer.what, err) == 0)
        return end_well(q, err);
    return q->transfer.body.restart ? start_over(q, err) : end_badly(q, err);
}

static int follow_redirect(struct kp_queued *q, struct kp_err *err)
{
    if (kp_transfer_redirect(&q->transfer, err) < 0)
        return end_badly(q, err);
    return send_request(q, err);
}

static int answer_challenge(struct kp_queued *q, struct kp_err *err)
{
    const struct kp_fetch_authority *authority = q->job->authority;
    kp_auto_free char *host = kp_transfer_host(&q->transfer);
    kp_auto_free char *challenge =
        kp_strdup(q->transfer.answer.challenge.len ? q->transfer.answer.challenge.data : "");
    kp_transfer_drop(&q->transfer);
    if (q->transfer.away || !authority || ++q->challenges > CHALLENGES_MAX) {
        kp_status_fail(401, q->transfer.what, host, err);
        return end_badly(q, err);
    }
    bool ready = false;
    q->state = ASKING; // ask may wake it at once
    if (authority->ask(authority->user, q->job, challenge, &ready, err) < 0)
        return end_badly(q, err);
    if (ready) {
        q->state = QUEUED;
        q->authorised = true;
    }
    return 0;
}

static int end_with_status(struct kp_queued *q, struct kp_err *err)
{
    unsigned status = q->transfer.answer.status;
    kp_auto_free char *host = kp_transfer_host(&q->transfer);
    if (status == 401 && q->job->authority)
        return answer_challenge(q, err);
    if (kp_status_passing(status)) {
        kp_status_fail(status, q->transfer.what, host, err);
        return try_again(q, q->fetch->options.attempts, err);
    }
    if (kp_status_redirect(status))
        return follow_redirect(q, err);
    if (status == 416 && q->transfer.body.have) {
        if (q->transfer.answer.range_total &&
            q->transfer.answer.range_total == q->transfer.body.have)
            return finish_body(q, err);
        return start_over(q, err);
    }
    if (kp_transfer_success(&q->transfer)) {
        if (kp_transfer_body(&q->transfer, err) == 0)
            return finish_body(q, err);
        return q->transfer.body.restart ? start_over(q, err) : end_badly(q, err);
    }
    kp_status_fail(status, q->transfer.what, host, err);
    return end_badly(q, err);
}

static int end_transfer(struct kp_queued *q, struct kp_err *err)
{
    unsigned attempts = q->fetch->options.attempts;
    switch (kp_transfer_outcome(&q->transfer, &attempts, err)) {
    case KP_TRANSFER_ANSWERED:
        return end_with_status(q, err);
    case KP_TRANSFER_REFUSED:
        return q->transfer.body.restart ? start_over(q, err) : end_badly(q, err);
    case KP_TRANSFER_BROKEN:
        break;
    }
    return try_again(q, attempts, err);
}

/* --- the loop ----------------------------------------------------------------------------- */

static int open_body(struct kp_queued *q, struct kp_err *err)
{
    enum kp_body_state state;
    if (kp_body_open(&q->transfer.body, &state, err) < 0)
        return end_badly(q, err);
    if (state == KP_BODY_THERE)
        return end_well(q, err);
    if (state == KP_BODY_READY) {
        if (q->job->size && q->transfer.body.have == q->job->size && q->job->expected)
            return finish_body(q, err);
        return 0;
    }
    if (!q->noted_busy)
        note(q, "another kpack fetches it: waiting for that");
    q->noted_busy = true;
    q->wake_at = kp_now() + BUSY_POLL;
    q->state = WAITING;
    return 0;
}

static int ask_authority(struct kp_queued *q, struct kp_err *err)
{
    const struct kp_fetch_authority *authority = q->job->authority;
    if (!authority || q->authorised)
        return 0;
    bool ready = false;
    q->state = ASKING;
    if (authority->ask(authority->user, q->job, NULL, &ready, err) < 0)
        return end_badly(q, err);
    if (ready)
        q->state = QUEUED;
    q->authorised = ready;
    return 0;
}

static int start(struct kp_queued *q, struct kp_err *err)
{
    const struct kp_fetch_watch *watch = &q->fetch->options.watch;
    struct kp_fetch_job *job = q->job;
    uint64_t size;
    if (!job->to_memory && job->expected && !q->transfer.body.partial &&
        kp_cache_has(q->fetch->options.cache, job->expected, &size)) {
        job->digest = *job->expected;
        job->got = job->done_bytes = job->total_bytes = size;
        job->cached = true;
        return end_well(q, err);
    }
    if (!q->transfer.body.partial && (!job->to_memory || !q->transfer.body.hash) &&
        open_body(q, err) < 0)
        return -1;
    if (q->state == QUEUED && ask_authority(q, err) < 0)
        return -1;
    if (q->state != QUEUED)
        return 0;
    if (!q->started && watch->started && !job->quiet)
        watch->started(watch->user, job);
    q->started = true;
    job->done_bytes = q->transfer.body.have;
    kp_transfer_go_home(&q->transfer);
    return send_request(q, err);
}

/* Token requests and small documents first: others wait for them. */
static int start_queued(struct kp_fetch *fetch, struct kp_err *err)
{
    double now = kp_now();
    for (int pass = 0; pass < 2; pass++)
        for (struct kp_queued *q = fetch->first; q; q = q->next) {
            if (q->state == WAITING && q->wake_at <= now)
                q->state = QUEUED;
            if (q->state != QUEUED || (pass == 0 && !q->job->quiet))
                continue;
            if (kp_wire_running(fetch->wire) >= fetch->options.jobs)
                return 0;
            if (start(q, err) < 0)
                return -1;
        }
    return 0;
}

static int take_ended(struct kp_fetch *fetch, struct kp_err *err)
{
    struct kp_transfer *ended;
    while ((ended = kp_wire_ended(fetch->wire)))
        if (end_transfer(ended->user, err) < 0)
            return -1;
    return 0;
}

static void sweep(struct kp_fetch *fetch)
{
    struct kp_queued **at = &fetch->first;
    while (*at) {
        struct kp_queued *q = *at;
        if (q->state == ENDED) {
            *at = q->next;
            free_queued(q);
        } else {
            at = &q->next;
        }
    }
    fetch->last = at;
}

/* Until something can happen: bytes, the next wake-up, Ctrl-C. */
static int wait_for_more(struct kp_fetch *fetch, struct kp_err *err)
{
    double wait = POLL_MOST, now = kp_now();
    for (struct kp_queued *q = fetch->first; q; q = q->next) {
        if (q->state == QUEUED && kp_wire_running(fetch->wire) < fetch->options.jobs)
            return 0;
        if (q->state == WAITING && q->wake_at - now < wait)
            wait = q->wake_at > now ? q->wake_at - now : 0;
    }
    return kp_wire_wait(fetch->wire, wait, err);
}

static int run(struct kp_fetch *fetch, struct kp_err *err)
{
    while (fetch->first) {
        if (kp_interrupt_check(err) < 0)
            return kp_hint(err, "what was fetched is kept; run the same command again to go on");
        if (start_queued(fetch, err) < 0)
            return -1;
        if (kp_wire_move(fetch->wire, err) < 0 || take_ended(fetch, err) < 0)
            return -1;
        sweep(fetch);
        if (fetch->first && wait_for_more(fetch, err) < 0)
            return -1;
    }
    return 0;
}

int kp_fetch_run(struct kp_fetch *fetch, struct kp_err *err)
{
    struct kp_err own = KP_ERR_INIT; // messages are made of it, also where the caller wants none
    int result = run(fetch, &own);
    if (result < 0)
        drop_all(fetch);
    if (result < 0 && err)
        *err = own;
    return result;
}
