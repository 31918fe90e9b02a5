/* SPDX-License-Identifier: Apache-2.0 */
#include "install/endpoint.h"

#include "core/base64.h"
#include "core/hash.h"
#include "install/inventory/network.h"
#include "manifests/render.h"

#define HOSTS_MAX ((size_t)1 << 20)
#define KUBECONFIG_MAX ((size_t)1 << 20)
#define SUPER_ADMIN_SINCE 129 /* https://github.com/kubernetes/kubeadm/issues/2414 */

enum kp_endpoint_mode kp_endpoint_mode(const struct kp_inventory *inventory)
{
    const char *endpoint = inventory->kubernetes.endpoint;
    if (strcmp(endpoint, "local") == 0)
        return KP_ENDPOINT_LOCAL;
    if (strcmp(endpoint, "first") == 0)
        return KP_ENDPOINT_FIRST;
    return strcmp(endpoint, "kube-vip") == 0 ? KP_ENDPOINT_VIP : KP_ENDPOINT_EXTERNAL;
}

bool kp_endpoint_balanced(const struct kp_inventory *inventory, const struct kp_node *node)
{
    return kp_endpoint_mode(inventory) == KP_ENDPOINT_LOCAL && inventory->control_plane_count > 1 &&
           !(node->roles & KP_ROLE_CONTROL_PLANE);
}

const char *kp_endpoint_address(const struct kp_inventory *inventory, const struct kp_node *node,
                                bool joined, const char *live)
{
    switch (kp_endpoint_mode(inventory)) {
    case KP_ENDPOINT_EXTERNAL:
        return NULL;
    case KP_ENDPOINT_VIP:
        return inventory->kubernetes.vip_address;
    case KP_ENDPOINT_FIRST:
        return inventory->nodes[0].address;
    case KP_ENDPOINT_LOCAL:
        break;
    }
    if (joined && (node->roles & KP_ROLE_CONTROL_PLANE))
        return node->address;
    return joined && kp_endpoint_balanced(inventory, node) ? "127.0.0.1" : live;
}

char *kp_endpoint_text(const struct kp_inventory *inventory)
{
    if (kp_endpoint_mode(inventory) == KP_ENDPOINT_EXTERNAL)
        return kp_strdup(inventory->kubernetes.endpoint);
    kp_auto_free char *name = kp_inventory_endpoint_name(inventory);
    return kp_asprintf("%s:%d", name, KP_API_PORT);
}

char *kp_endpoint_external_host(const struct kp_inventory *inventory)
{
    const char *text = inventory->kubernetes.endpoint, *colon = strrchr(text, ':');
    if (kp_endpoint_mode(inventory) != KP_ENDPOINT_EXTERNAL || !colon)
        return NULL;
    size_t len = (size_t)(colon - text);
    bool brackets = len > 2 && text[0] == '[' && text[len - 1] == ']';
    return brackets ? kp_strndup(text + 1, len - 2) : kp_strndup(text, len);
}

char *kp_endpoint_hosts(const struct kp_inventory *inventory, const char *address)
{
    kp_auto_value(kp_buf) out = KP_BUF(HOSTS_MAX);
    kp_auto_free char *name = kp_inventory_endpoint_name(inventory);
    for (size_t i = 0; i < inventory->node_count; i++) {
        const struct kp_node *node = kp_inventory_at(inventory, i);
        const char *addresses[KP_FAMILIES_MAX];
        size_t n = kp_node_addresses(node, addresses);
        for (size_t j = 0; j < n; j++)
            kp_buf_addf(&out, "%s %s\n", addresses[j], node->name);
    }
    if (address)
        kp_buf_addf(&out, "%s %s\n", address, name);
    return kp_buf_steal(&out);
}

/* "ghcr.io/kube-vip/kube-vip:v0.8.9" ends its path in "kube-vip". */
static bool is_named(const char *reference, const char *name)
{
    const char *last = strrchr(reference, '/');
    size_t len = strlen(name);
    return last && strncmp(last + 1, name, len) == 0 &&
           (last[1 + len] == ':' || last[1 + len] == '@');
}

