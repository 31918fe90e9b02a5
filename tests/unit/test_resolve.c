/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/resolve.h"

#include "core/file.h"
#include "pack/packages.h"
#include "pack/sources.h"
#include "package_fixture.h"

#include <criterion/criterion.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SUM "46baa60748b179164e80f5565d99dad642d554fb431925d211ffa921b917d5c7"
#define IMAGE(name, ref)                                                                           \
    "      - {name: " name ", ref: \"registry.k8s.io/" ref "\", roles: [worker]}\n"

static const char release_text[] =
    "kind: kpack.release/v1\nminor: \"1.30\"\ndefault: \"1.30.2\"\nreleases:\n  \"1.30.2\":\n"
    "    kubeadm_api: v1beta3\n    programs: [socat]\n    files:\n"
    "      - name: tools\n        version: \"2.0\"\n        url: "
    "https://dl.k8s.io/v{version}/tools-{arch}.tgz\n"
    "        sha256: {amd64: " SUM ", arm64: " SUM "}\n        roles: [worker]\n"
    "        install: [{member: \"tools-{version}/a\", path: /opt/a, mode: \"0644\"}, {path: "
    "/opt/b}]\n"
    "    images:\n" IMAGE("kube-apiserver", "kube-apiserver:v1.30.2") IMAGE(
        "kube-controller-manager",
        "kube-controller-manager:v1.30.2") IMAGE("kube-scheduler", "kube-scheduler:v1.30.2")
        IMAGE("kube-proxy", "kube-proxy:v1.30.2") IMAGE("etcd", "etcd:3") IMAGE(
            "coredns",
            "coredns/coredns:v1") "      - {name: pause, ref: \"registry.k8s.io/pause:3.9\", "
                                  "roles: [worker], digest: \"sha256:" SUM "\"}\n"
                                  "    networks:\n      none: {version: \"0\"}\n      "
                                  "flannel:\n        version: \"0.22.0\"\n"
                                  "        images: [{name: flannel, ref: "
                                  "\"docker.io/flannel/flannel:v0.22.0\", roles: [worker], "
                                  "expected: \"sha256:" SUM "\"}]\n"
                                  "        manifests: [{name: kube-flannel, url: "
                                  "\"https://github.com/v{version}/f.yml\"}]\n"
                                  "    addons:\n      store:\n        version: \"0.3\"\n"
                                  "        images: [{name: store, ref: \"quay.io/x/store:v0.3\", "
                                  "roles: [worker]}]\n"
                                  "        manifests: [{name: store, url: "
                                  "\"https://github.com/v{version}/s.yml\", checks: "
                                  "[{kind: volume, subject: store, what: a volume is written}]}]\n"
                                  "      vip: {version: \"1\"}\n";

struct fixture {
    char folder[64];
    struct kp_releases *releases;
    struct kp_text_list images, image_files, manifests, packages, waived, libexec;
    struct kp_request request;
};

static void write_text(const char *folder, const char *name, const char *text, size_t len)
{
    kp_auto_free char *path = kp_path_join(folder, name);
    kp_auto_free char *dir = kp_path_dir(path);
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_mkdirs(dir, 0755, &err), 0, "%s", err.message);
    cr_assert_eq(kp_file_write_atomic(path, (struct kp_slice){text, len}, 0755, &err), 0, "%s",
                 err.message);
}

static void write_program(const char *folder, const char *name, uint16_t machine, bool dynamic)
{
    struct {
        Elf64_Ehdr head;
        Elf64_Phdr segment;
    } elf = {.head = {.e_machine = machine,
                      .e_phoff = sizeof(Elf64_Ehdr),
                      .e_phentsize = sizeof(Elf64_Phdr),
                      .e_phnum = 1}};
    memcpy(elf.head.e_ident, ELFMAG, SELFMAG);
    elf.head.e_ident[EI_CLASS] = ELFCLASS64;
    elf.segment.p_type = dynamic ? PT_INTERP : PT_LOAD;
    write_text(folder, name, (const char *)&elf, sizeof(elf));
}

static void add(struct kp_text_list *list, const char *text)
{
    list->items[list->count++] = text;
}

