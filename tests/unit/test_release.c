/* SPDX-License-Identifier: Apache-2.0 */
#include "manifests/programs.h"
#include "manifests/release.h"
#include "manifests/walk.h"

#include "core/buf.h"
#include "core/file.h"

#include <criterion/criterion.h>
#include <stdio.h>

Test(release, the_one_that_ships)
{
    kp_auto(kp_releases) releases = NULL;
    const struct kp_release *release;
    const struct kp_release_part *network;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_releases_load(&releases, KP_RELEASES "/v1.30.yaml", &err), 0, "%s",
                 err.message);
    cr_assert_eq(kp_releases_find(releases, "v1.30", &release, &err), 0);
    cr_assert_str_eq(release->version, "1.30.14");
    cr_assert_str_eq(release->kubeadm_api, "v1beta3");
    const struct kp_release_runtime *runtime;
    cr_assert_str_eq(release->runtime, "containerd-1.7");
    cr_assert_eq(kp_release_runtime(release, "containerd-2.1", &runtime, &err), 0);
    cr_assert_str_eq(runtime->is.version, "2.1.5");
    cr_assert_eq(runtime->is.config, 3);
    cr_assert_eq(kp_release_runtime(release, "crio", &runtime, &err), 0);
    cr_assert_eq(runtime->is.kind, KP_RUNTIME_CRIO);
    cr_assert_eq(kp_release_runtime(release, "docker", &runtime, &err), -1);
    cr_assert_str_eq(err.reason, "unknown_runtime");
    cr_assert(strstr(err.message, "containerd-1.7, containerd-2.0"), "%s", err.message);
    cr_assert_eq(kp_release_network(release, "flannel", &network, &err), 0);
    cr_assert_eq(network->image_count, 2);
    cr_assert_eq(network->manifest_count, 1);
    cr_assert_str_eq(network->manifests[0].replace[0].with, "flannel-network");
    cr_assert_str_eq(network->manifests[0].wait[0].kind, "daemonset");
    cr_assert_eq(kp_release_network(release, "none", &network, &err), 0);
    cr_assert_eq(network->image_count, 0);
    size_t pinned = 0, expected = 0;
    for (size_t i = 0; i < release->core.image_count; i++) {
        pinned += release->core.images[i].pin == KP_PIN_DIGEST;
        expected += release->core.images[i].pin == KP_PIN_EXPECTED;
    }
    cr_assert_eq(pinned, 4, "confirmed: kube-apiserver, pause, coredns, etcd");
    cr_assert_eq(expected, 3);
    for (size_t i = 0; i < release->core.file_count; i++) {
        cr_assert_not_null(kp_release_file_sum(&release->core.files[i], "amd64"));
        cr_assert_not_null(kp_release_file_sum(&release->core.files[i], "arm64"));
        cr_assert_null(kp_release_file_sum(&release->core.files[i], "s390x"));
    }
}

static const struct {
    const char *minor, *newest, *kubeadm_api, *pause, *runtime;
} shipped[] = {
    {"v1.30", "1.30.14", "v1beta3", "registry.k8s.io/pause:3.9", "containerd-1.7"},
    {"v1.31", "1.31.14", "v1beta4", "registry.k8s.io/pause:3.10", "containerd-2.1"},
    {"v1.32", "1.32.13", "v1beta4", "registry.k8s.io/pause:3.10", "containerd-2.2"},
    {"v1.33", "1.33.13", "v1beta4", "registry.k8s.io/pause:3.10", "containerd-2.2"},
    {"v1.34", "1.34.11", "v1beta4", "registry.k8s.io/pause:3.10.1", "containerd-2.3"},
    {"v1.35", "1.35.8", "v1beta4", "registry.k8s.io/pause:3.10.1", "containerd-2.3"},
    {"v1.36", "1.36.4", "v1beta4", "registry.k8s.io/pause:3.10.2", "containerd-2.3"},
};

static bool has_image(const struct kp_release *release, const char *reference)
{
    for (size_t i = 0; i < release->core.image_count; i++)
        if (strcmp(release->core.images[i].reference, reference) == 0)
            return true;
    return false;
}

Test(release, all_that_ship)
{
    for (size_t i = 0; i < KP_COUNT(shipped); i++) {
        kp_auto(kp_releases) releases = NULL;
        const struct kp_release *release;
        struct kp_err err = KP_ERR_INIT;
        kp_auto_free char *path = kp_asprintf(KP_RELEASES "/%s.yaml", shipped[i].minor);
        cr_assert_eq(kp_releases_load(&releases, path, &err), 0, "%s", err.message);
        cr_assert_eq(kp_releases_find(releases, shipped[i].minor, &release, &err), 0, "%s",
                     err.message);
        cr_assert_str_eq(release->version, shipped[i].newest);
        cr_assert_str_eq(release->kubeadm_api, shipped[i].kubeadm_api);
        cr_assert_str_eq(release->runtime, shipped[i].runtime);
        cr_assert(has_image(release, shipped[i].pause), "%s", shipped[i].minor);
    }
}

