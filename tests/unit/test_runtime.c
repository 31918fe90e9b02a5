/* SPDX-License-Identifier: Apache-2.0 */
/* Which runtime a node has, what it is told, where it pulls from; golden files by KP_GOLDEN=write.
 */
#include "core/file.h"
#include "install/runtime.h"
#include "install/steps/certs.h"
#include "install/steps/images.h"
#include "install/steps/pulls.h"
#include "install/steps/runtime.h"
#include "install/steps/runtime_change.h"
#include "golden.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct kp_runtime runtimes[] = {
    {"crun", KP_RUNTIME_OCI, "1.17", 0},
    {"containerd-1.7", KP_RUNTIME_CONTAINERD, "1.7.27", 2},
    {"containerd-2.1", KP_RUNTIME_CONTAINERD, "2.1.9", 3},
    {"crio", KP_RUNTIME_CRIO, "1.30.14", 0},
};
static const char *arches[] = {"amd64", NULL};
static struct kp_image images[] = {
    {.name = "pause",
     .reference = "registry.k8s.io/pause:3.9",
     .arches = arches,
     .roles = KP_ROLE_CONTROL_PLANE | KP_ROLE_WORKER,
     .why = "release",
     .pinned = true},
    {.name = "flannel",
     .reference = "docker.io/flannel/flannel:v0.22.0",
     .arches = arches,
     .roles = KP_ROLE_CONTROL_PLANE | KP_ROLE_WORKER,
     .why = "network flannel"},
    {.name = "",
     .reference = "docker.io/library/app:1",
     .arches = arches,
     .roles = KP_ROLE_WORKER,
     .why = "--image"},
};
static struct kp_file files[] = {
    {.name = "runc", .component = "runc", .version = "1.2.6", .arch = "amd64", .target = KP_RUNC},
    {.name = "crun",
     .component = "crun",
     .version = "1.17",
     .arch = "amd64",
     .target = "/usr/local/bin/crun",
     .runtime = "crun"},
    {.name = "containerd",
     .component = "containerd",
     .version = "2.1.9",
     .arch = "amd64",
     .target = "/usr/local/bin/containerd",
     .runtime = "containerd-2.1"},
};
static const char *three[] = {"https://10.77.0.11:5000", "https://10.77.0.12:5000",
                              "https://10.77.0.13:5000", NULL};
static const char *one[] = {"https://10.77.0.11:5000", NULL};

struct sample {
    struct kp_node nodes[2];
    struct kp_site_node site_node;
    struct kp_inventory inventory;
    struct kp_manifest manifest;
    struct kp_registry registries[2];
    struct kp_site site;
};

static void fill(struct sample *s)
{
    *s = (struct sample){0};
    s->nodes[0] = (struct kp_node){.name = "cp1",
                                   .address = "10.77.0.11",
                                   .roles = KP_ROLE_CONTROL_PLANE | KP_ROLE_WORKER,
                                   .mirror = true};
    s->nodes[1] = (struct kp_node){.name = "w1", .address = "10.77.0.21", .roles = KP_ROLE_WORKER};
    s->inventory = (struct kp_inventory){.path = "hosts.yaml",
                                         .cluster = "demo",
                                         .nodes = s->nodes,
                                         .node_count = 2,
                                         .control_plane_count = 1,
                                         .registries = s->registries};
    s->inventory.mirror.port = 5000;
    s->inventory.kubernetes.pods = "10.233.64.0/18";
    s->inventory.kubernetes.services = "10.233.0.0/18";
    s->inventory.kubernetes.domain = "cluster.local";
    s->manifest = (struct kp_manifest){.runtimes = runtimes,
                                       .runtime_count = KP_COUNT(runtimes),
                                       .files = files,
                                       .file_count = KP_COUNT(files),
                                       .images = images,
                                       .image_count = KP_COUNT(images)};
    s->site_node = (struct kp_site_node){.node = &s->nodes[0], .arch = "amd64"};
    s->site = (struct kp_site){.inventory = &s->inventory,
                               .manifest = &s->manifest,
                               .mirror_urls = one,
                               .nodes = &s->site_node,
                               .node_count = 1};
}

