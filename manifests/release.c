/* SPDX-License-Identifier: Apache-2.0 */
#include "manifests/release.h"

#include "bundle/names.h"
#include "manifests/replace.h"
#include "manifests/yaml.h"

#include <stdio.h>

struct reading {
    struct kp_arena *arena;
    struct kp_err *err;
};

/* Reads each element of a list by `read`; returns the array, or NULL after a failure. */
typedef int read_element(struct reading *in, const struct kp_yaml *node, void *out);

static int read_elements(struct reading *in, struct kp_yaml_reader *r, const char *key, size_t max,
                         size_t size, read_element *read, void *array_out, size_t *count)
{
    const struct kp_yaml *list = kp_yaml_list(r, key, max, false);
    size_t n = list ? list->count : 0;
    char *items = kp_arena_array(in->arena, n, size);
    for (size_t i = 0; i < n; i++)
        if (read(in, list->items[i], items + i * size) < 0) {
            r->failed = true;
            return -1;
        }
    memcpy(array_out, &items, sizeof(items));
    *count = n;
    return r->failed ? -1 : 0;
}
#define READ_ELEMENTS(in, r, key, max, read, array, count)                                         \
    read_elements(in, r, key, max, sizeof(**(array)), read, array, count)

/* The same for a mapping name -> value. */
typedef int read_named(struct reading *in, const char *name, const struct kp_yaml *node, void *out);

static int read_entries(struct reading *in, struct kp_yaml_reader *r, const char *key, size_t max,
                        size_t size, read_named *read, void *array_out, size_t *count)
{
    const struct kp_yaml *map = kp_yaml_map(r, key, false);
    size_t n = map ? map->count : 0;
    if (n > max)
        kp_yaml_complain(r, key, "at most %zu are allowed", max);
    char *items = kp_arena_array(in->arena, n, size);
    for (size_t i = 0; i < n && !r->failed; i++)
        if (read(in, map->keys[i], map->items[i], items + i * size) < 0)
            r->failed = true;
    memcpy(array_out, &items, sizeof(items));
    *count = n;
    return r->failed ? -1 : 0;
}
#define READ_ENTRIES(in, r, key, max, read, array, count)                                          \
    read_entries(in, r, key, max, sizeof(**(array)), read, array, count)

static const char *read_ruled(struct kp_yaml_reader *r, const char *key, bool (*rule)(const char *),
                              const char *needed)
{
    const char *text = kp_yaml_text_required(r, key);
    if (!r->failed && !rule(text))
        kp_yaml_complain(r, key, "%s is needed, not '%s'", needed, text);
    return text;
}

static const char *read_name(struct kp_yaml_reader *r, const char *key)
{
    return read_ruled(r, key, kp_name_ok, "a name (letters, digits, . _ + -)");
}

static bool is_url(const char *text)
{
    return kp_starts_with(text, "https://") && text[8] && !strpbrk(text, " \t@?#");
}

static const char *read_url(struct kp_yaml_reader *r)
{
    return read_ruled(r, "url", is_url, "an https:// URL without user, query or fragment");
}

static struct kp_digest read_digest(struct kp_yaml_reader *r, const char *key)
{
    struct kp_digest digest = {{0}};
    const char *text = kp_yaml_text_required(r, key);
    if (!r->failed && !kp_digest_parse(kp_slice_of(text), &digest))
        kp_yaml_complain(r, key, "a SHA-256 of 64 lower-case hex digits is needed, not '%s'", text);
    return digest;
}

static unsigned read_roles(struct kp_yaml_reader *r)
{
    unsigned roles = 0;
    size_t count;
    const char **texts = kp_yaml_texts(r, "roles", 3, &count);
    for (size_t i = 0; i < count; i++) {
        unsigned role = kp_role_parse(texts[i]);
        if (!role)
            kp_yaml_complain(r, "roles", "control-plane, worker or etcd is needed, not '%s'",
                             texts[i]);
        roles |= role;
    }
    if (!roles && !r->failed)
        kp_yaml_complain(r, "roles", "roles are missing: which nodes get it?");
    return roles;
}