Test(release, nearest)
{
    static const char *const known[] = {"1.30.4", "1.30.8", "1.30.14"};
    cr_assert_str_eq(kp_kubernetes_nearest("1.30.5", known, 3), "1.30.4");
    cr_assert_str_eq(kp_kubernetes_nearest("1.30.6", known, 3), "1.30.8", "the newer of two");
    cr_assert_str_eq(kp_kubernetes_nearest("1.30.99", known, 3), "1.30.14");
    cr_assert_null(kp_kubernetes_nearest("1.30.99", known, 0));
}

static const struct {
    const char *text, *minor, *full;
} versions[] = {
    {"v1.30", "1.30", ""},        {"1.30", "1.30", ""},   {"v1.30.14", "1.30", "1.30.14"},
    {"1.30.0", "1.30", "1.30.0"}, {"30", NULL, NULL},     {"v1", NULL, NULL},
    {"v1.30.", NULL, NULL},       {"v1.030", NULL, NULL}, {"v1.30.14-rc.0", NULL, NULL},
    {"vv1.30", NULL, NULL},       {"", NULL, NULL},       {"1.30.14 ", NULL, NULL},
    {"v1.99999", NULL, NULL},
};

Test(release, versions_as_people_write_them)
{
    for (size_t i = 0; i < KP_COUNT(versions); i++) {
        struct kp_kubernetes_version version;
        bool ok = kp_kubernetes_version_parse(versions[i].text, &version);
        cr_assert_eq(ok, versions[i].minor != NULL, "'%s'", versions[i].text);
        if (ok) {
            cr_assert_str_eq(version.minor, versions[i].minor);
            cr_assert_str_eq(version.full, versions[i].full);
        }
    }
}

#define SUM "46baa60748b179164e80f5565d99dad642d554fb431925d211ffa921b917d5c7"
#define IMAGES(version)                                                                            \
    "      - {name: kube-apiserver, ref: \"registry.k8s.io/kube-apiserver:v" version               \
    "\", roles: [worker]}\n"                                                                       \
    "      - {name: kube-controller-manager, ref: "                                                \
    "\"registry.k8s.io/kube-controller-manager:v" version "\", roles: [worker]}\n"                 \
    "      - {name: kube-scheduler, ref: \"registry.k8s.io/kube-scheduler:v" version               \
    "\", roles: [worker]}\n"                                                                       \
    "      - {name: kube-proxy, ref: \"registry.k8s.io/kube-proxy:v" version                       \
    "\", roles: [worker]}\n"                                                                       \
    "      - {name: etcd, ref: \"registry.k8s.io/etcd:3.5.15-0\", roles: [worker]}\n"              \
    "      - {name: coredns, ref: \"registry.k8s.io/coredns/coredns:v1.11.3\", roles: [worker]}\n" \
    "      - {name: pause, ref: \"registry.k8s.io/pause:3.9\", roles: [worker]}\n"
#define HEAD                                                                                       \
    "kind: kpack.release/v1\nminor: \"1.30\"\ndefault: \"1.30.1\"\nreleases:\n  \"1.30.1\":\n"     \
    "    kubeadm_api: v1beta3\n"
#define FILE_HEAD "    files:\n      - name: kubelet\n        version: \"1\"\n"
#define FILE_REST                                                                                  \
    "        url: https://dl.k8s.io/kubelet\n        sha256: {amd64: " SUM                         \
    "}\n        roles: [worker]\n"
#define INSTALL "        install: [{path: /usr/local/bin/kubelet}]\n"

static int parse(struct kp_releases **out, const char *text, struct kp_err *err)
{
    return kp_releases_parse(out, kp_slice_of(text), "r.yaml", err);
}

Test(release, the_smallest_that_is_enough)
{
    kp_auto(kp_releases) releases = NULL;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(
        parse(&releases, HEAD FILE_HEAD FILE_REST INSTALL "    images:\n" IMAGES("1.30.1"), &err),
        0, "%s", err.message);
    cr_assert_eq(releases->items[0].core.files[0].installs[0].mode, 0755);
    cr_assert_eq(releases->items[0].core.images[0].pin, KP_PIN_NONE);
    const struct kp_release *release;
    cr_assert_eq(kp_releases_find(releases, "v1.30.2", &release, &err), -1);
    cr_assert_str_eq(err.message, "r.yaml does not know Kubernetes v1.30.2");
    cr_assert(strstr(err.hint, "v1.30.1"), "%s", err.hint);
    err = KP_ERR_INIT;
    cr_assert_eq(kp_releases_find(releases, "1.31", &release, &err), -1);
    cr_assert_eq(err.code, KP_USAGE);
    cr_assert_eq(kp_releases_find(releases, "next", &release, &err), -1);
}

