/* SPDX-License-Identifier: Apache-2.0 */
#include "install/inventory/inventory.h"

#include "core/file.h"
#include "core/text.h"
#include "install/inventory/kubespray.h"
#include "install/inventory/network.h"
#include "manifests/yaml.h"

#include <stdlib.h>

#define LABEL_MAX 63
#define LABEL_KEY_MAX 317 /* 253 of the prefix, a slash, 63 of the name */
#define TEXTS_MAX 64
#define KUBELET_MAX ((size_t)64 << 10)

struct loading {
    struct kp_inventory *inventory;
    const struct kp_yaml *ssh; /* defaults for every node, or NULL */
    char *folder;              /* relative paths are beneath it */
    struct kp_err *err;
};

static char *copy(const struct loading *l, const char *text)
{
    return kp_arena_strdup(l->inventory->arena, text);
}

static const char **copy_texts(const struct loading *l, const char **texts, size_t n)
{
    const char **out = kp_arena_array(l->inventory->arena, n + 1, sizeof(*out));
    for (size_t i = 0; i < n; i++)
        out[i] = copy(l, texts[i]);
    return out;
}

/* ~/… of the home folder, others beneath the inventory's folder. */
static const char *read_path(struct kp_yaml_reader *r, const struct loading *l, const char *key,
                             const char *fallback)
{
    const char *text = kp_yaml_text(r, key, NULL);
    if (!text)
        return fallback;
    kp_auto_free char *expanded = kp_path_expand(text);
    if (expanded[0] == '/')
        return copy(l, expanded);
    kp_auto_free char *joined = kp_path_join(l->folder, expanded);
    return copy(l, joined);
}

static bool is_user_name(const char *text)
{
    size_t len = strlen(text);
    bool ok = len > 0 && len <= 32 && text[0] != '-';
    for (size_t i = 0; i < len; i++)
        ok = ok && (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-",
                           text[i]) != NULL);
    return ok;
}

static void read_sudo(struct kp_yaml_reader *r, struct kp_node *node)
{
    static const char *const words[] = {"auto", "nopasswd", "password", "none", NULL};
    int at = kp_yaml_choice(r, "sudo", words, -1);
    if (at == 2)
        node->ask_password = true;
    else if (at >= 0)
        node->ask_password = false;
    if (at >= 0)
        node->ssh.sudo = at != 3;
    if (at == 0)
        node->ssh.sudo = strcmp(node->ssh.user, "root") != 0;
}

static int read_ssh(const struct loading *l, const struct kp_yaml *map, struct kp_node *node)
{
    static const char *const transports[] = {"auto", "libssh2", "openssh", NULL};
    struct kp_ssh_target *ssh = &node->ssh;
    if (!map)
        return 0;
    struct kp_yaml_reader r = kp_yaml_read(map, l->err);
    const char *user = kp_yaml_text(&r, "user", NULL);
    if (user && !is_user_name(user))
        kp_yaml_complain(&r, "user", "%s is not a user name", user);
    if (user) {
        ssh->user = copy(l, user);
        ssh->sudo = strcmp(user, "root") != 0;
    }
    ssh->port = (unsigned)kp_yaml_number(&r, "port", 1, 65535, ssh->port);
    ssh->key = read_path(&r, l, "key", ssh->key);
    ssh->known_hosts = read_path(&r, l, "known_hosts", ssh->known_hosts);
    ssh->config = read_path(&r, l, "config", ssh->config);
    const char *address = kp_yaml_text(&r, "address", NULL);
    if (address && !kp_network_is_host(address))
        kp_yaml_complain(&r, "address", "%s is neither an address nor a host name", address);
    ssh->address = address ? copy(l, address) : ssh->address;
    const char *jump = kp_yaml_text(&r, "jump", NULL);
    ssh->jump = jump ? copy(l, jump) : ssh->jump;
    ssh->connect_timeout =
        (unsigned)kp_yaml_number(&r, "connect_timeout", 1, 600, ssh->connect_timeout);
    ssh->transport =
        (enum kp_transport_kind)kp_yaml_choice(&r, "transport", transports, (int)ssh->transport);
    read_sudo(&r, node);
    return kp_yaml_finish(&r);
}

