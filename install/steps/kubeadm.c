/* SPDX-License-Identifier: Apache-2.0 */
#include "install/steps/kubeadm.h"

#include "core/text.h"
#include "install/kernel.h"
#include "install/etcd/etcd.h"
#include "install/inventory/network.h"
#include "install/runtime.h"
#include "install/steps/common.h"
#include "install/steps/proxy.h"
#include "install/steps/secure.h"
#include "install/steps/settings.h"
#include "install/steps/certs.h"
#include "install/steps/site_ca.h"
#include "install/steps/etcd.h"

#include <openssl/rand.h>
#include <time.h>

#define CONFIG_MAX ((size_t)1 << 20)
#define RESULT_MAX ((size_t)1 << 20)
#define RESET_TIMEOUT_S 180
#define CONFIGURED_TIMEOUT_S 120
#define TOKEN_LIFE_S 1800
#define NFTABLES_SINCE 131

int kp_random_word(char *out, size_t len, bool hex, struct kp_err *err)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    static const unsigned unbiased = 256 - 256 % (sizeof(letters) - 1);
    size_t n = 0;
    while (n < len) {
        unsigned char byte;
        if (RAND_bytes(&byte, 1) != 1)
            return kp_fail(err, KP_FAILED, "no randomness");
        if (hex)
            out[n++] = "0123456789abcdef"[byte % 16];
        else if (byte < unbiased)
            out[n++] = letters[byte % (sizeof(letters) - 1)];
    }
    out[len] = '\0';
    return 0;
}

/* The tag "!!str" keeps values like true or 1 texts without quotes. */
static void add_taint(struct kp_vars *vars, const struct kp_taint *taint)
{
    bool value = taint->value && *taint->value;
    kp_vars_add(vars, "taints", "key: !!str %s, %s%s%seffect: %s", taint->key,
                value ? "value: !!str " : "", value ? taint->value : "", value ? ", " : "",
                taint->effect);
}

void kp_kubeadm_node_vars(struct kp_vars *vars, const struct kp_site *site,
                          const struct kp_site_node *node)
{
    const struct kp_node *n = node->node;
    const struct kp_inventory *inventory = site->inventory;
    bool mixed = (n->roles & KP_ROLE_CONTROL_PLANE) && (n->roles & KP_ROLE_WORKER);
    bool worker = !(n->roles & KP_ROLE_CONTROL_PLANE);
    struct kp_runtime runtime = kp_runtime_of(inventory, site->manifest, n);
    kp_vars_set(vars, "cri", kp_runtime_place(runtime.kind)->endpoint);
    kp_vars_set(vars, "node", n->name);
    kp_vars_set(vars, "address", n->address);
    kp_vars_setf(vars, "node_ip", "%s%s%s", n->address, kp_inventory_dual(inventory) ? "," : "",
                 kp_inventory_dual(inventory) ? n->address2 : "");
    kp_vars_set(vars, "patches", kp_settings_patched(site, n) ? KP_PATCHES_FOLDER : "");
    kp_vars_flag(vars, "taints_set", n->taint_count > 0);
    // Nothing said: kubeadm's own taint on control planes, unless it is to work as well.
    kp_vars_flag(vars, "no_taints", n->taint_count == 0 && (n->taints_set || mixed || worker));
    for (size_t i = 0; i < n->taint_count; i++)
        add_taint(vars, &n->taints[i]);
    size_t ignored = inventory->kubernetes.ignore_preflight_count;
    kp_vars_flag(vars, "ignore_set", ignored > 0 || inventory->kubernetes.keep_swap);
    for (size_t i = 0; i < ignored; i++)
        kp_vars_add(vars, "ignore", "%s", inventory->kubernetes.ignore_preflight[i]);
    if (inventory->kubernetes.keep_swap)
        kp_vars_add(vars, "ignore", "Swap");
}

