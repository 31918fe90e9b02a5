/* SPDX-License-Identifier: Apache-2.0 */
#include "install/steps/endpoint.h"

#include "install/endpoint.h"
#include "install/steps/common.h"
#include "install/steps/prepare.h"

#include "core/text.h"

#include <time.h>

#define CA_FILE "/etc/kubernetes/pki/ca.crt"
#define CA_MAX ((size_t)64 << 10)
#define LISTING_MAX ((size_t)1 << 20)
#define ANSWER_S 120.0
#define PAUSE_NS 200000000L
#define UIDS_MAX ((size_t)64 << 10)

static bool has_word(const char *words, struct kp_slice word)
{
    struct kp_slice rest = kp_slice_of(words), one;
    while (kp_slice_cut(&rest, ' ', &one))
        if (one.len == word.len && memcmp(one.ptr, word.ptr, one.len) == 0)
            return true;
    return rest.len == word.len && memcmp(rest.ptr, word.ptr, rest.len) == 0;
}

char *kp_endpoint_stale_pods(struct kp_slice listing, const char *wanted)
{
    static const char folder[] = "/var/lib/kubelet/pods/", file[] = "/etc-hosts:";
    kp_auto_value(kp_buf) out = KP_BUF(UIDS_MAX);
    struct kp_slice line;
    kp_buf_adds(&out, "");
    while (kp_slice_line(&listing, &line)) {
        if (!kp_slice_starts(line, folder))
            continue;
        const char *at = memmem(line.ptr, line.len, file, strlen(file));
        struct kp_slice uid = {line.ptr + strlen(folder), 0}, address;
        if (!at)
            continue;
        uid.len = (size_t)(at - uid.ptr);
        address.ptr = at + strlen(file);
        address.len = strcspn(address.ptr, " \t\n");
        if (kp_slice_equal(address, wanted) || !memchr(uid.ptr, '-', uid.len))
            continue;
        if (!has_word(kp_buf_slice(&out).ptr, uid))
            kp_buf_addf(&out, "%s%.*s", out.len ? " " : "", (int)uid.len, uid.ptr);
    }
    return kp_buf_steal(&out);
}

static int list_copies(struct kp_site *site, struct kp_site_node *node, char **out,
                       struct kp_err *err)
{
    static const char script[] = "grep -HsE \"[[:space:]]$1\\$\" /var/lib/kubelet/pods/*/etc-hosts";
    kp_auto_free char *name = kp_inventory_endpoint_name(site->inventory);
    const char *argv[] = {"/bin/sh", "-c", script, "sh", name, NULL};
    int status;
    return kp_ask(site, node, argv, 30, &status, out, err);
}

/* Only pods that come back by themselves, and on this node. */
static bool is_of_daemonset(const json_t *pod)
{
    const json_t *owners = json_object_get(json_object_get(pod, "metadata"), "ownerReferences");
    const char *kind = json_string_value(json_object_get(json_array_get(owners, 0), "kind"));
    return kind && strcmp(kind, "DaemonSet") == 0;
}

static int remake_pod(struct kp_site *site, struct kp_site_node *node, const json_t *pod,
                      struct kp_err *err)
{
    const char *name = kp_json_string_in(pod, "metadata", "name");
    const char *argv[] = {"delete",
                          "pod",
                          name,
                          "-n",
                          kp_json_string_in(pod, "metadata", "namespace"),
                          "--wait=false",
                          "--ignore-not-found",
                          NULL};
    struct kp_change change = {.changed = true};
    struct kp_slice none = {0};
    kp_auto_free char *what = kp_asprintf("make pod %s anew (its hosts file is of before)", name);
    if (kp_kube(site, argv, none, NULL, err) < 0)
        return kp_wrap(err, "%s", name);
    kp_step_changed(site, node, what, &change);
    return 0;
}

/* A pod with the host's network holds the hosts file as it was when it started. */
static int remake_stale(struct kp_site *site, struct kp_site_node *node, const char *address,
                        struct kp_err *err)
{
    kp_auto_free char *listing = NULL, *stale = NULL;
    kp_auto_free char *selector = kp_asprintf("spec.nodeName=%s", node->node->name);
    const char *argv[] = {"get", "pods", "-A", "--field-selector", selector, "-o", "json", NULL};
    kp_auto_json pods = NULL;
    size_t i;
    const json_t *pod;
    if (list_copies(site, node, &listing, err) < 0)
        return -1;
    stale = kp_endpoint_stale_pods(kp_slice_of(listing ? listing : ""), address);
    if (!*stale)
        return 0;
    if (kp_kube_json(site, &pods, NULL, argv, err) < 0)
        return -1;
    json_array_foreach(json_object_get(pods, "items"), i, pod)
    {
        struct kp_slice uid = kp_slice_of(kp_json_string_in(pod, "metadata", "uid"));
        if (uid.len && has_word(stale, uid) && is_of_daemonset(pod) &&
            remake_pod(site, node, pod, err) < 0)
            return -1;
    }
    return 0;
}

