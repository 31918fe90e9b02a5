/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/assemble.h"

#include "pack/lock.h"
#include "pack/own.h"

#include <stdlib.h>

#define TYPE_FILE "application/octet-stream"
#define TYPE_YAML "application/yaml"
#define EVERY_ROLE (KP_ROLE_CONTROL_PLANE | KP_ROLE_WORKER)

struct assembling {
    const struct kp_gather *gather;
    const struct kp_plan *plan;
    struct kp_manifest *m;
    size_t blob_room;
};

static void add_blob(struct assembling *a, const struct kp_digest *digest, uint64_t size,
                     const char *media_type)
{
    struct kp_manifest *m = a->m;
    if (m->blob_count == a->blob_room) {
        a->blob_room = a->blob_room ? a->blob_room * 2 : 256;
        struct kp_blob *blobs = kp_arena_array(m->arena, a->blob_room, sizeof(*blobs));
        if (m->blob_count)
            memcpy(blobs, m->blobs, m->blob_count * sizeof(*blobs));
        m->blobs = blobs;
    }
    m->blobs[m->blob_count++] =
        (struct kp_blob){.sha256 = *digest, .size = size, .media_type = media_type};
}

static int compare_blobs(const void *a, const void *b)
{
    const struct kp_blob *x = a, *y = b;
    int order = memcmp(x->sha256.bytes, y->sha256.bytes, KP_SHA256_LEN);
    return order ? order : strcmp(x->media_type, y->media_type);
}

/* Sorted, each once; the order of additions does not show. */
static void settle_blobs(struct kp_manifest *m)
{
    size_t kept = 0;
    qsort(m->blobs, m->blob_count, sizeof(*m->blobs), compare_blobs);
    for (size_t i = 0; i < m->blob_count; i++)
        if (!kept || !kp_digest_equal(&m->blobs[kept - 1].sha256, &m->blobs[i].sha256))
            m->blobs[kept++] = m->blobs[i];
    m->blob_count = kept;
}

static void add_file(struct assembling *a, const struct kp_plan_file *file,
                     const struct kp_plan_install *install)
{
    // what the site has is left out also where another libzstd made it: the content decides
    const struct kp_receipt_blob *held =
        strcmp(file->url, KP_OWN_URL) == 0 ? NULL : kp_held_file(a->gather->held, &install->plain);
    struct kp_digest blob = held ? held->sha256 : install->blob;
    uint64_t blob_size = held ? held->size : install->blob_size;
    a->m->files[a->m->file_count++] = (struct kp_file){
        .name = install->name,
        .component = file->component,
        .version = file->version,
        .arch = file->arch,
        .target = install->target,
        .mode = install->mode,
        .roles = file->roles,
        .blob = blob,
        .blob_size = blob_size,
        .sha256 = install->plain,
        .size = install->plain_size,
        .origin = file->url,
        .license = file->license,
        .programs = file->programs,
        .runtime = file->runtime,
    };
    add_blob(a, &blob, blob_size, TYPE_FILE);
}

static void add_files(struct assembling *a)
{
    size_t count = 0;
    for (size_t i = 0; i < a->plan->file_count; i++)
        count += a->plan->files[i].install_count;
    a->m->files = kp_arena_array(a->m->arena, count, sizeof(*a->m->files));
    for (size_t i = 0; i < a->plan->file_count; i++)
        for (size_t k = 0; k < a->plan->files[i].install_count; k++)
            add_file(a, &a->plan->files[i], &a->plan->files[i].installs[k]);
}

static void add_images(struct assembling *a)
{
    struct kp_manifest *m = a->m;
    m->images = kp_arena_array(m->arena, a->plan->image_count + 1, sizeof(*m->images));
    for (size_t i = 0; i < a->plan->image_count; i++) {
        const struct kp_plan_image *image = &a->plan->images[i];
        const struct kp_oci_image *seen = &a->gather->images[i];
        m->images[m->image_count++] = (struct kp_image){
            .reference = image->reference,
            .name = image->name,
            .digest = seen->root,
            .media_type = seen->media_type,
            .arches = image->arches,
            .roles = image->roles,
            .pinned = image->pinned,
            .why = image->why,
            .license = image->license,
        };
        for (size_t k = 0; k < seen->blob_count; k++)
            add_blob(a, &seen->blobs[k].digest, seen->blobs[k].size, seen->blobs[k].media_type);
    }
}

