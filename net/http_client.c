/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_client.h"

#include "core/buf.h"
#include "core/text.h"
#include "net/http.h"
#include "net/tls.h"
#include "net/url.h"

#include <errno.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define INPUT_MAX ((size_t)128 << 10)
#define REQUEST_MAX ((size_t)32 << 10)
#define MAX_DEFAULT ((uint64_t)16 << 20)
#define DROP_MAX 65536U // body of a refusal that is read so that the connection can be kept

struct kp_http_client {
    struct kp_http_settings settings;
    SSL_CTX *tls; /* NULL: https is refused */
    int fd;       /* the kept connection, or -1 */
    SSL *ssl;
    bool used; /* has carried an exchange */
    char host[KP_NET_HOST_MAX];
    uint16_t port;
    bool secure;
    char *in; /* INPUT_MAX bytes */
    size_t in_len, in_pos;
    double watch_start; /* the stall watch's current period */
    uint64_t watch_bytes;
};

struct transfer {
    struct kp_http_client *client;
    const struct kp_http_get *get;
    struct kp_http_head head;
    bool sink;           /* body bytes go to the caller */
    uint64_t max;        /* longest body */
    uint64_t taken;      /* body bytes so far */
    struct kp_buf words; /* beginning of a refusal's body */
};

int kp_http_client_new(struct kp_http_client **out, const struct kp_http_settings *settings,
                       struct kp_err *err)
{
    kp_auto(kp_http_client) client = kp_alloc(sizeof(*client));
    client->settings = *settings;
    client->fd = -1;
    client->in = kp_alloc(INPUT_MAX);
    struct kp_http_settings *s = &client->settings;
    s->connect_timeout = s->connect_timeout > 0 ? s->connect_timeout : 10;
    s->stall_seconds = s->stall_seconds > 0 ? s->stall_seconds : 30;
    s->stall_bytes = s->stall_bytes ? s->stall_bytes : 1024;
    s->user_agent = s->user_agent ? s->user_agent : "kpack/" KP_VERSION;
    if (s->ca.len && kp_tls_client_new(&client->tls, s->ca, err) < 0)
        return -1;
    s->ca = (struct kp_slice){NULL, 0};
    *out = kp_steal(&client);
    return 0;
}

static void drop_connection(struct kp_http_client *client)
{
    SSL_free(client->ssl);
    client->ssl = NULL;
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
    client->used = false;
    client->in_len = client->in_pos = 0;
}

void kp_http_client_free(struct kp_http_client *client)
{
    if (!client)
        return;
    drop_connection(client);
    SSL_CTX_free(client->tls);
    kp_free(client->in);
    kp_free(client);
}

/* --- one connection --- */

static int connect_address(struct kp_http_client *client, const struct kp_net_address *address,
                           const struct kp_url *url, struct kp_err *err)
{
    double deadline = kp_now() + client->settings.connect_timeout;
    kp_auto_fd int fd = -1;
    if (kp_net_connect(&fd, address, client->settings.connect_timeout, err) < 0)
        return -1;
    if (url->tls && kp_tls_connect(&client->ssl, client->tls, fd, url->host, deadline, err) < 0)
        return -1;
    client->fd = kp_steal_fd(&fd);
    return 0;
}

static int open_connection(struct kp_http_client *client, const struct kp_url *url,
                           struct kp_err *err)
{
    struct kp_net_addresses addresses;
    if (url->tls && !client->tls)
        return kp_fail_as(err, KP_USAGE, "tls", "https needs a CA certificate");
    if (kp_net_resolve(&addresses, url->host, url->port, &client->settings.resolving, err) < 0)
        return -1;
    int result = -1;
    for (size_t i = 0; i < addresses.count && result < 0; i++)
        result = connect_address(client, &addresses.items[i], url, err);
    if (result < 0)
        return kp_wrap(err, "connect to %s", url->authority);
    snprintf(client->host, sizeof(client->host), "%s", url->host);
    client->port = url->port;
    client->secure = url->tls;
    return 0;
}

static bool kept_for(const struct kp_http_client *client, const struct kp_url *url)
{
    return client->fd >= 0 && client->secure == url->tls && client->port == url->port &&
           strcmp(client->host, url->host) == 0;
}

static void watch_begin(struct kp_http_client *client)
{
    client->watch_start = kp_now();
    client->watch_bytes = 0;
}

/* Notes n bytes of progress; fails where a whole period passed with fewer bytes than allowed. */
static int watch_bytes(struct kp_http_client *client, size_t n, struct kp_err *err)
{
    const struct kp_http_settings *s = &client->settings;
    client->watch_bytes += n;
    if (kp_now() - client->watch_start < s->stall_seconds)
        return 0;
    if (client->watch_bytes < s->stall_bytes)
        return kp_fail_as(err, KP_FAILED, "timeout", "slower than %llu bytes in %.0f s",
                          (unsigned long long)s->stall_bytes, s->stall_seconds);
    watch_begin(client);
    return 0;
}

