/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/fetch_oci.h"

#include "core/text.h"
#include "pack/oci_auth.h"
#include "pack/oci_document.h"

#include <stdio.h>

#define ACCEPT                                                                                     \
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "        \
    "application/vnd.docker.distribution.manifest.list.v2+json, "                                  \
    "application/vnd.docker.distribution.manifest.v2+json"

struct kp_oci {
    struct kp_fetch *fetch;
    struct kp_arena *arena;
    struct kp_oci_auth *auth;
    struct layer_job *queued;  /* of blobs, so that each is fetched once */
    kp_oci_unneeded *unneeded; /* or NULL */
    void *unneeded_user;
};

struct layer_job {
    struct layer_job *next;
    struct kp_fetch_job job;
    struct kp_digest digest;
};

/* What one architecture of one image turned out to be. */
struct variant {
    const char *arch;
    struct kp_oci_blob nested[KP_OCI_NESTING_MAX]; /* indexes below the root on the way */
    size_t nested_count;
    struct kp_oci_blob manifest;
    struct kp_oci_document document;
    bool loaded;
};

struct resolving {
    struct kp_oci *oci;
    struct kp_oci_image *image;
    const char *name; /* of the image in messages and progress: the full reference */
    const char *base; /* "https://registry.localhost:15000/v2/registry.k8s.io/pause" */
    const struct kp_site *site;
    const struct kp_fetch_authority *authority;
    struct variant *variants;
    size_t count;
};

/* One index, manifest or config that is being loaded. variant NULL: the root. */
struct load {
    struct kp_fetch_job job;
    struct resolving *resolving;
    struct variant *variant;
    struct kp_digest digest;
    uint64_t size;
    const char *media_type; /* as its parent says; "" for the root */
    unsigned depth;
    bool config;
};

struct kp_oci *kp_oci_new(struct kp_fetch *fetch)
{
    struct kp_oci *oci = kp_alloc(sizeof(*oci));
    oci->fetch = fetch;
    oci->arena = kp_arena_new();
    oci->auth = kp_oci_auth_new(fetch);
    return oci;
}

void kp_oci_free(struct kp_oci *oci)
{
    if (!oci)
        return;
    kp_oci_auth_free(oci->auth);
    kp_arena_free(oci->arena);
    kp_free(oci);
}

static struct kp_cache *cache_of(const struct resolving *r)
{
    return kp_fetch_options(r->oci->fetch)->cache;
}

static int handle_document(struct load *load, struct kp_slice bytes, const char *content_type,
                           struct kp_err *err);

static const char *what_of(const struct load *load)
{
    struct kp_arena *arena = load->resolving->oci->arena;
    if (!load->variant)
        return load->resolving->name;
    return kp_arena_printf(arena, "%s (%s, %ssha256:%s)", load->resolving->name,
                           load->variant->arch, load->config ? "config " : "",
                           kp_digest_hex(&load->digest).hex);
}

/* --- loading one document ----------------------------------------------------------------- */

static int take_from_cache(struct load *load, bool *taken, struct kp_err *err)
{
    struct kp_cache *cache = cache_of(load->resolving);
    kp_auto_free char *text = NULL;
    size_t len = 0;
    size_t max = load->config ? KP_OCI_CONFIG_MAX : KP_OCI_MANIFEST_MAX;
    *taken = kp_cache_has(cache, &load->digest, NULL);
    if (!*taken)
        return 0;
    struct kp_err ignored = KP_ERR_INIT;
    if (kp_cache_read(cache, &load->digest, max, &text, &len, &ignored) < 0) {
        *taken = false; // damaged, and dropped by now: it is fetched anew
        return 0;
    }
    return handle_document(load, (struct kp_slice){text, len}, load->media_type, err);
}