Test(runtime, the_node_the_cluster_the_bundle)
{
    static const struct {
        const char *cluster, *node, *found;
    } cases[] = {
        {NULL, NULL, "containerd-1.7"},
        {"crio", NULL, "crio"},
        {"crio", "containerd-2.1", "containerd-2.1"},
        {"containerd", NULL, "containerd-1.7"},
        {"containerd-2.2", NULL, NULL},
        {NULL, "crun", NULL}, // makes containers; no kubelet speaks to it
        {NULL, "oci", NULL},
    };
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        struct sample s;
        struct kp_runtime found;
        struct kp_err err = KP_ERR_INIT;
        fill(&s);
        s.inventory.runtime = cases[i].cluster;
        s.nodes[0].runtime = cases[i].node;
        bool ok = kp_runtime_find(&found, &s.inventory, &s.manifest, &s.nodes[0]);
        cr_assert_eq(ok, cases[i].found != NULL, "case %zu", i);
        if (ok)
            cr_expect_str_eq(found.name, cases[i].found);
        cr_expect_eq(kp_runtime_check(&s.inventory, &s.manifest, &err), ok ? 0 : -1);
        if (!ok)
            cr_expect_str_eq(err.reason, "runtime_missing");
    }
}

Test(runtime, what_the_bundle_lacks_is_named)
{
    struct sample s;
    struct kp_err err = KP_ERR_INIT;
    fill(&s);
    s.nodes[1].oci_runtime = "youki";
    cr_assert_eq(kp_runtime_check(&s.inventory, &s.manifest, &err), -1);
    cr_expect_str_eq(err.message, "hosts.yaml: oci_runtime: youki is asked for on w1, the bundle "
                                  "carries crun, containerd-1.7, containerd-2.1, crio");
    cr_expect_eq(err.code, KP_MISSING);
    s.nodes[1].oci_runtime = "crun";
    cr_expect_eq(kp_runtime_check(&s.inventory, &s.manifest, &err), 0);
    s.nodes[1].oci_runtime = "crio";
    cr_expect_eq(kp_runtime_check(&s.inventory, &s.manifest, &err), -1);
}

Test(runtime, bundles_without_a_list)
{
    struct sample s;
    struct kp_err err = KP_ERR_INIT;
    fill(&s);
    s.manifest.runtime_count = 0;
    s.manifest.containerd_config = 3;
    struct kp_runtime found = kp_runtime_of(&s.inventory, &s.manifest, &s.nodes[0]);
    cr_expect_str_eq(found.name, "containerd");
    cr_expect_str_eq(found.version, "2.1.9");
    cr_expect_eq(found.config, 3);
    s.inventory.runtime = "crio";
    cr_expect_eq(kp_runtime_check(&s.inventory, &s.manifest, &err), -1);
}

Test(runtime, files_by_node)
{
    struct sample s;
    fill(&s);
    s.nodes[1].runtime = "containerd-2.1";
    s.nodes[1].oci_runtime = "crun";
    cr_expect(kp_runtime_takes(&s.inventory, &s.manifest, &s.nodes[0], &files[0]));
    cr_expect(!kp_runtime_takes(&s.inventory, &s.manifest, &s.nodes[0], &files[1]));
    cr_expect(!kp_runtime_takes(&s.inventory, &s.manifest, &s.nodes[0], &files[2]));
    cr_expect(kp_runtime_takes(&s.inventory, &s.manifest, &s.nodes[1], &files[1]));
    cr_expect(kp_runtime_takes(&s.inventory, &s.manifest, &s.nodes[1], &files[2]));
}

Test(runtime, versions_as_programs_say_them)
{
    static const char *const cases[][2] = {
        {"containerd github.com/containerd/containerd v1.7.27 05044ec0a9a7\n", "1.7.27"},
        {"containerd github.com/containerd/containerd/v2 v2.1.9 \n", "2.1.9"},
        {"crio version 1.30.14\nGitCommit: abc", "1.30.14"},
        {"v2.3.4-rc.1", "2.3.4-rc.1"},
        {"containerd", ""},
        {"", ""},
        {"5 6. v", ""},
    };
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        char out[32];
        kp_runtime_version(out, sizeof(out), cases[i][0]);
        cr_expect_str_eq(out, cases[i][1], "'%s'", cases[i][0]);
    }
}

