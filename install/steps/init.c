/* SPDX-License-Identifier: Apache-2.0 */
/* Phase init: kubeadm init on the first control plane, once. */
#include "install/steps/common.h"
#include "install/steps/dns.h"
#include "install/steps/endpoint.h"
#include "install/steps/etcd.h"
#include "install/steps/images.h"
#include "install/steps/kubeadm.h"
#include "install/steps/network.h"
#include "install/steps/secure.h"
#include "install/steps/settings.h"
#include "install/steps/site_ca.h"

#define STEP "kubeadm-init"
#define MANIFEST "/etc/kubernetes/manifests/kube-apiserver.yaml"

/* The last phase of kubeadm init makes kube-proxy, or where there is none CoreDNS. */
static int is_complete(struct kp_site *site, struct kp_site_node *node, bool *complete,
                       struct kp_err *err)
{
    bool proxy_wanted = site->inventory->net.kube_proxy != KP_PROXY_NONE;
    const char *argv[] = {"get",
                          proxy_wanted ? "daemonset" : "deployment",
                          proxy_wanted ? "kube-proxy" : "coredns",
                          "-n",
                          "kube-system",
                          "-o",
                          "json",
                          NULL};
    struct kp_err unreachable = KP_ERR_INIT;
    kp_auto_json proxy = NULL;
    *complete = false;
    bool there;
    if (kp_have_file(node, KP_ADMIN_CONF, &there, err) < 0)
        return -1;
    if (!there)
        return 0;
    // Begun here and not finished, by the node's own record: no other node stands on it yet.
    if (kp_kube_json(site, &proxy, complete, argv, &unreachable) < 0)
        *complete = false;
    return 0;
}

static const struct kp_kubeadm_task task = {
    .unit = "kpack-init",
    .verb = "init",
    .config = "/etc/kubernetes/kpack-init.yaml",
    .complete = is_complete,
    .timeout = 900,
};

static int check_finished(struct kp_site_node *node, struct kp_err *err)
{
    bool there;
    if (kp_have_file(node, KP_ADMIN_CONF, &there, err) < 0)
        return -1;
    if (there)
        return 0;
    kp_fail_as(err, KP_FAILED, "half_gone",
               "this node's record says that the cluster was made here, but " KP_ADMIN_CONF
               " is gone");
    return kp_hint(err,
                   "put it back; if the cluster is really to be given up: kinstall reset, then "
                   "run the same command again");
}

static int check_init(struct kp_site *site, struct kp_site_node *node, bool *done,
                      struct kp_err *err)
{
    bool begun, finished, joined, foreign;
    if (kp_joined(site, node, &joined, err) < 0 ||
        kp_recorded(site, node, STEP, &begun, &finished, err) < 0)
        return -1;
    finished = finished || joined; // the one that made the cluster may be long gone
    *done = finished;
    if (finished)
        return check_finished(node, err);
    if (begun)
        return 0;
    if (kp_have_file(node, MANIFEST, &foreign, err) < 0)
        return -1;
    if (!foreign)
        return 0;
    kp_fail_as(err, KP_FAILED, "leftover_cluster",
               "there is a cluster on this node that kinstall did not make (" MANIFEST ")");
    return kp_hint(err, "take it away first (kubeadm reset), or choose another node");
}

/* kubeadm init wants a token; nobody joins by this one. */
static int forget_token(struct kp_site *site, const char *id, struct kp_err *err)
{
    kp_auto_free char *secret = kp_asprintf("bootstrap-token-%s", id);
    const char *argv[] = {"delete", "secret", secret, "-n", "kube-system", "--ignore-not-found",
                          NULL};
    struct kp_slice none = {0};
    return kp_kube(site, argv, none, NULL, err);
}

static int apply_init(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    struct kp_change change = {.changed = true};
    kp_auto_free char *config = NULL;
    char id[KP_TOKEN_ID_LEN + 1], secret[KP_TOKEN_SECRET_LEN + 1];
    bool settled = false;
    if (!site->dry_run && kp_was_begun(node, STEP)) {
        if (kp_kubeadm_attach(site, node, &task, &settled, err) < 0)
            return -1;
        if (!settled && kp_kubeadm_reset(site, node, err) < 0)
            return -1;
    }
    kp_step_changed(site, node, "kubeadm init", &change);
    if (site->dry_run || settled)
        return 0;
    if (kp_etcd_before_init(site, kp_was_begun(node, STEP), err) < 0)
        return -1;
    if (kp_random_word(id, KP_TOKEN_ID_LEN, false, err) < 0 ||
        kp_random_word(secret, KP_TOKEN_SECRET_LEN, false, err) < 0)
        return -1;
    kp_auto_free char *token = kp_asprintf("%s.%s", id, secret);
    int result = kp_kubeadm_init_config(&config, site, token, NULL, err);
    if (result == 0)
        result = kp_endpoint_before_init(site, node, err);
    if (result == 0)
        result = kp_site_ca_before_init(site, node, err);
    if (result == 0)
        result = kp_kubeadm_run(site, node, &task, config, err);
    explicit_bzero(secret, sizeof(secret));
    explicit_bzero(token, strlen(token));
    if (config)
        explicit_bzero(config, strlen(config));
    site->made_now = result == 0;
    return result < 0 ? -1 : forget_token(site, id, err);
}

static int describe(const struct kp_site *site, char *out, size_t size)
{
    snprintf(out, size, "%s: Kubernetes %s", site->nodes[0].node->name, site->manifest->kubernetes);
    return 0;
}

const struct kp_step kp_steps_init[] = {
    {.name = "images-first",
     .phase = "init",
     .nodes = KP_STEP_FIRST,
     .apply = kp_images_first,
     .describe = describe},
    {.name = "secrets-key", .phase = "init", .nodes = KP_STEP_ADMIN, .apply = kp_secure_keep_keys},
    {.name = "secure-files",
     .phase = "init",
     .nodes = KP_STEP_CONTROL_PLANES,
     .apply = kp_secure_files},
    {.name = "site-ca",
     .phase = "init",
     .nodes = KP_STEP_CONTROL_PLANES,
     .apply = kp_site_ca_place},
    {.name = "settings", .phase = "init", .nodes = KP_STEP_ALL, .apply = kp_settings_prepare},
    {.name = STEP,
     .phase = "init",
     .nodes = KP_STEP_FIRST,
     .check = check_init,
     .apply = apply_init,
     .recorded = true},
    {.name = "corefile", .phase = "init", .nodes = KP_STEP_FIRST, .apply = kp_dns_corefile},
    {.name = "dns-spread", .phase = "init", .nodes = KP_STEP_FIRST, .apply = kp_dns_spread},
    {.name = "network", .phase = "init", .nodes = KP_STEP_FIRST, .apply = kp_network_apply},
    {.name = NULL},
};
