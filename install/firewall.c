/* SPDX-License-Identifier: Apache-2.0 */
#include "install/firewall.h"

#include "install/endpoint.h"
#include "install/inventory/network.h"
#include "manifests/render.h"

#define ANY (KP_ROLE_CONTROL_PLANE | KP_ROLE_WORKER)
#define FLANNEL_PORT 8472
#define CILIUM_PORT 8472
#define CALICO_PORT 4789

struct want {
    const char *network; /* plugin, or NULL: always */
    unsigned roles;
    struct kp_opening opening;
};

static const struct want wants[] = {
    {NULL, KP_ROLE_CONTROL_PLANE, {"tcp", 6443, 6443, KP_FROM_API, "API server"}},
    {NULL, ANY, {"tcp", 10250, 10250, KP_FROM_NODES, "kubelet"}},
    {NULL, ANY, {"tcp", 30000, 32767, KP_FROM_ANY, "NodePorts"}},
    {NULL, ANY, {"udp", 30000, 32767, KP_FROM_ANY, "NodePorts"}},
    {"flannel", ANY, {"udp", FLANNEL_PORT, FLANNEL_PORT, KP_FROM_NODES, "VXLAN"}},
    {"cilium", ANY, {"udp", CILIUM_PORT, CILIUM_PORT, KP_FROM_NODES, "VXLAN"}},
    {"cilium", ANY, {"tcp", 4240, 4240, KP_FROM_NODES, "health"}},
    {"cilium", ANY, {"tcp", 4244, 4244, KP_FROM_NODES, "Hubble"}},
    {"calico", ANY, {"udp", CALICO_PORT, CALICO_PORT, KP_FROM_NODES, "VXLAN"}},
    {"calico", ANY, {"tcp", 179, 179, KP_FROM_NODES, "BGP"}},
    {"calico", ANY, {"tcp", 5473, 5473, KP_FROM_NODES, "Typha"}},
    {"calico", ANY, {"4", 0, 0, KP_FROM_NODES, "IP in IP"}},
};

static bool carries(const struct kp_manifest *manifest, const char *name)
{
    for (size_t i = 0; i < manifest->manifest_count; i++)
        if (strstr(manifest->manifests[i].name, name))
            return true;
    return false;
}

size_t kp_firewall_openings(const struct kp_site *site, const struct kp_node *node,
                            struct kp_opening out[KP_OPENINGS_MAX])
{
    const struct kp_inventory *v = site->inventory;
    unsigned etcd = kp_inventory_etcd_role(v);
    size_t n = 0;
    if (node->mirror)
        out[n++] =
            (struct kp_opening){"tcp", v->mirror.port, v->mirror.port, KP_FROM_NODES, "mirror"};
    if (node->roles & etcd)
        out[n++] = (struct kp_opening){"tcp", 2379, 2380, KP_FROM_ETCD, "etcd"};
    for (size_t i = 0; i < KP_COUNT(wants); i++) {
        const struct want *want = &wants[i];
        if (!(node->roles & want->roles) ||
            (want->network && strcmp(want->network, site->manifest->network) != 0))
            continue;
        out[n] = want->opening;
        if (v->net.vxlan_port && strcmp(want->opening.why, "VXLAN") == 0)
            out[n].first = out[n].last = v->net.vxlan_port;
        n++;
    }
    if ((node->roles & ANY) && carries(site->manifest, "metallb")) {
        out[n++] = (struct kp_opening){"tcp", 7946, 7946, KP_FROM_NODES, "MetalLB"};
        out[n++] = (struct kp_opening){"udp", 7946, 7946, KP_FROM_NODES, "MetalLB"};
    }
    return n;
}

static bool is_ip6(const char *text)
{
    return strchr(text, ':') != NULL;
}

static void add(struct kp_buf *out, const char *separator, const char *text)
{
    kp_buf_addf(out, "%s%s", out->len ? separator : "", text);
}

