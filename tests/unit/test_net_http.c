/* SPDX-License-Identifier: Apache-2.0 */
#include "core/buf.h"
#include "net/census.h"
#include "net/http.h"
#include "net/net.h"
#include "net/url.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define HOST "Host: a\r\n"

Test(net_http, requests_by_their_flaw)
{
    static const struct {
        const char *what, *text;
        int status;
    } table[] = {
        {"plain", "GET / HTTP/1.1\r\n" HOST "\r\n", 0},
        {"1.0 without Host", "GET / HTTP/1.0\r\n\r\n", 0},
        {"absolute form", "GET http://x/v2/ HTTP/1.1\r\n" HOST "\r\n", 0},
        {"not all there", "GET / HTTP/1.1\r\n" HOST, KP_HTTP_MORE},
        {"not even a line", "GE", KP_HTTP_MORE},
        {"nothing", "", KP_HTTP_MORE},
        {"bare LF", "GET / HTTP/1.1\n" HOST "\r\n", 400},
        {"bare LF ends the head", "GET / HTTP/1.1\r\n" HOST "\n", 400},
        {"bare CR", "GET / HTTP/1.1\r\nX: a\rb\r\n" HOST "\r\n", 400},
        {"folded line", "GET / HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n", 400},
        {"blank before colon", "GET / HTTP/1.1\r\n" HOST "X : a\r\n\r\n", 400},
        {"no colon", "GET / HTTP/1.1\r\n" HOST "X\r\n\r\n", 400},
        {"empty name", "GET / HTTP/1.1\r\n" HOST ": a\r\n\r\n", 400},
        {"control character", "GET / HTTP/1.1\r\n" HOST "X: \x01\r\n\r\n", 400},
        {"no Host", "GET / HTTP/1.1\r\n\r\n", 400},
        {"two Hosts", "GET / HTTP/1.1\r\n" HOST HOST "\r\n", 400},
        {"Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
        {"length and coding",
         "GET / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"two lengths", "GET / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
         400},
        {"signed length", "GET / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\n", 400},
        {"list of lengths", "GET / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\n", 400},
        {"hex length", "GET / HTTP/1.1\r\n" HOST "Content-Length: 0x1\r\n\r\n", 400},
        {"huge length", "GET / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999\r\n\r\n",
         400},
        {"unknown coding", "GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n",
         501},
        {"coding in 1.0", "GET / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", 400},
        {"HTTP/2", "PRI * HTTP/2.0\r\n\r\n", 400},
        {"future version", "GET / HTTP/3.0\r\n" HOST "\r\n", 505},
        {"no version", "GET /\r\n" HOST "\r\n", 400},
        {"two blanks", "GET  / HTTP/1.1\r\n" HOST "\r\n", 400},
        {"blank at the end", "GET / HTTP/1.1 \r\n" HOST "\r\n", 400},
        {"lower case http", "GET / http/1.1\r\n" HOST "\r\n", 400},
        {"fragment", "GET /#a HTTP/1.1\r\n" HOST "\r\n", 400},
        {"high byte in target", "GET /\xff HTTP/1.1\r\n" HOST "\r\n", 400},
        {"leading empty line", "\r\nGET / HTTP/1.1\r\n" HOST "\r\n", 400},
        {"method with a colon", "G:T / HTTP/1.1\r\n" HOST "\r\n", 400},
    };
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        struct kp_http_head head;
        int status = kp_http_parse_request(&head, kp_slice_of(table[i].text));
        cr_expect_eq(status, table[i].status, "%s: %d", table[i].what, status);
    }
}

Test(net_http, a_nul_is_refused)
{
    struct kp_http_head head;
    static const char text[] = "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n";
    cr_expect_eq(kp_http_parse_request(&head, (struct kp_slice){text, sizeof(text) - 1}), 400);
}

