/* SPDX-License-Identifier: Apache-2.0 */
#include "install/inventory/inventory.h"
#include "install/runtime.h"

#include "core/file.h"
#include "install/inventory/kubespray.h"
#include "install/inventory/network.h"
#include "install/inventory/nodes.h"
#include "manifests/replace.h"

/* The value of a key of a section; else the section, else the root. */
static const struct kp_yaml *place(const struct kp_yaml *root, const char *section, const char *key)
{
    const struct kp_yaml *map = kp_yaml_get(root, section), *value = kp_yaml_get(map, key);
    return value ? value : map ? map : root;
}

static int check_endpoint(const struct kp_reading *reading, const struct kp_yaml *root)
{
    const struct kp_inventory *v = reading->inventory;
    bool vip = strcmp(v->kubernetes.endpoint, "kube-vip") == 0;
    if (vip && !v->kubernetes.vip_address)
        return kp_yaml_fail(place(root, "kubernetes", "endpoint"), reading->err,
                            "kube-vip needs `vip: {address: …}` beside it");
    if (!vip && v->kubernetes.vip_address)
        return kp_yaml_fail(place(root, "kubernetes", "vip"), reading->err,
                            "is for `endpoint: kube-vip` only");
    return 0;
}

static int check_etcd(const struct kp_reading *reading, const struct kp_yaml *root)
{
    struct kp_inventory *v = reading->inventory;
    bool some = false;
    for (size_t i = 0; i < v->node_count; i++)
        some = some || (v->nodes[i].roles & KP_ROLE_ETCD);
    return kp_etcd_options_settle(&v->etcd, kp_yaml_get(root, "etcd"), kp_yaml_get(root, "nodes"),
                                  some, reading->err);
}

static int check_addresses(const struct kp_reading *reading, const struct kp_yaml *root)
{
    const struct kp_inventory *v = reading->inventory;
    const char *vip = v->kubernetes.vip_address;
    (void)root;
    for (size_t i = 0; i < v->node_count; i++) {
        const struct kp_node *node = &v->nodes[i];
        if (vip && (kp_network_same_ip(vip, node->address) ||
                    (node->address2 && kp_network_same_ip(vip, node->address2))))
            return kp_fail(reading->err, KP_USAGE,
                           "%s: kubernetes.vip.address: %s is the address of %s; kube-vip needs "
                           "one of its own",
                           v->path, vip, node->name);
    }
    return 0;
}

static int check_pki(const struct kp_reading *reading, const struct kp_yaml *root)
{
    const struct kp_inventory *v = reading->inventory;
    const struct kp_yaml *at = kp_yaml_get(root, "pki");
    if (!v->pki.certificate != !v->pki.key)
        return kp_yaml_fail(at, reading->err,
                            "certificate and key go together; where the key stays with the site: "
                            "requested: true, kinstall certs request");
    if (v->pki.requested && v->pki.certificate)
        return kp_yaml_fail(at, reading->err, "either certificate and key, or requested");
    return 0;
}

/* What several keys say together. */
static int (*const checks[])(const struct kp_reading *reading, const struct kp_yaml *root) = {
    kp_network_settle, check_endpoint, check_etcd, check_addresses, check_pki, kp_custom_settle};

static int read_root(const struct kp_reading *reading, const struct kp_yaml *root)
{
    struct kp_inventory *inventory = reading->inventory;
    inventory->ssh_defaults.ssh =
        (struct kp_ssh_target){.port = 22, .user = "root", .connect_timeout = 20};
    kp_keys_defaults(&kp_keys_root, inventory);
    if (kp_keys_read(&kp_keys_root, reading, root, inventory) < 0 ||
        kp_nodes_settle(reading, kp_yaml_get(root, "nodes")) < 0)
        return -1;
    for (size_t i = 0; i < KP_COUNT(checks); i++)
        if (checks[i](reading, root) < 0)
            return -1;
    return 0;
}

/* Puts our form of a Kubespray inventory in its place. */
static int convert(const struct kp_reading *reading, struct kp_yaml_document **document)
{
    struct kp_inventory *inventory = reading->inventory;
    kp_auto_value(kp_buf) text = KP_BUF(KP_YAML_MAX), notes = KP_BUF(KP_YAML_MAX);
    kp_auto_free char *name = kp_asprintf("%s (as kinstall convert writes it)", inventory->path);
    if (kp_kubespray_convert(&text, &notes, inventory->path, kp_yaml_root(*document),
                             reading->err) < 0)
        return -1;
    if (notes.len)
        inventory->notes = kp_arena_strndup(inventory->arena, notes.data, notes.len);
    kp_yaml_document_free(*document);
    *document = NULL;
    return kp_yaml_parse(document, kp_buf_slice(&text), name, reading->err);
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
    struct kp_reading reading = {
        .inventory = inventory, .arena = inventory->arena, .folder = folder, .err = err};
    if (kp_kubespray_is(kp_yaml_root(document)) && convert(&reading, &document) < 0)
        return -1;
    if (read_root(&reading, kp_yaml_root(document)) < 0)
        return -1;
    *out = kp_steal(&inventory);
    return 0;
}