static void add_probe(struct assembling *a)
{
    const struct kp_probe *probe = &a->gather->probe;
    struct kp_manifest *m = a->m;
    m->images[m->image_count++] = (struct kp_image){
        .reference = kp_arena_printf(m->arena, KP_PROBE_REPOSITORY ":%s", a->plan->kpack),
        .name = "probe",
        .digest = probe->blobs[0].digest,
        .media_type = probe->blobs[0].media_type,
        .arches = a->plan->arches,
        .roles = EVERY_ROLE,
        .why = "smoke test",
        .license = "Apache-2.0",
    };
    for (size_t i = 0; i < probe->count; i++)
        add_blob(a, &probe->blobs[i].digest, probe->blobs[i].size, probe->blobs[i].media_type);
}

static void add_manifests(struct assembling *a)
{
    struct kp_manifest *m = a->m;
    m->manifests = kp_arena_array(m->arena, a->plan->manifest_count, sizeof(*m->manifests));
    for (size_t i = 0; i < a->plan->manifest_count; i++) {
        const struct kp_plan_manifest *from = &a->plan->manifests[i];
        m->manifests[m->manifest_count++] = (struct kp_cluster_manifest){
            .name = from->name,
            .why = from->why,
            .blob = from->digest,
            .size = from->size,
            .origin = from->url,
            .replace = from->replace,
            .replace_count = from->replace_count,
            .wait = from->wait,
            .wait_count = from->wait_count,
            .addon = from->addon,
            .version = from->version,
            .checks = from->checks,
            .check_count = from->check_count,
        };
        add_blob(a, &from->digest, from->size, TYPE_YAML);
    }
}

static void add_source(json_t *sources, const char *key, const char *what, const char *arch,
                       const struct kp_digest *digest, enum kp_checked checked)
{
    json_t *out = json_object();
    json_object_set_new(out, key, json_string(what));
    if (arch)
        json_object_set_new(out, "arch", json_string(arch));
    json_object_set_new(out, "sha256", json_string(kp_digest_hex(digest).hex));
    json_object_set_new(out, "checked", json_string(kp_checked_text(checked)));
    json_array_append_new(sources, out);
}

static json_t *make_provenance(const struct kp_plan *plan)
{
    json_t *sources = json_array(), *waived = json_array();
    for (size_t i = 0; i < plan->file_count; i++)
        add_source(sources, "url", plan->files[i].url, plan->files[i].arch, &plan->files[i].digest,
                   plan->files[i].checked);
    for (size_t i = 0; i < plan->image_count; i++) {
        const struct kp_plan_image *image = &plan->images[i];
        add_source(sources, "image", image->reference, NULL, &image->root, image->checked);
        json_t *last = json_array_get(sources, json_array_size(sources) - 1);
        if (image->checked == KP_CHECKED_EXPECTED_MISMATCH)
            json_object_set_new(last, "expected", json_string(kp_digest_hex(&image->expected).hex));
    }
    for (size_t i = 0; i < plan->manifest_count; i++) {
        const struct kp_plan_manifest *manifest = &plan->manifests[i];
        add_source(sources, "url", manifest->url, NULL,
                   manifest->made ? &manifest->made->digest : &manifest->digest, manifest->checked);
    }
    for (size_t i = 0; i < plan->helm_count; i++)
        add_source(sources, "url", plan->helm[i].url, plan->helm[i].arch, &plan->helm[i].digest,
                   plan->helm[i].checked);
    for (const char *const *p = plan->waived; *p; p++)
        json_array_append_new(waived, json_string(*p));
    kp_auto_free char *lock = kp_lock_dump(plan);
    struct kp_digest lock_digest;
    kp_sha256(lock, strlen(lock), &lock_digest);
    return json_pack("{s:{s:s}, s:s, s:{s:s, s:i}, s:o, s:o}", "tool", "kpack", plan->kpack, "lock",
                     kp_digest_hex(&lock_digest).hex, "zstd", "version", plan->zstd, "level",
                     plan->level, "sources", sources, "waived", waived);
}

