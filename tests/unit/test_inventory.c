/* SPDX-License-Identifier: Apache-2.0 */
#include "core/file.h"
#include "install/inventory/inventory.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <unistd.h>

static int load(const char *text, struct kp_inventory **out, struct kp_err *err)
{
    char folder[] = "/tmp/kpack-inventory-XXXXXX";
    cr_assert_not_null(mkdtemp(folder));
    kp_auto_free char *path = kp_path_join(folder, "hosts.yaml");
    cr_assert_eq(kp_file_write_atomic(path, kp_slice_of(text), 0600, err), 0);
    int result = kp_inventory_load(out, path, err);
    struct kp_err ignored = KP_ERR_INIT;
    cr_assert_eq(kp_remove_tree(folder, &ignored), 0);
    return result;
}

#define HEAD "cluster: demo\n"
#define V6 "nodes:\n  - {name: cp1, address: \"fd77::b\", roles: [control-plane]}\n"
#define CP "nodes:\n  - {name: cp1, address: 10.77.0.11, roles: [control-plane]}\n"

Test(inventory, example_of_the_design)
{
    static const char text[] =
        "cluster: demo\n"
        "ssh: {user: ann, key: ~/.ssh/id_ed25519, sudo: password}\n"
        "kubernetes: {network: flannel, endpoint: local, pods: 10.233.64.0/18, services: "
        "10.233.0.0/18}\n"
        "nodes:\n"
        "  - {name: w1,  address: 10.77.0.12, roles: [worker], labels: {zone: a}, ssh: {user: "
        "root}}\n"
        "  - {name: cp1, address: 10.77.0.11, roles: [control-plane], host_key: \"ssh-ed25519 "
        "AAAA\"}\n"
        "  - {name: w2,  address: 10.77.0.13, roles: [worker], taints: [\"gpu=yes:NoSchedule\"]}\n";
    kp_auto(kp_inventory) inventory = NULL;
    struct kp_err err = KP_ERR_INIT;
    setenv("HOME", "/home/ann", 1);
    cr_assert_eq(load(text, &inventory, &err), 0, "%s", err.message);
    cr_assert_eq(inventory->node_count, 3);
    const struct kp_node *cp1 = &inventory->nodes[0], *w1 = &inventory->nodes[1];
    cr_assert_str_eq(cp1->name, "cp1"); // control planes first
    cr_assert_str_eq(w1->name, "w1");
    cr_assert(cp1->mirror && !w1->mirror);
    cr_assert(cp1->ask_password && cp1->ssh.sudo);
    cr_assert_str_eq(cp1->ssh.user, "ann");
    cr_assert_str_eq(cp1->ssh.key, "/home/ann/.ssh/id_ed25519");
    cr_assert_not(w1->ssh.sudo);
    cr_assert_str_eq(w1->labels[0].key, "zone");
    cr_assert_str_eq(inventory->nodes[2].taints[0].effect, "NoSchedule");
    cr_assert_eq(inventory->mirror.port, 5000);
    kp_auto_free char *name = kp_inventory_endpoint_name(inventory);
    cr_assert_str_eq(name, "demo.kpack.internal");
}