static int check_root(const struct load *load, struct kp_err *err)
{
    const struct kp_oci_image *image = load->resolving->image;
    const struct kp_fetch_job *job = &load->job;
    struct kp_digest said;
    if (*job->content_digest && kp_digest_parse(kp_slice_of(job->content_digest), &said) &&
        !kp_digest_equal(&said, &job->digest))
        return kp_fail_as(
            err, KP_DAMAGED, "checksum", "%s: the registry says %s, the bytes are sha256:%s",
            load->resolving->name, job->content_digest, kp_digest_hex(&job->digest).hex);
    const struct kp_digest *wanted = image->digest              ? image->digest
                                     : image->parsed.has_digest ? &image->parsed.digest
                                                                : NULL;
    if (!wanted || kp_digest_equal(wanted, &job->digest))
        return 0;
    return kp_fail_as(err, KP_DAMAGED, "unexpected_digest",
                      "%s: the registry serves sha256:%s, sha256:%s is expected",
                      load->resolving->name, kp_digest_hex(&job->digest).hex,
                      kp_digest_hex(wanted).hex);
}

static int loaded(void *user, struct kp_fetch_job *job, struct kp_err *err)
{
    struct load *load = user;
    kp_auto_value(kp_buf) body = job->body;
    job->body = (struct kp_buf){0};
    load->digest = job->digest;
    if (!load->variant && check_root(load, err) < 0)
        return -1;
    const char *type = kp_arena_strdup(load->resolving->oci->arena, job->content_type);
    if (kp_cache_put(cache_of(load->resolving), kp_buf_slice(&body), NULL, err) < 0)
        return -1;
    // why: blobs are served as octet-stream or whatever; only manifests have a type by the spec
    return handle_document(load, kp_buf_slice(&body), load->config ? "" : type, err);
}

static int not_loaded(void *user, struct kp_fetch_job *job, struct kp_err *err)
{
    const struct load *load = user;
    kp_buf_release(&job->body);
    if (err->reason && strcmp(err->reason, "not_found") == 0) {
        err->hint[0] = '\0';
        kp_hint(err,
                load->variant ? "the registry lists it but does not have it: an incomplete "
                                "mirror of %s?"
                              : "is the name right? %s is not in its registry",
                load->resolving->name);
    }
    return kp_wrap(err, "image %s", load->resolving->name);
}

/* Fetches the document `reference` ("v1.30" or "sha256:…") under /manifests/ or /blobs/. */
static void fetch_document(struct load *load, const char *reference, bool known)
{
    const struct resolving *r = load->resolving;
    load->job = (struct kp_fetch_job){
        .name = r->name,
        .url = kp_arena_printf(r->oci->arena, "%s/%s/%s", r->base,
                               load->config ? "blobs" : "manifests", reference),
        .site_given = true,
        .site = r->site,
        .expected = known ? &load->digest : NULL,
        .size = load->size,
        .max = load->config ? KP_OCI_CONFIG_MAX : KP_OCI_MANIFEST_MAX,
        .to_memory = true,
        .accept = load->config ? NULL : ACCEPT,
        .authority = r->authority,
        .quiet = true,
        .done = loaded,
        .failed = not_loaded,
        .user = load,
    };
    kp_fetch_add(r->oci->fetch, &load->job);
}

static int load_child(struct load *parent, struct variant *variant,
                      const struct kp_oci_descriptor *child, bool config, struct kp_err *err)
{
    struct resolving *r = parent->resolving;
    struct load *load = kp_arena_alloc(r->oci->arena, sizeof(*load));
    bool taken;
    load->resolving = r;
    load->variant = variant;
    load->digest = child->digest;
    load->size = child->size;
    load->media_type = child->media_type;
    load->depth = parent->depth + 1;
    load->config = config;
    if (!config && child->size > KP_OCI_MANIFEST_MAX)
        return kp_fail_as(err, KP_DAMAGED, "bad_image", "%s: a manifest larger than 4 MiB",
                          what_of(load));
    if (take_from_cache(load, &taken, err) < 0)
        return -1;
    if (taken)
        return 0;
    kp_auto_free char *reference = kp_asprintf("sha256:%s", kp_digest_hex(&load->digest).hex);
    fetch_document(load, reference, true);
    return 0;
}

/* --- what a document leads to ------------------------------------------------------------- */

