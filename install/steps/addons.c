/* SPDX-License-Identifier: Apache-2.0 */
/* Phase addons: what kubeadm brought is ready, and what the bundle has beside the network. */
#include "install/addons/addons.h"
#include "install/steps/common.h"
#include "install/steps/dns.h"
#include "install/steps/proxy.h"

#include <stdio.h>

#define WAIT_S 300

static int apply_addons(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    (void)node;
    return kp_addons_apply(site, err);
}

static int await_addons(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    (void)node;
    if (site->dry_run)
        return 0;
    if ((site->inventory->net.kube_proxy != KP_PROXY_NONE &&
         kp_kube_wait(site, "daemonset", "kube-system", "kube-proxy", WAIT_S, err) < 0) ||
        kp_kube_wait(site, "deployment", "kube-system", "coredns", WAIT_S, err) < 0)
        return -1;
    return kp_addons_await(site, err);
}

static int describe_addons(const struct kp_site *site, char *out, size_t size)
{
    char more[192];
    kp_addons_describe(site, more, sizeof(more));
    snprintf(out, size, "CoreDNS%s, kube-proxy %s%s",
             site->inventory->kubernetes.resolver_count ? "" : " without upstream",
             kp_proxy_name(site->inventory->net.kube_proxy), more);
    return 0;
}

const struct kp_step kp_steps_addons[] = {
    {.name = "kube-proxy", .phase = "addons", .nodes = KP_STEP_FIRST, .apply = kp_proxy_apply},
    {.name = "manifests",
     .phase = "addons",
     .nodes = KP_STEP_FIRST,
     .apply = apply_addons,
     .describe = describe_addons},
    {.name = "node-local-dns", .phase = "addons", .nodes = KP_STEP_FIRST, .apply = kp_dns_cache},
    {.name = "addons-ready", .phase = "addons", .nodes = KP_STEP_FIRST, .apply = await_addons},
    {.name = "dns-balance", .phase = "addons", .nodes = KP_STEP_FIRST, .apply = kp_dns_balance},
    {.name = NULL},
};
