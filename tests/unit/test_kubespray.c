/* SPDX-License-Identifier: Apache-2.0 */
#include "core/file.h"
#include "install/inventory/inventory.h"
#include "install/inventory/kubespray.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <unistd.h>

/* A folder "Site_1" of files, as inventory/mycluster is in Kubespray. */
static char above[] = "/tmp/kpack-kubespray-XXXXXX";
static char *folder;

static void begin(void)
{
    struct kp_err err = KP_ERR_INIT;
    cr_assert_not_null(mkdtemp(above));
    folder = kp_path_join(above, "Site_1");
    cr_assert_eq(kp_mkdirs(folder, 0755, &err), 0);
}

static void end(void)
{
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_remove_tree(above, &err), 0);
    kp_free(folder);
}

static void put(const char *name, const char *text)
{
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *path = kp_path_join(folder, name);
    kp_auto_free char *parent = kp_path_dir(path);
    cr_assert_eq(kp_mkdirs(parent, 0755, &err), 0, "%s", err.message);
    cr_assert_eq(kp_file_write_atomic(path, kp_slice_of(text), 0644, &err), 0, "%s", err.message);
}

static int load(struct kp_inventory **out, struct kp_err *err)
{
    kp_auto_free char *path = kp_path_join(folder, "hosts.yaml");
    return kp_inventory_load(out, path, err);
}

#define GROUPS                                                                                     \
    "  children:\n"                                                                                \
    "    kube_control_plane: {hosts: {node1: }}\n"                                                 \
    "    kube_node: {hosts: {node1: , node2: }}\n"                                                 \
    "    etcd: {hosts: {node1: }}\n"                                                               \
    "    k8s_cluster: {children: {kube_control_plane: , kube_node: }}\n"                           \
    "    calico_rr: {hosts: {}}\n"
#define HOSTS                                                                                      \
    "all:\n  hosts:\n"                                                                             \
    "    node1: {ansible_host: 192.0.2.1, ip: 10.77.0.11, access_ip: 10.77.0.11}\n"                \
    "    node2: {ansible_host: 10.77.0.12}\n"

Test(kubespray, sample, .init = begin, .fini = end)
{
    put("hosts.yaml", HOSTS "  vars: {ansible_user: ann, ansible_port: 2222}\n" GROUPS);
    put("group_vars/all/all.yml", "---\nbin_dir: /usr/local/bin\n"
                                  "ansible_become_password: \"{{ vault_password }}\"\n"
                                  "upstream_dns_servers:\n  - 10.77.0.1\n");
    put("group_vars/all/aws.yml", "---\n# cloud: aws\n\n");
    put("group_vars/k8s_cluster/k8s-cluster.yml",
        "kube_version: 1.30.14\nkube_network_plugin: flannel\ncluster_name: site.local\n"
        "dns_domain: \"{{ cluster_name }}\"\nkube_pods_subnet: 10.100.0.0/16\n"
        "kube_service_addresses: 10.96.0.0/16\nkubelet_fail_swap_on: false\n"
        "kube_apiserver_ip: \"{{ kube_service_addresses | ipaddr }}\"\n"
        "supplementary_addresses_in_ssl_keys: [10.0.0.9, api.site]\n"
        "loadbalancer_apiserver: {address: 10.0.0.9, port: 8443}\n");
    put("host_vars/node2.yml", "node_labels: {zone: b}\nnode_taints: [\"gpu=yes:NoSchedule\"]\n"
                               "ansible_user: root\n");
    kp_auto(kp_inventory) inventory = NULL;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(load(&inventory, &err), 0, "%s", err.message);
    cr_assert_str_eq(inventory->cluster, "site-1");
    cr_assert_str_eq(inventory->kubernetes.version, "v1.30.14");
    cr_assert_str_eq(inventory->kubernetes.network, "flannel");
    cr_assert_str_eq(inventory->kubernetes.domain, "site.local");
    cr_assert_str_eq(inventory->kubernetes.pods, "10.100.0.0/16");
    cr_assert_str_eq(inventory->kubernetes.services, "10.96.0.0/16");
    cr_assert_str_eq(inventory->kubernetes.endpoint, "10.0.0.9:8443");
    cr_assert_str_eq(inventory->kubernetes.resolvers[0], "10.77.0.1");
    cr_assert_str_eq(inventory->kubernetes.cert_sans[1], "api.site");
    cr_assert(inventory->kubernetes.keep_swap);
    cr_assert_eq(inventory->node_count, 2);
    const struct kp_node *node1 = &inventory->nodes[0], *node2 = &inventory->nodes[1];
    cr_assert_eq(node1->roles, KP_ROLE_CONTROL_PLANE | KP_ROLE_WORKER);
    cr_assert_str_eq(node1->address, "10.77.0.11");
    cr_assert_str_eq(node1->ssh.address, "192.0.2.1");
    cr_assert_str_eq(node1->ssh.user, "ann");
    cr_assert(node1->ask_password);
    cr_assert_eq(node1->ssh.port, 2222);
    cr_assert_eq(node2->roles, KP_ROLE_WORKER);
    cr_assert_str_eq(node2->address, "10.77.0.12");
    cr_assert_str_eq(node2->ssh.user, "root");
    cr_assert_str_eq(node2->labels[0].value, "b");
    cr_assert_str_eq(node2->taints[0].value, "yes");
    // what has no meaning is named with its place; a value never is
    cr_assert(strstr(inventory->notes, "all.yml:2: bin_dir\n"), "%s", inventory->notes);
    cr_assert(strstr(inventory->notes, "k8s-cluster.yml:8: kube_apiserver_ip\n"));
    cr_assert_null(strstr(inventory->notes, "/usr/local/bin"));
    cr_assert_null(strstr(inventory->notes, "kube_pods_subnet"));
}

