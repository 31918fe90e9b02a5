/* SPDX-License-Identifier: Apache-2.0 */
#include "install/steps/proxy.h"

#include "install/inventory/network.h"
#include "install/steps/common.h"
#include "install/steps/kubeadm.h"
#include "manifests/yaml.h"

#define CONFIG "/etc/kubernetes/kpack-proxy.yaml"

size_t kp_proxy_modules(const struct kp_inventory *inventory, const char **out, size_t max)
{
    static const char *const ipvs[] = {"ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_sh",
                                       "nf_conntrack"};
    static const char *const nftables[] = {"nf_tables"};
    unsigned mode = inventory->net.kube_proxy;
    const char *const *from = mode == KP_PROXY_IPVS ? ipvs : nftables;
    size_t count = mode == KP_PROXY_IPVS       ? KP_COUNT(ipvs)
                   : mode == KP_PROXY_NFTABLES ? KP_COUNT(nftables)
                                               : 0;
    size_t n = 0;
    for (; n < count && n < max; n++)
        out[n] = from[n];
    return n;
}

bool kp_wants_strict_arp(const struct kp_site *site)
{
    if (kp_endpoint_mode(site->inventory) == KP_ENDPOINT_VIP)
        return true;
    for (size_t i = 0; i < site->manifest->manifest_count; i++)
        if (strstr(site->manifest->manifests[i].name, "metallb"))
            return true;
    return false;
}

bool kp_proxy_trace(const struct kp_inventory *inventory, const char *address, const char **argv,
                    char **text, const char **alive)
{
    bool ip6 = strchr(address, ':') != NULL;
    const char *iptables[] = {ip6 ? "ip6tables-save" : "iptables-save", "-t", "nat", NULL};
    const char *nft[] = {"nft",        "list",        "map", ip6 ? "ip6" : "ip",
                         "kube-proxy", "service-ips", NULL};
    static const char *const ipvs[] = {"ip", "-o", "address", "show", "dev", "kube-ipvs0", NULL};
    const char *const *from = iptables;
    switch ((enum kp_proxy)inventory->net.kube_proxy) {
    case KP_PROXY_IPTABLES:
        *text = kp_asprintf(" %s/", address);
        *alive = "KUBE-SVC-";
        break;
    case KP_PROXY_NFTABLES:
        from = nft;
        *text = kp_asprintf("%s . tcp", address);
        *alive = " . tcp";
        break;
    case KP_PROXY_IPVS:
        from = ipvs;
        *text = kp_asprintf(" %s/", address);
        *alive = "inet";
        break;
    case KP_PROXY_NONE:
        return false;
    }
    size_t i = 0;
    for (; from[i]; i++)
        argv[i] = from[i];
    argv[i] = NULL;
    return true;
}

static char *guard(const struct kp_inventory *inventory, bool ip6)
{
    kp_auto_free char *pods = kp_network_of(inventory->kubernetes.pods, ip6);
    kp_auto_free char *services = kp_network_of(inventory->kubernetes.services, ip6);
    return pods && services ? kp_asprintf("from %s to %s", pods, services) : NULL;
}

void kp_proxy_guards(struct kp_vars *vars, const struct kp_inventory *inventory)
{
    kp_auto_free char *four = guard(inventory, false);
    kp_auto_free char *six = guard(inventory, true);
    if (four)
        kp_vars_add_pair(vars, "guards", "-4", four);
    if (six)
        kp_vars_add_pair(vars, "guards", "-6", six);
}

int kp_proxy_unguard(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    for (int ip6 = 0; ip6 < 2; ip6++) {
        kp_auto_free char *rule = guard(site->inventory, ip6);
        kp_auto_free char *script = kp_asprintf(
            "ip %s rule del %s pref 31000 unreachable 2>/dev/null", ip6 ? "-6" : "-4", rule);
        const char *argv[] = {"/bin/sh", "-c", script, NULL};
        int status;
        if (rule && kp_ask(site, node, argv, 30, &status, NULL, err) < 0)
            return -1;
    }
    return 0;
}

