/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/plan.h"

#include "core/file.h"
#include "core/text.h"
#include "pack/reference.h"

const char *kp_checked_text(enum kp_checked checked)
{
    static const char *const texts[KP_CHECKED_COUNT] = {"seen", "pinned", "expected-match",
                                                        "expected-mismatch", "local"};
    return texts[checked];
}

struct kp_plan *kp_plan_new(void)
{
    struct kp_plan *plan = kp_alloc(sizeof(*plan));
    plan->arena = kp_arena_new();
    return plan;
}

void kp_plan_free(struct kp_plan *plan)
{
    if (!plan)
        return;
    json_decref(plan->revocations);
    kp_arena_free(plan->arena);
    kp_free(plan);
}

/* Room for one more of a growing array in the arena. */
static void *grow(struct kp_arena *arena, void *items, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return items;
    *room = *room ? *room * 2 : 64;
    void *more = kp_arena_array(arena, *room, size);
    if (count)
        memcpy(more, items, count * size);
    return more;
}

struct kp_plan_manifest *kp_plan_add_manifest(struct kp_plan *plan)
{
    plan->manifests = grow(plan->arena, plan->manifests, plan->manifest_count, &plan->manifest_room,
                           sizeof(*plan->manifests));
    return &plan->manifests[plan->manifest_count++];
}

struct kp_plan_image *kp_plan_find_image(struct kp_plan *plan, const char *reference)
{
    for (size_t i = 0; i < plan->image_count; i++)
        if (strcmp(plan->images[i].reference, reference) == 0)
            return &plan->images[i];
    return NULL;
}

struct kp_plan_image *kp_plan_add_image(struct kp_plan *plan, const char *reference,
                                        const char *why)
{
    plan->images = grow(plan->arena, plan->images, plan->image_count, &plan->image_room,
                        sizeof(*plan->images));
    struct kp_plan_image *image = &plan->images[plan->image_count++];
    *image = (struct kp_plan_image){.reference = reference, .why = why, .name = "", .license = ""};
    image->arches = plan->arches;
    return image;
}

int kp_plan_want_image(struct kp_plan *plan, const char *text, const char *why, struct kp_err *err)
{
    struct kp_reference parsed;
    if (kp_reference_parse(&parsed, plan->arena, text, err) < 0)
        return kp_wrap(err, "%s", why);
    struct kp_reference named = parsed;
    named.has_digest = parsed.has_digest && !parsed.tag;
    kp_auto_free char *full = kp_reference_text(&named);
    struct kp_plan_image *image = kp_plan_find_image(plan, full);
    if (image && parsed.has_digest && image->known &&
        !kp_digest_equal(&image->root, &parsed.digest))
        return kp_fail(err, KP_USAGE, "%s: %s is in the bundle with another digest", why, full);
    if (!image) {
        image = kp_plan_add_image(plan, kp_arena_strdup(plan->arena, full), why);
        image->roles = KP_ROLE_CONTROL_PLANE | KP_ROLE_WORKER;
    }
    if (parsed.has_digest) {
        image->known = true;
        image->root = parsed.digest;
        image->checked = KP_CHECKED_PINNED;
    }
    return 0;
}

int kp_plan_set_source(struct kp_plan *plan, struct kp_plan_manifest *to, const char *option,
                       const char *source, struct kp_err *err)
{
    if (kp_starts_with(source, "http://"))
        return kp_fail(err, KP_USAGE, "%s %s: https:// is needed", option, source);
    if (kp_starts_with(source, "https://")) {
        if (strpbrk(source, "?#@ ") || !kp_text_plain(source, KP_PATH_MAX))
            return kp_fail(err, KP_USAGE, "%s %s: a URL without user, query or fragment is needed",
                           option, source);
        to->url = source;
        return 0;
    }
    to->local = source;
    to->known = true;
    to->checked = KP_CHECKED_LOCAL;
    if (!kp_text_plain(kp_path_base(source), KP_PATH_MAX))
        return kp_fail(err, KP_USAGE, "%s %s: a plain ASCII name is needed", option, source);
    to->url = kp_arena_printf(plan->arena, "file:%s", kp_path_base(source));
    if (kp_sha256_file(source, &to->digest, &to->size, err) < 0)
        return kp_wrap(err, "%s", option);
    return 0;
}