Test(runtime, what_a_change_is)
{
    static const struct {
        enum kp_runtime_kind kind;
        const char *version;
        size_t wanted;
        enum kp_runtime_difference difference;
    } cases[] = {
        {KP_RUNTIME_CONTAINERD, "1.7.27", 1, KP_RUNTIME_SAME},
        {KP_RUNTIME_CONTAINERD, "1.7.27", 2, KP_RUNTIME_UPDATE},
        {KP_RUNTIME_CONTAINERD, "1.10.2", 2, KP_RUNTIME_UPDATE},
        {KP_RUNTIME_CONTAINERD, "2.1.9", 1, KP_RUNTIME_REPLACE},
        {KP_RUNTIME_CONTAINERD, "2.1.10", 2, KP_RUNTIME_REPLACE},
        {KP_RUNTIME_CONTAINERD, "", 2, KP_RUNTIME_UPDATE},
        {KP_RUNTIME_CRIO, "1.30.14", 2, KP_RUNTIME_REPLACE},
        {KP_RUNTIME_CONTAINERD, "2.1.9", 3, KP_RUNTIME_REPLACE},
    };
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        struct kp_runtime_now now = {.member = true, .found = true, .kind = cases[i].kind};
        snprintf(now.version, sizeof(now.version), "%s", cases[i].version);
        cr_expect_eq(kp_runtime_compare(&now, &runtimes[cases[i].wanted]), cases[i].difference,
                     "case %zu", i);
    }
}

static const struct kp_pull *pull_of(const struct kp_pulls *pulls, const char *registry)
{
    for (size_t i = 0; i < pulls->count; i++)
        if (strcmp(pulls->items[i].registry, registry) == 0)
            return &pulls->items[i];
    return NULL;
}

Test(runtime, hosts_of_mirrors)
{
    static const struct {
        const char *golden, **urls, *own;
        bool dial_timeout;
    } cases[] = {{"hosts-one.toml", one, "10.77.0.11", false},
                 {"hosts-three.toml", three, NULL, false},
                 {"hosts-three-own-last.toml", three, "10.77.0.13", false},
                 {"hosts-three-own-first.toml", three, "10.77.0.11", true}};
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        kp_auto_free char *text = NULL;
        struct kp_err err = KP_ERR_INIT;
        struct sample s;
        fill(&s);
        s.site.mirror_urls = cases[i].urls;
        s.nodes[0].mirror = cases[i].own != NULL;
        s.nodes[0].address = cases[i].own ? cases[i].own : "10.77.0.99";
        kp_auto(kp_pulls) pulls = kp_pulls_new(&s.site, &s.site_node);
        cr_assert_eq(pulls->count, 3, "the default, registry.k8s.io, docker.io");
        cr_assert_eq(kp_render_hosts(&text, &pulls->items[0], cases[i].dial_timeout, &err), 0);
        golden_check(cases[i].golden, text);
        // No mirror twice, none left out, and no host but mirrors.
        for (size_t j = 0; cases[i].urls[j]; j++) {
            const char *first = strstr(text, cases[i].urls[j]);
            cr_assert(first);
            cr_expect_null(strstr(first + 1, cases[i].urls[j]));
        }
    }
}

static void add_registries(struct sample *s)
{
    static const char *own[] = {"https://registry.site.example:5443", NULL};
    static const char *hub[] = {"https://nexus.site.example/docker", "https://nexus2.site.example",
                                NULL};
    s->registries[0] =
        (struct kp_registry){.host = "registry.site.example:5443",
                             .urls = own,
                             .url_count = 1,
                             .ca = "/srv/ca.pem",
                             .pem = (char *)(uintptr_t) "-----BEGIN CERTIFICATE-----",
                             .username = "bot",
                             .password = kp_strdup("pass:word")};
    s->registries[1] = (struct kp_registry){.host = "docker.io", .urls = hub, .url_count = 2};
    s->inventory.registry_count = 2;
}

