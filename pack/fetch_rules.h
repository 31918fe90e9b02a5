/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP without I/O: what the headers and statuses of an answer mean for a download. */
#pragma once

#include "core/buf.h"
#include "core/slice.h"

#include <time.h>

#define KP_HTTP_HEADERS_MAX ((size_t)256 << 10) /* of one answer */
#define KP_BACKOFF_MAX 30.0
#define KP_HTTP_LOCATION_MAX 8192
#define KP_HTTP_CHALLENGE_MAX ((size_t)16 << 10)

/* The answer's headers, as far as a download needs them. */
struct kp_reply {
    unsigned status;
    bool has_length;
    uint64_t length; /* Content-Length */
    bool has_range;  /* Content-Range: bytes FIRST-LAST/TOTAL */
    uint64_t first;
    uint64_t range_total; /* 0: "*", also of "bytes * /TOTAL" in a 416 where has_range is false */
    double retry_after;   /* seconds; < 0: none */
    bool encoded;         /* a Content-Encoding other than identity */
    char etag[256];       /* strong ones only */
    char modified[64];
    char content_type[128];
    char content_digest[160];
    char location[KP_HTTP_LOCATION_MAX]; /* as sent; "" where missing or longer */
    struct kp_buf challenge;             /* WWW-Authenticate lines joined by '\n' */
    size_t header_bytes;
};

void kp_reply_reset(struct kp_reply *answer);
void kp_reply_release(struct kp_reply *answer);
/* Takes one header line as received, with its end; a status line begins anew. False past the
 * limits. */
bool kp_reply_header(struct kp_reply *answer, struct kp_slice line, time_t now);

/* Seconds from Retry-After (delta or HTTP date, RFC 9110 §10.2.3); < 0 where it is neither. */
double kp_retry_after(struct kp_slice value, time_t now);
/* Worth another try: 408, 425, 429 and 5xx but 501 and 505. */
bool kp_status_passing(unsigned status);
bool kp_status_redirect(unsigned status); /* 301, 302, 303, 307, 308 */
/* Seconds to wait before attempt n + 1 (n from 1): doubled each time, at most KP_BACKOFF_MAX. */
double kp_backoff(double first, unsigned attempt);
/* The error of a status that is no success; `what` is the URL as people should see it, host for the
 * hint. */
int kp_status_fail(unsigned status, const char *what, const char *host, struct kp_err *err);
/* What can go wrong before or beside a status. */
enum kp_network_failure {
    KP_NET_CERTIFICATE,
    KP_NET_UNRESOLVED,
    KP_NET_UNREACHABLE,
    KP_NET_TIMEOUT,
    KP_NET_TRUNCATED,
    KP_NET_TOO_LARGE,
    KP_NET_OTHER,
};
struct kp_network_facts {
    const char *what, *host, *why;
    uint64_t have, total;
};
int kp_network_fail(enum kp_network_failure failure, const struct kp_network_facts *facts,
                    struct kp_err *err);
/* The URL without query and fragment (they may hold signatures) and without user:password; kp_free.
 */
char *kp_url_shown(const char *url);
