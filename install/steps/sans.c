/* SPDX-License-Identifier: Apache-2.0 */
/* Names of the API server's certificate that came into the inventory later. */
#include "install/endpoint.h"
#include "install/inventory/network.h"
#include "install/pki/pki.h"
#include "install/steps/common.h"
#include "install/steps/endpoint.h"
#include "install/steps/kubeadm.h"

#include "core/text.h"

#include <time.h>

#define CERTIFICATE "/etc/kubernetes/pki/apiserver.crt"
#define CONFIG "/etc/kubernetes/kpack-names.yaml"
#define SERVED_S 90.0
#define PAUSE_NS 500000000L
#define NAMES_MAX 72 /* 64 of the inventory and what the endpoint adds */

/* What must be in it; kubeadm puts the names of all nodes beside them. */
static size_t wanted_names(struct kp_arena *arena, const struct kp_inventory *inventory,
                           const char **out)
{
    size_t n = 0;
    kp_auto_free char *name = kp_inventory_endpoint_name(inventory);
    kp_auto_free char *external = kp_endpoint_external_host(inventory);
    out[n++] = kp_arena_strdup(arena, name);
    if (external)
        out[n++] = kp_arena_strdup(arena, external);
    if (inventory->kubernetes.vip_address)
        out[n++] = inventory->kubernetes.vip_address;
    for (size_t i = 0; i < inventory->kubernetes.cert_san_count && n < NAMES_MAX; i++)
        out[n++] = inventory->kubernetes.cert_sans[i];
    return n;
}

/* The first name that the certificate lacks; NULL: none. A certificate that is gone lacks all. */
static int find_missing(struct kp_site_node *node, const char *const *names, size_t n,
                        const char **missing, struct kp_err *err)
{
    kp_auto_value(kp_buf) pem = KP_BUF(KP_PEM_MAX);
    bool found;
    *missing = NULL;
    if (kp_session_get(node->session, CERTIFICATE, &pem, &found, err) < 0)
        return kp_wrap(err, "read " CERTIFICATE);
    for (size_t i = 0; i < n && !*missing; i++)
        if (!found || !kp_pki_has_names(kp_buf_slice(&pem), &names[i], 1))
            *missing = names[i];
    return 0;
}

/* The old pair is kept until the new one is there. */
static int issue(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char script[] =
        "cd /etc/kubernetes/pki || exit 1; b=.kpack-before;"
        " for f in apiserver.crt apiserver.key; do [ ! -e $f ] || mv $f $f$b || exit 1; done;"
        " if \"$1\" init phase certs apiserver --config \"$2\"; then rm -f *$b; exit 0; fi;"
        " for f in apiserver.crt apiserver.key; do [ ! -e $f$b ] || mv $f$b $f; done; exit 1";
    static const char *const argv[] = {"/bin/sh", "-c", script, "sh", KP_KUBEADM, CONFIG, NULL};
    static const char *const upload[] = {KP_KUBEADM, "init",     "phase", "upload-config",
                                         "kubeadm",  "--config", CONFIG,  NULL};
    kp_step_note(site, node, "the API server's certificate");
    // Control planes that join later read there which names there are.
    if (node == kp_first(site) && kp_kubeadm_configured(site, node, CONFIG, upload, err) < 0)
        return kp_wrap(err, "kubeadm's configuration in the cluster");
    return kp_kubeadm_configured(site, node, CONFIG, argv, err);
}

int kp_endpoint_await(struct kp_site *site, struct kp_site_node *node, const char *name,
                      struct kp_err *err)
{
    kp_auto_free char *host = kp_network_url_host(node->node->address);
    kp_auto_free char *server = kp_asprintf("https://%s:%d", host, KP_API_PORT);
    const char *argv[] = {KP_KUBECTL,    "--kubeconfig",
                          KP_ADMIN_CONF, "--server",
                          server,        "--tls-server-name",
                          name,          "--request-timeout=5s",
                          "get",         "--raw",
                          "/readyz",     NULL};
    double start = kp_now();
    int status = 1;
    while (kp_now() - start < SERVED_S) {
        if (kp_ask(site, node, argv, 30, &status, NULL, err) < 0)
            return -1;
        if (status == 0)
            return 0;
        struct timespec pause = {.tv_nsec = PAUSE_NS};
        nanosleep(&pause, NULL);
    }
    kp_fail_as(err, KP_FAILED, "old_certificate",
               "the API server does not answer with a certificate that has %s after %.0f s", name,
               SERVED_S);
    return kp_hint(err, "on the node: crictl logs of kube-apiserver");
}

int kp_endpoint_certificate(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    struct kp_change change = {.changed = true};
    const char *names[NAMES_MAX], *missing;
    kp_auto(kp_arena) arena = kp_arena_new();
    size_t n = wanted_names(arena, site->inventory, names);
    bool finished;
    if (kp_joined(site, node, &finished, err) < 0)
        return -1;
    if (!finished)
        return 0;
    if (find_missing(node, names, n, &missing, err) < 0)
        return -1;
    if (!missing)
        return 0;
    kp_auto_free char *what =
        kp_asprintf("issue the API server's certificate anew, with %s", missing);
    kp_step_changed(site, node, what, &change);
    if (site->dry_run)
        return 0;
    if (issue(site, node, err) < 0)
        return -1;
    // The API server reads its pair again by itself when the files change: no request is lost.
    return kp_endpoint_await(site, node, missing, err);
}
