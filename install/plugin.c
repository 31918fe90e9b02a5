/* SPDX-License-Identifier: Apache-2.0 */
#include "install/plugin.h"

#include "install/flannel.h"

#define VXLAN_HEADERS 50 /* over IPv4 */

/* --- Cilium: lines of the ConfigMap cilium-config ----------------------------------------------
 */

/* The agent wants that of the nodes' network; where it tunnels, it gives pods what is left. */
static unsigned cilium_mtu(const struct kp_site *site, const char *text)
{
    unsigned pods = site->inventory->net.mtu;
    return strstr(text, "\n  routing-mode: \"native\"") ? pods : pods + VXLAN_HEADERS;
}

struct line {
    const char *key;
    char value[64];
};
#define CILIUM_LINES_MAX 5

/* What the inventory says, as Cilium names it; the number of lines. */
static size_t cilium_lines(const struct kp_site *site, const char *text,
                           struct line lines[CILIUM_LINES_MAX])
{
    const struct kp_network_options *net = &site->inventory->net;
    size_t n = 0;
    memset(lines, 0, CILIUM_LINES_MAX * sizeof(*lines));
    if (net->mtu) {
        lines[n].key = "mtu";
        snprintf(lines[n++].value, sizeof(lines->value), "%u", cilium_mtu(site, text));
    }
    if (net->vxlan_port) {
        lines[n].key = "tunnel-port";
        snprintf(lines[n++].value, sizeof(lines->value), "%u", net->vxlan_port);
    }
    if (net->interface) {
        lines[n].key = "devices";
        snprintf(lines[n++].value, sizeof(lines->value), "%s", net->interface);
    }
    if (kp_inventory_has_ip6(site->inventory)) {
        lines[n++] = (struct line){"enable-ipv6", "true"};
        lines[n++] = (struct line){"k8s-require-ipv6-pod-cidr", "true"};
    }
    return n;
}

static char *cilium_config(const struct kp_site *site, const char *find, const char *text)
{
    struct line lines[CILIUM_LINES_MAX];
    size_t n = cilium_lines(site, text, lines);
    kp_auto_value(kp_buf) out = KP_BUF(1024);
    for (size_t i = 0; i < n; i++)
        kp_buf_addf(&out, "  %s: \"%s\"\n", lines[i].key, lines[i].value);
    kp_buf_adds(&out, find);
    return kp_buf_steal(&out);
}

const char *kp_plugin_writes(const struct kp_site *site, const char *with, size_t i)
{
    struct line lines[CILIUM_LINES_MAX];
    size_t n = strcmp(with, "cilium-config") == 0 ? cilium_lines(site, "", lines) : 0;
    return i < n ? lines[i].key : NULL;
}

/* --- Calico: a ConfigMap's value, and the environment of calico-node ----------------------------
 */

static char *calico_mtu(const struct kp_site *site, const char *find, const char *text)
{
    (void)text;
    unsigned mtu = site->inventory->net.mtu;
    return mtu ? kp_asprintf("veth_mtu: \"%u\"", mtu) : kp_strdup(find);
}

/* A port of VXLAN means VXLAN; as it comes, Calico puts IP into IP. */
static char *calico_ipip(const struct kp_site *site, const char *find, const char *text)
{
    (void)text;
    if (!site->inventory->net.vxlan_port)
        return kp_strdup(find);
    return kp_strdup("- name: CALICO_IPV4POOL_IPIP\n              value: \"Never\"");
}

static char *calico_vxlan(const struct kp_site *site, const char *find, const char *text)
{
    (void)text;
    unsigned port = site->inventory->net.vxlan_port;
    if (!port)
        return kp_strdup(find);
    return kp_asprintf("- name: CALICO_IPV4POOL_VXLAN\n              value: \"Always\"\n"
                       "            - name: FELIX_VXLANPORT\n              value: \"%u\"",
                       port);
}

/* The method takes an expression. */
static char *calico_address(const struct kp_site *site, const char *find, const char *text)
{
    (void)text;
    const char *interface = site->inventory->net.interface;
    if (!interface)
        return kp_strdup(find);
    return kp_asprintf("%s\n            - name: IP_AUTODETECTION_METHOD\n"
                       "              value: \"interface=^%s$\"",
                       find, interface);
}

char *kp_plugin_value(const struct kp_site *site, const struct kp_replace *replace,
                      const char *text)
{
    static const struct {
        const char *with;
        char *(*value)(const struct kp_site *site, const char *find, const char *text);
    } table[] = {
        {"cilium-config", cilium_config},   {"calico-mtu", calico_mtu},
        {"calico-ipip", calico_ipip},       {"calico-vxlan", calico_vxlan},
        {"calico-address", calico_address},
    };
    for (size_t i = 0; i < KP_COUNT(table); i++)
        if (strcmp(table[i].with, replace->with) == 0)
            return table[i].value(site, replace->find, text);
    return kp_flannel_value(site, replace->with);
}
