/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the server: one connection as a state machine, run by its worker's event loop. */
#pragma once

#include "net/census.h"
#include "net/http_server.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <openssl/ssl.h>

#define KP_SCRATCH_SIZE ((size_t)256 << 10)

struct kp_connection;
struct kp_worker { /* owned by server.c; everything here belongs to the worker's thread */
    struct event_base *base;
    const struct kp_http_server_settings *settings;
    struct kp_census *census;
    struct kp_connection *connections; /* list */
    char *scratch;                     /* KP_SCRATCH_SIZE: reads and body blocks pass through */
    unsigned index;                    /* high bits of its tickets */
    uint64_t next_id;
    bool draining;
    unsigned load; /* connections, for the acceptor; atomic */
};

/* Takes over fd (accepted, non-blocking) and its place in the census. tls NULL: plain. */
void kp_connection_start(struct kp_worker *worker, int fd, const struct kp_net_address *peer,
                         SSL_CTX *tls);
void kp_connection_resume(struct kp_worker *worker, uint64_t ticket);
/* Closes those whose time is up; with draining set also those between requests. */
void kp_connections_check(struct kp_worker *worker, double now);
void kp_connections_close_all(struct kp_worker *worker);
