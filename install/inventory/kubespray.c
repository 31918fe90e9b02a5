/* SPDX-License-Identifier: Apache-2.0 */
#include "install/inventory/kubespray.h"

#include "core/file.h"
#include "core/text.h"
#include "install/inventory/kubespray_vars.h"
#include "install/inventory/network.h"

#include <ctype.h>
#include <stdlib.h>

#define API_PORT "6443"
#define DEFAULT_NETWORK "calico" /* of kube_network_plugin, where it is not set */

struct converter {
    const struct kp_kubespray *from;
    struct kp_buf *out, *notes;
    struct kp_err *err;
    size_t control_plane; /* the first: what it sees holds for the cluster */
    const char *path;
    bool failed;
};

const struct kp_kubespray_term kp_kubespray_terms[] = {
    {"access_ip", "nodes[].address, where `ip` is missing"},
    {"ansible_become", "nodes[].ssh.sudo"},
    {"ansible_become_pass", "nodes[].ssh.sudo: password (asked for; the value is not read)"},
    {"ansible_become_password", "nodes[].ssh.sudo: password (asked for; the value is not read)"},
    {"ansible_host",
     "nodes[].ssh.address; nodes[].address, where `ip` and `access_ip` are missing"},
    {"ansible_port", "nodes[].ssh.port"},
    {"ansible_ssh_host", "as ansible_host"},
    {"ansible_ssh_port", "as ansible_port"},
    {"ansible_ssh_private_key_file", "nodes[].ssh.key"},
    {"ansible_ssh_user", "as ansible_user"},
    {"ansible_sudo_pass", "nodes[].ssh.sudo: password (asked for; the value is not read)"},
    {"ansible_user", "nodes[].ssh.user; where missing: who runs kinstall, as in Ansible"},
    {"apiserver_loadbalancer_domain_name", "kubernetes.cert_sans, with loadbalancer_apiserver"},
    {"cluster_name", "kubernetes.domain, where dns_domain is missing"},
    {"container_manager", "runtime: containerd or crio"},
    {"dns_domain", "kubernetes.domain"},
    {"enable_dual_stack_networks", "both families, with `ip6` and the networks of IPv6"},
    {"eviction_hard", "kubernetes.kubelet: evictionHard"},
    {"etcd_deployment_type", "must be kubeadm (stacked etcd)"},
    {"ip", "nodes[].address"},
    {"ip6", "nodes[].address, the second, with both families"},
    {"ipv6_stack", "as enable_dual_stack_networks"},
    {"kube_network_plugin", "kubernetes.network; where missing: calico"},
    {"kube_pods_subnet", "kubernetes.pods"},
    {"kube_pods_subnet_ipv6", "kubernetes.pods, the second, with both families"},
    {"kube_proxy_mode", "kubernetes.kube_proxy; where missing: iptables"},
    {"kube_service_addresses", "kubernetes.services"},
    {"kube_service_addresses_ipv6", "kubernetes.services, the second, with both families"},
    {"kube_version", "kubernetes.version"},
    {"kubeadm_ignore_preflight_errors", "kubernetes.ignore_preflight"},
    {"kubelet_config_extra_args", "kubernetes.kubelet"},
    {"kubelet_fail_swap_on", "kubernetes.swap: false keeps it"},
    {"kubelet_image_gc_high_threshold", "kubernetes.kubelet: imageGCHighThresholdPercent"},
    {"kubelet_image_gc_low_threshold", "kubernetes.kubelet: imageGCLowThresholdPercent"},
    {"kubelet_max_pods", "kubernetes.kubelet: maxPods"},
    {"loadbalancer_apiserver", "kubernetes.endpoint: address and port"},
    {"loadbalancer_apiserver_localhost", "kubernetes.endpoint: false is `first`"},
    {"node_labels", "nodes[].labels"},
    {"node_taints", "nodes[].taints"},
    {"supplementary_addresses_in_ssl_keys", "kubernetes.cert_sans"},
    {"upstream_dns_servers", "kubernetes.resolvers"},
    {NULL, NULL},
};

/* --- values ----------------------------------------------------------------------------------- */

static void complain(struct converter *c, const struct kp_yaml *at, const char *text)
{
    if (!c->failed)
        kp_yaml_fail(at, c->err, "%s", text);
    c->failed = true;
}

static const struct kp_yaml *find(const struct converter *c, size_t host, const char *name)
{
    return kp_kubespray_find(c->from, host, name);
}