static void setup(struct fixture *f)
{
    struct kp_err err = KP_ERR_INIT;
    memset(f, 0, sizeof(*f));
    strncpy(f->folder, "/tmp/kp-resolve-XXXXXX", sizeof(f->folder) - 1);
    cr_assert_not_null(mkdtemp(f->folder));
    cr_assert_eq(kp_releases_parse(&f->releases, kp_slice_of(release_text), "r.yaml", &err), 0,
                 "%s", err.message);
    write_program(f->folder, "amd64/kinstall", EM_X86_64, false);
    write_program(f->folder, "amd64/knode", EM_X86_64, false);
    write_program(f->folder, "amd64/kregistry", EM_X86_64, false);
    f->request = (struct kp_request){.releases = f->releases,
                                     .kubernetes = "v1.30",
                                     .arches = "amd64",
                                     .network = "flannel",
                                     .images = &f->images,
                                     .image_files = &f->image_files,
                                     .manifests = &f->manifests,
                                     .packages = &f->packages,
                                     .waived = &f->waived,
                                     .libexec = &f->libexec,
                                     .libexec_default = f->folder,
                                     .level = 3,
                                     .serial = 1700000000};
}

static void teardown(struct fixture *f)
{
    struct kp_err err = KP_ERR_INIT;
    kp_releases_free(f->releases);
    cr_assert_eq(kp_remove_tree(f->folder, &err), 0);
}

static int resolve(struct fixture *f, struct kp_plan **plan, struct kp_err *err)
{
    *err = KP_ERR_INIT;
    *plan = NULL;
    return kp_resolve(plan, &f->request, err);
}

static const struct kp_plan_image *image_of(const struct kp_plan *plan, const char *reference)
{
    for (size_t i = 0; i < plan->image_count; i++)
        if (strcmp(plan->images[i].reference, reference) == 0)
            return &plan->images[i];
    return NULL;
}

Test(resolve, a_plan)
{
    struct fixture f;
    struct kp_plan *plan;
    struct kp_err err;
    setup(&f);
    add(&f.images, "nginx");
    add(&f.images, "quay.io/a/b:1@sha256:" SUM);
    add(&f.images, "registry.k8s.io/pause:3.9"); // is there already
    add(&f.waived, "busybox:1");
    cr_assert_eq(resolve(&f, &plan, &err), 0, "%s", err.message);
    cr_assert_str_eq(plan->name, "k8s-v1.30.2-flannel-amd64");
    cr_assert_str_eq(plan->created, "2023-11-14T22:13:20Z");
    cr_assert_eq(plan->file_count, 1 + 3);
    cr_assert_str_eq(plan->files[0].url, "https://dl.k8s.io/v2.0/tools-amd64.tgz");
    cr_assert_str_eq(plan->files[0].installs[0].member, "tools-2.0/a");
    cr_assert_eq(plan->files[0].installs[0].mode, 0644);
    cr_assert_str_eq(plan->files[0].installs[1].name, "b");
    cr_assert_str_eq(plan->files[1].installs[0].target, "/usr/local/libexec/kpack/knode");
    cr_assert_eq(plan->image_count, 7 + 1 + 2);
    cr_assert_eq(image_of(plan, "registry.k8s.io/pause:3.9")->checked, KP_CHECKED_PINNED);
    cr_assert(image_of(plan, "docker.io/flannel/flannel:v0.22.0")->has_expected);
    cr_assert_str_eq(image_of(plan, "docker.io/flannel/flannel:v0.22.0")->why, "network flannel");
    cr_assert_not_null(image_of(plan, "docker.io/library/nginx:latest"));
    cr_assert(image_of(plan, "quay.io/a/b:1")->known);
    cr_assert_str_eq(plan->manifests[0].url, "https://github.com/v0.22.0/f.yml");
    cr_assert_str_eq(plan->waived[0], "docker.io/library/busybox:1");
    kp_plan_free(plan);
    teardown(&f);
}

static void check_fails(struct fixture *f, enum kp_code code, const char *message)
{
    struct kp_plan *plan;
    struct kp_err err;
    cr_assert_eq(resolve(f, &plan, &err), -1, "accepted; '%s' was expected", message);
    cr_expect_eq(err.code, code, "%s", err.message);
    cr_expect(strstr(err.message, message), "'%s' is not in '%s'", message, err.message);
}

#define RUNTIME(name, kind, config)                                                                \
    "      " name ":\n        kind: " kind "\n        version: \"1\"\n" config                     \
    "        files:\n          - {name: " name ", version: \"1\", url: \"https://x/" name          \
    "\", sha256: {amd64: " SUM "}, roles: [worker], install: [{path: /usr/local/bin/same}]}\n"

