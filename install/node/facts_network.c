/* SPDX-License-Identifier: Apache-2.0 */
#include "install/node/node.h"

#include "core/file.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SOCKETS_MAX 2048
#define ROUTES_MAX 4096

struct socket_owner {
    unsigned long inode;
    int pid;
};

/* Which process has which socket, from /proc/<pid>/fd. */
static size_t find_owners(struct socket_owner *owners, size_t max)
{
    size_t n = 0;
    DIR *all = opendir("/proc");
    for (struct dirent *e = all ? readdir(all) : NULL; e && n < max; e = readdir(all)) {
        uint64_t pid;
        if (!kp_parse_u64(kp_slice_of(e->d_name), INT32_MAX, &pid))
            continue;
        kp_auto_free char *folder = kp_asprintf("/proc/%s/fd", e->d_name);
        DIR *fds = opendir(folder);
        for (struct dirent *f = fds ? readdir(fds) : NULL; f && n < max; f = readdir(fds)) {
            char target[64];
            unsigned long inode;
            ssize_t len = readlinkat(dirfd(fds), f->d_name, target, sizeof(target) - 1);
            target[len > 0 ? len : 0] = '\0';
            if (sscanf(target, "socket:[%lu]", &inode) == 1)
                owners[n++] = (struct socket_owner){inode, (int)pid};
        }
        if (fds)
            closedir(fds);
    }
    if (all)
        closedir(all);
    return n;
}

/* "0100007F" or 32 digits, as /proc/net writes addresses: words in the machine's order. */
static void print_hex_address(const char *hex, char out[INET6_ADDRSTRLEN])
{
    uint32_t words[4] = {0};
    size_t digits = strlen(hex);
    for (size_t i = 0; i < 4 && i * 8 + 8 <= digits; i++)
        sscanf(hex + 8 * i, "%8x", &words[i]);
    inet_ntop(digits == 8 ? AF_INET : AF_INET6, words, out, INET6_ADDRSTRLEN);
}

static char *program_of(int pid)
{
    kp_auto_free char *path = kp_asprintf("/proc/%d/comm", pid);
    char *name = pid ? kp_facts_file(path) : NULL;
    if (name)
        name[strcspn(name, "\n")] = '\0';
    return name;
}

static void add_sockets(json_t *list, const char *protocol, const struct socket_owner *owners,
                        size_t n)
{
    kp_auto_free char *path = kp_asprintf("/proc/net/%s", protocol), *text = kp_facts_file(path);
    struct kp_slice rest = kp_slice_of(text), line;
    // TCP_LISTEN is 0A; an unconnected UDP socket is 07 (CLOSE).
    unsigned wanted = protocol[0] == 't' ? 0x0A : 0x07;
    while (text && kp_slice_line(&rest, &line) && json_array_size(list) < SOCKETS_MAX) {
        kp_auto_free char *copy = kp_strndup(line.ptr, line.len);
        char hex[33], address[INET6_ADDRSTRLEN] = "";
        unsigned port, state;
        unsigned long inode;
        if (sscanf(copy, " %*d: %32[0-9A-F]:%x %*[0-9A-F]:%*x %x %*s %*s %*s %*u %*u %lu", hex,
                   &port, &state, &inode) != 4 ||
            state != wanted)
            continue;
        int pid = 0;
        for (size_t i = 0; i < n && !pid; i++)
            pid = owners[i].inode == inode ? owners[i].pid : 0;
        kp_auto_free char *program = program_of(pid);
        print_hex_address(hex, address);
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:i, s:i, s:o}", "protocol", protocol, "address", address,
                            "port", (int)port, "pid", pid, "program",
                            kp_node_json_text(kp_slice_of(program ? program : ""))));
    }
}

static json_t *listening(void)
{
    static const char *const protocols[] = {"tcp", "tcp6", "udp", "udp6"};
    kp_auto_free struct socket_owner *owners = kp_alloc_array(SOCKETS_MAX * 8, sizeof(*owners));
    size_t n = find_owners(owners, SOCKETS_MAX * 8);
    json_t *list = json_array();
    for (size_t i = 0; i < KP_COUNT(protocols); i++)
        add_sockets(list, protocols[i], owners, n);
    return list;
}

static int mask_bits(const struct sockaddr *mask)
{
    const uint8_t *bytes;
    size_t len;
    int bits = 0;
    if (!mask)
        return 0;
    if (mask->sa_family == AF_INET6) {
        bytes = ((const struct sockaddr_in6 *)(const void *)mask)->sin6_addr.s6_addr;
        len = 16;
    } else {
        bytes = (const uint8_t *)&((const struct sockaddr_in *)(const void *)mask)->sin_addr;
        len = 4;
    }
    for (size_t i = 0; i < len; i++)
        bits += __builtin_popcount(bytes[i]);
    return bits;
}