/* A value that is one text; NULL where it is not set. */
static const char *text_at(struct converter *c, const struct kp_yaml *value)
{
    if (!value)
        return NULL;
    if (value->type != KP_YAML_SCALAR)
        complain(c, value, "one value is needed");
    else if (kp_kubespray_template(value))
        complain(c, value, "a template that only Ansible can compute: write the value itself");
    else if (!kp_text_plain(value->text, 4096))
        complain(c, value, "plain characters are needed");
    else
        return value->text;
    return NULL;
}

static const char *text_of(struct converter *c, size_t host, const char *name)
{
    return text_at(c, find(c, host, name));
}

/* Ansible's words for truth. */
static bool truth_of(struct converter *c, size_t host, const char *name, bool fallback)
{
    static const char *const yes[] = {"true", "yes", "on", "1"}, *const no[] = {"false", "no",
                                                                                "off", "0"};
    const char *text = text_of(c, host, name);
    if (!text)
        return fallback;
    for (size_t i = 0; i < KP_COUNT(yes); i++) {
        if (strcasecmp(text, yes[i]) == 0)
            return true;
        if (strcasecmp(text, no[i]) == 0)
            return false;
    }
    complain(c, find(c, host, name), "true or false is needed");
    return fallback;
}

static void write_quoted(struct converter *c, const char *text)
{
    kp_buf_adds(c->out, "\"");
    for (const char *p = text; *p; p++)
        kp_buf_addf(c->out, *p == '"' || *p == '\\' ? "\\%c" : "%c", *p);
    kp_buf_adds(c->out, "\"");
}

static void write_pair(struct converter *c, const char *indent, const char *key, const char *text)
{
    if (!text)
        return;
    kp_buf_addf(c->out, "%s%s: ", indent, key);
    write_quoted(c, text);
    kp_buf_adds(c->out, "\n");
}

static void note(struct converter *c, const struct kp_yaml *at, const char *text)
{
    if (at)
        kp_buf_addf(c->notes, "%s:%u: ", kp_yaml_name(at), at->line);
    kp_buf_addf(c->notes, "%s\n", text);
}

/* The elements of a list of texts, or the one text that stands for it, behind those that are there.
 */
static void write_elements(struct converter *c, const struct kp_yaml *list, size_t *count)
{
    size_t n = list ? (list->type == KP_YAML_LIST ? list->count : 1) : 0;
    for (size_t i = 0; i < n; i++) {
        const char *text = text_at(c, list->type == KP_YAML_LIST ? list->items[i] : list);
        if (!text)
            return;
        kp_buf_adds(c->out, (*count)++ ? ", " : "");
        write_quoted(c, text);
    }
}

static void write_list(struct converter *c, const char *key, const char *name, const char *more)
{
    const struct kp_yaml *list = find(c, c->control_plane, name);
    size_t count = 0;
    if (!more && (!list || (list->type == KP_YAML_LIST && !list->count)))
        return;
    kp_buf_addf(c->out, "  %s: [", key);
    write_elements(c, list, &count);
    if (more) {
        kp_buf_adds(c->out, count ? ", " : "");
        write_quoted(c, more);
    }
    kp_buf_adds(c->out, "]\n");
}

/* --- the cluster ------------------------------------------------------------------------------ */

/* Kubespray's clusters have no name but that of their folder: inventory/mycluster/hosts.yaml. */
static void write_cluster(struct converter *c)
{
    kp_auto_free char *real = realpath(c->path, NULL);
    kp_auto_free char *folder = kp_path_dir(real ? real : c->path);
    const char *base = kp_path_base(folder);
    char name[64];
    size_t len = 0;
    for (const char *p = base; *p && len < sizeof(name) - 1; p++) {
        unsigned char low = (unsigned char)tolower((unsigned char)*p);
        bool good = (low >= 'a' && low <= 'z') || (low >= '0' && low <= '9');
        if (good || len)
            name[len++] = good ? (char)low : '-';
    }
    while (len && name[len - 1] == '-')
        len--;
    name[len] = '\0';
    write_pair(c, "", "cluster", len ? name : "kubernetes");
}

static void write_version(struct converter *c)
{
    const char *version = text_of(c, c->control_plane, "kube_version");
    if (!version)
        return;
    kp_auto_free char *ours = kp_asprintf("v%s", version + (version[0] == 'v'));
    write_pair(c, "  ", "version", ours);
}

