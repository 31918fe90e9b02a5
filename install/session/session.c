/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection's thread starts the transport (ssh dies with the thread that started it), shakes
 * hands, then reads frames and wakes the callers. Callers write frames themselves.
 */
#include "install/session/session_internal.h"

#include "core/interrupt.h"
#include "core/text.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#define SAID_MAX ((size_t)8192)
#define NAP 0.25 /* seconds; how soon an interrupted caller comes back */

static int lose(struct kp_session *s, const struct kp_err *why)
{
    pthread_mutex_lock(&s->lock);
    s->phase = KP_SESSION_LOST;
    s->failure = *why;
    pthread_cond_broadcast(&s->change);
    pthread_mutex_unlock(&s->lock);
    return -1;
}

// With s->lock held. Signals only set a flag, so waits look at it now and then.
static int wait_change(struct kp_session *s, struct kp_err *err)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)(NAP * 1e9);
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&s->change, &s->lock, &until);
    return kp_interrupt_check(err);
}

/* Whatever ended it, for the caller it is a lost connection. */
static int lost_error(const struct kp_session *s, const struct kp_err *why, struct kp_err *err)
{
    if (!err)
        return -1;
    *err = *why;
    if (!err->message[0])
        kp_fail(err, KP_FAILED, "node %s: the connection was closed", s->target.node);
    err->reason = "connection_lost";
    err->about = s;
    return -1;
}

static int send_frame(void *user, enum kp_frame_type type, unsigned flags, uint32_t id,
                      struct kp_slice payload, struct kp_err *err)
{
    struct kp_session *s = user;
    const struct kp_frame frame = {type, flags, id, payload};
    int failed = kp_frame_write(&s->transport.in, &s->write_lock, &frame);
    if (!failed)
        return 0;
    struct kp_err why = KP_ERR_INIT;
    kp_fail_sys(&why, failed, "node %s: the connection was lost", s->target.node);
    pthread_mutex_lock(&s->lock);
    if (s->phase == KP_SESSION_READY) { // its thread has not seen it yet
        s->phase = KP_SESSION_LOST;
        s->failure = why;
        pthread_cond_broadcast(&s->change);
    }
    pthread_mutex_unlock(&s->lock);
    return lost_error(s, &why, err);
}

static void keep_said(struct kp_session *s, const char *text, size_t len)
{
    if (len > SAID_MAX) {
        text += len - SAID_MAX;
        len = SAID_MAX;
    }
    if (s->said.len + len > SAID_MAX)
        kp_buf_consume(&s->said, s->said.len + len - SAID_MAX);
    kp_buf_add(&s->said, text, len);
}

static void read_said(struct kp_session *s)
{
    char block[4096];
    ssize_t n = read(s->transport.err, block, sizeof(block));
    if (n > 0) {
        keep_said(s, block, (size_t)n);
        return;
    }
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    close(s->transport.err);
    s->transport.err = -1;
}