static const struct {
    const char *flaw, *text, *message;
} flaws[] = {
    {"another kind", "kind: kpack.mirrors/v1\nminor: \"1\"\ndefault: \"1\"\n",
     "r.yaml:1:7: kind: kpack.release/v1 is needed"},
    {"no default of that name",
     "kind: kpack.release/v1\nminor: \"1.30\"\ndefault: \"1.30.9\"\nreleases: {}\n",
     "r.yaml:3:10: default: 1.30.9 is not among the releases"},
    {"version of another minor",
     "kind: kpack.release/v1\nminor: \"1.31\"\ndefault: \"1.30.1\"\nreleases:\n  \"1.30.1\":\n"
     "    kubeadm_api: v1beta3\n    images:\n" IMAGES("1.30.1"),
     "r.yaml:5:3: releases: 1.30.1 does not belong to 1.31"},
    {"tag that kubeadm does not take", HEAD "    images:\n" IMAGES("1.30.2"),
     "r.yaml:6:5: releases.1.30.1: images: kube-apiserver is "
     "registry.k8s.io/kube-apiserver:v1.30.2"},
    {"no image of etcd", HEAD "    images: []\n",
     "r.yaml:6:5: releases.1.30.1: images: 'kube-apiserver' is missing; kubeadm needs it"},
    {"unknown key", HEAD "    fils: []\n",
     "r.yaml:7:5: releases.1.30.1.fils: unknown key, did you mean 'files'?"},
    {"http", HEAD FILE_HEAD "        url: http://x/y\n",
     "r.yaml:10:14: releases.1.30.1.files[0].url: an https://"},
    {"user in a URL", HEAD FILE_HEAD "        url: https://a@x/y\n",
     "r.yaml:10:14: releases.1.30.1.files[0].url: an https://"},
    {"sum too short",
     HEAD FILE_HEAD
     "        url: https://x/y\n        roles: [worker]\n        sha256: {amd64: ab}\n",
     "r.yaml:12:25: releases.1.30.1.files[0].sha256.amd64: a SHA-256 of 64"},
    {"sum of no architecture",
     HEAD FILE_HEAD
     "        url: https://x/y\n        roles: [worker]\n        sha256: {amd65: " SUM "}\n",
     "r.yaml:12:25: releases.1.30.1.files[0].sha256.amd65: 'amd65' is no architecture"},
    {"no install", HEAD FILE_HEAD FILE_REST,
     "r.yaml:8:9: releases.1.30.1.files[0]: install is missing"},
    {"relative path", HEAD FILE_HEAD FILE_REST "        install: [{path: usr/bin/x}]\n",
     "r.yaml:13:26: releases.1.30.1.files[0].install[0].path: an absolute, normalised path"},
    {"path upwards", HEAD FILE_HEAD FILE_REST "        install: [{path: /usr/../x}]\n",
     "r.yaml:13:26: releases.1.30.1.files[0].install[0].path: an absolute, normalised path"},
    {"setuid", HEAD FILE_HEAD FILE_REST "        install: [{path: /x, mode: \"4755\"}]\n",
     "r.yaml:13:36: releases.1.30.1.files[0].install[0].mode: octal digits within 0755"},
    {"unknown role", HEAD FILE_HEAD "        url: https://x/y\n        roles: [master]\n",
     "r.yaml:11:16: releases.1.30.1.files[0].roles: control-plane, worker or etcd is needed, not "
     "'master'"},
    {"no roles", HEAD FILE_HEAD "        url: https://x/y\n",
     "r.yaml:8:9: releases.1.30.1.files[0]: roles are missing"},
    {"image without tag",
     HEAD "    images: [{name: a, ref: registry.k8s.io/pause, roles: [worker]}]\n",
     "r.yaml:7:29: releases.1.30.1.images[0].ref: a full reference"},
    {"image without registry", HEAD "    images: [{name: a, ref: \"nginx:1\", roles: [worker]}]\n",
     "r.yaml:7:29: releases.1.30.1.images[0].ref: a full reference"},
    {"digest and expected",
     HEAD "    images: [{name: a, ref: \"k.io/a:1\", roles: [worker], digest: x, expected: y}]\n",
     "r.yaml:7:79: releases.1.30.1.images[0].expected: either digest or expected"},
    {"runtime that is not there", HEAD "    runtime: x\n",
     "r.yaml:7:14: releases.1.30.1.runtime: the name of one of `runtimes`"},
    {"runtimes without a default",
     HEAD "    runtimes: {a: {kind: crio, version: \"1\", files: [{name: a, version: \"1\", url: "
          "\"https://x/y\", roles: [worker], sha256: {amd64: " SUM "}, install: [{path: /a}]}]}}\n",
     "r.yaml:6:5: releases.1.30.1: the name of one of `runtimes`"},
    {"containerd without the version of its configuration",
     HEAD "    runtimes: {a: {kind: containerd, version: \"1\", files: []}}\n",
     "r.yaml:7:19: releases.1.30.1.runtimes.a: the version of containerd's configuration"},
    {"replace by an unknown value",
     HEAD "    networks: {f: {version: \"1\", manifests: [{name: m, url: \"https://x/y\", replace: "
          "[{find: a, with: nodes}]}]}}\n",
     "r.yaml:7:102: releases.1.30.1.networks.f.manifests[0].replace[0].with: one of pods, "
     "services, cluster"},
};

