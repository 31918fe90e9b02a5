/* SPDX-License-Identifier: Apache-2.0 */
/* Phase prove: the cluster works, and here is how to reach it. */
#include "install/addons/addons.h"
#include "install/check/health.h"
#include "install/check/health_probe.h"
#include "install/steps/common.h"

#include "core/file.h"

#define KUBECONFIG_MAX ((size_t)1 << 20)

int kp_prove_kubeconfig(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_value(kp_buf) admin = KP_BUF_SECRET(KUBECONFIG_MAX);
    kp_auto_free char *path = kp_path_join(site->state_folder, "kubeconfig"), *old = NULL;
    struct kp_err ignored;
    size_t len;
    if (site->dry_run)
        return 0;
    if (kp_session_get(node->session, KP_ADMIN_CONF, &admin, NULL, err) < 0)
        return kp_wrap(err, "read the admin's kubeconfig");
    admin.secret = true;
    char *text = NULL;
    int result = 0;
    if (kp_endpoint_kubeconfig(&text, site->inventory, kp_buf_slice(&admin), err) < 0)
        return kp_wrap(err, KP_ADMIN_CONF);
    if (kp_file_read(path, KUBECONFIG_MAX, &old, &len, &ignored) < 0 || !old ||
        strcmp(old, text) != 0) {
        result = kp_file_write_atomic(path, kp_slice_of(text), 0600, err);
        kp_step_changed(site, NULL, "write the kubeconfig", NULL);
    }
    kp_free_secret(text, strlen(text));
    return result;
}

/* Where nothing was changed since it was proven with this bundle, asking is enough. */
static int apply_prove(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_value(kp_health) health = {0};
    (void)node;
    if (site->dry_run)
        return 0;
    bool deep = !kp_health_still_proven(site);
    if (kp_health_check(&health, site, deep, err) < 0)
        return -1;
    site->proven_now = deep;
    // A short look that finds all well leaves the deep report in its place.
    if ((deep || !health.ok) && kp_health_store(&health, site, deep, err) < 0)
        return -1;
    if (health.ok)
        return 0;
    kp_fail_as(err, KP_FAILED, "not_proven", "the cluster does not work as it should: %s",
               health.first_failure);
    return kp_hint(err, "all findings are in %s/report.json", site->state_folder);
}

static int describe(const struct kp_site *site, char *out, size_t size)
{
    size_t n = kp_members(site);
    if (!site->proven_now) {
        snprintf(out, size, "nodes and pods are Ready; proven before, unchanged since");
        return 0;
    }
    char more[192];
    kp_addons_describe(site, more, sizeof(more));
    snprintf(out, size, "%zu node%s Ready · DNS from %zu · %zu pod pairs · Service · pull%s%s%s%s",
             n, n == 1 ? "" : "s", n, kp_health_pairs(n), *site->policy ? " · " : "", site->policy,
             *more ? " · " : "", *more ? more + 2 : "");
    return 0;
}

const struct kp_step kp_steps_prove[] = {
    {.name = "kubeconfig",
     .phase = "prove",
     .nodes = KP_STEP_FIRST,
     .apply = kp_prove_kubeconfig,
     .describe = describe},
    {.name = "prove",
     .phase = "prove",
     .nodes = KP_STEP_FIRST,
     .apply = apply_prove,
     .whole = true},
    {.name = NULL},
};
