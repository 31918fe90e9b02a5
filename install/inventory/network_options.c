/* SPDX-License-Identifier: Apache-2.0 */
#include "install/inventory/network_options.h"

#include "core/text.h"
#include "install/inventory/inventory.h"
#include "install/inventory/network.h"

#define PODS4 "10.233.64.0/18"
#define PODS6 "fd10:233:64::/56"
#define SERVICES4 "10.233.0.0/18"
#define SERVICES6 "fd10:233::/108"
#define MASK4 24 /* kube-controller-manager's own for IPv4 */
#define MASK6 64
#define MASK6_STEP 8         /* 256 nodes in a small network */
#define PODS6_SMALLEST 116   /* of which a node gets a /124 */
#define MASK_STEPS_MAX 16    /* kube-controller-manager refuses more nodes than 2^16 */
#define SERVICES_BITS_MAX 20 /* the API server refuses larger ones */
#define DNS_SERVICE 10       /* kubeadm gives CoreDNS the tenth address of the Services */

const char *kp_proxy_name(unsigned proxy)
{
    static const char *const names[] = {"iptables", "ipvs", "nftables", "none"};
    return names[proxy];
}

bool kp_inventory_dual(const struct kp_inventory *inventory)
{
    return strchr(inventory->kubernetes.pods, ',') != NULL;
}

bool kp_inventory_has_ip6(const struct kp_inventory *inventory)
{
    return strchr(inventory->kubernetes.pods, ':') != NULL;
}

size_t kp_node_addresses(const struct kp_node *node, const char *out[KP_FAMILIES_MAX])
{
    out[0] = node->address;
    out[1] = node->address2;
    return node->address2 ? 2 : 1;
}

const char *kp_node_same_address(const struct kp_node *a, const struct kp_node *b)
{
    const char *left[KP_FAMILIES_MAX], *right[KP_FAMILIES_MAX];
    size_t n = kp_node_addresses(a, left), m = kp_node_addresses(b, right);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < m; j++)
            if (kp_network_same_ip(left[i], right[j]))
                return right[j];
    return NULL;
}

unsigned kp_inventory_mask6(const struct kp_inventory *inventory)
{
    kp_auto_free char *pods = kp_network_of(inventory->kubernetes.pods, true);
    unsigned prefix = pods ? kp_network_prefix(pods) : 0;
    return prefix <= MASK6 - MASK6_STEP ? MASK6 : prefix + MASK6_STEP;
}

char *kp_inventory_dns(const struct kp_inventory *inventory)
{
    const struct kp_network_options *net = &inventory->net;
    bool ip6 = strchr(inventory->kubernetes.services, ':') && !kp_inventory_dual(inventory);
    // With rules of iptables or nftables the cache takes the Service's own address over.
    if (net->node_local_dns &&
        (net->kube_proxy == KP_PROXY_IPVS || net->kube_proxy == KP_PROXY_NONE))
        return kp_strdup(ip6 ? KP_NODE_LOCAL_DNS6 : KP_NODE_LOCAL_DNS4);
    return kp_network_nth(inventory->kubernetes.services, DNS_SERVICE);
}

/* A text, or a list of one of each family: joined by a comma. */
static int read_families(const struct kp_reading *reading, const struct kp_yaml *value,
                         bool (*good)(const char *), const char *need, const char **out)
{
    size_t n = value->type == KP_YAML_LIST ? value->count : 1;
    if (value->type == KP_YAML_MAP || n == 0 || n > KP_FAMILIES_MAX)
        return kp_yaml_fail(value, reading->err, "%s is needed, or a list of one of each family",
                            need);
    for (size_t i = 0; i < n; i++) {
        const struct kp_yaml *item = value->type == KP_YAML_LIST ? value->items[i] : value;
        const char *text = item->type == KP_YAML_SCALAR ? item->text : "this";
        if (!good(text))
            return kp_yaml_fail(item, reading->err, "%s is not %s", text, need);
        if (i && (strchr(out[0], ':') != NULL) == (strchr(text, ':') != NULL))
            return kp_yaml_fail(item, reading->err, "%s is of the same family as %s", text, out[0]);
        out[i] = kp_arena_strdup(reading->arena, text);
    }
    return 0;
}

int kp_network_read_address(const struct kp_key *key, const struct kp_reading *reading,
                            const struct kp_yaml *value, void *into)
{
    struct kp_node *node = into;
    const char *out[KP_FAMILIES_MAX] = {NULL, NULL};
    (void)key;
    if (read_families(reading, value, kp_network_is_ip, "an IP address", out) < 0)
        return -1;
    node->address = out[0];
    node->address2 = out[1];
    return 0;
}