/* "registry.k8s.io/coredns/coredns:v1.11.3" -> repository and tag, as kubeadm wants them apart. */
static int split_image(struct kp_vars *vars, const struct kp_manifest *manifest, const char *name,
                       const char *repository_key, const char *tag_key, struct kp_err *err)
{
    const struct kp_image *image = kp_manifest_image(manifest, name);
    const char *slash = image ? strrchr(image->reference, '/') : NULL;
    const char *colon = slash ? strchr(slash, ':') : NULL;
    if (!colon)
        return kp_fail_as(err, KP_MISSING, "missing_image", "the bundle has no image %s", name);
    kp_vars_setf(vars, repository_key, "%.*s", (int)(slash - image->reference), image->reference);
    if (tag_key)
        kp_vars_set(vars, tag_key, colon + 1);
    return 0;
}

static void add_sans(struct kp_vars *vars, const struct kp_site *site)
{
    const struct kp_inventory *inventory = site->inventory;
    kp_auto_free char *name = kp_inventory_endpoint_name(inventory);
    kp_vars_add(vars, "sans", "%s", name);
    kp_vars_add(vars, "sans", "localhost");
    kp_vars_add(vars, "sans", "127.0.0.1");
    if (kp_inventory_has_ip6(inventory))
        kp_vars_add(vars, "sans", "::1");
    for (size_t i = 0; i < inventory->node_count; i++) {
        const struct kp_node *node = kp_inventory_at(inventory, i);
        if (!(node->roles & KP_ROLE_CONTROL_PLANE))
            continue;
        const char *addresses[KP_FAMILIES_MAX];
        size_t n = kp_node_addresses(node, addresses);
        kp_vars_add(vars, "sans", "%s", node->name);
        for (size_t j = 0; j < n; j++)
            kp_vars_add(vars, "sans", "%s", addresses[j]);
    }
    kp_auto_free char *external = kp_endpoint_external_host(inventory);
    if (external)
        kp_vars_add(vars, "sans", "%s", external);
    if (inventory->kubernetes.vip_address)
        kp_vars_add(vars, "sans", "%s", inventory->kubernetes.vip_address);
    for (size_t i = 0; i < inventory->kubernetes.cert_san_count; i++)
        kp_vars_add(vars, "sans", "%s", inventory->kubernetes.cert_sans[i]);
}

static void etcd_vars(struct kp_vars *vars, const struct kp_site *site)
{
    const struct kp_etcd_options *etcd = &site->inventory->etcd;
    kp_vars_flag(vars, "etcd_external", etcd->external);
    kp_vars_setf(vars, "etcd_quota", "%llu", (unsigned long long)etcd->quota_bytes);
    kp_vars_setf(vars, "etcd_heartbeat", "%u", etcd->heartbeat_ms);
    kp_vars_setf(vars, "etcd_election", "%u", etcd->election_ms);
    for (size_t i = 0; etcd->external && i < site->node_count; i++) {
        const struct kp_node *node = kp_inventory_at(site->inventory, i);
        kp_auto_free char *url = kp_etcd_url(node, KP_ETCD_CLIENT_PORT);
        if (node->roles & KP_ROLE_ETCD)
            kp_vars_add(vars, "etcd_endpoints", "%s", url);
    }
}

static bool conntrack_writable(const struct kp_site *site)
{
    for (size_t i = 0; i < site->node_count; i++)
        if (!kp_fact_writable(&site->nodes[i], "net/netfilter/nf_conntrack_max") ||
            !kp_fact_writable(&site->nodes[i], "net.netfilter.nf_conntrack_max"))
            return false;
    return true;
}

/* kube-controller-manager's own for IPv4 is /24; for IPv6 the network may be too small for /64. */
static void mask_vars(struct kp_vars *vars, const struct kp_site *site)
{
    const struct kp_inventory *inventory = site->inventory;
    if (!kp_inventory_has_ip6(inventory))
        return;
    kp_auto_free char *mask = kp_asprintf("%u", kp_inventory_mask6(inventory));
    kp_settings_arg(
        vars, site, "controller",
        kp_inventory_dual(inventory) ? "node-cidr-mask-size-ipv6" : "node-cidr-mask-size", mask);
}