Test(runtime, hosts_of_registries)
{
    struct kp_err err = KP_ERR_INIT;
    struct sample s;
    fill(&s);
    add_registries(&s);
    kp_auto(kp_pulls) pulls = kp_pulls_new(&s.site, &s.site_node);
    const struct kp_pull *site = pull_of(pulls, "registry.site.example:5443");
    const struct kp_pull *hub = pull_of(pulls, "docker.io");
    kp_auto_free char *text = NULL, *mirrored = NULL, *crio = NULL, *policy = NULL;
    cr_assert_eq(kp_render_hosts(&text, site, true, &err), 0);
    golden_check("hosts-registry.toml", text);
    cr_expect(site->secret && !site->mirrored);
    cr_expect(!hub->secret && hub->mirrored, "the mirrors first");
    cr_expect_str_eq(hub->hosts[0].url, one[0]);
    cr_assert_eq(kp_render_hosts(&mirrored, hub, false, &err), 0);
    golden_check("hosts-mirrored-registry.toml", mirrored);
    cr_expect_eq(pull_of(pulls, KP_PULL_DEFAULT)->count, 1, "nothing else has another way");
    cr_assert_eq(kp_render_crio_registry(&crio, hub, &err), 0);
    golden_check("crio-registry.conf", crio);
    policy = kp_crio_policy(pulls);
    golden_check("crio-policy.json", policy);
    kp_registries_wipe(&s.inventory);
}

Test(runtime, credentials)
{
    struct sample s;
    fill(&s);
    cr_expect_null(kp_pull_auths(&s.inventory, true));
    add_registries(&s);
    kp_auto_json auths = kp_pull_auths(&s.inventory, false);
    kp_auto_free char *text = kp_json_dump(auths, false);
    cr_expect(strstr(text, "\"registry.site.example:5443\""), "%s", text);
    cr_expect(strstr(text, "Ym90OnBhc3M6d29yZA=="), "%s", text); // bot:pass:word
    cr_expect_null(strstr(text, "docker.io"));
    kp_registries_wipe(&s.inventory);
    cr_expect_null(s.registries[0].password);
}

/* seen crio rendered */
/* seen crun rendered */
/* seen selinux rendered */
Test(runtime, crio_configuration)
{
    struct sample s;
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *text = NULL, *enforcing = NULL;
    fill(&s);
    s.inventory.runtime = "crio";
    cr_assert_eq(kp_render_crio(&text, &s.site, &s.site_node, &err), 0, "%s", err.message);
    golden_check("crio.conf", text);
    add_registries(&s);
    s.inventory.oci_runtime = "crun";
    s.site_node.facts = json_pack("{s:{s:s}}", "system", "selinux", "enforcing");
    cr_assert_eq(kp_render_crio(&enforcing, &s.site, &s.site_node, &err), 0, "%s", err.message);
    golden_check("crio-crun-selinux.conf", enforcing);
    json_decref(s.site_node.facts);
    kp_registries_wipe(&s.inventory);
}

Test(runtime, images_as_crictl_lists_them)
{
    struct kp_image_state states[2] = {{.image = &images[0]}, {.image = &images[1]}};
    kp_auto_free char *text = kp_asprintf(
        "{\"images\":[{\"repoTags\":[\"registry.k8s.io/pause:3.9\"],\"repoDigests\":[\"registry."
        "k8s.io/pause@sha256:%s\"],\"pinned\":true},{\"repoTags\":[\"docker.io/flannel/flannel:"
        "v0.22.0\"],\"repoDigests\":[\"docker.io/flannel/flannel@sha256:1234\"]},{}]}",
        kp_digest_hex(&images[0].digest).hex);
    kp_auto_json listing = json_loads(text, 0, NULL);
    kp_images_read_cri(states, 2, listing);
    cr_expect(states[0].present && states[0].pinned);
    cr_expect(!states[1].present && !states[1].pinned, "another digest is another image");
}

Test(runtime, proxy)
{
    struct sample s;
    fill(&s);
    kp_auto_free char *none = kp_http_proxy_exceptions(&s.inventory);
    cr_expect_str_eq(none, "");
    static const char *more[] = {".site.example", NULL};
    s.inventory.proxy = (struct kp_http_proxy){NULL, "http://proxy.site.example:3128", more, 1};
    kp_auto_free char *some = kp_http_proxy_exceptions(&s.inventory);
    cr_expect_str_eq(some, "localhost,127.0.0.1,::1,10.77.0.11,cp1,10.77.0.21,w1,"
                           "demo.kpack.internal,10.233.64.0/18,10.233.0.0/18,.svc,.cluster.local,"
                           ".site.example");
}

