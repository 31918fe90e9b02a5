/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the node's runtime pulls from: certs.d of containerd, registries.conf.d and the policy of
 * CRI-O, the kubelet's credentials. Files with credentials are root's alone.
 */
#include "install/steps/certs.h"

#include "core/secret.h"
#include "core/text.h"
#include "install/steps/common.h"
#include "install/steps/pulls.h"
#include "install/steps/runtime.h"

#define CERTS_FOLDER "/etc/containerd/certs.d"
#define REGISTRY_CAS "/etc/kpack/registries"
#define CRIO_REGISTRIES "/etc/containers/registries.conf.d/10-kpack.conf"
#define CONTAINERS_CERTS "/etc/containers/certs.d"
#define KUBELET_AUTH "/var/lib/kubelet/config.json"
#define KUBELET_AUTH_OURS "/etc/kpack/kubelet-auths.json"
#define TEXT_MAX ((size_t)1 << 20)

/* containerd before 2.1 refuses to know dial_timeout: it would ignore the whole file. */
bool kp_knows_dial_timeout(const char *version)
{
    struct kp_slice rest = kp_slice_of(version), part;
    uint64_t major = 0, minor = 0;
    if (!kp_slice_cut(&rest, '.', &part) || !kp_parse_u64(part, 999, &major) ||
        !kp_slice_cut(&rest, '.', &part) || !kp_parse_u64(part, 999, &minor))
        return false;
    return major > 2 || (major == 2 && minor >= 1);
}

static int place_text(struct kp_site *site, struct kp_site_node *node, const char *path,
                      const char *text, bool secret, struct kp_err *err)
{
    return secret ? kp_place_secret(site, node, path, text, NULL, err)
                  : kp_place(site, node, path, kp_slice_of(text), 0644, NULL, err);
}

static int place_pull(struct kp_site *site, struct kp_site_node *node, const struct kp_pull *pull,
                      struct kp_err *err)
{
    struct kp_runtime runtime = kp_node_runtime(site, node);
    kp_auto_free char *path = kp_asprintf(CERTS_FOLDER "/%s/hosts.toml", pull->registry);
    char *text = NULL;
    if (kp_render_hosts(&text, pull, kp_knows_dial_timeout(runtime.version), err) < 0)
        return -1;
    int result = place_text(site, node, path, text, pull->secret, err);
    kp_secret_free(text);
    return result;
}

static bool is_wanted(const struct kp_pulls *pulls, struct kp_slice registry)
{
    for (size_t i = 0; i < pulls->count; i++)
        if (kp_slice_equal(registry, pulls->items[i].registry))
            return true;
    return false;
}

/* Folders of ours for registries that are named no more. */
static int drop_others(struct kp_site *site, struct kp_site_node *node,
                       const struct kp_pulls *pulls, struct kp_err *err)
{
    static const char *const argv[] = {
        "/bin/sh", "-c",
        "cd " CERTS_FOLDER " 2>/dev/null || exit 0;"
        " grep -l '^# written by kinstall' */hosts.toml 2>/dev/null || true",
        NULL};
    kp_auto_free char *list = NULL;
    if (kp_ask(site, node, argv, 30, NULL, &list, err) < 0)
        return -1;
    struct kp_slice rest = kp_slice_of(list), line, registry;
    while (kp_slice_line(&rest, &line)) {
        if (!kp_slice_cut(&line, '/', &registry) || is_wanted(pulls, registry))
            continue;
        kp_auto_free char *path =
            kp_asprintf(CERTS_FOLDER "/%.*s", (int)registry.len, registry.ptr);
        if (kp_place_removed(site, node, path, NULL, err) < 0)
            return -1;
    }
    return 0;
}

static int place_containerd(struct kp_site *site, struct kp_site_node *node,
                            const struct kp_pulls *pulls, struct kp_err *err)
{
    for (size_t i = 0; i < pulls->count; i++)
        if (place_pull(site, node, &pulls->items[i], err) < 0)
            return -1;
    return drop_others(site, node, pulls, err);
}

static int place_cas(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    const struct kp_inventory *inventory = site->inventory;
    for (size_t i = 0; i < inventory->registry_count; i++) {
        const struct kp_registry *registry = &inventory->registries[i];
        kp_auto_free char *path = kp_pull_ca_path(registry);
        if (registry->pem &&
            kp_place(site, node, path, kp_slice_of(registry->pem), 0644, NULL, err) < 0)
            return -1;
    }
    return 0;
}

/* "https://host:port/path" -> …/certs.d/host:port */
static char *crio_certs(const char *url)
{
    const char *host = url + sizeof("https://") - 1;
    return kp_asprintf(CONTAINERS_CERTS "/%.*s", (int)strcspn(host, "/"), host);
}

int kp_drop_crio_ca(struct kp_site *site, struct kp_site_node *node, const char *url,
                    struct kp_err *err)
{
    kp_auto_free char *folder = crio_certs(url);
    return kp_place_removed(site, node, folder, NULL, err);
}

static int place_crio_ca(struct kp_site *site, struct kp_site_node *node, const char *url,
                         const char *pem, struct kp_err *err)
{
    kp_auto_free char *folder = crio_certs(url);
    kp_auto_free char *path = kp_asprintf("%s/ca.crt", folder);
    return kp_place(site, node, path, kp_slice_of(pem), 0644, NULL, err);
}

static int place_crio_cas(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    const struct kp_inventory *inventory = site->inventory;
    for (size_t i = 0; site->mirror_urls[i]; i++)
        if (place_crio_ca(site, node, site->mirror_urls[i], site->mirror_ca, err) < 0)
            return -1;
    for (size_t i = 0; i < inventory->registry_count; i++)
        for (size_t k = 0; inventory->registries[i].pem && k < inventory->registries[i].url_count;
             k++)
            if (place_crio_ca(site, node, inventory->registries[i].urls[k],
                              inventory->registries[i].pem, err) < 0)
                return -1;
    return 0;
}