/* What of the running configuration is the inventory's to say. */
static bool is_so(const struct kp_site *site, const json_t *config)
{
    const struct kp_inventory *inventory = site->inventory;
    const char *mode = json_string_value(json_object_get(config, "mode"));
    const char *pods = json_string_value(json_object_get(config, "clusterCIDR"));
    bool strict = json_is_true(json_object_get(json_object_get(config, "ipvs"), "strictARP"));
    // kube-proxy takes nothing said for iptables.
    bool same =
        mode && strcmp(*mode ? mode : "iptables", kp_proxy_name(inventory->net.kube_proxy)) == 0;
    bool wanted = inventory->net.kube_proxy == KP_PROXY_IPVS && kp_wants_strict_arp(site);
    return same && pods && strcmp(pods, inventory->kubernetes.pods) == 0 && strict == wanted;
}

int kp_proxy_config(struct kp_site *site, json_t **config, struct kp_err *err)
{
    static const char *const argv[] = {"get",         "configmap", "kube-proxy", "-n",
                                       "kube-system", "-o",        "json",       NULL};
    kp_auto_json map = NULL;
    kp_auto(kp_yaml_document) document = NULL;
    bool found;
    if (kp_kube_json(site, &map, &found, argv, err) < 0)
        return -1;
    const char *text =
        json_string_value(json_object_get(json_object_get(map, "data"), "config.conf"));
    if (!found || !text)
        return 0;
    if (kp_yaml_parse(&document, kp_slice_of(text), "kube-proxy's config.conf", err) < 0)
        return -1;
    kp_auto_free char *json = kp_yaml_json(kp_yaml_root(document));
    return kp_json_parse(config, kp_slice_of(json), KP_YAML_MAX, "kube-proxy's config.conf", err);
}

static int take_away(struct kp_site *site, struct kp_site_node *first, struct kp_err *err)
{
    static const char *const argv[] = {"delete",      "daemonset,configmap", "kube-proxy", "-n",
                                       "kube-system", "--ignore-not-found",  NULL};
    struct kp_change change = {.changed = true};
    struct kp_slice none = {0};
    kp_step_changed(site, first, "take kube-proxy away (kube_proxy: none)", &change);
    return site->dry_run ? 0 : kp_kube(site, argv, none, NULL, err);
}

static int make(struct kp_site *site, struct kp_site_node *first, bool restart, struct kp_err *err)
{
    static const char *const phase[] = {KP_KUBEADM,   "init",     "phase", "addon",
                                        "kube-proxy", "--config", CONFIG,  NULL};
    static const char *const again[] = {"rollout", "restart",     "daemonset/kube-proxy",
                                        "-n",      "kube-system", NULL};
    struct kp_change change = {.changed = true};
    struct kp_slice none = {0};
    kp_auto_free char *what =
        kp_asprintf("kube-proxy: %s, pods %s", kp_proxy_name(site->inventory->net.kube_proxy),
                    site->inventory->kubernetes.pods);
    kp_step_changed(site, first, what, &change);
    if (site->dry_run)
        return 0;
    if (kp_kubeadm_configured(site, first, CONFIG, phase, err) < 0)
        return kp_wrap(err, "kube-proxy's configuration");
    return restart ? kp_kube(site, again, none, NULL, err) : 0;
}

int kp_proxy_apply(struct kp_site *site, struct kp_site_node *first, struct kp_err *err)
{
    kp_auto_json config = NULL;
    bool made;
    if (kp_cluster_made(site, &made, err) < 0)
        return -1;
    if (!made)
        return 0;
    if (kp_proxy_config(site, &config, err) < 0)
        return -1;
    if (site->inventory->net.kube_proxy == KP_PROXY_NONE)
        return config ? take_away(site, first, err) : 0;
    return config && is_so(site, config) ? 0 : make(site, first, config != NULL, err);
}