/* Returns the load balancer's host name, which the API server's certificate must have. */
static const char *write_endpoint(struct converter *c)
{
    const struct kp_yaml *balancer = find(c, c->control_plane, "loadbalancer_apiserver");
    if (!balancer) {
        if (!truth_of(c, c->control_plane, "loadbalancer_apiserver_localhost", true))
            write_pair(c, "  ", "endpoint", "first");
        return NULL;
    }
    const char *address = text_at(c, kp_yaml_get(balancer, "address"));
    const char *port = text_at(c, kp_yaml_get(balancer, "port"));
    if (!address) {
        complain(c, balancer, "address is missing");
        return NULL;
    }
    kp_auto_free char *host = kp_network_url_host(address);
    kp_auto_free char *endpoint = kp_asprintf("%s:%s", host, port ? port : API_PORT);
    write_pair(c, "  ", "endpoint", endpoint);
    return text_of(c, c->control_plane, "apiserver_loadbalancer_domain_name");
}

static void refuse_other(struct converter *c, const char *name, const char *ours, const char *why)
{
    const char *text = text_of(c, c->control_plane, name);
    if (text && strcmp(text, ours) != 0)
        complain(c, find(c, c->control_plane, name), why);
}

static void write_json(struct converter *c, const char *key, const struct kp_yaml *value)
{
    if (!value)
        return;
    if (kp_kubespray_template(value)) {
        complain(c, value, "a template that only Ansible can compute: write the value itself");
        return;
    }
    kp_auto_free char *json = kp_yaml_json(value);
    kp_buf_addf(c->out, "    %s: %s", key, json);
}

/* Fields of KubeletConfiguration: those with variables of their own, then any. */
static void write_kubelet(struct converter *c)
{
    static const char *const fields[][2] = {
        {"eviction_hard", "evictionHard"},
        {"kubelet_image_gc_high_threshold", "imageGCHighThresholdPercent"},
        {"kubelet_image_gc_low_threshold", "imageGCLowThresholdPercent"},
        {"kubelet_max_pods", "maxPods"},
    };
    const struct kp_yaml *more = find(c, c->control_plane, "kubelet_config_extra_args");
    bool any = more && more->type == KP_YAML_MAP && more->count;
    for (size_t i = 0; i < KP_COUNT(fields); i++)
        any = any || find(c, c->control_plane, fields[i][0]);
    if (!any)
        return;
    kp_buf_adds(c->out, "  kubelet:\n");
    for (size_t i = 0; i < KP_COUNT(fields); i++)
        write_json(c, fields[i][1], find(c, c->control_plane, fields[i][0]));
    for (size_t i = 0; more && more->type == KP_YAML_MAP && i < more->count; i++)
        write_json(c, more->keys[i], more->items[i]);
}

static bool is_dual(struct converter *c)
{
    return truth_of(c, c->control_plane, "enable_dual_stack_networks", false) ||
           truth_of(c, c->control_plane, "ipv6_stack", false);
}

/* A network, with both families a list; what is not said is Kubespray's default then. */
static void write_networks(struct converter *c, const char *key, const char *name,
                           const char *fallback, const char *name6, const char *fallback6)
{
    const char *four = text_of(c, c->control_plane, name), *six;
    if (!is_dual(c)) {
        write_pair(c, "  ", key, four);
        return;
    }
    six = text_of(c, c->control_plane, name6);
    kp_buf_addf(c->out, "  %s: [", key);
    write_quoted(c, four ? four : fallback);
    kp_buf_adds(c->out, ", ");
    write_quoted(c, six ? six : fallback6);
    kp_buf_adds(c->out, "]\n");
}

static void write_runtime(struct converter *c)
{
    const char *manager = text_of(c, c->control_plane, "container_manager");
    if (manager && strcmp(manager, "crio") == 0)
        write_pair(c, "", "runtime", manager);
    else
        refuse_other(c, "container_manager", "containerd", "kinstall runs containerd and crio");
}

static void write_kubernetes(struct converter *c)
{
    size_t cp = c->control_plane;
    const char *network = text_of(c, cp, "kube_network_plugin");
    const char *domain = text_of(c, cp, "dns_domain");
    write_runtime(c);
    kp_buf_adds(c->out, "kubernetes:\n");
    write_version(c);
    if (!network)
        note(c, NULL, "kube_network_plugin is not set: " DEFAULT_NETWORK ", Kubespray's default");
    write_pair(c, "  ", "network", network ? network : DEFAULT_NETWORK);
    const char *san = write_endpoint(c);
    write_networks(c, "pods", "kube_pods_subnet", "10.233.64.0/18", "kube_pods_subnet_ipv6",
                   "fd85:ee78:d8a6:8607::1:0/112");
    write_networks(c, "services", "kube_service_addresses", "10.233.0.0/18",
                   "kube_service_addresses_ipv6", "fd85:ee78:d8a6:8607::1000/116");
    write_pair(c, "  ", "kube_proxy", text_of(c, cp, "kube_proxy_mode"));
    write_pair(c, "  ", "domain", domain ? domain : text_of(c, cp, "cluster_name"));
    write_list(c, "resolvers", "upstream_dns_servers", NULL);
    write_list(c, "cert_sans", "supplementary_addresses_in_ssl_keys", san);
    write_list(c, "ignore_preflight", "kubeadm_ignore_preflight_errors", NULL);
    if (!truth_of(c, cp, "kubelet_fail_swap_on", true))
        write_pair(c, "  ", "swap", "keep");
    write_kubelet(c);
}

