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
        {HOSTS GROUPS, "node_labels: a\n", "texts (name: value) are needed"},
        {HOSTS GROUPS, "additional_sysctl: [{name: a.b}]\n", "a kernel parameter"},
        {HOSTS GROUPS, "additional_sysctl: x\n", "a list of kernel parameters"},
        {HOSTS GROUPS, "kube_feature_gates: [A]\n", "pairs (name=value)"},
        {HOSTS GROUPS, "kubelet_config_extra_args: [A]\n", "fields (name: value)"},
        {HOSTS GROUPS, "kubelet_config_extra_args: {maxPods: \"{{ a }}\"}\n", "a template"},
        {HOSTS GROUPS, "kube_kubeadm_scheduler_extra_args: [A]\n", "arguments (name: value)"},
        {HOSTS GROUPS, "scheduler_extra_volumes: [{name: a}]\n", "a volume (name, hostPath"},
        {HOSTS GROUPS, "containerd_registries_mirrors: [{prefix: a}]\n", "prefix and mirrors"},
        {HOSTS GROUPS, "containerd_registry_auth: [{registry: a}]\n", "registry and username"},
        {HOSTS GROUPS, "crio_registries: [{insecure: true}]\n", "prefix or location"},
        {HOSTS GROUPS, "http_proxy: http://a:b@c:1\n", "a user's name and password"},
        {HOSTS GROUPS, "dns_etchosts: \"ntp 10.0.0.1\"\n", "an address and its names"},
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

/* What the inventory becomes, and its notes. */
static int convert(struct kp_buf *out, struct kp_buf *notes, struct kp_err *err)
{
    kp_auto(kp_yaml_document) document = NULL;
    kp_auto_free char *path = kp_path_join(folder, "hosts.yaml");
    if (kp_yaml_load(&document, path, err) < 0)
        return -1;
    return kp_kubespray_convert(out, notes, path, kp_yaml_root(document), err);
}

