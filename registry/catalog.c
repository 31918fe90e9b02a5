/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/catalog.h"

#include <stdlib.h>
#include <string.h>

struct kp_catalog {
    struct kp_arena *arena;
    struct kp_offer offers[KP_REGISTRY_BUNDLES_MAX];
    size_t offer_count;
    struct kp_tag *tags;
    size_t tag_count;
    uint64_t accepted;
};

bool kp_is_manifest_type(const char *media_type)
{
    static const char *const types[] = {
        "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json"};
    for (size_t i = 0; media_type && i < KP_COUNT(types); i++)
        if (strcmp(media_type, types[i]) == 0)
            return true;
    return false;
}

/* "registry.k8s.io/pause:3.9" or "…@sha256:…" into its parts; false where there is no host. */
static bool split_reference(struct kp_arena *arena, const char *reference, struct kp_tag *out)
{
    const char *slash = strchr(reference, '/');
    if (!slash)
        return false;
    const char *end = slash + 1 + strcspn(slash + 1, "@");
    const char *colon = memchr(slash + 1, ':', (size_t)(end - slash - 1));
    const char *name_end = colon ? colon : end;
    out->host = kp_arena_strndup(arena, reference, (size_t)(slash - reference));
    out->repository = kp_arena_strndup(arena, slash + 1, (size_t)(name_end - slash - 1));
    out->tag = colon ? kp_arena_strndup(arena, colon + 1, (size_t)(end - colon - 1)) : "";
    return true;
}

static int compare_names(const struct kp_tag *a, const struct kp_tag *b)
{
    int order = strcmp(a->repository, b->repository);
    if (!order)
        order = strcmp(a->host, b->host);
    return order ? order : strcmp(a->tag, b->tag);
}

/* By name; of one name the newest serial first, then the order in which the bundles were given. */
static int compare_tags(const void *pa, const void *pb)
{
    const struct kp_tag *a = pa, *b = pb;
    int order = compare_names(a, b);
    if (order)
        return order;
    if (a->serial != b->serial)
        return a->serial > b->serial ? -1 : 1;
    return a->bundle < b->bundle ? -1 : a->bundle > b->bundle;
}

static void add_tags(struct kp_catalog *catalog, size_t bundle)
{
    const struct kp_manifest *manifest = catalog->offers[bundle].manifest;
    for (size_t i = 0; i < manifest->image_count; i++) {
        struct kp_tag *tag = &catalog->tags[catalog->tag_count];
        if (!split_reference(catalog->arena, manifest->images[i].reference, tag))
            continue;
        tag->image = &manifest->images[i];
        tag->serial = manifest->serial;
        tag->bundle = bundle;
        catalog->tag_count++;
    }
}

static void drop_older(struct kp_catalog *catalog)
{
    size_t kept = 0;
    for (size_t i = 0; i < catalog->tag_count; i++)
        if (!kept || compare_names(&catalog->tags[kept - 1], &catalog->tags[i]) != 0)
            catalog->tags[kept++] = catalog->tags[i];
    catalog->tag_count = kept;
}

struct kp_catalog *kp_catalog_new(const struct kp_offer *offers, size_t count)
{
    struct kp_catalog *catalog = kp_alloc(sizeof(*catalog));
    size_t images = 0;
    catalog->arena = kp_arena_new();
    catalog->offer_count = count;
    for (size_t i = 0; i < count; i++) {
        catalog->offers[i] = offers[i];
        images += offers[i].manifest->image_count;
    }
    catalog->tags = kp_arena_array(catalog->arena, images + 1, sizeof(struct kp_tag));
    for (size_t i = 0; i < count; i++)
        add_tags(catalog, i);
    qsort(catalog->tags, catalog->tag_count, sizeof(struct kp_tag), compare_tags);
    drop_older(catalog);
    return catalog;
}

void kp_catalog_free(struct kp_catalog *catalog)
{
    if (!catalog)
        return;
    kp_arena_free(catalog->arena);
    kp_free(catalog);
}

void kp_catalog_set_accepted(struct kp_catalog *catalog, uint64_t accepted)
{
    catalog->accepted = accepted;
}

uint64_t kp_catalog_accepted(const struct kp_catalog *catalog)
{
    return catalog->accepted;
}

const struct kp_offer *kp_catalog_offer(const struct kp_catalog *catalog, size_t i)
{
    return &catalog->offers[i];
}

size_t kp_catalog_offers(const struct kp_catalog *catalog)
{
    return catalog->offer_count;
}

const struct kp_tag *kp_catalog_tags(const struct kp_catalog *catalog, size_t *count)
{
    *count = catalog->tag_count;
    return catalog->tags;
}

const struct kp_tag *kp_catalog_repository(const struct kp_catalog *catalog, const char *repository,
                                           size_t *count)
{
    size_t low = 0, high = catalog->tag_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(catalog->tags[middle].repository, repository) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    size_t end = low;
    while (end < catalog->tag_count && strcmp(catalog->tags[end].repository, repository) == 0)
        end++;
    *count = end - low;
    return *count ? &catalog->tags[low] : NULL;
}

bool kp_catalog_blob(const struct kp_catalog *catalog, const struct kp_digest *digest,
                     struct kp_holding *out)
{
    *out = (struct kp_holding){0};
    for (size_t i = 0; i < catalog->offer_count; i++) {
        const struct kp_blob *blob = kp_manifest_blob(catalog->offers[i].manifest, digest);
        if (!blob || blob->base)
            continue;
        out->blob = out->blob ? out->blob : blob;
        out->bundles[out->count++] = i;
    }
    return out->count > 0;
}