static const char *read_license(struct kp_yaml_reader *r)
{
    return kp_yaml_text(r, "license", "");
}

static int read_install(struct reading *in, const struct kp_yaml *node, void *out)
{
    struct kp_release_install *install = out;
    struct kp_yaml_reader r = kp_yaml_read(node, in->err);
    install->member = kp_yaml_text(&r, "member", NULL);
    install->path = read_ruled(&r, "path", kp_target_ok, "an absolute, normalised path");
    const char *mode = kp_yaml_text(&r, "mode", "0755");
    uint64_t bits = 0;
    if (!kp_parse_octal(kp_slice_of(mode), 0755, &bits) || (bits & ~(uint64_t)0755))
        kp_yaml_complain(&r, "mode", "octal digits within 0755 are needed, not '%s'", mode);
    install->mode = (unsigned)bits;
    return kp_yaml_finish(&r);
}

static int read_sum(struct reading *in, const char *name, const struct kp_yaml *node, void *out)
{
    struct kp_release_sum *sum = out;
    sum->arch = name;
    if (!kp_arch_ok(name))
        return kp_yaml_fail(node, in->err, "'%s' is no architecture (amd64, arm64)", name);
    if (node->type != KP_YAML_SCALAR || !kp_digest_parse(kp_slice_of(node->text), &sum->sha256))
        return kp_yaml_fail(node, in->err, "a SHA-256 of 64 lower-case hex digits is needed");
    return 0;
}

static int read_file(struct reading *in, const struct kp_yaml *node, void *out)
{
    struct kp_release_file *file = out;
    struct kp_yaml_reader r = kp_yaml_read(node, in->err);
    file->line = node->line;
    file->name = read_name(&r, "name");
    file->version = read_ruled(&r, "version", kp_version_ok, "a version");
    file->url = read_url(&r);
    file->license = read_license(&r);
    file->roles = read_roles(&r);
    if (READ_ENTRIES(in, &r, "sha256", KP_RELEASE_ARCHES_MAX, read_sum, &file->sums,
                     &file->sum_count) < 0 ||
        READ_ELEMENTS(in, &r, "install", KP_RELEASE_INSTALLS_MAX, read_install, &file->installs,
                      &file->install_count) < 0)
        return -1;
    if (!file->sum_count)
        kp_yaml_complain(&r, "sha256", "sha256 is missing: one per architecture");
    if (!file->install_count)
        kp_yaml_complain(&r, "install", "install is missing: where does it go?");
    return kp_yaml_finish(&r);
}

/* A pinned digest is confirmed, an expected one is known from one source; both together make no
 * sense. */
static void read_pin(struct kp_yaml_reader *r, struct kp_release_image *image)
{
    const struct kp_yaml *digest = kp_yaml_node(r, "digest", false);
    const struct kp_yaml *expected = kp_yaml_node(r, "expected", false);
    if (digest && expected)
        kp_yaml_complain(r, "expected", "either digest or expected, not both");
    if (!digest && !expected)
        return;
    image->pin = digest ? KP_PIN_DIGEST : KP_PIN_EXPECTED;
    image->digest = read_digest(r, digest ? "digest" : "expected");
}

static int read_image(struct reading *in, const struct kp_yaml *node, void *out)
{
    struct kp_release_image *image = out;
    struct kp_yaml_reader r = kp_yaml_read(node, in->err);
    image->line = node->line;
    image->name = read_name(&r, "name");
    image->reference =
        read_ruled(&r, "ref", kp_reference_ok,
                   "a full reference with registry and tag (registry.k8s.io/pause:3.9)");
    image->roles = read_roles(&r);
    image->pinned = kp_yaml_bool(&r, "pinned", false);
    image->license = read_license(&r);
    read_pin(&r, image);
    return kp_yaml_finish(&r);
}

