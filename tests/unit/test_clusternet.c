/* SPDX-License-Identifier: Apache-2.0 */
/* What the cluster's own network is told: Flannel, kube-proxy, CoreDNS and its cache, and the
 * nodes' firewalls; against golden files (KP_GOLDEN=write writes them). */
#include "core/file.h"
#include "install/firewall.h"
#include "install/flannel.h"
#include "install/plugin.h"
#include "install/steps/dns.h"
#include "install/steps/kubeadm.h"
#include "install/steps/proxy.h"
#include "golden.h"

#include <criterion/criterion.h>
#include <stdlib.h>

struct sample { /* a control plane, a worker, a node that carries etcd alone; both families */
    struct kp_node nodes[3];
    struct kp_site_node site_nodes[3];
    struct kp_inventory inventory;
    struct kp_image images[3];
    struct kp_manifest manifest;
    struct kp_site site;
};

static void fill(struct sample *s)
{
    *s = (struct sample){
        .nodes = {{.name = "cp1",
                   .address = "10.77.0.11",
                   .address2 = "fd77::11",
                   .roles = KP_ROLE_CONTROL_PLANE,
                   .mirror = true},
                  {.name = "w1",
                   .address = "10.77.0.12",
                   .address2 = "fd77::12",
                   .roles = KP_ROLE_WORKER},
                  {.name = "e1", .address = "10.77.0.13", .roles = KP_ROLE_ETCD}},
        .images = {{.name = "kube-apiserver",
                    .reference = "registry.k8s.io/kube-apiserver:v1.31.14"},
                   {.name = "etcd", .reference = "registry.k8s.io/etcd:3.5.24-0"},
                   {.name = "coredns", .reference = "registry.k8s.io/coredns/coredns:v1.11.3"}},
    };
    s->inventory = (struct kp_inventory){.cluster = "demo",
                                         .nodes = s->nodes,
                                         .node_count = 3,
                                         .control_plane_count = 1,
                                         .mirror = {.port = 5000},
                                         .security = {.firewall = true, .tls = 12}};
    s->inventory.kubernetes.endpoint = "local";
    s->inventory.kubernetes.pods = "10.233.64.0/18,fd10:233:64::/56";
    s->inventory.kubernetes.services = "10.233.0.0/18,fd10:233::/108";
    s->inventory.kubernetes.domain = "cluster.local";
    s->inventory.etcd = (struct kp_etcd_options){
        .quota_bytes = ((uint64_t)2 << 30), .heartbeat_ms = 100, .election_ms = 1000};
    s->manifest = (struct kp_manifest){.kubernetes = "v1.31.14",
                                       .kubeadm_api = "v1beta4",
                                       .network = "flannel",
                                       .images = s->images,
                                       .image_count = KP_COUNT(s->images)};
    for (size_t i = 0; i < KP_COUNT(s->nodes); i++)
        s->site_nodes[i].node = &s->nodes[i];
    s->site = (struct kp_site){.inventory = &s->inventory,
                               .manifest = &s->manifest,
                               .nodes = s->site_nodes,
                               .node_count = KP_COUNT(s->nodes)};
}

Test(clusternet, kubeadm_of_both_families)
{
    struct sample s;
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *text = NULL;
    fill(&s);
    s.inventory.net.kube_proxy = KP_PROXY_NFTABLES;
    cr_assert_eq(kp_kubeadm_init_config(&text, &s.site, "abcdef.0123456789abcdef", NULL, &err), 0,
                 "%s", err.message);
    golden_check("init-dual.yaml", text);
}