static void proxy_vars(struct kp_vars *vars, const struct kp_site *site)
{
    unsigned mode = site->inventory->net.kube_proxy;
    bool said = kp_pair_find(site->inventory->kubernetes.kube_proxy,
                             site->inventory->kubernetes.kube_proxy_count, "conntrack");
    kp_vars_flag(vars, "conntrack_fixed", !said && !conntrack_writable(site));
    kp_vars_set(vars, "proxy", kp_proxy_name(mode));
    kp_vars_flag(vars, "no_proxy", mode == KP_PROXY_NONE);
    bool ipvs = kp_pair_find(site->inventory->kubernetes.kube_proxy,
                             site->inventory->kubernetes.kube_proxy_count, "ipvs");
    kp_vars_flag(vars, "strict_arp", mode == KP_PROXY_IPVS && !ipvs && kp_wants_strict_arp(site));
}

static void cluster_vars(struct kp_vars *vars, const struct kp_site *site)
{
    const struct kp_inventory *inventory = site->inventory;
    kp_auto_free char *endpoint = kp_endpoint(site);
    kp_auto_free char *dns = kp_inventory_dns(inventory);
    kp_vars_set(vars, "cluster", inventory->cluster);
    kp_vars_set(vars, "kubernetes", site->manifest->kubernetes);
    kp_vars_set(vars, "endpoint", endpoint);
    kp_vars_set(vars, "pods", inventory->kubernetes.pods);
    kp_vars_set(vars, "services", inventory->kubernetes.services);
    kp_vars_set(vars, "domain", inventory->kubernetes.domain);
    kp_vars_set(vars, "dns", dns);
    kp_vars_flag(vars, "keep_swap", inventory->kubernetes.keep_swap);
    kp_vars_flag(vars, "protect_kernel",
                 !inventory->security.unprotected_kernel && kp_kernel_protect(site));
    add_sans(vars, site);
    kp_secure_vars(vars, site);
    kp_site_ca_vars(vars, site);
    kp_settings_vars(vars, site);
    mask_vars(vars, site);
    proxy_vars(vars, site);
    etcd_vars(vars, site);
}

static int add_document(struct kp_buf *out, const char *name, const struct kp_vars *vars,
                        struct kp_err *err)
{
    kp_auto_free char *text = NULL;
    if (kp_render(&text, name, vars, err) < 0)
        return -1;
    if (out->len)
        kp_buf_adds(out, "---\n");
    kp_buf_adds(out, text);
    return 0;
}

static int config_for(char **out, struct kp_site *site, const struct kp_site_node *node,
                      const char *token, const char *certificate_key, struct kp_err *err)
{
    kp_auto(kp_vars) vars = kp_vars_new();
    kp_auto_value(kp_buf) text = KP_BUF_SECRET(CONFIG_MAX);
    const struct kp_manifest *m = site->manifest;
    kp_auto_free char *name = kp_asprintf("kubeadm-init-%s.yaml", m->kubeadm_api);
    kp_kubeadm_node_vars(vars, site, node);
    cluster_vars(vars, site);
    kp_vars_set(vars, "token", token);
    kp_vars_set(vars, "certificate_key", certificate_key);
    if (split_image(vars, m, "kube-apiserver", "image_repository", NULL, err) < 0 ||
        split_image(vars, m, "etcd", "etcd_repository", "etcd_tag", err) < 0 ||
        split_image(vars, m, "coredns", "coredns_repository", "coredns_tag", err) < 0 ||
        add_document(&text, name, vars, err) < 0 ||
        add_document(&text, "kubelet-config.yaml", vars, err) < 0)
        return -1;
    kp_settings_add_kubelet(&text, site->inventory);
    if (site->inventory->net.kube_proxy == KP_PROXY_NONE) {
        *out = kp_buf_steal(&text);
        return 0;
    }
    if (add_document(&text, "kube-proxy-config.yaml", vars, err) < 0)
        return -1;
    // Alpha in 1.30, and on by itself from 1.31 on.
    bool gate =
        site->inventory->net.kube_proxy == KP_PROXY_NFTABLES && kp_minor(site) < NFTABLES_SINCE;
    kp_settings_add_proxy(&text, site->inventory, gate ? "NFTablesProxyMode" : NULL);
    *out = kp_buf_steal(&text);
    return 0;
}

int kp_kubeadm_init_config(char **out, struct kp_site *site, const char *token,
                           const char *certificate_key, struct kp_err *err)
{
    return config_for(out, site, kp_first(site), token, certificate_key, err);
}

