/* SPDX-License-Identifier: Apache-2.0 */
#include "install/node/node.h"

#include "core/text.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

struct kp_node_request {
    struct server *server;
    uint32_t id;
    struct kp_buf document; /* REQUEST frames so far */
    struct kp_buf input;    /* DATA received; taken up to input_at */
    size_t input_at;
    bool started, input_ended, cancelled;
    uint32_t window; /* bytes that kinstall may still send */
    uint32_t owed;   /* taken, credit not yet given back */
    uint64_t credit; /* bytes that we may still send */
    struct kp_node_request *next;
};

struct server {
    struct kp_node_state *state;
    int in, out;
    pthread_mutex_t lock;  /* guards requests and lost */
    pthread_cond_t change; /* input, credit, cancel, lost */
    pthread_mutex_t write_lock;
    struct kp_node_request *requests;
    unsigned count;
    bool lost;
};

static const struct {
    const char *op;
    kp_node_handler *handler;
    bool early; /* allowed before a bundle was accepted */
} operations[] = {
    {"bundle", kp_node_op_bundle, true},    {"facts", kp_node_op_facts, false},
    {"put", kp_node_op_put, false},         {"remove", kp_node_op_remove, false},
    {"get", kp_node_op_get, false},         {"fetch", kp_node_op_fetch, false},
    {"receive", kp_node_op_receive, false}, {"unit", kp_node_op_unit, false},
    {"sysctl", kp_node_op_sysctl, false},   {"modules", kp_node_op_modules, false},
    {"run", kp_node_op_run, false},         {"ran", kp_node_op_ran, false},
    {"probe", kp_node_op_probe, false},     {"record", kp_node_op_record, false},
    {"mark", kp_node_op_mark, false},       {"lock", kp_node_op_lock, false},
    {"clock", kp_node_op_clock, true},      {"placed", kp_node_op_placed, false},
    {"survey", kp_node_op_survey, false},   {"bundles", kp_node_op_bundles, true},
};

static int send_frame(void *user, enum kp_frame_type type, unsigned flags, uint32_t id,
                      struct kp_slice payload, struct kp_err *err)
{
    struct server *s = user;
    const struct kp_frame frame = {type, flags, id, payload};
    int failed = kp_frame_write(&s->out, &s->write_lock, &frame);
    return failed ? kp_fail_sys(err, failed, "answer kinstall") : 0;
}

static void request_free(struct kp_node_request *request)
{
    if (!request)
        return;
    kp_buf_release(&request->document);
    kp_buf_release(&request->input);
    kp_free(request);
}

static struct kp_node_request *find_request(struct server *s, uint32_t id)
{
    struct kp_node_request *r = s->requests;
    while (r && r->id != id)
        r = r->next;
    return r;
}

static void forget_request(struct server *s, struct kp_node_request *request)
{
    pthread_mutex_lock(&s->lock);
    struct kp_node_request **at = &s->requests;
    while (*at != request)
        at = &(*at)->next;
    *at = request->next;
    s->count--;
    pthread_cond_broadcast(&s->change);
    pthread_mutex_unlock(&s->lock);
    request_free(request);
}

static int dispatch(struct kp_node_request *request, json_t **result, struct kp_err *err)
{
    kp_auto_json args = NULL;
    const char *op = NULL;
    if (kp_json_parse(&args, kp_buf_slice(&request->document), KP_REQUEST_MAX, "request", err) <
            0 ||
        kp_node_text(args, "op", 32, &op, err) < 0)
        return -1;
    for (size_t i = 0; i < KP_COUNT(operations); i++) {
        if (strcmp(op, operations[i].op) != 0)
            continue;
        if (!operations[i].early && kp_node_need_bundle(request->server->state, err) < 0)
            return -1;
        return operations[i].handler(request, args, result, err);
    }
    return kp_fail_as(err, KP_USAGE, "bad_request", "unknown request \"%s\"", op);
}