Test(net_http, limits)
{
    struct kp_http_head head;
    static char text[KP_HTTP_HEAD_MAX + 1];
    memset(text, 'a', sizeof(text));
    memcpy(text, "GET /", 5);
    cr_expect_eq(kp_http_parse_request(&head, (struct kp_slice){text, KP_HTTP_HEAD_MAX}), 431);
    cr_expect_eq(kp_http_parse_request(&head, (struct kp_slice){text, KP_HTTP_HEAD_MAX - 1}),
                 KP_HTTP_MORE);
    memcpy(text + KP_HTTP_TARGET_MAX + 10, " HTTP/1.1\r\n" HOST "\r\n", 22);
    cr_expect_eq(kp_http_parse_request(&head, (struct kp_slice){text, sizeof(text)}), 414);
    struct kp_buf many = KP_BUF(KP_HTTP_HEAD_MAX);
    kp_buf_adds(&many, "GET / HTTP/1.1\r\n" HOST);
    for (int i = 0; i < KP_HTTP_FIELDS_MAX; i++)
        kp_buf_adds(&many, "X: y\r\n");
    kp_buf_adds(&many, "\r\n");
    cr_expect_eq(kp_http_parse_request(&head, kp_buf_slice(&many)), 431);
    kp_buf_release(&many);
}

Test(net_http, parts_of_a_request)
{
    struct kp_http_head head;
    const char *text = "HEAD /v2/a/tags/list?n=2&last=x%2By HTTP/1.1\r\nhost:  b \r\n"
                       "Connection: foo, Close\r\n\r\nGET";
    cr_assert_eq(kp_http_parse_request(&head, kp_slice_of(text)), 0);
    char value[16];
    cr_expect(kp_slice_equal(head.method, "HEAD"));
    cr_expect(kp_slice_equal(head.path, "/v2/a/tags/list"));
    cr_expect(kp_slice_equal(kp_http_field(&head, "HOST"), "b"));
    cr_expect(!head.keep_alive);
    cr_expect_eq(head.size, strlen(text) - 3);
    cr_expect(kp_http_query(head.query, "last", value, sizeof(value)));
    cr_expect_str_eq(value, "x+y");
    cr_expect(!kp_http_query(head.query, "la", value, sizeof(value)));
}