/* Until the balancer on the node has an API server behind it. */
static int await_haproxy(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_value(kp_buf) ca = KP_BUF(CA_MAX);
    kp_auto_free char *url = kp_asprintf("https://127.0.0.1:%d/readyz", KP_API_PORT);
    const char *why = NULL;
    kp_auto_json answer = NULL;
    double start = kp_now();
    if (kp_session_get(node->session, CA_FILE, &ca, NULL, err) < 0)
        return kp_wrap(err, "read the cluster's CA");
    kp_auto_json question = json_pack("{s:s, s:s}", "https", url, "ca", kp_buf_slice(&ca).ptr);
    kp_step_note(site, node, "waiting for haproxy");
    while (kp_now() - start < ANSWER_S) {
        json_decref(answer);
        answer = NULL;
        if (kp_session_probe(node->session, question, &answer, err) < 0)
            return -1;
        if (json_is_true(json_object_get(answer, "ok")))
            return 0;
        struct timespec pause = {.tv_nsec = PAUSE_NS};
        nanosleep(&pause, NULL);
    }
    why = json_string_value(json_object_get(answer, "message"));
    kp_fail_as(err, KP_FAILED, "no_haproxy", "no API server answers behind %s after %.0f s: %s",
               url, ANSWER_S, why ? why : "no answer");
    return kp_hint(err,
                   "on the node: crictl ps -a --name haproxy; crictl logs of it; is port %d "
                   "taken by another program?",
                   KP_API_PORT);
}

static int place_haproxy(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_free char *config = NULL, *pod = NULL;
    bool changed = false;
    if (kp_endpoint_render_haproxy(&config, &pod, site->inventory, site->manifest, err) < 0 ||
        kp_place(site, node, KP_HAPROXY_CONFIG, kp_slice_of(config), 0644, &changed, err) < 0 ||
        kp_place(site, node, KP_HAPROXY_POD, kp_slice_of(pod), 0644, &changed, err) < 0)
        return -1;
    return changed && !site->dry_run ? await_haproxy(site, node, err) : 0;
}

static int drop_haproxy(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    if (kp_place_removed(site, node, KP_HAPROXY_POD, NULL, err) < 0)
        return -1;
    return kp_place_removed(site, node, KP_HAPROXY_FOLDER, NULL, err);
}

static int place_vip(struct kp_site *site, struct kp_site_node *node, bool making,
                     struct kp_err *err)
{
    kp_auto_free char *pod = NULL;
    if (kp_endpoint_render_vip(&pod, site->inventory, site->manifest, kp_minor(site), making, err) <
        0)
        return -1;
    return kp_place(site, node, KP_VIP_POD, kp_slice_of(pod), 0600, NULL, err);
}

int kp_endpoint_before_init(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    if (kp_endpoint_mode(site->inventory) != KP_ENDPOINT_VIP)
        return 0;
    return place_vip(site, node, true, err);
}

static int settle_vip(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    if (!kp_is_control_plane(node))
        return 0;
    if (kp_endpoint_mode(site->inventory) == KP_ENDPOINT_VIP)
        return place_vip(site, node, false, err);
    return kp_place_removed(site, node, KP_VIP_POD, NULL, err);
}

int kp_endpoint_settle(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    bool finished, moved = false;
    const char *live = kp_first(site)->node->address;
    const char *address = kp_endpoint_address(site->inventory, node->node, true, live);
    bool balanced = kp_endpoint_balanced(site->inventory, node->node);
    if (kp_joined(site, node, &finished, err) < 0)
        return -1;
    if (!finished && !site->dry_run)
        return 0; // said where it failed
    if (settle_vip(site, node, err) < 0 || (balanced && place_haproxy(site, node, err) < 0) ||
        kp_place_hosts(site, node, address, &moved, err) < 0)
        return -1;
    if (!balanced && !kp_is_control_plane(node) && drop_haproxy(site, node, err) < 0)
        return -1;
    if (!finished || !address)
        return 0;
    // A kubelet keeps the connection that it has: to a control plane that may be the next to go.
    if (moved && kp_restart_kubelet(site, node, err) < 0)
        return -1;
    return site->dry_run ? 0 : remake_stale(site, node, address, err);
}