/* On node1, a control plane, and node2, which is none. */
static const struct setting {
    const char *vars, *node2, *says, *note;
} settings[] = {
    {"kube_kubeadm_apiserver_extra_args: {max-requests-inflight: 800, profiling: true}\n", NULL,
     "  apiserver:\n    args:\n      max-requests-inflight: \"800\"\n",
     "kube_kubeadm_apiserver_extra_args: profiling is decided by security.profiling"},
    {"kube_kubeadm_controller_extra_args: {concurrent-gc-syncs: \"10\"}\n", NULL,
     "  controller_manager:\n    args:\n      concurrent-gc-syncs: \"10\"\n", NULL},
    {"kube_kubeadm_scheduler_extra_args: {v: 4}\n", NULL,
     "  scheduler:\n    args:\n      v: \"4\"\n", NULL},
    {"event_ttl_duration: 2h0m0s\nkube_api_runtime_config: [a/v1=true, b/v1=false]\n", NULL,
     "      event-ttl: \"2h0m0s\"\n      runtime-config: \"a/v1=true,b/v1=false\"\n", NULL},
    {"kube_apiserver_enable_admission_plugins: [AlwaysPullImages]\n", NULL,
     "enable-admission-plugins: \"AlwaysPullImages,NodeRestriction\"", NULL},
    {"kube_oidc_auth: true\nkube_oidc_url: https://id.site\n", NULL,
     "oidc-issuer-url: \"https://id.site\"", NULL},
    {"kube_network_node_prefix: 25\n", NULL, "node-cidr-mask-size: \"25\"", NULL},
    {"kube_feature_gates: [\"A=true\", \"B=false\"]\n", NULL,
     "  feature_gates: {\"A\": true, \"B\": false}\n", NULL},
    {"kube_apiserver_feature_gates: [\"A=true\"]\n", NULL,
     "  apiserver:\n    feature_gates: {\"A\": true}\n", NULL},
    {"kubelet_feature_gates: [\"A=true\"]\n", NULL, "    featureGates: {\"A\": true}\n", NULL},
    {"kube_proxy_feature_gates: [\"A=true\"]\n", NULL,
     "  kube_proxy_config:\n    featureGates: {\"A\": true}\n", NULL},
    {"apiserver_extra_volumes:\n- {name: a, hostPath: /srv/a, mountPath: /a, readOnly: true}\n",
     NULL,
     "    volumes: [{\"name\": \"a\", \"host_path\": \"/srv/a\", \"mount_path\": \"/a\", "
     "\"read_only\": true}]\n",
     NULL},
    {"additional_sysctl: [{name: kernel.pid_max, value: 4194304}]\n", NULL,
     "sysctls:\n  kernel.pid_max: \"4194304\"\n", NULL},
    {"additional_sysctl: [{name: net.ipv4.ip_forward, value: 1}]\n", NULL, "nodes:\n",
     "additional_sysctl: net.ipv4.ip_forward is set by kinstall itself"},
    {"kubelet_max_pods: \"200\"\n", NULL, "  kubelet:\n    maxPods: 200\nnodes:", NULL},
    {"kubelet_max_pods: 200\n", "kubelet_max_pods: 50\n", "    kubelet:\n      maxPods: 50", NULL},
    {"kubelet_max_parallel_image_pulls: 5\n", NULL,
     "    maxParallelImagePulls: 5\n    serializeImagePulls: false\n", NULL},
    {"kube_reserved: true\nkube_memory_reserved: 1Gi\nkube_master_memory_reserved: 2Gi\n", NULL,
     "      kubeReserved: {\"cpu\": \"100m\", \"memory\": \"2Gi\"}\n", NULL},
    {"system_reserved: true\n", NULL,
     "    systemReserved: {\"cpu\": \"500m\", \"memory\": \"512Mi\"}\n", NULL},
    {"kubelet_enforce_node_allocatable: pods,kube-reserved\n", NULL,
     "    enforceNodeAllocatable: [\"pods\", \"kube-reserved\"]\n", NULL},
    {"kubelet_custom_flags:\n- \"--eviction-hard=memory.available<100Mi,nodefs.available<5%\"\n"
     "- --max-pods=60 --cloud-provider=external\n",
     NULL,
     "    evictionHard: {\"memory.available\": \"100Mi\", \"nodefs.available\": \"5%\"}\n"
     "    maxPods: 60\n",
     "kubelet_custom_flags: --cloud-provider has no place"},
    {"kubelet_config_extra_args: {maxOpenFiles: 9, readOnlyPort: 10255}\n", NULL,
     "    maxOpenFiles: 9\n", "kubelet_config_extra_args.readOnlyPort is set by kinstall"},
    {"kubelet_node_config_extra_args: {maxOpenFiles: 9}\n", NULL,
     "    kubelet:\n      maxOpenFiles: 9\n", NULL},
    {"eviction_hard: {memory.available: 1Gi}\neviction_hard_control_plane: {memory.available: "
     "2Gi}\n",
     NULL, "      evictionHard: {\"memory.available\": \"2Gi\"}\n", NULL},
    {"kubelet_topology_manager_policy: restricted\n", NULL,
     "    topologyManagerPolicy: \"restricted\"\n", NULL},
    {"kubeadm_patches:\n- {target: kubeletconfiguration, patch: {maxOpenFiles: 9}}\n"
     "- {target: etcd, type: json, patch: []}\n",
     NULL, "    maxOpenFiles: 9\n", "only those of kubeletconfiguration"},
    {"kube_proxy_mode: ipvs\nkube_proxy_strict_arp: true\nkube_proxy_scheduler: lc\n"
     "kube_proxy_nodeport_addresses: \"{{ a | b }}\"\n",
     NULL, "  kube_proxy_config:\n    ipvs: {\"scheduler\": \"lc\", \"strictARP\": true}\n",
     "kube_proxy_nodeport_addresses"},
    {"kube_proxy_remove: true\n", NULL, "  kube_proxy: \"none\"\n", NULL},
    {"kube_vip_enabled: true\nkube_vip_controlplane_enabled: true\nkube_vip_address: "
     "10.77.0.9\n"
     "loadbalancer_apiserver: {address: 10.77.0.9, port: 6443}\n",
     NULL, "  endpoint: \"kube-vip\"\n  vip:\n    address: \"10.77.0.9\"\n", NULL},
    {"dns_etchosts: |\n  10.0.0.5 ntp.site time.site # clocks\n\n  fd00::6 time.site\n", NULL,
     "  dns_hosts: {\"ntp.site\": [\"10.0.0.5\"], \"time.site\": [\"10.0.0.5\", "
     "\"fd00::6\"]}\n",
     NULL},
    {"flannel_interface: eth1\n", NULL, "  interface: \"eth1\"\n", NULL},
    {"etcd_deployment_type: kubeadm\netcd_heartbeat_interval: 300\netcd_quota_backend_bytes: "
     "4294967296\netcd_compaction_retention: \"8\"\n",
     NULL,
     "etcd:\n  quota_bytes: 4294967296\n  heartbeat_ms: 300\n  "
     "election_ms: 5000\n  args: {\"auto-compaction-retention\": \"8\"}\n",
     NULL},
    {"tls_min_version: VersionTLS13\nkube_profiling: true\n"
     "kubelet_protect_kernel_defaults: false\n",
     NULL, "security:\n  profiling: true\n  protect_kernel: \"false\"\n  tls: \"1.3\"\n", NULL},
    {"kube_pod_security_use_default: true\nkube_pod_security_default_enforce: restricted\n"
     "kube_pod_security_exemptions_namespaces: [kube-system, shop]\n",
     NULL,
     "  pod_security: \"restricted\"\n  pod_security_exempt: [\"kube-system\", "
     "\"shop\"]\n",
     NULL},
    {"containerd_registries_mirrors:\n- prefix: docker.io\n  mirrors:\n"
     "  - {host: \"https://mirror.site/\", capabilities: [pull], skip_verify: true}\n"
     "  - {host: \"http://old.site\"}\n"
     "containerd_registry_auth: [{registry: docker.io, username: bot, password: hunter2}]\n",
     NULL,
     "registries: [{\"host\": \"docker.io\", \"urls\": [\"https://mirror.site\"], "
     "\"username\": \"bot\"}]\n",
     "always checked"},
    {"container_manager: crio\ncrio_registries:\n- prefix: quay.io\n  location: quay.site\n"
     "  mirrors: [{location: first.site}]\n",
     NULL,
     "registries: [{\"host\": \"quay.io\", \"urls\": [\"https://first.site\", "
     "\"https://quay.site\"]}]\n",
     NULL},
    {"https_proxy: http://proxy.site:3128\nno_proxy: \".site,10.0.0.0/8\"\n"
     "additional_no_proxy: a.b\n",
     NULL,
     "proxy:\n  https: \"http://proxy.site:3128\"\n  no_proxy: [\".site\", "
     "\"10.0.0.0/8\", \"a.b\"]\n",
     NULL},
    {"node_annotations: {site/rack: \"7\"}\nnode_labels: {zone: a}\n", NULL,
     "    labels: {\"zone\": \"a\"}\n    annotations: {\"site/rack\": \"7\"}\n", NULL},
    {"metrics_server_enabled: true\n", NULL, "nodes:", "kpack create --with metrics-server"},
    {"kube_kubeadm_apiserver_extra_args: {}\nadditional_sysctl: []\neviction_hard: {}\n"
     "containerd_registries_mirrors: []\nhttp_proxy: \"\"\nkubelet_custom_flags: []\n",
     NULL, "  network: \"flannel\"\nnodes:", NULL},
};