char *kp_firewall_sources(const struct kp_inventory *inventory, enum kp_opening_from from, bool ip6,
                          const char *separator)
{
    const struct kp_security *security = &inventory->security;
    kp_auto_value(kp_buf) out = KP_BUF(KP_FIREWALL_TEXT_MAX);
    bool open = from == KP_FROM_API && security->api_from_count == 0;
    if (from == KP_FROM_ANY || open)
        return NULL;
    for (size_t i = 0; from == KP_FROM_API && i < security->api_from_count; i++)
        if (is_ip6(security->api_from[i]) == ip6)
            add(&out, separator, security->api_from[i]);
    for (size_t i = 0; i < inventory->node_count; i++) {
        const struct kp_node *node = kp_inventory_at(inventory, i);
        const char *addresses[KP_FAMILIES_MAX];
        size_t n = kp_node_addresses(node, addresses);
        if (from == KP_FROM_ETCD && !(node->roles & (KP_ROLE_CONTROL_PLANE | KP_ROLE_ETCD)))
            continue;
        for (size_t j = 0; j < n; j++)
            if (is_ip6(addresses[j]) == ip6)
                add(&out, separator, addresses[j]);
    }
    return kp_buf_steal(&out);
}

/* --- nftables --------------------------------------------------------------------------------- */

static bool is_plain(const char *text)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    return text && text[0] && text[0] != '-' && strspn(text, good) == strlen(text);
}

/* Chains that iptables over nftables keeps have its own names; the others' tables have theirs. */
static bool is_anothers(const char *table, const char *chain)
{
    static const char *const tables[] = {"kube-proxy", "firewalld", "flannel", "cali", "cilium"};
    static const char *const chains[] = {"INPUT", "FORWARD", "OUTPUT"};
    for (size_t i = 0; i < KP_COUNT(tables); i++)
        if (strncmp(table, tables[i], strlen(tables[i])) == 0)
            return true;
    for (size_t i = 0; i < KP_COUNT(chains); i++)
        if (strcmp(chain, chains[i]) == 0)
            return true;
    return false;
}

static bool is_one_of(const char *text, const char *const *words)
{
    for (; text && *words; words++)
        if (strcmp(text, *words) == 0)
            return true;
    return false;
}

size_t kp_firewall_chains(const json_t *list, struct kp_chain_at out[KP_FIREWALL_CHAINS_MAX])
{
    static const char *const families[] = {"inet", "ip", "ip6", NULL};
    static const char *const hooks[] = {"input", "forward", "output", NULL};
    size_t i, n = 0;
    const json_t *item;
    json_array_foreach(json_object_get(list, "nftables"), i, item)
    {
        const json_t *chain = json_object_get(item, "chain");
        const char *family = json_string_value(json_object_get(chain, "family"));
        const char *table = json_string_value(json_object_get(chain, "table"));
        const char *name = json_string_value(json_object_get(chain, "name"));
        const char *hook = json_string_value(json_object_get(chain, "hook"));
        const char *type = json_string_value(json_object_get(chain, "type"));
        const char *policy = json_string_value(json_object_get(chain, "policy"));
        if (n == KP_FIREWALL_CHAINS_MAX || !type || strcmp(type, "filter") != 0 ||
            !is_one_of(family, families) || !is_one_of(hook, hooks) || !is_plain(table) ||
            !is_plain(name) || is_anothers(table, name))
            continue;
        out[n++] =
            (struct kp_chain_at){family, table, name, hook, policy && strcmp(policy, "drop") == 0};
    }
    return n;
}

static void accept_from(struct kp_buf *out, const char *word, const char *sources,
                        const struct kp_opening *opening)
{
    if (sources && !*sources)
        return;
    if (sources)
        kp_buf_addf(out, "%s { %s } ", word, sources);
    if (!opening->first)
        kp_buf_addf(out, "meta l4proto %s", opening->protocol);
    else if (opening->first == opening->last)
        kp_buf_addf(out, "%s dport %u", opening->protocol, opening->first);
    else
        kp_buf_addf(out, "%s dport %u-%u", opening->protocol, opening->first, opening->last);
    kp_buf_addf(out, " accept comment \"%s\"\n", opening->why);
}