static bool is_label_value(const char *text)
{
    size_t len = strlen(text);
    if (!len)
        return true;
    for (size_t i = 0; i < len; i++) {
        bool alnum = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'z') ||
                     (text[i] >= 'A' && text[i] <= 'Z');
        bool edge = i == 0 || i + 1 == len;
        if (!alnum && (edge || !strchr("-_.", text[i])))
            return false;
    }
    return len <= LABEL_MAX;
}

static bool is_label_key(const char *text)
{
    const char *slash = strchr(text, '/');
    if (strlen(text) > LABEL_KEY_MAX || !text[0])
        return false;
    kp_auto_free char *prefix = slash ? kp_strndup(text, (size_t)(slash - text)) : NULL;
    const char *name = slash ? slash + 1 : text;
    return name[0] && is_label_value(name) && (!prefix || kp_text_dns_name(prefix, 253));
}

static int read_labels(const struct loading *l, const struct kp_yaml *map, struct kp_node *node)
{
    if (!map)
        return 0;
    if (map->count > KP_LABELS_MAX)
        return kp_yaml_fail(map, l->err, "more than %d labels", KP_LABELS_MAX);
    node->labels = kp_arena_array(l->inventory->arena, map->count, sizeof(*node->labels));
    for (size_t i = 0; i < map->count; i++) {
        const struct kp_yaml *value = map->items[i];
        if (!is_label_key(map->keys[i]))
            return kp_yaml_fail(map->key_nodes[i], l->err, "%s is not a label name", map->keys[i]);
        if (value->type != KP_YAML_SCALAR || !is_label_value(value->text))
            return kp_yaml_fail(value, l->err,
                                "not a label value (letters, digits, '-', '_', '.', "
                                "at most 63)");
        node->labels[node->label_count++] =
            (struct kp_pair){copy(l, map->keys[i]), copy(l, value->text)};
    }
    return 0;
}

/* "key=value:NoSchedule" or "key:NoSchedule" */
static int read_taint(const struct loading *l, const struct kp_yaml *at, struct kp_taint *out)
{
    static const char *const effects[] = {"NoSchedule", "PreferNoSchedule", "NoExecute"};
    kp_auto_free char *text = at->type == KP_YAML_SCALAR ? kp_strdup(at->text) : kp_strdup("");
    char *colon = strrchr(text, ':');
    const char *effect = NULL;
    for (size_t i = 0; colon && i < KP_COUNT(effects); i++)
        if (strcmp(colon + 1, effects[i]) == 0)
            effect = effects[i];
    if (!effect)
        return kp_yaml_fail(at, l->err,
                            "a taint is needed: key[=value]:NoSchedule, "
                            ":PreferNoSchedule or :NoExecute");
    *colon = '\0';
    char *equals = strchr(text, '=');
    if (equals)
        *equals = '\0';
    if (!is_label_key(text) || (equals && !is_label_value(equals + 1)))
        return kp_yaml_fail(at, l->err, "%s is not a taint's key and value", at->text);
    *out = (struct kp_taint){copy(l, text), copy(l, equals ? equals + 1 : ""), effect};
    return 0;
}

static int read_taints(const struct loading *l, const struct kp_yaml *list, struct kp_node *node)
{
    if (!list)
        return 0;
    node->taints_set = true;
    node->taints = kp_arena_array(l->inventory->arena, list->count, sizeof(*node->taints));
    for (size_t i = 0; i < list->count; i++)
        if (read_taint(l, list->items[i], &node->taints[node->taint_count++]) < 0)
            return -1;
    return 0;
}

static int read_roles(const struct loading *l, const struct kp_yaml *map, struct kp_yaml_reader *r,
                      struct kp_node *node)
{
    size_t count;
    const char **roles = kp_yaml_texts(r, "roles", 4, &count);
    if (r->failed)
        return -1;
    if (!count)
        return kp_yaml_fail(map, l->err,
                            "roles is missing: control-plane, worker, etcd or several of them");
    for (size_t i = 0; i < count; i++) {
        unsigned role = kp_role_parse(roles[i]);
        if (!role) {
            kp_yaml_complain(r, "roles", "%s is not a role (control-plane, worker, etcd)",
                             roles[i]);
            return -1;
        }
        node->roles |= role;
    }
    return 0;
}