/* seen kube-proxy-ipvs rendered */
Test(clusternet, kube_proxy_modes)
{
    static const struct {
        enum kp_proxy mode;
        const char *version, *vip, *has, *has_not;
    } table[] = {
        {KP_PROXY_NFTABLES, "v1.30.14", NULL, "{\"NFTablesProxyMode\":true}", "strictARP"},
        {KP_PROXY_NFTABLES, "v1.31.14", NULL, "mode: nftables", "featureGates"},
        {KP_PROXY_IPVS, "v1.31.14", NULL, "mode: ipvs", "strictARP"},
        {KP_PROXY_IPVS, "v1.31.14", "10.77.0.9", "strictARP: true", "featureGates"},
        {KP_PROXY_NONE, "v1.31.14", NULL, "skipPhases: [addon/kube-proxy]",
         "KubeProxyConfiguration"},
        {KP_PROXY_IPTABLES, "v1.31.14", NULL, "mode: iptables", "skipPhases"},
    };
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        struct sample s;
        struct kp_err err = KP_ERR_INIT;
        kp_auto_free char *text = NULL;
        fill(&s);
        s.inventory.net.kube_proxy = table[i].mode;
        s.manifest.kubernetes = table[i].version;
        s.inventory.kubernetes.vip_address = table[i].vip;
        s.inventory.kubernetes.endpoint = table[i].vip ? "kube-vip" : "local";
        cr_assert_eq(kp_kubeadm_init_config(&text, &s.site, "t.t", NULL, &err), 0, "%s",
                     err.message);
        cr_expect(strstr(text, table[i].has), "case %zu: no %s in %s", i, table[i].has, text);
        cr_expect_null(strstr(text, table[i].has_not), "case %zu: %s", i, table[i].has_not);
    }
}

Test(clusternet, what_flannel_is_told)
{
    static const struct {
        const char *pods, *with, *want;
        unsigned mtu, port;
    } table[] = {
        {"10.1.0.0/16", "flannel-network", "\"Network\": \"10.1.0.0/16\"", 0, 0},
        {"fd00::/56", "flannel-network",
         "\"EnableIPv4\": false, \"EnableIPv6\": true, \"IPv6Network\": \"fd00::/56\"", 0, 0},
        {"fd00::/56,10.1.0.0/16", "flannel-network",
         "\"Network\": \"10.1.0.0/16\", \"EnableIPv6\": true, \"IPv6Network\": \"fd00::/56\"", 0,
         0},
        {"10.1.0.0/16", "flannel-backend", "\"Type\": \"vxlan\"", 0, 0},
        {"10.1.0.0/16", "flannel-backend", "\"Type\": \"vxlan\", \"Port\": 4789, \"MTU\": 1450",
         1400, 4789},
        // 1500 of the interface: the IPv6 headers are 20 bytes more than Flannel takes off.
        {"fd00::/56", "flannel-backend", "\"Type\": \"vxlan\", \"MTU\": 1480", 0, 0},
    };
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        struct sample s;
        fill(&s);
        kp_auto_json facts =
            json_pack("{s:{s:[{s:s, s:s}], s:[{s:s, s:s}, {s:s, s:s}]}}", "network", "addresses",
                      "address", "10.77.0.12", "interface", "eth0", "interfaces", "name", "lo",
                      "mtu", "900", "name", "eth0", "mtu", "1500");
        s.site_nodes[1].facts = facts;
        s.inventory.kubernetes.pods = table[i].pods;
        s.inventory.net.mtu = table[i].mtu;
        s.inventory.net.vxlan_port = table[i].port;
        kp_auto_free char *got = kp_flannel_value(&s.site, table[i].with);
        cr_expect_str_eq(got, table[i].want, "case %zu", i);
    }
    struct sample s;
    fill(&s);
    s.inventory.net.interface = "eth1";
    kp_auto_free char *args = kp_flannel_value(&s.site, "flannel-args");
    cr_expect_str_eq(args, "        - --kube-subnet-mgr\n        - --iface=eth1");
    cr_expect_null(kp_flannel_value(&s.site, "pods"));
}

static char *told(const struct kp_site *site, const char *find, const char *with, const char *text)
{
    const struct kp_replace replace = {.find = find, .with = with};
    return kp_plugin_value(site, &replace, text);
}

