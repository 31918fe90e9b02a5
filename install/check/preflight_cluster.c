/* SPDX-License-Identifier: Apache-2.0 */
#include "core/text.h"

#include "install/runtime.h"
#include "install/inventory/network.h"
#include "install/check/preflight_rules.h"

static bool has_address(const struct kp_look *look, const char *address)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(look->network, "addresses"), i, item)
    {
        if (kp_network_same_ip(kp_json_string(item, "address"), address))
            return true;
    }
    return false;
}

static bool has_interface(const struct kp_look *look, const char *name)
{
    const json_t *interfaces = json_object_get(look->network, "interfaces");
    size_t i;
    json_t *item;
    json_array_foreach(interfaces, i, item)
    {
        if (strcmp(kp_json_string(item, "name"), name) == 0)
            return true;
    }
    return json_array_size(interfaces) == 0;
}

void kp_rule_address(const struct kp_look *look)
{
    const char *addresses[KP_FAMILIES_MAX];
    const char *interface = look->site->inventory->net.interface;
    size_t n = kp_node_addresses(look->node->node, addresses);
    for (size_t i = 0; i < n; i++)
        if (!has_address(look, addresses[i]))
            kp_found(look, KP_LEVEL_ERROR, "address", "correct `address` in the inventory",
                     "%s is not an address of this node", addresses[i]);
    if (interface && !has_interface(look, interface))
        kp_found(look, KP_LEVEL_ERROR, "interface", "correct kubernetes.interface",
                 "there is no interface %s", interface);
}

struct port {
    unsigned number, roles;
    const char *protocol, *what;
    bool mirror;
};

static void check_port(const struct kp_look *look, const struct port *port)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(look->network, "listening"), i, item)
    {
        const char *protocol = kp_json_string(item, "protocol");
        if (kp_fact_number(item, "port") != (json_int_t)port->number ||
            strncmp(protocol, port->protocol, strlen(port->protocol)) != 0)
            continue;
        const char *program = kp_json_string(item, "program");
        kp_found(look, KP_LEVEL_ERROR, "ports", "stop that program, or kinstall reset --node NAME",
                 "port %u (%s) is in use by %s", port->number, port->what,
                 program[0] ? program : "another program");
        return;
    }
}

void kp_rule_ports(const struct kp_look *look)
{
    enum { ANY = KP_ROLE_CONTROL_PLANE | KP_ROLE_WORKER, ALL = ANY | KP_ROLE_ETCD };
    unsigned etcd = kp_inventory_etcd_role(look->site->inventory);
    unsigned proxy = look->site->inventory->net.kube_proxy == KP_PROXY_NONE ? 0 : ANY;
    const struct port table[] = {
        {6443, KP_ROLE_CONTROL_PLANE, "tcp", "API server", false},
        {2379, etcd, "tcp", "etcd", false},
        {2380, etcd, "tcp", "etcd", false},
        {10257, KP_ROLE_CONTROL_PLANE, "tcp", "controller manager", false},
        {10259, KP_ROLE_CONTROL_PLANE, "tcp", "scheduler", false},
        {10250, ANY, "tcp", "kubelet", false},
        {10256, proxy, "tcp", "kube-proxy", false},
        {look->site->inventory->mirror.port, ALL, "tcp", "mirror", true},
    };
    if (look->ours)
        return;
    for (size_t i = 0; i < KP_COUNT(table); i++)
        if ((table[i].roles & look->node->node->roles) &&
            (!table[i].mirror || look->node->node->mirror))
            check_port(look, &table[i]);
}

static bool is_cluster_interface(const char *name)
{
    static const char *const prefixes[] = {"cni",          "flannel",     "veth",  "cali",
                                           "cilium",       "lxc",         "kube-", "tunl",
                                           "vxlan.calico", "nodelocaldns"};
    for (size_t i = 0; i < KP_COUNT(prefixes); i++)
        if (kp_starts_with(name, prefixes[i]))
            return true;
    return false;
}

