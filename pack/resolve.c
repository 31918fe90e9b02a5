/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/resolve.h"

#include "bundle/names.h"
#include "core/file.h"
#include "core/text.h"
#include "core/zst.h"
#include "pack/own.h"
#include "pack/packages.h"
#include "pack/reference.h"

#define EVERY_NODE (KP_ROLE_CONTROL_PLANE | KP_ROLE_WORKER)

struct resolving {
    const struct kp_request *request;
    struct kp_plan *plan;
    struct kp_arena *arena;
    size_t arch_count, image_room, file_room, manifest_room;
    struct kp_err *err;
};

static size_t list_count(const struct kp_text_list *list)
{
    return list ? list->count : 0;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int kp_words_parse(const char ***out, struct kp_arena *arena, const char *text, size_t max,
                   const char *option, struct kp_err *err)
{
    const char **words = kp_arena_array(arena, max + 1, sizeof(*words));
    struct kp_slice rest = kp_slice_of(text), word;
    size_t count = 0;
    while (rest.len) {
        if (!kp_slice_cut(&rest, ',', &word)) {
            word = rest;
            rest.len = 0;
        }
        if (count == max)
            return kp_fail(err, KP_USAGE, "%s: more than %zu", option, max);
        words[count++] = kp_arena_strndup(arena, word.ptr, word.len);
    }
    if (!count)
        return kp_fail(err, KP_USAGE, "%s: none is named", option);
    *out = words;
    return 0;
}

int kp_arches_parse(const char ***out, struct kp_arena *arena, const char *text, struct kp_err *err)
{
    const char **arches;
    size_t count = 0;
    if (kp_words_parse(&arches, arena, text, KP_RELEASE_ARCHES_MAX, "--arch", err) < 0)
        return -1;
    for (; arches[count]; count++)
        if (!kp_arch_ok(arches[count]))
            return kp_fail(err, KP_USAGE, "--arch %s: '%s' is no architecture (amd64, arm64)", text,
                           arches[count]);
    qsort(arches, count, sizeof(*arches), compare_texts);
    size_t kept = 1;
    for (size_t i = 1; i < count; i++)
        if (strcmp(arches[i], arches[kept - 1]) != 0)
            arches[kept++] = arches[i];
    arches[kept] = NULL;
    *out = arches;
    return 0;
}

static struct kp_plan_file *add_file(struct resolving *r)
{
    if (r->plan->file_count == r->file_room) {
        size_t room = r->file_room ? r->file_room * 2 : 64;
        struct kp_plan_file *files = kp_arena_array(r->arena, room, sizeof(*files));
        if (r->file_room)
            memcpy(files, r->plan->files, r->file_room * sizeof(*files));
        r->plan->files = files;
        r->file_room = room;
    }
    return &r->plan->files[r->plan->file_count++];
}

static int add_release_file(struct resolving *r, const struct kp_release_file *file,
                            const char *arch, const char *runtime)
{
    const struct kp_digest *sum = kp_release_file_sum(file, arch);
    if (!sum)
        return kp_fail_as(r->err, KP_MISSING, "missing_arch", "%s:%u: %s has no sha256 for %s",
                          r->request->releases->path, file->line, file->name, arch);
    struct kp_plan_file *out = add_file(r);
    out->component = file->name;
    out->version = file->version;
    out->arch = arch;
    out->runtime = runtime;
    out->url = kp_release_expand(r->arena, file->url, file->version, arch);
    out->license = file->license;
    out->roles = file->roles;
    out->known = true;
    out->digest = *sum;
    out->checked = KP_CHECKED_PINNED;
    out->install_count = file->install_count;
    out->installs = kp_arena_array(r->arena, file->install_count, sizeof(*out->installs));
    for (size_t i = 0; i < file->install_count; i++) {
        const struct kp_release_install *install = &file->installs[i];
        struct kp_plan_install *to = &out->installs[i];
        if (install->member)
            to->member = kp_release_expand(r->arena, install->member, file->version, arch);
        to->target = install->path;
        to->name = kp_path_base(install->path);
        to->mode = install->mode;
    }
    return 0;
}

static struct kp_plan_image *find_image(struct kp_plan *plan, const char *reference)
{
    for (size_t i = 0; i < plan->image_count; i++)
        if (strcmp(plan->images[i].reference, reference) == 0)
            return &plan->images[i];
    return NULL;
}

static struct kp_plan_image *add_image(struct resolving *r, const char *reference, const char *why)
{
    if (r->plan->image_count == r->image_room) {
        size_t room = r->image_room ? r->image_room * 2 : 64;
        struct kp_plan_image *images = kp_arena_array(r->arena, room, sizeof(*images));
        if (r->image_room)
            memcpy(images, r->plan->images, r->image_room * sizeof(*images));
        r->plan->images = images;
        r->image_room = room;
    }
    struct kp_plan_image *image = &r->plan->images[r->plan->image_count++];
    *image = (struct kp_plan_image){.reference = reference, .why = why, .name = "", .license = ""};
    image->arches = r->plan->arches;
    return image;
}

static void add_release_image(struct resolving *r, const struct kp_release_image *from,
                              const char *why)
{
    if (find_image(r->plan, from->reference))
        return;
    struct kp_plan_image *image = add_image(r, from->reference, why);
    image->name = from->name;
    image->license = from->license;
    image->roles = from->roles;
    image->pinned = from->pinned;
    image->known = from->pin == KP_PIN_DIGEST;
    image->has_expected = from->pin == KP_PIN_EXPECTED;
    image->checked = image->known ? KP_CHECKED_PINNED : KP_CHECKED_SEEN;
    if (image->known)
        image->root = from->digest;
    if (image->has_expected)
        image->expected = from->digest;
}

/* Text as the user wrote it -> the full form; a digest beside a tag pins and is not part of the
 * name. */
static int add_user_image(struct resolving *r, const char *text, const char *why)
{
    struct kp_reference parsed;
    if (kp_reference_parse(&parsed, r->arena, text, r->err) < 0)
        return kp_wrap(r->err, "%s", why);
    struct kp_reference named = parsed;
    named.has_digest = parsed.has_digest && !parsed.tag;
    kp_auto_free char *full = kp_reference_text(&named);
    struct kp_plan_image *image = find_image(r->plan, full);
    if (image && parsed.has_digest && image->known &&
        !kp_digest_equal(&image->root, &parsed.digest))
        return kp_fail(r->err, KP_USAGE, "%s: %s is in the bundle with another digest", why, full);
    if (!image) {
        image = add_image(r, kp_arena_strdup(r->arena, full), why);
        image->roles = EVERY_NODE;
    }
    if (parsed.has_digest) {
        image->known = true;
        image->root = parsed.digest;
        image->checked = KP_CHECKED_PINNED;
    }
    return 0;
}

static int add_images_file(struct resolving *r, const char *path)
{
    kp_auto_free char *text = NULL;
    size_t len;
    unsigned number = 0;
    if (kp_file_read(path, KP_IMAGES_FILE_MAX, &text, &len, r->err) < 0)
        return kp_wrap(r->err, "--images");
    struct kp_slice rest = {text, len}, line;
    while (kp_slice_line(&rest, &line)) {
        number++;
        line = kp_slice_trim(line);
        if (!line.len || *line.ptr == '#')
            continue;
        const char *reference = kp_arena_strndup(r->arena, line.ptr, line.len);
        if (add_user_image(r, reference, "--images") < 0)
            return kp_wrap(r->err, "%s:%u", path, number);
    }
    return 0;
}

static struct kp_plan_manifest *add_manifest(struct resolving *r)
{
    if (r->plan->manifest_count == r->manifest_room) {
        size_t room = r->manifest_room ? r->manifest_room * 2 : 16;
        struct kp_plan_manifest *manifests = kp_arena_array(r->arena, room, sizeof(*manifests));
        if (r->manifest_room)
            memcpy(manifests, r->plan->manifests, r->manifest_room * sizeof(*manifests));
        r->plan->manifests = manifests;
        r->manifest_room = room;
    }
    return &r->plan->manifests[r->plan->manifest_count++];
}

static void add_release_manifest(struct resolving *r, const struct kp_release_manifest *from,
                                 const struct kp_release_part *part, const char *why)
{
    struct kp_plan_manifest *to = add_manifest(r);
    to->name = from->name;
    to->why = why;
    to->url = kp_release_expand(r->arena, from->url, part->version, NULL);
    to->known = from->has_sha256;
    to->digest = from->sha256;
    to->checked = to->known ? KP_CHECKED_PINNED : KP_CHECKED_SEEN;
    to->replace = from->replace;
    to->replace_count = from->replace_count;
    to->wait = from->wait;
    to->wait_count = from->wait_count;
    to->checks = from->checks;
    to->check_count = from->check_count;
}

/* "https://x/y/my app.yaml?raw=1" -> "my-app"; two of one name get a number. */
static const char *manifest_name(struct resolving *r, const char *source)
{
    char *base = kp_arena_strdup(r->arena, kp_path_base(source));
    base[strcspn(base, "?#")] = '\0';
    char *dot = strrchr(base, '.');
    if (dot && dot != base)
        *dot = '\0';
    for (char *p = base; *p; p++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", *p))
            *p = '-';
    const char *name = kp_name_ok(base) ? base : "manifest";
    const char *first = name;
    size_t number = 1;
    for (size_t i = 0; i + 1 < r->plan->manifest_count; i++)
        if (strcmp(r->plan->manifests[i].name, name) == 0 ||
            (r->plan->manifests[i].addon && strcmp(r->plan->manifests[i].addon, name) == 0)) {
            name = kp_arena_printf(r->arena, "%s-%zu", first, ++number);
            i = (size_t)-1; // from the start, with the new name
        }
    return name;
}

static int add_user_manifest(struct resolving *r, const char *source)
{
    struct kp_plan_manifest *to = add_manifest(r);
    to->why = "--manifest";
    if (kp_starts_with(source, "http://"))
        return kp_fail(r->err, KP_USAGE, "--manifest %s: https:// is needed", source);
    if (kp_starts_with(source, "https://")) {
        if (strpbrk(source, "?#@ ") || !kp_text_plain(source, KP_PATH_MAX))
            return kp_fail(r->err, KP_USAGE,
                           "--manifest %s: a URL without user, query or fragment is needed",
                           source);
        to->url = source;
    } else {
        to->local = source;
        to->known = true;
        to->checked = KP_CHECKED_LOCAL;
        if (!kp_text_plain(kp_path_base(source), KP_PATH_MAX))
            return kp_fail(r->err, KP_USAGE, "--manifest %s: a plain ASCII name is needed", source);
        to->url = kp_arena_printf(r->arena, "file:%s", kp_path_base(source));
        if (kp_sha256_file(source, &to->digest, &to->size, r->err) < 0)
            return kp_wrap(r->err, "--manifest");
    }
    to->name = to->addon = manifest_name(r, source);
    return 0;
}

static int add_release_files(struct resolving *r, const struct kp_release_file *files, size_t n,
                             const char *runtime)
{
    for (size_t i = 0; i < n; i++)
        for (size_t a = 0; r->plan->arches[a]; a++)
            if (add_release_file(r, &files[i], r->plan->arches[a], runtime) < 0)
                return -1;
    return 0;
}

/* The release's default, or what the command line names; at least one that a kubelet can ask. */
static int add_runtimes(struct resolving *r, const struct kp_release *release)
{
    const char *wanted = r->request->runtimes ? r->request->runtimes : release->runtime;
    struct kp_plan *plan = r->plan;
    const char **names;
    bool asked = false;
    if (!wanted)
        return 0; // containerd is among the files of all nodes
    if (kp_words_parse(&names, r->arena, wanted, KP_RUNTIMES_MAX, "--runtime", r->err) < 0)
        return -1;
    plan->runtimes = kp_arena_array(r->arena, KP_RUNTIMES_MAX, sizeof(*plan->runtimes));
    for (size_t i = 0; names[i]; i++) {
        const struct kp_release_runtime *runtime;
        if (kp_release_runtime(release, names[i], &runtime, r->err) < 0)
            return kp_wrap(r->err, "--runtime");
        for (size_t k = 0; k < i; k++)
            if (strcmp(names[k], names[i]) == 0)
                return kp_fail(r->err, KP_USAGE, "--runtime: %s is named twice", names[i]);
        if (add_release_files(r, runtime->files, runtime->file_count, runtime->is.name) < 0)
            return -1;
        asked = asked || runtime->is.kind != KP_RUNTIME_OCI;
        if (runtime->is.kind == KP_RUNTIME_CONTAINERD && !plan->containerd_config)
            plan->containerd_config = runtime->is.config;
        plan->runtimes[plan->runtime_count++] = runtime->is;
    }
    return asked ? 0
                 : kp_fail(r->err, KP_USAGE,
                           "--runtime %s: none of them is a containerd or crio, by which nodes run "
                           "pods",
                           wanted);
}

static int add_part(struct resolving *r, const struct kp_release_part *part, const char *why)
{
    if (add_release_files(r, part->files, part->file_count, NULL) < 0)
        return -1;
    for (size_t i = 0; i < part->image_count; i++)
        add_release_image(r, &part->images[i], why);
    for (size_t i = 0; i < part->manifest_count; i++)
        add_release_manifest(r, &part->manifests[i], part, why);
    return 0;
}

/* The add-on's manifests are taken away together, by its name. */
static int add_addon(struct resolving *r, const struct kp_release *release, const char *name)
{
    const struct kp_release_part *part;
    size_t first = r->plan->manifest_count;
    if (kp_release_addon(release, name, &part, r->err) < 0)
        return kp_wrap(r->err, "--with");
    const char *why = kp_arena_printf(r->arena, "add-on %s", part->name);
    for (size_t i = 0; i < first; i++)
        if (strcmp(r->plan->manifests[i].why, why) == 0)
            return 0;
    if (add_part(r, part, why) < 0)
        return -1;
    for (size_t i = first; i < r->plan->manifest_count; i++) {
        r->plan->manifests[i].addon = part->name;
        r->plan->manifests[i].version = part->version;
    }
    return 0;
}

static int add_addons(struct resolving *r, const struct kp_release *release)
{
    for (size_t i = 0; i < list_count(r->request->with); i++) {
        struct kp_slice rest = kp_slice_of(r->request->with->items[i]), word;
        while (rest.len) {
            if (!kp_slice_cut(&rest, ',', &word)) {
                word = rest;
                rest.len = 0;
            }
            if (add_addon(r, release, kp_arena_strndup(r->arena, word.ptr, word.len)) < 0)
                return -1;
        }
    }
    return 0;
}

static int add_own(struct resolving *r)
{
    for (size_t a = 0; r->plan->arches[a]; a++) {
        struct kp_plan_file own[KP_OWN_PROGRAMS] = {{0}};
        if (kp_own_find(r->arena, r->request->libexec, r->request->libexec_default,
                        r->plan->arches[a], own, r->err) < 0)
            return -1;
        for (size_t i = 0; i < KP_OWN_PROGRAMS; i++)
            *add_file(r) = own[i];
    }
    return 0;
}

static int add_package(struct resolving *r, const char *path)
{
    bool used = false;
    for (size_t a = 0; r->plan->arches[a]; a++) {
        struct kp_plan_file file = {0};
        bool matches;
        if (kp_package_describe(r->arena, path, r->plan->arches[a], r->plan->programs, &file,
                                &matches, r->err) < 0)
            return -1;
        if (matches)
            *add_file(r) = file;
        used |= matches;
    }
    return used ? 0
                : kp_fail(r->err, KP_USAGE,
                          "--package %s: is for none of the bundle's architectures", path);
}

static int add_user_parts(struct resolving *r)
{
    const struct kp_request *request = r->request;
    for (size_t i = 0; i < list_count(request->images); i++)
        if (add_user_image(r, request->images->items[i], "--image") < 0)
            return -1;
    for (size_t i = 0; i < list_count(request->image_files); i++)
        if (add_images_file(r, request->image_files->items[i]) < 0)
            return -1;
    for (size_t i = 0; i < list_count(request->manifests); i++)
        if (add_user_manifest(r, request->manifests->items[i]) < 0)
            return -1;
    for (size_t i = 0; i < list_count(request->packages); i++)
        if (add_package(r, request->packages->items[i]) < 0)
            return -1;
    return 0;
}

static void set_head(struct resolving *r, const struct kp_release *release)
{
    struct kp_plan *plan = r->plan;
    const char *arches = "";
    time_t now = r->request->serial ? (time_t)r->request->serial : time(NULL);
    for (size_t i = 0; plan->arches[i]; i++)
        arches = kp_arena_printf(r->arena, "%s-%s", arches, plan->arches[i]);
    plan->kpack = KP_VERSION;
    plan->release_path = r->request->releases->path;
    plan->kubernetes = kp_arena_printf(r->arena, "v%s", release->version);
    plan->kubeadm_api = release->kubeadm_api;
    plan->containerd_config = release->containerd_config;
    plan->network = r->request->network;
    plan->programs = release->programs;
    plan->name = kp_arena_printf(r->arena, "k8s-%s-%s%s", plan->kubernetes, plan->network, arches);
    plan->serial = (uint64_t)now;
    plan->created = kp_arena_strdup(r->arena, kp_text_utc(now).s);
    plan->zstd = kp_zst_version();
    plan->level = r->request->level;
}

static int set_waived(struct resolving *r)
{
    const struct kp_text_list *waived = r->request->waived;
    const char **out = kp_arena_array(r->arena, list_count(waived) + 1, sizeof(*out));
    for (size_t i = 0; i < list_count(waived); i++) {
        struct kp_reference parsed;
        if (kp_reference_parse(&parsed, r->arena, waived->items[i], r->err) < 0)
            return kp_wrap(r->err, "--waive");
        kp_auto_free char *full = kp_reference_text(&parsed);
        out[i] = kp_arena_strdup(r->arena, full);
    }
    r->plan->waived = out;
    return 0;
}

int kp_resolve(struct kp_plan **out, const struct kp_request *request, struct kp_err *err)
{
    const struct kp_release *release;
    const struct kp_release_part *network;
    kp_auto(kp_plan) plan = kp_plan_new();
    struct resolving r = {.request = request, .plan = plan, .arena = plan->arena, .err = err};
    if (kp_releases_find(request->releases, request->kubernetes, &release, err) < 0 ||
        kp_release_network(release, request->network, &network, err) < 0 ||
        kp_arches_parse(&plan->arches, plan->arena, request->arches, err) < 0)
        return -1;
    set_head(&r, release);
    const char *why = kp_arena_printf(plan->arena, "network %s", network->name);
    if (add_part(&r, &release->core, "release") < 0 || add_runtimes(&r, release) < 0 ||
        add_part(&r, network, why) < 0 || add_addons(&r, release) < 0 || add_user_parts(&r) < 0 ||
        add_own(&r) < 0 || set_waived(&r) < 0)
        return -1;
    *out = kp_steal(&plan);
    return 0;
}