Test(kubespray, both_families, .init = begin, .fini = end)
{
    put("hosts.yaml", "all:\n  hosts:\n"
                      "    node1: {ip: 10.77.0.11, ip6: \"fd77::11\"}\n"
                      "    node2: {ip: 10.77.0.12, ip6: \"fd77::12\"}\n" GROUPS);
    put("group_vars/all.yml", "kube_network_plugin: flannel\nenable_dual_stack_networks: true\n"
                              "kube_pods_subnet: 10.100.0.0/16\nkube_proxy_mode: nftables\n"
                              "kube_pods_subnet_ipv6: fd01::/112\n");
    kp_auto(kp_inventory) inventory = NULL;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(load(&inventory, &err), 0, "%s", err.message);
    cr_expect_str_eq(inventory->kubernetes.pods, "10.100.0.0/16,fd01::/112");
    cr_expect_str_eq(inventory->kubernetes.services, "10.233.0.0/18,fd85:ee78:d8a6:8607::1000/116");
    cr_expect_str_eq(inventory->nodes[1].address2, "fd77::12");
    cr_expect_eq(inventory->net.kube_proxy, KP_PROXY_NFTABLES);
}

/* all < a parent < its child < files of group_vars < the host < host_vars, as in Ansible. */
Test(kubespray, precedence, .init = begin, .fini = end)
{
    static const struct {
        const char *file, *text, *domain;
    } later_wins[] = {
        {NULL, NULL, "inner.all"},
        {"group_vars/all.yml", "dns_domain: files.all\n", "files.all"},
        {"group_vars/k8s_cluster.yml", "dns_domain: files.cluster\n", "files.cluster"},
        {"group_vars/kube_control_plane/z.yml", "dns_domain: files.cp\n", "files.cp"},
        {"host_vars/node1/a.yaml", "dns_domain: files.host\n", "files.host"},
    };
    put("hosts.yaml",
        HOSTS "  vars: {kube_network_plugin: flannel, dns_domain: inner.all}\n" GROUPS);
    for (size_t i = 0; i < KP_COUNT(later_wins); i++) {
        kp_auto(kp_inventory) inventory = NULL;
        struct kp_err err = KP_ERR_INIT;
        if (later_wins[i].file)
            put(later_wins[i].file, later_wins[i].text);
        cr_assert_eq(load(&inventory, &err), 0, "%s", err.message);
        cr_assert_str_eq(inventory->kubernetes.domain, later_wins[i].domain);
    }
}