const struct kp_image *kp_endpoint_image(const struct kp_manifest *manifest, const char *name)
{
    const struct kp_image *image = kp_manifest_image(manifest, name);
    for (size_t i = 0; !image && i < manifest->image_count; i++)
        if (is_named(manifest->images[i].reference, name))
            image = &manifest->images[i];
    return image;
}

bool kp_endpoint_wants_image(const struct kp_inventory *inventory, const struct kp_node *node,
                             const struct kp_image *image)
{
    if (strcmp(image->name, "haproxy") == 0)
        return kp_endpoint_balanced(inventory, node);
    if (strcmp(image->name, "kube-vip") == 0 || is_named(image->reference, "kube-vip"))
        return kp_endpoint_mode(inventory) == KP_ENDPOINT_VIP &&
               (node->roles & KP_ROLE_CONTROL_PLANE);
    if (is_named(image->reference, "k8s-dns-node-cache"))
        return inventory->net.node_local_dns;
    if (strcmp(image->name, "kube-proxy") == 0)
        return inventory->net.kube_proxy != KP_PROXY_NONE;
    return true;
}

static int need_image(const struct kp_image **out, const struct kp_manifest *manifest,
                      const char *name, const char *mode, struct kp_err *err)
{
    *out = kp_endpoint_image(manifest, name);
    if (*out)
        return 0;
    kp_fail_as(err, KP_MISSING, "missing_image",
               "the bundle has no image of %s, which kubernetes.endpoint: %s needs", name, mode);
    return kp_hint(err, "make it with `kpack create --image` and the reference that stands in the "
                        "release file, or choose another endpoint");
}

int kp_endpoint_render_haproxy(char **config, char **pod, const struct kp_inventory *inventory,
                               const struct kp_manifest *manifest, struct kp_err *err)
{
    const struct kp_image *image;
    kp_auto(kp_vars) vars = kp_vars_new();
    kp_auto_free char *name = kp_inventory_endpoint_name(inventory), *text = NULL;
    struct kp_digest digest;
    if (need_image(&image, manifest, "haproxy", "local with several control planes", err) < 0)
        return -1;
    kp_vars_set(vars, "name", name);
    kp_vars_set(vars, "image", image->reference);
    kp_vars_setf(vars, "port", "%d", KP_API_PORT);
    for (size_t i = 0; i < inventory->control_plane_count; i++) {
        const struct kp_node *node = kp_inventory_at(inventory, i);
        kp_auto_free char *host = kp_network_url_host(node->address);
        kp_vars_add(vars, "servers", "%s %s:%d", node->name, host, KP_API_PORT);
    }
    if (kp_render(&text, "haproxy.cfg", vars, err) < 0)
        return -1;
    kp_sha256(text, strlen(text), &digest);
    kp_vars_set(vars, "digest", kp_digest_hex(&digest).hex);
    if (kp_render(pod, "haproxy-pod.yaml", vars, err) < 0)
        return -1;
    *config = kp_steal(&text);
    return 0;
}

int kp_endpoint_render_vip(char **pod, const struct kp_inventory *inventory,
                           const struct kp_manifest *manifest, unsigned minor, bool making,
                           struct kp_err *err)
{
    const struct kp_image *image;
    kp_auto(kp_vars) vars = kp_vars_new();
    const char *address = inventory->kubernetes.vip_address;
    if (need_image(&image, manifest, "kube-vip", "kube-vip", err) < 0)
        return -1;
    kp_vars_set(vars, "image", image->reference);
    kp_vars_set(vars, "address", address);
    kp_vars_set(vars, "prefix", strchr(address, ':') ? "128" : "32");
    kp_vars_setf(vars, "port", "%d", KP_API_PORT);
    kp_vars_set(vars, "interface", inventory->kubernetes.vip_interface);
    kp_vars_set(vars, "kubeconfig",
                making && minor >= SUPER_ADMIN_SINCE ? "/etc/kubernetes/super-admin.conf"
                                                     : "/etc/kubernetes/admin.conf");
    return kp_render(pod, "kube-vip-pod.yaml", vars, err);
}

/* The value of the first line "key: value" of kubeadm's own, flat way of writing. */
static bool find_value(struct kp_slice text, const char *key, struct kp_slice *value)
{
    struct kp_slice line;
    size_t len = strlen(key);
    while (kp_slice_line(&text, &line)) {
        struct kp_slice word = kp_slice_trim(line);
        if (!kp_slice_starts(word, key) || word.len <= len || word.ptr[len] != ':')
            continue;
        word.ptr += len + 1;
        word.len -= len + 1;
        *value = kp_slice_trim(word);
        return value->len > 0;
    }
    return false;
}