static void check_route(const struct kp_look *look, const char *cidr, const char *what,
                        const json_t *route)
{
    const char *interface = kp_json_string(route, "interface");
    json_int_t prefix = kp_fact_number(route, "prefix");
    if (!prefix || is_cluster_interface(interface))
        return;
    kp_auto_free char *network =
        kp_asprintf("%s/%d", kp_json_string(route, "destination"), (int)prefix);
    if (kp_network_overlap(cidr, network))
        kp_found(look, KP_LEVEL_ERROR, "networks", "choose another network in the inventory",
                 "the %s network %s overlaps the route %s (%s)", what, cidr, network, interface);
}

void kp_rule_networks(const struct kp_look *look)
{
    const json_t *routes = json_object_get(look->network, "routes");
    const struct kp_inventory *inventory = look->site->inventory;
    size_t i;
    json_t *route;
    json_array_foreach(routes, i, route)
    {
        check_route(look, inventory->kubernetes.pods, "pods'", route);
        check_route(look, inventory->kubernetes.services, "services'", route);
    }
}

void kp_rule_leftovers(const struct kp_look *look)
{
    const json_t *files = json_object_get(look->leftovers, "kubernetes_files");
    const char *cluster = kp_json_string(look->node->record, "cluster");
    if (cluster[0] && !look->ours) {
        kp_found(look, KP_LEVEL_ERROR, "leftovers",
                 "kinstall reset with that cluster's inventory, if it is no longer needed",
                 "the node belongs to the cluster %s", cluster);
        return;
    }
    if (look->ours)
        return;
    if (json_array_size(files))
        kp_found(look, KP_LEVEL_ERROR, "leftovers",
                 "kubeadm reset there, if that cluster is no longer needed",
                 "files of another cluster: %s (%zu in all)",
                 json_string_value(json_array_get(files, 0)), json_array_size(files));
    if (json_is_true(json_object_get(look->leftovers, "etcd_member")))
        kp_found(look, KP_LEVEL_ERROR, "leftovers",
                 "move /var/lib/etcd away, if its data are no longer needed",
                 "/var/lib/etcd holds the data of an etcd member");
}

void kp_rule_runtimes(const struct kp_look *look)
{
    static const char *const names[] = {"containerd", "crio", "docker"};
    static const char *const units[] = {"containerd.service", "crio.service", ""};
    const json_t *runtimes = json_object_get(look->leftovers, "runtimes");
    for (size_t i = 0; i < KP_COUNT(names) && !look->ours; i++) {
        const json_t *one = json_object_get(runtimes, names[i]);
        if (strcmp(kp_json_string(one, "active"), "active") != 0)
            continue;
        struct kp_runtime mine =
            kp_runtime_of(look->site->inventory, look->site->manifest, look->node->node);
        bool same = strcmp(kp_runtime_place(mine.kind)->unit, units[i]) == 0;
        kp_found(look, same ? KP_LEVEL_ERROR : KP_LEVEL_WARNING, "runtimes",
                 same ? "disable it (systemctl disable --now), and move its folder in /etc away"
                      : "it may go on beside kinstall's; both write iptables rules",
                 "%s runs already (%s)", names[i], kp_json_string(one, "path"));
    }
}

static void check_pair(const struct kp_site *site, size_t i, size_t j, struct kp_findings *out)
{
    const json_t *mine = json_object_get(site->nodes[i].facts, "system");
    const json_t *theirs = json_object_get(site->nodes[j].facts, "system");
    const char *id = kp_json_string(mine, "machine_id"), *name = kp_json_string(mine, "hostname");
    const struct kp_look look = {.site = site, .node = &site->nodes[i], .out = out};
    if (id[0] && strcmp(id, kp_json_string(theirs, "machine_id")) == 0)
        kp_found(&look, KP_LEVEL_ERROR, "machine-id",
                 "rm /etc/machine-id; systemd-machine-id-setup; reboot",
                 "machine-id is that of %s (a cloned disk?)", site->nodes[j].node->name);
    if (name[0] && strcmp(name, kp_json_string(theirs, "hostname")) == 0)
        kp_found(&look, KP_LEVEL_ERROR, "hostname", "hostnamectl set-hostname NAME",
                 "hostname is that of %s", site->nodes[j].node->name);
}

void kp_rule_duplicates(const struct kp_site *site, struct kp_findings *out)
{
    for (size_t i = 0; i < site->node_count; i++)
        for (size_t j = 0; j < i; j++)
            check_pair(site, i, j, out);
}