Test(resolve, runtimes)
{
    struct fixture f;
    struct kp_plan *plan;
    struct kp_err err;
    setup(&f);
    kp_auto_free char *text = kp_asprintf(
        "%s    runtime: old\n    runtimes:\n" RUNTIME("old", "containerd", "        config: 2\n")
            RUNTIME("crio", "crio", "") RUNTIME("crun", "oci", ""),
        release_text);
    kp_releases_free(f.releases);
    cr_assert_eq(kp_releases_parse(&f.releases, kp_slice_of(text), "r.yaml", &err), 0, "%s",
                 err.message);
    f.request.releases = f.releases;
    cr_assert_eq(resolve(&f, &plan, &err), 0, "%s", err.message);
    cr_assert_eq(plan->runtime_count, 1);
    cr_assert_eq(plan->containerd_config, 2);
    cr_assert_null(plan->files[0].runtime);
    cr_assert_str_eq(plan->files[1].runtime, "old");
    kp_plan_free(plan);
    f.request.runtimes = "crio,crun,old";
    cr_assert_eq(resolve(&f, &plan, &err), 0, "%s", err.message);
    cr_assert_eq(plan->runtime_count, 3);
    cr_assert_str_eq(plan->runtimes[0].name, "crio");
    cr_assert_str_eq(plan->files[2].runtime, "crun");
    kp_plan_free(plan);
    f.request.runtimes = "crun";
    check_fails(&f, KP_USAGE, "none of them is a containerd or crio");
    f.request.runtimes = "old,new";
    check_fails(&f, KP_USAGE, "no runtime 'new'; it has old, crio, crun");
    f.request.runtimes = "old,old";
    check_fails(&f, KP_USAGE, "old is named twice");
    f.request.runtimes = "";
    check_fails(&f, KP_USAGE, "--runtime: none is named");
    teardown(&f);
}

Test(resolve, user_files)
{
    struct fixture f;
    struct kp_plan *plan;
    struct kp_err err;
    setup(&f);
    write_text(f.folder, "list", "# mine\n\n quay.io/x/y:1 \nz\n", 26);
    write_text(f.folder, "my app.yaml", "a: 1\n", 5);
    write_text(f.folder, "2/my app.yaml", "a: 2\n", 5);
    static const char *const entries[] = {"./usr/bin/socat", NULL};
    kp_auto_value(kp_buf) deb_bytes = KP_BUF(65536), rpm_bytes = KP_BUF(65536);
    package_deb(&deb_bytes, "Package: socat\nVersion: 1.7.4.4-2\nArchitecture: amd64\n", entries);
    package_rpm(&rpm_bytes, entries + 1);
    write_text(f.folder, "socat_1.7.4.4-2_amd64.deb", deb_bytes.data, deb_bytes.len);
    write_text(f.folder, "tools-3.1-2.el9.noarch.rpm", rpm_bytes.data, rpm_bytes.len);
    kp_auto_free char *list = kp_path_join(f.folder, "list");
    kp_auto_free char *one = kp_path_join(f.folder, "my app.yaml");
    kp_auto_free char *two = kp_path_join(f.folder, "2/my app.yaml");
    kp_auto_free char *deb = kp_path_join(f.folder, "socat_1.7.4.4-2_amd64.deb");
    kp_auto_free char *rpm = kp_path_join(f.folder, "tools-3.1-2.el9.noarch.rpm");
    add(&f.image_files, list);
    add(&f.manifests, one);
    add(&f.manifests, two);
    add(&f.packages, deb);
    add(&f.packages, rpm);
    f.request.network = "none";
    cr_assert_eq(resolve(&f, &plan, &err), 0, "%s", err.message);
    cr_assert_not_null(image_of(plan, "docker.io/library/z:latest"));
    cr_assert_str_eq(plan->manifests[0].name, "my-app");
    cr_assert_str_eq(plan->manifests[1].name, "my-app-2");
    cr_assert_str_eq(plan->manifests[0].url, "file:my app.yaml");
    cr_assert_str_eq(plan->files[1].component, "socat.deb");
    cr_assert_str_eq(plan->files[1].version, "1.7.4.4-2");
    cr_assert_str_eq(plan->files[1].installs[0].target,
                     KP_PACKAGE_FOLDER "/socat_1.7.4.4-2_amd64.deb");
    cr_assert_str_eq(plan->files[1].programs[0], "socat");
    cr_assert_null(plan->files[1].programs[1]);
    cr_assert_str_eq(plan->files[2].version, "3.1-2.el9");
    cr_assert_null(plan->files[2].programs[0]);
    kp_plan_free(plan);
    f.request.arches = "amd64,arm64,amd64"; // arm64's own programs are not there
    cr_assert_eq(resolve(&f, &plan, &err), -1);
    cr_assert_eq(err.code, KP_MISSING);
    cr_assert_str_eq(err.reason, "missing_arch");
    teardown(&f);
}