void kp_inventory_free(struct kp_inventory *inventory)
{
    if (!inventory)
        return;
    kp_registries_wipe(inventory);
    kp_arena_free(inventory->arena);
    kp_free(inventory);
}

/* v1.30 is any v1.30.x. */
static bool is_version(const char *version, const char *wanted)
{
    size_t len = strlen(wanted);
    return strncmp(version, wanted, len) == 0 && (!version[len] || version[len] == '.');
}

/* What the bundle's manifests carry to the network plugin: enum kp_tells. -1: one names a value
 * that this program does not know. */
static int all_told(const struct kp_manifest *manifest, unsigned *told, struct kp_err *err)
{
    for (size_t i = 0; i < manifest->manifest_count; i++)
        for (size_t j = 0; j < manifest->manifests[i].replace_count; j++) {
            const char *with = manifest->manifests[i].replace[j].with;
            const struct kp_replace_kind *kind = kp_replace_kind(with);
            if (!kind) {
                kp_fail_as(err, KP_USAGE, "replace_unknown",
                           "manifest %s of the bundle: this kinstall does not know the value '%s'",
                           manifest->manifests[i].name, with);
                return kp_hint(err, "use the kinstall that the bundle carries");
            }
            *told |= kind->tells;
        }
    return 0;
}

/* What the bundle's network plugin has no place for would be lost without a word. */
static int check_told(const struct kp_inventory *inventory, const struct kp_manifest *manifest,
                      struct kp_err *err)
{
    const struct kp_network_options *net = &inventory->net;
    bool six = kp_inventory_has_ip6(inventory), both = kp_inventory_dual(inventory);
    unsigned told = 0;
    if (all_told(manifest, &told, err) < 0)
        return -1;
    const struct {
        const char *key;
        bool lost;
        const char *of;
    } table[] = {
        {"mtu", net->mtu && !(told & KP_TELLS_MTU), "it"},
        {"vxlan_port", net->vxlan_port && !(told & KP_TELLS_PORT), "it"},
        {"interface", net->interface && !(told & KP_TELLS_INTERFACE), "it"},
        {"pods", six && (told & KP_TELLS_IP4), "IPv6"},
        {"pods", six && !both && (told & KP_TELLS_BOTH), "IPv6 alone"},
    };
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        if (!table[i].lost)
            continue;
        kp_fail_as(err, KP_USAGE, "not_told",
                   "%s: kubernetes.%s: the network %s of this bundle is not told of %s",
                   inventory->path, table[i].key, manifest->network, table[i].of);
        return kp_hint(err, "leave it out and give it where the bundle is made (values of the "
                            "chart, a manifest of your own), or use flannel");
    }
    return 0;
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
    if (inventory->security.isolated_count &&
        kp_network_enforces(manifest->network) == KP_ENFORCES_NOT) {
        kp_fail_as(err, KP_USAGE, "policy_not_enforced",
                   "%s: security.isolated: %s does not enforce NetworkPolicy, so %s would be open "
                   "all the same",
                   inventory->path, manifest->network, inventory->security.isolated[0]);
        return kp_hint(err, "take it out, or make a bundle with --network cilium or calico");
    }
    if (check_told(inventory, manifest, err) < 0)
        return -1;
    return kp_runtime_check(inventory, manifest, err);
}

const struct kp_node *kp_inventory_at(const struct kp_inventory *inventory, size_t place)
{
    size_t movable = inventory->control_plane_count; // no others change their places
    for (size_t i = 0; place < movable && i < movable; i++)
        if (inventory->nodes[i].place == place)
            return &inventory->nodes[i];
    return &inventory->nodes[place];
}

size_t kp_inventory_members(const struct kp_inventory *inventory)
{
    size_t n = 0;
    for (size_t i = 0; i < inventory->node_count; i++)
        n += (inventory->nodes[i].roles & (KP_ROLE_CONTROL_PLANE | KP_ROLE_WORKER)) != 0;
    return n;
}

unsigned kp_inventory_etcd_role(const struct kp_inventory *inventory)
{
    return inventory->etcd.external ? KP_ROLE_ETCD : KP_ROLE_CONTROL_PLANE;
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