static void *request_thread(void *user)
{
    struct kp_node_request *request = user;
    struct server *s = request->server;
    struct kp_err err = KP_ERR_INIT;
    kp_auto_json result = NULL;
    enum kp_frame_type type = KP_FRAME_RESULT;
    if (dispatch(request, &result, &err) < 0) {
        json_decref(result);
        result = kp_err_to_json(&err);
        type = KP_FRAME_ERROR;
    }
    if (kp_frames_send_json(send_frame, s, type, request->id, result, &err) < 0) {
        // Either too long, which kinstall must hear of, or the connection is gone.
        json_decref(result);
        result = kp_err_to_json(&err);
        (void)!kp_frames_send_json(send_frame, s, KP_FRAME_ERROR, request->id, result, &err);
    }
    forget_request(s, request);
    return NULL;
}

static int start_request(struct server *s, struct kp_node_request *request, struct kp_err *err)
{
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    request->started = true;
    int failed = pthread_create(&thread, &attr, request_thread, request);
    pthread_attr_destroy(&attr);
    if (!failed)
        return 0;
    request->started = false;
    (void)s;
    return kp_fail_sys(err, failed, "start a thread");
}

static int take_request(struct server *s, const struct kp_frame *frame, struct kp_err *err)
{
    struct kp_node_request *r = find_request(s, frame->id);
    if (!r && s->count >= KP_REQUESTS_MAX)
        return kp_fail_as(err, KP_FAILED, "bad_frame", "more than %d requests at once",
                          KP_REQUESTS_MAX);
    if (r && r->started)
        return kp_fail_as(err, KP_FAILED, "bad_frame", "request %u twice", frame->id);
    if (!r) {
        r = kp_alloc(sizeof(*r));
        *r = (struct kp_node_request){.server = s,
                                      .id = frame->id,
                                      .next = s->requests,
                                      .document = KP_BUF(KP_REQUEST_MAX),
                                      .window = KP_WINDOW,
                                      .input = KP_BUF_SECRET((size_t)2 * KP_WINDOW),
                                      .credit = KP_WINDOW};
        s->requests = r;
        s->count++;
    }
    if (!kp_buf_add(&r->document, frame->payload.ptr, frame->payload.len))
        return kp_fail_as(err, KP_FAILED, "bad_frame", "request longer than %zu bytes",
                          KP_REQUEST_MAX);
    return frame->flags & KP_FLAG_MORE ? 0 : start_request(s, r, err);
}

static int take_data(struct kp_node_request *r, const struct kp_frame *frame, struct kp_err *err)
{
    // Moved to the front once per window, not once per read.
    if (r->input_at >= KP_WINDOW) {
        kp_buf_consume(&r->input, r->input_at);
        r->input_at = 0;
    }
    if (r->input_ended || frame->payload.len > r->window ||
        !kp_buf_add(&r->input, frame->payload.ptr, frame->payload.len))
        return kp_fail_as(err, KP_FAILED, "bad_frame", "data beyond what was allowed");
    r->window -= (uint32_t)frame->payload.len;
    r->input_ended = frame->flags & KP_FLAG_END;
    return 0;
}