int kp_network_read_cidrs(const struct kp_key *key, const struct kp_reading *reading,
                          const struct kp_yaml *value, void *into)
{
    const char *out[KP_FAMILIES_MAX] = {NULL, NULL};
    if (read_families(reading, value, kp_network_is_cidr,
                      "a network (like 10.233.64.0/18, host bits 0)", out) < 0)
        return -1;
    *(const char **)((char *)into + key->offset) =
        out[1] ? kp_arena_printf(reading->arena, "%s,%s", out[0], out[1]) : out[0];
    return 0;
}

static int read_dns_host(const struct kp_reading *reading, const char *name,
                         const struct kp_yaml *value, struct kp_dns_host *out)
{
    size_t n = value->type == KP_YAML_LIST ? value->count : 1;
    if (value->type == KP_YAML_MAP || n == 0 || n > KP_DNS_HOST_ADDRESSES_MAX)
        return kp_yaml_fail(value, reading->err, "an IP address is needed, or a list of at most %d",
                            KP_DNS_HOST_ADDRESSES_MAX);
    *out = (struct kp_dns_host){
        .name = kp_arena_strdup(reading->arena, name),
        .addresses = kp_arena_array(reading->arena, n, sizeof(char *)),
        .count = n,
    };
    for (size_t i = 0; i < n; i++) {
        const struct kp_yaml *item = value->type == KP_YAML_LIST ? value->items[i] : value;
        const char *text = item->type == KP_YAML_SCALAR ? item->text : "this";
        if (!kp_network_is_ip(text))
            return kp_yaml_fail(item, reading->err, "%s is not an IP address", text);
        out->addresses[i] = kp_arena_strdup(reading->arena, text);
    }
    return 0;
}

int kp_network_read_dns_hosts(const struct kp_key *key, const struct kp_reading *reading,
                              const struct kp_yaml *value, void *into)
{
    struct kp_network_options *net = &((struct kp_inventory *)into)->net;
    (void)key;
    if (value->type != KP_YAML_MAP)
        return kp_yaml_fail(value, reading->err, "a mapping (name: address) is needed");
    if (value->count > KP_DNS_HOSTS_MAX)
        return kp_yaml_fail(value, reading->err, "at most %d are allowed", KP_DNS_HOSTS_MAX);
    net->dns_hosts = kp_arena_array(reading->arena, value->count + 1, sizeof(*net->dns_hosts));
    for (size_t i = 0; i < value->count; i++) {
        if (!kp_text_dns_name(value->keys[i], 253))
            return kp_yaml_fail(value->key_nodes[i], reading->err, "%s is not a DNS name",
                                value->keys[i]);
        if (read_dns_host(reading, value->keys[i], value->items[i], &net->dns_hosts[i]) < 0)
            return -1;
        net->dns_host_count++;
    }
    return 0;
}

/* Which families, in order: of the other network where that is given, else of the first node. */
static const char *fallback(const struct kp_reading *reading, const char *other, const char *four,
                            const char *six)
{
    const struct kp_node *node = &reading->inventory->nodes[0];
    const char *like = other ? other : node->address;
    bool six_first = strchr(like, ':') && strcspn(like, ":") < strcspn(like, ",");
    bool both = other ? strchr(other, ',') != NULL : node->address2 != NULL;
    if (!both)
        return six_first ? six : four;
    return kp_arena_printf(reading->arena, "%s,%s", six_first ? six : four, six_first ? four : six);
}

static bool six_first(const char *cidrs)
{
    return strcspn(cidrs, ":") < strcspn(cidrs, ",") && strchr(cidrs, ':');
}

/* The value of a key of `kubernetes`, for the position of an error; else the root. */
static const struct kp_yaml *place(const struct kp_yaml *root, const char *key)
{
    const struct kp_yaml *value = kp_yaml_get(kp_yaml_get(root, "kubernetes"), key);
    return value ? value : root;
}

/* Each node gets a part of the pods' network: there must be one for each. */
static int check_size(const struct kp_reading *reading, const struct kp_yaml *at, const char *pods,
                      unsigned mask)
{
    unsigned prefix = kp_network_prefix(pods);
    size_t nodes = kp_inventory_members(reading->inventory);
    if (prefix > mask || mask - prefix > MASK_STEPS_MAX)
        return kp_yaml_fail(at, reading->err, "%s is too %s: each node gets a /%u of it", pods,
                            prefix > mask ? "small" : "large", mask);
    if (nodes > (size_t)1 << (mask - prefix))
        return kp_yaml_fail(
            at, reading->err,
            "%s is too small: each node gets a /%u of it, which is enough for %u nodes, "
            "and there are %zu",
            pods, mask, 1U << (mask - prefix), nodes);
    return 0;
}

