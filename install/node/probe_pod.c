/* SPDX-License-Identifier: Apache-2.0 */
/* knode as the probe image's program: what runs inside pods in the final verification. */
#include "install/node/node.h"

#include "core/file.h"
#include "core/interrupt.h"
#include "core/text.h"
#include "net/http_client.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define BODY_MAX ((size_t)4096)
#define REQUEST_SECONDS 2

static const char *own_name(void)
{
    const char *name = getenv("HOSTNAME");
    return name && *name ? name : "unknown";
}

static int open_listener(uint16_t port)
{
    int on = 1, off = 0;
    kp_auto_fd int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 all6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_in all4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (fd >= 0 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
        bind(fd, (const struct sockaddr *)&all6, sizeof(all6)) == 0 && listen(fd, 128) == 0)
        return kp_steal_fd(&fd);
    // A node without IPv6.
    kp_auto_fd int plain = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (plain >= 0 && setsockopt(plain, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
        bind(plain, (const struct sockaddr *)&all4, sizeof(all4)) == 0 && listen(plain, 128) == 0)
        return kp_steal_fd(&plain);
    return -1;
}

static void answer(int fd)
{
    char request[4096];
    size_t len = 0;
    double until = kp_now() + REQUEST_SECONDS;
    while (len < sizeof(request) && !memmem(request, len, "\r\n\r\n", 4)) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        double left = until - kp_now();
        if (left <= 0 || poll(&ready, 1, (int)(left * 1000) + 1) <= 0)
            return;
        ssize_t n = read(fd, request + len, sizeof(request) - len);
        if (n <= 0)
            return;
        len += (size_t)n;
    }
    dprintf(fd,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\nConnection: "
            "close\r\n\r\n%s\n",
            strlen(own_name()) + 1, own_name());
    shutdown(fd, SHUT_WR);
}

int kp_node_probe_server(uint16_t port, struct kp_err *err)
{
    kp_auto_fd int fd = open_listener(port);
    if (fd < 0)
        return kp_fail_sys(err, errno, "listen on port %u", port);
    while (!kp_interrupted()) {
        struct pollfd ready[2] = {{.fd = fd, .events = POLLIN},
                                  {.fd = kp_interrupt_fd(), .events = POLLIN}};
        if (poll(ready, 2, -1) <= 0 || !ready[0].revents)
            continue;
        kp_auto_fd int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        if (peer >= 0)
            answer(peer);
    }
    return 0;
}

static json_t *outcome(bool ok, double began, const struct kp_err *err)
{
    json_t *out = json_pack("{s:b, s:f}", "ok", (int)ok, "seconds", kp_now() - began);
    if (!ok) {
        json_object_set_new(out, "reason", json_string(err->reason ? err->reason : "failed"));
        json_object_set_new(out, "message", kp_node_json_text(kp_slice_of(err->message)));
    }
    return out;
}

static json_t *try_name(const char *name)
{
    struct kp_net_addresses found = {0};
    struct kp_err err = KP_ERR_INIT;
    double began = kp_now();
    bool ok = kp_net_resolve(&found, name, 0, NULL, &err) == 0;
    json_t *out = outcome(ok, began, &err), *list = json_array();
    for (size_t i = 0; ok && i < found.count; i++)
        json_array_append_new(list, json_string(kp_net_host_text(&found.items[i]).s));
    json_object_set_new(out, "name", json_string(name));
    json_object_set_new(out, "addresses", list);
    return out;
}

static json_t *try_url(const char *url)
{
    struct kp_http_settings settings = {.connect_timeout = 5, .stall_seconds = 5};
    kp_auto(kp_http_client) client = NULL;
    kp_auto_free char *body = NULL;
    struct kp_err err = KP_ERR_INIT;
    size_t len = 0;
    double began = kp_now();
    bool ok = kp_http_client_new(&client, &settings, &err) == 0 &&
              kp_http_get_text(client, url, BODY_MAX, &body, &len, &err) == 0;
    json_t *out = outcome(ok, began, &err);
    json_object_set_new(out, "url", json_string(url));
    json_object_set_new(out, "body",
                        kp_node_json_text(kp_slice_trim((struct kp_slice){body ? body : "", len})));
    return out;
}

int kp_node_probe_client(const char *const *names, const char *const *urls, bool *all_well,
                         struct kp_err *err)
{
    json_t *dns = json_array(), *get = json_array();
    kp_auto_json out =
        json_pack("{s:o, s:o, s:o}", "host", kp_node_json_text(kp_slice_of(own_name())), "dns", dns,
                  "get", get);
    *all_well = true;
    for (; *names; names++)
        json_array_append_new(dns, try_name(*names));
    for (; *urls; urls++)
        json_array_append_new(get, try_url(*urls));
    for (size_t i = 0; i < json_array_size(dns) + json_array_size(get); i++) {
        const json_t *one = i < json_array_size(dns)
                                ? json_array_get(dns, i)
                                : json_array_get(get, i - json_array_size(dns));
        *all_well = *all_well && json_is_true(json_object_get(one, "ok"));
    }
    kp_auto_free char *text = kp_json_dump(out, true);
    return kp_write_full(STDOUT_FILENO, text, strlen(text), err);
}

int kp_node_probe_volume(const char *folder, struct kp_err *err)
{
    kp_auto_free char *path = kp_path_join(folder, "kpack-check"), *seen = NULL;
    kp_auto_free char *text = kp_asprintf("%s %f\n", own_name(), kp_now());
    size_t len;
    if (kp_file_write_atomic(path, kp_slice_of(text), 0600, err) < 0 ||
        kp_file_read(path, BODY_MAX, &seen, &len, err) < 0)
        return -1;
    if (unlink(path) < 0)
        return kp_fail_sys(err, errno, "remove %s", path);
    return strcmp(seen, text) == 0
               ? 0
               : kp_fail(err, KP_FAILED, "%s has not what was written into it", path);
}
