/* SPDX-License-Identifier: Apache-2.0 */
#include "install/steps/secure_network.h"

#include "install/security.h"
#include "install/steps/common.h"

#define LABEL "kpack.internal/network-policy=default-deny"

static int isolate(struct kp_site *site, const char *namespace_, bool make, struct kp_err *err)
{
    kp_auto(kp_vars) vars = kp_vars_new();
    kp_auto_free char *yaml = NULL, *what = NULL;
    kp_vars_set(vars, "namespace", namespace_);
    kp_vars_flag(vars, "make", make);
    if (kp_render(&yaml, "network-policy.yaml", vars, err) < 0)
        return -1;
    what = kp_asprintf("the NetworkPolicy of %s: all denied but DNS", namespace_);
    return kp_kube_apply(site, what, kp_slice_of(yaml), NULL, err);
}

static bool is_named(const struct kp_security *security, const char *namespace_)
{
    for (size_t i = 0; i < security->isolated_count; i++)
        if (strcmp(security->isolated[i], namespace_) == 0)
            return true;
    return false;
}

static int isolate_labelled(struct kp_site *site, struct kp_err *err)
{
    static const char *const args[] = {"get", "namespaces", "-l", LABEL, "-o", "json", NULL};
    kp_auto_json list = NULL;
    bool made;
    size_t i;
    const json_t *item;
    if (kp_cluster_made(site, &made, err) < 0)
        return -1;
    if (!made)
        return 0;
    if (kp_kube_json(site, &list, NULL, args, err) < 0)
        return -1;
    json_array_foreach(json_object_get(list, "items"), i, item)
    {
        const char *name =
            json_string_value(json_object_get(json_object_get(item, "metadata"), "name"));
        if (name && !is_named(&site->inventory->security, name) &&
            isolate(site, name, false, err) < 0)
            return -1;
    }
    return 0;
}

int kp_secure_network(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    const struct kp_security *security = &site->inventory->security;
    (void)node;
    if (kp_network_enforces(site->manifest->network) == KP_ENFORCES_NOT)
        return 0;
    for (size_t i = 0; i < security->isolated_count; i++)
        if (isolate(site, security->isolated[i], true, err) < 0)
            return -1;
    return isolate_labelled(site, err);
}