Test(resolve, what_cannot_be)
{
    struct fixture f;
    setup(&f);
    f.request.arches = "amd64,x86";
    check_fails(&f, KP_USAGE, "'x86' is no architecture");
    f.request.arches = "s390x";
    check_fails(&f, KP_MISSING, "r.yaml:9: tools has no sha256 for s390x");
    f.request.arches = "amd64";
    f.request.network = "calico";
    check_fails(&f, KP_USAGE, "no network 'calico'; it has none, flannel");
    f.request.network = "none";
    f.request.kubernetes = "v1.31";
    check_fails(&f, KP_USAGE, "does not know Kubernetes v1.31");
    f.request.kubernetes = "1.30.2";
    add(&f.images, "quay.io/UPPER/x:1");
    check_fails(&f, KP_USAGE, "--image");
    f.images.items[0] =
        "registry.k8s.io/"
        "pause:3.9@sha256:0031c1b283388d2c2e09b57badb803c05ebed362dc88d84b480cc47f72a21097";
    check_fails(&f, KP_USAGE, "with another digest");
    f.images.count = 0;
    add(&f.manifests, "http://example.com/x.yaml");
    check_fails(&f, KP_USAGE, "https:// is needed");
    f.manifests.items[0] = "https://ann:secret@example.com/x.yaml";
    check_fails(&f, KP_USAGE, "without user, query or fragment");
    f.manifests.items[0] = "/nonexistent.yaml";
    check_fails(&f, KP_FAILED, "/nonexistent.yaml");
    f.manifests.count = 0;
    kp_auto_free char *package = kp_path_join(f.folder, "thing_1_amd64.deb");
    write_text(f.folder, "thing_1_amd64.deb", "PK\3\4........", 12);
    add(&f.packages, package);
    check_fails(&f, KP_USAGE, "is no .deb file");
    f.packages.count = 0;
    write_program(f.folder, "amd64/knode", EM_AARCH64, false);
    check_fails(&f, KP_USAGE, "knode is not for amd64");
    write_program(f.folder, "amd64/knode", EM_X86_64, true);
    check_fails(&f, KP_USAGE, "knode is dynamically linked");
    write_text(f.folder, "amd64/knode", "#!/bin/sh\n", 10);
    check_fails(&f, KP_USAGE, "knode is no program");
    teardown(&f);
}

Test(sources, release_files_by_minor)
{
    struct fixture f;
    struct kp_err err = KP_ERR_INIT;
    kp_auto(kp_releases) releases = NULL;
    setup(&f);
    write_text(f.folder, "share/kpack/releases/v1.30.yaml", release_text, sizeof(release_text) - 1);
    cr_assert_eq(kp_sources_release(&releases, "v1.30.9", NULL, f.folder, &err), 0, "%s",
                 err.message);
    kp_releases_free(kp_steal(&releases));
    cr_assert_eq(kp_sources_release(&releases, "v1.99", NULL, f.folder, &err), -1);
    cr_assert_str_eq(err.reason, "unknown_release");
    cr_assert(strstr(err.hint, ": v1.30;"), "%s", err.hint);
    cr_assert_eq(kp_sources_release(&releases, "../../etc/passwd", NULL, f.folder, &err), -1);
    cr_assert_eq(err.code, KP_USAGE);
    teardown(&f);
}

Test(resolve, add_ons)
{
    struct fixture f;
    struct kp_err err;
    struct kp_text_list with = {.count = 0};
    setup(&f);
    f.request.with = &with;
    add(&with, "store,vip,store");
    kp_auto_free char *file = kp_path_join(f.folder, "store.yaml");
    write_text(f.folder, "store.yaml", "a: 1\n", 5);
    add(&f.manifests, file);
    kp_auto(kp_plan) plan = NULL;
    cr_assert_eq(resolve(&f, &plan, &err), 0, "%s", err.message);
    cr_assert_eq(plan->manifest_count, 3, "%zu manifests", plan->manifest_count);
    const struct kp_plan_manifest *store = &plan->manifests[1], *own = &plan->manifests[2];
    cr_assert_null(plan->manifests[0].addon, "the network's is none");
    cr_assert_str_eq(store->addon, "store");
    cr_assert_str_eq(store->version, "0.3");
    cr_assert_str_eq(store->why, "add-on store");
    cr_assert_eq(store->check_count, 1);
    cr_assert_str_eq(store->checks[0].kind, "volume");
    cr_assert_str_eq(image_of(plan, "quay.io/x/store:v0.3")->why, "add-on store");
    cr_assert_str_eq(own->addon, "store-2", "%s", own->addon);
    with.items[0] = "stroe";
    kp_auto(kp_plan) none = NULL;
    cr_assert_eq(resolve(&f, &none, &err), -1);
    cr_assert_str_eq(err.reason, "unknown_addon");
    cr_assert(
        strstr(err.message, "--with: release v1.30.2 has no add-on 'stroe'; it has store, vip"),
        "%s", err.message);
    teardown(&f);
}
