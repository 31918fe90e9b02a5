/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/fetch_rules.h"

#include "pack/fetch_http.h"

#include <criterion/criterion.h>

/* 2026-11-23T21:00:00Z */
#define NOW ((time_t)1795467600)

static void feed(struct kp_reply *answer, const char *text)
{
    struct kp_slice rest = kp_slice_of(text);
    const char *end;
    kp_reply_reset(answer);
    while ((end = memchr(rest.ptr, '\n', rest.len))) {
        struct kp_slice line = {rest.ptr, (size_t)(end + 1 - rest.ptr)};
        cr_assert(kp_reply_header(answer, line, NOW));
        rest.ptr += line.len;
        rest.len -= line.len;
    }
}

Test(fetch, headers)
{
    struct kp_reply a = {0};
    feed(&a, "HTTP/1.1 206 Partial\r\ncontent-length: 50\r\nContent-Range: bytes 10-59/60\r\n"
             "ETag: \"x\"\r\nLast-Modified: Mon, 23 Nov 2026 20:00:00 GMT\r\nRetry-After: 7\r\n"
             "Content-Type: Application/JSON; charset=utf-8\r\nDocker-Content-Digest: sha256:1\r\n"
             "WWW-Authenticate: Basic realm=\"a\"\r\nwww-authenticate: Bearer realm=\"b\"\r\n"
             "Location: /x?y=z\r\n\r\n");
    cr_assert(a.has_length && a.length == 50);
    cr_assert(a.has_range && a.first == 10 && a.range_total == 60);
    cr_assert_str_eq(a.etag, "\"x\"");
    cr_assert_str_eq(a.content_type, "application/json");
    cr_assert_str_eq(a.content_digest, "sha256:1");
    cr_assert_str_eq(a.location, "/x?y=z");
    cr_assert_eq(a.retry_after, 7);
    cr_assert_str_eq(a.challenge.data, "Basic realm=\"a\"\nBearer realm=\"b\"");
    cr_assert(!a.encoded);
    feed(&a, "HTTP/1.1 416 No\r\nContent-Range: bytes */60\r\nETag: W/\"weak\"\r\n"
             "Content-Encoding: gzip\r\nContent-Length: -4\r\n\r\n");
    cr_assert(!a.has_range && a.range_total == 60);
    cr_assert_str_eq(a.etag, "", "weak ones are no help for ranges");
    cr_assert(a.encoded && !a.has_length);
    cr_assert_eq(a.challenge.len, 0, "of the last answer");
    kp_reply_release(&a);
}

Test(fetch, headers_have_a_limit)
{
    struct kp_reply a = {0};
    char line[1000];
    kp_reply_reset(&a);
    memset(line, 'x', sizeof(line));
    line[1] = ':';
    size_t n = 0;
    while (n < 10000 && kp_reply_header(&a, (struct kp_slice){line, sizeof(line)}, NOW))
        n++;
    cr_assert_eq(n, KP_HTTP_HEADERS_MAX / sizeof(line));
    kp_reply_release(&a);
}

Test(fetch, overlong_values_are_left_out)
{
    struct kp_reply a = {0};
    kp_auto_value(kp_buf) text = KP_BUF(100000);
    kp_buf_adds(&text, "HTTP/1.1 302 Found\r\nLocation: /");
    for (int i = 0; i < KP_HTTP_LOCATION_MAX; i++)
        kp_buf_adds(&text, "a");
    kp_buf_adds(&text, "\r\n");
    feed(&a, text.data);
    cr_assert_str_eq(a.location, "");
    kp_reply_release(&a);
}

Test(fetch, retry_after)
{
    static const struct {
        const char *value;
        double seconds;
    } table[] = {
        {"0", 0},
        {"120", 120},
        {"-1", -1},
        {"1.5", -1},
        {"", -1},
        {"soon", -1},
        {"Mon, 23 Nov 2026 21:00:30 GMT", 30},
        {"Mon, 23 Nov 2026 20:00:00 GMT", 0},
        {"Mon, 23 Nov 2026 21:00:30 GMT x", -1},
        {"99999999999999999999", -1},
    };
    for (size_t i = 0; i < KP_COUNT(table); i++)
        cr_expect_eq(kp_retry_after(kp_slice_of(table[i].value), NOW), table[i].seconds, "%s",
                     table[i].value);
}

Test(fetch, which_statuses_pass)
{
    static const unsigned passing[] = {408, 425, 429, 500, 502, 503, 504};
    static const unsigned lasting[] = {200, 206, 301, 400, 401, 403, 404, 410, 416, 501, 505};
    for (size_t i = 0; i < KP_COUNT(passing); i++)
        cr_expect(kp_status_passing(passing[i]), "%u", passing[i]);
    for (size_t i = 0; i < KP_COUNT(lasting); i++)
        cr_expect(!kp_status_passing(lasting[i]), "%u", lasting[i]);
}

Test(fetch, backoff)
{
    cr_assert_eq(kp_backoff(0.5, 1), 0.5);
    cr_assert_eq(kp_backoff(0.5, 2), 1);
    cr_assert_eq(kp_backoff(0.5, 6), 16);
    cr_assert_eq(kp_backoff(0.5, 1000), KP_BACKOFF_MAX);
}

Test(fetch, shown_url_has_no_secrets)
{
    static const char *const table[][2] = {
        {"https://a.io/x", "https://a.io/x"},
        {"https://a.io/x?signature=1#f", "https://a.io/x"},
        {"https://ann:pw@a.io/x", "https://a.io/x"},
        {"https://ann:p@w@a.io:8443/x@y?z", "https://a.io:8443/x@y"},
        {"https://a.io?x@y", "https://a.io"},
        {"#https://t:p@a.io/x?s=1#f", ""},
        {"/x?https://t:p@a.io/", "/x"},
    };
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        kp_auto_free char *shown = kp_url_shown(table[i][0]);
        cr_expect_str_eq(shown, table[i][1]);
    }
}

Test(fetch, each_failure_has_its_reason)
{
    static const struct {
        unsigned status;
        const char *reason;
    } table[] = {{404, "not_found"},    {410, "not_found"},    {401, "unauthorized"},
                 {403, "unauthorized"}, {429, "rate_limited"}, {503, "server_error"},
                 {418, "bad_status"}};
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        struct kp_err err = KP_ERR_INIT;
        cr_assert_eq(kp_status_fail(table[i].status, "https://a.io/x", "a.io", &err), -1);
        cr_expect_str_eq(err.reason, table[i].reason);
        cr_expect(strstr(err.message, "https://a.io/x"));
        cr_expect(err.hint[0]);
    }
}