#define NODES "nodes: [{name: a, address: 10.0.0.1, roles: [control-plane]}]\n"

static const struct {
    const char *flaw, *text, *message;
} flaws[] = {
    {"password in the open", "registries: [{host: r.example, username: u, password: secret}]\n",
     "unknown key"},
    {"host with a path", "registries: [{host: r.example/x}]\n", "is not a registry's host"},
    {"twice", "registries: [{host: r.example}, {host: r.example}]\n", "is there twice"},
    {"plain http", "registries: [{host: r.example, urls: [\"http://r.example\"]}]\n",
     "is not https://"},
    {"user in a URL", "registries: [{host: r.example, urls: [\"https://u:p@r.example\"]}]\n",
     "is not https://"},
    {"password without a user", "registries: [{host: r.example, password_file: x}]\n",
     "password_file without a username"},
    {"user in the proxy", "proxy: {https: \"http://u:p@proxy:3128\"}\n", "without a user"},
    {"a proxy that a unit would read otherwise", "proxy: {http: \"http://pro%xy:3128\"}\n",
     "is not http://"},
    {"an exception with a quote", "proxy: {http: \"http://p:1\", no_proxy: ['a\"b']}\n",
     "is not a host"},
    {"a runtime with a slash", "runtime: a/b\n", "is not the name of a runtime"},
};

Test(runtime, flaws_of_the_inventory)
{
    for (size_t i = 0; i < KP_COUNT(flaws); i++) {
        kp_auto(kp_inventory) inventory = NULL;
        struct kp_err err = KP_ERR_INIT;
        char path[] = "/tmp/kp-runtime-XXXXXX";
        int fd = mkstemp(path);
        kp_auto_free char *text = kp_asprintf("cluster: demo\n%s" NODES, flaws[i].text);
        cr_assert(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
        close(fd);
        cr_expect_eq(kp_inventory_load(&inventory, path, &err), -1, "%s", flaws[i].flaw);
        cr_expect(strstr(err.message, flaws[i].message), "%s: %s", flaws[i].flaw, err.message);
        unlink(path);
    }
}

Test(runtime, passwords_come_from_files_of_ones_own)
{
    struct sample s;
    struct kp_err err = KP_ERR_INIT;
    char path[] = "/tmp/kp-password-XXXXXX";
    int fd = mkstemp(path);
    fill(&s);
    cr_assert(write(fd, "pass:word\n", 10) == 10);
    s.registries[0] =
        (struct kp_registry){.host = "r.example", .username = "bot", .password_file = path};
    s.inventory.registry_count = 1;
    cr_assert_eq(fchmod(fd, 0644), 0);
    cr_expect_eq(kp_registries_unlock(&s.inventory, -1, &err), -1);
    cr_expect(strstr(err.message, "may be read by others"), "%s", err.message);
    cr_assert_eq(fchmod(fd, 0600), 0);
    cr_assert_eq(kp_registries_unlock(&s.inventory, -1, &err), 0, "%s", err.message);
    cr_expect_str_eq(s.registries[0].password, "pass:word");
    kp_registries_wipe(&s.inventory);
    s.registries[0].password_file = NULL;
    int pipe_fds[2];
    cr_assert_eq(pipe(pipe_fds), 0);
    cr_assert(write(pipe_fds[1], "from a pipe\n", 12) == 12);
    close(pipe_fds[1]);
    cr_assert_eq(kp_registries_unlock(&s.inventory, pipe_fds[0], &err), 0, "%s", err.message);
    cr_expect_str_eq(s.registries[0].password, "from a pipe");
    kp_registries_wipe(&s.inventory);
    close(pipe_fds[0]);
    close(fd);
    unlink(path);
}

Test(runtime, dial_timeout_by_version)
{
    cr_expect(!kp_knows_dial_timeout("1.7.27"));
    cr_expect(!kp_knows_dial_timeout("2.0.6"));
    cr_expect(kp_knows_dial_timeout("2.1.9"));
    cr_expect(kp_knows_dial_timeout("3.0.0"));
    cr_expect(!kp_knows_dial_timeout("next"));
}