static bool is_host_key(const char *text)
{
    static const char *const types[] = {"ssh-ed25519 ", "ecdsa-sha2-nistp256 ",
                                        "ecdsa-sha2-nistp384 ", "ecdsa-sha2-nistp521 ", "ssh-rsa "};
    for (size_t i = 0; i < KP_COUNT(types); i++)
        if (kp_starts_with(text, types[i]) && kp_text_plain(text, 4096))
            return true;
    return false;
}

static void read_identity(struct kp_yaml_reader *r, const struct loading *l, struct kp_node *node)
{
    const char *name = kp_yaml_text_required(r, "name");
    const char *address = kp_yaml_text_required(r, "address");
    const char *host_key = kp_yaml_text(r, "host_key", NULL);
    if (r->failed)
        return;
    if (!kp_text_dns_name(name, 63) || strchr(name, '.'))
        kp_yaml_complain(r, "name", "%s is not a node name (a-z, 0-9, '-', at most 63)", name);
    if (!kp_network_is_ip(address))
        kp_yaml_complain(r, "address", "%s is not an IP address", address);
    if (host_key && !is_host_key(host_key))
        kp_yaml_complain(r, "host_key", "a host key like \"ssh-ed25519 AAAA…\" is needed");
    node->name = copy(l, name);
    node->address = copy(l, address);
    node->ssh.node = node->name;
    node->ssh.address = node->address;
    node->ssh.host_key = host_key ? copy(l, host_key) : NULL;
}

static int read_node(const struct loading *l, const struct kp_yaml *map, struct kp_node *node)
{
    *node = (struct kp_node){.line = map->line};
    node->ssh = (struct kp_ssh_target){.port = 22, .user = "root", .connect_timeout = 20};
    struct kp_yaml_reader r = kp_yaml_read(map, l->err);
    read_identity(&r, l, node);
    const struct kp_yaml *labels = kp_yaml_map(&r, "labels", false);
    const struct kp_yaml *taints = kp_yaml_list(&r, "taints", KP_LABELS_MAX, false);
    const struct kp_yaml *ssh = kp_yaml_map(&r, "ssh", false);
    if (r.failed || read_roles(l, map, &r, node) < 0)
        return -1;
    node->mirror = kp_yaml_bool(&r, "mirror", (node->roles & KP_ROLE_CONTROL_PLANE) != 0);
    if (kp_yaml_finish(&r) < 0)
        return -1;
    if (read_ssh(l, l->ssh, node) < 0 || read_ssh(l, ssh, node) < 0)
        return -1;
    return read_labels(l, labels, node) < 0 ? -1 : read_taints(l, taints, node);
}

static int check_duplicates(const struct loading *l, const struct kp_yaml *list, size_t i)
{
    const struct kp_node *nodes = l->inventory->nodes;
    for (size_t j = 0; j < i; j++) {
        bool same_name = strcmp(nodes[i].name, nodes[j].name) == 0;
        if (same_name || kp_network_same_ip(nodes[i].address, nodes[j].address))
            return kp_yaml_fail(list->items[i], l->err, "%s %s is that of the node in line %u",
                                same_name ? "name" : "address",
                                same_name ? nodes[i].name : nodes[i].address, nodes[j].line);
    }
    return 0;
}

static int rank_of(const struct kp_node *node)
{
    if (node->roles & KP_ROLE_CONTROL_PLANE)
        return 0;
    return node->roles & KP_ROLE_WORKER ? 1 : 2;
}

static int compare_nodes(const void *a, const void *b)
{
    const struct kp_node *x = a, *y = b;
    int order = rank_of(x) - rank_of(y);
    return order ? order : (x->line > y->line) - (x->line < y->line);
}

