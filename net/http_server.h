/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/1.1 server for GET and HEAD: one thread accepts, worker threads with an event loop each
 * serve. Bodies are pulled block by block when the socket takes more, into one buffer per worker,
 * so that a slow client costs its TLS state and nothing else. Heads, times and numbers of
 * connections are limited. A request with a body is answered and its connection closed.
 */
#pragma once

#include "core/buf.h"
#include "net/http.h"
#include "net/net.h"

#define KP_HTTP_LISTENERS_MAX 16
#define KP_HTTP_WORKERS_MAX 64
#define KP_HTTP_REPLY_FIELDS_MAX 8192
#define KP_HTTP_TEXT_MAX ((size_t)16 << 20)

struct kp_http_request {
    const struct kp_http_head *head; /* valid during the call */
    const struct kp_net_address *peer;
    uint64_t ticket; /* names this request to kp_http_server_resume */
};

/* Exactly len bytes of the body at offset; -1 cuts the connection. Called by worker threads. */
typedef int kp_http_read(void *user, uint64_t offset, void *out, size_t len);

struct kp_http_response { /* zeroed, with limits set, when the handler gets it */
    unsigned status;
    struct kp_buf fields; /* "Name: value\r\n" lines; Content-Length, Date, Connection are added */
    struct kp_buf text;   /* the body, where read is NULL */
    kp_http_read *read;   /* the body: `length` bytes from `offset` on */
    void *user;
    uint64_t offset, length;
    void (*release)(void *user); /* called once when the exchange is over; may be NULL */
};

/* Fills the response and returns true; or leaves it alone and returns false: not yet, the handler
 * is called again after kp_http_server_resume(ticket), which may come before this call has
 * returned. Runs on a worker thread and must not block. HEAD is answered like GET, the body is left
 * away here. */
typedef bool kp_http_handler(void *user, const struct kp_http_request *request,
                             struct kp_http_response *response);

struct kp_http_record { /* a finished exchange, for logs and counters */
    const struct kp_net_address *peer;
    struct kp_slice method, target, agent; /* empty where the head could not be read */
    unsigned status;
    uint64_t bytes; /* of the body */
    double seconds;
    bool complete; /* all of it went out */
};

struct kp_http_listen {
    struct kp_net_address address; /* port 0: any; see kp_http_server_address */
    bool tls;
};
struct kp_http_server_settings {
    struct kp_http_listen listen[KP_HTTP_LISTENERS_MAX];
    size_t listen_count;
    const char *cert_file, *key_file; /* for those with tls */
    unsigned workers;                 /* 0: one per core */
    unsigned connections;             /* most at once; 0: 4096 */
    unsigned per_address;             /* most at once from one address; 0: no limit of its own */
    double head_seconds;              /* for TLS handshake and head; 0: 10 */
    double idle_seconds;              /* between requests; 0: 60 */
    double stall_seconds;             /* without a byte going out; 0: 60 */
    double drain_seconds;             /* for running exchanges after a stop; 0: 30 */
    kp_http_handler *handle;
    void (*finished)(void *user, const struct kp_http_record *record); /* any worker; may be NULL */
    void *user;
};
struct kp_http_counters {
    uint64_t open, accepted, refused; /* connections */
};

struct kp_http_server;
/* Binds and listens; nothing is accepted yet. */
KP_CHECK int kp_http_server_new(struct kp_http_server **out,
                                const struct kp_http_server_settings *settings, struct kp_err *err);
void kp_http_server_free(struct kp_http_server *server);
KP_DEFINE_AUTO(kp_http_server);
const struct kp_net_address *kp_http_server_address(const struct kp_http_server *server, size_t i);
/* Serves until kp_interrupted or kp_http_server_stop; then drains: listeners close, idle
 * connections close, running exchanges end or are cut after drain_seconds. */
KP_CHECK int kp_http_server_run(struct kp_http_server *server, struct kp_err *err);
void kp_http_server_stop(struct kp_http_server *server);                    /* any thread */
void kp_http_server_resume(struct kp_http_server *server, uint64_t ticket); /* any thread */
struct kp_http_counters kp_http_server_counters(const struct kp_http_server *server);
