/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/resolve.h"

#include "bundle/names.h"
#include "core/file.h"
#include "core/text.h"
#include "core/zst.h"
#include "pack/hooks.h"
#include "pack/own.h"
#include "pack/packages.h"
#include "pack/reference.h"
#include "pack/resolve_chart.h"

struct resolving {
    const struct kp_request *request;
    struct kp_plan *plan;
    struct kp_arena *arena;
    size_t file_room;
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

static void add_release_image(struct resolving *r, const struct kp_release_image *from,
                              const char *why)
{
    if (kp_plan_find_image(r->plan, from->reference))
        return;
    struct kp_plan_image *image = kp_plan_add_image(r->plan, from->reference, why);
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
        if (kp_plan_want_image(r->plan, reference, "--images", r->err) < 0)
            return kp_wrap(r->err, "%s:%u", path, number);
    }
    return 0;
}

/* The text of a release's own values stands before the user's. */
static void add_making(struct resolving *r, struct kp_plan_manifest *to,
                       const struct kp_release_manifest *from)
{
    struct kp_plan_made *made = kp_arena_alloc(r->arena, sizeof(*made));
    made->known = to->known;
    made->digest = to->digest;
    made->edits = from->edits;
    made->edit_count = from->edit_count;
    made->values = kp_arena_array(r->arena, 2, sizeof(*made->values));
    if (from->is_chart) {
        made->namespace_ = from->namespace_;
        made->values[0] = *from->values ? from->values : NULL;
    }
    to->made = made;
    to->known = false;
}

static void add_release_manifest(struct resolving *r, const struct kp_release_manifest *from,
                                 const struct kp_release_part *part, const char *why)
{
    struct kp_plan_manifest *to = kp_plan_add_manifest(r->plan);
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
    to->take_images = from->take_images;
    to->checks = from->checks;
    to->check_count = from->check_count;
    if (from->is_chart || from->edit_count)
        add_making(r, to, from);
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

static int add_user_manifest(struct resolving *r, const char *option, const char *why,
                             const char *source)
{
    struct kp_plan_manifest *to = kp_plan_add_manifest(r->plan);
    to->why = why;
    if (kp_plan_set_source(r->plan, to, option, source, r->err) < 0)
        return -1;
    to->name = manifest_name(r, source);
    if (!kp_starts_with(why, "network "))
        to->addon = to->name;
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

/* The release's, or the user's own by --network-manifest, under a name that the release does not
 * have. */
static int add_network(struct resolving *r, const struct kp_release *release)
{
    const struct kp_request *request = r->request;
    const struct kp_release_part *network;
    struct kp_err ignored = KP_ERR_INIT;
    const char *why = kp_arena_printf(r->arena, "network %s", request->network);
    if (!list_count(request->network_manifests))
        return kp_release_network(release, request->network, &network, r->err) < 0
                   ? -1
                   : add_part(r, network, why);
    if (kp_release_network(release, request->network, &network, &ignored) == 0)
        return kp_fail(r->err, KP_USAGE,
                       "--network-manifest is a network of your own, but --network %s is one of "
                       "the release; leave it out or give another name",
                       request->network);
    if (!kp_name_ok(request->network))
        return kp_fail(r->err, KP_USAGE, "--network %s: no name (letters, digits, . _ + -)",
                       request->network);
    for (size_t i = 0; i < request->network_manifests->count; i++)
        if (add_user_manifest(r, "--network-manifest", why, request->network_manifests->items[i]) <
            0)
            return -1;
    return 0;
}

/* The add-on's manifests are taken away together, by its name. */
static int add_addon(struct resolving *r, const struct kp_release *release, const char *name)
{
    const struct kp_release_part *part;
    size_t first = r->plan->manifest_count;
    if (kp_release_addon(release, name, &part, r->err) < 0)
        return kp_wrap(r->err, "--with");
    const char *kind = part->network ? "network" : "add-on";
    const char *why = kp_arena_printf(r->arena, "%s %s", kind, part->name);
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

static int add_hooks(struct resolving *r)
{
    size_t count = list_count(r->request->hooks);
    struct kp_plan *plan = r->plan;
    if (count > KP_HOOKS_MAX)
        return kp_fail(r->err, KP_USAGE, "more than %d --hook", KP_HOOKS_MAX);
    plan->hooks = kp_arena_array(r->arena, count, sizeof(*plan->hooks));
    for (size_t i = 0; i < count; i++) {
        struct kp_plan_file file;
        if (kp_hook_describe(r->arena, r->request->hooks->items[i], i + 1, &plan->hooks[i], &file,
                             r->err) < 0)
            return -1;
        for (size_t a = 0; plan->arches[a]; a++) {
            struct kp_plan_file *to = add_file(r);
            *to = file;
            to->arch = plan->arches[a];
            to->installs = kp_arena_alloc(r->arena, sizeof(*to->installs));
            *to->installs = *file.installs;
        }
        plan->hook_count++;
    }
    return 0;
}

static int add_user_parts(struct resolving *r)
{
    const struct kp_request *request = r->request;
    for (size_t i = 0; i < list_count(request->images); i++)
        if (kp_plan_want_image(r->plan, request->images->items[i], "--image", r->err) < 0)
            return -1;
    for (size_t i = 0; i < list_count(request->image_files); i++)
        if (add_images_file(r, request->image_files->items[i]) < 0)
            return -1;
    for (size_t i = 0; i < list_count(request->manifests); i++)
        if (add_user_manifest(r, "--manifest", "--manifest", request->manifests->items[i]) < 0)
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
    kp_auto(kp_plan) plan = kp_plan_new();
    struct resolving r = {.request = request, .plan = plan, .arena = plan->arena, .err = err};
    if (kp_releases_find(request->releases, request->kubernetes, &release, err) < 0 ||
        kp_arches_parse(&plan->arches, plan->arena, request->arches, err) < 0)
        return -1;
    set_head(&r, release);
    if (add_part(&r, &release->core, "release") < 0 || add_runtimes(&r, release) < 0 ||
        add_network(&r, release) < 0 || add_addons(&r, release) < 0 || add_user_parts(&r) < 0 ||
        kp_resolve_charts(plan, request, release->helm, err) < 0 || add_hooks(&r) < 0 ||
        add_own(&r) < 0 || set_waived(&r) < 0)
        return -1;
    *out = kp_steal(&plan);
    return 0;
}