static void accept_network(struct kp_buf *out, const char *cidrs, const char *way, bool four,
                           bool six)
{
    kp_auto_free char *cidr4 = kp_network_of(cidrs, false);
    kp_auto_free char *cidr6 = kp_network_of(cidrs, true);
    if (cidr4 && four)
        kp_buf_addf(out, "ip %s %s accept\n", way, cidr4);
    if (cidr6 && six)
        kp_buf_addf(out, "ip6 %s %s accept\n", way, cidr6);
}

static void input_rules(struct kp_buf *out, const struct kp_site *site, const struct kp_node *node,
                        bool four, bool six)
{
    const struct kp_inventory *v = site->inventory;
    struct kp_opening openings[KP_OPENINGS_MAX];
    size_t n = kp_firewall_openings(site, node, openings);
    kp_buf_adds(out, "iifname \"lo\" accept\n");
    for (size_t i = 0; i < n; i++) {
        kp_auto_free char *sources4 = kp_firewall_sources(v, openings[i].from, false, ", ");
        kp_auto_free char *sources6 = kp_firewall_sources(v, openings[i].from, true, ", ");
        if (four || !sources4)
            accept_from(out, "ip saddr", sources4, &openings[i]);
        if (six && sources6)
            accept_from(out, "ip6 saddr", sources6, &openings[i]);
    }
    if (!(node->roles & ANY))
        return;
    accept_network(out, v->kubernetes.pods, "saddr", four, six);
    if (six && kp_inventory_has_ip6(v))
        kp_buf_adds(out, "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n");
}

static void output_rules(struct kp_buf *out, const struct kp_inventory *v, bool four, bool six)
{
    kp_auto_free char *nodes4 = kp_firewall_sources(v, KP_FROM_NODES, false, ", ");
    kp_auto_free char *nodes6 = kp_firewall_sources(v, KP_FROM_NODES, true, ", ");
    kp_buf_adds(out, "oifname \"lo\" accept\n");
    if (four && *nodes4)
        kp_buf_addf(out, "ip daddr { %s } accept\n", nodes4);
    if (six && *nodes6)
        kp_buf_addf(out, "ip6 daddr { %s } accept\n", nodes6);
    accept_network(out, v->kubernetes.pods, "daddr", four, six);
    accept_network(out, v->kubernetes.services, "daddr", four, six);
}

int kp_firewall_nft(char **out, const struct kp_site *site, const struct kp_node *node,
                    const struct kp_chain_at *chains, size_t n, struct kp_err *err)
{
    kp_auto_value(kp_buf) text = KP_BUF(KP_FIREWALL_TEXT_MAX);
    kp_auto(kp_vars) none = kp_vars_new();
    kp_auto_free char *head = NULL;
    if (kp_render(&head, "firewall-nft.sh", none, err) < 0)
        return -1;
    kp_buf_adds(&text, head);
    for (size_t i = 0; i < n; i++) {
        const struct kp_chain_at *at = &chains[i];
        bool four = strcmp(at->family, "ip6") != 0, six = strcmp(at->family, "ip") != 0;
        kp_buf_addf(&text, "\nchain '%s %s' %s kpack-%s <<'END'\n", at->family, at->table, at->name,
                    at->hook);
        if (strcmp(at->hook, "input") == 0) {
            input_rules(&text, site, node, four, six);
        } else if (strcmp(at->hook, "forward") == 0) {
            accept_network(&text, site->inventory->kubernetes.pods, "saddr", four, six);
            accept_network(&text, site->inventory->kubernetes.pods, "daddr", four, six);
        } else {
            output_rules(&text, site->inventory, four, six);
        }
        kp_buf_adds(&text, "END\n");
    }
    kp_buf_adds(&text, "exit $status\n");
    if (text.overflow)
        return kp_fail(err, KP_FAILED, "the firewall's rules are too long");
    *out = kp_buf_steal(&text);
    return 0;
}