static int read_replace(struct reading *in, const struct kp_yaml *node, void *out)
{
    const char *values[KP_REPLACE_KINDS + 1] = {NULL};
    struct kp_replace *replace = out;
    struct kp_yaml_reader r = kp_yaml_read(node, in->err);
    for (size_t i = 0; i < KP_REPLACE_KINDS; i++)
        values[i] = kp_replace_kinds[i].with;
    replace->find = kp_yaml_text_required(&r, "find");
    kp_yaml_text_required(&r, "with");
    replace->with = values[kp_yaml_choice(&r, "with", values, 0)];
    return kp_yaml_finish(&r);
}

static int read_wait(struct reading *in, const struct kp_yaml *node, void *out)
{
    static const char *const kinds[] = {"daemonset", "deployment", "statefulset",
                                        "job",       "crd",        NULL};
    struct kp_wait *wait = out;
    struct kp_yaml_reader r = kp_yaml_read(node, in->err);
    kp_yaml_text_required(&r, "kind");
    wait->kind = kinds[kp_yaml_choice(&r, "kind", kinds, 0)];
    wait->namespace_ = kp_yaml_text(&r, "namespace", "");
    wait->name = kp_yaml_text_required(&r, "name");
    return kp_yaml_finish(&r);
}

static int read_check(struct reading *in, const struct kp_yaml *node, void *out)
{
    struct kp_addon_check *check = out;
    struct kp_yaml_reader r = kp_yaml_read(node, in->err);
    kp_yaml_text_required(&r, "kind");
    check->kind = kp_addon_check_kinds[kp_yaml_choice(&r, "kind", kp_addon_check_kinds, 0)];
    check->subject = kp_yaml_text_required(&r, "subject");
    check->what = kp_yaml_text_required(&r, "what");
    if (!r.failed && (strlen(check->subject) >= KP_CHECK_TEXT_MAX || !check->subject[0]))
        kp_yaml_complain(&r, "subject", "1 to %d bytes are needed", KP_CHECK_TEXT_MAX - 1);
    return kp_yaml_finish(&r);
}

static int read_edit(struct reading *in, const struct kp_yaml *node, void *out)
{
    struct kp_edit *edit = out;
    struct kp_yaml_reader r = kp_yaml_read(node, in->err);
    edit->find = kp_yaml_text_required(&r, "find");
    edit->put = kp_yaml_text_required(&r, "put");
    if (!r.failed && !*edit->find)
        kp_yaml_complain(&r, "find", "the text to find is empty");
    return kp_yaml_finish(&r);
}

static int read_manifest(struct reading *in, const struct kp_yaml *node, void *out)
{
    struct kp_release_manifest *manifest = out;
    struct kp_yaml_reader r = kp_yaml_read(node, in->err);
    manifest->name = read_name(&r, "name");
    manifest->url = read_url(&r);
    manifest->has_sha256 = kp_yaml_node(&r, "sha256", false) != NULL;
    if (manifest->has_sha256)
        manifest->sha256 = read_digest(&r, "sha256");
    manifest->take_images = manifest->is_chart || kp_yaml_bool(&r, "take_images", false);
    if (manifest->is_chart) {
        const struct kp_yaml *values = kp_yaml_map(&r, "values", false);
        kp_auto_free char *json = values ? kp_yaml_json(values) : kp_strdup("");
        manifest->values = kp_arena_strdup(in->arena, json);
        manifest->namespace_ = read_ruled(&r, "namespace", kp_name_ok, "a namespace");
    }
    if (READ_ELEMENTS(in, &r, "edit", 32, read_edit, &manifest->edits, &manifest->edit_count) < 0 ||
        READ_ELEMENTS(in, &r, "replace", 32, read_replace, &manifest->replace,
                      &manifest->replace_count) < 0 ||
        READ_ELEMENTS(in, &r, "wait", 32, read_wait, &manifest->wait, &manifest->wait_count) < 0 ||
        READ_ELEMENTS(in, &r, "checks", 32, read_check, &manifest->checks, &manifest->check_count) <
            0)
        return -1;
    return kp_yaml_finish(&r);
}