Test(kubespray, default_network_and_bastion, .init = begin, .fini = end)
{
    put("hosts.yaml",
        HOSTS "    gate: {ansible_host: gate.site, ansible_user: joe}\n"
              "    spare: {ip: 10.77.0.19}\n" GROUPS "    bastion: {hosts: {gate: }}\n");
    put("group_vars/all.yml", "ansible_user: root\nloadbalancer_apiserver_localhost: no\n");
    put("host_vars/node1.yml", "$ANSIBLE_VAULT;1.1;AES256\n6162\n");
    kp_auto(kp_inventory) inventory = NULL;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(load(&inventory, &err), 0, "%s", err.message);
    cr_assert_str_eq(inventory->kubernetes.network, "calico");
    cr_assert_str_eq(inventory->kubernetes.endpoint, "first");
    cr_assert_str_eq(inventory->nodes[1].ssh.jump, "joe@gate.site");
    cr_assert_eq(inventory->node_count, 2);
    cr_assert(strstr(inventory->notes, "host spare is neither in"), "%s", inventory->notes);
    cr_assert(strstr(inventory->notes, "node1.yml: encrypted by ansible-vault"));
}

Test(kubespray, says_what_is_wrong, .init = begin, .fini = end)
{
    static const struct {
        const char *hosts, *vars, *say;
    } bad[] = {
        {"all:\n  children:\n    kube_node: {hosts: {node2: {ip: 10.77.0.12}}}\n", "a: 1\n",
         "kube_control_plane has no hosts"},
        {HOSTS GROUPS, "container_manager: docker\n",
         "all.yml:1:20: container_manager: kinstall runs"},
        {HOSTS GROUPS, "kube_pods_subnet: \"{{ a | b }}\"\n",
         "all.yml:1:19: kube_pods_subnet: a temp"},
        {HOSTS GROUPS, "kube_pods_subnet: [a]\n", "one value is needed"},
        {HOSTS GROUPS, "kube_pods_subnet: 10.1.2.3\n", "not a network"},
        {HOSTS GROUPS, "kubelet_fail_swap_on: perhaps\n", "true or false is needed"},
        {HOSTS GROUPS, "loadbalancer_apiserver: {port: 1}\n", "address is missing"},
        {HOSTS GROUPS, "- a\n- b\n", "all.yml:1:1: variables (name: value) are needed"},
        {HOSTS GROUPS, "password: !vault abc\n", "tags and anchors"},
        {HOSTS GROUPS, "node_labels: a\n", "labels (name: value) are needed"},
        {HOSTS GROUPS, "dns_domain: \"{{ a }}\"\na: \"{{ dns_domain }}\"\n", "a template"},
        {"all:\n  hosts:\n    node[1:3]:\n", "a: 1\n", "written one by one"},
        {"all:\n  hots: {node1: }\n", "a: 1\n", "hosts"},
        {"all:\n  hosts: {node1: 7}\n", "a: 1\n", "variables of the host"},
        {"all:\n  hosts: {node1: }\n  children: {kube_control_plane: {hosts: {node1: }}}\n",
         "a: 1\n", "node1 is not an IP address"},
    };
    for (size_t i = 0; i < KP_COUNT(bad); i++) {
        kp_auto(kp_inventory) inventory = NULL;
        struct kp_err err = KP_ERR_INIT;
        put("hosts.yaml", bad[i].hosts);
        put("group_vars/all.yml", bad[i].vars);
        cr_expect_eq(load(&inventory, &err), -1, "%zu: %s", i, bad[i].vars);
        cr_expect(strstr(err.message, bad[i].say), "%zu: wanted \"%s\" in: %s", i, bad[i].say,
                  err.message);
        cr_expect_eq(err.code, KP_USAGE, "%zu", i);
    }
}

/* docs/inventory.md has each variable. */
Test(kubespray, documented)
{
    kp_auto_free char *text = NULL;
    size_t len;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_file_read(KP_SOURCE_DIR "/docs/inventory.md", KP_YAML_MAX, &text, &len, &err),
                 0, "%s", err.message);
    for (size_t i = 0; kp_kubespray_terms[i].name; i++) {
        kp_auto_free char *row =
            kp_asprintf("| `%s` | %s |", kp_kubespray_terms[i].name, kp_kubespray_terms[i].ours);
        cr_expect(strstr(text, row), "docs/inventory.md has no line: %s", row);
    }
}