static int read_nodes(const struct loading *l, const struct kp_yaml *list)
{
    struct kp_inventory *inventory = l->inventory;
    inventory->nodes = kp_arena_array(inventory->arena, list->count, sizeof(struct kp_node));
    bool mirror = false;
    for (size_t i = 0; i < list->count; i++) {
        struct kp_node *node = &inventory->nodes[i];
        if (read_node(l, list->items[i], node) < 0 || check_duplicates(l, list, i) < 0)
            return -1;
        inventory->node_count++;
        inventory->control_plane_count += (node->roles & KP_ROLE_CONTROL_PLANE) != 0;
        mirror = mirror || node->mirror;
    }
    if (!inventory->control_plane_count)
        return kp_yaml_fail(list, l->err, "no node has the role control-plane");
    if (!mirror)
        return kp_yaml_fail(list, l->err, "no node is a mirror: give one `mirror: true`");
    // Nodes of one line ({…}, {…}) keep the order of the file.
    for (size_t i = 0; i < inventory->node_count; i++)
        inventory->nodes[i].line = list->items[i]->line;
    qsort(inventory->nodes, inventory->node_count, sizeof(struct kp_node), compare_nodes);
    return 0;
}

static void check_network(struct kp_yaml_reader *r, const char *key, const char *text)
{
    if (!r->failed && !kp_network_is_cidr(text))
        kp_yaml_complain(r, key, "%s is not a network (like 10.233.64.0/18, host bits 0)", text);
}

static void read_networks(struct kp_yaml_reader *r, const struct loading *l)
{
    struct kp_inventory *v = l->inventory;
    v->kubernetes.pods = copy(l, kp_yaml_text(r, "pods", "10.233.64.0/18"));
    v->kubernetes.services = copy(l, kp_yaml_text(r, "services", "10.233.0.0/18"));
    check_network(r, "pods", v->kubernetes.pods);
    check_network(r, "services", v->kubernetes.services);
    if (!r->failed && kp_network_overlap(v->kubernetes.pods, v->kubernetes.services))
        kp_yaml_complain(r, "services", "%s overlaps the pods' network %s", v->kubernetes.services,
                         v->kubernetes.pods);
    v->kubernetes.domain = copy(l, kp_yaml_text(r, "domain", "cluster.local"));
    if (!r->failed && !kp_text_dns_name(v->kubernetes.domain, 253))
        kp_yaml_complain(r, "domain", "%s is not a DNS name", v->kubernetes.domain);
}

/* The map of kube-vip's address, or NULL. */
static const struct kp_yaml *read_endpoint(struct kp_yaml_reader *r, const struct loading *l)
{
    const char *endpoint = kp_yaml_text(r, "endpoint", "local");
    bool vip = strcmp(endpoint, "kube-vip") == 0;
    bool word = vip || strcmp(endpoint, "local") == 0 || strcmp(endpoint, "first") == 0;
    if (!r->failed && !word && !kp_network_is_host_port(endpoint))
        kp_yaml_complain(r, "endpoint",
                         "local, first, kube-vip, or host:port of your load balancer");
    l->inventory->kubernetes.endpoint = copy(l, endpoint);
    const struct kp_yaml *map = kp_yaml_map(r, "vip", false);
    if (!r->failed && vip != (map != NULL))
        kp_yaml_complain(r, vip ? "endpoint" : "vip",
                         vip ? "kube-vip needs `vip: {address: …}` beside it"
                             : "is for `endpoint: kube-vip` only");
    return map;
}

static bool is_interface(const char *text)
{
    return text[0] && strlen(text) <= 15 && kp_text_plain(text, 15) && !strpbrk(text, " /\"'\\:");
}

static int read_vip(const struct loading *l, const struct kp_yaml *map)
{
    struct kp_inventory *v = l->inventory;
    if (!map)
        return 0;
    struct kp_yaml_reader r = kp_yaml_read(map, l->err);
    const char *address = kp_yaml_text_required(&r, "address");
    const char *interface = kp_yaml_text(&r, "interface", NULL);
    if (!r.failed && !kp_network_is_ip(address))
        kp_yaml_complain(&r, "address", "%s is not an IP address", address);
    if (!r.failed && interface && !is_interface(interface))
        kp_yaml_complain(&r, "interface", "%s is not the name of an interface", interface);
    if (kp_yaml_finish(&r) < 0)
        return -1;
    v->kubernetes.vip_address = copy(l, address);
    v->kubernetes.vip_interface = interface ? copy(l, interface) : NULL;
    return 0;
}