static const struct {
    const char *text, *say; /* a part of the message, after the path */
} bad[] = {
    {"nodes: []\n", "cluster"},
    {"cluster: Demo\n" CP, "hosts.yaml:1:10: cluster: Demo is not a name"},
    {HEAD "nodes: []\n", "no nodes"},
    {HEAD "nodes:\n  - {name: w1, address: 10.0.0.1, roles: [worker]}\n",
     "no node has the role control-plane"},
    {HEAD "nodes:\n  - {name: cp1, adress: 10.0.0.1, roles: [control-plane]}\n", "address"},
    {HEAD CP "    extra: 1\n", ""},
    {HEAD CP "kubernets: {}\n", "kubernetes"},
    {HEAD CP "  - {name: cp1, address: 10.77.0.12, roles: [worker]}\n", "name cp1 is that of"},
    {HEAD CP "  - {name: w1, address: 10.77.0.11, roles: [worker]}\n",
     "address 10.77.0.11 is that of"},
    {HEAD CP "  - {name: w1, address: 10.77.0.999, roles: [worker]}\n", "not an IP address"},
    {HEAD CP "  - {name: w1, address: 10.77.0.12, roles: [master]}\n", "master is not a role"},
    {HEAD CP "  - {name: w1, address: 10.77.0.12}\n", "roles"},
    {HEAD CP "  - {name: w_1, address: 10.77.0.12, roles: [worker]}\n", "not a node name"},
    {HEAD CP "kubernetes: {pods: 10.233.64.1/18}\n", "not a network"},
    {HEAD CP "kubernetes: {pods: 10.233.0.0/16, services: 10.233.0.0/18}\n", "overlaps"},
    {HEAD CP "kubernetes: {pods: 10.77.0.0/16}\n", "lies in the pods"},
    {HEAD CP "kubernetes: {pods: [10.0.0.0/16, 10.1.0.0/16]}\n",
     "pods[1]: 10.1.0.0/16 is of the same family as 10.0.0.0/16"},
    {HEAD CP "kubernetes: {pods: []}\n", "or a list of one of each family"},
    {HEAD CP "kubernetes: {pods: fd00::/56}\n", "so an IPv6 address is needed"},
    {HEAD CP "kubernetes: {pods: [10.0.0.0/16, \"fd00::/56\"]}\n",
     "cp1: address: the pods' network is 10.0.0.0/16,fd00::/56, so a list of an IPv4 and an "
     "IPv6 address is needed"},
    {HEAD CP "kubernetes: {pods: 10.0.0.0/16, services: [10.1.0.0/16, \"fd00::/108\"]}\n",
     "the same families in the same order as pods"},
    {HEAD CP "kubernetes: {pods: 10.0.0.0/25}\n",
     ":4:20: kubernetes.pods: 10.0.0.0/25 is too small"},
    {HEAD CP "  - {name: w1, address: 10.77.0.12, roles: [worker]}\n"
             "kubernetes: {pods: 10.0.0.0/24}\n",
     "enough for 1 nodes, and there are 2"},
    {HEAD V6 "kubernetes: {pods: \"fd00::/120\"}\n", "fd00::/120 is too small: /116"},
    {HEAD V6 "kubernetes: {pods: \"fd00::/40\"}\n", "too large: each node gets a /64"},
    {HEAD V6 "kubernetes: {services: \"fd00::/64\"}\n", "takes /108 at most"},
    {HEAD "nodes:\n  - {name: cp1, address: [10.77.0.11, 10.77.0.12], roles: "
          "[control-plane]}\n",
     "address[1]: 10.77.0.12 is of the same family"},
    {HEAD "nodes:\n  - {name: cp1, address: [10.77.0.11, \"fd77::b\"], roles: "
          "[control-plane]}\n  - {name: w1, address: [10.77.0.12, \"fd77::0:b\"], roles: "
          "[worker]}\n",
     "address fd77::0:b is that of"},
    {HEAD CP "kubernetes: {mtu: 900}\n", "1280"},
    {HEAD CP "kubernetes: {kube_proxy: userspace}\n", "one of iptables, ipvs, nftables, none"},
    {HEAD CP "kubernetes: {dns_hosts: {\"a b\": 10.0.0.1}}\n", "a b is not a DNS name"},
    {HEAD CP "kubernetes: {dns_hosts: {a.site: [10.0.0.1, x]}}\n", "x is not an IP address"},
    {HEAD CP "security: {api_from: [10.0.0.1]}\n", "10.0.0.1 is not a network"},
    {HEAD CP "kubernetes: {endpoint: somewhere}\n", "host:port"},
    {HEAD CP "kubernetes: {endpoint: kube-vip}\n", "kube-vip needs `vip"},
    {HEAD CP "kubernetes: {vip: {address: 10.77.0.9}}\n", "is for `endpoint: kube-vip` only"},
    {HEAD CP "kubernetes: {endpoint: kube-vip, vip: {address: x}}\n", "not an IP address"},
    {HEAD CP "kubernetes: {endpoint: kube-vip, vip: {}}\n", "address"},
    {HEAD CP "kubernetes: {endpoint: kube-vip, vip: {address: 10.77.0.9, interface: \"a b\"}}\n",
     "not the name of an interface"},
    {HEAD CP "kubernetes: {endpoint: kube-vip, vip: {address: 10.77.0.11}}\n",
     "is the address of cp1"},
    {HEAD CP "ssh: {user: \"ann; rm -rf /\"}\n", "not a user name"},
    {HEAD CP "ssh: {user: -oProxyCommand=x}\n", "not a user name"},
    {HEAD CP "ssh: {sudo: hunter2}\n", "sudo"},
    {HEAD CP "mirror: {port: 70000}\n", "port"},
    {HEAD CP "mirror: {folder: relative}\n", "absolute path"},
    {"all:\n  hosts: {}\n", "kube_control_plane has no hosts"},
    {HEAD HEAD CP, "cluster"},
    {HEAD CP "kubernetes: {apiserver: {args: {--v: 2}}}\n", "--v is not the name of an arg"},
    {HEAD CP "kubernetes: {apiserver: {args: {v: '\\'}}}\n", "without quotes and backslashes"},
    {HEAD CP "kubernetes: {apiserver: {args: {profiling: true}}}\n",
     ":4:33: kubernetes.apiserver.args.profiling: profiling is decided by security.profiling"},
    {HEAD CP "kubernetes: {apiserver: {args: {etcd-servers: a}}}\n", "is decided by etcd"},
    {HEAD CP "kubernetes: {scheduler: {args: {feature-gates: A=true}}}\n",
     "decided by kubernetes.feature_gates"},
    {HEAD CP "kubernetes: {apiserver: {args: {enable-admission-plugins: X}}}\n",
     "must have NodeRestriction"},
    {HEAD CP "kubernetes: {apiserver: {volumes: [{name: a, host_path: b, mount_path: /c}]}}\n",
     "volumes[0].host_path: b is not an absolute path"},
    {HEAD CP "kubernetes: {apiserver: {volumes: [{name: a, host_path: /b}]}}\n",
     "mount_path is missing"},
    {HEAD CP "kubernetes: {apiserver: {volumes: {}}}\n", "a list is needed"},
    {HEAD CP "kubernetes: {feature_gates: {NodeSwap: yes}}\n", "yes is not true or false"},
    {HEAD CP "kubernetes: {feature_gates: {nodeSwap: true}}\n", "not a feature gate's name"},
    {HEAD CP "kubernetes: {patches: nowhere}\n", ":4:23: kubernetes.patches: /tmp/kpack-inv"},
    {HEAD CP "kubernetes: {kube_proxy_config: {mode: ipvs}}\n", "set by kinstall itself"},
    {HEAD CP "kubernetes: {kubelet: {Max: 1}}\n", "Max is not a field of KubeletConfig"},
    {HEAD CP "sysctls: {vm: 1}\n", "vm is not a kernel parameter"},
    {HEAD CP "sysctls: {vm.x: \"a;b\"}\n", "a;b is not a kernel parameter's value"},
    {HEAD CP "sysctls: {kernel.panic: 0}\n", "cp1: sysctls: kernel.panic is set by kinstall"},
    {HEAD CP "sysctls: [a]\n", "a mapping (key: value) is needed"},
    {HEAD CP "groups: {gpu: {kublet: {}}}\n", "did you mean 'kubelet'?"},
    {HEAD CP "groups: {Gpu: {}}\n", "Gpu is not the name of a group"},
    {HEAD "nodes: [{name: c, address: 10.0.0.1, roles: [control-plane], groups: gpo}]\n"
          "groups: {gpu: {}}\n",
     "hosts.yaml:2: c: the inventory has no group gpo, did you mean 'gpu'?"},
    {HEAD "nodes: [{name: c, address: 10.0.0.1, roles: [control-plane, etcd]}]\n"
          "etcd: {args: {v: a}}\n",
     "is for stacked etcd only"},
    {HEAD CP "etcd: {args: {quota-backend-bytes: 1}}\n", "decided by etcd.quota_bytes"},
    {HEAD CP "pki: {certificate: a}\n", ":4:6: pki: certificate and key go together"},
    {HEAD CP "pki: {certificate: a, key: b, requested: true}\n", "either certificate and key"},
    {HEAD CP "etcd: {bakup: {}}\n", ":4:8: etcd.bakup: unknown key, did you mean 'backup'?"},
    {HEAD CP "etcd: {backup: {keep: 0}}\n", "whole number from 1 to 1000 is needed, not '0'"},
    {HEAD CP "etcd: {quota_bytes: 9GiB}\n", "size from 64MiB to 8GiB is needed"},
    {HEAD CP "etcd: {election_ms: 200}\n", ":4:21: etcd.election_ms: 200 is less than 5"},
    {HEAD CP "etcd: {mode: external}\n", "needs nodes with the role etcd"},
    {HEAD CP "etcd: [a]\n", "a mapping (key: value) is needed"},
    {HEAD CP "kubernetes: {resolvers: [10.0.0.1, dns]}\n", "resolvers[1]: dns is not an IP"},
    {HEAD CP "kubernetes: {kubelet: {readOnlyPort: 1}}\n", "set by kinstall itself"},
    {HEAD CP "security: {tls: \"1.1\"}\n", "one of 1.2, 1.3 is needed"},
    {HEAD CP "security: {audit: \"true\"}\n", "true or false is needed"},
    {HEAD CP "security: {pod_security_exempt: [a.b]}\n", "not a namespace"},
    {HEAD "nodes: [{name: c, address: 10.0.0.1, roles: [control-plane], labels: {a: -}}]\n",
     "labels.a: - is not a label value"},
    {HEAD "nodes: [{name: c, address: 10.0.0.1, roles: [control-plane], labels: {-: a}}]\n",
     "- is not a label name"},
    {HEAD "nodes: [{name: c, address: 10.0.0.1, roles: [control-plane], taints: [a:No]}]\n",
     "a taint is needed"},
};

