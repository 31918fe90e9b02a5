/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 heads (RFC 9112), parsed strictly and without copying: lines end in CRLF, no folding,
 * no white space before the colon, one Host, at most one Content-Length and never beside
 * Transfer-Encoding. Whatever two parsers might read differently is refused. Pure functions.
 */
#pragma once

#include "core/slice.h"

#include <stdbool.h>

#define KP_HTTP_HEAD_MAX 16384
#define KP_HTTP_TARGET_MAX 8192
#define KP_HTTP_FIELDS_MAX 64

struct kp_http_field {
    struct kp_slice name, value;
};
struct kp_http_head {            /* slices point into the bytes that were parsed */
    struct kp_slice method;      /* of a request */
    struct kp_slice target;      /* as sent */
    struct kp_slice path, query; /* of target, undecoded; query without '?' */
    unsigned status;             /* of a response */
    unsigned minor;              /* HTTP/1.minor */
    struct kp_http_field fields[KP_HTTP_FIELDS_MAX];
    size_t field_count;
    bool keep_alive; /* by version and Connection */
    bool has_length; /* Content-Length is there */
    bool chunked;    /* Transfer-Encoding: chunked */
    uint64_t length; /* Content-Length */
    size_t size;     /* bytes of the head, with its empty line */
};

/* 0: complete; KP_HTTP_MORE: read on; else the status to refuse it with (400, 414, 431, 501, 505).
 * Heads are at most KP_HTTP_HEAD_MAX long: MORE is never returned from there on. */
#define KP_HTTP_MORE 1
int kp_http_parse_request(struct kp_http_head *out, struct kp_slice bytes);
/* 0, KP_HTTP_MORE, or 400 for whatever is wrong. */
int kp_http_parse_response(struct kp_http_head *out, struct kp_slice bytes);
/* The value of the first field of that name (letter case ignored); ptr NULL where there is none. */
struct kp_slice kp_http_field(const struct kp_http_head *head, const char *name);
/* True where the comma-separated list of the field holds that token. */
bool kp_http_has_token(struct kp_slice list, const char *token);

enum kp_http_range { KP_RANGE_WHOLE, KP_RANGE_PART, KP_RANGE_UNSATISFIABLE };
/* RFC 9110 §14: one range of bytes of something `size` long. Several ranges, other units and
 * nonsense mean the whole; a backward or outlying range is unsatisfiable. */
enum kp_http_range kp_http_range(struct kp_slice value, uint64_t size, uint64_t *first,
                                 uint64_t *length);
/* Percent-decoding; false on a bad escape, a NUL, or more than max bytes with the final NUL. */
bool kp_http_decode(struct kp_slice text, bool plus_is_blank, char *out, size_t max);
/* The decoded value of a query parameter; false where it is not there or malformed. */
bool kp_http_query(struct kp_slice query, const char *name, char *out, size_t max);
const char *kp_http_status_text(unsigned status);
