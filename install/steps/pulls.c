/* SPDX-License-Identifier: Apache-2.0 */
#include "install/steps/pulls.h"

#include "core/secret.h"
#include "install/inventory/network.h"
#include "install/steps/common.h"
#include "install/steps/prepare.h"

#define DIAL_TIMEOUT "1s"
#define HOSTS_TOML_MAX ((size_t)1 << 20)
#define SCHEME "https://"

struct kp_slice kp_pull_registry_of(const char *reference)
{
    const char *slash = strchr(reference, '/');
    return (struct kp_slice){reference, slash ? (size_t)(slash - reference) : 0};
}

char *kp_pull_ca_path(const struct kp_registry *registry)
{
    return kp_asprintf("/etc/kpack/registries/%s.pem", registry->host);
}

static struct kp_pull *find_pull(struct kp_pulls *pulls, struct kp_slice registry)
{
    for (size_t i = 0; i < pulls->count; i++)
        if (kp_slice_equal(registry, pulls->items[i].registry))
            return &pulls->items[i];
    return NULL;
}

static void add_host(struct kp_pull *pull, const char *url, const char *ca,
                     const char *authorization)
{
    pull->hosts[pull->count++] = (struct kp_pull_host){url, ca, authorization};
    pull->secret = pull->secret || authorization;
}

/* The node's own first. */
static void add_mirrors(struct kp_pull *pull, const char *const *urls, const char *own)
{
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; urls[i]; i++)
            if ((own && strcmp(urls[i], own) == 0) == (pass == 0))
                add_host(pull, urls[i], KP_CA_FILE, NULL);
}

static void add_registry(struct kp_pulls *pulls, struct kp_pull *pull,
                         const struct kp_registry *registry)
{
    kp_auto_free char *ca = registry->pem ? kp_pull_ca_path(registry) : NULL;
    char *authorization = kp_registry_authorization(registry);
    for (size_t i = 0; i < registry->url_count; i++)
        add_host(pull, registry->urls[i], ca ? kp_arena_strdup(pulls->arena, ca) : NULL,
                 authorization ? kp_arena_strdup(pulls->arena, authorization) : NULL);
    kp_secret_free(authorization);
}

static struct kp_pull *new_pull(struct kp_pulls *pulls, struct kp_slice registry, size_t hosts)
{
    struct kp_pull *pull = &pulls->items[pulls->count++];
    pull->registry = kp_arena_strndup(pulls->arena, registry.ptr, registry.len);
    pull->hosts = kp_arena_array(pulls->arena, hosts, sizeof(*pull->hosts));
    return pull;
}

struct kp_pulls *kp_pulls_new(const struct kp_site *site, const struct kp_site_node *node)
{
    const struct kp_manifest *m = site->manifest;
    const struct kp_inventory *inventory = site->inventory;
    struct kp_pulls *pulls = kp_alloc(sizeof(*pulls));
    kp_auto_free char *host = kp_network_url_host(node->node->address);
    kp_auto_free char *own =
        node->node->mirror ? kp_asprintf(SCHEME "%s:%u", host, inventory->mirror.port) : NULL;
    size_t mirrors = 0, room;
    while (site->mirror_urls[mirrors])
        mirrors++;
    room = mirrors + KP_REGISTRY_URLS_MAX;
    pulls->arena = kp_arena_new();
    pulls->items = kp_arena_array(pulls->arena, m->image_count + inventory->registry_count + 1,
                                  sizeof(*pulls->items));
    add_mirrors(new_pull(pulls, kp_slice_of(KP_PULL_DEFAULT), room), site->mirror_urls, own);
    for (size_t i = 0; i < m->image_count; i++) {
        struct kp_slice registry = kp_pull_registry_of(m->images[i].reference);
        if (find_pull(pulls, registry))
            continue;
        struct kp_pull *pull = new_pull(pulls, registry, room);
        pull->mirrored = true;
        add_mirrors(pull, site->mirror_urls, own);
    }
    for (size_t i = 0; i < inventory->registry_count; i++) {
        const struct kp_registry *registry = &inventory->registries[i];
        struct kp_pull *pull = find_pull(pulls, kp_slice_of(registry->host));
        add_registry(pulls, pull ? pull : new_pull(pulls, kp_slice_of(registry->host), room),
                     registry);
    }
    return pulls;
}