/* seen kubespray-settings rendered */
Test(kubespray, settings, .init = begin, .fini = end)
{
    put("hosts.yaml", HOSTS GROUPS);
    for (size_t i = 0; i < KP_COUNT(settings); i++) {
        const struct setting *c = &settings[i];
        kp_auto_value(kp_buf) out = KP_BUF(KP_YAML_MAX), notes = KP_BUF(KP_YAML_MAX);
        struct kp_err err = KP_ERR_INIT;
        kp_auto_free char *vars = kp_asprintf("kube_network_plugin: flannel\n%s", c->vars);
        put("group_vars/all.yml", vars);
        put("host_vars/node2.yml", c->node2 ? c->node2 : "# nothing\n");
        cr_assert_eq(convert(&out, &notes, &err), 0, "%s: %s", c->vars, err.message);
        const char *text = kp_buf_slice(&out).ptr, *said = kp_buf_slice(&notes).ptr;
        cr_expect(strstr(text, c->says), "%s: wanted %s in:\n%s", c->vars, c->says, text);
        cr_expect(!c->note || strstr(said, c->note), "%s: wanted %s in:\n%s", c->vars, c->note,
                  said);
        cr_expect_null(strstr(text, "hunter2"));
        cr_expect_null(strstr(said, "hunter2"));
        // what was written is an inventory of ours
        kp_auto(kp_inventory) inventory = NULL;
        if (!strstr(c->vars, "A=true"))
            cr_expect_eq(load(&inventory, &err), 0, "%s: %s\n%s", c->vars, err.message, text);
    }
}