static uint32_t credit_of(const struct kp_frame *frame)
{
    const uint8_t *p = (const uint8_t *)frame->payload.ptr;
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

// With s->lock held. A frame for a request that has ended meanwhile is no error.
static int take_frame(struct server *s, const struct kp_frame *frame, struct kp_err *err)
{
    struct kp_node_request *r = frame->id ? find_request(s, frame->id) : NULL;
    switch (frame->type) {
    case KP_FRAME_REQUEST:
        return take_request(s, frame, err);
    case KP_FRAME_DATA:
        return r ? take_data(r, frame, err) : 0;
    case KP_FRAME_CREDIT:
        if (r)
            r->credit += credit_of(frame);
        return r && r->credit > (uint64_t)KP_WINDOW
                   ? kp_fail_as(err, KP_FAILED, "bad_frame", "credit beyond the window")
                   : 0;
    case KP_FRAME_CANCEL:
        if (r)
            r->cancelled = true;
        return 0;
    case KP_FRAME_PING:
    case KP_FRAME_PONG:
        return 0;
    case KP_FRAME_NOTE:
    case KP_FRAME_RESULT:
    case KP_FRAME_ERROR:
    default:
        return kp_fail_as(err, KP_FAILED, "bad_frame", "an answer where a request belongs");
    }
}

static int take_frames(struct server *s, struct kp_decoder *decoder, struct kp_err *err)
{
    for (;;) {
        struct kp_frame frame;
        bool found;
        if (kp_decoder_next(decoder, &frame, &found, err) < 0)
            return -1;
        if (!found)
            return 0;
        pthread_mutex_lock(&s->lock);
        int failed = take_frame(s, &frame, err);
        pthread_cond_broadcast(&s->change);
        pthread_mutex_unlock(&s->lock);
        if (failed < 0)
            return -1;
        if (frame.type == KP_FRAME_PING &&
            send_frame(s, KP_FRAME_PONG, 0, 0, (struct kp_slice){NULL, 0}, err) < 0)
            return -1;
    }
}

static int read_stream(struct server *s, struct kp_decoder *decoder, struct kp_err *err)
{
    for (;;) {
        struct pollfd ready = {.fd = s->in, .events = POLLIN};
        int n = poll(&ready, 1, KP_SILENCE_MAX * 1000);
        if (n < 0 && errno != EINTR)
            return kp_fail_sys(err, errno, "poll");
        if (n == 0)
            return kp_fail_as(err, KP_FAILED, "timeout", "kinstall has been silent for %d s",
                              KP_SILENCE_MAX);
        if (n < 0)
            continue;
        char *room = kp_decoder_room(decoder, KP_FRAME_MAX);
        ssize_t got = room ? read(s->in, room, KP_FRAME_MAX) : -1;
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? kp_fail_sys(err, errno, "read from kinstall") : 0;
        kp_decoder_added(decoder, (size_t)got);
        if (take_frames(s, decoder, err) < 0)
            return -1;
    }
}

// Requests under way see that they are cancelled and end; a few seconds are enough for that.
static void end_requests(struct server *s)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 5;
    pthread_mutex_lock(&s->lock);
    s->lost = true;
    pthread_cond_broadcast(&s->change);
    struct kp_node_request **at = &s->requests;
    while (*at) {
        struct kp_node_request *r = *at;
        if (r->started) {
            at = &r->next;
            continue;
        }
        *at = r->next;
        s->count--;
        request_free(r);
    }
    while (s->count && pthread_cond_timedwait(&s->change, &s->lock, &until) != ETIMEDOUT)
        ;
    pthread_mutex_unlock(&s->lock);
}

int kp_node_serve(struct kp_node_state *state, int in, int out, const char *nonce,
                  struct kp_err *err)
{
    char hello[64 + KP_NONCE_HEX];
    struct server *s = kp_alloc(sizeof(*s));
    *s = (struct server){.state = state,
                         .in = in,
                         .out = out,
                         .lock = PTHREAD_MUTEX_INITIALIZER,
                         .change = PTHREAD_COND_INITIALIZER,
                         .write_lock = PTHREAD_MUTEX_INITIALIZER};
    kp_hello_format(hello, sizeof(hello), nonce);
    kp_auto_value(kp_decoder) decoder = KP_DECODER;
    int result = -1;
    if (write(out, hello, strlen(hello)) == (ssize_t)strlen(hello))
        result = read_stream(s, &decoder, err);
    else
        kp_fail_sys(err, errno, "say hello");
    end_requests(s);
    // A thread that does not end would still use s: the process ends right after this.
    if (!s->count)
        kp_free(s);
    return result;
}

