/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a node may pull from: for each registry that images name, the hosts in the order in which
 * they are asked. The bundle's registries are at the mirrors, the inventory's `registries:` where
 * it says; all others at the mirrors, which have them not: nothing falls back to the internet.
 */
#pragma once

#include "install/step.h"

#define KP_PULL_HOSTS_MAX (KP_NODES_MAX + KP_REGISTRY_URLS_MAX)
#define KP_PULL_DEFAULT "_default"

struct kp_pull_host {
    const char *url;           /* "https://10.77.0.11:5000" */
    const char *ca;            /* path on the node, or NULL: the node's own */
    const char *authorization; /* "Basic …", or NULL; wiped by kp_pulls_free */
};
struct kp_pull {          /* one registry */
    const char *registry; /* "docker.io", or KP_PULL_DEFAULT */
    struct kp_pull_host *hosts;
    size_t count;
    bool secret;   /* some host has an authorization */
    bool mirrored; /* the bundle has images of it */
};
struct kp_pulls {
    struct kp_arena *arena;
    struct kp_pull *items; /* the default first */
    size_t count;
};
struct kp_pulls *kp_pulls_new(const struct kp_site *site, const struct kp_site_node *node);
void kp_pulls_free(struct kp_pulls *pulls);
KP_DEFINE_AUTO(kp_pulls);
/* "/etc/kpack/registries/HOST.pem" */
char *kp_pull_ca_path(const struct kp_registry *registry);
/* The registry of a reference: "docker.io/library/x:1" -> "docker.io". */
struct kp_slice kp_pull_registry_of(const char *reference);
/* hosts.toml of containerd (docs/hosts.md there): the last host is `server`, with its CA and header
 * at the top level, and is not listed again. KP_USAGE where there is none. */
KP_CHECK int kp_render_hosts(char **out, const struct kp_pull *pull, bool dial_timeout,
                             struct kp_err *err);
/* [[registry]] of containers-registries.conf(5). */
KP_CHECK int kp_render_crio_registry(char **out, const struct kp_pull *pull, struct kp_err *err);
/* containers-policy.json(5): the registries of the list and no other; kp_free. */
char *kp_crio_policy(const struct kp_pulls *pulls);
/* {"auths": …} of containers-auth.json(5) and kubelet's config.json, of all registries of the
 * inventory that have credentials; NULL where none has. By the hosts that are asked (CRI-O) or the
 * name in images (kubelet). json_decref. */
json_t *kp_pull_auths(const struct kp_inventory *inventory, bool by_location);