/* --- nodes ------------------------------------------------------------------------------------ */

static bool in_either(const struct converter *c, size_t host, const char *group, const char *old)
{
    return kp_kubespray_in(c->from, host, group) || kp_kubespray_in(c->from, host, old);
}

static bool is_control_plane(const struct converter *c, size_t host)
{
    return in_either(c, host, "kube_control_plane", "kube-master");
}

static bool is_worker(const struct converter *c, size_t host)
{
    return in_either(c, host, "kube_node", "kube-node");
}

static const char *either(struct converter *c, size_t host, const char *name, const char *old)
{
    const char *text = text_of(c, host, name);
    return text ? text : text_of(c, host, old);
}

static void write_labels(struct converter *c, size_t host)
{
    const struct kp_yaml *labels = find(c, host, "node_labels");
    if (!labels)
        return;
    if (labels->type != KP_YAML_MAP) {
        complain(c, labels, "labels (name: value) are needed");
        return;
    }
    kp_buf_adds(c->out, "    labels: {");
    for (size_t i = 0; i < labels->count && !c->failed; i++) {
        const char *text = text_at(c, labels->items[i]);
        kp_buf_adds(c->out, i ? ", " : "");
        write_quoted(c, labels->keys[i]);
        kp_buf_adds(c->out, ": ");
        write_quoted(c, text ? text : "");
    }
    kp_buf_adds(c->out, "}\n");
}

static void write_taints(struct converter *c, size_t host)
{
    const struct kp_yaml *taints = find(c, host, "node_taints");
    size_t count = 0;
    if (!taints)
        return;
    kp_buf_adds(c->out, "    taints: [");
    write_elements(c, taints, &count);
    kp_buf_adds(c->out, "]\n");
}

static bool password_given(const struct converter *c, size_t host)
{
    static const char *const names[] = {"ansible_become_password", "ansible_become_pass",
                                        "ansible_sudo_pass"};
    for (size_t i = 0; i < KP_COUNT(names); i++)
        if (find(c, host, names[i]))
            return true;
    return false;
}

/* The host of the group `bastion`, as a jump host. */
static char *jump_host(struct converter *c)
{
    for (size_t i = 0; i < kp_kubespray_host_count(c->from); i++) {
        if (!kp_kubespray_in(c->from, i, "bastion"))
            continue;
        const char *user = either(c, i, "ansible_user", "ansible_ssh_user");
        const char *host = either(c, i, "ansible_host", "ansible_ssh_host");
        const char *port = either(c, i, "ansible_port", "ansible_ssh_port");
        return kp_asprintf("%s%s%s%s%s", user ? user : "", user ? "@" : "",
                           host ? host : kp_kubespray_host(c->from, i), port ? ":" : "",
                           port ? port : "");
    }
    return NULL;
}

static void write_ssh(struct converter *c, size_t host, const char *address)
{
    const char *user = either(c, host, "ansible_user", "ansible_ssh_user");
    const char *reached = either(c, host, "ansible_host", "ansible_ssh_host");
    const char *port = either(c, host, "ansible_port", "ansible_ssh_port");
    kp_auto_free char *jump = jump_host(c);
    user = user ? user : getenv("USER");
    kp_buf_addf(c->out, "    ssh:\n");
    write_pair(c, "      ", "user", user ? user : "root");
    if (reached && strcmp(reached, address) != 0)
        write_pair(c, "      ", "address", reached);
    if (port)
        kp_buf_addf(c->out, "      port: %s\n", port);
    write_pair(c, "      ", "key", text_of(c, host, "ansible_ssh_private_key_file"));
    if (user && strcmp(user, "root") != 0 && !truth_of(c, host, "ansible_become", true))
        note(c, find(c, host, "ansible_become"),
             "ansible_become: false: kinstall needs root and uses sudo");
    write_pair(c, "      ", "sudo", password_given(c, host) ? "password" : NULL);
    write_pair(c, "      ", "jump", jump);
}