static int read_chart(struct reading *in, const struct kp_yaml *node, void *out)
{
    struct kp_release_manifest *manifest = out;
    manifest->is_chart = true;
    return read_manifest(in, node, out);
}

/* Charts come after the manifests, in one list. */
static int read_charts(struct reading *in, struct kp_yaml_reader *r, struct kp_release_part *part)
{
    struct kp_release_manifest *charts;
    size_t count;
    if (READ_ELEMENTS(in, r, "charts", KP_RELEASE_FILES_MAX, read_chart, &charts, &count) < 0)
        return -1;
    struct kp_release_manifest *all =
        kp_arena_array(in->arena, part->manifest_count + count, sizeof(*all));
    if (part->manifest_count)
        memcpy(all, part->manifests, part->manifest_count * sizeof(*all));
    if (count)
        memcpy(all + part->manifest_count, charts, count * sizeof(*all));
    part->manifests = all;
    part->manifest_count += count;
    return 0;
}

static int read_lists(struct reading *in, struct kp_yaml_reader *r, struct kp_release_part *part)
{
    if (READ_ELEMENTS(in, r, "files", KP_RELEASE_FILES_MAX, read_file, &part->files,
                      &part->file_count) < 0 ||
        READ_ELEMENTS(in, r, "images", KP_RELEASE_IMAGES_MAX, read_image, &part->images,
                      &part->image_count) < 0)
        return -1;
    if (READ_ELEMENTS(in, r, "manifests", KP_RELEASE_FILES_MAX, read_manifest, &part->manifests,
                      &part->manifest_count) < 0)
        return -1;
    return read_charts(in, r, part);
}

static int read_part(struct reading *in, const char *name, const struct kp_yaml *node, void *out)
{
    struct kp_release_part *part = out;
    struct kp_yaml_reader r = kp_yaml_read(node, in->err);
    if (!kp_name_ok(name))
        return kp_yaml_fail(node, in->err, "'%s' is no name", name);
    part->name = name;
    static const char *const phases[] = {"addons", "network", NULL};
    part->version = read_ruled(&r, "version", kp_version_ok, "a version");
    part->network = kp_yaml_choice(&r, "phase", phases, 0) == 1;
    if (read_lists(in, &r, part) < 0)
        return -1;
    return kp_yaml_finish(&r);
}

static int read_runtime(struct reading *in, const char *name, const struct kp_yaml *node, void *out)
{
    struct kp_release_runtime *runtime = out;
    struct kp_yaml_reader r = kp_yaml_read(node, in->err);
    if (!kp_name_ok(name))
        return kp_yaml_fail(node, in->err, "'%s' is no name", name);
    runtime->is.name = name;
    kp_yaml_text_required(&r, "kind");
    runtime->is.kind = (enum kp_runtime_kind)kp_yaml_choice(&r, "kind", kp_runtime_kinds, 0);
    runtime->is.version = read_ruled(&r, "version", kp_version_ok, "a version");
    bool containerd = runtime->is.kind == KP_RUNTIME_CONTAINERD;
    runtime->is.config = (unsigned)kp_yaml_number(&r, "config", 0, 16, 0);
    if (!r.failed && containerd != (runtime->is.config > 0))
        kp_yaml_complain(&r, "config",
                         "the version of containerd's configuration: 2, 3 or 4; for "
                         "containerd only");
    if (READ_ELEMENTS(in, &r, "files", KP_RELEASE_FILES_MAX, read_file, &runtime->files,
                      &runtime->file_count) < 0)
        return -1;
    if (!runtime->file_count)
        kp_yaml_complain(&r, "files", "a runtime without files");
    return kp_yaml_finish(&r);
}