Test(inventory, says_line_column_and_field)
{
    for (size_t i = 0; i < KP_COUNT(bad); i++) {
        kp_auto(kp_inventory) inventory = NULL;
        struct kp_err err = KP_ERR_INIT;
        cr_assert_eq(load(bad[i].text, &inventory, &err), -1, "case %zu: %s", i, bad[i].text);
        cr_assert_eq(err.code, KP_USAGE, "case %zu: %s", i, err.message);
        cr_assert_not_null(strstr(err.message, "hosts.yaml:"), "case %zu: %s", i, err.message);
        bool said = strstr(err.message, bad[i].say) || strstr(err.hint, bad[i].say);
        cr_assert(said, "case %zu: %s | %s", i, err.message, err.hint);
    }
}

Test(inventory, families)
{
    static const struct {
        const char *nodes, *kubernetes, *pods, *services, *dns;
        unsigned mask;
    } table[] = {
        {"10.77.0.11", "{}", "10.233.64.0/18", "10.233.0.0/18", "10.233.0.10", 0},
        {"\"fd77::b\"", "{}", "fd10:233:64::/56", "fd10:233::/108", "fd10:233::a", 64},
        {"[10.77.0.11, \"fd77::b\"]", "{}", "10.233.64.0/18,fd10:233:64::/56",
         "10.233.0.0/18,fd10:233::/108", "10.233.0.10", 64},
        {"[\"fd77::b\", 10.77.0.11]", "{}", "fd10:233:64::/56,10.233.64.0/18",
         "fd10:233::/108,10.233.0.0/18", "fd10:233::a", 64},
        {"[10.77.0.11, \"fd77::b\"]", "{pods: 10.1.0.0/16}", "10.1.0.0/16", "10.233.0.0/18",
         "10.233.0.10", 0},
        {"\"fd77::b\"", "{pods: \"fd00::/112\", kube_proxy: ipvs, node_local_dns: true}",
         "fd00::/112", "fd10:233::/108", KP_NODE_LOCAL_DNS6, 120},
        {"10.77.0.11", "{node_local_dns: true}", "10.233.64.0/18", "10.233.0.0/18", "10.233.0.10",
         0},
    };
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        kp_auto(kp_inventory) inventory = NULL;
        struct kp_err err = KP_ERR_INIT;
        kp_auto_free char *text = kp_asprintf(
            HEAD "nodes:\n  - {name: cp1, address: %s, roles: [control-plane]}\nkubernetes: %s\n",
            table[i].nodes, table[i].kubernetes);
        cr_assert_eq(load(text, &inventory, &err), 0, "case %zu: %s", i, err.message);
        cr_expect_str_eq(inventory->kubernetes.pods, table[i].pods, "case %zu", i);
        cr_expect_str_eq(inventory->kubernetes.services, table[i].services, "case %zu", i);
        kp_auto_free char *dns = kp_inventory_dns(inventory);
        cr_expect_str_eq(dns, table[i].dns, "case %zu", i);
        if (table[i].mask)
            cr_expect_eq(kp_inventory_mask6(inventory), table[i].mask, "case %zu", i);
    }
}