static const char **read_texts(struct kp_yaml_reader *r, const struct loading *l, const char *key,
                               size_t *count)
{
    const char **texts = kp_yaml_texts(r, key, TEXTS_MAX, count);
    for (size_t i = 0; !r->failed && i < *count; i++)
        if (!kp_text_plain(texts[i], 253) || !texts[i][0] || strpbrk(texts[i], " ,\"'\\"))
            kp_yaml_complain(r, key, "element %zu: not a name", i);
    return r->failed ? NULL : copy_texts(l, texts, *count);
}

/* camelCase */
static bool is_field(const char *text)
{
    bool ok = text[0] >= 'a' && text[0] <= 'z' && strlen(text) <= 64;
    for (const char *p = text; *p && ok; p++)
        ok = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9');
    return ok;
}

static void read_version(struct kp_yaml_reader *r, const struct loading *l)
{
    const char *version = kp_yaml_text(r, "version", NULL);
    if (!version)
        return;
    if (version[0] != 'v' || !kp_text_dns_name(version, 32))
        kp_yaml_complain(r, "version", "%s is not a version like v1.30 or v1.30.14", version);
    l->inventory->kubernetes.version = copy(l, version);
}

/* Fields of KubeletConfiguration, as they are. Those that kinstall sets itself are refused. */
static void read_kubelet(struct kp_yaml_reader *r, const struct loading *l)
{
    static const char *const own[] = {"apiVersion",
                                      "kind",
                                      "cgroupDriver",
                                      "clusterDomain",
                                      "clusterDNS",
                                      "resolvConf",
                                      "failSwapOn",
                                      "readOnlyPort",
                                      "rotateCertificates",
                                      "seccompDefault",
                                      "tlsMinVersion",
                                      "tlsCipherSuites",
                                      "authentication",
                                      "authorization",
                                      "protectKernelDefaults",
                                      "enableProfilingHandler",
                                      "containerRuntimeEndpoint"};
    const struct kp_yaml *map = kp_yaml_map(r, "kubelet", false);
    kp_auto_value(kp_buf) text = KP_BUF(KUBELET_MAX);
    for (size_t i = 0; map && i < map->count && !r->failed; i++) {
        kp_auto_free char *json = kp_yaml_json(map->items[i]);
        for (size_t j = 0; j < KP_COUNT(own); j++)
            if (strcmp(own[j], map->keys[i]) == 0)
                kp_yaml_complain(r, "kubelet", "%s is set by kinstall itself", own[j]);
        if (!is_field(map->keys[i]))
            kp_yaml_complain(r, "kubelet", "%s is not a field of KubeletConfiguration",
                             map->keys[i]);
        kp_buf_addf(&text, "%s: %s", map->keys[i], json);
    }
    if (text.overflow)
        kp_yaml_complain(r, "kubelet", "larger than %zu bytes", KUBELET_MAX);
    if (text.len)
        l->inventory->kubernetes.kubelet = copy(l, text.data);
}

static int read_kubernetes(const struct loading *l, const struct kp_yaml *map)
{
    static const char *const swap[] = {"off", "keep", NULL};
    struct kp_inventory *v = l->inventory;
    static const struct kp_yaml empty = {.type = KP_YAML_MAP, .path = "kubernetes"};
    struct kp_yaml_reader r = kp_yaml_read(map ? map : &empty, l->err);
    const char *network = kp_yaml_text(&r, "network", NULL);
    v->kubernetes.network = network ? copy(l, network) : NULL;
    read_version(&r, l);
    const struct kp_yaml *vip = read_endpoint(&r, l);
    read_networks(&r, l);
    v->kubernetes.ignore_preflight =
        read_texts(&r, l, "ignore_preflight", &v->kubernetes.ignore_preflight_count);
    v->kubernetes.cert_sans = read_texts(&r, l, "cert_sans", &v->kubernetes.cert_san_count);
    v->kubernetes.resolvers = read_texts(&r, l, "resolvers", &v->kubernetes.resolver_count);
    for (size_t i = 0; !r.failed && i < v->kubernetes.resolver_count; i++)
        if (!kp_network_is_ip(v->kubernetes.resolvers[i]))
            kp_yaml_complain(&r, "resolvers", "%s is not an IP address",
                             v->kubernetes.resolvers[i]);
    read_kubelet(&r, l);
    v->kubernetes.keep_swap = kp_yaml_choice(&r, "swap", swap, 0) == 1;
    return kp_yaml_finish(&r) < 0 ? -1 : read_vip(l, vip);
}

