/* SPDX-License-Identifier: Apache-2.0 */
#include "core/file.h"
#include "core/proc.h"
#include "net/http_client.h"
#include "net/http_server.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BIG ((uint64_t)40 << 20)

struct site {
    char folder[32], cert[64], key[64];
    struct kp_http_server *server;
    pthread_t thread;
    unsigned calls, finished, complete;
    uint64_t later; /* the ticket that was put off */
};

static int read_pattern(void *user, uint64_t offset, void *out, size_t len)
{
    (void)user;
    for (size_t i = 0; i < len; i++)
        ((unsigned char *)out)[i] = (unsigned char)((offset + i) * 131 >> 3);
    return 0;
}

static bool handle(void *user, const struct kp_http_request *request, struct kp_http_response *out)
{
    struct site *site = user;
    __atomic_add_fetch(&site->calls, 1, __ATOMIC_RELAXED);
    out->status = 200;
    if (kp_slice_equal(request->head->path, "/big")) {
        out->read = read_pattern;
        out->length = BIG;
        struct kp_slice range = kp_http_field(request->head, "Range");
        if (kp_http_range(range, BIG, &out->offset, &out->length) == KP_RANGE_PART) {
            out->status = 206;
            kp_buf_addf(&out->fields, "Content-Range: bytes %llu-%llu/%llu\r\n",
                        (unsigned long long)out->offset,
                        (unsigned long long)(out->offset + out->length - 1),
                        (unsigned long long)BIG);
        }
        return true;
    }
    if (kp_slice_equal(request->head->path, "/later") && site->later != request->ticket) {
        site->later = request->ticket;
        *out = (struct kp_http_response){.fields = out->fields, .text = out->text};
        kp_http_server_resume(site->server, request->ticket);
        return false;
    }
    if (kp_slice_equal(request->head->path, "/missing"))
        out->status = 404;
    kp_buf_addf(&out->text, "hello %.*s", (int)request->head->path.len, request->head->path.ptr);
    return true;
}

static void finished(void *user, const struct kp_http_record *record)
{
    struct site *site = user;
    __atomic_add_fetch(&site->finished, 1, __ATOMIC_RELAXED);
    if (record->complete)
        __atomic_add_fetch(&site->complete, 1, __ATOMIC_RELAXED);
}

static void *serve(void *user)
{
    struct kp_err err = KP_ERR_INIT;
    cr_expect_eq(kp_http_server_run(((struct site *)user)->server, &err), 0, "%s", err.message);
    return NULL;
}

static void make_certificate(struct site *site)
{
    snprintf(site->folder, sizeof(site->folder), "/tmp/kp-net-XXXXXX");
    cr_assert(mkdtemp(site->folder));
    snprintf(site->cert, sizeof(site->cert), "%s/cert.pem", site->folder);
    snprintf(site->key, sizeof(site->key), "%s/key.pem", site->folder);
    const char *argv[] = {"openssl",
                          "req",
                          "-x509",
                          "-newkey",
                          "ec",
                          "-pkeyopt",
                          "ec_paramgen_curve:P-256",
                          "-nodes",
                          "-days",
                          "2",
                          "-subj",
                          "/CN=kpack",
                          "-addext",
                          "subjectAltName=DNS:mirror.test,IP:127.0.0.1",
                          "-keyout",
                          site->key,
                          "-out",
                          site->cert,
                          NULL};
    int status = -1;
    struct kp_err err = KP_ERR_INIT;
    kp_auto_value(kp_buf) out = KP_BUF(65536), errors = KP_BUF(65536);
    cr_assert_eq(
        kp_proc_run(argv, NULL, (struct kp_slice){"", 0}, 60, 65536, &out, &errors, &status, &err),
        0, "%s", err.message);
    cr_assert_eq(status, 0);
}

/* Listener 0 is TLS, listener 1 plain. */
static void start(struct site *site, const struct kp_http_server_settings *limits)
{
    struct kp_err err = KP_ERR_INIT;
    struct kp_http_server_settings settings = *limits;
    kp_net_init();
    make_certificate(site);
    for (int i = 0; i < 2; i++) {
        cr_assert(kp_net_parse_ip("127.0.0.1", &settings.listen[i].address));
        settings.listen[i].tls = i == 0;
    }
    settings.listen_count = 2;
    settings.cert_file = site->cert;
    settings.key_file = site->key;
    settings.workers = 2;
    settings.handle = handle;
    settings.finished = finished;
    settings.user = site;
    cr_assert_eq(kp_http_server_new(&site->server, &settings, &err), 0, "%s", err.message);
    cr_assert_eq(pthread_create(&site->thread, NULL, serve, site), 0);
}