int kp_kubeadm_node_config(char **out, struct kp_site *site, const struct kp_site_node *node,
                           struct kp_err *err)
{
    return config_for(out, site, node, "", NULL, err);
}

static int random_token(char token[KP_TOKEN_SIZE], struct kp_err *err)
{
    if (kp_random_word(token, KP_TOKEN_ID_LEN, false, err) < 0 ||
        kp_random_word(token + KP_TOKEN_ID_LEN + 1, KP_TOKEN_SECRET_LEN, false, err) < 0)
        return -1;
    token[KP_TOKEN_ID_LEN] = '.';
    return 0;
}

int kp_kubeadm_configured(struct kp_site *site, struct kp_site_node *node, const char *config,
                          const char *const *argv, struct kp_err *err)
{
    char token[KP_TOKEN_SIZE];
    kp_auto_free char *text = NULL;
    struct kp_err ignored;
    if (random_token(token, err) < 0 || config_for(&text, site, node, token, NULL, err) < 0 ||
        kp_place_secret(site, node, config, text, NULL, err) < 0)
        return -1;
    int result = kp_ask(site, node, argv, CONFIGURED_TIMEOUT_S, NULL, NULL, err);
    if (kp_place_removed(site, node, config, NULL, result < 0 ? &ignored : err) < 0)
        return -1;
    return result;
}

static int apply_token(struct kp_site *site, const char *token, struct kp_err *err)
{
    static const char *const args[] = {"apply", "--server-side", "--field-manager=kpack", "-f", "-",
                                       NULL};
    kp_auto(kp_vars) vars = kp_vars_new();
    kp_auto_free char *yaml = NULL;
    kp_vars_setf(vars, "token_id", "%.*s", KP_TOKEN_ID_LEN, token);
    kp_vars_set(vars, "token_secret", token + KP_TOKEN_ID_LEN + 1);
    kp_vars_set(vars, "expiration", kp_text_utc(time(NULL) + TOKEN_LIFE_S).s);
    if (kp_render(&yaml, "bootstrap-token.yaml", vars, err) < 0)
        return -1;
    int result = kp_kube(site, args, kp_slice_of(yaml), NULL, err);
    explicit_bzero(yaml, strlen(yaml));
    return result;
}

int kp_kubeadm_make_token(char token[KP_TOKEN_SIZE], struct kp_site *site, struct kp_err *err)
{
    return random_token(token, err) < 0 ? -1 : apply_token(site, token, err);
}

int kp_kubeadm_drop_token(struct kp_site *site, const char *token, struct kp_err *err)
{
    kp_auto_free char *secret = kp_asprintf("bootstrap-token-%.*s", KP_TOKEN_ID_LEN, token);
    const char *argv[] = {"delete", "secret", secret, "-n", "kube-system", "--ignore-not-found",
                          NULL};
    struct kp_slice none = {0};
    return kp_kube(site, argv, none, NULL, err);
}

int kp_kubeadm_join_config(char **out, const struct kp_site *site, const struct kp_site_node *node,
                           const char *token, const char *ca_hash, const char *certificate_key,
                           struct kp_err *err)
{
    kp_auto(kp_vars) vars = kp_vars_new();
    kp_auto_free char *name = kp_asprintf("kubeadm-join-%s.yaml", site->manifest->kubeadm_api);
    kp_auto_free char *endpoint = kp_endpoint(site);
    kp_kubeadm_node_vars(vars, site, node);
    kp_vars_set(vars, "endpoint", endpoint);
    kp_vars_set(vars, "token", token);
    kp_vars_set(vars, "ca_hash", ca_hash);
    kp_vars_set(vars, "certificate_key", certificate_key);
    return kp_render(out, name, vars, err);
}

static int run_unit(struct kp_site *site, struct kp_site_node *node,
                    const struct kp_kubeadm_task *task, struct kp_err *err)
{
    static const char *const env[] = {KP_PATH_ENV, "HOME=/root", NULL};
    const char *quiet = strcmp(task->verb, "init") == 0 ? "--skip-token-print" : NULL;
    const char *argv[] = {KP_KUBEADM, task->verb, "--config", task->config, quiet, NULL};
    struct kp_run run = {.argv = argv, .env = env, .timeout = task->timeout, .unit = task->unit};
    kp_auto_value(kp_run_result) result = {0};
    return kp_step_run(site, node, &run, &result, err);
}