int kp_session_receive(struct kp_session *s, char *buf, size_t size, double deadline, size_t *got,
                       bool *end, struct kp_err *err)
{
    *got = 0;
    *end = false;
    struct pollfd fds[2] = {{s->transport.out, POLLIN, 0}, {s->transport.err, POLLIN, 0}};
    double left = deadline - kp_now();
    // In short naps, so that Ctrl-C is heard.
    int n = poll(fds, 2, left > NAP ? (int)(NAP * 1000) : left > 0 ? (int)(left * 1000) + 1 : 0);
    if (n == 0 && left > NAP)
        return 0;
    if (n < 0 && errno != EINTR)
        return kp_fail_sys(err, errno, "poll");
    if (n == 0)
        return kp_fail_as(err, KP_FAILED, "timeout", "node %s: no answer in time", s->target.node);
    if (n < 0)
        return 0;
    if (fds[1].revents)
        read_said(s);
    if (!fds[0].revents)
        return 0;
    ssize_t len = read(s->transport.out, buf, size);
    if (len < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    *end = len <= 0;
    *got = len > 0 ? (size_t)len : 0;
    return 0;
}

static struct kp_pending *find_pending(struct kp_session *s, uint32_t id)
{
    struct kp_pending *p = s->pending;
    while (p && p->id != id)
        p = p->next;
    return p;
}

static int bad_frame(const struct kp_session *s, const char *what, struct kp_err *err)
{
    return kp_fail_as(err, KP_FAILED, "bad_frame", "node %s: knode sent %s", s->target.node, what);
}

static int take_data(struct kp_session *s, struct kp_pending *p, const struct kp_frame *frame,
                     struct kp_err *err)
{
    struct kp_buf *data = &p->data[frame->flags & KP_FLAG_STDERR ? 1 : 0];
    if (frame->payload.len > p->window || !kp_buf_add(data, frame->payload.ptr, frame->payload.len))
        return bad_frame(s, "more than it may", err);
    p->window -= (uint32_t)frame->payload.len;
    return 0;
}

// With s->lock held; false where a note waits that its caller must take first.
static int take_frame(struct kp_session *s, const struct kp_frame *frame, struct kp_err *err)
{
    struct kp_pending *p = find_pending(s, frame->id);
    const uint8_t *raw = (const uint8_t *)frame->payload.ptr;
    if (!p)
        return 0; // given up by its caller
    switch (frame->type) {
    case KP_FRAME_DATA:
        return take_data(s, p, frame, err);
    case KP_FRAME_CREDIT:
        p->credit +=
            (uint32_t)raw[0] << 24 | (uint32_t)raw[1] << 16 | (uint32_t)raw[2] << 8 | raw[3];
        return p->credit > KP_WINDOW ? bad_frame(s, "more credit than there is", err) : 0;
    case KP_FRAME_NOTE:
        // Notes are states, not events: a newer one may replace one that nobody took.
        if (p->note_whole)
            kp_buf_clear(&p->note);
        p->note_whole = !(frame->flags & KP_FLAG_MORE);
        return kp_buf_add(&p->note, frame->payload.ptr, frame->payload.len)
                   ? 0
                   : bad_frame(s, "a note too long", err);
    case KP_FRAME_RESULT:
    case KP_FRAME_ERROR:
        p->done = !(frame->flags & KP_FLAG_MORE);
        p->failed = frame->type == KP_FRAME_ERROR;
        return kp_buf_add(&p->document, frame->payload.ptr, frame->payload.len)
                   ? 0
                   : bad_frame(s, "an answer too long", err);
    case KP_FRAME_REQUEST:
    case KP_FRAME_CANCEL:
    case KP_FRAME_PING:
    case KP_FRAME_PONG:
    default:
        return bad_frame(s, "a request", err);
    }
}

static int take_frames(struct kp_session *s, struct kp_err *err)
{
    for (;;) {
        struct kp_frame frame;
        bool found;
        if (kp_decoder_next(&s->decoder, &frame, &found, err) < 0)
            return kp_wrap(err, "node %s", s->target.node);
        if (!found)
            return 0;
        if (frame.type == KP_FRAME_PONG)
            continue;
        pthread_mutex_lock(&s->lock);
        int failed = take_frame(s, &frame, err);
        pthread_cond_broadcast(&s->change);
        pthread_mutex_unlock(&s->lock);
        if (failed < 0)
            return -1;
    }
}

// Never waits for a writer that waits for the node: silence is then measured without a ping.
static void ping(struct kp_session *s)
{
    uint8_t frame[KP_FRAME_HEADER];
    struct pollfd ready = {.fd = s->transport.in, .events = POLLOUT};
    if (pthread_mutex_trylock(&s->write_lock) != 0)
        return;
    kp_frame_header(frame, KP_FRAME_PING, 0, 0, 0);
    if (s->transport.in >= 0 && poll(&ready, 1, 0) == 1) {
        ssize_t ignored = write(s->transport.in, frame, sizeof(frame));
        (void)ignored;
    }
    pthread_mutex_unlock(&s->write_lock);
}

static int connection_lost(struct kp_session *s, struct kp_err *err)
{
    struct kp_slice rest = kp_slice_trim(kp_buf_slice(&s->said)), line, last = {"", 0};
    while (kp_slice_line(&rest, &line))
        last = line;
    return kp_fail_as(err, KP_FAILED, "connection_lost", "node %s: the connection was lost%s%.*s",
                      s->target.node, last.len ? ": " : "", (int)last.len, last.ptr);
}

static int read_frames(struct kp_session *s, struct kp_err *err)
{
    double heard = kp_now(), pinged = heard;
    for (;;) {
        size_t got;
        bool end;
        struct kp_err waited = KP_ERR_INIT;
        if (take_frames(s, err) < 0)
            return -1;
        char *room = kp_decoder_room(&s->decoder, KP_FRAME_MAX);
        double next = pinged + KP_PING_EVERY;
        if (kp_session_receive(s, room, KP_FRAME_MAX, next, &got, &end, &waited) < 0 &&
            (!waited.reason || strcmp(waited.reason, "timeout") != 0)) {
            *err = waited;
            return -1;
        }
        if (end)
            return connection_lost(s, err);
        kp_decoder_added(&s->decoder, got);
        double now = kp_now();
        heard = got ? now : heard;
        if (now - heard > KP_SILENCE_MAX)
            return kp_fail_as(err, KP_FAILED, "connection_lost",
                              "node %s: silent for %d s, the connection is lost", s->target.node,
                              KP_SILENCE_MAX);
        if (now >= next) {
            ping(s);
            pinged = now;
        }
    }
}

static void *connection_thread(void *user)
{
    struct kp_session *s = user;
    struct kp_err err = KP_ERR_INIT;
    int failed = kp_session_shake_hands(s, &err);
    if (failed == 0) {
        pthread_mutex_lock(&s->lock);
        s->phase = KP_SESSION_READY;
        pthread_cond_broadcast(&s->change);
        bool closing = s->closing;
        pthread_mutex_unlock(&s->lock);
        failed = closing ? -1 : read_frames(s, &err);
    }
    // A caller may be in the middle of a write: cut first, then take the descriptor away.
    if (s->transport.ops)
        s->transport.ops->abort(&s->transport);
    if (failed < 0)
        lose(s, &err);
    pthread_mutex_lock(&s->write_lock);
    if (s->transport.ops)
        s->transport.ops->close(&s->transport);
    s->transport.ops = NULL;
    s->transport.in = -1;
    pthread_mutex_unlock(&s->write_lock);
    return NULL;
}

static int connect_session(struct kp_session *s, struct kp_err *err)
{
    pthread_mutex_lock(&s->lock);
    s->phase = KP_SESSION_CONNECTING;
    s->failure = KP_ERR_INIT;
    s->closing = false;
    pthread_mutex_unlock(&s->lock);
    kp_buf_clear(&s->said);
    kp_decoder_release(&s->decoder);
    s->decoder = KP_DECODER;
    int failed = pthread_create(&s->thread, NULL, connection_thread, s);
    if (failed)
        return kp_fail_sys(err, failed, "start a thread");
    s->thread_started = true;
    pthread_mutex_lock(&s->lock);
    while (s->phase == KP_SESSION_CONNECTING)
        pthread_cond_wait(&s->change, &s->lock);
    bool lost = s->phase == KP_SESSION_LOST;
    if (lost && err)
        *err = s->failure;
    pthread_mutex_unlock(&s->lock);
    return lost ? -1 : 0;
}

static void disconnect(struct kp_session *s)
{
    if (!s->thread_started)
        return;
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    pthread_mutex_unlock(&s->lock);
    // knode ends by itself at the end of its input, ssh after it; neither is waited for long.
    pthread_mutex_lock(&s->write_lock);
    if (s->transport.ops)
        s->transport.ops->abort(&s->transport);
    pthread_mutex_unlock(&s->write_lock);
    pthread_join(s->thread, NULL);
    s->thread_started = false;
}

static json_t *trust_json(const struct kp_trust *trust)
{
    json_t *list = json_array();
    for (size_t i = 0; i < kp_trust_count(trust); i++) {
        kp_auto_free char *pem = kp_trust_pem(trust, i);
        json_array_append_new(
            list, json_pack("{s:s, s:s}", "name", kp_trust_at(trust, i)->name, "pem", pem));
    }
    return list;
}

static int hand_over_bundle(struct kp_session *s, struct kp_err *err)
{
    if (!s->bundle.bundle)
        return 0;
    struct kp_slice manifest = kp_bundle_manifest_bytes(s->bundle.bundle);
    struct kp_slice signatures = kp_bundle_signature_block(s->bundle.bundle);
    kp_auto_value(kp_buf) data = KP_BUF(KP_MANIFEST_MAX + KP_SIG_SIZE);
    kp_auto_json request =
        json_pack("{s:s, s:I, s:o}", "op", "bundle", "manifest", (json_int_t)manifest.len, "trust",
                  trust_json(s->bundle.trust));
    kp_auto_json result = NULL;
    if (s->bundle.terms)
        json_object_update(request, (json_t *)(uintptr_t)s->bundle.terms);
    kp_buf_add(&data, manifest.ptr, manifest.len);
    kp_buf_add(&data, signatures.ptr, signatures.len);
    struct kp_call call = {.input = kp_buf_slice(&data), .has_input = true};
    return kp_session_call(s, request, &call, &result, err);
}

static int begin_session(struct kp_session *s, struct kp_err *err)
{
    if (connect_session(s, err) < 0 || hand_over_bundle(s, err) < 0)
        return -1;
    return s->lock_run ? kp_session_lock(s, s->lock_run, s->lock_who, err) : 0;
}

int kp_session_open(struct kp_session **out, const struct kp_ssh_target *target,
                    const struct kp_session_bundle *bundle, struct kp_err *err)
{
    if (kp_target_check(target, err) < 0)
        return -1;
    signal(SIGPIPE, SIG_IGN);
    kp_auto(kp_session) s = kp_alloc(sizeof(*s));
    *s = (struct kp_session){.target = *target,
                             .bundle = *bundle,
                             .next_id = 1,
                             .said = KP_BUF(SAID_MAX),
                             .decoder = KP_DECODER};
    s->transport.in = s->transport.out = s->transport.err = -1;
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->write_lock, NULL);
    pthread_mutex_init(&s->begin_lock, NULL);
    pthread_cond_init(&s->change, NULL);
    if (begin_session(s, err) < 0)
        return -1;
    *out = kp_steal(&s);
    return 0;
}

