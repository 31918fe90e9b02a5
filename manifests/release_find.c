/* SPDX-License-Identifier: Apache-2.0 */
#include "core/text.h"
#include "manifests/release.h"

#include <stdio.h>

/* Digits without a leading zero, at most four. */
static bool take_number(struct kp_slice *s, struct kp_slice *out)
{
    uint64_t ignored;
    size_t n = 0;
    while (n < s->len && s->ptr[n] >= '0' && s->ptr[n] <= '9')
        n++;
    *out = (struct kp_slice){s->ptr, n};
    *s = (struct kp_slice){s->ptr + n, s->len - n};
    return kp_parse_u64(*out, 9999, &ignored);
}

static bool take_dot(struct kp_slice *s)
{
    if (!s->len || *s->ptr != '.')
        return false;
    *s = (struct kp_slice){s->ptr + 1, s->len - 1};
    return true;
}

bool kp_kubernetes_version_parse(const char *text, struct kp_kubernetes_version *out)
{
    struct kp_slice s = kp_slice_of(text[0] == 'v' ? text + 1 : text), major, minor, patch;
    memset(out, 0, sizeof(*out));
    if (!take_number(&s, &major) || !take_dot(&s) || !take_number(&s, &minor))
        return false;
    snprintf(out->minor, sizeof(out->minor), "%.*s.%.*s", (int)major.len, major.ptr, (int)minor.len,
             minor.ptr);
    if (!s.len)
        return true;
    if (!take_dot(&s) || !take_number(&s, &patch) || s.len)
        return false;
    snprintf(out->full, sizeof(out->full), "%s.%.*s", out->minor, (int)patch.len, patch.ptr);
    return true;
}

static const char *known_versions(struct kp_arena *arena, const struct kp_releases *releases)
{
    const char *out = "";
    for (size_t i = 0; i < releases->count; i++)
        out = kp_arena_printf(arena, "%s%sv%s", out, i ? ", " : "", releases->items[i].version);
    return out;
}

static uint64_t last_number(const char *version)
{
    const char *dot = strrchr(version, '.');
    uint64_t n = 0;
    return dot && kp_parse_u64(kp_slice_of(dot + 1), UINT32_MAX, &n) ? n : 0;
}

const char *kp_kubernetes_nearest(const char *wanted, const char *const *known, size_t count)
{
    const char *best = NULL;
    uint64_t want = last_number(wanted), least = UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        uint64_t have = last_number(known[i]);
        uint64_t distance = have > want ? have - want : want - have;
        // Of two that are as near the newer one.
        if (distance < least || (distance == least && have > want)) {
            least = distance;
            best = known[i];
        }
    }
    return best;
}

static const char *nearest_release(const struct kp_releases *releases,
                                   const struct kp_kubernetes_version *wanted)
{
    const char *known[KP_RELEASES_MAX];
    size_t n = 0;
    for (; n < releases->count && n < KP_RELEASES_MAX; n++)
        known[n] = releases->items[n].version;
    return wanted->full[0] && strcmp(wanted->minor, releases->minor) == 0
               ? kp_kubernetes_nearest(wanted->full, known, n)
               : releases->default_version;
}

int kp_releases_find(const struct kp_releases *releases, const char *kubernetes,
                     const struct kp_release **out, struct kp_err *err)
{
    struct kp_kubernetes_version version;
    if (!kp_kubernetes_version_parse(kubernetes, &version))
        return kp_fail(err, KP_USAGE, "'%s' is no Kubernetes version; write v1.30 or v1.30.14",
                       kubernetes);
    const char *wanted = version.full[0] ? version.full : releases->default_version;
    for (size_t i = 0; i < releases->count; i++)
        if (strcmp(version.minor, releases->minor) == 0 &&
            strcmp(releases->items[i].version, wanted) == 0) {
            *out = &releases->items[i];
            return 0;
        }
    kp_auto(kp_arena) arena = kp_arena_new();
    kp_fail_as(err, KP_USAGE, "unknown_release", "%s does not know Kubernetes %s%s", releases->path,
               kubernetes[0] == 'v' ? "" : "v", kubernetes);
    return kp_hint(err,
                   "it knows %s; the nearest is v%s; another release file can be given by "
                   "--release FILE",
                   known_versions(arena, releases), nearest_release(releases, &version));
}

static int find_part(const struct kp_release *release, const struct kp_release_part *parts,
                     size_t count, const char *kind, const char *name,
                     const struct kp_release_part **out, struct kp_err *err)
{
    kp_auto(kp_arena) arena = kp_arena_new();
    const char *known = "";
    for (size_t i = 0; i < count; i++) {
        *out = &parts[i];
        if (strcmp((*out)->name, name) == 0)
            return 0;
        known = kp_arena_printf(arena, "%s%s%s", known, i ? ", " : "", (*out)->name);
    }
    *out = NULL;
    return kp_fail_as(err, KP_USAGE, kind[0] == 'n' ? "unknown_network" : "unknown_addon",
                      "release v%s has no %s '%s'; it has %s", release->version, kind, name,
                      *known ? known : "none");
}

int kp_release_network(const struct kp_release *release, const char *name,
                       const struct kp_release_part **out, struct kp_err *err)
{
    return find_part(release, release->networks, release->network_count, "network", name, out, err);
}

int kp_release_addon(const struct kp_release *release, const char *name,
                     const struct kp_release_part **out, struct kp_err *err)
{
    return find_part(release, release->addons, release->addon_count, "add-on", name, out, err);
}

int kp_release_runtime(const struct kp_release *release, const char *name,
                       const struct kp_release_runtime **out, struct kp_err *err)
{
    kp_auto(kp_arena) arena = kp_arena_new();
    const char *known = "";
    for (size_t i = 0; i < release->runtime_count; i++) {
        *out = &release->runtimes[i];
        if (strcmp((*out)->is.name, name) == 0)
            return 0;
        known = kp_arena_printf(arena, "%s%s%s", known, i ? ", " : "", (*out)->is.name);
    }
    *out = NULL;
    return kp_fail_as(err, KP_USAGE, "unknown_runtime",
                      "release v%s has no runtime '%s'; it has %s", release->version, name,
                      *known ? known : "none to choose from");
}

const char *kp_release_expand(struct kp_arena *arena, const char *text, const char *version,
                              const char *arch)
{
    const char *out = "";
    while (*text) {
        size_t plain = strcspn(text, "{");
        out = kp_arena_printf(arena, "%s%.*s", out, (int)plain, text);
        text += plain;
        if (kp_starts_with(text, "{version}")) {
            out = kp_arena_printf(arena, "%s%s", out, version);
            text += sizeof("{version}") - 1;
        } else if (arch && kp_starts_with(text, "{arch}")) {
            out = kp_arena_printf(arena, "%s%s", out, arch);
            text += sizeof("{arch}") - 1;
        } else if (*text) {
            out = kp_arena_printf(arena, "%s{", out);
            text++;
        }
    }
    return out;
}

const struct kp_digest *kp_release_file_sum(const struct kp_release_file *file, const char *arch)
{
    for (size_t i = 0; i < file->sum_count; i++)
        if (strcmp(file->sums[i].arch, arch) == 0)
            return &file->sums[i].sha256;
    return NULL;
}