/* Both forms: `runtimes:` with a default of theirs, or containerd among the files of all nodes. */
static void read_runtimes(struct reading *in, struct kp_yaml_reader *r, struct kp_release *release)
{
    const struct kp_release_runtime *chosen = NULL;
    release->runtime = kp_yaml_text(r, "runtime", NULL);
    if (READ_ENTRIES(in, r, "runtimes", KP_RELEASE_RUNTIMES_MAX, read_runtime, &release->runtimes,
                     &release->runtime_count) < 0)
        return;
    for (size_t i = 0; release->runtime && i < release->runtime_count; i++)
        if (strcmp(release->runtimes[i].is.name, release->runtime) == 0)
            chosen = &release->runtimes[i];
    if (release->runtime_count ? !chosen || chosen->is.kind == KP_RUNTIME_OCI : !!release->runtime)
        kp_yaml_complain(r, "runtime",
                         "the name of one of `runtimes` that is a containerd or crio is needed");
    if (!release->runtime_count)
        release->containerd_config = (unsigned)kp_yaml_number(r, "containerd_config", 1, 16, 2);
}

static const struct kp_release_image *find_image(const struct kp_release_part *part,
                                                 const char *name)
{
    for (size_t i = 0; i < part->image_count; i++)
        if (strcmp(part->images[i].name, name) == 0)
            return &part->images[i];
    return NULL;
}

/* kubeadm's static pods and add-ons take these images, and the kube-* ones by the release's tag. */
static int check_core_images(struct reading *in, const struct kp_yaml *node,
                             const struct kp_release *release)
{
    static const char *const needed[] = {"kube-apiserver", "kube-controller-manager",
                                         "kube-scheduler", "kube-proxy",
                                         "etcd",           "coredns",
                                         "pause"};
    for (size_t i = 0; i < KP_COUNT(needed); i++) {
        const struct kp_release_image *image = find_image(&release->core, needed[i]);
        if (!image)
            return kp_yaml_fail(node, in->err, "images: '%s' is missing; kubeadm needs it",
                                needed[i]);
        kp_auto_free char *tag = kp_asprintf(":v%s", release->version);
        if (kp_starts_with(needed[i], "kube-") && !kp_ends_with(image->reference, tag))
            return kp_yaml_fail(node, in->err, "images: %s is %s, but kubeadm takes the tag %s",
                                needed[i], image->reference, tag + 1);
    }
    return 0;
}

/* The program that renders charts: one member of an archive per architecture, installed nowhere. */
static int read_helm(struct reading *in, struct kp_yaml_reader *r, struct kp_release *release)
{
    const struct kp_yaml *node = kp_yaml_map(r, "helm", false);
    if (!node)
        return 0;
    struct kp_release_file *helm = kp_arena_alloc(in->arena, sizeof(*helm));
    struct kp_yaml_reader inner = kp_yaml_read(node, in->err);
    helm->name = "helm";
    helm->line = node->line;
    helm->version = read_ruled(&inner, "version", kp_version_ok, "a version");
    helm->url = read_url(&inner);
    helm->license = read_license(&inner);
    helm->install_count = 1;
    helm->installs = kp_arena_alloc(in->arena, sizeof(*helm->installs));
    helm->installs->member = kp_yaml_text_required(&inner, "member");
    if (READ_ENTRIES(in, &inner, "sha256", KP_RELEASE_ARCHES_MAX, read_sum, &helm->sums,
                     &helm->sum_count) < 0)
        return -1;
    release->helm = helm;
    return kp_yaml_finish(&inner);
}