static void stop(struct site *site)
{
    struct kp_err err = KP_ERR_INIT;
    kp_http_server_stop(site->server);
    pthread_join(site->thread, NULL);
    kp_http_server_free(site->server);
    cr_expect_eq(kp_remove_tree(site->folder, &err), 0, "%s", err.message);
}

static unsigned port_of(const struct site *site, bool tls)
{
    return kp_net_port(kp_http_server_address(site->server, tls ? 0 : 1));
}

static void make_client(struct kp_http_client **client, struct site *site,
                        struct kp_http_settings settings)
{
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *pem = NULL;
    size_t len = 0;
    cr_assert_eq(kp_file_read(site->cert, 1 << 16, &pem, &len, &err), 0);
    settings.ca = (struct kp_slice){pem, len};
    cr_assert_eq(kp_http_client_new(client, &settings, &err), 0, "%s", err.message);
}

struct check {
    uint64_t at;
    bool wrong;
};
static int check_pattern(void *user, const void *data, size_t len, struct kp_err *err)
{
    struct check *check = user;
    (void)err;
    for (size_t i = 0; i < len; i++)
        check->wrong |=
            ((const unsigned char *)data)[i] != (unsigned char)((check->at + i) * 131 >> 3);
    check->at += len;
    return 0;
}

Test(net_server, big_body_range_and_reuse)
{
    struct site site = {0};
    struct kp_http_server_settings limits = {0};
    start(&site, &limits);
    for (int tls = 0; tls < 2; tls++) {
        struct kp_err err = KP_ERR_INIT;
        struct kp_http_reply reply;
        kp_auto(kp_http_client) client = NULL;
        make_client(&client, &site, (struct kp_http_settings){0});
        kp_auto_free char *url =
            kp_asprintf("http%s://127.0.0.1:%u/big", tls ? "s" : "", port_of(&site, tls));
        struct check check = {0};
        struct kp_http_get get = {.url = url, .max = BIG, .sink = check_pattern, .user = &check};
        cr_assert_eq(kp_http_get(client, &get, &reply, &err), 0, "%s", err.message);
        cr_expect(check.at == BIG && !check.wrong);
        get.offset = check.at = BIG - 1000003;
        cr_assert_eq(kp_http_get(client, &get, &reply, &err), 0, "%s", err.message);
        cr_expect(check.at == BIG && !check.wrong);
        cr_expect(reply.status == 206 && reply.length == 1000003 && reply.total == BIG);
        get.head = true;
        get.offset = 0;
        cr_assert_eq(kp_http_get(client, &get, &reply, &err), 0, "%s", err.message);
        cr_expect_eq(reply.length, BIG);
        get.head = false;
        get.max = 1000;
        cr_expect_eq(kp_http_get(client, &get, &reply, &err), -1);
        cr_expect_str_eq(err.reason, "too_large");
    }
    // Two clients; each opened one connection, and none again before the last refusal.
    cr_expect_eq(kp_http_server_counters(site.server).accepted, 2);
    stop(&site);
}

Test(net_server, refusals_later_and_errors)
{
    struct site site = {0};
    struct kp_http_server_settings limits = {0};
    start(&site, &limits);
    struct kp_err err = KP_ERR_INIT;
    struct kp_http_reply reply;
    kp_auto(kp_http_client) client = NULL;
    make_client(&client, &site, (struct kp_http_settings){0});
    kp_auto_free char *base = kp_asprintf("https://127.0.0.1:%u", port_of(&site, true));
    kp_auto_free char *later = kp_asprintf("%s/later", base);
    kp_auto_free char *missing = kp_asprintf("%s/missing", base);
    kp_auto_free char *text = NULL;
    size_t len = 0;
    cr_assert_eq(kp_http_get_text(client, later, 100, &text, &len, &err), 0, "%s", err.message);
    cr_expect_str_eq(text, "hello /later");
    struct kp_http_get get = {.url = missing};
    cr_expect_eq(kp_http_get(client, &get, &reply, &err), -1);
    cr_expect_eq(err.code, KP_MISSING);
    cr_expect_eq(reply.status, 404);
    cr_expect_str_eq(err.reason, "http_status");
    kp_auto_free char *again = kp_asprintf("%s/x", base);
    kp_auto_free char *text2 = NULL;
    cr_expect_eq(kp_http_get_text(client, again, 100, &text2, &len, &err), 0, "%s", err.message);
    cr_expect_eq(kp_http_server_counters(site.server).accepted, 1, "a 404 keeps the connection");
    kp_auto_free char *refused = kp_asprintf("http://127.0.0.1:%u/", 1U);
    get.url = refused;
    cr_expect_eq(kp_http_get(client, &get, NULL, &err), -1);
    cr_expect_str_eq(err.reason, "refused");
    stop(&site);
}