struct kp_node_state *kp_node_request_state(const struct kp_node_request *request)
{
    return request->server->state;
}

bool kp_node_cancelled(struct kp_node_request *request)
{
    struct server *s = request->server;
    pthread_mutex_lock(&s->lock);
    bool cancelled = request->cancelled || s->lost;
    pthread_mutex_unlock(&s->lock);
    return cancelled;
}

static int fail_cancelled(struct kp_err *err)
{
    return kp_fail_as(err, KP_FAILED, "interrupted", "given up by kinstall");
}

static int give_credit(struct kp_node_request *r, uint32_t credit, struct kp_err *err)
{
    uint8_t raw[4] = {(uint8_t)(credit >> 24), (uint8_t)(credit >> 16), (uint8_t)(credit >> 8),
                      (uint8_t)credit};
    return send_frame(r->server, KP_FRAME_CREDIT, 0, r->id, (struct kp_slice){(const char *)raw, 4},
                      err);
}

int kp_node_read(struct kp_node_request *r, void *out, size_t size, size_t *got, struct kp_err *err)
{
    struct server *s = r->server;
    pthread_mutex_lock(&s->lock);
    while (r->input.len == r->input_at && !r->input_ended && !r->cancelled && !s->lost)
        pthread_cond_wait(&s->change, &s->lock);
    bool stopped = r->cancelled || s->lost;
    size_t there = r->input.len - r->input_at;
    size_t n = there < size ? there : size;
    uint32_t credit = 0;
    if (!stopped && n) {
        memcpy(out, r->input.data + r->input_at, n);
        r->input_at += n;
        r->owed += (uint32_t)n;
        if (r->owed >= KP_CREDIT_STEP && !r->input_ended) {
            credit = r->owed;
            r->owed = 0;
            r->window += credit;
        }
    }
    pthread_mutex_unlock(&s->lock);
    *got = n;
    if (stopped)
        return fail_cancelled(err);
    return credit ? give_credit(r, credit, err) : 0;
}

int kp_node_read_all(struct kp_node_request *r, struct kp_buf *out, uint64_t size,
                     struct kp_err *err)
{
    char block[16384];
    for (;;) {
        size_t got;
        if (kp_node_read(r, block, sizeof(block), &got, err) < 0)
            return -1;
        if (!got)
            break;
        if (out->len + got > size || !kp_buf_add(out, block, got))
            return kp_fail_as(err, KP_USAGE, "bad_request", "more than %llu bytes of data",
                              (unsigned long long)size);
    }
    explicit_bzero(block, sizeof(block));
    if (out->len != size)
        return kp_fail_as(err, KP_USAGE, "bad_request",
                          "%zu bytes of data where %llu were announced", out->len,
                          (unsigned long long)size);
    return 0;
}

int kp_node_write(struct kp_node_request *r, unsigned flags, const void *data, size_t len,
                  struct kp_err *err)
{
    struct server *s = r->server;
    const char *at = data;
    while (len) {
        pthread_mutex_lock(&s->lock);
        while (!r->credit && !r->cancelled && !s->lost)
            pthread_cond_wait(&s->change, &s->lock);
        size_t n = len < KP_FRAME_MAX ? len : KP_FRAME_MAX;
        n = n < r->credit ? n : (size_t)r->credit;
        bool stopped = r->cancelled || s->lost;
        if (!stopped)
            r->credit -= n;
        pthread_mutex_unlock(&s->lock);
        if (stopped)
            return fail_cancelled(err);
        if (send_frame(s, KP_FRAME_DATA, flags, r->id, (struct kp_slice){at, n}, err) < 0)
            return -1;
        at += n;
        len -= n;
    }
    return 0;
}

int kp_node_note(struct kp_node_request *r, const json_t *note, struct kp_err *err)
{
    return kp_frames_send_json(send_frame, r->server, KP_FRAME_NOTE, r->id, note, err);
}
