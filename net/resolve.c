/* SPDX-License-Identifier: Apache-2.0 */
#include "net/net.h"

#include "core/interrupt.h"
#include "core/text.h"

#include <event2/dns.h>
#include <event2/event.h>
#include <event2/util.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define TICK_US 100000 // how soon an interrupt or the deadline is noticed

struct lookup {
    struct kp_net_addresses *out;
    struct event_base *base;
    double deadline;
    int result;
    bool done;
};

static void base_free(struct event_base **base)
{
    if (*base)
        event_base_free(*base);
}

static void dns_free(struct evdns_base **dns)
{
    if (*dns)
        evdns_base_free(*dns, 0);
}

static void event_release(struct event **event)
{
    if (*event)
        event_free(*event);
}

static void take_addresses(struct kp_net_addresses *out, const struct evutil_addrinfo *list)
{
    for (const struct evutil_addrinfo *a = list; a && out->count < KP_NET_ADDRESSES_MAX;
         a = a->ai_next) {
        if (a->ai_addrlen > sizeof(struct sockaddr_storage))
            continue;
        struct kp_net_address *item = &out->items[out->count++];
        memcpy(&item->storage, a->ai_addr, a->ai_addrlen);
        item->len = (socklen_t)a->ai_addrlen;
    }
}

static void on_answer(int result, struct evutil_addrinfo *list, void *user)
{
    struct lookup *lookup = user;
    lookup->result = result;
    lookup->done = true;
    take_addresses(lookup->out, list);
    if (list)
        evutil_freeaddrinfo(list);
    event_base_loopbreak(lookup->base);
}

static void on_tick(evutil_socket_t fd, short events, void *user)
{
    struct lookup *lookup = user;
    (void)fd;
    (void)events;
    if (kp_interrupted() || kp_now() >= lookup->deadline)
        event_base_loopbreak(lookup->base);
}

static int run_lookup(struct lookup *lookup, struct evdns_base *dns, const char *host,
                      uint16_t port, struct kp_err *err)
{
    char service[8];
    snprintf(service, sizeof(service), "%u", (unsigned)port);
    struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC,
                                    .ai_socktype = SOCK_STREAM,
                                    .ai_protocol = IPPROTO_TCP,
                                    .ai_flags = EVUTIL_AI_NUMERICSERV};
    struct evdns_getaddrinfo_request *request =
        evdns_getaddrinfo(dns, host, service, &hints, on_answer, lookup);
    if (!lookup->done)
        event_base_dispatch(lookup->base);
    if (!lookup->done && request) {
        evdns_getaddrinfo_cancel(request);
        event_base_loop(lookup->base,
                        EVLOOP_NONBLOCK); // runs the callback of the cancelled request
    }
    if (kp_interrupt_check(err) < 0)
        return -1;
    if (lookup->result == EVUTIL_EAI_CANCEL)
        return kp_fail_as(err, KP_FAILED, "timeout", "%s: no DNS server answered in time", host);
    if (lookup->result || !lookup->out->count)
        return kp_fail_as(err, KP_FAILED, "unknown_host", "%s: no such host name", host);
    return 0;
}

int kp_net_resolve(struct kp_net_addresses *out, const char *host, uint16_t port,
                   const struct kp_net_resolving *how, struct kp_err *err)
{
    struct kp_net_resolving use = how ? *how : (struct kp_net_resolving){0};
    *out = (struct kp_net_addresses){0};
    if (kp_net_parse_ip(host, &out->items[0])) {
        kp_net_set_port(&out->items[0], port);
        out->count = 1;
        return 0;
    }
    __attribute__((cleanup(base_free))) struct event_base *base = event_base_new();
    __attribute__((cleanup(dns_free))) struct evdns_base *dns =
        base ? evdns_base_new(base, 0) : NULL;
    if (!dns)
        return kp_fail(err, KP_FAILED, "the resolver could not be started");
    // Without a usable resolv.conf the hosts file still answers; DNS then fails by itself.
    evdns_base_resolv_conf_parse(dns, DNS_OPTION_NAMESERVERS | DNS_OPTION_MISC | DNS_OPTION_SEARCH,
                                 use.resolv_conf ? use.resolv_conf : "/etc/resolv.conf");
    evdns_base_load_hosts(dns, use.hosts_file ? use.hosts_file : "/etc/hosts");
    struct lookup lookup = {.out = out, .base = base};
    lookup.deadline = kp_now() + (use.timeout > 0 ? use.timeout : 10);
    struct timeval tick = {.tv_usec = TICK_US};
    __attribute__((cleanup(event_release))) struct event *timer =
        event_new(base, -1, EV_PERSIST, on_tick, &lookup);
    if (!timer || event_add(timer, &tick) < 0)
        return kp_fail(err, KP_FAILED, "the resolver's timer could not be started");
    return run_lookup(&lookup, dns, host, port, err);
}