void kp_session_free(struct kp_session *s)
{
    if (!s)
        return;
    disconnect(s);
    kp_buf_release(&s->said);
    kp_decoder_release(&s->decoder);
    kp_free(s->lock_run);
    kp_free(s->lock_who);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->write_lock);
    pthread_mutex_destroy(&s->begin_lock);
    pthread_cond_destroy(&s->change);
    kp_free(s);
}

/* Calls on a lost connection end by themselves; none may be in the middle of one when the next
 * connection begins. With s->lock held. */
static int empty(struct kp_session *s, struct kp_err *err)
{
    int result = 0;
    while (s->pending && result == 0)
        result = wait_change(s, err);
    return result;
}

/* With begin_lock held. */
static int begin_again(struct kp_session *s, struct kp_err *err)
{
    pthread_mutex_lock(&s->lock);
    s->begun++;
    s->beginning = true;
    s->beginner = pthread_self();
    int result = empty(s, err);
    pthread_mutex_unlock(&s->lock);
    if (result == 0) {
        disconnect(s);
        result = begin_session(s, err);
    }
    pthread_mutex_lock(&s->lock);
    s->beginning = false;
    if (result < 0 && err)
        s->failure = *err;
    if (result < 0)
        s->phase = KP_SESSION_LOST;
    pthread_mutex_unlock(&s->lock);
    return result;
}

