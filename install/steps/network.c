/* SPDX-License-Identifier: Apache-2.0 */
/* Phase network: the manifests of the bundle's network plugin, applied and waited for. */
#include "install/plugin.h"
#include "install/check/health_probe.h"
#include "install/steps/common.h"
#include "install/steps/images.h"
#include "install/steps/network.h"
#include "manifests/pod_env.h"

#include "core/interrupt.h"
#include "core/text.h"

#define MANIFEST_MAX ((size_t)8 << 20)
#define WAIT_S 300

static char *value_of(const struct kp_site *site, const struct kp_replace *replace,
                      const char *text)
{
    const char *with = replace->with;
    if (strcmp(with, "pods") == 0)
        return kp_strdup(site->inventory->kubernetes.pods);
    if (strcmp(with, "services") == 0)
        return kp_strdup(site->inventory->kubernetes.services);
    return strcmp(with, "cluster") == 0 ? kp_strdup(site->inventory->cluster)
                                        : kp_plugin_value(site, replace, text);
}

int kp_manifest_fill(struct kp_buf *out, struct kp_slice text, const struct kp_replace *replace,
                     size_t n, const char *const *values, struct kp_err *err)
{
    size_t at = 0;
    while (at < text.len) {
        size_t i = 0, len = 0;
        for (; i < n; i++) {
            len = strlen(replace[i].find);
            if (len && len <= text.len - at && memcmp(text.ptr + at, replace[i].find, len) == 0)
                break;
        }
        if (i == n)
            kp_buf_add(out, text.ptr + at++, 1);
        else
            kp_buf_adds(out, values[i]), at += len;
    }
    return out->overflow ? kp_fail(err, KP_USAGE, "the manifest is larger than 8 MiB") : 0;
}

void kp_manifest_leave(struct kp_buf *out, struct kp_slice text, const char *key)
{
    size_t len = strlen(key);
    while (text.len) {
        const char *end = memchr(text.ptr, '\n', text.len);
        struct kp_slice line = {text.ptr, end ? (size_t)(end - text.ptr) + 1 : text.len};
        struct kp_slice word = kp_slice_trim(line);
        text = (struct kp_slice){text.ptr + line.len, text.len - line.len};
        if (word.len > len + 1 && kp_slice_starts(word, key) && word.ptr[len] == ':' &&
            word.ptr[len + 1] == ' ')
            continue;
        kp_buf_add(out, line.ptr, line.len);
    }
}

static bool leaves(const struct kp_replace *replace)
{
    return strcmp(replace->with, "leave") == 0;
}

static void leave_key(char **text, size_t *len, const char *key)
{
    kp_auto_value(kp_buf) kept = KP_BUF(MANIFEST_MAX);
    kp_manifest_leave(&kept, (struct kp_slice){*text, *len}, key);
    kp_free(*text);
    *len = kept.len;
    *text = kp_buf_steal(&kept);
}

/* Takes away the lines whose keys the add-on's own controller fills in, and those of keys that the
 * inventory decides. */
static void leave_lines(const struct kp_site *site, const struct kp_cluster_manifest *manifest,
                        char **text, size_t *len)
{
    for (size_t i = 0; i < manifest->replace_count; i++) {
        const struct kp_replace *replace = &manifest->replace[i];
        const char *key;
        if (leaves(replace))
            leave_key(text, len, replace->find);
        for (size_t j = 0; (key = kp_plugin_writes(site, replace->with, j)); j++)
            leave_key(text, len, key);
    }
}

int kp_manifest_render(struct kp_site *site, const struct kp_cluster_manifest *manifest,
                       struct kp_buf *out, struct kp_err *err)
{
    kp_auto_free char *text = NULL;
    kp_auto(kp_arena) arena = kp_arena_new();
    kp_auto_free const char **values = kp_alloc_array(manifest->replace_count + 1, sizeof(*values));
    kp_auto_free struct kp_replace *literal =
        kp_alloc_array(manifest->replace_count + 1, sizeof(*literal));
    size_t len, n = 0;
    if (kp_bundle_load(site->bundle, &manifest->blob, MANIFEST_MAX, &text, &len, err) < 0)
        return -1;
    leave_lines(site, manifest, &text, &len);
    for (size_t i = 0; i < manifest->replace_count; i++) {
        if (leaves(&manifest->replace[i]))
            continue;
        kp_auto_free char *value = value_of(site, &manifest->replace[i], text);
        literal[n] = manifest->replace[i];
        values[n] = kp_arena_strdup(arena, value);
        if (!values[n++])
            return kp_fail(err, KP_USAGE, "replace with '%s': this kinstall does not know it",
                           manifest->replace[i].with);
    }
    return kp_manifest_fill(out, (struct kp_slice){text, len}, literal, n, values, err);
}

/* "demo.kpack.internal" and 6443 of the cluster's endpoint; an IPv6 address without its brackets.
 */
static int split_endpoint(const struct kp_site *site, char **host, uint64_t *port,
                          struct kp_err *err)
{
    kp_auto_free char *endpoint = kp_endpoint(site);
    char *colon = strrchr(endpoint, ':');
    if (!colon || !kp_parse_u64(kp_slice_of(colon + 1), 65535, port))
        return kp_fail(err, KP_USAGE, "kubernetes.endpoint: %s is not host:port", endpoint);
    struct kp_slice name = {endpoint, (size_t)(colon - endpoint)};
    if (name.len > 2 && name.ptr[0] == '[' && name.ptr[name.len - 1] == ']')
        name = (struct kp_slice){name.ptr + 1, name.len - 2};
    *host = kp_asprintf("%.*s", (int)name.len, name.ptr);
    return 0;
}

