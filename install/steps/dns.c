/* SPDX-License-Identifier: Apache-2.0 */
#include "install/steps/dns.h"

#include "core/hash.h"
#include "install/inventory/network.h"
#include "install/steps/common.h"

#define FORWARD_MAX ((size_t)16 << 10)
#define WAIT_S 300
#define CACHE_IMAGE "k8s-dns-node-cache"
#define CONTROL_PLANE_TAINT "node-role.kubernetes.io/control-plane"
#define DNS_SERVICE 10

/* `forward` only to resolvers that the inventory names, for one that does not exist makes every
 * foreign name a time-out and CoreDNS restart in a loop. */
int kp_dns_render_corefile(char **out, const struct kp_inventory *inventory, struct kp_err *err)
{
    kp_auto(kp_vars) vars = kp_vars_new();
    kp_auto_value(kp_buf) forward = KP_BUF(FORWARD_MAX);
    const struct kp_network_options *net = &inventory->net;
    for (size_t i = 0; i < inventory->kubernetes.resolver_count; i++)
        kp_buf_addf(&forward, "%s%s", i ? " " : "", inventory->kubernetes.resolvers[i]);
    kp_vars_set(vars, "domain", inventory->kubernetes.domain);
    kp_vars_set(vars, "forward", kp_buf_slice(&forward).ptr);
    kp_vars_flag(vars, "hosts_set", net->dns_host_count > 0);
    for (size_t i = 0; i < net->dns_host_count; i++)
        for (size_t j = 0; j < net->dns_hosts[i].count; j++)
            kp_vars_add(vars, "hosts", "%s %s", net->dns_hosts[i].addresses[j],
                        net->dns_hosts[i].name);
    return kp_render(out, "coredns-corefile.yaml", vars, err);
}

static int restart_coredns(struct kp_site *site, struct kp_err *err)
{
    static const char *const get[] = {"get",         "deployment", "coredns", "-n",
                                      "kube-system", "-o",         "json",    NULL};
    static const char *const restart[] = {"rollout", "restart",     "deployment/coredns",
                                          "-n",      "kube-system", NULL};
    kp_auto_json deployment = NULL;
    bool found;
    if (kp_kube_json(site, &deployment, &found, get, err) < 0)
        return -1;
    // Before there is a network no pod has read the old one.
    const json_t *ready = json_object_get(json_object_get(deployment, "status"), "readyReplicas");
    if (!found || json_integer_value(ready) == 0)
        return 0;
    struct kp_slice none = {0};
    return kp_kube(site, restart, none, NULL, err);
}

int kp_dns_corefile(struct kp_site *site, struct kp_site_node *first, struct kp_err *err)
{
    kp_auto_free char *yaml = NULL;
    bool changed = false;
    (void)first;
    if (kp_dns_render_corefile(&yaml, site->inventory, err) < 0 ||
        kp_kube_apply(site, "CoreDNS's Corefile", kp_slice_of(yaml), &changed, err) < 0)
        return -1;
    return changed && !site->dry_run ? restart_coredns(site, err) : 0;
}

int kp_dns_spread(struct kp_site *site, struct kp_site_node *first, struct kp_err *err)
{
    kp_auto(kp_vars) none = kp_vars_new();
    kp_auto_free char *yaml = NULL;
    (void)first;
    if (kp_render(&yaml, "coredns-spread.yaml", none, err) < 0)
        return -1;
    return kp_kube_apply(site, "CoreDNS's pods on several nodes", kp_slice_of(yaml), NULL, err);
}

/* --- on more than one node -------------------------------------------------------------------- */

/* A pod of CoreDNS may go there: it tolerates a control plane's own taint and no other. */
static bool takes_pods(const json_t *node)
{
    const json_t *spec = json_object_get(node, "spec"), *taint;
    size_t i;
    if (json_is_true(json_object_get(spec, "unschedulable")))
        return false;
    json_array_foreach(json_object_get(spec, "taints"), i, taint)
    {
        const char *key = json_string_value(json_object_get(taint, "key"));
        const char *effect = json_string_value(json_object_get(taint, "effect"));
        if (key && effect && strcmp(key, CONTROL_PLANE_TAINT) != 0 &&
            strcmp(effect, "PreferNoSchedule") != 0)
            return false;
    }
    return true;
}

const char *kp_dns_crowded(const json_t *pods, const json_t *nodes)
{
    const char *on = NULL, *last = NULL;
    const json_t *item;
    size_t i, running = 0, room = 0;
    json_array_foreach(json_object_get(pods, "items"), i, item)
    {
        const json_t *metadata = json_object_get(item, "metadata");
        const char *node =
            json_string_value(json_object_get(json_object_get(item, "spec"), "nodeName"));
        if (!node || json_object_get(metadata, "deletionTimestamp"))
            continue;
        if (on && strcmp(on, node) != 0)
            return NULL;
        on = node;
        last = json_string_value(json_object_get(metadata, "name"));
        running++;
    }
    json_array_foreach(json_object_get(nodes, "items"), i, item) room += takes_pods(item);
    return running > 1 && room > 1 ? last : NULL;
}