/* --- firewalld -------------------------------------------------------------------------------- */

static const char *set_name(enum kp_opening_from from)
{
    return from == KP_FROM_API ? "api" : from == KP_FROM_ETCD ? "etcd" : "nodes";
}

static char *ipset(const struct kp_inventory *v, enum kp_opening_from from, bool ip6)
{
    kp_auto_value(kp_buf) out = KP_BUF(KP_FIREWALL_TEXT_MAX);
    kp_auto_free char *entries = kp_firewall_sources(v, from, ip6, "</entry>\n  <entry>");
    if (!entries || !*entries)
        return NULL;
    kp_buf_addf(&out,
                "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<!-- written by kinstall -->\n"
                "<ipset type=\"hash:net\">\n  <option name=\"family\" value=\"%s\"/>\n"
                "  <entry>%s</entry>\n</ipset>\n",
                ip6 ? "inet6" : "inet", entries);
    return kp_buf_steal(&out);
}

static void policy_begin(struct kp_buf *out, const char *short_name, const char *egress)
{
    kp_buf_addf(out,
                "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<!-- written by kinstall -->\n"
                "<policy priority=\"-10\" target=\"CONTINUE\">\n  <short>%s</short>\n"
                "  <ingress-zone name=\"ANY\"/>\n  <egress-zone name=\"%s\"/>\n",
                short_name, egress);
}

static void policy_rule(struct kp_buf *out, const struct kp_inventory *v,
                        const struct kp_opening *opening, bool ip6)
{
    kp_auto_free char *sources = kp_firewall_sources(v, opening->from, ip6, " ");
    if (sources && !*sources)
        return;
    kp_buf_addf(out, "  <rule family=\"%s\">", ip6 ? "ipv6" : "ipv4");
    if (sources)
        kp_buf_addf(out, "<source ipset=\"kpack-%s%s\"/>", set_name(opening->from),
                    ip6 ? "6" : "4");
    if (opening->first == opening->last && opening->first)
        kp_buf_addf(out, "<port port=\"%u\" protocol=\"%s\"/>", opening->first, opening->protocol);
    else if (opening->first)
        kp_buf_addf(out, "<port port=\"%u-%u\" protocol=\"%s\"/>", opening->first, opening->last,
                    opening->protocol);
    else
        kp_buf_addf(out, "<protocol value=\"%s\"/>", opening->protocol);
    kp_buf_addf(out, "<accept/></rule> <!-- %s -->\n", opening->why);
}

static void policy_pods(struct kp_buf *out, const char *pods, const char *way)
{
    for (int ip6 = 0; ip6 < 2; ip6++) {
        kp_auto_free char *cidr = kp_network_of(pods, ip6);
        if (cidr)
            kp_buf_addf(out, "  <rule family=\"%s\"><%s address=\"%s\"/><accept/></rule>\n",
                        ip6 ? "ipv6" : "ipv4", way, cidr);
    }
}

static char *policy_in(const struct kp_site *site, const struct kp_node *node)
{
    kp_auto_value(kp_buf) out = KP_BUF(KP_FIREWALL_TEXT_MAX);
    struct kp_opening openings[KP_OPENINGS_MAX];
    size_t n = kp_firewall_openings(site, node, openings);
    policy_begin(&out, "kpack: to this node", "HOST");
    for (size_t i = 0; i < n; i++) {
        policy_rule(&out, site->inventory, &openings[i], false);
        if (kp_inventory_has_ip6(site->inventory))
            policy_rule(&out, site->inventory, &openings[i], true);
    }
    if (node->roles & ANY)
        policy_pods(&out, site->inventory->kubernetes.pods, "source");
    kp_buf_adds(&out, "</policy>\n");
    return kp_buf_steal(&out);
}