static int read_mirror(const struct loading *l, const struct kp_yaml *map)
{
    struct kp_inventory *v = l->inventory;
    v->mirror.port = 5000;
    v->mirror.folder = "/var/lib/kpack/bundles";
    if (!map)
        return 0;
    struct kp_yaml_reader r = kp_yaml_read(map, l->err);
    v->mirror.port = (unsigned)kp_yaml_number(&r, "port", 1, 65535, v->mirror.port);
    const char *folder = kp_yaml_text(&r, "folder", v->mirror.folder);
    if (!r.failed && (folder[0] != '/' || strstr(folder, "..") || strpbrk(folder, " \t\"'$\\%")))
        kp_yaml_complain(&r, "folder", "an absolute path of plain characters is needed");
    v->mirror.folder = copy(l, folder);
    return kp_yaml_finish(&r);
}

static int read_etcd(const struct loading *l, const struct kp_yaml *map,
                     const struct kp_yaml *nodes)
{
    struct kp_inventory *v = l->inventory;
    bool some = false;
    for (size_t i = 0; i < v->node_count; i++)
        some = some || (v->nodes[i].roles & KP_ROLE_ETCD);
    return kp_etcd_options_read(&v->etcd, map, nodes, some, v->arena, l->err);
}

static int read_root(struct loading *l, const struct kp_yaml *root)
{
    struct kp_yaml_reader r = kp_yaml_read(root, l->err);
    const char *cluster = kp_yaml_text_required(&r, "cluster");
    if (!r.failed && (!kp_text_dns_name(cluster, 63) || strchr(cluster, '.')))
        kp_yaml_complain(&r, "cluster", "%s is not a name (a-z, 0-9, '-', at most 63)", cluster);
    l->ssh = kp_yaml_map(&r, "ssh", false);
    const struct kp_yaml *kubernetes = kp_yaml_map(&r, "kubernetes", false);
    const struct kp_yaml *mirror = kp_yaml_map(&r, "mirror", false);
    const struct kp_yaml *security = kp_yaml_map(&r, "security", false);
    const struct kp_yaml *etcd = kp_yaml_map(&r, "etcd", false);
    const struct kp_yaml *nodes = kp_yaml_list(&r, "nodes", KP_NODES_MAX, true);
    l->inventory->parallel = (unsigned)kp_yaml_number(&r, "parallel", 1, 200, 20);
    if (kp_yaml_finish(&r) < 0)
        return -1;
    l->inventory->cluster = copy(l, cluster);
    if (!nodes->count)
        return kp_yaml_fail(nodes, l->err, "no nodes");
    if (read_kubernetes(l, kubernetes) < 0 || read_mirror(l, mirror) < 0 ||
        kp_security_read(&l->inventory->security, security, l->inventory->arena, l->err) < 0)
        return -1;
    return read_nodes(l, nodes) < 0 ? -1 : read_etcd(l, etcd, nodes);
}