static int read_release(struct reading *in, const char *name, const struct kp_yaml *node, void *out)
{
    struct kp_release *release = out;
    struct kp_kubernetes_version version;
    struct kp_yaml_reader r = kp_yaml_read(node, in->err);
    if (!kp_kubernetes_version_parse(name, &version) || strcmp(version.full, name) != 0)
        return kp_yaml_fail(node, in->err, "'%s' is no version like 1.30.14", name);
    release->version = name;
    release->core.name = "release";
    release->core.version = name;
    release->kubeadm_api = read_name(&r, "kubeadm_api");
    read_runtimes(in, &r, release);
    release->programs = kp_yaml_texts(&r, "programs", 64, NULL);
    for (size_t i = 0; release->programs[i]; i++)
        if (!kp_name_ok(release->programs[i]))
            kp_yaml_complain(&r, "programs", "'%s' is no program's name", release->programs[i]);
    if (read_helm(in, &r, release) < 0 || read_lists(in, &r, &release->core) < 0 ||
        READ_ENTRIES(in, &r, "networks", KP_RELEASE_NETWORKS_MAX, read_part, &release->networks,
                     &release->network_count) < 0 ||
        READ_ENTRIES(in, &r, "addons", KP_RELEASE_NETWORKS_MAX, read_part, &release->addons,
                     &release->addon_count) < 0 ||
        kp_yaml_finish(&r) < 0)
        return -1;
    return check_core_images(in, node, release);
}

static int check_versions(const struct kp_releases *releases, struct kp_yaml_reader *r)
{
    bool found = false;
    for (size_t i = 0; i < releases->count; i++) {
        struct kp_kubernetes_version version;
        kp_kubernetes_version_parse(releases->items[i].version, &version);
        if (strcmp(version.minor, releases->minor) != 0)
            kp_yaml_complain(r, "releases", "%s does not belong to %s", releases->items[i].version,
                             releases->minor);
        found |= strcmp(releases->items[i].version, releases->default_version) == 0;
    }
    if (!found)
        kp_yaml_complain(r, "default", "%s is not among the releases", releases->default_version);
    return kp_yaml_finish(r);
}

static int read_document(struct kp_releases *releases, struct kp_err *err)
{
    struct reading in = {.arena = kp_yaml_arena(releases->document), .err = err};
    struct kp_yaml_reader r = kp_yaml_read(kp_yaml_root(releases->document), err);
    const char *kind = kp_yaml_text_required(&r, "kind");
    if (strcmp(kind, KP_RELEASE_KIND) != 0)
        kp_yaml_complain(&r, "kind", "%s is needed, not '%s'", KP_RELEASE_KIND, kind);
    releases->minor = kp_yaml_text_required(&r, "minor");
    releases->default_version = kp_yaml_text_required(&r, "default");
    if (READ_ENTRIES(&in, &r, "releases", KP_RELEASES_MAX, read_release, &releases->items,
                     &releases->count) < 0)
        return -1;
    return check_versions(releases, &r);
}

static int finish_parse(struct kp_releases **out, struct kp_yaml_document *document,
                        const char *name, struct kp_err *err)
{
    kp_auto(kp_releases) releases = kp_alloc(sizeof(*releases));
    releases->document = document;
    releases->path = kp_arena_strdup(kp_yaml_arena(document), name);
    if (read_document(releases, err) < 0)
        return -1;
    *out = kp_steal(&releases);
    return 0;
}

int kp_releases_parse(struct kp_releases **out, struct kp_slice text, const char *name,
                      struct kp_err *err)
{
    struct kp_yaml_document *document;
    if (kp_yaml_parse(&document, text, name, err) < 0)
        return -1;
    return finish_parse(out, document, name, err);
}

int kp_releases_load(struct kp_releases **out, const char *path, struct kp_err *err)
{
    struct kp_yaml_document *document;
    if (kp_yaml_load(&document, path, err) < 0)
        return -1;
    return finish_parse(out, document, path, err);
}

void kp_releases_free(struct kp_releases *releases)
{
    if (!releases)
        return;
    kp_yaml_document_free(releases->document);
    kp_free(releases);
}