int kp_dns_balance(struct kp_site *site, struct kp_site_node *first, struct kp_err *err)
{
    static const char *const get_pods[] = {
        "get", "pods", "-n", "kube-system", "-l", "k8s-app=kube-dns", "-o", "json", NULL};
    static const char *const get_nodes[] = {"get", "nodes", "-o", "json", NULL};
    struct kp_change change = {.changed = true};
    kp_auto_json pods = NULL;
    kp_auto_json nodes = NULL;
    bool made;
    if (kp_cluster_made(site, &made, err) < 0)
        return -1;
    if (!made)
        return 0;
    if (kp_kube_json(site, &pods, NULL, get_pods, err) < 0 ||
        kp_kube_json(site, &nodes, NULL, get_nodes, err) < 0)
        return -1;
    const char *pod = kp_dns_crowded(pods, nodes);
    if (!pod)
        return 0;
    kp_step_changed(site, first, "move a pod of CoreDNS to another node", &change);
    if (site->dry_run)
        return 0;
    const char *move[] = {"delete", "pod", pod, "-n", "kube-system", "--wait=false", NULL};
    struct kp_slice none = {0};
    if (kp_kube(site, move, none, NULL, err) < 0)
        return -1;
    return kp_kube_wait(site, "deployment", "kube-system", "coredns", WAIT_S, err);
}

/* --- the nodes' own cache --------------------------------------------------------------------- */

int kp_dns_render_cache(char **out, const struct kp_inventory *inventory, const char *image,
                        struct kp_err *err)
{
    kp_auto(kp_vars) vars = kp_vars_new();
    kp_auto_free char *service = kp_network_nth(inventory->kubernetes.services, DNS_SERVICE);
    bool ip6 = strchr(service, ':') != NULL;
    unsigned mode = inventory->net.kube_proxy;
    // Where a rule catches the Service's address before it is rewritten, the cache answers there.
    bool takes_over = mode == KP_PROXY_IPTABLES || mode == KP_PROXY_NFTABLES;
    const char *local = ip6 ? KP_NODE_LOCAL_DNS6 : KP_NODE_LOCAL_DNS4;
    kp_auto_free char *host = kp_network_url_host(local);
    struct kp_digest digest;
    kp_vars_set(vars, "image", image);
    kp_vars_set(vars, "local", local);
    kp_vars_setf(vars, "health_at", "%s:8080", host);
    kp_vars_setf(vars, "binds", "%s%s%s", local, takes_over ? " " : "", takes_over ? service : "");
    kp_vars_setf(vars, "local_ips", "%s%s%s", local, takes_over ? "," : "",
                 takes_over ? service : "");
    kp_vars_set(vars, "iptables", takes_over ? "true" : "false");
    kp_vars_set(vars, "digest", "");
    kp_auto_free char *draft = NULL;
    if (kp_render(&draft, "node-local-dns.yaml", vars, err) < 0)
        return -1;
    kp_sha256(draft, strlen(draft), &digest);
    kp_vars_set(vars, "digest", kp_digest_hex(&digest).hex);
    return kp_render(out, "node-local-dns.yaml", vars, err);
}

static int drop_cache(struct kp_site *site, struct kp_site_node *first, struct kp_err *err)
{
    static const char *const get[] = {"get",         "daemonset", "node-local-dns", "-n",
                                      "kube-system", "-o",        "json",           NULL};
    static const char *const drop[] = {"delete",
                                       "daemonset/node-local-dns",
                                       "configmap/node-local-dns",
                                       "service/kube-dns-upstream",
                                       "serviceaccount/node-local-dns",
                                       "-n",
                                       "kube-system",
                                       "--ignore-not-found",
                                       NULL};
    struct kp_change change = {.changed = true};
    kp_auto_json found = NULL;
    struct kp_slice none = {0};
    bool there, made;
    if (kp_cluster_made(site, &made, err) < 0)
        return -1;
    if (!made)
        return 0;
    if (kp_kube_json(site, &found, &there, get, err) < 0)
        return -1;
    if (!there)
        return 0;
    kp_step_changed(site, first, "take the nodes' DNS cache away", &change);
    return site->dry_run ? 0 : kp_kube(site, drop, none, NULL, err);
}

int kp_dns_cache(struct kp_site *site, struct kp_site_node *first, struct kp_err *err)
{
    const struct kp_image *image = kp_endpoint_image(site->manifest, CACHE_IMAGE);
    kp_auto_free char *yaml = NULL;
    if (!site->inventory->net.node_local_dns)
        return image ? drop_cache(site, first, err) : 0;
    if (!image) {
        kp_fail_as(err, KP_MISSING, "missing_image",
                   "the bundle has no image of " CACHE_IMAGE
                   ", which kubernetes.node_local_dns needs");
        return kp_hint(err, "make it with `kpack create --with node-local-dns`");
    }
    if (kp_dns_render_cache(&yaml, site->inventory, image->reference, err) < 0 ||
        kp_kube_apply(site, "the nodes' DNS cache", kp_slice_of(yaml), NULL, err) < 0)
        return -1;
    return site->dry_run
               ? 0
               : kp_kube_wait(site, "daemonset", "kube-system", "node-local-dns", WAIT_S, err);
}
