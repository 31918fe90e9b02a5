/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/make.h"

#include "core/file.h"
#include "manifests/objects.h"
#include "manifests/walk.h"
#include "pack/helm.h"
#include "pack/own.h"
#include "pack/scan.h"

#include <sys/utsname.h>

struct making {
    struct kp_plan *plan;
    struct kp_cache *cache;
    struct kp_helm *helm; // once the first chart needs it
};

bool kp_make_is_done(const struct kp_cache *cache, const struct kp_plan_manifest *manifest)
{
    return manifest->known && kp_cache_has(cache, &manifest->digest, NULL);
}

static bool is_chart(const struct kp_plan_manifest *manifest)
{
    return manifest->made && manifest->made->namespace_;
}

static const struct kp_plan_file *helm_here(const struct kp_plan *plan)
{
    struct utsname system;
    const char *arch =
        uname(&system) == 0 && strcmp(system.machine, "aarch64") == 0 ? "arm64" : "amd64";
    for (size_t i = 0; i < plan->helm_count; i++)
        if (strcmp(plan->helm[i].arch, arch) == 0)
            return &plan->helm[i];
    return NULL;
}

const struct kp_plan_file *kp_make_helm(const struct kp_plan *plan, const struct kp_cache *cache)
{
    for (size_t i = 0; i < plan->manifest_count; i++)
        if (is_chart(&plan->manifests[i]) && !kp_make_is_done(cache, &plan->manifests[i]))
            return helm_here(plan);
    return NULL;
}

/* Every place of each text; one that is not there is an error, so that a new version of the
 * manifest is looked at. */
static int edit(const struct kp_plan_manifest *manifest, char **text, size_t *len,
                struct kp_err *err)
{
    for (size_t i = 0; i < manifest->made->edit_count; i++) {
        const struct kp_edit *one = &manifest->made->edits[i];
        kp_auto_value(kp_buf) out = KP_BUF(KP_WALK_MAX);
        size_t find = strlen(one->find), from = 0, found = 0;
        for (size_t at = 0; at + find <= *len;) {
            if (memcmp(*text + at, one->find, find) != 0) {
                at++;
                continue;
            }
            kp_buf_add(&out, *text + from, at - from);
            kp_buf_adds(&out, one->put);
            from = at += find;
            found++;
        }
        if (!found)
            return kp_fail_as(err, KP_FAILED, "edit_missing", "%s: the text \"%s\" is not in it",
                              manifest->url, one->find);
        if (!kp_buf_add(&out, *text + from, *len - from))
            return kp_fail_as(err, KP_FAILED, "too_large", "%s: too large", manifest->url);
        kp_free(*text);
        *len = out.len;
        *text = kp_buf_steal(&out);
    }
    return 0;
}

static int render(struct making *m, const struct kp_plan_manifest *manifest, char **text,
                  size_t *len, struct kp_err *err)
{
    kp_auto_free char *raw = NULL;
    kp_auto_value(kp_buf) settled = KP_BUF(KP_WALK_MAX);
    const struct kp_plan_file *helm = helm_here(m->plan);
    size_t raw_len;
    if (!helm)
        return kp_fail_as(err, KP_MISSING, "no_helm",
                          "chart %s: there is no helm for this machine's architecture",
                          manifest->name);
    if (!m->helm && kp_helm_open(&m->helm, m->cache, helm, err) < 0)
        return -1;
    if (kp_helm_render(m->helm, m->cache, manifest, m->plan->kubernetes, &raw, &raw_len, err) < 0 ||
        kp_objects_settle(&settled, (struct kp_slice){raw, raw_len}, manifest->name,
                          manifest->made->namespace_, err) < 0)
        return -1;
    *len = settled.len;
    *text = kp_buf_steal(&settled);
    return 0;
}

static int make_text(struct making *m, const struct kp_plan_manifest *manifest, char **text,
                     size_t *len, struct kp_err *err)
{
    const struct kp_plan_made *made = manifest->made;
    int result = is_chart(manifest)
                     ? render(m, manifest, text, len, err)
                     : kp_cache_read(m->cache, &made->digest, KP_WALK_MAX, text, len, err);
    return result < 0 ? -1 : edit(manifest, text, len, err);
}

/* Whatever it asks for, operators' and helpers' images too. */
static int want_images(struct kp_plan *plan, const struct kp_plan_manifest *manifest,
                       struct kp_slice text, struct kp_err *err)
{
    kp_auto(kp_scan) scan = kp_scan_new(plan);
    const char *why = manifest->why; // "network cilium", or the chart's own name
    if (strcmp(why, "--chart") == 0)
        why = kp_arena_printf(plan->arena, "chart %s", manifest->name);
    if (kp_scan_manifest(scan, text, manifest->name, err) < 0)
        return -1;
    for (size_t i = 0; i < scan->missing_count; i++)
        if (kp_plan_want_image(plan, scan->missing[i].reference, why, err) < 0)
            return kp_wrap(err, "%s", scan->missing[i].where);
    return 0;
}

static int fail_differently(const struct kp_plan_manifest *manifest, struct kp_err *err)
{
    kp_fail_as(err, KP_FAILED, "rendered_differently",
               "%s: what is rendered now is not sha256 %s, as the lock has it", manifest->name,
               kp_digest_hex(&manifest->digest).hex);
    return kp_hint(err, "a chart that makes passwords or certificates gives others each time; the "
                        "cache in which the lock was made has the ones it names");
}

static int make_one(struct making *m, struct kp_plan_manifest *manifest, const char **unsteady,
                    struct kp_err *err)
{
    kp_auto_free char *text = NULL, *again = NULL;
    size_t len, again_len;
    struct kp_digest digest;
    if (make_text(m, manifest, &text, &len, err) < 0)
        return -1;
    kp_sha256(text, len, &digest);
    if (manifest->known)
        return !kp_digest_equal(&digest, &manifest->digest)
                   ? fail_differently(manifest, err)
                   : kp_cache_put(m->cache, (struct kp_slice){text, len}, NULL, err);
    if (kp_cache_put(m->cache, (struct kp_slice){text, len}, NULL, err) < 0 ||
        make_text(m, manifest, &again, &again_len, err) < 0)
        return -1;
    if (len != again_len || memcmp(text, again, len) != 0)
        *unsteady = manifest->name;
    manifest->digest = digest;
    manifest->size = len;
    manifest->known = true;
    return 0;
}

static int take_images(struct making *m, const struct kp_plan_manifest *manifest,
                       struct kp_err *err)
{
    kp_auto_free char *text = NULL;
    size_t len;
    if (kp_cache_read(m->cache, &manifest->digest, KP_WALK_MAX, &text, &len, err) < 0)
        return -1;
    return want_images(m->plan, manifest, (struct kp_slice){text, len}, err);
}

int kp_make(struct kp_plan *plan, struct kp_cache *cache, const char **unsteady, struct kp_err *err)
{
    struct making m = {plan, cache, NULL};
    int result = 0;
    for (size_t i = 0; result == 0 && i < plan->manifest_count; i++) {
        struct kp_plan_manifest *manifest = &plan->manifests[i];
        if (manifest->made && !kp_make_is_done(cache, manifest))
            result = make_one(&m, manifest, unsteady, err);
        if (result == 0 && manifest->take_images)
            result = take_images(&m, manifest, err);
    }
    kp_helm_free(m.helm);
    return result;
}