static int missing_arch(const struct load *load, const char *arch, const char *there,
                        struct kp_err *err)
{
    kp_fail_as(err, KP_MISSING, "missing_arch", "image %s has no linux/%s: it has %s",
               load->resolving->name, arch, there);
    return kp_hint(err, "leave %s out of --arch, or take an image that is built for it", arch);
}

static int descend(struct load *load, struct variant *variant, const struct kp_oci_document *index,
                   struct kp_err *err)
{
    const struct kp_oci_descriptor *child = kp_oci_choose(index, variant->arch);
    if (!child)
        return missing_arch(load, variant->arch,
                            kp_oci_platforms(index, load->resolving->oci->arena), err);
    return load_child(load, variant, child, false, err);
}

static int handle_index(struct load *load, const struct kp_oci_document *index,
                        struct kp_slice bytes, struct kp_err *err)
{
    struct resolving *r = load->resolving;
    if (load->depth > KP_OCI_NESTING_MAX)
        return kp_fail_as(err, KP_DAMAGED, "bad_image", "%s: indexes nested deeper than %d",
                          what_of(load), KP_OCI_NESTING_MAX);
    if (load->variant) {
        load->variant->nested[load->variant->nested_count++] =
            (struct kp_oci_blob){KP_OCI_INDEX, load->digest, bytes.len, index->media_type, NULL};
        return descend(load, load->variant, index, err);
    }
    for (size_t i = 0; i < r->count; i++)
        if (descend(load, &r->variants[i], index, err) < 0)
            return -1;
    return 0;
}

static int handle_manifest(struct load *load, struct variant *variant,
                           const struct kp_oci_document *manifest, struct kp_slice bytes,
                           struct kp_err *err)
{
    variant->document = *manifest;
    variant->manifest = (struct kp_oci_blob){KP_OCI_MANIFEST, load->digest, bytes.len,
                                             manifest->media_type, variant->arch};
    return load_child(load, variant, &manifest->config, true, err);
}

static int handle_config(struct load *load, struct kp_slice bytes, struct kp_err *err)
{
    struct kp_arena *arena = load->resolving->oci->arena;
    struct variant *variant = load->variant;
    struct kp_oci_descriptor platform;
    if (kp_oci_config_parse(&platform, arena, bytes, what_of(load), err) < 0)
        return -1;
    // why: an index may name a variant that its config leaves out, and the other way round
    const char *slash = strchr(variant->arch, '/');
    if (slash && !*platform.variant)
        platform.variant = slash + 1;
    if (!slash)
        platform.variant = "";
    if (!kp_oci_platform_fits(&platform, variant->arch)) {
        const char *there = kp_arena_printf(arena, "%s/%s", platform.os, platform.arch);
        return missing_arch(load, variant->arch, there, err);
    }
    variant->loaded = true;
    return 0;
}

static int handle_document(struct load *load, struct kp_slice bytes, const char *content_type,
                           struct kp_err *err)
{
    struct resolving *r = load->resolving;
    struct kp_oci_document document;
    if (load->config)
        return handle_config(load, bytes, err);
    if (kp_oci_document_parse(&document, r->oci->arena, bytes, content_type, what_of(load), err) <
        0)
        return -1;
    if (load->variant && strcmp(document.media_type, load->media_type) != 0)
        return kp_fail_as(err, KP_DAMAGED, "bad_image", "%s: is %s, its index says %s",
                          what_of(load), document.media_type, load->media_type);
    if (!load->variant) {
        r->image->root = load->digest;
        r->image->root_size = bytes.len;
        r->image->media_type = document.media_type;
    }
    if (document.is_index)
        return handle_index(load, &document, bytes, err);
    if (load->variant)
        return handle_manifest(load, load->variant, &document, bytes, err);
    for (size_t i = 0; i < r->count; i++)
        if (handle_manifest(load, &r->variants[i], &document, bytes, err) < 0)
            return -1;
    return 0;
}

/* --- one image ---------------------------------------------------------------------------- */

