/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ground of everything that talks over TCP: process set-up, addresses, names. Static programs
 * have no getaddrinfo; names are resolved by libevent's evdns from the hosts file and resolv.conf.
 */
#pragma once

#include "core/slice.h"
#include "core/mem.h"

#include <sys/socket.h>

#define KP_NET_HOST_MAX 256
#define KP_NET_ADDRESSES_MAX 16

/* First thing in main of a program that uses net/: OpenSSL without its configuration file (a file
 * that loads a provider makes a static program crash), SIGPIPE ignored. May be called again. */
void kp_net_init(void);

struct kp_net_address {
    struct sockaddr_storage storage;
    socklen_t len;
};
struct kp_net_text {
    char s[80];
};
/* "10.0.0.1:5000", "[fe80::1]:5000" */
struct kp_net_text kp_net_address_text(const struct kp_net_address *address);
/* The same without the port, and without brackets. */
struct kp_net_text kp_net_host_text(const struct kp_net_address *address);
bool kp_net_is_loopback(const struct kp_net_address *address); /* 127.0.0.0/8, ::1 */
uint16_t kp_net_port(const struct kp_net_address *address);
void kp_net_set_port(struct kp_net_address *address, uint16_t port);

/* An IPv4 or IPv6 literal, without brackets. */
bool kp_net_parse_ip(const char *text, struct kp_net_address *out);
/* Its 4 or 16 bytes in network order, and how many. */
size_t kp_net_ip_bytes(const struct kp_net_address *address, uint8_t out[16]);
/* "host:port" or "[v6]:port" into its halves; host has KP_NET_HOST_MAX bytes. KP_USAGE. */
KP_CHECK int kp_net_split(const char *text, char *host, uint16_t *port, struct kp_err *err);
/* "10.0.0.1:5000", "[::]:5000", ":5000" (all addresses, IPv6 and IPv4): no names. KP_USAGE. */
KP_CHECK int kp_net_parse_listen(const char *text, struct kp_net_address *out, struct kp_err *err);

struct kp_net_resolving {
    const char *hosts_file;  /* NULL: /etc/hosts */
    const char *resolv_conf; /* NULL: /etc/resolv.conf */
    double timeout;          /* seconds; 0: 10 */
};
struct kp_net_addresses {
    struct kp_net_address items[KP_NET_ADDRESSES_MAX];
    size_t count;
};
/* IP literals directly, names by the hosts file, then DNS; at least one address on success. Reason
 * "unknown_host" or "timeout". how may be NULL. */
KP_CHECK int kp_net_resolve(struct kp_net_addresses *out, const char *host, uint16_t port,
                            const struct kp_net_resolving *how, struct kp_err *err);

/* A non-blocking, connected socket with TCP_NODELAY. Reasons "refused", "timeout", "unreachable",
 * "interrupted". */
KP_CHECK int kp_net_connect(int *fd, const struct kp_net_address *address, double timeout,
                            struct kp_err *err);
/* Waits until fd is ready (POLLIN, POLLOUT), kp_interrupted or the deadline (kp_now seconds). */
KP_CHECK int kp_net_wait(int fd, short events, double deadline, struct kp_err *err);

struct kp_net_probe {
    const char *host; /* IP or name */
    uint16_t port;
    double timeout;     /* seconds for all of it; 0: 5 */
    bool tls;           /* also make a TLS handshake and check the certificate for host */
    struct kp_slice ca; /* PEM; needed where tls is set */
    const struct kp_net_resolving *resolving; /* may be NULL */
};
struct kp_net_probe_result {
    struct kp_net_text address; /* that answered */
    double seconds;
    char tls_version[16]; /* "TLSv1.3"; "" without TLS */
};
/* Can host:port be reached from here? Reasons as of kp_net_connect, kp_net_resolve and "tls". */
KP_CHECK int kp_net_probe(const struct kp_net_probe *probe, struct kp_net_probe_result *out,
                          struct kp_err *err);