Test(net_http, responses)
{
    static const struct {
        const char *text;
        int result;
        unsigned status;
    } table[] = {{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", 0, 200},
                 {"HTTP/1.1 404\r\n\r\n", 0, 404},
                 {"HTTP/1.1 200 OK\r\n", KP_HTTP_MORE, 0},
                 {"HTTP/2 200\r\n\r\n", 400, 0},
                 {"ICY 200 OK\r\n\r\n", 400, 0},
                 {"HTTP/1.1 20x OK\r\n\r\n", 400, 0},
                 {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", 400, 0}};
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        struct kp_http_head head;
        cr_expect_eq(kp_http_parse_response(&head, kp_slice_of(table[i].text)), table[i].result,
                     "%s", table[i].text);
        if (table[i].result == 0)
            cr_expect_eq(head.status, table[i].status);
    }
}

Test(net_http, ranges)
{
    static const struct {
        const char *value;
        uint64_t size;
        enum kp_http_range kind;
        uint64_t first, length;
    } table[] = {
        {"bytes=500-1499", 2048, KP_RANGE_PART, 500, 1000},
        {"bytes=500-", 2048, KP_RANGE_PART, 500, 1548},
        {"bytes=-500", 2048, KP_RANGE_PART, 1548, 500},
        {"bytes=-5000", 2048, KP_RANGE_PART, 0, 2048},
        {"bytes=2000-5000", 2048, KP_RANGE_PART, 2000, 48},
        {"bytes=0-0", 2048, KP_RANGE_PART, 0, 1},
        {"Bytes=2047-2047", 2048, KP_RANGE_PART, 2047, 1},
        {"bytes=500-0", 2048, KP_RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=5000-10000", 2048, KP_RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=2048-", 2048, KP_RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=-0", 2048, KP_RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=0-", 0, KP_RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=0-1,5-6", 2048, KP_RANGE_WHOLE, 0, 0},
        {"bytes=-", 2048, KP_RANGE_WHOLE, 0, 0},
        {"bytes=a-b", 2048, KP_RANGE_WHOLE, 0, 0},
        {"lines=1-2", 2048, KP_RANGE_WHOLE, 0, 0},
        {"bytes=0-18446744073709551616", 2048, KP_RANGE_WHOLE, 0, 0},
        {"", 2048, KP_RANGE_WHOLE, 0, 0},
    };
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        uint64_t first = 0, length = 0;
        enum kp_http_range kind =
            kp_http_range(kp_slice_of(table[i].value), table[i].size, &first, &length);
        cr_expect_eq(kind, table[i].kind, "%s", table[i].value);
        if (kind == KP_RANGE_PART) {
            cr_expect_eq(first, table[i].first, "%s", table[i].value);
            cr_expect_eq(length, table[i].length, "%s", table[i].value);
        }
    }
}

Test(net_http, decoding)
{
    char out[8];
    cr_expect(kp_http_decode(kp_slice_of("a%3Ab"), false, out, sizeof(out)));
    cr_expect_str_eq(out, "a:b");
    cr_expect(!kp_http_decode(kp_slice_of("%00"), false, out, sizeof(out)));
    cr_expect(!kp_http_decode(kp_slice_of("%4"), false, out, sizeof(out)));
    cr_expect(!kp_http_decode(kp_slice_of("%4g"), false, out, sizeof(out)));
    cr_expect(!kp_http_decode(kp_slice_of("12345678"), false, out, sizeof(out)));
}

Test(net_http, addresses)
{
    struct kp_net_address address;
    struct kp_err err = KP_ERR_INIT;
    static const struct {
        const char *text;
        bool ok, loopback;
        const char *shown;
    } table[] = {{"127.0.0.1:5000", true, true, "127.0.0.1:5000"},
                 {"127.8.0.1:1", true, true, "127.8.0.1:1"},
                 {"[::1]:5000", true, true, "[::1]:5000"},
                 {"10.0.0.1:5000", true, false, "10.0.0.1:5000"},
                 {":5000", true, false, "[::]:5000"},
                 {"0.0.0.0:0", true, false, "0.0.0.0:0"},
                 {"localhost:5000", false, false, ""},
                 {"::1:5000", false, false, ""},
                 {"10.0.0.1", false, false, ""},
                 {"10.0.0.1:65536", false, false, ""},
                 {"10.0.0.1:", false, false, ""}};
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        bool ok = kp_net_parse_listen(table[i].text, &address, &err) == 0;
        cr_assert_eq(ok, table[i].ok, "%s", table[i].text);
        if (!ok)
            continue;
        cr_expect_eq(kp_net_is_loopback(&address), table[i].loopback, "%s", table[i].text);
        cr_expect_str_eq(kp_net_address_text(&address).s, table[i].shown);
    }
}

Test(net_http, urls)
{
    struct kp_url url;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_url_parse(&url, "https://[fd00::1]:5000/v2/?a=b", &err), 0, "%s", err.message);
    cr_expect_str_eq(url.host, "fd00::1");
    cr_expect_str_eq(url.authority, "[fd00::1]:5000");
    cr_expect_str_eq(url.path, "/v2/?a=b");
    cr_expect_eq(url.port, 5000);
    cr_assert_eq(kp_url_parse(&url, "http://mirror?x", &err), 0);
    cr_expect_eq(url.port, 80);
    cr_expect_str_eq(url.path, "/?x");
    static const char *const bad[] = {
        "ftp://a/",         "https:///x",     "https://u:p@a/",   "https://a b/", "https://a:0/",
        "https://a:70000/", "https://a/\r\n", "https://fd00::1/", "https://a/#x", "a"};
    for (size_t i = 0; i < KP_COUNT(bad); i++)
        cr_expect_eq(kp_url_parse(&url, bad[i], &err), -1, "%s", bad[i]);
}

Test(net_http, census_counts_all_and_each)
{
    struct kp_net_address a, b, a6, b6;
    kp_auto(kp_census) census = kp_census_new(3, 2);
    cr_assert(kp_net_parse_ip("10.0.0.1", &a) && kp_net_parse_ip("10.0.0.2", &b));
    cr_assert(kp_net_parse_ip("fd00::1", &a6) && kp_net_parse_ip("fd00::2", &b6));
    cr_expect(kp_census_enter(census, &a) && kp_census_enter(census, &a));
    cr_expect(!kp_census_enter(census, &a), "a third from one address");
    cr_expect(kp_census_enter(census, &b));
    cr_expect(!kp_census_enter(census, &b), "a fourth in all");
    kp_census_leave(census, &a);
    kp_census_leave(census, &a);
    kp_census_leave(census, &b);
    cr_expect(kp_census_enter(census, &a6) && kp_census_enter(census, &b6));
    cr_expect(!kp_census_enter(census, &a6), "one /64 is one host");
}
