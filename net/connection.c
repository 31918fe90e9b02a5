/* SPDX-License-Identifier: Apache-2.0 */
#include "net/connection.h"

#include "core/text.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define UNSENT_BYTES (256 << 10)
#define LINGER_SECONDS 2.0
#define LINGER_BYTES ((size_t)1 << 20)
#define CROWD 384U          // from so many connections of all workers on, records are smaller:
#define CROWD_FRAGMENT 4096 // OpenSSL keeps one for each client that does not read
#define TURN_BYTES ((size_t)2 << 20) // one connection's share before others get their turn

enum state {
    STATE_HANDSHAKE,
    STATE_HEAD,    /* waiting for, or reading, a head */
    STATE_WAITING, /* the handler said: not yet */
    STATE_SENDING,
    STATE_LINGER, /* all is sent; what still comes is dropped, so that no reset overtakes it */
};

enum step { STEP_ON, STEP_WAIT, STEP_CLOSE };

struct kp_connection {
    struct kp_connection *next, **link;
    struct kp_worker *worker;
    struct event event;
    SSL *ssl;
    int fd;
    short waiting_for; /* EV_READ, EV_WRITE; 0: none */
    enum state state;
    bool last;    /* close after this exchange */
    bool is_head; /* HEAD: no body */
    uint64_t id;
    double deadline, begun;
    struct kp_net_address peer;
    struct kp_buf in;          /* the head being read or answered, and what came after it */
    struct kp_http_head *head; /* while a request is being answered */
    struct kp_http_response response;
    struct kp_buf head_text; /* the reply's head */
    size_t head_sent;
    uint64_t sent; /* body bytes */
    size_t lingered;
};

static void on_event(evutil_socket_t fd, short events, void *user);

static void watch(struct kp_connection *c, short events)
{
    if (c->waiting_for == events)
        return;
    if (c->waiting_for)
        event_del(&c->event);
    c->waiting_for = events;
    if (!events)
        return;
    event_assign(&c->event, c->worker->base, c->fd, (short)(events | EV_PERSIST), on_event, c);
    event_add(&c->event, NULL);
}

/* --- bytes --- */

/* Translates a failed read or write into what to do next. */
static enum step after_io(struct kp_connection *c, long n, short usual)
{
    if (!c->ssl) {
        bool again = n < 0 && (errno == EAGAIN || errno == EINTR);
        if (again)
            watch(c, usual);
        return again ? STEP_WAIT : STEP_CLOSE;
    }
    int want = SSL_get_error(c->ssl, (int)n);
    if (want != SSL_ERROR_WANT_READ && want != SSL_ERROR_WANT_WRITE)
        return STEP_CLOSE;
    watch(c, want == SSL_ERROR_WANT_READ ? EV_READ : EV_WRITE);
    return STEP_WAIT;
}

static long read_bytes(struct kp_connection *c, void *out, size_t len)
{
    ERR_clear_error();
    return c->ssl ? SSL_read(c->ssl, out, (int)len) : recv(c->fd, out, len, 0);
}

static long write_bytes(struct kp_connection *c, const void *data, size_t len)
{
    ERR_clear_error();
    return c->ssl ? SSL_write(c->ssl, data, (int)len) : send(c->fd, data, len, MSG_NOSIGNAL);
}

/* --- the end of an exchange, and of a connection --- */

static void finish_exchange(struct kp_connection *c, bool complete)
{
    const struct kp_http_server_settings *settings = c->worker->settings;
    struct kp_http_record record = {.peer = &c->peer,
                                    .status = c->response.status,
                                    .bytes = c->sent,
                                    .seconds = kp_now() - c->begun,
                                    .complete = complete};
    if (c->head && c->head->size) {
        record.method = c->head->method;
        record.target = c->head->target;
        record.agent = kp_http_field(c->head, "User-Agent");
    }
    if (settings->finished && c->response.status)
        settings->finished(settings->user, &record);
    if (c->response.release)
        c->response.release(c->response.user);
    kp_buf_release(&c->response.fields);
    kp_buf_release(&c->response.text);
    kp_buf_release(&c->head_text);
    c->response = (struct kp_http_response){0};
    if (c->head)
        kp_buf_consume(&c->in, c->head->size);
    if (!c->in.len)
        kp_buf_release(&c->in); // an idle connection keeps no buffer
    kp_free(kp_steal(&c->head));
    c->head_sent = 0;
    c->sent = 0;
}

static void close_connection(struct kp_connection *c)
{
    watch(c, 0);
    if (c->head)
        finish_exchange(c, false);
    if (c->ssl) {
        SSL_set_quiet_shutdown(c->ssl, 1); // the fd may be gone; nothing more is to be said
        SSL_free(c->ssl);
    }
    close(c->fd);
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    kp_census_leave(c->worker->census, &c->peer);
    __atomic_sub_fetch(&c->worker->load, 1, __ATOMIC_RELAXED);
    kp_buf_release(&c->in);
    kp_free(c);
}