int kp_session_reconnect(struct kp_session *s, struct kp_err *err)
{
    pthread_mutex_lock(&s->lock);
    size_t seen = s->begun;
    pthread_mutex_unlock(&s->lock);
    pthread_mutex_lock(&s->begin_lock);
    pthread_mutex_lock(&s->lock);
    bool stands = s->phase == KP_SESSION_READY, tried = s->begun != seen;
    int result = stands ? 0 : tried ? lost_error(s, &s->failure, err) : -1;
    pthread_mutex_unlock(&s->lock);
    if (!stands && !tried)
        result = begin_again(s, err);
    pthread_mutex_unlock(&s->begin_lock);
    return result;
}

const char *kp_session_node(const struct kp_session *s)
{
    return s->target.node;
}

const char *kp_session_arch(const struct kp_session *s)
{
    return s->arch;
}

bool kp_session_lost(const struct kp_session *session)
{
    struct kp_session *s = (struct kp_session *)(uintptr_t)session;
    pthread_mutex_lock(&s->lock);
    bool lost = s->phase == KP_SESSION_LOST;
    pthread_mutex_unlock(&s->lock);
    return lost;
}

bool kp_session_lost_by(const struct kp_err *err)
{
    return err->reason && strcmp(err->reason, "connection_lost") == 0;
}