static char *policy_through(const struct kp_site *site)
{
    kp_auto_value(kp_buf) out = KP_BUF(KP_FIREWALL_TEXT_MAX);
    policy_begin(&out, "kpack: pods", "ANY");
    policy_pods(&out, site->inventory->kubernetes.pods, "source");
    policy_pods(&out, site->inventory->kubernetes.pods, "destination");
    kp_buf_adds(&out, "</policy>\n");
    return kp_buf_steal(&out);
}

size_t kp_firewall_firewalld(const struct kp_site *site, const struct kp_node *node,
                             struct kp_firewalld_file out[KP_FIREWALLD_FILES_MAX])
{
    static const enum kp_opening_from sets[] = {KP_FROM_NODES, KP_FROM_ETCD, KP_FROM_API};
    size_t n = 0;
    // Sets first: a policy that names one that is not there is refused.
    for (size_t i = 0; i < KP_COUNT(sets); i++)
        for (int ip6 = 0; ip6 < 2; ip6++)
            out[n++] =
                (struct kp_firewalld_file){kp_asprintf("/etc/firewalld/ipsets/kpack-%s%c.xml",
                                                       set_name(sets[i]), ip6 ? '6' : '4'),
                                           ipset(site->inventory, sets[i], ip6)};
    out[n++] = (struct kp_firewalld_file){kp_strdup("/etc/firewalld/policies/kpack-in.xml"),
                                          policy_in(site, node)};
    out[n++] = (struct kp_firewalld_file){kp_strdup("/etc/firewalld/policies/kpack-pods.xml"),
                                          node->roles & ANY ? policy_through(site) : NULL};
    return n;
}

/* --- ufw -------------------------------------------------------------------------------------- */

static void ufw_rule(struct kp_buf *out, const char *source, const struct kp_opening *opening)
{
    if (!opening->first) // ufw knows no such protocol
        return;
    kp_auto_free char *ports = opening->first == opening->last
                                   ? kp_asprintf("%u", opening->first)
                                   : kp_asprintf("%u:%u", opening->first, opening->last);
    if (source)
        kp_buf_addf(out, "allow from %s to any port %s proto %s comment 'kpack'\n", source, ports,
                    opening->protocol);
    else
        kp_buf_addf(out, "allow %s/%s comment 'kpack'\n", ports, opening->protocol);
}

static void ufw_pods(struct kp_buf *out, const char *pods, const char *before, const char *way)
{
    for (int ip6 = 0; ip6 < 2; ip6++) {
        kp_auto_free char *cidr = kp_network_of(pods, ip6);
        if (cidr)
            kp_buf_addf(out, "%sallow %s %s comment 'kpack'\n", before, way, cidr);
    }
}

char *kp_firewall_ufw(const struct kp_site *site, const struct kp_node *node)
{
    const struct kp_inventory *v = site->inventory;
    kp_auto_value(kp_buf) out = KP_BUF(KP_FIREWALL_TEXT_MAX);
    struct kp_opening openings[KP_OPENINGS_MAX];
    size_t n = kp_firewall_openings(site, node, openings);
    for (size_t i = 0; i < n; i++) {
        kp_auto_free char *four = kp_firewall_sources(v, openings[i].from, false, "\n");
        kp_auto_free char *six = kp_firewall_sources(v, openings[i].from, true, "\n");
        struct kp_slice list4 = kp_slice_of(four), list6 = kp_slice_of(six), line;
        if (!four)
            ufw_rule(&out, NULL, &openings[i]);
        while (four && (kp_slice_line(&list4, &line) || kp_slice_line(&list6, &line))) {
            kp_auto_free char *source = kp_strndup(line.ptr, line.len);
            ufw_rule(&out, source, &openings[i]);
        }
    }
    if (node->roles & ANY) {
        ufw_pods(&out, v->kubernetes.pods, "", "from");
        ufw_pods(&out, v->kubernetes.pods, "route ", "from");
        ufw_pods(&out, v->kubernetes.pods, "route ", "to");
    }
    return kp_buf_steal(&out);
}
