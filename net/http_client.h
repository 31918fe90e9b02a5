/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small blocking HTTP/1.1 client: GET and HEAD, TLS verified against the given CA only (host name
 * or IP address must be in the certificate's SAN), ranges, bounded bodies. One client is used by
 * one thread; it keeps its last connection open, so that several GETs to one server share it.
 * Redirects are not followed. Ends early with reason "interrupted" once kp_interrupted().
 * Call kp_net_init (net/net.h) first in main.
 */
#pragma once

#include "net/net.h"

struct kp_http_settings {
    struct kp_slice ca; /* PEM, any number of certificates; copied. Empty: https is refused */
    struct kp_net_resolving resolving;
    double connect_timeout; /* seconds for TCP and TLS, per address; 0: 10 */
    double stall_seconds; /* a reply or body slower than stall_bytes per stall_seconds fails with */
    uint64_t stall_bytes; /* reason "timeout"; 0: 30 seconds, 1024 bytes */
    const char *user_agent; /* borrowed; NULL: "kpack/<version>" */
};

struct kp_http_client;
KP_CHECK int kp_http_client_new(struct kp_http_client **out,
                                const struct kp_http_settings *settings, struct kp_err *err);
void kp_http_client_free(struct kp_http_client *client);
KP_DEFINE_AUTO(kp_http_client);

struct kp_http_header {
    const char *name, *value;
};
/* Gets body bytes in order; -1 with err set ends the transfer (and closes the connection). */
typedef int kp_http_sink(void *user, const void *data, size_t len, struct kp_err *err);

struct kp_http_get {
    const char *url; /* "https://host[:port]/path?query", "http://…", "https://[::1]:5000/…" */
    bool head;       /* HEAD: no body, sink is not called */
    uint64_t
        offset; /* > 0: Range from here; a reply that ignores it fails with reason "no_range" */
    uint64_t length; /* > 0: only so many bytes from offset */
    uint64_t max;    /* longest body; more fails with reason "too_large"; 0: 16 MiB */
    const struct kp_http_header *headers; /* added to the request */
    size_t header_count;
    kp_http_sink *sink; /* NULL: the body is read and dropped */
    void *user;
};
struct kp_http_reply {
    unsigned status; /* 0 where no reply came */
    uint64_t length; /* body bytes of this reply (HEAD: what GET would send) */
    uint64_t first;  /* of a 206: offset of the first byte */
    uint64_t total;  /* of a 206: whole size; else = length */
    char content_type[128];
    char digest[80]; /* Docker-Content-Digest, or "" */
    char etag[96];
};
/* Whole exchange. 0 only for a 200 or 206 whose body came completely. Any other status: -1,
 * KP_FAILED (404 and 410: KP_MISSING), reason "http_status", reply->status set, the server's words
 * in the message. Other reasons: "refused" "unreachable" "unknown_host" "timeout" "tls"
 * (certificate or handshake) "closed" (cut off in the middle) "bad_reply" "too_large" "no_range"
 * "interrupted". reply may be NULL. An idle kept connection that the server has closed is replaced
 * once, silently. */
KP_CHECK int kp_http_get(struct kp_http_client *client, const struct kp_http_get *get,
                         struct kp_http_reply *reply, struct kp_err *err);
/* A whole body in memory; *out is NUL-terminated beyond *len, kp_free. max as in kp_http_get. */
KP_CHECK int kp_http_get_text(struct kp_http_client *client, const char *url, size_t max,
                              char **out, size_t *len, struct kp_err *err);
