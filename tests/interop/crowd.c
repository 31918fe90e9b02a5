/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crowd URL CA_FILE PID IDLE SLOW HALF REQUESTS: holds IDLE silent TLS connections, SLOW ones that
 * asked for URL and do not read, HALF ones that stopped in the middle of a head; then fetches URL
 * REQUESTS times as an ordinary client. Fails unless each of these is complete and every connection
 * of the crowd could be made. Prints the server's (PID) anonymous memory with all of them open.
 */
#include "core/file.h"
#include "core/text.h"
#include "net/http_client.h"
#include "net/tls.h"
#include "net/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

struct member {
    int fd;
    SSL *ssl;
};

static void die(const struct kp_err *err)
{
    fprintf(stderr, "crowd: %s\n", err->message);
    exit(1);
}

static void join_crowd(struct member *m, SSL_CTX *ctx, const struct kp_url *url,
                       const struct kp_net_address *address, const char *say)
{
    struct kp_err err = KP_ERR_INIT;
    if (kp_net_connect(&m->fd, address, 30, &err) < 0 ||
        kp_tls_connect(&m->ssl, ctx, m->fd, url->host, kp_now() + 60, &err) < 0)
        die(&err);
    if (say && SSL_write(m->ssl, say, (int)strlen(say)) <= 0) {
        fprintf(stderr, "crowd: the server closed a connection early\n");
        exit(1);
    }
}

/* RssAnon of the process in kB. */
static uint64_t anonymous_memory(const char *pid)
{
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *path = kp_asprintf("/proc/%s/status", pid), *text = NULL;
    size_t len;
    if (kp_file_read(path, 65536, &text, &len, &err) < 0)
        die(&err);
    struct kp_slice rest = {text, len}, line, number;
    uint64_t kb = 0;
    while (kp_slice_line(&rest, &line))
        if (kp_slice_starts(line, "RssAnon:")) {
            line.ptr += 8;
            line.len -= 8;
            line = kp_slice_trim(line);
            if (kp_slice_cut(&line, ' ', &number))
                (void)kp_parse_u64(number, UINT64_MAX, &kb);
        }
    return kb;
}

static void be_served(const struct kp_http_settings *settings, const char *url, uint64_t requests)
{
    struct kp_err err = KP_ERR_INIT;
    kp_auto(kp_http_client) client = NULL;
    if (kp_http_client_new(&client, settings, &err) < 0)
        die(&err);
    for (uint64_t i = 0; i < requests; i++) {
        struct kp_http_get get = {.url = url, .max = (uint64_t)1 << 40};
        if (kp_http_get(client, &get, NULL, &err) < 0)
            die(&err);
    }
}

int main(int argc, char **argv)
{
    uint64_t n[4];
    struct kp_err err = KP_ERR_INIT;
    struct kp_url url;
    struct kp_net_address address;
    struct kp_http_settings settings = {0};
    struct rlimit files = {65536, 65536};
    kp_auto_free char *pem = NULL;
    kp_net_init();
    setrlimit(RLIMIT_NOFILE, &files);
    for (int i = 0; i < 4; i++)
        if (argc != 8 || !kp_parse_u64(kp_slice_of(argv[4 + i]), 20000, &n[i]))
            return fprintf(stderr, "crowd URL CA_FILE PID IDLE SLOW HALF REQUESTS\n"), 2;
    if (kp_file_read(argv[2], 65536, &pem, &settings.ca.len, &err) < 0 ||
        kp_url_parse(&url, argv[1], &err) < 0)
        die(&err);
    settings.ca.ptr = pem;
    if (!kp_net_parse_ip(url.host, &address))
        return fprintf(stderr, "crowd: the host must be an address\n"), 2;
    kp_net_set_port(&address, url.port);
    kp_auto_tls_context ctx = NULL;
    if (kp_tls_client_new(&ctx, settings.ca, &err) < 0)
        die(&err);
    kp_auto_free char *whole = kp_asprintf("GET %s HTTP/1.1\r\nHost: x\r\n\r\n", url.path);
    const char *says[3] = {NULL, whole, "GET /v2/ HTTP/1.1\r\nHos"};
    struct member *members = kp_alloc_array(n[0] + n[1] + n[2] + 1, sizeof(*members));
    size_t count = 0;
    uint64_t before = anonymous_memory(argv[3]);
    be_served(&settings, argv[1], 1);
    for (int kind = 0; kind < 3; kind++)
        for (uint64_t i = 0; i < n[kind]; i++)
            join_crowd(&members[count++], ctx, &url, &address, says[kind]);
    be_served(&settings, argv[1], n[3]);
    printf("crowd: %zu connections open, %llu requests served beside them; anonymous memory of the "
           "server %.1f MB (%.1f MB before)\n",
           count, (unsigned long long)n[3], (double)anonymous_memory(argv[3]) / 1024,
           (double)before / 1024);
    for (size_t i = 0; i < count; i++)
        SSL_free(members[i].ssl);
    kp_free(members);
    return 0;
}