Test(clusternet, what_cilium_is_told)
{
    static const char find[] = "  identity-allocation-mode: ";
    static const struct {
        const char *text, *pods, *interface, *want, *writes;
        unsigned mtu, port;
    } table[] = {
        {"", "10.1.0.0/16", NULL, "  identity-allocation-mode: ", "", 0, 0},
        // pods get what VXLAN leaves
        {"data:\n  routing-mode: \"tunnel\"\n", "10.1.0.0/16", "eth1",
         "  mtu: \"1450\"\n  tunnel-port: \"4789\"\n  devices: \"eth1\"\n"
         "  identity-allocation-mode: ",
         "mtu tunnel-port devices ", 1400, 4789},
        {"data:\n  routing-mode: \"native\"\n", "10.1.0.0/16", NULL,
         "  mtu: \"1400\"\n  identity-allocation-mode: ", "mtu ", 1400, 0},
        {"", "10.1.0.0/16,fd00::/56", NULL,
         "  enable-ipv6: \"true\"\n  k8s-require-ipv6-pod-cidr: \"true\"\n"
         "  identity-allocation-mode: ",
         "enable-ipv6 k8s-require-ipv6-pod-cidr ", 0, 0},
    };
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        struct sample s;
        kp_auto_value(kp_buf) writes = KP_BUF(256);
        const char *key;
        fill(&s);
        s.inventory.kubernetes.pods = table[i].pods;
        s.inventory.net.mtu = table[i].mtu;
        s.inventory.net.vxlan_port = table[i].port;
        s.inventory.net.interface = table[i].interface;
        kp_auto_free char *got = told(&s.site, find, "cilium-config", table[i].text);
        cr_expect_str_eq(got, table[i].want, "case %zu", i);
        for (size_t j = 0; (key = kp_plugin_writes(&s.site, "cilium-config", j)); j++)
            kp_buf_addf(&writes, "%s ", key);
        kp_auto_free char *keys = kp_buf_steal(&writes);
        cr_expect_str_eq(keys, table[i].writes, "case %zu", i);
        cr_expect_null(kp_plugin_writes(&s.site, "pods", 0));
    }
}

Test(clusternet, what_calico_is_told)
{
    static const struct {
        const char *with, *find, *want;
    } table[] = {
        {"calico-mtu", "veth_mtu: \"0\"", "veth_mtu: \"1400\""},
        {"calico-address", "- name: IP",
         "- name: IP\n            - name: IP_AUTODETECTION_METHOD\n"
         "              value: \"interface=^eth1$\""},
        {"calico-ipip", "x", "- name: CALICO_IPV4POOL_IPIP\n              value: \"Never\""},
        {"calico-vxlan", "x",
         "- name: CALICO_IPV4POOL_VXLAN\n              value: \"Always\"\n"
         "            - name: FELIX_VXLANPORT\n              value: \"4790\""},
        {"flannel-args", "x", "        - --kube-subnet-mgr\n        - --iface=eth1"},
        {"nothing", "x", NULL},
    };
    struct sample s, plain;
    fill(&s);
    fill(&plain);
    s.inventory.net.mtu = 1400;
    s.inventory.net.vxlan_port = 4790;
    s.inventory.net.interface = "eth1";
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        kp_auto_free char *got = told(&s.site, table[i].find, table[i].with, "");
        kp_auto_free char *as_it_was = told(&plain.site, table[i].find, table[i].with, "");
        if (!table[i].want) {
            cr_expect_null(got);
            continue;
        }
        cr_expect_str_eq(got, table[i].want, "case %zu", i);
        if (strncmp(table[i].with, "calico", 6) == 0)
            cr_expect_str_eq(as_it_was, table[i].find, "case %zu", i);
    }
}

