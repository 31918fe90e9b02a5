/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Op probe: can this be reached from here? Questions, one key each:
 *   {"tcp": "host:port"}              {"tls": "host:port", "ca": pem}
 *   {"https": url, "ca": pem}         {"http": url}
 *   {"dns": name, "server": ip}       server left out: by /etc/resolv.conf; the hosts file is asked
 * not
 *   {"resolve": name}                 as programs would: hosts file, then DNS
 *   {"listen": port, "seconds": n}    bind it; n > 0: accept connections so long, so that others
 * can try "timeout" (seconds, 1 … 60) may be added. Answer: {"ok", "seconds"} and "reason",
 * "message" where not ok; "address" (tcp, tls), "tls", "status" and "body" (https, http; 4 KiB),
 * "addresses" (dns, resolve), "connections" (listen).
 */
#include "install/node/node.h"

#include "core/text.h"
#include "net/http_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define BODY_MAX ((size_t)4096)
#define LISTEN_MAX 600

static int probe_tcp(const json_t *question, const char *target, bool tls, double timeout,
                     json_t *answer, struct kp_err *err)
{
    char host[KP_NET_HOST_MAX];
    uint16_t port;
    struct kp_net_probe_result found;
    const char *ca = json_string_value(json_object_get(question, "ca"));
    if (kp_net_split(target, host, &port, err) < 0)
        return -1;
    struct kp_net_probe probe = {.host = host,
                                 .port = port,
                                 .timeout = timeout,
                                 .tls = tls,
                                 .ca = kp_slice_of(ca ? ca : "")};
    if (kp_net_probe(&probe, &found, err) < 0)
        return -1;
    json_object_set_new(answer, "address", json_string(found.address.s));
    if (tls)
        json_object_set_new(answer, "tls", json_string(found.tls_version));
    return 0;
}

static int keep_body(void *user, const void *data, size_t len, struct kp_err *err)
{
    struct kp_buf *body = user;
    size_t room = body->max - body->len;
    (void)err;
    kp_buf_add(body, data, len < room ? len : room);
    return 0;
}

static int probe_http(const json_t *question, const char *url, double timeout, json_t *answer,
                      struct kp_err *err)
{
    const char *ca = json_string_value(json_object_get(question, "ca"));
    kp_auto_value(kp_buf) body = KP_BUF(BODY_MAX);
    kp_auto(kp_http_client) client = NULL;
    struct kp_http_reply reply = {0};
    struct kp_http_settings settings = {
        .ca = kp_slice_of(ca ? ca : ""), .connect_timeout = timeout, .stall_seconds = timeout};
    struct kp_http_get get = {.url = url, .sink = keep_body, .user = &body};
    if (kp_http_client_new(&client, &settings, err) < 0)
        return -1;
    int failed = kp_http_get(client, &get, &reply, err);
    json_object_set_new(answer, "status", json_integer(reply.status));
    json_object_set_new(answer, "body", kp_node_json_text(kp_buf_slice(&body)));
    return failed;
}

static int probe_name(const json_t *question, const char *name, bool dns, double timeout,
                      json_t *answer, struct kp_err *err)
{
    const char *server = json_string_value(json_object_get(question, "server"));
    struct kp_net_resolving how = {.hosts_file = dns ? "/dev/null" : NULL, .timeout = timeout};
    struct kp_net_address literal;
    struct kp_net_addresses found;
    char path[64];
    kp_auto_fd int fd = -1;
    if (server) {
        if (!kp_net_parse_ip(server, &literal))
            return kp_fail_as(err, KP_USAGE, "bad_request", "server \"%s\" is not an IP address",
                              server);
        fd = memfd_create("resolv.conf", MFD_CLOEXEC);
        if (fd < 0 || dprintf(fd, "nameserver %s\n", server) < 0)
            return kp_fail_sys(err, errno, "resolver settings");
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        how.resolv_conf = path;
    }
    if (kp_net_resolve(&found, name, 0, &how, err) < 0)
        return -1;
    json_t *list = json_array();
    for (size_t i = 0; i < found.count; i++)
        json_array_append_new(list, json_string(kp_net_host_text(&found.items[i]).s));
    json_object_set_new(answer, "addresses", list);
    return 0;
}

static int accept_for(struct kp_node_request *request, int fd, double seconds, json_t *answer)
{
    json_int_t connections = 0;
    for (double until = kp_now() + seconds; kp_now() < until && !kp_node_cancelled(request);) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (poll(&ready, 1, 100) <= 0)
            continue;
        kp_auto_fd int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        connections += peer >= 0;
    }
    json_object_set_new(answer, "connections", json_integer(connections));
    return 0;
}

static int probe_listen(struct kp_node_request *request, const json_t *question, json_t *answer,
                        struct kp_err *err)
{
    uint64_t port, seconds = 0;
    struct sockaddr_in address = {.sin_family = AF_INET};
    int on = 1;
    if (kp_node_number(question, "listen", 65535, &port, err) < 0 ||
        (json_object_get(question, "seconds") &&
         kp_node_number(question, "seconds", LISTEN_MAX, &seconds, err) < 0))
        return -1;
    address.sin_port = htons((uint16_t)port);
    kp_auto_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 64) < 0)
        return kp_fail_sys(err, errno, "listen on port %llu", (unsigned long long)port);
    if (!seconds)
        return 0;
    kp_auto_json note = json_pack("{s:b}", "listening", 1);
    if (kp_node_note(request, note, err) < 0)
        return -1;
    return accept_for(request, fd, (double)seconds, answer);
}

static int ask(struct kp_node_request *request, const json_t *question, json_t *answer,
               struct kp_err *err)
{
    const json_t *given = json_object_get(question, "timeout");
    double timeout = json_is_number(given) ? json_number_value(given) : 5;
    timeout = timeout < 1 ? 1 : timeout > 60 ? 60 : timeout;
    static const char *const kinds[] = {"tcp", "tls", "https", "http", "dns", "resolve"};
    if (json_object_get(question, "listen"))
        return probe_listen(request, question, answer, err);
    for (size_t i = 0; i < KP_COUNT(kinds); i++) {
        const char *target;
        if (!json_object_get(question, kinds[i]))
            continue;
        if (kp_node_text(question, kinds[i], 2048, &target, err) < 0)
            return -1;
        if (i < 2)
            return probe_tcp(question, target, i == 1, timeout, answer, err);
        return i < 4 ? probe_http(question, target, timeout, answer, err)
                     : probe_name(question, target, i == 4, timeout, answer, err);
    }
    return kp_fail_as(err, KP_USAGE, "bad_request", "a probe of no known kind");
}

int kp_node_op_probe(struct kp_node_request *request, const json_t *args, json_t **result,
                     struct kp_err *err)
{
    const json_t *question = json_object_get(args, "question");
    kp_auto_json answer = json_object();
    struct kp_err found = KP_ERR_INIT;
    double began = kp_now();
    bool ok = ask(request, question, answer, &found) == 0;
    if (!ok && found.code == KP_USAGE) {
        *err = found;
        return -1;
    }
    json_object_set_new(answer, "ok", json_boolean(ok));
    json_object_set_new(answer, "seconds", json_real(kp_now() - began));
    if (!ok) {
        json_object_set_new(answer, "reason", json_string(found.reason ? found.reason : "failed"));
        json_object_set_new(answer, "message", kp_node_json_text(kp_slice_of(found.message)));
    }
    *result = kp_steal(&answer);
    return 0;
}