static int begin_image(struct resolving *r, struct kp_oci *oci, struct kp_oci_image *image,
                       struct kp_err *err)
{
    kp_auto_value(kp_registry_place) place = {0};
    struct load *root = kp_arena_alloc(oci->arena, sizeof(*root));
    bool taken = false;
    if (kp_reference_parse(&image->parsed, oci->arena, image->reference, err) < 0)
        return -1;
    kp_auto_free char *name = kp_reference_text(&image->parsed);
    *r = (struct resolving){.oci = oci, .image = image, .name = kp_arena_strdup(oci->arena, name)};
    kp_mirrors_registry(kp_fetch_options(oci->fetch)->mirrors, &image->parsed, &place);
    r->base = kp_arena_printf(oci->arena, "%s/v2/%s", place.base, place.repository);
    r->site = place.site;
    r->authority = kp_oci_authority(oci->auth, &place);
    while (image->arches[r->count])
        r->count++;
    if (r->count == 0 || r->count > KP_OCI_ARCHES_MAX)
        return kp_fail(err, KP_USAGE, "image %s: 1 to %d architectures can be chosen", r->name,
                       KP_OCI_ARCHES_MAX);
    r->variants = kp_arena_array(oci->arena, r->count, sizeof(*r->variants));
    for (size_t i = 0; i < r->count; i++)
        r->variants[i].arch = kp_arena_strdup(oci->arena, image->arches[i]);
    const struct kp_digest *known = image->digest ? image->digest : &image->parsed.digest;
    root->resolving = r;
    root->media_type = "";
    if (!image->digest && !image->parsed.has_digest) {
        fetch_document(root, image->parsed.tag, false);
        return 0;
    }
    root->digest = *known;
    if (image->digest && image->parsed.has_digest &&
        !kp_digest_equal(image->digest, &image->parsed.digest))
        return kp_fail_as(err, KP_USAGE, "unexpected_digest", "image %s: sha256:%s is expected",
                          r->name, kp_digest_hex(image->digest).hex);
    if (take_from_cache(root, &taken, err) < 0)
        return -1;
    if (taken)
        return 0;
    kp_auto_free char *reference = kp_asprintf("sha256:%s", kp_digest_hex(known).hex);
    fetch_document(root, reference, true);
    return 0;
}

static void add_blob(struct kp_oci_image *image, struct kp_oci_blob blob)
{
    image->blobs[image->blob_count++] = blob;
}

static void add_variant(struct kp_oci_image *image, const struct variant *variant, bool root_too)
{
    const struct kp_oci_document *document = &variant->document;
    const struct kp_oci_descriptor *config = &document->config;
    for (size_t i = 0; i < variant->nested_count; i++)
        add_blob(image, variant->nested[i]);
    if (root_too)
        add_blob(image, variant->manifest);
    add_blob(image, (struct kp_oci_blob){KP_OCI_CONFIG, config->digest, config->size,
                                         config->media_type, variant->arch});
    for (size_t i = 0; i < document->layer_count; i++) {
        const struct kp_oci_descriptor *layer = &document->layers[i];
        add_blob(image, (struct kp_oci_blob){KP_OCI_LAYER, layer->digest, layer->size,
                                             layer->media_type, variant->arch});
    }
}

static bool listed_before(const struct kp_oci_image *image, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (kp_digest_equal(&image->blobs[i].digest, &image->blobs[n].digest))
            return true;
    return false;
}

static void list_blobs(struct resolving *r)
{
    struct kp_oci_image *image = r->image;
    size_t most = 1;
    for (size_t i = 0; i < r->count; i++)
        most += r->variants[i].nested_count + 2 + r->variants[i].document.layer_count;
    image->blobs = kp_arena_array(r->oci->arena, most, sizeof(*image->blobs));
    image->blob_count = 0;
    bool index = kp_oci_type_is_index(image->media_type);
    add_blob(image, (struct kp_oci_blob){index ? KP_OCI_INDEX : KP_OCI_MANIFEST, image->root,
                                         image->root_size, image->media_type,
                                         index ? NULL : r->variants[0].arch});
    for (size_t i = 0; i < r->count; i++)
        add_variant(image, &r->variants[i], index);
    image->download = 0;
    for (size_t i = 0; i < image->blob_count; i++)
        if (!kp_cache_has(cache_of(r), &image->blobs[i].digest, NULL) && !listed_before(image, i))
            image->download += image->blobs[i].size;
}