/* --- states --- */

static enum step do_handshake(struct kp_connection *c)
{
    ERR_clear_error();
    int n = SSL_accept(c->ssl);
    if (n != 1)
        return after_io(c, n, EV_READ);
    c->state = STATE_HEAD;
    return STEP_ON;
}

static void begin_reply(struct kp_connection *c)
{
    struct kp_http_response *r = &c->response;
    uint64_t length = r->read ? r->length : r->text.len;
    c->last = c->last || c->worker->draining;
    c->head_text = KP_BUF(KP_HTTP_REPLY_FIELDS_MAX + 512);
    char date[40] = "";
    time_t now = time(NULL);
    struct tm tm;
    if (gmtime_r(&now, &tm))
        strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
    kp_buf_addf(&c->head_text, "HTTP/1.1 %u %s\r\nDate: %s\r\n", r->status,
                kp_http_status_text(r->status), date);
    if (r->fields.len)
        kp_buf_add(&c->head_text, r->fields.data, r->fields.len);
    if (r->status != 304)
        kp_buf_addf(&c->head_text, "Content-Length: %llu\r\n", (unsigned long long)length);
    kp_buf_addf(&c->head_text, "Connection: %s\r\n\r\n", c->last ? "close" : "keep-alive");
    if (!r->read)
        r->length = length;
    if (c->is_head || r->status == 304)
        r->length = 0;
    c->state = STATE_SENDING;
    c->deadline = kp_now() + c->worker->settings->stall_seconds;
}

static enum step ask_handler(struct kp_connection *c)
{
    const struct kp_http_server_settings *settings = c->worker->settings;
    struct kp_http_request request = {.head = c->head, .peer = &c->peer, .ticket = c->id};
    c->response = (struct kp_http_response){.fields = KP_BUF(KP_HTTP_REPLY_FIELDS_MAX),
                                            .text = KP_BUF(KP_HTTP_TEXT_MAX)};
    if (settings->handle(settings->user, &request, &c->response)) {
        begin_reply(c);
        return STEP_ON;
    }
    c->state = STATE_WAITING;
    c->deadline = kp_now() + 10 * settings->stall_seconds;
    watch(c, 0);
    return STEP_WAIT;
}

/* A head that cannot be read: no handler is asked, the connection ends. */
static void refuse_head(struct kp_connection *c, unsigned status)
{
    c->head->size = 0;
    c->last = true;
    c->response = (struct kp_http_response){.status = status,
                                            .fields = KP_BUF(KP_HTTP_REPLY_FIELDS_MAX),
                                            .text = KP_BUF(KP_HTTP_TEXT_MAX)};
    kp_buf_adds(&c->response.fields, "Content-Type: application/json\r\n");
    kp_buf_addf(&c->response.text, "{\"errors\":[{\"code\":\"UNSUPPORTED\",\"message\":\"%s\"}]}\n",
                kp_http_status_text(status));
    begin_reply(c);
}

static enum step take_head(struct kp_connection *c)
{
    struct kp_http_head *head = kp_alloc(sizeof(*head));
    int status = kp_http_parse_request(head, kp_buf_slice(&c->in));
    if (status == KP_HTTP_MORE) {
        kp_free(head);
        return STEP_WAIT;
    }
    c->head = head;
    c->begun = kp_now();
    if (status) {
        refuse_head(c, (unsigned)status);
        return STEP_ON;
    }
    bool body = head->chunked || (head->has_length && head->length > 0);
    c->last = !head->keep_alive || body;
    c->is_head = kp_slice_equal(head->method, "HEAD");
    return ask_handler(c);
}

static enum step do_head(struct kp_connection *c)
{
    if (c->in.len) {
        enum step step = take_head(c);
        if (c->head)
            return step;
    } else if (c->worker->draining) {
        return STEP_CLOSE;
    }
    size_t room = KP_HTTP_HEAD_MAX - c->in.len; // parse says MORE only below the limit
    long n = read_bytes(c, c->worker->scratch, room);
    if (n <= 0)
        return after_io(c, n, EV_READ);
    if (!c->in.len) // a head's time runs from its first byte
        c->deadline = kp_now() + c->worker->settings->head_seconds;
    return kp_buf_add(&c->in, c->worker->scratch, (size_t)n) ? STEP_ON : STEP_CLOSE;
}

/* Puts what is left of the reply's head, and body after it, into the scratch buffer. What is there
 * is a function of what was sent, so a repeated TLS write sees the same bytes. */
static long compose(struct kp_connection *c)
{
    char *out = c->worker->scratch;
    size_t n = c->head_text.len - c->head_sent;
    uint64_t left = c->response.length - c->sent;
    size_t body = left < KP_SCRATCH_SIZE - n ? (size_t)left : KP_SCRATCH_SIZE - n;
    if (n)
        memcpy(out, c->head_text.data + c->head_sent, n);
    if (body && !c->response.read)
        memcpy(out + n, c->response.text.data + c->sent, body);
    else if (body &&
             c->response.read(c->response.user, c->response.offset + c->sent, out + n, body) < 0)
        return -1;
    return (long)(n + body);
}

