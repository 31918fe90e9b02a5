/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/sources.h"

#include "core/file.h"
#include "pack/own.h"

#include <dirent.h>
#include <stdlib.h>

#define RELEASE_FILES_MAX 256

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* "v1.30, v1.31; the nearest is v1.31" of the folder's v*.yaml. */
static const char *known_minors(struct kp_arena *arena, const char *folder, const char *minor)
{
    const char *names[RELEASE_FILES_MAX], *out = "";
    size_t count = 0;
    DIR *dir = opendir(folder);
    for (const struct dirent *e; dir && (e = readdir(dir));)
        if (e->d_name[0] == 'v' && kp_ends_with(e->d_name, ".yaml") && count < RELEASE_FILES_MAX)
            names[count++] = kp_arena_strndup(arena, e->d_name, strlen(e->d_name) - 5);
    if (dir)
        closedir(dir);
    qsort(names, count, sizeof(*names), compare_names);
    for (size_t i = 0; i < count; i++)
        out = kp_arena_printf(arena, "%s%s%s", out, i ? ", " : "", names[i]);
    const char *nearest = kp_kubernetes_nearest(minor, names, count);
    return nearest ? kp_arena_printf(arena, "%s; the nearest is %s", out, nearest) : "none";
}

int kp_sources_release(struct kp_releases **out, const char *kubernetes, const char *file,
                       const char *base, struct kp_err *err)
{
    struct kp_kubernetes_version version;
    if (file)
        return kp_releases_load(out, file, err);
    if (!kp_kubernetes_version_parse(kubernetes, &version))
        return kp_fail(err, KP_USAGE, "--k8s %s: write v1.30 or v1.30.14", kubernetes);
    kp_auto(kp_arena) arena = kp_arena_new();
    const char *folder = kp_arena_printf(arena, "%s/share/kpack/releases", base);
    const char *path = kp_arena_printf(arena, "%s/v%s.yaml", folder, version.minor);
    if (kp_file_exists(path))
        return kp_releases_load(out, path, err);
    const char *known = known_minors(arena, folder, version.minor);
    kp_fail_as(err, KP_USAGE, "unknown_release", "--k8s %s: there is no release file for v%s",
               kubernetes, version.minor);
    return kp_hint(err, "in %s: %s; give your own by --release FILE (docs/releases.md)", folder,
                   known);
}

/* By what the file holds; of a chart "NAMESPACE/NAME=" does not count. */
static int match_manifests(struct kp_plan *plan, const struct kp_text_list *paths,
                           const char *option, struct kp_err *err)
{
    for (size_t i = 0; paths && i < paths->count; i++) {
        const char *equals = strchr(paths->items[i], '=');
        const char *path = equals ? equals + 1 : paths->items[i];
        struct kp_digest digest;
        uint64_t size;
        if (kp_starts_with(path, "https://"))
            continue;
        if (kp_sha256_file(path, &digest, &size, err) < 0)
            return kp_wrap(err, "%s", option);
        for (size_t k = 0; k < plan->manifest_count; k++) {
            struct kp_plan_manifest *manifest = &plan->manifests[k];
            if (kp_digest_equal(manifest->made ? &manifest->made->digest : &manifest->digest,
                                &digest))
                manifest->local = path;
        }
    }
    return 0;
}

static int match_file(struct kp_plan *plan, const char *path, const char *option,
                      struct kp_err *err)
{
    struct kp_digest digest;
    uint64_t size;
    if (kp_sha256_file(path, &digest, &size, err) < 0)
        return kp_wrap(err, "%s", option);
    for (size_t i = 0; i < plan->file_count; i++)
        if (kp_digest_equal(&plan->files[i].digest, &digest))
            plan->files[i].local = path;
    return 0;
}

static void match_own(struct kp_plan *plan, const struct kp_request *request, const char *arch)
{
    struct kp_plan_file own[KP_OWN_PROGRAMS] = {{0}};
    struct kp_err ignored = KP_ERR_INIT; // the cache may have what is not built here
    if (kp_own_find(plan->arena, request->libexec, request->libexec_default, arch, own, &ignored) <
        0)
        return;
    for (size_t i = 0; i < plan->file_count; i++)
        for (size_t k = 0; k < KP_OWN_PROGRAMS; k++)
            if (strcmp(plan->files[i].url, KP_OWN_URL) == 0 &&
                kp_digest_equal(&plan->files[i].digest, &own[k].digest))
                plan->files[i].local = own[k].local;
}

int kp_sources_find(struct kp_plan *plan, const struct kp_request *request, struct kp_err *err)
{
    if (match_manifests(plan, request->manifests, "--manifest", err) < 0 ||
        match_manifests(plan, request->network_manifests, "--network-manifest", err) < 0 ||
        match_manifests(plan, request->charts, "--chart", err) < 0)
        return -1;
    for (size_t i = 0; i < request->packages->count; i++)
        if (match_file(plan, request->packages->items[i], "--package", err) < 0)
            return -1;
    for (size_t i = 0; request->hooks && i < request->hooks->count; i++) {
        const char *equals = strchr(request->hooks->items[i], '=');
        if (match_file(plan, equals ? equals + 1 : request->hooks->items[i], "--hook", err) < 0)
            return -1;
    }
    for (size_t i = 0; plan->arches[i]; i++)
        match_own(plan, request, plan->arches[i]);
    return 0;
}