static const char *value_of(const struct kp_pair *pairs, size_t count, const char *key)
{
    const struct kp_pair *pair = kp_pair_find(pairs, count, key);
    return pair ? pair->value : "";
}

/* Later groups are above earlier ones, the node above both. */
Test(inventory, groups)
{
    static const char text[] =
        "cluster: demo\n"
        "sysctls: {vm.a: 1, vm.b: 1}\n"
        "groups:\n"
        "  slow: {labels: {disk: slow, x: a}, kubelet: {maxPods: 10}, sysctls: {vm.b: 2}}\n"
        "  big: {labels: {disk: big}, annotations: {note: b}, kubelet: {maxPods: 99}}\n"
        "nodes:\n"
        "  - {name: cp1, address: 10.77.0.11, roles: [control-plane]}\n"
        "  - {name: w1, address: 10.77.0.12, roles: [worker], groups: [slow, big], sysctls: {vm.a: "
        "3},\n"
        "     labels: {x: own}, kubelet: {podPidsLimit: 7}}\n"
        "  - {name: w2, address: 10.77.0.13, roles: [worker], groups: slow}\n";
    kp_auto(kp_inventory) inventory = NULL;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(load(text, &inventory, &err), 0, "%s", err.message);
    const struct kp_node *cp1 = &inventory->nodes[0], *w1 = cp1 + 1, *w2 = cp1 + 2;
    cr_expect_eq(cp1->label_count + cp1->kubelet_count + cp1->annotation_count, 0);
    cr_expect_str_eq(value_of(cp1->sysctls, cp1->sysctl_count, "vm.b"), "1");
    cr_expect_str_eq(value_of(w1->labels, w1->label_count, "disk"), "big");
    cr_expect_str_eq(value_of(w1->labels, w1->label_count, "x"), "own");
    cr_expect_str_eq(value_of(w1->annotations, w1->annotation_count, "note"), "b");
    cr_expect_str_eq(value_of(w1->kubelet, w1->kubelet_count, "maxPods"), "99");
    cr_expect_str_eq(value_of(w1->kubelet, w1->kubelet_count, "podPidsLimit"), "7");
    cr_expect_str_eq(value_of(w1->sysctls, w1->sysctl_count, "vm.a"), "3");
    cr_expect_str_eq(value_of(w1->sysctls, w1->sysctl_count, "vm.b"), "2");
    cr_expect_str_eq(value_of(w2->kubelet, w2->kubelet_count, "maxPods"), "10");
    cr_expect_eq(w2->sysctl_count, 2);
}

