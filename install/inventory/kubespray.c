/* SPDX-License-Identifier: Apache-2.0 */
#include "install/inventory/kubespray.h"

#include "core/file.h"
#include "core/text.h"
#include "install/inventory/kubespray_convert.h"
#include "install/inventory/network.h"

#include <ctype.h>
#include <stdlib.h>

#define API_PORT "6443"
#define DEFAULT_NETWORK "calico" /* of kube_network_plugin, where it is not set */

/* --- values ----------------------------------------------------------------------------------- */

void kp_convert_complain(struct kp_converter *c, const struct kp_yaml *at, const char *text)
{
    if (!c->failed)
        kp_yaml_fail(at, c->err, "%s", text);
    c->failed = true;
}

const struct kp_yaml *kp_convert_find(const struct kp_converter *c, size_t host, const char *name)
{
    return kp_kubespray_find(c->from, host, name);
}

/* A value that is one text; NULL where it is not set. */
const char *kp_convert_text_at(struct kp_converter *c, const struct kp_yaml *value)
{
    if (!value)
        return NULL;
    if (value->type != KP_YAML_SCALAR)
        kp_convert_complain(c, value, "one value is needed");
    else if (kp_kubespray_template(value))
        kp_convert_complain(c, value,
                            "a template that only Ansible can compute: write the value itself");
    else if (!kp_text_plain(value->text, 4096))
        kp_convert_complain(c, value, "plain characters are needed");
    else
        return value->text;
    return NULL;
}

const char *kp_convert_text(struct kp_converter *c, size_t host, const char *name)
{
    return kp_convert_text_at(c, kp_convert_find(c, host, name));
}

/* Ansible's words for truth. */
bool kp_convert_truth(struct kp_converter *c, size_t host, const char *name, bool fallback)
{
    static const char *const yes[] = {"true", "yes", "on", "1"}, *const no[] = {"false", "no",
                                                                                "off", "0"};
    const char *text = kp_convert_text(c, host, name);
    if (!text)
        return fallback;
    for (size_t i = 0; i < KP_COUNT(yes); i++) {
        if (strcasecmp(text, yes[i]) == 0)
            return true;
        if (strcasecmp(text, no[i]) == 0)
            return false;
    }
    kp_convert_complain(c, kp_convert_find(c, host, name), "true or false is needed");
    return fallback;
}

void kp_convert_quoted(struct kp_converter *c, const char *text)
{
    kp_buf_adds(c->out, "\"");
    for (const char *p = text; *p; p++)
        kp_buf_addf(c->out, *p == '"' || *p == '\\' ? "\\%c" : "%c", *p);
    kp_buf_adds(c->out, "\"");
}

void kp_convert_pair(struct kp_converter *c, const char *indent, const char *key, const char *text)
{
    if (!text)
        return;
    kp_buf_addf(c->out, "%s%s: ", indent, key);
    kp_convert_quoted(c, text);
    kp_buf_adds(c->out, "\n");
}

void kp_convert_note(struct kp_converter *c, const struct kp_yaml *at, const char *text)
{
    kp_auto_free char *line = at ? kp_asprintf("%s:%u: %s\n", kp_yaml_name(at), at->line, text)
                                 : kp_asprintf("%s\n", text);
    // what holds for many hosts is said once
    if (!strstr(kp_buf_slice(c->notes).ptr, line))
        kp_buf_adds(c->notes, line);
}

/* The elements of a list of texts, or the one text that stands for it, behind those that are there.
 */
static void write_elements(struct kp_converter *c, const struct kp_yaml *list, size_t *count)
{
    size_t n = list ? (list->type == KP_YAML_LIST ? list->count : 1) : 0;
    for (size_t i = 0; i < n; i++) {
        const char *text =
            kp_convert_text_at(c, list->type == KP_YAML_LIST ? list->items[i] : list);
        if (!text)
            return;
        kp_buf_adds(c->out, (*count)++ ? ", " : "");
        kp_convert_quoted(c, text);
    }
}

static void write_list(struct kp_converter *c, const char *key, const char *name, const char *more)
{
    const struct kp_yaml *list = kp_convert_find(c, c->control_plane, name);
    size_t count = 0;
    if (!more && (!list || (list->type == KP_YAML_LIST && !list->count)))
        return;
    kp_buf_addf(c->out, "  %s: [", key);
    write_elements(c, list, &count);
    if (more) {
        kp_buf_adds(c->out, count ? ", " : "");
        kp_convert_quoted(c, more);
    }
    kp_buf_adds(c->out, "]\n");
}

/* --- the cluster ------------------------------------------------------------------------------ */