Test(clusternet, dns)
{
    struct sample s;
    struct kp_err err = KP_ERR_INIT;
    const char *ntp[] = {"10.0.0.5"}, *db[] = {"10.0.0.6", "fd00::6"};
    struct kp_dns_host hosts[] = {{"ntp.site", ntp, 1}, {"db.site", db, 2}};
    kp_auto_free char *corefile = NULL;
    kp_auto_free char *cache = NULL;
    kp_auto_free char *ipvs = NULL;
    fill(&s);
    s.inventory.net.dns_hosts = hosts;
    s.inventory.net.dns_host_count = KP_COUNT(hosts);
    s.inventory.net.node_local_dns = true;
    cr_assert_eq(kp_dns_render_corefile(&corefile, &s.inventory, &err), 0, "%s", err.message);
    golden_check("corefile-hosts.yaml", corefile);
    cr_assert_eq(kp_dns_render_cache(&cache, &s.inventory,
                                     "registry.k8s.io/dns/k8s-dns-node-cache:1.25.0", &err),
                 0, "%s", err.message);
    golden_check("node-local-dns.yaml", cache);
    s.inventory.net.kube_proxy = KP_PROXY_IPVS;
    cr_assert_eq(kp_dns_render_cache(&ipvs, &s.inventory, "r/k8s-dns-node-cache:1", &err), 0);
    cr_expect(strstr(ipvs, "\"-localip\", \"169.254.20.10\"") &&
              strstr(ipvs, "setupiptables=false"));
}

static json_t *pods_on(const char *a, const char *b)
{
    return json_pack("{s:[{s:{s:s}, s:{s:s}}, {s:{s:s}, s:{s:s}}]}", "items", "metadata", "name",
                     "a", "spec", "nodeName", a, "metadata", "name", "b", "spec", "nodeName", b);
}

Test(clusternet, a_pod_of_coredns_moves_only_where_that_helps)
{
    kp_auto_json together = pods_on("cp1", "cp1");
    kp_auto_json apart = pods_on("cp1", "w1");
    kp_auto_json two =
        json_pack("{s:[{s:{s:[{s:s, s:s}]}}, {s:{}}]}", "items", "spec", "taints", "key",
                  "node-role.kubernetes.io/control-plane", "effect", "NoSchedule", "spec");
    kp_auto_json tainted = json_pack("{s:[{s:{}}, {s:{s:[{s:s, s:s}]}}]}", "items", "spec", "spec",
                                     "taints", "key", "gpu", "effect", "NoSchedule");
    kp_auto_json cordoned =
        json_pack("{s:[{s:{}}, {s:{s:b}}]}", "items", "spec", "spec", "unschedulable", 1);
    cr_expect_str_eq(kp_dns_crowded(together, two), "b");
    cr_expect_null(kp_dns_crowded(apart, two));
    cr_expect_null(kp_dns_crowded(together, tainted));
    cr_expect_null(kp_dns_crowded(together, cordoned));
}

static const char listing[] =
    "{\"nftables\": [{\"metainfo\": {}}, {\"table\": {\"family\": \"inet\"}},"
    "{\"chain\": {\"family\": \"inet\", \"table\": \"site\", \"name\": \"in\", \"type\": "
    "\"filter\", \"hook\": \"input\", \"prio\": 0, \"policy\": \"drop\"}},"
    "{\"chain\": {\"family\": \"ip\", \"table\": \"site4\", \"name\": \"through\", \"type\": "
    "\"filter\", \"hook\": \"forward\", \"prio\": 0, \"policy\": \"drop\"}},"
    "{\"chain\": {\"family\": \"inet\", \"table\": \"site\", \"name\": \"out\", \"type\": "
    "\"filter\", \"hook\": \"output\", \"prio\": 0, \"policy\": \"accept\"}},"
    "{\"chain\": {\"family\": \"ip\", \"table\": \"filter\", \"name\": \"INPUT\", \"type\": "
    "\"filter\", \"hook\": \"input\", \"prio\": 0, \"policy\": \"drop\"}},"
    "{\"chain\": {\"family\": \"inet\", \"table\": \"site\", \"name\": \"helper\"}},"
    "{\"chain\": {\"family\": \"inet\", \"table\": \"a; b\", \"name\": \"in\", \"type\": "
    "\"filter\", \"hook\": \"input\", \"policy\": \"drop\"}},"
    "{\"chain\": {\"family\": \"ip6\", \"table\": \"kube-proxy\", \"name\": \"x\", \"type\": "
    "\"filter\", \"hook\": \"input\", \"policy\": \"accept\"}}]}";