static int fail_closed(struct kp_err *err, const char *what)
{
    ERR_clear_error();
    return kp_fail_as(err, KP_FAILED, "closed", "connection closed %s", what);
}

/* The event to wait for after a short read or write; 0 where the connection has ended. */
static short wanted(const struct kp_http_client *client, long n, short usual)
{
    if (!client->ssl)
        return n < 0 && (errno == EAGAIN || errno == EINTR) ? usual : 0;
    switch (SSL_get_error(client->ssl, (int)n)) {
    case SSL_ERROR_WANT_READ:
        return POLLIN;
    case SSL_ERROR_WANT_WRITE:
        return POLLOUT;
    default:
        return 0;
    }
}

/* Reads at least one byte into the input buffer; *end instead where the peer has closed. */
static int fill_input(struct kp_http_client *client, bool *end, struct kp_err *err)
{
    if (client->in_pos) {
        memmove(client->in, client->in + client->in_pos, client->in_len - client->in_pos);
        client->in_len -= client->in_pos;
        client->in_pos = 0;
    }
    char *to = client->in + client->in_len;
    size_t room = INPUT_MAX - client->in_len;
    for (;;) {
        ERR_clear_error();
        long n = client->ssl ? SSL_read(client->ssl, to, (int)room) : read(client->fd, to, room);
        if (n > 0) {
            client->in_len += (size_t)n;
            return watch_bytes(client, (size_t)n, err);
        }
        short events = wanted(client, n, POLLIN);
        *end = !events;
        if (!events)
            return 0;
        double deadline = client->watch_start + client->settings.stall_seconds;
        if (kp_net_wait(client->fd, events, deadline, err) < 0)
            return -1;
    }
}

static int write_request(struct kp_http_client *client, struct kp_slice text, struct kp_err *err)
{
    while (text.len) {
        ERR_clear_error();
        long n = client->ssl ? SSL_write(client->ssl, text.ptr, (int)text.len)
                             : write(client->fd, text.ptr, text.len);
        if (n > 0) {
            text.ptr += n;
            text.len -= (size_t)n;
            continue;
        }
        short events = wanted(client, n, POLLOUT);
        if (!events)
            return fail_closed(err, "while the request was sent");
        double deadline = client->watch_start + client->settings.stall_seconds;
        if (kp_net_wait(client->fd, events, deadline, err) < 0)
            return -1;
    }
    return 0;
}

/* --- one exchange --- */

static bool field_ok(const struct kp_http_header *header)
{
    return header->name[0] && !strpbrk(header->name, "\r\n: ") && !strpbrk(header->value, "\r\n");
}

static int format_request(struct kp_buf *out, const struct kp_http_client *client,
                          const struct kp_http_get *get, const struct kp_url *url,
                          struct kp_err *err)
{
    kp_buf_addf(out, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\n", get->head ? "HEAD" : "GET",
                url->path, url->authority, client->settings.user_agent);
    if (get->length)
        kp_buf_addf(out, "Range: bytes=%llu-%llu\r\n", (unsigned long long)get->offset,
                    (unsigned long long)(get->offset + get->length - 1));
    else if (get->offset)
        kp_buf_addf(out, "Range: bytes=%llu-\r\n", (unsigned long long)get->offset);
    for (size_t i = 0; i < get->header_count; i++) {
        if (!field_ok(&get->headers[i]))
            return kp_fail(err, KP_USAGE, "a header field has a line end in it");
        kp_buf_addf(out, "%s: %s\r\n", get->headers[i].name, get->headers[i].value);
    }
    kp_buf_adds(out, "\r\n");
    return out->overflow ? kp_fail(err, KP_USAGE, "the request is too long") : 0;
}

static int read_head(struct transfer *t, bool *closed_early, struct kp_err *err)
{
    struct kp_http_client *client = t->client;
    for (;;) {
        struct kp_slice bytes = {client->in + client->in_pos, client->in_len - client->in_pos};
        int parsed = kp_http_parse_response(&t->head, bytes);
        if (parsed == KP_HTTP_MORE) {
            bool end = false;
            if (fill_input(client, &end, err) < 0)
                return -1;
            *closed_early = end && bytes.len == 0;
            if (end)
                return fail_closed(err, "before a reply came");
            continue;
        }
        if (parsed)
            return kp_fail_as(err, KP_FAILED, "bad_reply", "the reply is not HTTP/1.1");
        if (t->head.status >= 200)
            return 0;
        client->in_pos += t->head.size; // 1xx: the real one follows
    }
}