/* The manifest as this cluster wants it. A network plugin is told the cluster's endpoint, so that
 * it never asks at the Service address: see manifests/pod_env.h. */
static int render(struct kp_site *site, const struct kp_cluster_manifest *manifest,
                  struct kp_buf *out, struct kp_err *err)
{
    kp_auto_value(kp_buf) filled = KP_BUF(MANIFEST_MAX);
    kp_auto_free char *host = NULL;
    uint64_t port = 0;
    if (kp_manifest_render(site, manifest, &filled, err) < 0 ||
        split_endpoint(site, &host, &port, err) < 0)
        return -1;
    return kp_pod_env_add(out, kp_buf_slice(&filled), manifest->name, host, (unsigned)port, NULL,
                          err);
}

bool kp_manifest_is_network(const struct kp_cluster_manifest *manifest)
{
    return kp_starts_with(manifest->why, "network ");
}

/* Pods do not read again what of a ConfigMap they have read. Those that have yet to start need no
 * restart. */
static int restart_running(struct kp_site *site, const struct kp_cluster_manifest *manifest,
                           struct kp_err *err)
{
    for (size_t i = 0; !site->dry_run && i < manifest->wait_count; i++) {
        const struct kp_wait *wait = &manifest->wait[i];
        kp_auto_free char *object = kp_asprintf("%s/%s", wait->kind, wait->name);
        const char *get[] = {"get", object, "-n", wait->namespace_, "-o", "json", NULL};
        const char *again[] = {"rollout", "restart", object, "-n", wait->namespace_, NULL};
        kp_auto_json found = NULL;
        bool there;
        if (strcmp(wait->kind, "daemonset") != 0)
            continue;
        if (kp_kube_json(site, &found, &there, get, err) < 0)
            return -1;
        const json_t *status = json_object_get(found, "status");
        struct kp_slice none = {0};
        if (there && json_integer_value(json_object_get(status, "numberReady")) > 0 &&
            kp_kube(site, again, none, NULL, err) < 0)
            return -1;
    }
    return 0;
}

int kp_network_apply(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    (void)node;
    for (size_t i = 0; i < site->manifest->manifest_count; i++) {
        const struct kp_cluster_manifest *manifest = &site->manifest->manifests[i];
        kp_auto_value(kp_buf) yaml = KP_BUF(MANIFEST_MAX);
        bool changed = false;
        if (!kp_manifest_is_network(manifest))
            continue;
        kp_step_note(site, NULL, "manifest %s", manifest->name);
        if (render(site, manifest, &yaml, err) < 0 ||
            kp_kube_apply(site, manifest->name, kp_buf_slice(&yaml), &changed, err) < 0 ||
            (changed && restart_running(site, manifest, err) < 0))
            return kp_wrap(err, "manifest %s (%s)", manifest->name, manifest->why);
    }
    return 0;
}

/* What the plugin's pods need of the node before they start. */
int kp_network_node(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char unit[] = "kpack-bpf.service";
    kp_auto(kp_vars) none = kp_vars_new();
    bool changed = false;
    if (strcmp(site->manifest->network, "cilium") != 0)
        return 0;
    if (kp_place_template(site, node, "/etc/systemd/system/kpack-bpf.service", unit, none, &changed,
                          err) < 0)
        return -1;
    return kp_place_service(site, node, unit, changed, err);
}

static int await_network(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    (void)node;
    // Proving looks at the pods anyway.
    bool needed = !site->dry_run && !kp_health_still_proven(site);
    for (size_t i = 0; needed && i < site->manifest->manifest_count; i++) {
        const struct kp_cluster_manifest *manifest = &site->manifest->manifests[i];
        for (size_t j = 0; kp_manifest_is_network(manifest) && j < manifest->wait_count; j++) {
            const struct kp_wait *wait = &manifest->wait[j];
            if (kp_kube_wait(site, wait->kind, wait->namespace_, wait->name, WAIT_S, err) < 0)
                return kp_wrap(err, "manifest %s", manifest->name);
        }
    }
    return 0;
}

/* Pods take a while to come up: they do so while the rest becomes ready. What goes wrong here goes
 * wrong again, and is told, when the cluster is proven. */
static int start_probe(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    struct kp_err untold = KP_ERR_INIT;
    (void)node;
    if (site->dry_run || kp_health_still_proven(site))
        return 0;
    return kp_health_probe_start(site, &untold) < 0 ? kp_interrupt_check(err) : 0;
}

static int describe_network(const struct kp_site *site, char *out, size_t size)
{
    snprintf(out, size, "%s, pods %s", site->manifest->network, site->inventory->kubernetes.pods);
    return 0;
}

const struct kp_step kp_steps_network[] = {
    // The plugin's objects are there since the end of phase init: its pods start as nodes join.
    {.name = "images-all",
     .phase = "network",
     .nodes = KP_STEP_ALL,
     .apply = kp_images_finish,
     .describe = describe_network},
    {.name = "network-ready", .phase = "network", .nodes = KP_STEP_FIRST, .apply = await_network},
    {.name = "probe-start",
     .phase = "network",
     .nodes = KP_STEP_FIRST,
     .apply = start_probe,
     .whole = true},
    {.name = NULL},
};