/* Kubespray's clusters have no name but that of their folder: inventory/mycluster/hosts.yaml. */
static void write_cluster(struct kp_converter *c)
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
    kp_convert_pair(c, "", "cluster", len ? name : "kubernetes");
}

static void write_version(struct kp_converter *c)
{
    const char *version = kp_convert_text(c, c->control_plane, "kube_version");
    if (!version)
        return;
    kp_auto_free char *ours = kp_asprintf("v%s", version + (version[0] == 'v'));
    kp_convert_pair(c, "  ", "version", ours);
}

static bool write_vip(struct kp_converter *c)
{
    size_t cp = c->control_plane;
    const char *address = kp_convert_text(c, cp, "kube_vip_address");
    const char *interface = kp_convert_text(c, cp, "kube_vip_interface");
    if (!kp_convert_truth(c, cp, "kube_vip_enabled", false) ||
        !kp_convert_truth(c, cp, "kube_vip_controlplane_enabled", false) || !address || !*address)
        return false;
    kp_convert_pair(c, "  ", "endpoint", "kube-vip");
    kp_buf_adds(c->out, "  vip:\n");
    kp_convert_pair(c, "    ", "address", address);
    kp_convert_pair(c, "    ", "interface", interface && *interface ? interface : NULL);
    return true;
}

/* Returns the load balancer's host name, which the API server's certificate must have. */
static const char *write_endpoint(struct kp_converter *c)
{
    const struct kp_yaml *balancer = kp_convert_find(c, c->control_plane, "loadbalancer_apiserver");
    if (write_vip(c))
        return kp_convert_text(c, c->control_plane, "apiserver_loadbalancer_domain_name");
    if (!balancer) {
        if (!kp_convert_truth(c, c->control_plane, "loadbalancer_apiserver_localhost", true))
            kp_convert_pair(c, "  ", "endpoint", "first");
        return NULL;
    }
    const char *address = kp_convert_text_at(c, kp_yaml_get(balancer, "address"));
    const char *port = kp_convert_text_at(c, kp_yaml_get(balancer, "port"));
    if (!address) {
        kp_convert_complain(c, balancer, "address is missing");
        return NULL;
    }
    kp_auto_free char *host = kp_network_url_host(address);
    kp_auto_free char *endpoint = kp_asprintf("%s:%s", host, port ? port : API_PORT);
    kp_convert_pair(c, "  ", "endpoint", endpoint);
    return kp_convert_text(c, c->control_plane, "apiserver_loadbalancer_domain_name");
}

static void refuse_other(struct kp_converter *c, const char *name, const char *ours,
                         const char *why)
{
    const char *text = kp_convert_text(c, c->control_plane, name);
    if (text && strcmp(text, ours) != 0)
        kp_convert_complain(c, kp_convert_find(c, c->control_plane, name), why);
}

bool kp_convert_dual(struct kp_converter *c)
{
    return kp_convert_truth(c, c->control_plane, "enable_dual_stack_networks", false) ||
           kp_convert_truth(c, c->control_plane, "ipv6_stack", false);
}

/* A network, with both families a list; what is not said is Kubespray's default then. */
static void write_networks(struct kp_converter *c, const char *key, const char *name,
                           const char *fallback, const char *name6, const char *fallback6)
{
    const char *four = kp_convert_text(c, c->control_plane, name), *six;
    if (!kp_convert_dual(c)) {
        kp_convert_pair(c, "  ", key, four);
        return;
    }
    six = kp_convert_text(c, c->control_plane, name6);
    kp_buf_addf(c->out, "  %s: [", key);
    kp_convert_quoted(c, four ? four : fallback);
    kp_buf_adds(c->out, ", ");
    kp_convert_quoted(c, six ? six : fallback6);
    kp_buf_adds(c->out, "]\n");
}

static void write_runtime(struct kp_converter *c)
{
    const char *manager = kp_convert_text(c, c->control_plane, "container_manager");
    if (manager && strcmp(manager, "crio") == 0)
        kp_convert_pair(c, "", "runtime", manager);
    else
        refuse_other(c, "container_manager", "containerd", "kinstall runs containerd and crio");
}