/* Gives up to `most` buffered body bytes to the sink; *got: how many. Fills the buffer if empty. */
static int take_body(struct transfer *t, uint64_t most, size_t *got, struct kp_err *err)
{
    struct kp_http_client *client = t->client;
    bool end = false;
    if (client->in_pos == client->in_len && fill_input(client, &end, err) < 0)
        return -1;
    if (end)
        return fail_closed(err, "in the middle of the body");
    size_t n = client->in_len - client->in_pos;
    n = n < most ? n : (size_t)most;
    const char *data = client->in + client->in_pos;
    if (t->taken + n > t->max)
        return kp_fail_as(err, KP_FAILED, "too_large", "the body is longer than %llu bytes",
                          (unsigned long long)t->max);
    if (!t->sink)
        kp_buf_add(&t->words, data, n);
    else if (t->get->sink && t->get->sink(t->get->user, data, n, err) < 0)
        return -1;
    client->in_pos += n;
    t->taken += n;
    *got = n;
    return 0;
}

static int take_exactly(struct transfer *t, uint64_t length, struct kp_err *err)
{
    while (length) {
        size_t got = 0;
        if (take_body(t, length, &got, err) < 0)
            return -1;
        length -= got;
    }
    return 0;
}

/* A line of the chunked coding, without CRLF, at most 128 bytes. */
static int take_chunk_line(struct kp_http_client *client, char line[130], struct kp_err *err)
{
    for (size_t n = 0; n < 130;) {
        bool end = false;
        if (client->in_pos == client->in_len && fill_input(client, &end, err) < 0)
            return -1;
        if (end)
            return fail_closed(err, "in the middle of the body");
        line[n++] = client->in[client->in_pos++];
        if (n >= 2 && line[n - 2] == '\r' && line[n - 1] == '\n') {
            line[n - 2] = '\0';
            return 0;
        }
    }
    return kp_fail_as(err, KP_FAILED, "bad_reply", "the chunked body has an overlong line");
}

static bool parse_chunk_size(const char *line, uint64_t *out)
{
    size_t n = strspn(line, "0123456789abcdefABCDEF");
    if (!n || n > 15 || (line[n] != '\0' && line[n] != ';' && line[n] != ' '))
        return false;
    *out = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned c = (unsigned char)line[i];
        *out = *out * 16 + (c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
    }
    return true;
}

static int take_chunks(struct transfer *t, struct kp_err *err)
{
    char line[130] = "";
    for (uint64_t size = 1; size;) {
        if (take_chunk_line(t->client, line, err) < 0)
            return -1;
        if (!parse_chunk_size(line, &size))
            return kp_fail_as(err, KP_FAILED, "bad_reply", "the chunked body has a bad size");
        if (take_exactly(t, size, err) < 0)
            return -1;
        if (size && (take_chunk_line(t->client, line, err) < 0 || line[0]))
            return kp_fail_as(err, KP_FAILED, "bad_reply", "the chunked body is out of step");
    }
    do { // trailers
        if (take_chunk_line(t->client, line, err) < 0)
            return -1;
    } while (line[0]);
    return 0;
}

static int take_whole_body(struct transfer *t, struct kp_err *err)
{
    if (t->get->head || t->head.status == 204 || t->head.status == 304)
        return 0;
    if (t->head.chunked)
        return take_chunks(t, err);
    if (!t->head.has_length) // its end could not be told from a cut
        return kp_fail_as(err, KP_FAILED, "bad_reply", "the reply does not say how long it is");
    if (t->head.length > t->max)
        return kp_fail_as(err, KP_FAILED, "too_large", "the body has %llu bytes, allowed are %llu",
                          (unsigned long long)t->head.length, (unsigned long long)t->max);
    return take_exactly(t, t->head.length, err);
}

static void copy_field(const struct kp_http_head *head, const char *name, char *out, size_t max)
{
    struct kp_slice value = kp_http_field(head, name);
    snprintf(out, max, "%.*s", (int)value.len, value.ptr ? value.ptr : "");
}

/* "bytes 5-9/10" */
static bool parse_content_range(struct kp_slice value, struct kp_http_reply *reply)
{
    struct kp_slice unit, from, to;
    uint64_t last;
    if (!kp_slice_cut(&value, ' ', &unit) || !kp_slice_equal(unit, "bytes") ||
        !kp_slice_cut(&value, '-', &from) || !kp_slice_cut(&value, '/', &to))
        return false;
    return kp_parse_u64(from, INT64_MAX, &reply->first) && kp_parse_u64(to, INT64_MAX, &last) &&
           kp_parse_u64(value, INT64_MAX, &reply->total) && last >= reply->first &&
           last < reply->total && reply->length == last - reply->first + 1;
}