static void set_head(struct kp_manifest *m, const struct kp_plan *plan)
{
    m->name = plan->name;
    m->serial = plan->serial;
    m->created = plan->created;
    m->expires = plan->expires;
    m->kubernetes = plan->kubernetes;
    m->kubeadm_api = plan->kubeadm_api;
    m->containerd_config = plan->containerd_config;
    m->runtimes = plan->runtimes;
    m->runtime_count = plan->runtime_count;
    m->network = plan->network;
    m->minimum_kinstall = plan->kpack;
    m->arches = plan->arches;
    m->programs = plan->programs;
}

int kp_assemble(struct kp_manifest **out, const struct kp_gather *gather, struct kp_err *err)
{
    kp_auto(kp_manifest) m = kp_manifest_new();
    struct assembling a = {.gather = gather, .plan = gather->plan, .m = m};
    set_head(m, gather->plan);
    add_files(&a);
    add_images(&a);
    add_probe(&a);
    add_manifests(&a);
    m->hooks = gather->plan->hooks;
    m->hook_count = gather->plan->hook_count;
    settle_blobs(m);
    if (kp_held_apply(gather->held, gather->plan, m, err) < 0)
        return -1;
    m->document = json_object(); // owned here; the manifest's own document is not read
    json_object_set_new(m->document, "provenance", make_provenance(gather->plan));
    m->provenance = json_object_get(m->document, "provenance");
    if (!m->provenance)
        return kp_fail(err, KP_FAILED, "a source's text is not UTF-8");
    if (gather->plan->revocations)
        json_object_set(m->document, "revocations", gather->plan->revocations);
    m->revocations = json_object_get(m->document, "revocations");
    *out = kp_steal(&m);
    return 0;
}

static int open_blob(void *user, const struct kp_digest *blob, int *fd, struct kp_err *err)
{
    return kp_cache_fd(user, blob, fd, err);
}

static bool is_whole(struct kp_cache *cache, const struct kp_digest *wanted)
{
    struct kp_digest seen;
    uint64_t size;
    kp_auto_fd int fd = -1;
    return kp_cache_fd(cache, wanted, &fd, NULL) == 0 &&
           kp_sha256_fd(fd, &seen, &size, NULL) == 0 && kp_digest_equal(&seen, wanted);
}

/* The writer found a blob of the cache damaged: without it the next run makes or fetches it again.
 */
static void drop_damaged(struct kp_cache *cache, const struct kp_manifest *m)
{
    for (size_t i = 0; i < m->blob_count; i++)
        if (!m->blobs[i].base && !is_whole(cache, &m->blobs[i].sha256))
            kp_cache_drop(cache, &m->blobs[i].sha256);
}

int kp_assemble_write(const struct kp_assembling *assembling, struct kp_manifest *manifest,
                      const char *path, struct kp_bundle_written *out, struct kp_err *err)
{
    struct kp_bundle_writing writing = {
        .manifest = manifest,
        .source = {open_blob, assembling->gather->cache},
        .keys = &assembling->key,
        .key_count = assembling->key != NULL,
        .split = assembling->split,
        .progress = assembling->progress,
        .user = assembling->user,
    };
    struct kp_err first = KP_ERR_INIT;
    if (kp_bundle_write(&writing, path, out, &first) == 0)
        return 0;
    if (first.code == KP_DAMAGED) {
        drop_damaged(assembling->gather->cache, manifest);
        first.hint[0] = '\0';
        kp_hint(&first, "what is damaged in the cache was removed; run the same command again");
    }
    if (err)
        *err = first;
    return -1;
}