Test(kubespray, what_the_networks_are_told, .init = begin, .fini = end)
{
    static const struct {
        const char *vars, *says;
    } cases[] = {
        {"kube_network_plugin: cilium\ncilium_mtu: 1500\n", "  mtu: 1450\n"},
        {"kube_network_plugin: cilium\ncilium_mtu: \"0\"\ncalico_mtu: 1400\n",
         "  network: \"cilium\"\nnodes:"},
        {"calico_mtu: 1400\ncalico_vxlan_port: 4790\n", "  mtu: 1400\n  vxlan_port: 4790\n"},
        {"calico_mtu: \"\"\n", "  network: \"calico\"\nnodes:"},
    };
    put("hosts.yaml", HOSTS GROUPS);
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        kp_auto_value(kp_buf) out = KP_BUF(KP_YAML_MAX), notes = KP_BUF(KP_YAML_MAX);
        struct kp_err err = KP_ERR_INIT;
        put("group_vars/all.yml", cases[i].vars);
        cr_assert_eq(convert(&out, &notes, &err), 0, "%s: %s", cases[i].vars, err.message);
        const char *text = kp_buf_slice(&out).ptr;
        cr_expect(strstr(text, cases[i].says), "%s: wanted %s in:\n%s", cases[i].vars,
                  cases[i].says, text);
    }
}

Test(kubespray, etcd_of_its_own, .init = begin, .fini = end)
{
    put("hosts.yaml", "all:\n  hosts:\n"
                      "    node1: {ip: 10.77.0.11}\n    node2: {ip: 10.77.0.12}\n"
                      "    e1: {ip: 10.77.0.21}\n"
                      "  children:\n"
                      "    kube_control_plane: {hosts: {node1: }}\n"
                      "    kube_node: {hosts: {node2: }}\n"
                      "    etcd: {hosts: {e1: , node1: , node2: }}\n");
    put("group_vars/all.yml", "kube_network_plugin: flannel\nkubelet_max_pods: 9\n"
                              "etcd_snapshot_count: 5000\n");
    kp_auto(kp_inventory) inventory = NULL;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(load(&inventory, &err), 0, "%s", err.message);
    cr_expect(inventory->etcd.external);
    cr_expect_eq(inventory->nodes[0].roles, KP_ROLE_CONTROL_PLANE | KP_ROLE_ETCD);
    cr_expect_eq(inventory->nodes[1].roles, KP_ROLE_WORKER | KP_ROLE_ETCD);
    cr_expect_eq(inventory->nodes[2].roles, KP_ROLE_ETCD);
    cr_expect_eq(inventory->kubernetes.kubelet_count, 1);
    cr_expect(strstr(inventory->notes, "for stacked etcd only"), "%s", inventory->notes);
}

Test(kubespray, patches_of_a_folder, .init = begin, .fini = end)
{
    put("hosts.yaml", HOSTS GROUPS);
    put("group_vars/all.yml", "kube_network_plugin: flannel\nkubeadm_patches:\n  enabled: true\n"
                              "  source_dir: \"{{ inventory_dir }}/patches\"\n");
    put("patches/kube-scheduler0+merge.yaml", "metadata: {annotations: {a: b}}\n");
    kp_auto(kp_inventory) inventory = NULL;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(load(&inventory, &err), 0, "%s", err.message);
    cr_expect_eq(inventory->kubernetes.patch_count, 1);
}

/* In the order of their names, each once: docs/inventory.md is made from them. */
Test(kubespray, terms)
{
    for (size_t i = 0; kp_kubespray_terms[i].name; i++) {
        const struct kp_kubespray_term *t = &kp_kubespray_terms[i];
        cr_expect(!i || strcmp(kp_kubespray_terms[i - 1].name, t->name) < 0, "%s", t->name);
        cr_expect_eq(t->place == KP_KUBESPRAY_OWN, t->ours != NULL, "%s", t->name);
        cr_expect_eq(t->place == KP_KUBESPRAY_OWN, t->key == NULL, "%s", t->name);
    }
}