static int place_crio_registries(struct kp_site *site, struct kp_site_node *node,
                                 const struct kp_pulls *pulls, struct kp_err *err)
{
    kp_auto_value(kp_buf) text = KP_BUF(TEXT_MAX);
    kp_buf_adds(&text, "# written by kinstall: every pull stays inside the site\n"
                       "unqualified-search-registries = []\n");
    for (size_t i = 1; i < pulls->count; i++) {
        kp_auto_free char *one = NULL;
        if (kp_render_crio_registry(&one, &pulls->items[i], err) < 0)
            return -1;
        kp_buf_adds(&text, one);
    }
    return kp_place(site, node, CRIO_REGISTRIES, kp_buf_slice(&text), 0644, NULL, err);
}

static int place_crio_auth(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char path[] = "/etc/crio/auth.json";
    kp_auto_json auths = kp_pull_auths(site->inventory, true);
    if (!auths)
        return kp_place_removed(site, node, path, NULL, err);
    char *text = kp_json_dump(auths, true);
    int result = kp_place_secret(site, node, path, text, NULL, err);
    kp_secret_free(text);
    return result;
}

static int place_crio(struct kp_site *site, struct kp_site_node *node, const struct kp_pulls *pulls,
                      struct kp_err *err)
{
    kp_auto_free char *policy = kp_crio_policy(pulls);
    if (place_crio_registries(site, node, pulls, err) < 0 ||
        kp_place(site, node, "/etc/crio/policy.json", kp_slice_of(policy), 0644, NULL, err) < 0 ||
        place_crio_cas(site, node, err) < 0)
        return -1;
    return place_crio_auth(site, node, err);
}

int kp_place_pulls(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto(kp_pulls) pulls = kp_pulls_new(site, node);
    bool crio = kp_node_runtime(site, node).kind == KP_RUNTIME_CRIO;
    if (kp_place(site, node, KP_CA_FILE, kp_slice_of(site->mirror_ca), 0644, NULL, err) < 0 ||
        place_cas(site, node, err) < 0)
        return -1;
    return crio ? place_crio(site, node, pulls, err) : place_containerd(site, node, pulls, err);
}

static int read_json(struct kp_site_node *node, const char *path, json_t **out, struct kp_err *err)
{
    kp_auto_value(kp_buf) text = KP_BUF_SECRET(TEXT_MAX);
    bool found;
    *out = NULL;
    if (kp_session_get(node->session, path, &text, &found, err) < 0)
        return kp_wrap(err, "read %s", path);
    if (!found)
        return 0;
    if (kp_json_parse(out, kp_buf_slice(&text), TEXT_MAX, path, err) < 0 || !json_is_object(*out)) {
        kp_fail_as(err, KP_FAILED, "bad_document", "%s is no JSON object", path);
        return kp_hint(err, "mend it or move it away");
    }
    return 0;
}

/* What others put into the file stays; what was ours and is named no more goes. */
static json_t *merged(const json_t *now, const json_t *ours, const json_t *wanted)
{
    json_t *out = now ? json_deep_copy(now) : json_object();
    json_t *auths = json_object_get(out, "auths");
    const char *host;
    json_t *value;
    if (!json_is_object(auths)) {
        auths = json_object();
        json_object_set_new(out, "auths", auths);
    }
    json_object_foreach((json_t *)(uintptr_t)ours, host, value) json_object_del(auths, host);
    json_object_foreach(json_object_get(wanted, "auths"), host, value)
        json_object_set(auths, host, value);
    return out;
}

static int place_names(struct kp_site *site, struct kp_site_node *node, const json_t *wanted,
                       struct kp_err *err)
{
    kp_auto_json names = json_object();
    const char *host;
    json_t *value;
    if (!wanted)
        return kp_place_removed(site, node, KUBELET_AUTH_OURS, NULL, err);
    json_object_foreach(json_object_get(wanted, "auths"), host, value)
        json_object_set_new(names, host, json_true());
    kp_auto_free char *text = kp_json_dump(names, true);
    return kp_place(site, node, KUBELET_AUTH_OURS, kp_slice_of(text), 0644, NULL, err);
}

/* The kubelet hands them to its runtime with each pull, whatever way the registry asks for them. */
int kp_place_kubelet_auths(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_json wanted = kp_pull_auths(site->inventory, false);
    kp_auto_json now = NULL;
    kp_auto_json ours = NULL;
    if (read_json(node, KUBELET_AUTH_OURS, &ours, err) < 0)
        return -1;
    if (!wanted && !ours)
        return 0;
    if (read_json(node, KUBELET_AUTH, &now, err) < 0 || place_names(site, node, wanted, err) < 0)
        return -1;
    kp_auto_json all = merged(now, ours, wanted);
    if (json_object_size(all) == 1 && !json_object_size(json_object_get(all, "auths")))
        return kp_place_removed(site, node, KUBELET_AUTH, NULL, err);
    char *text = kp_json_dump(all, true);
    bool changed = false, configured;
    int result = kp_place_secret(site, node, KUBELET_AUTH, text, &changed, err);
    kp_secret_free(text);
    if (result < 0 || !changed)
        return result;
    if (kp_have_file(node, "/var/lib/kubelet/config.yaml", &configured, err) < 0)
        return -1;
    // One that runs reads the file anew only after some minutes.
    return configured ? kp_restart_kubelet(site, node, err) : 0;
}