int kp_session_why_lost(struct kp_session *s, struct kp_err *err)
{
    pthread_mutex_lock(&s->lock);
    struct kp_err why = s->failure;
    pthread_mutex_unlock(&s->lock);
    return lost_error(s, &why, err);
}

static int begin_pending(struct kp_session *s, struct kp_pending *p, struct kp_err *err)
{
    int result = 0;
    *p = (struct kp_pending){.document = KP_BUF_SECRET(KP_RESULT_MAX),
                             .note = KP_BUF(KP_FRAME_MAX * 2),
                             .data = {KP_BUF_SECRET(KP_WINDOW), KP_BUF_SECRET(KP_WINDOW)},
                             .credit = KP_WINDOW,
                             .window = KP_WINDOW};
    pthread_mutex_lock(&s->lock);
    bool others = s->beginning && !pthread_equal(s->beginner, pthread_self());
    if (others || s->phase != KP_SESSION_READY) {
        result = lost_error(s, &s->failure, err);
    } else {
        p->id = s->next_id++;
        s->next_id += s->next_id == 0;
        p->next = s->pending;
        s->pending = p;
    }
    pthread_mutex_unlock(&s->lock);
    return result;
}

static void end_pending(struct kp_session *s, struct kp_pending *p)
{
    struct kp_err ignored;
    pthread_mutex_lock(&s->lock);
    struct kp_pending **at = &s->pending;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    pthread_cond_broadcast(&s->change); // somebody may wait to begin again
    bool under_way = !p->done && s->phase == KP_SESSION_READY;
    pthread_mutex_unlock(&s->lock);
    if (under_way)
        (void)!send_frame(s, KP_FRAME_CANCEL, 0, p->id, (struct kp_slice){NULL, 0}, &ignored);
    kp_buf_release(&p->document);
    kp_buf_release(&p->note);
    kp_buf_release(&p->data[0]);
    kp_buf_release(&p->data[1]);
}

int kp_session_send(struct kp_session *s, struct kp_pending *p, const void *data, size_t len,
                    bool end, bool *stopped, struct kp_err *err)
{
    const char *at = data;
    *stopped = false;
    do {
        int lost = 0;
        pthread_mutex_lock(&s->lock);
        while (len && !p->credit && !p->done && s->phase == KP_SESSION_READY && lost == 0)
            lost = wait_change(s, err);
        size_t n = len < KP_FRAME_MAX ? len : KP_FRAME_MAX;
        n = n < p->credit ? n : (size_t)p->credit;
        *stopped = p->done;
        if (s->phase != KP_SESSION_READY)
            lost = lost_error(s, &s->failure, err);
        p->credit -= n;
        pthread_mutex_unlock(&s->lock);
        if (lost < 0 || *stopped)
            return lost;
        unsigned flags = end && n == len ? KP_FLAG_END : 0;
        if (send_frame(s, KP_FRAME_DATA, flags, p->id, (struct kp_slice){at, n}, err) < 0)
            return -1;
        at += n;
        len -= n;
    } while (len);
    return 0;
}