static int is_active(struct kp_site *site, struct kp_site_node *node,
                     const struct kp_kubeadm_task *task, bool *active, struct kp_err *err)
{
    const char *argv[] = {"systemctl", "is-active", task->unit, NULL};
    kp_auto_free char *said = NULL;
    int status;
    if (kp_ask(site, node, argv, 30, &status, &said, err) < 0)
        return -1;
    *active = kp_starts_with(said, "active") || kp_starts_with(said, "activating") ||
              kp_starts_with(said, "deactivating");
    return 0;
}

/* What knode keeps of a unit whose end nobody was there to see. */
static int ended_well(struct kp_site_node *node, const struct kp_kubeadm_task *task, bool *well,
                      struct kp_err *err)
{
    kp_auto_free char *path = kp_asprintf("/var/lib/kpack/run/%s/result.json", task->unit);
    kp_auto_value(kp_buf) text = KP_BUF(RESULT_MAX);
    kp_auto_json result = NULL;
    struct kp_err ignored;
    bool found;
    *well = false;
    if (kp_session_get(node->session, path, &text, &found, err) < 0)
        return kp_wrap(err, "read %s", path);
    if (!found || kp_json_parse(&result, kp_buf_slice(&text), RESULT_MAX, path, &ignored) < 0)
        return 0;
    json_t *status = json_object_get(result, "status");
    *well = json_is_integer(status) && json_integer_value(status) == 0;
    return 0;
}

int kp_kubeadm_attach(struct kp_site *site, struct kp_site_node *node,
                      const struct kp_kubeadm_task *task, bool *settled, struct kp_err *err)
{
    bool active, well;
    struct kp_err failure = KP_ERR_INIT;
    *settled = false;
    if (is_active(site, node, task, &active, err) < 0 || ended_well(node, task, &well, err) < 0)
        return -1;
    if (active || well) {
        kp_step_note(site, node, "taking up kubeadm %s of an earlier run", task->verb);
        int result = run_unit(site, node, task, &failure);
        if (result < 0 && failure.reason && strcmp(failure.reason, "command_failed") != 0) {
            *err = failure;
            return -1;
        }
        *settled = result == 0;
    } else if (task->complete(site, node, settled, err) < 0) {
        return -1;
    }
    return *settled ? kp_place_removed(site, node, task->config, NULL, err) : 0;
}

int kp_kubeadm_run(struct kp_site *site, struct kp_site_node *node,
                   const struct kp_kubeadm_task *task, const char *config, struct kp_err *err)
{
    struct kp_err failure = KP_ERR_INIT, ignored;
    // kubeadm reset, which takes back what was begun, takes these too.
    if ((kp_is_control_plane(node) && kp_etcd_place_client(site, node, NULL, err) < 0) ||
        kp_place_secret(site, node, task->config, config, NULL, err) < 0)
        return -1;
    kp_step_note(site, node, "kubeadm %s", task->verb);
    if (run_unit(site, node, task, &failure) < 0) {
        // A lost connection leaves the file to the run that attaches; any other end needs it no
        // more.
        if (!kp_session_lost(node->session))
            (void)!kp_place_removed(site, node, task->config, NULL, &ignored);
        *err = failure;
        return -1;
    }
    return kp_place_removed(site, node, task->config, NULL, err);
}

int kp_kubeadm_reset(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    struct kp_runtime runtime = kp_runtime_of(site->inventory, site->manifest, node->node);
    const char *argv[] = {
        KP_KUBEADM, "reset", "--force", "--cri-socket", kp_runtime_place(runtime.kind)->endpoint,
        NULL};
    struct kp_change change = {.changed = true};
    kp_step_note(site, node, "taking back what was begun and not finished");
    if (kp_ask(site, node, argv, RESET_TIMEOUT_S, NULL, NULL, err) < 0)
        return -1;
    kp_step_changed(site, node, "kubeadm reset (begun by kinstall, not finished)", &change);
    return kp_place_kubelet_auths(site, node, err); // it took them along
}