Test(inventory, names_of_patches)
{
    static const struct {
        const char *name, *target;
    } names[] = {
        {"kube-apiserver.yaml", "kube-apiserver"},
        {"kube-apiserver0+merge.json", "kube-apiserver"},
        {"etcd+json.yaml", "etcd"},
        {"kubeletconfiguration-a+strategic.yaml", "kubeletconfiguration"},
        {"kube-proxy.yaml", NULL},
        {"etcd.yml", NULL},
        {"etcd+patch.yaml", NULL},
        {"etcd.a.yaml", NULL},
        {"etcd", NULL},
        {"../etcd.yaml", NULL},
        {"etcd a.yaml", NULL},
    };
    for (size_t i = 0; i < KP_COUNT(names); i++) {
        const char *target = kp_patch_target(names[i].name);
        cr_expect(target && names[i].target ? strcmp(target, names[i].target) == 0
                                            : target == names[i].target,
                  "%s: %s", names[i].name, target);
    }
}

static int load_with_patch(const char *name, const char *patch, struct kp_inventory **out,
                           struct kp_err *err)
{
    char folder[] = "/tmp/kpack-inventory-XXXXXX";
    cr_assert_not_null(mkdtemp(folder));
    kp_auto_free char *patches = kp_path_join(folder, "patches");
    kp_auto_free char *file = kp_path_join(patches, name);
    kp_auto_free char *path = kp_path_join(folder, "hosts.yaml");
    cr_assert_eq(kp_mkdirs(patches, 0755, err), 0);
    cr_assert_eq(kp_file_write_atomic(file, kp_slice_of(patch), 0600, err), 0);
    cr_assert_eq(kp_file_write_atomic(path, kp_slice_of(HEAD CP "kubernetes: {patches: patches}\n"),
                                      0600, err),
                 0);
    int result = kp_inventory_load(out, path, err);
    struct kp_err ignored = KP_ERR_INIT;
    cr_assert_eq(kp_remove_tree(folder, &ignored), 0);
    return result;
}