static void write_kubernetes(struct kp_converter *c)
{
    size_t cp = c->control_plane;
    const char *network = kp_convert_text(c, cp, "kube_network_plugin");
    const char *domain = kp_convert_text(c, cp, "dns_domain");
    write_runtime(c);
    kp_buf_adds(c->out, "kubernetes:\n");
    write_version(c);
    if (!network)
        kp_convert_note(c, NULL,
                        "kube_network_plugin is not set: " DEFAULT_NETWORK ", Kubespray's default");
    kp_convert_pair(c, "  ", "network", network ? network : DEFAULT_NETWORK);
    const char *san = write_endpoint(c);
    write_networks(c, "pods", "kube_pods_subnet", "10.233.64.0/18", "kube_pods_subnet_ipv6",
                   "fd85:ee78:d8a6:8607::1:0/112");
    write_networks(c, "services", "kube_service_addresses", "10.233.0.0/18",
                   "kube_service_addresses_ipv6", "fd85:ee78:d8a6:8607::1000/116");
    kp_convert_pair(c, "  ", "kube_proxy",
                    kp_convert_truth(c, cp, "kube_proxy_remove", false)
                        ? "none"
                        : kp_convert_text(c, cp, "kube_proxy_mode"));
    kp_convert_pair(c, "  ", "domain", domain ? domain : kp_convert_text(c, cp, "cluster_name"));
    write_list(c, "resolvers", "upstream_dns_servers", NULL);
    write_list(c, "cert_sans", "supplementary_addresses_in_ssl_keys", san);
    write_list(c, "ignore_preflight", "kubeadm_ignore_preflight_errors", NULL);
    if (!kp_convert_truth(c, cp, "kubelet_fail_swap_on", true))
        kp_convert_pair(c, "  ", "swap", "keep");
    kp_convert_kubernetes(c);
}

/* --- nodes ------------------------------------------------------------------------------------ */

static bool in_either(const struct kp_converter *c, size_t host, const char *group, const char *old)
{
    return kp_kubespray_in(c->from, host, group) || kp_kubespray_in(c->from, host, old);
}

bool kp_convert_is_control_plane(const struct kp_converter *c, size_t host)
{
    return in_either(c, host, "kube_control_plane", "kube-master");
}

bool kp_convert_is_node(const struct kp_converter *c, size_t host)
{
    return kp_convert_is_control_plane(c, host) || in_either(c, host, "kube_node", "kube-node");
}

static bool is_worker(const struct kp_converter *c, size_t host)
{
    return in_either(c, host, "kube_node", "kube-node");
}

static const char *either(struct kp_converter *c, size_t host, const char *name, const char *old)
{
    const char *text = kp_convert_text(c, host, name);
    return text ? text : kp_convert_text(c, host, old);
}

static void write_texts(struct kp_converter *c, size_t host, const char *name, const char *key)
{
    const struct kp_yaml *map = kp_convert_find(c, host, name);
    kp_auto_json out = json_object();
    if (kp_convert_empty(map))
        return;
    if (map->type != KP_YAML_MAP) {
        kp_convert_complain(c, map, "texts (name: value) are needed");
        return;
    }
    for (size_t i = 0; i < map->count && !c->failed; i++) {
        const char *text = kp_convert_text_at(c, map->items[i]);
        json_object_set_new(out, map->keys[i], json_string(text ? text : ""));
    }
    kp_convert_write(c, "    ", key, out);
}

static void write_taints(struct kp_converter *c, size_t host)
{
    const struct kp_yaml *taints = kp_convert_find(c, host, "node_taints");
    size_t count = 0;
    if (!taints)
        return;
    kp_buf_adds(c->out, "    taints: [");
    write_elements(c, taints, &count);
    kp_buf_adds(c->out, "]\n");
}

static bool password_given(const struct kp_converter *c, size_t host)
{
    static const char *const names[] = {"ansible_become_password", "ansible_become_pass",
                                        "ansible_sudo_pass"};
    for (size_t i = 0; i < KP_COUNT(names); i++)
        if (kp_convert_find(c, host, names[i]))
            return true;
    return false;
}

/* The host of the group `bastion`, as a jump host. */
static char *jump_host(struct kp_converter *c)
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

static void write_ssh(struct kp_converter *c, size_t host, const char *address)
{
    const char *user = either(c, host, "ansible_user", "ansible_ssh_user");
    const char *reached = either(c, host, "ansible_host", "ansible_ssh_host");
    const char *port = either(c, host, "ansible_port", "ansible_ssh_port");
    kp_auto_free char *jump = jump_host(c);
    user = user ? user : getenv("USER");
    kp_buf_addf(c->out, "    ssh:\n");
    kp_convert_pair(c, "      ", "user", user ? user : "root");
    if (reached && strcmp(reached, address) != 0)
        kp_convert_pair(c, "      ", "address", reached);
    if (port)
        kp_buf_addf(c->out, "      port: %s\n", port);
    kp_convert_pair(c, "      ", "key", kp_convert_text(c, host, "ansible_ssh_private_key_file"));
    if (user && strcmp(user, "root") != 0 && !kp_convert_truth(c, host, "ansible_become", true))
        kp_convert_note(c, kp_convert_find(c, host, "ansible_become"),
                        "ansible_become: false: kinstall needs root and uses sudo");
    kp_convert_pair(c, "      ", "sudo", password_given(c, host) ? "password" : NULL);
    kp_convert_pair(c, "      ", "jump", jump);
}

