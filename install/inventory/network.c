/* SPDX-License-Identifier: Apache-2.0 */
#include "install/inventory/network.h"

#include "core/slice.h"
#include "core/text.h"
#include "net/net.h"

#include <arpa/inet.h>

struct network {
    int family;
    unsigned bits, size; /* prefix length; 4 or 16 bytes */
    uint8_t bytes[16];
};

static bool parse_ip(const char *text, struct network *out)
{
    struct kp_net_address address;
    *out = (struct network){0};
    if (!kp_net_parse_ip(text, &address))
        return false;
    out->family = address.storage.ss_family;
    out->size = (unsigned)kp_net_ip_bytes(&address, out->bytes);
    out->bits = out->size * 8;
    return true;
}

static bool get_bit(const uint8_t *bytes, unsigned i)
{
    return bytes[i / 8] >> (7 - i % 8) & 1;
}

static bool parse_cidr(const char *text, struct network *out)
{
    const char *slash = strchr(text, '/');
    uint64_t bits;
    if (!slash)
        return false;
    kp_auto_free char *ip = kp_strndup(text, (size_t)(slash - text));
    if (!parse_ip(ip, out) || !kp_parse_u64(kp_slice_of(slash + 1), out->bits, &bits))
        return false;
    out->bits = (unsigned)bits;
    for (unsigned i = out->bits; i < out->size * 8; i++)
        if (get_bit(out->bytes, i))
            return false;
    return true;
}

static bool same_prefix(const struct network *a, const struct network *b, unsigned bits)
{
    if (a->family != b->family)
        return false;
    for (unsigned i = 0; i < bits; i++)
        if (get_bit(a->bytes, i) != get_bit(b->bytes, i))
            return false;
    return true;
}

bool kp_network_is_ip(const char *text)
{
    struct network n;
    return parse_ip(text, &n);
}

bool kp_network_is_cidr(const char *text)
{
    struct network n;
    return parse_cidr(text, &n);
}

/* The next of a list; false at its end, and where it is not a network. */
static bool next_cidr(struct kp_slice *rest, struct network *out)
{
    struct kp_slice part;
    if (!rest->len)
        return false;
    if (!kp_slice_cut(rest, ',', &part)) {
        part = *rest;
        rest->len = 0;
    }
    kp_auto_free char *text = kp_strndup(part.ptr, part.len);
    return parse_cidr(text, out);
}

bool kp_network_is_ip6(const char *text)
{
    struct network n;
    return parse_ip(text, &n) && n.family == AF_INET6;
}

char *kp_network_of(const char *cidrs, bool ip6)
{
    struct kp_slice rest = kp_slice_of(cidrs);
    const char *at = rest.ptr;
    struct network n;
    while (next_cidr(&rest, &n)) {
        size_t len = strcspn(at, ",");
        if ((n.family == AF_INET6) == ip6)
            return kp_strndup(at, len);
        at += len + 1;
    }
    return NULL;
}

unsigned kp_network_prefix(const char *cidr)
{
    struct network n;
    return parse_cidr(cidr, &n) ? n.bits : 0;
}

bool kp_network_is_host(const char *text)
{
    if (kp_network_is_ip(text))
        return true;
    // Digits and dots alone are a mistyped address, not a name.
    return kp_text_dns_name(text, 253) && text[strspn(text, "0123456789.")] != '\0';
}

bool kp_network_is_host_port(const char *text)
{
    const char *colon = strrchr(text, ':');
    uint64_t port;
    if (!colon || !kp_parse_u64(kp_slice_of(colon + 1), 65535, &port) || !port)
        return false;
    size_t len = (size_t)(colon - text);
    bool bracket = len > 2 && text[0] == '[' && text[len - 1] == ']';
    kp_auto_free char *host = bracket ? kp_strndup(text + 1, len - 2) : kp_strndup(text, len);
    return strchr(host, ':') ? bracket && kp_network_is_ip(host) : kp_network_is_host(host);
}

bool kp_network_same_ip(const char *a, const char *b)
{
    struct network x, y;
    return parse_ip(a, &x) && parse_ip(b, &y) && same_prefix(&x, &y, x.bits);
}

bool kp_network_contains(const char *cidrs, const char *ip)
{
    struct kp_slice rest = kp_slice_of(cidrs);
    struct network net, address;
    if (!parse_ip(ip, &address))
        return false;
    while (next_cidr(&rest, &net))
        if (same_prefix(&net, &address, net.bits))
            return true;
    return false;
}

bool kp_network_overlap(const char *a, const char *b)
{
    struct network x, y;
    for (struct kp_slice left = kp_slice_of(a); next_cidr(&left, &x);)
        for (struct kp_slice right = kp_slice_of(b); next_cidr(&right, &y);)
            if (same_prefix(&x, &y, x.bits < y.bits ? x.bits : y.bits))
                return true;
    return false;
}

char *kp_network_nth(const char *cidrs, unsigned n)
{
    struct kp_slice rest = kp_slice_of(cidrs);
    struct network net, sum;
    char text[INET6_ADDRSTRLEN];
    if (!next_cidr(&rest, &net))
        return NULL;
    sum = net;
    for (unsigned i = net.size; i-- > 0 && n;) {
        n += sum.bytes[i];
        sum.bytes[i] = (uint8_t)(n & 0xff);
        n >>= 8;
    }
    if (n || !same_prefix(&net, &sum, net.bits))
        return NULL;
    return kp_strdup(inet_ntop(net.family, sum.bytes, text, sizeof(text)));
}

char *kp_network_url_host(const char *ip)
{
    return strchr(ip, ':') ? kp_asprintf("[%s]", ip) : kp_strdup(ip);
}