Test(net_server, certificates_names_and_the_hosts_file)
{
    struct site site = {0};
    struct kp_http_server_settings limits = {0};
    start(&site, &limits);
    struct kp_err err = KP_ERR_INIT;
    char hosts[64];
    snprintf(hosts, sizeof(hosts), "%s/hosts", site.folder);
    cr_assert_eq(
        kp_file_write_atomic(hosts, kp_slice_of("127.0.0.1 mirror.test other.test\n::1 six.test\n"),
                             0644, &err),
        0);
    kp_auto(kp_http_client) client = NULL;
    make_client(&client, &site,
                (struct kp_http_settings){
                    .resolving = {.hosts_file = hosts, .resolv_conf = "/dev/null", .timeout = 3}});
    kp_auto_free char *good = kp_asprintf("https://mirror.test:%u/x", port_of(&site, true));
    kp_auto_free char *other = kp_asprintf("https://other.test:%u/x", port_of(&site, true));
    kp_auto_free char *nowhere = kp_asprintf("https://nowhere.test:%u/x", port_of(&site, true));
    struct kp_http_get get = {.url = good};
    cr_expect_eq(kp_http_get(client, &get, NULL, &err), 0, "%s", err.message);
    get.url = other;
    cr_expect_eq(kp_http_get(client, &get, NULL, &err), -1, "its certificate is for mirror.test");
    cr_expect_str_eq(err.reason, "tls");
    get.url = nowhere;
    cr_expect_eq(kp_http_get(client, &get, NULL, &err), -1);
    cr_expect(strcmp(err.reason, "unknown_host") == 0 || strcmp(err.reason, "timeout") == 0);
    struct kp_net_addresses six;
    struct kp_net_resolving how = {.hosts_file = hosts, .resolv_conf = "/dev/null", .timeout = 3};
    cr_assert_eq(kp_net_resolve(&six, "six.test", 7, &how, &err), 0, "%s", err.message);
    cr_expect_str_eq(kp_net_address_text(&six.items[0]).s, "[::1]:7");
    struct kp_http_settings bare = {0};
    kp_auto(kp_http_client) trustless = NULL;
    cr_assert_eq(kp_http_client_new(&trustless, &bare, &err), 0);
    get.url = good;
    cr_expect_eq(kp_http_get(trustless, &get, NULL, &err), -1);
    cr_expect_str_eq(err.reason, "tls");
    stop(&site);
}

Test(net_server, probes)
{
    struct site site = {0};
    struct kp_http_server_settings limits = {0};
    start(&site, &limits);
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *pem = NULL;
    size_t len = 0;
    cr_assert_eq(kp_file_read(site.cert, 1 << 16, &pem, &len, &err), 0);
    struct kp_net_probe_result result;
    struct kp_net_probe probe = {.host = "127.0.0.1", .port = (uint16_t)port_of(&site, true)};
    cr_expect_eq(kp_net_probe(&probe, &result, &err), 0, "%s", err.message);
    probe.tls = true;
    probe.ca = (struct kp_slice){pem, len};
    cr_expect_eq(kp_net_probe(&probe, &result, &err), 0, "%s", err.message);
    cr_expect_str_eq(result.tls_version, "TLSv1.3");
    probe.tls = false;
    probe.port = 1;
    cr_expect_eq(kp_net_probe(&probe, &result, &err), -1);
    cr_expect_str_eq(err.reason, "refused");
    stop(&site);
}

static int dial(const struct site *site)
{
    struct kp_err err = KP_ERR_INIT;
    int fd = -1;
    cr_assert_eq(kp_net_connect(&fd, kp_http_server_address(site->server, 1), 5, &err), 0);
    return fd;
}