static void write_node(struct kp_converter *c, size_t host)
{
    const char *name = kp_kubespray_host(c->from, host);
    const char *address = either(c, host, "ip", "access_ip");
    bool control_plane = kp_convert_is_control_plane(c, host), worker = is_worker(c, host);
    if (!address)
        address = either(c, host, "ansible_host", "ansible_ssh_host");
    address = address ? address : name;
    if (!c->failed && !kp_network_is_ip(address)) {
        kp_fail(c->err, KP_USAGE, "%s: host %s: ip is missing, and %s is not an IP address",
                c->path, name, address);
        c->failed = true;
    }
    kp_buf_adds(c->out, "  - name: ");
    kp_convert_quoted(c, name);
    kp_buf_adds(c->out, "\n");
    const char *six = kp_convert_dual(c) ? kp_convert_text(c, host, "ip6") : NULL;
    kp_buf_addf(c->out, "    address: %s", six ? "[" : "");
    kp_convert_quoted(c, address);
    if (six)
        kp_buf_adds(c->out, ", "), kp_convert_quoted(c, six);
    kp_buf_addf(c->out, "%s\n", six ? "]" : "");
    bool etcd = c->external_etcd && kp_kubespray_in(c->from, host, "etcd");
    kp_buf_addf(c->out, "    roles: [%s%s%s%s%s]\n", control_plane ? "control-plane" : "",
                control_plane && worker ? ", " : "", worker ? "worker" : "",
                etcd && (control_plane || worker) ? ", " : "", etcd ? "etcd" : "");
    if (control_plane || worker) {
        write_texts(c, host, "node_labels", "labels");
        write_texts(c, host, "node_annotations", "annotations");
        write_taints(c, host);
        kp_convert_node(c, host);
    }
    write_ssh(c, host, address);
}

/* Kubespray's default is etcd as a service on the hosts of its group: here only where they are
 * hosts of their own. */
static void settle_etcd(struct kp_converter *c)
{
    const struct kp_yaml *type = kp_convert_find(c, c->control_plane, "etcd_deployment_type");
    const char *text = type ? kp_convert_text_at(c, type) : NULL;
    if (text && strcmp(text, "kubeadm") == 0)
        return;
    for (size_t i = 0; i < kp_kubespray_host_count(c->from); i++)
        if (kp_kubespray_in(c->from, i, "etcd") && !kp_convert_is_control_plane(c, i))
            c->external_etcd = true;
    if (!c->external_etcd)
        kp_convert_note(c, type,
                        "etcd as a service on the control planes (etcd_deployment_type: host) "
                        "becomes kubeadm's static pods");
}

static void write_nodes(struct kp_converter *c)
{
    kp_buf_adds(c->out, "nodes:\n");
    for (size_t i = 0; i < kp_kubespray_host_count(c->from) && !c->failed; i++) {
        bool etcd = c->external_etcd && kp_kubespray_in(c->from, i, "etcd");
        if (kp_convert_is_node(c, i) || etcd) {
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
    struct kp_converter *c = user;
    (void)value;
    if (!has_meaning(name) && kp_text_plain(name, 128))
        kp_convert_note(c, key, name); // never the value: it may be a password
}

static void note_rest(struct kp_converter *c)
{
    for (size_t i = 0; i < kp_kubespray_vault_count(c->from); i++)
        kp_buf_addf(c->notes, "%s: encrypted by ansible-vault, not read\n",
                    kp_kubespray_vault(c->from, i));
    kp_kubespray_each(c->from, note_unused, c);
}

static int find_control_plane(struct kp_converter *c, const struct kp_yaml *root)
{
    for (size_t i = 0; i < kp_kubespray_host_count(c->from); i++) {
        c->control_plane = i;
        if (kp_convert_is_control_plane(c, i))
            return 0;
    }
    return kp_yaml_fail(root, c->err, "the group kube_control_plane has no hosts");
}

static void write_all(struct kp_converter *c)
{
    write_cluster(c);
    write_kubernetes(c);
    kp_convert_cluster(c);
    kp_convert_pulls(c);
    write_nodes(c);
    note_rest(c);
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
    struct kp_converter c = {.from = from, .out = out, .notes = notes, .err = err, .path = path};
    if (find_control_plane(&c, root) < 0)
        return -1;
    settle_etcd(&c);
    kp_convert_kubelets_begin(&c);
    write_all(&c);
    kp_convert_kubelets_free(&c);
    if (c.failed)
        return -1;
    if (out->overflow || notes->overflow)
        return kp_fail(err, KP_USAGE, "%s: larger than %zu bytes when converted", path, out->max);
    return 0;
}