int kp_oci_resolve(struct kp_oci *oci, struct kp_oci_image *images, size_t count,
                   struct kp_err *err)
{
    struct resolving *all = kp_arena_array(oci->arena, count, sizeof(*all));
    for (size_t i = 0; i < count; i++)
        if (begin_image(&all[i], oci, &images[i], err) < 0)
            return -1;
    if (kp_fetch_run(oci->fetch, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < all[i].count; k++)
            if (!all[i].variants[k].loaded)
                return kp_fail(err, KP_FAILED, "image %s: not resolved for %s", all[i].name,
                               all[i].variants[k].arch);
        list_blobs(&all[i]);
    }
    return 0;
}

/* --- blobs -------------------------------------------------------------------------------- */

static bool is_queued(const struct kp_oci *oci, const struct kp_digest *digest)
{
    for (const struct layer_job *job = oci->queued; job; job = job->next)
        if (job->job.queued && kp_digest_equal(&job->digest, digest))
            return true;
    return false;
}

static int blob_failed(void *user, struct kp_fetch_job *job, struct kp_err *err)
{
    (void)user;
    return kp_wrap(err, "image %s", job->name);
}

static void queue_blob(struct kp_oci *oci, const struct kp_oci_image *image,
                       const struct kp_registry_place *place, size_t index)
{
    const struct kp_oci_blob *blob = &image->blobs[index];
    bool document = blob->kind == KP_OCI_INDEX || blob->kind == KP_OCI_MANIFEST;
    struct layer_job *queued = kp_arena_alloc(oci->arena, sizeof(*queued));
    const char *path = strrchr(image->parsed.repository, '/');
    queued->digest = blob->digest;
    queued->job = (struct kp_fetch_job){
        .name = kp_arena_printf(
            oci->arena, "%s:%s %.12s", path ? path + 1 : image->parsed.repository,
            image->parsed.tag ? image->parsed.tag : "", kp_digest_hex(&blob->digest).hex),
        .url = kp_arena_printf(oci->arena, "%s/v2/%s/%s/sha256:%s", place->base, place->repository,
                               document ? "manifests" : "blobs", kp_digest_hex(&blob->digest).hex),
        .site_given = true,
        .site = place->site,
        .expected = &queued->digest,
        .size = blob->size,
        .accept = document ? ACCEPT : NULL,
        .authority = kp_oci_authority(oci->auth, place),
        .failed = blob_failed,
    };
    queued->next = oci->queued;
    oci->queued = queued;
    kp_fetch_add(oci->fetch, &queued->job);
}

void kp_oci_leave_out(struct kp_oci *oci, kp_oci_unneeded *unneeded, void *user)
{
    oci->unneeded = unneeded;
    oci->unneeded_user = user;
}

static bool is_unneeded(const struct kp_oci *oci, const struct kp_oci_blob *blob)
{
    return oci->unneeded && oci->unneeded(oci->unneeded_user, &blob->digest, blob->media_type);
}

void kp_oci_queue(struct kp_oci *oci, const struct kp_oci_image *images, size_t count)
{
    const struct kp_fetch_options *options = kp_fetch_options(oci->fetch);
    for (size_t i = 0; i < count; i++) {
        kp_auto_value(kp_registry_place) place = {0};
        kp_mirrors_registry(options->mirrors, &images[i].parsed, &place);
        for (size_t k = 0; k < images[i].blob_count; k++) {
            const struct kp_digest *digest = &images[i].blobs[k].digest;
            if (!kp_cache_has(options->cache, digest, NULL) && !is_queued(oci, digest) &&
                !is_unneeded(oci, &images[i].blobs[k]))
                queue_blob(oci, &images[i], &place, k);
        }
    }
}

int kp_oci_download(struct kp_oci *oci, const struct kp_oci_image *images, size_t count,
                    struct kp_err *err)
{
    kp_oci_queue(oci, images, count);
    return kp_fetch_run(oci->fetch, err);
}