Test(inventory, patches_are_read_and_judged)
{
    static const struct {
        const char *name, *text, *say; /* NULL: good */
    } cases[] = {
        {"kube-apiserver+merge.yaml", "metadata: {annotations: {a: b}}\n", NULL},
        {"etcd+json.json", "[{\"op\": \"remove\", \"path\": \"/a\"}]", NULL},
        {"etcd+json.json", "[{\"op\": \"remove\"}]", "an operation (op, path, value)"},
        {"etcd+json.json", "{}", "a list of operations"},
        {"etcd.yaml", "- a\n", "is a mapping"},
        {"etcd.yaml", "a: [\n", "patches/etcd.yaml"},
        {"readme.txt", "a", "not a name that kubeadm knows"},
    };
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        kp_auto(kp_inventory) inventory = NULL;
        struct kp_err err = KP_ERR_INIT;
        int result = load_with_patch(cases[i].name, cases[i].text, &inventory, &err);
        cr_expect_eq(result, cases[i].say ? -1 : 0, "%zu: %s", i, err.message);
        if (cases[i].say)
            cr_expect(strstr(err.message, cases[i].say), "%zu: %s", i, err.message);
        else if (inventory)
            cr_expect_str_eq(inventory->kubernetes.patches[0].text, cases[i].text);
    }
}

/* A namespace that is said to be closed must not be open in secret. */
Test(inventory, isolated_needs_a_network_that_enforces)
{
    static const struct {
        const char *network;
        int result;
    } cases[] = {{"flannel", -1}, {"cilium", 0}, {"calico", 0}, {"custom", 0}};
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        const struct kp_manifest manifest = {.kubernetes = "v1.30.14", .network = cases[i].network};
        kp_auto(kp_inventory) inventory = NULL;
        struct kp_err err = KP_ERR_INIT;
        cr_assert_eq(load(HEAD CP "security: {isolated: [vault]}\n", &inventory, &err), 0, "%s",
                     err.message);
        cr_expect_eq(kp_inventory_check_bundle(inventory, &manifest, &err), cases[i].result, "%s",
                     cases[i].network);
        if (cases[i].result < 0)
            cr_expect_str_eq(err.reason, "policy_not_enforced");
    }
}

/* What the bundle's network has no place for is refused, not lost. */
Test(inventory, the_network_must_be_told_of_what_is_said)
{
    static const char six[] = "kubernetes: {pods: \"fd10::/56\", services: \"fd11::/108\"}\n";
    static const struct {
        const char *text, *with, *say; /* NULL: good */
    } cases[] = {
        {"kubernetes: {mtu: 1400}\n", "flannel-backend", NULL},
        {"kubernetes: {mtu: 1400}\n", "flannel-args", "kubernetes.mtu"},
        {"kubernetes: {mtu: 1400, vxlan_port: 1, interface: eth1}\n", "cilium-config", NULL},
        {"kubernetes: {mtu: 1400}\n", "calico-mtu", NULL},
        {"kubernetes: {vxlan_port: 4790}\n", "calico-vxlan", NULL},
        {"kubernetes: {vxlan_port: 4790}\n", "calico-ipip", "kubernetes.vxlan_port"},
        {"kubernetes: {interface: eth1}\n", "calico-address", NULL},
        {"kubernetes: {interface: eth1}\n", "calico-mtu", "kubernetes.interface"},
        {"", "of-tomorrow", "does not know the value 'of-tomorrow'"},
        {six, "pods", "not told of IPv6"},
        {six, "cilium-config", "not told of IPv6 alone"},
        {six, "flannel-network", NULL},
    };
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        struct kp_replace replace = {"x", cases[i].with};
        struct kp_cluster_manifest one = {.name = "net", .replace = &replace, .replace_count = 1};
        const struct kp_manifest manifest = {
            .kubernetes = "v1.30.14", .network = "any", .manifests = &one, .manifest_count = 1};
        kp_auto(kp_inventory) inventory = NULL;
        kp_auto_free char *text = kp_asprintf(
            "cluster: demo\nnodes:\n  - {name: cp1, address: %s, roles: [control-plane]}\n%s",
            cases[i].text == six ? "\"fd77::1\"" : "10.77.0.11", cases[i].text);
        struct kp_err err = KP_ERR_INIT;
        cr_assert_eq(load(text, &inventory, &err), 0, "%s", err.message);
        int result = kp_inventory_check_bundle(inventory, &manifest, &err);
        cr_expect_eq(result, cases[i].say ? -1 : 0, "%zu: %s", i, err.message);
        if (cases[i].say && result < 0)
            cr_expect(strstr(err.message, cases[i].say), "%zu: %s", i, err.message);
    }
}