void kp_pulls_free(struct kp_pulls *pulls)
{
    if (!pulls)
        return;
    for (size_t i = 0; i < pulls->count; i++)
        for (size_t k = 0; k < pulls->items[i].count; k++) {
            char *secret = (char *)(uintptr_t)pulls->items[i].hosts[k].authorization;
            if (secret)
                explicit_bzero(secret, strlen(secret));
        }
    kp_arena_free(pulls->arena);
    kp_free(pulls);
}

static void host_vars(struct kp_vars *vars, const struct kp_pull_host *host, bool dial_timeout)
{
    kp_vars_set(vars, "url", host->url);
    kp_vars_set(vars, "ca", host->ca ? host->ca : "");
    kp_vars_set(vars, "authorization", host->authorization ? host->authorization : "");
    kp_vars_set(vars, "dial_timeout", dial_timeout ? DIAL_TIMEOUT : "");
}

static int add_rendered(struct kp_buf *out, const char *name, const struct kp_vars *vars,
                        struct kp_err *err)
{
    char *text = NULL;
    if (kp_render(&text, name, vars, err) < 0)
        return -1;
    kp_buf_adds(out, text);
    kp_secret_free(text);
    return 0;
}

int kp_render_hosts(char **out, const struct kp_pull *pull, bool dial_timeout, struct kp_err *err)
{
    kp_auto_value(kp_buf) text = KP_BUF_SECRET(HOSTS_TOML_MAX);
    kp_auto(kp_vars) vars = kp_vars_new();
    if (!pull->count)
        return kp_fail(err, KP_USAGE, "the site has no mirror");
    host_vars(vars, &pull->hosts[pull->count - 1], dial_timeout);
    if (add_rendered(&text, "hosts.toml", vars, err) < 0)
        return -1;
    for (size_t i = 0; i + 1 < pull->count; i++) {
        host_vars(vars, &pull->hosts[i], dial_timeout);
        if (add_rendered(&text, "hosts-host.toml", vars, err) < 0)
            return -1;
    }
    *out = kp_buf_steal(&text);
    return 0;
}

static const char *location(const struct kp_pull_host *host)
{
    return host->url + sizeof(SCHEME) - 1;
}

int kp_render_crio_registry(char **out, const struct kp_pull *pull, struct kp_err *err)
{
    kp_auto(kp_vars) vars = kp_vars_new();
    if (!pull->count)
        return kp_fail(err, KP_USAGE, "the site has no mirror");
    kp_vars_set(vars, "registry", pull->registry);
    kp_vars_set(vars, "last", location(&pull->hosts[pull->count - 1]));
    for (size_t i = 0; i + 1 < pull->count; i++)
        kp_vars_add(vars, "first", "%s", location(&pull->hosts[i]));
    return kp_render(out, "crio-registry.conf", vars, err);
}

char *kp_crio_policy(const struct kp_pulls *pulls)
{
    json_t *docker = json_object();
    for (size_t i = 1; i < pulls->count; i++)
        json_object_set_new(docker, pulls->items[i].registry,
                            json_pack("[{s:s}]", "type", "insecureAcceptAnything"));
    kp_auto_json policy = json_pack("{s:[{s:s}], s:{s:o}}", "default", "type", "reject",
                                    "transports", "docker", docker);
    return kp_json_dump(policy, true);
}

static void add_auth(json_t *auths, const char *host, const char *authorization)
{
    json_object_set_new(auths, host,
                        json_pack("{s:s}", "auth", authorization + sizeof("Basic ") - 1));
}

/* Without the path: credentials are the host's. */
static void add_location(json_t *auths, const char *url, const char *authorization)
{
    const char *host = url + sizeof(SCHEME) - 1;
    kp_auto_free char *name = kp_strndup(host, strcspn(host, "/"));
    add_auth(auths, name, authorization);
}

json_t *kp_pull_auths(const struct kp_inventory *inventory, bool by_location)
{
    json_t *auths = json_object();
    for (size_t i = 0; i < inventory->registry_count; i++) {
        const struct kp_registry *registry = &inventory->registries[i];
        char *authorization = kp_registry_authorization(registry);
        if (!authorization)
            continue;
        if (!by_location)
            add_auth(auths, registry->host, authorization);
        for (size_t k = 0; by_location && k < registry->url_count; k++)
            add_location(auths, registry->urls[k], authorization);
        kp_secret_free(authorization);
    }
    if (json_object_size(auths))
        return json_pack("{s:o}", "auths", auths);
    json_decref(auths);
    return NULL;
}
