/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `registries:` and `proxy:` of the inventory: what nodes may pull from beside the mirrors. Without
 * them nothing leaves the site. A password is never in the inventory: it is read from a file of the
 * admin host, a descriptor or the terminal.
 */
#pragma once

#include "install/inventory/keys.h"

#define KP_REGISTRIES_MAX 64
#define KP_REGISTRY_URLS_MAX 16
#define KP_CA_PEM_MAX ((size_t)1 << 20)

struct kp_registry {
    const char *host;  /* as images name it: "registry.site.example:5000", "docker.io" */
    const char **urls; /* where it is: "https://…"; NULL-terminated, at least one */
    size_t url_count;
    const char *ca;       /* path of a PEM on the admin host, or NULL: the node's own CAs */
    const char *username; /* NULL: no credentials */
    const char *password_file;
    char *pem;      /* what `ca` holds; owned by the arena; NULL until kp_registries_unlock */
    char *password; /* kp_secret_free; NULL until kp_registries_unlock */
};
struct kp_http_proxy {
    const char *http, *https; /* "http://proxy.site.example:3128", or NULL */
    const char **no_proxy;    /* beside what is computed */
    size_t no_proxy_count;
};
extern const struct kp_section kp_keys_registry, kp_keys_http_proxy;

/* Reads what the registries name: CAs, passwords. fd >= 0: passwords of registries that have a
 * username and no password_file, one a line in the inventory's order; else the terminal is asked.
 */
KP_CHECK int kp_registries_unlock(struct kp_inventory *inventory, int fd, struct kp_err *err);
void kp_registries_wipe(struct kp_inventory *inventory);
/* "Basic …" of RFC 7617; NULL where there are no credentials; kp_secret_free. */
char *kp_registry_authorization(const struct kp_registry *registry);
/* The registry of that host, or NULL. */
const struct kp_registry *kp_registry_find(const struct kp_inventory *inventory, const char *host);
/* What a proxy must not see: this host, every node by name and address, the API's name, pods,
 * services, the cluster's domain, and what the inventory adds. "" where no proxy is set. kp_free.
 */
char *kp_http_proxy_exceptions(const struct kp_inventory *inventory);
bool kp_http_proxy_is_set(const struct kp_inventory *inventory);
