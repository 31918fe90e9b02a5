/* SPDX-License-Identifier: Apache-2.0 */
#include "install/flannel.h"

#include "install/inventory/network.h"

#include <limits.h>

#define HEADERS4 50 /* VXLAN over IPv4; Flannel takes them off what it is told */
#define HEADERS6 70

/* The smallest MTU of the interfaces that have the nodes' addresses; 0 where no facts say. */
static unsigned least_mtu(const struct kp_site *site)
{
    json_int_t least = INT_MAX;
    for (size_t i = 0; i < site->node_count; i++) {
        const json_t *network = json_object_get(site->nodes[i].facts, "network");
        const char *name = NULL;
        size_t j;
        json_t *item;
        json_array_foreach(json_object_get(network, "addresses"), j, item)
        {
            const char *address = json_string_value(json_object_get(item, "address"));
            if (address && kp_network_same_ip(address, site->nodes[i].node->address))
                name = json_string_value(json_object_get(item, "interface"));
        }
        json_array_foreach(json_object_get(network, "interfaces"), j, item)
        {
            const char *one = json_string_value(json_object_get(item, "name"));
            const char *text = json_string_value(json_object_get(item, "mtu"));
            uint64_t mtu;
            if (name && one && strcmp(one, name) == 0 &&
                kp_parse_u64(kp_slice_of(text), 65536, &mtu) && (json_int_t)mtu < least)
                least = (json_int_t)mtu;
        }
    }
    return least == INT_MAX ? 0 : (unsigned)least;
}

static char *network(const struct kp_inventory *inventory)
{
    kp_auto_free char *four = kp_network_of(inventory->kubernetes.pods, false);
    kp_auto_free char *six = kp_network_of(inventory->kubernetes.pods, true);
    if (four && six)
        return kp_asprintf("\"Network\": \"%s\", \"EnableIPv6\": true, \"IPv6Network\": \"%s\"",
                           four, six);
    if (six)
        return kp_asprintf("\"EnableIPv4\": false, \"EnableIPv6\": true, \"IPv6Network\": \"%s\"",
                           six);
    return kp_asprintf("\"Network\": \"%s\"", four ? four : inventory->kubernetes.pods);
}

/* Flannel takes 50 bytes off, and with IPv6 20 more are needed. */
static unsigned told_mtu(const struct kp_site *site)
{
    unsigned pods = site->inventory->net.mtu, found;
    if (pods)
        return pods + HEADERS4;
    if (!kp_inventory_has_ip6(site->inventory) || (found = least_mtu(site)) == 0)
        return 0;
    return found - (HEADERS6 - HEADERS4);
}

static char *backend(const struct kp_site *site)
{
    unsigned port = site->inventory->net.vxlan_port, mtu = told_mtu(site);
    kp_auto_value(kp_buf) out = KP_BUF(256);
    kp_buf_adds(&out, "\"Type\": \"vxlan\"");
    if (port)
        kp_buf_addf(&out, ", \"Port\": %u", port);
    if (mtu)
        kp_buf_addf(&out, ", \"MTU\": %u", mtu);
    return kp_buf_steal(&out);
}

static char *arguments(const struct kp_inventory *inventory)
{
    static const char old[] = "        - --kube-subnet-mgr";
    const char *interface = inventory->net.interface;
    return interface ? kp_asprintf("%s\n        - --iface=%s", old, interface) : kp_strdup(old);
}

char *kp_flannel_value(const struct kp_site *site, const char *with)
{
    if (strcmp(with, "flannel-network") == 0)
        return network(site->inventory);
    if (strcmp(with, "flannel-backend") == 0)
        return backend(site);
    return strcmp(with, "flannel-args") == 0 ? arguments(site->inventory) : NULL;
}