Test(release, flaws_are_named)
{
    for (size_t i = 0; i < KP_COUNT(flaws); i++) {
        struct kp_releases *releases = NULL;
        struct kp_err err = KP_ERR_INIT;
        cr_assert_eq(parse(&releases, flaws[i].text, &err), -1, "%s was accepted", flaws[i].flaw);
        cr_assert_eq(err.code, KP_USAGE);
        cr_expect(strncmp(err.message, flaws[i].message, strlen(flaws[i].message)) == 0,
                  "%s: got '%s'", flaws[i].flaw, err.message);
    }
}

Test(release, expand)
{
    kp_auto(kp_arena) arena = kp_arena_new();
    cr_assert_str_eq(
        kp_release_expand(arena, "https://x/v{version}/{arch}/{version}", "1.2", "amd64"),
        "https://x/v1.2/amd64/1.2");
    cr_assert_str_eq(kp_release_expand(arena, "{arch}{x}{", "1", NULL), "{arch}{x}{");
}

Test(programs, packages_by_family)
{
    cr_assert_str_eq(kp_program_package("conntrack", KP_FAMILY_DEBIAN), "conntrack");
    cr_assert_str_eq(kp_program_package("conntrack", KP_FAMILY_RHEL), "conntrack-tools");
    cr_assert_str_eq(kp_program_package("tc", KP_FAMILY_RHEL), "iproute-tc");
    cr_assert_str_eq(kp_program_package("frobnicate", KP_FAMILY_SUSE), "frobnicate");
    cr_assert_eq(kp_family_of("rocky", "rhel centos fedora"), KP_FAMILY_RHEL);
    cr_assert_eq(kp_family_of("linuxmint", "ubuntu debian"), KP_FAMILY_DEBIAN);
    cr_assert_eq(kp_family_of("mine", NULL), KP_FAMILIES);
    cr_assert_eq(kp_family_of(NULL, NULL), KP_FAMILIES);
}

static int note_scalar(void *user, const struct kp_walk_scalar *scalar, struct kp_err *err)
{
    struct kp_buf *out = user;
    (void)err;
    kp_buf_addf(out, "%u:%u %s [%s] %.*s;", scalar->line, scalar->column, scalar->path, scalar->key,
                (int)scalar->text.len, scalar->text.ptr);
    return 0;
}

Test(walk, places_of_values)
{
    kp_auto_value(kp_buf) seen = KP_BUF(4096);
    struct kp_err err = KP_ERR_INIT;
    const char *text = "a: &x 1\nb: [2, {c: !t 3}]\n---\nd: *x\ne: {f: [[4]]}\n";
    cr_assert_eq(kp_yaml_walk(kp_slice_of(text), "m.yaml", note_scalar, &seen, &err), 0, "%s",
                 err.message);
    cr_assert_str_eq(seen.data,
                     "1:4 a [a] 1;2:5 b[0] [b] 2;2:12 b[1].c [c] 3;5:10 e.f[0][0] [f] 4;");
}

Test(walk, what_is_no_yaml)
{
    kp_auto_value(kp_buf) seen = KP_BUF(1 << 20);
    kp_auto_value(kp_buf) deep = KP_BUF(4096);
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_yaml_walk(kp_slice_of("a: {b"), "m.yaml", note_scalar, &seen, &err), -1);
    cr_assert(strncmp(err.message, "m.yaml:2:1: ", 12) == 0, "%s", err.message);
    cr_assert_eq(kp_yaml_walk(kp_slice_of("[a]: b"), "m.yaml", note_scalar, &seen, &err), -1);
    for (int i = 0; i < KP_WALK_DEPTH_MAX + 1; i++)
        kp_buf_adds(&deep, "[");
    cr_assert_eq(kp_yaml_walk(kp_buf_slice(&deep), "m.yaml", note_scalar, &seen, &err), -1);
    cr_assert(strstr(err.message, "nested too deeply"), "%s", err.message);
}