/* Puts our form of a Kubespray inventory in its place. */
static int convert(const struct loading *l, struct kp_yaml_document **document)
{
    struct kp_inventory *inventory = l->inventory;
    kp_auto_value(kp_buf) text = KP_BUF(KP_YAML_MAX), notes = KP_BUF(KP_YAML_MAX);
    kp_auto_free char *name = kp_asprintf("%s (as kinstall convert writes it)", inventory->path);
    if (kp_kubespray_convert(&text, &notes, inventory->path, kp_yaml_root(*document), l->err) < 0)
        return -1;
    if (notes.len)
        inventory->notes = kp_arena_strndup(inventory->arena, notes.data, notes.len);
    kp_yaml_document_free(*document);
    *document = NULL;
    return kp_yaml_parse(document, kp_buf_slice(&text), name, l->err);
}

int kp_inventory_load(struct kp_inventory **out, const char *path, struct kp_err *err)
{
    kp_auto(kp_yaml_document) document = NULL;
    if (kp_yaml_load(&document, path, err) < 0)
        return -1;
    kp_auto(kp_inventory) inventory = kp_alloc(sizeof(*inventory));
    inventory->arena = kp_arena_new();
    inventory->path = kp_arena_strdup(inventory->arena, path);
    kp_auto_free char *folder = kp_path_dir(path);
    struct loading l = {.inventory = inventory, .folder = folder, .err = err};
    if (kp_kubespray_is(kp_yaml_root(document)) && convert(&l, &document) < 0)
        return -1;
    if (read_root(&l, kp_yaml_root(document)) < 0)
        return -1;
    for (size_t i = 0; i < inventory->node_count; i++) {
        const struct kp_node *node = &inventory->nodes[i];
        if (kp_network_contains(inventory->kubernetes.pods, node->address) ||
            kp_network_contains(inventory->kubernetes.services, node->address))
            return kp_fail(err, KP_USAGE,
                           "%s:%u: %s: address %s lies in the pods' or services' network", path,
                           node->line, node->name, node->address);
        const char *vip = inventory->kubernetes.vip_address;
        if (vip && kp_network_same_ip(vip, node->address))
            return kp_fail(
                err, KP_USAGE,
                "%s: kubernetes.vip.address: %s is the address of %s; kube-vip needs one "
                "of its own",
                path, vip, node->name);
    }
    *out = kp_steal(&inventory);
    return 0;
}

void kp_inventory_free(struct kp_inventory *inventory)
{
    if (!inventory)
        return;
    kp_arena_free(inventory->arena);
    kp_free(inventory);
}

/* v1.30 is any v1.30.x. */
static bool is_version(const char *version, const char *wanted)
{
    size_t len = strlen(wanted);
    return strncmp(version, wanted, len) == 0 && (!version[len] || version[len] == '.');
}

int kp_inventory_check_bundle(const struct kp_inventory *inventory,
                              const struct kp_manifest *manifest, struct kp_err *err)
{
    const char *network = inventory->kubernetes.network, *version = inventory->kubernetes.version;
    if (version && !is_version(manifest->kubernetes, version)) {
        kp_fail_as(err, KP_MISSING, "version_missing",
                   "%s: kubernetes.version: %s is asked for, the bundle carries %s",
                   inventory->path, version, manifest->kubernetes);
        return kp_hint(err, "change the inventory, or make a bundle with --k8s %s", version);
    }
    if (network && strcmp(network, manifest->network) != 0) {
        kp_fail_as(err, KP_MISSING, "network_missing",
                   "%s: kubernetes.network: %s is asked for, the bundle carries %s",
                   inventory->path, network, manifest->network);
        return kp_hint(err, "change the inventory, or make a bundle with --network %s", network);
    }
    return 0;
}

size_t kp_inventory_members(const struct kp_inventory *inventory)
{
    size_t n = 0;
    for (size_t i = 0; i < inventory->node_count; i++)
        n += (inventory->nodes[i].roles & (KP_ROLE_CONTROL_PLANE | KP_ROLE_WORKER)) != 0;
    return n;
}

char *kp_inventory_endpoint_name(const struct kp_inventory *inventory)
{
    return kp_asprintf("%s.kpack.internal", inventory->cluster);
}

char *kp_inventory_state_folder(const struct kp_inventory *inventory)
{
    kp_auto_free char *folder = kp_path_dir(inventory->path);
    kp_auto_free char *name = kp_asprintf("%s.state", inventory->cluster);
    return kp_path_join(folder, name);
}