static int give_credit(struct kp_session *s, struct kp_pending *p, size_t len, struct kp_err *err)
{
    uint32_t n = (uint32_t)len;
    uint8_t raw[4] = {(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
    pthread_mutex_lock(&s->lock);
    p->window += n;
    pthread_mutex_unlock(&s->lock);
    return send_frame(s, KP_FRAME_CREDIT, 0, p->id, (struct kp_slice){(const char *)raw, 4}, err);
}

static int hand_out(struct kp_session *s, struct kp_pending *p, const struct kp_call *call,
                    struct kp_buf taken[2], bool done, struct kp_err *err)
{
    size_t len = taken[0].len + taken[1].len;
    p->taken += len;
    bool too_much = (len && !call->data) || (call->data_max && p->taken > call->data_max);
    for (int i = 0; i < 2; i++) {
        if (taken[i].len && call->data && !too_much)
            call->data(call->user, i == 1, taken[i].data, taken[i].len);
        kp_buf_release(&taken[i]);
    }
    if (too_much)
        return bad_frame(s, "data that nobody asked for", err);
    return len && !done ? give_credit(s, p, len, err) : 0;
}

/* Waits for something to do; takes data and note out of p. */
static int next_event(struct kp_session *s, struct kp_pending *p, struct kp_buf taken[2],
                      char **note, bool *done, struct kp_err *err)
{
    int lost = 0;
    pthread_mutex_lock(&s->lock);
    while (!p->done && !p->note_whole && !p->data[0].len && !p->data[1].len &&
           s->phase == KP_SESSION_READY && lost == 0)
        lost = wait_change(s, err);
    for (int i = 0; i < 2; i++) {
        taken[i] = p->data[i];
        p->data[i] = KP_BUF_SECRET(KP_WINDOW);
    }
    *note = p->note_whole ? kp_buf_steal(&p->note) : NULL;
    p->note_whole = false;
    *done = p->done;
    if (!p->done && s->phase != KP_SESSION_READY)
        lost = lost_error(s, &s->failure, err);
    pthread_mutex_unlock(&s->lock);
    return lost;
}

static int handle_note(struct kp_session *s, struct kp_pending *p, const struct kp_call *call,
                       const char *text, struct kp_err *err)
{
    kp_auto_json note = NULL;
    if (!call->note)
        return 0;
    if (kp_json_parse(&note, kp_slice_of(text), KP_FRAME_MAX * 2, "knode's note", err) < 0)
        return -1;
    return call->note(s, p, call->user, note, err);
}

static int read_answer(struct kp_session *s, const struct kp_pending *p, json_t **result,
                       struct kp_err *err)
{
    kp_auto_json answer = NULL;
    if (kp_json_parse(&answer, kp_buf_slice(&p->document), KP_RESULT_MAX, "knode's answer", err) <
        0)
        return kp_wrap(err, "node %s", s->target.node);
    if (p->failed) {
        struct kp_err said = KP_ERR_INIT;
        kp_err_from_json(&said, answer);
        kp_wrap(&said, "node %s", s->target.node);
        if (err)
            *err = said;
        return -1;
    }
    *result = kp_steal(&answer);
    return 0;
}

static int converse(struct kp_session *s, struct kp_pending *p, const json_t *request,
                    const struct kp_call *call, struct kp_err *err)
{
    bool done = false, stopped;
    double deadline = call->timeout ? kp_now() + call->timeout : 0;
    if (kp_frames_send_json(send_frame, s, KP_FRAME_REQUEST, p->id, request, err) < 0)
        return -1;
    if (call->has_input &&
        kp_session_send(s, p, call->input.ptr, call->input.len, true, &stopped, err) < 0)
        return -1;
    while (!done) {
        struct kp_buf taken[2];
        kp_auto_free char *note = NULL;
        int lost = next_event(s, p, taken, &note, &done, err);
        if (hand_out(s, p, call, taken, done || lost < 0, err) < 0 || lost < 0)
            return -1;
        if (note && !done && handle_note(s, p, call, note, err) < 0)
            return -1;
        // The node ends what takes too long by itself; one that does not must not hold us up.
        if (!done && deadline > 0 && kp_now() > deadline)
            return kp_fail_as(err, KP_FAILED, "timeout", "node %s: no end after %u s",
                              s->target.node, call->timeout);
    }
    return 0;
}

int kp_session_call(struct kp_session *s, const json_t *request, const struct kp_call *call,
                    json_t **result, struct kp_err *err)
{
    static const struct kp_call plain;
    struct kp_pending p;
    if (!s) // a node that was never reached: its failure says why
        return kp_fail_as(err, KP_FAILED, "unreachable", "it could not be connected");
    if (begin_pending(s, &p, err) < 0)
        return -1;
    int failed = converse(s, &p, request, call ? call : &plain, err);
    if (failed == 0)
        failed = read_answer(s, &p, result, err);
    end_pending(s, &p);
    return failed;
}