static void describe_reply(const struct transfer *t, struct kp_http_reply *reply)
{
    reply->status = t->head.status;
    reply->length = reply->total = t->head.length;
    copy_field(&t->head, "Content-Type", reply->content_type, sizeof(reply->content_type));
    copy_field(&t->head, "Docker-Content-Digest", reply->digest, sizeof(reply->digest));
    copy_field(&t->head, "ETag", reply->etag, sizeof(reply->etag));
}

static int check_range(const struct transfer *t, struct kp_http_reply *reply, struct kp_err *err)
{
    bool asked = t->get->offset || t->get->length;
    if (t->head.status == 200 && t->get->offset)
        return kp_fail_as(err, KP_FAILED, "no_range", "the server ignored the range");
    if (t->head.status != 206)
        return 0;
    if (!asked || !parse_content_range(kp_http_field(&t->head, "Content-Range"), reply) ||
        reply->first != t->get->offset)
        return kp_fail_as(err, KP_FAILED, "bad_reply",
                          "the reply has another range than asked for");
    return 0;
}

static int refuse(struct transfer *t, struct kp_err *err)
{
    unsigned status = t->head.status;
    enum kp_code code = status == 404 || status == 410 ? KP_MISSING : KP_FAILED;
    t->max = DROP_MAX;
    if (take_whole_body(t, err) < 0)
        drop_connection(t->client);
    struct kp_slice words = kp_buf_slice(&t->words);
    int n = words.len > 200 ? 200 : (int)words.len;
    return kp_fail_as(err, code, "http_status", "status %u%s%.*s", status, n ? ": " : "", n,
                      words.ptr);
}

static int receive(struct transfer *t, struct kp_http_reply *reply, bool *closed_early,
                   struct kp_err *err)
{
    if (read_head(t, closed_early, err) < 0)
        return -1;
    describe_reply(t, reply);
    // The fields of the head are in the input buffer, which the body overwrites.
    if (check_range(t, reply, err) < 0)
        return -1;
    t->client->in_pos += t->head.size;
    if (t->head.status != 200 && t->head.status != 206)
        return refuse(t, err);
    t->sink = true;
    return take_whole_body(t, err);
}

static int exchange(struct kp_http_client *client, const struct kp_http_get *get,
                    const struct kp_url *url, struct kp_http_reply *reply, bool *closed_early,
                    struct kp_err *err)
{
    struct transfer t = {.client = client, .get = get, .max = get->max ? get->max : MAX_DEFAULT};
    kp_auto_value(kp_buf) request = KP_BUF(REQUEST_MAX);
    t.words = KP_BUF(DROP_MAX);
    watch_begin(client);
    int result = format_request(&request, client, get, url, err);
    if (result == 0) {
        result = write_request(client, kp_buf_slice(&request), err);
        *closed_early = result < 0;
    }
    if (result == 0)
        result = receive(&t, reply, closed_early, err);
    kp_buf_release(&t.words);
    bool refused = result < 0 && err->reason && strcmp(err->reason, "http_status") == 0;
    if ((result < 0 && !refused) || !t.head.keep_alive)
        drop_connection(client);
    client->used = true;
    return result;
}

int kp_http_get(struct kp_http_client *client, const struct kp_http_get *get,
                struct kp_http_reply *reply, struct kp_err *err)
{
    struct kp_url url;
    struct kp_http_reply unwanted;
    struct kp_err own = KP_ERR_INIT;
    err = err ? err : &own;
    reply = reply ? reply : &unwanted;
    *reply = (struct kp_http_reply){0};
    if (kp_url_parse(&url, get->url, err) < 0)
        return -1;
    for (;;) {
        if (!kept_for(client, &url))
            drop_connection(client);
        if (client->fd < 0 && open_connection(client, &url, err) < 0)
            return -1;
        bool kept = client->used, closed_early = false;
        if (exchange(client, get, &url, reply, &closed_early, err) == 0)
            return 0;
        // A kept connection may have been closed by the server meanwhile: once more on a new one.
        if (!kept || !closed_early || (err->reason && strcmp(err->reason, "closed") != 0))
            return kp_wrap(err, "%s", get->url);
    }
}

struct text_sink {
    struct kp_buf buf;
};

static int sink_text(void *user, const void *data, size_t len, struct kp_err *err)
{
    struct text_sink *sink = user;
    return kp_buf_add(&sink->buf, data, len)
               ? 0
               : kp_fail_as(err, KP_FAILED, "too_large", "the body is too long");
}

int kp_http_get_text(struct kp_http_client *client, const char *url, size_t max, char **out,
                     size_t *len, struct kp_err *err)
{
    struct text_sink sink = {KP_BUF(max)};
    struct kp_http_get get = {.url = url, .max = max, .sink = sink_text, .user = &sink};
    int result = kp_http_get(client, &get, NULL, err);
    if (result == 0) {
        *len = sink.buf.len;
        *out = kp_buf_steal(&sink.buf);
    }
    kp_buf_release(&sink.buf);
    return result;
}