static void note_sent(struct kp_connection *c, size_t n)
{
    size_t head = c->head_text.len - c->head_sent;
    head = head < n ? head : n;
    c->head_sent += head;
    c->sent += n - head;
}

static enum step end_reply(struct kp_connection *c)
{
    bool last = c->last;
    finish_exchange(c, true);
    c->deadline = kp_now() + c->worker->settings->idle_seconds;
    if (!last) {
        c->state = STATE_HEAD;
        return STEP_ON;
    }
    c->state = STATE_LINGER;
    c->deadline = kp_now() + LINGER_SECONDS;
    if (c->ssl)
        SSL_shutdown(c->ssl);
    shutdown(c->fd, SHUT_WR);
    return STEP_ON;
}

static enum step do_send(struct kp_connection *c)
{
    for (size_t turn = 0; turn < TURN_BYTES;) {
        long have = compose(c), done = 0;
        if (have < 0)
            return STEP_CLOSE;
        if (have == 0)
            return end_reply(c);
        while (done < have) {
            long n = write_bytes(c, c->worker->scratch + done, (size_t)(have - done));
            if (n <= 0)
                return after_io(c, n, EV_WRITE);
            note_sent(c, (size_t)n);
            done += n;
            turn += (size_t)n;
            c->deadline = kp_now() + c->worker->settings->stall_seconds;
        }
    }
    watch(c, EV_WRITE); // others first; it is writable still, so the loop comes back
    return STEP_WAIT;
}

static enum step do_linger(struct kp_connection *c)
{
    // Raw bytes: what comes now is dropped, so it need not be decrypted.
    ssize_t n = recv(c->fd, c->worker->scratch, KP_SCRATCH_SIZE, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        return STEP_CLOSE;
    if (n < 0) {
        watch(c, EV_READ);
        return STEP_WAIT;
    }
    c->lingered += (size_t)n;
    return c->lingered < LINGER_BYTES ? STEP_ON : STEP_CLOSE;
}

static enum step do_state(struct kp_connection *c)
{
    switch (c->state) {
    case STATE_HANDSHAKE:
        return do_handshake(c);
    case STATE_HEAD:
        return do_head(c);
    case STATE_SENDING:
        return do_send(c);
    case STATE_LINGER:
        return do_linger(c);
    case STATE_WAITING:
        break;
    }
    return STEP_WAIT;
}

static void run(struct kp_connection *c)
{
    enum step step = STEP_ON;
    while (step == STEP_ON)
        step = do_state(c);
    if (step == STEP_CLOSE)
        close_connection(c);
}

static void on_event(evutil_socket_t fd, short events, void *user)
{
    (void)fd;
    (void)events;
    run(user);
}

void kp_connection_start(struct kp_worker *worker, int fd, const struct kp_net_address *peer,
                         SSL_CTX *tls)
{
    struct kp_connection *c = kp_alloc(sizeof(*c));
    int one = 1;
    int unsent = UNSENT_BYTES;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    // Else the kernel keeps megabytes for each client that does not read, until TCP runs out.
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
    c->worker = worker;
    c->fd = fd;
    c->peer = *peer;
    c->id = (uint64_t)worker->index << 48 | ++worker->next_id;
    c->in = KP_BUF(KP_HTTP_HEAD_MAX);
    c->state = tls ? STATE_HANDSHAKE : STATE_HEAD;
    c->deadline = kp_now() + worker->settings->head_seconds;
    c->link = &worker->connections;
    c->next = worker->connections;
    if (c->next)
        c->next->link = &c->next;
    worker->connections = c;
    if (tls && (!(c->ssl = SSL_new(tls)) || SSL_set_fd(c->ssl, fd) != 1)) {
        close_connection(c);
        return;
    }
    if (c->ssl &&
        __atomic_load_n(&worker->load, __ATOMIC_RELAXED) > CROWD / worker->settings->workers)
        SSL_set_max_send_fragment(c->ssl, CROWD_FRAGMENT);
    run(c);
}

void kp_connection_resume(struct kp_worker *worker, uint64_t ticket)
{
    for (struct kp_connection *c = worker->connections; c; c = c->next) {
        if (c->id != ticket || c->state != STATE_WAITING)
            continue;
        if (ask_handler(c) == STEP_ON)
            run(c);
        return;
    }
}

void kp_connections_check(struct kp_worker *worker, double now)
{
    for (struct kp_connection *c = worker->connections, *next; c; c = next) {
        next = c->next;
        bool idle = c->state == STATE_HEAD && !c->in.len;
        if (now >= c->deadline || (worker->draining && idle))
            close_connection(c);
    }
}

void kp_connections_close_all(struct kp_worker *worker)
{
    while (worker->connections)
        close_connection(worker->connections);
}