static void add_addresses(json_t *out)
{
    json_t *list = json_array();
    struct ifaddrs *all = NULL;
    if (getifaddrs(&all) < 0)
        all = NULL;
    for (const struct ifaddrs *a = all; a; a = a->ifa_next) {
        char text[INET6_ADDRSTRLEN] = "";
        int family = a->ifa_addr ? a->ifa_addr->sa_family : 0;
        if (family == AF_INET)
            inet_ntop(family, &((const struct sockaddr_in *)(const void *)a->ifa_addr)->sin_addr,
                      text, sizeof(text));
        else if (family == AF_INET6)
            inet_ntop(family, &((const struct sockaddr_in6 *)(const void *)a->ifa_addr)->sin6_addr,
                      text, sizeof(text));
        else
            continue;
        json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:b}", "interface", a->ifa_name,
                                              "address", text, "prefix", mask_bits(a->ifa_netmask),
                                              "up", !!(a->ifa_flags & IFF_UP)));
    }
    freeifaddrs(all);
    json_object_set_new(out, "addresses", list);
}

static json_t *interface_value(const char *name, const char *key)
{
    kp_auto_free char *path = kp_asprintf("/sys/class/net/%s/%s", name, key),
                      *text = kp_facts_file(path);
    return text ? kp_node_json_text(kp_slice_trim(kp_slice_of(text))) : json_null();
}

static void add_interfaces(json_t *out)
{
    json_t *list = json_array();
    DIR *all = opendir("/sys/class/net");
    for (struct dirent *e = all ? readdir(all) : NULL; e; e = readdir(all)) {
        if (e->d_name[0] == '.')
            continue;
        json_array_append_new(list, json_pack("{s:o, s:o, s:o, s:o}", "name",
                                              kp_node_json_text(kp_slice_of(e->d_name)), "mac",
                                              interface_value(e->d_name, "address"), "mtu",
                                              interface_value(e->d_name, "mtu"), "state",
                                              interface_value(e->d_name, "operstate")));
    }
    if (all)
        closedir(all);
    json_object_set_new(out, "interfaces", list);
}

static void add_routes4(json_t *list)
{
    kp_auto_free char *text = kp_facts_file("/proc/net/route");
    struct kp_slice rest = kp_slice_of(text), line;
    while (text && kp_slice_line(&rest, &line) && json_array_size(list) < ROUTES_MAX) {
        kp_auto_free char *copy = kp_strndup(line.ptr, line.len);
        char name[IFNAMSIZ], to[INET6_ADDRSTRLEN] = "", via[INET6_ADDRSTRLEN] = "", hex_to[9],
                             hex_via[9];
        unsigned mask;
        int metric;
        if (sscanf(copy, "%15s %8[0-9A-F] %8[0-9A-F] %*x %*d %*d %d %x", name, hex_to, hex_via,
                   &metric, &mask) != 5)
            continue;
        print_hex_address(hex_to, to);
        print_hex_address(hex_via, via);
        json_array_append_new(list, json_pack("{s:s, s:i, s:s, s:s, s:i}", "destination", to,
                                              "prefix", __builtin_popcount(mask), "gateway", via,
                                              "interface", name, "metric", metric));
    }
}

static bool read_plain_hex6(const char *hex, char out[INET6_ADDRSTRLEN])
{
    uint8_t raw[16];
    return kp_parse_hex(kp_slice_of(hex), raw, 16) &&
           inet_ntop(AF_INET6, raw, out, INET6_ADDRSTRLEN);
}

static void add_routes6(json_t *list)
{
    kp_auto_free char *text = kp_facts_file("/proc/net/ipv6_route");
    struct kp_slice rest = kp_slice_of(text), line;
    while (text && kp_slice_line(&rest, &line) && json_array_size(list) < ROUTES_MAX) {
        kp_auto_free char *copy = kp_strndup(line.ptr, line.len);
        char name[IFNAMSIZ], hex_to[33], hex_via[33], to[INET6_ADDRSTRLEN], via[INET6_ADDRSTRLEN];
        unsigned prefix, metric;
        if (sscanf(copy, "%32[0-9a-f] %x %*32[0-9a-f] %*x %32[0-9a-f] %x %*x %*x %*x %15s", hex_to,
                   &prefix, hex_via, &metric, name) != 5 ||
            strcmp(name, "lo") == 0 || !read_plain_hex6(hex_to, to) ||
            !read_plain_hex6(hex_via, via))
            continue;
        json_array_append_new(list, json_pack("{s:s, s:i, s:s, s:s, s:I}", "destination", to,
                                              "prefix", (int)prefix, "gateway", via, "interface",
                                              name, "metric", (json_int_t)metric));
    }
}