static void add_cluster(struct kp_buf *out, const char *name, const char *server,
                        const char *server_name, struct kp_slice ca)
{
    kp_buf_addf(out, "- cluster:\n    certificate-authority-data: %.*s\n    server: %s\n",
                (int)ca.len, ca.ptr, server);
    if (server_name)
        kp_buf_addf(out, "    tls-server-name: %s\n", server_name);
    kp_buf_addf(out, "  name: %s\n", name);
}

static void add_context(struct kp_buf *out, const char *cluster, const char *user)
{
    kp_buf_addf(out, "- context:\n    cluster: %s\n    user: %s\n  name: %s\n", cluster, user,
                cluster);
}

/* By address: the admin host need not know the cluster's own name. */
static void add_clusters(struct kp_buf *out, const struct kp_inventory *inventory,
                         struct kp_slice ca)
{
    enum kp_endpoint_mode mode = kp_endpoint_mode(inventory);
    kp_auto_free char *name = kp_inventory_endpoint_name(inventory);
    const char *address =
        mode == KP_ENDPOINT_VIP ? inventory->kubernetes.vip_address : inventory->nodes[0].address;
    kp_auto_free char *host = kp_network_url_host(address);
    kp_auto_free char *server = mode == KP_ENDPOINT_EXTERNAL
                                    ? kp_asprintf("https://%s", inventory->kubernetes.endpoint)
                                    : kp_asprintf("https://%s:%d", host, KP_API_PORT);
    const char *checked = mode == KP_ENDPOINT_EXTERNAL ? NULL : name;
    kp_buf_adds(out, "clusters:\n");
    add_cluster(out, inventory->cluster, server, checked, ca);
    for (size_t i = 0; i < inventory->control_plane_count; i++) {
        const struct kp_node *node = kp_inventory_at(inventory, i);
        kp_auto_free char *own = kp_network_url_host(node->address);
        kp_auto_free char *url = kp_asprintf("https://%s:%d", own, KP_API_PORT);
        kp_auto_free char *cluster = kp_asprintf("%s@%s", node->name, inventory->cluster);
        add_cluster(out, cluster, url, name, ca);
    }
}

int kp_endpoint_kubeconfig(char **out, const struct kp_inventory *inventory,
                           struct kp_slice admin_conf, struct kp_err *err)
{
    static const char user[] = "kubernetes-admin";
    kp_auto_value(kp_buf) text = KP_BUF_SECRET(KUBECONFIG_MAX);
    struct kp_slice ca, certificate, key;
    if (!find_value(admin_conf, "certificate-authority-data", &ca) ||
        !find_value(admin_conf, "client-certificate-data", &certificate) ||
        !find_value(admin_conf, "client-key-data", &key))
        return kp_fail_as(err, KP_DAMAGED, "bad_admin_conf",
                          "admin.conf lacks a certificate, a key or the CA");
    kp_buf_adds(&text, "apiVersion: v1\nkind: Config\n");
    add_clusters(&text, inventory, ca);
    kp_buf_adds(&text, "contexts:\n");
    add_context(&text, inventory->cluster, user);
    for (size_t i = 0; i < inventory->control_plane_count; i++) {
        kp_auto_free char *cluster =
            kp_asprintf("%s@%s", kp_inventory_at(inventory, i)->name, inventory->cluster);
        add_context(&text, cluster, user);
    }
    kp_buf_addf(&text, "current-context: %s\nusers:\n- name: %s\n  user:\n", inventory->cluster,
                user);
    kp_buf_addf(&text, "    client-certificate-data: %.*s\n    client-key-data: %.*s\n",
                (int)certificate.len, certificate.ptr, (int)key.len, key.ptr);
    *out = kp_buf_steal(&text);
    return 0;
}

bool kp_endpoint_ca(char **out, size_t *len, struct kp_slice kubeconfig)
{
    struct kp_slice ca;
    return find_value(kubeconfig, "certificate-authority-data", &ca) &&
           kp_base64_parse(ca, out, len);
}
