/* SPDX-License-Identifier: Apache-2.0 */
#include "net/net.h"

#include "core/interrupt.h"
#include "core/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void kp_net_init(void)
{
    OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static const struct sockaddr_in *as_v4(const struct kp_net_address *address)
{
    return (const struct sockaddr_in *)(const void *)&address->storage;
}

static const struct sockaddr_in6 *as_v6(const struct kp_net_address *address)
{
    return (const struct sockaddr_in6 *)(const void *)&address->storage;
}

struct kp_net_text kp_net_host_text(const struct kp_net_address *address)
{
    struct kp_net_text text = {"?"};
    if (address->storage.ss_family == AF_INET) {
        inet_ntop(AF_INET, &as_v4(address)->sin_addr, text.s, sizeof(text.s));
        return text;
    }
    if (address->storage.ss_family != AF_INET6)
        return text;
    const struct in6_addr *v6 = &as_v6(address)->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(v6))
        inet_ntop(AF_INET, &v6->s6_addr[12], text.s, sizeof(text.s));
    else
        inet_ntop(AF_INET6, v6, text.s, sizeof(text.s));
    return text;
}

struct kp_net_text kp_net_address_text(const struct kp_net_address *address)
{
    struct kp_net_text host = kp_net_host_text(address), text;
    bool v6 = strchr(host.s, ':') != NULL;
    snprintf(text.s, sizeof(text.s), "%s%.60s%s:%u", v6 ? "[" : "", host.s, v6 ? "]" : "",
             (unsigned)kp_net_port(address));
    return text;
}

bool kp_net_is_loopback(const struct kp_net_address *address)
{
    if (address->storage.ss_family == AF_INET)
        return ntohl(as_v4(address)->sin_addr.s_addr) >> 24 == 127;
    return address->storage.ss_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&as_v6(address)->sin6_addr);
}

uint16_t kp_net_port(const struct kp_net_address *address)
{
    bool v4 = address->storage.ss_family == AF_INET;
    return ntohs(v4 ? as_v4(address)->sin_port : as_v6(address)->sin6_port);
}

void kp_net_set_port(struct kp_net_address *address, uint16_t port)
{
    if (address->storage.ss_family == AF_INET)
        ((struct sockaddr_in *)(void *)&address->storage)->sin_port = htons(port);
    else
        ((struct sockaddr_in6 *)(void *)&address->storage)->sin6_port = htons(port);
}

bool kp_net_parse_ip(const char *text, struct kp_net_address *out)
{
    struct kp_net_address address = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&address.storage;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&address.storage;
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        address.len = sizeof(*v4);
    } else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        address.len = sizeof(*v6);
    } else {
        return false;
    }
    *out = address;
    return true;
}

size_t kp_net_ip_bytes(const struct kp_net_address *address, uint8_t out[16])
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&address->storage;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&address->storage;
    if (address->storage.ss_family == AF_INET) {
        memcpy(out, &v4->sin_addr, sizeof(v4->sin_addr));
        return sizeof(v4->sin_addr);
    }
    memcpy(out, &v6->sin6_addr, sizeof(v6->sin6_addr));
    return sizeof(v6->sin6_addr);
}

int kp_net_split(const char *text, char *host, uint16_t *port, struct kp_err *err)
{
    const char *colon = strrchr(text, ':');
    uint64_t number = 0;
    if (!colon || !kp_parse_u64(kp_slice_of(colon + 1), 65535, &number))
        return kp_fail(err, KP_USAGE, "%s: not of the form HOST:PORT or [IPv6]:PORT", text);
    struct kp_slice name = {text, (size_t)(colon - text)};
    bool bracket = name.len >= 2 && name.ptr[0] == '[' && name.ptr[name.len - 1] == ']';
    if (bracket)
        name = (struct kp_slice){name.ptr + 1, name.len - 2};
    if (name.len >= KP_NET_HOST_MAX)
        return kp_fail(err, KP_USAGE, "%.40s…: the host is too long", text);
    if ((memchr(name.ptr, ':', name.len) != NULL) != bracket)
        return kp_fail(err, KP_USAGE, "%s: an IPv6 address is written [ADDRESS]:PORT", text);
    memcpy(host, name.ptr, name.len);
    host[name.len] = '\0';
    *port = (uint16_t)number;
    return 0;
}

int kp_net_parse_listen(const char *text, struct kp_net_address *out, struct kp_err *err)
{
    char host[KP_NET_HOST_MAX];
    uint16_t port;
    if (kp_net_split(text, host, &port, err) < 0)
        return -1;
    if (!kp_net_parse_ip(host[0] ? host : "::", out))
        return kp_fail(err, KP_USAGE, "%s: %s is not an IP address", text, host);
    kp_net_set_port(out, port);
    return 0;
}

int kp_net_wait(int fd, short events, double deadline, struct kp_err *err)
{
    for (;;) {
        if (kp_interrupt_check(err) < 0)
            return -1;
        double left = deadline - kp_now();
        if (left <= 0)
            return kp_fail_as(err, KP_FAILED, "timeout", "no answer in time");
        struct pollfd fds[2] = {{.fd = fd, .events = events},
                                {.fd = kp_interrupt_fd(), .events = POLLIN}};
        int ms = left > 3600 ? 3600000 : (int)ceil(left * 1000);
        int n = poll(fds, 2, ms);
        if (n < 0 && errno != EINTR)
            return kp_fail_sys(err, errno, "poll");
        if (n > 0 && fds[0].revents)
            return 0;
    }
}

static int fail_connect(struct kp_err *err, int sys)
{
    const char *reason = "unreachable";
    if (sys == ECONNREFUSED || sys == ECONNRESET)
        reason = "refused";
    else if (sys == ETIMEDOUT)
        reason = "timeout";
    return kp_fail_as(err, KP_FAILED, reason, "%s", kp_strerror(sys));
}

int kp_net_connect(int *fd, const struct kp_net_address *address, double timeout,
                   struct kp_err *err)
{
    kp_auto_fd int s =
        socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s < 0)
        return kp_fail_sys(err, errno, "socket");
    int one = 1;
    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    const struct sockaddr *to = (const struct sockaddr *)&address->storage;
    int n = connect(s, to, address->len);
    if (n < 0 && errno != EINPROGRESS)
        return fail_connect(err, errno);
    if (n < 0 && kp_net_wait(s, POLLOUT, kp_now() + timeout, err) < 0)
        return -1;
    int sys = 0;
    socklen_t len = sizeof(sys);
    if (getsockopt(s, SOL_SOCKET, SO_ERROR, &sys, &len) < 0 || sys)
        return fail_connect(err, sys ? sys : errno);
    *fd = kp_steal_fd(&s);
    return 0;
}