static void write_node(struct converter *c, size_t host)
{
    const char *name = kp_kubespray_host(c->from, host);
    const char *address = either(c, host, "ip", "access_ip");
    bool control_plane = is_control_plane(c, host), worker = is_worker(c, host);
    if (!address)
        address = either(c, host, "ansible_host", "ansible_ssh_host");
    address = address ? address : name;
    if (!c->failed && !kp_network_is_ip(address)) {
        kp_fail(c->err, KP_USAGE, "%s: host %s: ip is missing, and %s is not an IP address",
                c->path, name, address);
        c->failed = true;
    }
    kp_buf_adds(c->out, "  - name: ");
    write_quoted(c, name);
    kp_buf_adds(c->out, "\n");
    const char *six = is_dual(c) ? text_of(c, host, "ip6") : NULL;
    kp_buf_addf(c->out, "    address: %s", six ? "[" : "");
    write_quoted(c, address);
    if (six)
        kp_buf_adds(c->out, ", "), write_quoted(c, six);
    kp_buf_addf(c->out, "%s\n", six ? "]" : "");
    kp_buf_addf(c->out, "    roles: [%s%s%s]\n", control_plane ? "control-plane" : "",
                control_plane && worker ? ", " : "", worker ? "worker" : "");
    write_labels(c, host);
    write_taints(c, host);
    write_ssh(c, host, address);
}

/* Kubespray's default is etcd as a service on the hosts of its group. */
static void note_etcd(struct converter *c)
{
    const struct kp_yaml *type = find(c, c->control_plane, "etcd_deployment_type");
    const char *text = text_at(c, type);
    if (text && strcmp(text, "kubeadm") == 0)
        return;
    note(c, type,
         "etcd as a service on its own hosts (etcd_deployment_type: host) becomes etcd on "
         "the control planes");
}

static void write_nodes(struct converter *c)
{
    kp_buf_adds(c->out, "nodes:\n");
    for (size_t i = 0; i < kp_kubespray_host_count(c->from) && !c->failed; i++) {
        if (is_control_plane(c, i) || is_worker(c, i)) {
            write_node(c, i);
        } else if (!kp_kubespray_in(c->from, i, "bastion")) {
            kp_buf_addf(c->notes, "host %s is neither in kube_control_plane nor in kube_node\n",
                        kp_kubespray_host(c->from, i));
        }
    }
}

/* --- what is left ----------------------------------------------------------------------------- */

static bool has_meaning(const char *name)
{
    for (size_t i = 0; kp_kubespray_terms[i].name; i++)
        if (strcmp(kp_kubespray_terms[i].name, name) == 0)
            return true;
    return false;
}

static void note_unused(void *user, const char *name, const struct kp_yaml *key,
                        const struct kp_yaml *value)
{
    struct converter *c = user;
    (void)value;
    if (!has_meaning(name) && kp_text_plain(name, 128))
        note(c, key, name); // never the value: it may be a password
}

static void note_rest(struct converter *c)
{
    for (size_t i = 0; i < kp_kubespray_vault_count(c->from); i++)
        kp_buf_addf(c->notes, "%s: encrypted by ansible-vault, not read\n",
                    kp_kubespray_vault(c->from, i));
    kp_kubespray_each(c->from, note_unused, c);
}

static int find_control_plane(struct converter *c, const struct kp_yaml *root)
{
    for (size_t i = 0; i < kp_kubespray_host_count(c->from); i++) {
        c->control_plane = i;
        if (is_control_plane(c, i))
            return 0;
    }
    return kp_yaml_fail(root, c->err, "the group kube_control_plane has no hosts");
}

bool kp_kubespray_is(const struct kp_yaml *root)
{
    for (size_t i = 0; root->type == KP_YAML_MAP && i < root->count; i++)
        if (strcmp(root->keys[i], "all") == 0)
            return true;
    return false;
}

int kp_kubespray_convert(struct kp_buf *out, struct kp_buf *notes, const char *path,
                         const struct kp_yaml *root, struct kp_err *err)
{
    kp_auto(kp_kubespray) from = NULL;
    if (kp_kubespray_load(&from, path, root, err) < 0)
        return -1;
    struct converter c = {.from = from, .out = out, .notes = notes, .err = err, .path = path};
    if (find_control_plane(&c, root) < 0)
        return -1;
    write_cluster(&c);
    write_kubernetes(&c);
    write_nodes(&c);
    note_etcd(&c);
    note_rest(&c);
    if (c.failed)
        return -1;
    if (out->overflow || notes->overflow)
        return kp_fail(err, KP_USAGE, "%s: larger than %zu bytes when converted", path, out->max);
    return 0;
}