static void add_words(json_t *list, struct kp_slice words)
{
    for (words = kp_slice_trim(words); words.len; words = kp_slice_trim(words)) {
        size_t n = 0;
        while (n < words.len && words.ptr[n] != ' ' && words.ptr[n] != '\t')
            n++;
        json_array_append_new(list, kp_node_json_text((struct kp_slice){words.ptr, n}));
        words.ptr += n;
        words.len -= n;
    }
}

static void add_resolver(json_t *out)
{
    kp_auto_free char *text = kp_facts_file("/etc/resolv.conf");
    json_t *servers = json_array(), *search = json_array();
    struct kp_slice rest = kp_slice_of(text), line;
    bool stub = false;
    while (text && kp_slice_line(&rest, &line)) {
        if (kp_slice_starts(line, "nameserver"))
            add_words(servers, (struct kp_slice){line.ptr + 10, line.len - 10});
        else if (kp_slice_starts(line, "search"))
            add_words(search, (struct kp_slice){line.ptr + 6, line.len - 6});
    }
    for (size_t i = 0; i < json_array_size(servers); i++)
        stub = stub || strcmp(json_string_value(json_array_get(servers, i)), "127.0.0.53") == 0;
    json_object_set_new(out, "resolv",
                        json_pack("{s:o, s:o}", "nameservers", servers, "search", search));
    json_object_set_new(out, "resolved_stub", json_boolean(stub));
}

static void add_hosts(json_t *out)
{
    kp_auto_free char *text = kp_facts_file("/etc/hosts");
    struct kp_slice rest = kp_slice_of(text), line;
    json_t *list = json_array();
    while (text && kp_slice_line(&rest, &line)) {
        const char *comment = memchr(line.ptr, '#', line.len);
        line.len = comment ? (size_t)(comment - line.ptr) : line.len;
        json_t *words = json_array();
        add_words(words, kp_slice_trim(line));
        if (json_array_size(words) > 1) {
            json_t *address = json_incref(json_array_get(words, 0));
            json_array_remove(words, 0);
            json_array_append_new(list,
                                  json_pack("{s:o, s:O}", "address", address, "names", words));
        }
        json_decref(words);
    }
    json_object_set_new(out, "hosts", list);
}

static void add_proxies(json_t *out)
{
    static const char *const files[] = {"/etc/environment", "/etc/systemd/system.conf.d/proxy.conf",
                                        "/etc/profile.d/proxy.sh"};
    json_t *list = json_array();
    for (size_t i = 0; i < KP_COUNT(files); i++) {
        kp_auto_free char *text = kp_facts_file(files[i]);
        struct kp_slice rest = kp_slice_of(text), line;
        while (text && kp_slice_line(&rest, &line)) {
            kp_auto_free char *copy = kp_strndup(line.ptr, line.len);
            // The value may hold a password: only where it stands is told.
            if (copy[0] != '#' &&
                (strcasestr(copy, "http_proxy=") || strcasestr(copy, "https_proxy=")))
                json_array_append_new(list, json_string(files[i]));
        }
    }
    json_object_set_new(out, "proxy", list);
}

static void add_firewalls(json_t *out)
{
    static const char *const names[] = {"firewalld", "ufw", "nftables", "iptables",
                                        "netfilter-persistent"};
    json_t *list = json_array();
    for (size_t i = 0; i < KP_COUNT(names) && kp_node_has_systemd(); i++) {
        const char *argv[] = {"systemctl", "is-active", "--quiet", names[i], NULL};
        int status;
        kp_free(kp_node_output(argv, &status));
        if (status == 0)
            json_array_append_new(list, json_string(names[i]));
    }
    json_object_set_new(out, "firewalls", list);
}

void kp_facts_network(json_t *out, const json_t *args)
{
    json_t *routes = json_array();
    (void)args;
    add_addresses(out);
    add_interfaces(out);
    add_routes4(routes);
    add_routes6(routes);
    json_object_set_new(out, "routes", routes);
    json_object_set_new(out, "listening", listening());
    add_resolver(out);
    add_hosts(out);
    add_proxies(out);
    add_firewalls(out);
}
