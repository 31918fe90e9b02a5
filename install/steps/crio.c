/* SPDX-License-Identifier: Apache-2.0 */
/* CRI-O: its programs, configuration and unit. Where it pulls from: steps/certs.c. */
#include "install/steps/common.h"
#include "install/steps/images.h"
#include "install/steps/runtime.h"

int kp_render_crio(char **out, const struct kp_site *site, const struct kp_site_node *node,
                   struct kp_err *err)
{
    const struct kp_manifest *m = site->manifest;
    kp_auto(kp_vars) vars = kp_vars_new();
    if (kp_runtime_vars(vars, site, node, err) < 0)
        return -1;
    for (size_t i = 0; i < m->image_count; i++)
        if (kp_image_is_vital(&m->images[i]) && (m->images[i].roles & node->node->roles))
            kp_vars_add(vars, "pinned", "%s", m->images[i].reference);
    for (size_t i = 0; i < site->inventory->registry_count; i++)
        if (site->inventory->registries[i].username)
            kp_vars_flag(vars, "auth", true);
    return kp_render(out, "crio.conf", vars, err);
}

int kp_place_crio(struct kp_site *site, struct kp_site_node *node, bool *changed,
                  struct kp_err *err)
{
    kp_auto_free char *config = NULL;
    kp_auto(kp_vars) none = kp_vars_new();
    if (kp_place_component(site, node, "cri-o", changed, err) < 0 ||
        kp_render_crio(&config, site, node, err) < 0 ||
        kp_place(site, node, "/etc/crio/crio.conf", kp_slice_of(config), 0644, changed, err) < 0 ||
        kp_place_template(site, node, "/etc/crio/storage.conf", "crio-storage.conf", none, changed,
                          err) < 0)
        return -1;
    return kp_place_template(site, node, "/etc/systemd/system/crio.service", "crio.service", none,
                             changed, err);
}