Test(clusternet, firewall_of_nftables)
{
    struct sample s;
    struct kp_err err = KP_ERR_INIT;
    struct kp_chain_at chains[KP_FIREWALL_CHAINS_MAX];
    kp_auto_json list = json_loads(listing, 0, NULL);
    fill(&s);
    size_t n = kp_firewall_chains(list, chains);
    cr_assert_eq(n, 3);
    cr_expect(chains[0].drops && chains[1].drops && !chains[2].drops);
    cr_expect_str_eq(chains[1].name, "through");
    for (size_t i = 0; i < KP_COUNT(s.nodes); i++) {
        kp_auto_free char *text = NULL;
        kp_auto_free char *name = kp_asprintf("firewall-nft-%s.sh", s.nodes[i].name);
        s.inventory.etcd.external = true;
        cr_assert_eq(kp_firewall_nft(&text, &s.site, &s.nodes[i], chains, n, &err), 0);
        golden_check(name, text);
    }
}

/* seen firewall-firewalld rendered */
/* seen firewall-ufw rendered */
Test(clusternet, firewall_of_firewalld_and_ufw)
{
    static const char *const api[] = {"10.1.0.0/16", "fd01::/64"};
    struct sample s;
    struct kp_firewalld_file files[KP_FIREWALLD_FILES_MAX];
    kp_auto_value(kp_buf) all = KP_BUF(1 << 20);
    fill(&s);
    s.inventory.security.api_from = (const char **)api;
    s.inventory.security.api_from_count = KP_COUNT(api);
    size_t n = kp_firewall_firewalld(&s.site, &s.nodes[0], files);
    for (size_t i = 0; i < n; i++) {
        kp_buf_addf(&all, "== %s\n%s", files[i].path, files[i].text ? files[i].text : "(none)\n");
        kp_free(files[i].path);
        kp_free(files[i].text);
    }
    golden_check("firewalld-cp1.txt", kp_buf_slice(&all).ptr);
    kp_auto_free char *ufw = kp_firewall_ufw(&s.site, &s.nodes[0]);
    golden_check("ufw-cp1.txt", ufw);
}

Test(clusternet, openings_by_role_and_plugin)
{
    static const struct {
        const char *network;
        size_t node;
        unsigned port;
        bool there;
    } table[] = {
        {"flannel", 0, 6443, true},  {"flannel", 1, 6443, false}, {"flannel", 0, 2379, true},
        {"flannel", 1, 2379, false}, {"flannel", 1, 8472, true},  {"flannel", 2, 10250, false},
        {"none", 1, 8472, false},    {"calico", 1, 179, true},    {"cilium", 1, 4240, true},
        {"cilium", 1, 179, false},   {"flannel", 0, 5000, true},  {"flannel", 1, 5000, false},
    };
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        struct sample s;
        struct kp_opening out[KP_OPENINGS_MAX];
        bool there = false;
        fill(&s);
        s.manifest.network = table[i].network;
        size_t n = kp_firewall_openings(&s.site, &s.nodes[table[i].node], out);
        for (size_t j = 0; j < n; j++)
            there = there || out[j].first == table[i].port;
        cr_expect_eq(there, table[i].there, "case %zu", i);
    }
}