/* Everything until the peer closes, or max bytes, or 10 s without a byte. */
static size_t read_all(int fd, char *out, size_t max)
{
    size_t n = 0;
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    while (n + 1 < max && poll(&wait, 1, 10000) == 1) {
        ssize_t got = read(fd, out + n, max - 1 - n);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    out[n] = '\0';
    return n;
}

static void say(int fd, const char *text)
{
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

Test(net_server, raw_requests)
{
    struct site site = {0};
    struct kp_http_server_settings limits = {0};
    start(&site, &limits);
    static const struct {
        const char *request, *begins;
        bool asked; /* the handler */
    } table[] = {
        {"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 200", true},
        {"GET /a HTTP/1.0\r\n\r\n", "HTTP/1.1 200", true},
        {"GET /a HTTP/1.1\nHost: x\n\n", "HTTP/1.1 400", false},
        {"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nGET /", "HTTP/1.1 200", true},
        {"GET /a HTTP/9.9\r\nHost: x\r\n\r\n", "HTTP/1.1 505", false}};
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        char reply[4096];
        unsigned before = __atomic_load_n(&site.calls, __ATOMIC_RELAXED);
        kp_auto_fd int fd = dial(&site);
        say(fd, table[i].request);
        read_all(fd, reply, sizeof(reply));
        cr_expect(kp_starts_with(reply, table[i].begins), "%s: %s", table[i].request, reply);
        cr_expect(strstr(reply, "Connection: close"), "%s", reply);
        cr_expect_eq(__atomic_load_n(&site.calls, __ATOMIC_RELAXED) - before, table[i].asked,
                     "what follows as a body is never a request: %s", table[i].request);
    }
    stop(&site);
}

Test(net_server, pipelined_and_head)
{
    struct site site = {0};
    struct kp_http_server_settings limits = {0};
    start(&site, &limits);
    char reply[4096];
    kp_auto_fd int fd = dial(&site);
    say(fd, "HEAD /one HTTP/1.1\r\nHost: x\r\n\r\nGET /two HTTP/1.1\r\nHost: x\r\n"
            "Connection: close\r\n\r\n");
    read_all(fd, reply, sizeof(reply));
    cr_expect(strstr(reply, "Content-Length: 10"), "%s", reply);
    cr_expect(!strstr(reply, "hello /one"), "HEAD has no body");
    cr_expect(strstr(reply, "hello /two"), "%s", reply);
    stop(&site);
}

Test(net_server, times_and_limits)
{
    struct site site = {0};
    struct kp_http_server_settings limits = {
        .head_seconds = 1, .idle_seconds = 1, .per_address = 3};
    start(&site, &limits);
    char reply[4096];
    kp_auto_fd int slow = dial(&site), idle = dial(&site), third = dial(&site);
    say(slow, "GET /a HT");
    say(idle, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
    say(third, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
    struct pollfd wait = {.fd = third, .events = POLLIN};
    cr_assert_eq(poll(&wait, 1, 10000), 1);
    kp_auto_fd int fourth = dial(&site);
    cr_expect_eq(read_all(fourth, reply, sizeof(reply)), 0, "over the limit of one address");
    cr_expect_eq(read_all(slow, reply, sizeof(reply)), 0, "half a head is closed in time");
    cr_expect(read_all(idle, reply, sizeof(reply)) > 0, "answered, then closed when idle");
    cr_expect(read_all(third, reply, sizeof(reply)) > 0);
    cr_expect_eq(kp_http_server_counters(site.server).refused, 1);
    kp_auto_fd int again = dial(&site);
    say(again, "GET /a HTTP/1.0\r\n\r\n");
    cr_expect(read_all(again, reply, sizeof(reply)) > 0, "places are given back");
    stop(&site);
}

struct slow_read {
    int fd;
    size_t got;
};
static void *read_slowly(void *user)
{
    struct slow_read *r = user;
    static char block[1 << 16];
    struct pollfd wait = {.fd = r->fd, .events = POLLIN};
    while (poll(&wait, 1, 20000) == 1) {
        ssize_t n = read(r->fd, block, sizeof(block));
        if (n <= 0)
            break;
        r->got += (size_t)n;
    }
    return NULL;
}

Test(net_server, stopping_lets_running_replies_end)
{
    struct site site = {0};
    struct kp_http_server_settings limits = {0};
    start(&site, &limits);
    pthread_t reader;
    kp_auto_fd int busy = dial(&site), idle = dial(&site);
    say(idle, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
    say(busy, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
    struct pollfd wait = {.fd = busy, .events = POLLIN};
    cr_assert_eq(poll(&wait, 1, 10000), 1);
    kp_http_server_stop(site.server);
    struct slow_read slow = {.fd = busy};
    cr_assert_eq(pthread_create(&reader, NULL, read_slowly, &slow), 0);
    char reply[4096];
    read_all(idle, reply, sizeof(reply)); // ends because the idle connection is closed
    pthread_join(reader, NULL);
    cr_expect(slow.got > BIG, "%zu of %llu", slow.got, (unsigned long long)BIG);
    stop(&site);
    cr_expect_eq(site.complete, 2);
}