static int check_sizes(const struct kp_reading *reading, const struct kp_yaml *root)
{
    const struct kp_yaml *pods_at = place(root, "pods"), *services_at = place(root, "services");
    const struct kp_inventory *v = reading->inventory;
    kp_auto_free char *pods4 = kp_network_of(v->kubernetes.pods, false);
    kp_auto_free char *pods6 = kp_network_of(v->kubernetes.pods, true);
    kp_auto_free char *services4 = kp_network_of(v->kubernetes.services, false);
    kp_auto_free char *services6 = kp_network_of(v->kubernetes.services, true);
    if (pods6 && kp_network_prefix(pods6) > PODS6_SMALLEST)
        return kp_yaml_fail(pods_at, reading->err, "%s is too small: /%d at least", pods6,
                            PODS6_SMALLEST);
    if ((pods4 && check_size(reading, pods_at, pods4, MASK4) < 0) ||
        (pods6 && check_size(reading, pods_at, pods6, kp_inventory_mask6(v)) < 0))
        return -1;
    if (services6 && 128 - kp_network_prefix(services6) > SERVICES_BITS_MAX)
        return kp_yaml_fail(services_at, reading->err,
                            "%s is too large: the API server takes /%d at most", services6,
                            128 - SERVICES_BITS_MAX);
    if (services4 && 32 - kp_network_prefix(services4) > SERVICES_BITS_MAX)
        return kp_yaml_fail(services_at, reading->err,
                            "%s is too large: the API server takes /%d at most", services4,
                            32 - SERVICES_BITS_MAX);
    return 0;
}

static int check_node(const struct kp_reading *reading, const struct kp_node *node)
{
    const struct kp_inventory *v = reading->inventory;
    const char *addresses[KP_FAMILIES_MAX];
    size_t n = kp_node_addresses(node, addresses);
    for (size_t i = 0; i < n; i++)
        if (kp_network_contains(v->kubernetes.pods, addresses[i]) ||
            kp_network_contains(v->kubernetes.services, addresses[i]))
            return kp_fail(reading->err, KP_USAGE,
                           "%s:%u: %s: address %s lies in the pods' or services' network", v->path,
                           node->line, node->name, addresses[i]);
    if (!(node->roles & (KP_ROLE_CONTROL_PLANE | KP_ROLE_WORKER)))
        return 0;
    bool six = strchr(node->address, ':') != NULL;
    if (six == six_first(v->kubernetes.pods) && (node->address2 || !kp_inventory_dual(v)))
        return 0;
    return kp_fail(reading->err, KP_USAGE,
                   "%s:%u: %s: address: the pods' network is %s, so %s is needed", v->path,
                   node->line, node->name, v->kubernetes.pods,
                   kp_inventory_dual(v)
                       ? (six_first(v->kubernetes.pods) ? "a list of an IPv6 and an IPv4 address"
                                                        : "a list of an IPv4 and an IPv6 address")
                       : (six_first(v->kubernetes.pods) ? "an IPv6 address" : "an IPv4 address"));
}

int kp_network_settle(const struct kp_reading *reading, const struct kp_yaml *root)
{
    struct kp_inventory *v = reading->inventory;
    const char *pods = v->kubernetes.pods, *services = v->kubernetes.services;
    v->kubernetes.pods = pods ? pods : fallback(reading, services, PODS4, PODS6);
    v->kubernetes.services = services ? services : fallback(reading, pods, SERVICES4, SERVICES6);
    if (kp_network_overlap(v->kubernetes.pods, v->kubernetes.services))
        return kp_yaml_fail(place(root, "services"), reading->err,
                            "%s overlaps the pods' network %s", v->kubernetes.services,
                            v->kubernetes.pods);
    if (six_first(v->kubernetes.pods) != six_first(v->kubernetes.services) ||
        kp_inventory_dual(v) != (strchr(v->kubernetes.services, ',') != NULL))
        return kp_yaml_fail(place(root, "services"), reading->err,
                            "%s: the same families in the same order as pods (%s) "
                            "are needed",
                            v->kubernetes.services, v->kubernetes.pods);
    for (size_t i = 0; i < v->node_count; i++)
        if (check_node(reading, &v->nodes[i]) < 0)
            return -1;
    return check_sizes(reading, root);
}
