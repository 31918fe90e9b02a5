/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/gather.h"

#include "core/file.h"
#include "manifests/walk.h"
#include "pack/make.h"
#include "pack/own.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define COPY_SIZE ((size_t)1 << 20)
#define PACKED_PERCENT 36 /* of a Go program at our level; for the estimate only */

struct kp_gather *kp_gather_new(struct kp_plan *plan, struct kp_cache *cache,
                                struct kp_fetch *fetch)
{
    struct kp_gather *g = kp_alloc(sizeof(*g));
    g->plan = plan;
    g->cache = cache;
    g->fetch = fetch;
    g->how = (struct kp_compression){plan->zstd, plan->level};
    g->jobs = kp_alloc_array(plan->file_count + plan->manifest_count + 1, sizeof(*g->jobs));
    return g;
}

void kp_gather_free(struct kp_gather *g)
{
    if (!g)
        return;
    kp_packer_free(g->packer);
    kp_oci_free(g->oci);
    kp_free(g->images);
    kp_free(g->jobs);
    kp_free(g);
}

static int copy_hashed(int from, int to, struct kp_digest *digest, struct kp_err *err)
{
    kp_auto(kp_hash) hash = kp_hash_new();
    kp_auto_free char *block = kp_alloc(COPY_SIZE);
    for (;;) {
        ssize_t n = read(from, block, COPY_SIZE);
        if (n < 0)
            return kp_fail(err, KP_FAILED, "read: %m");
        if (n == 0)
            break;
        kp_hash_update(hash, block, (size_t)n);
        if (kp_write_full(to, block, (size_t)n, err) < 0)
            return -1;
    }
    kp_hash_finish(hash, digest);
    return 0;
}

/* A file of this machine into the cache; it must still be what it was when the plan was made. */
static int take_local(struct kp_gather *g, const char *path, const char *url,
                      const struct kp_digest *wanted, struct kp_err *err)
{
    struct kp_digest seen;
    if (kp_cache_has(g->cache, wanted, NULL))
        return 0;
    if (!path) {
        kp_fail_as(err, KP_MISSING, "missing_local", "%s (sha256 %s) is not in the cache", url,
                   kp_digest_hex(wanted).hex);
        return kp_hint(err, "a lock names it: give the same file again by --manifest or --package");
    }
    kp_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    kp_auto(kp_cache_new) blob = NULL;
    if (fd < 0)
        return kp_fail(err, KP_FAILED, "open %s: %m", path);
    if (kp_cache_begin(&blob, g->cache, err) < 0 ||
        copy_hashed(fd, kp_cache_new_fd(blob), &seen, err) < 0)
        return kp_wrap(err, "%s", path);
    if (!kp_digest_equal(&seen, wanted))
        return kp_fail_as(err, KP_FAILED, "changed", "%s changed while it was read", path);
    return kp_cache_commit(blob, &seen, err);
}

static bool is_local_url(const char *url)
{
    return kp_starts_with(url, "file:") || strcmp(url, KP_OWN_URL) == 0;
}

static int note_manifest(void *user, struct kp_fetch_job *job, struct kp_err *err)
{
    struct kp_plan_manifest *manifest = user;
    (void)err;
    if (manifest->made) {
        manifest->made->digest = job->digest;
        manifest->made->size = job->got;
        manifest->made->known = true;
        return 0;
    }
    manifest->digest = job->digest;
    manifest->size = job->got;
    manifest->known = true;
    return 0;
}

static int add_manifests(struct kp_gather *g, struct kp_err *err)
{
    for (size_t i = 0; i < g->plan->manifest_count; i++) {
        struct kp_plan_manifest *manifest = &g->plan->manifests[i];
        struct kp_plan_made *made = manifest->made;
        if (made && kp_make_is_done(g->cache, manifest))
            continue;
        struct kp_digest *digest = made ? &made->digest : &manifest->digest;
        bool known = made ? made->known : manifest->known;
        if (is_local_url(manifest->url)) {
            if (take_local(g, manifest->local, manifest->url, digest, err) < 0)
                return -1;
            kp_cache_has(g->cache, digest, made ? &made->size : &manifest->size);
            continue;
        }
        struct kp_fetch_job *job = &g->jobs[g->plan->file_count + i];
        job->name = manifest->name;
        job->url = manifest->url;
        job->expected = known ? digest : NULL;
        job->max = KP_WALK_MAX;
        job->quiet = true;
        job->done = note_manifest;
        job->user = manifest;
        kp_fetch_add(g->fetch, job);
    }
    return 0;
}

/* Only where a chart is still to be rendered. */
static void add_helm(struct kp_gather *g)
{
    const struct kp_plan_file *helm = kp_make_helm(g->plan, g->cache);
    if (!helm)
        return;
    struct kp_fetch_job *job = &g->jobs[g->plan->file_count + g->plan->manifest_count];
    job->name = "helm";
    job->url = helm->url;
    job->expected = &helm->digest;
    job->size = helm->size;
    kp_fetch_add(g->fetch, job);
}

static int note_size(void *user, struct kp_fetch_job *job, struct kp_err *err)
{
    struct kp_plan_file *file = user;
    (void)err;
    if (job->status < 400)
        file->announced = job->total_bytes;
    return 0;
}

/* Whatever is wrong here is told when the file itself is fetched. */
static int forgive(void *user, struct kp_fetch_job *job, struct kp_err *err)
{
    (void)user;
    (void)job;
    return strcmp(err->reason ? err->reason : "", "interrupted") == 0 ? -1 : 0;
}

/* Sizes of what is not in the cache, for the plan and the time that is left. */
static void ask_sizes(struct kp_gather *g)
{
    for (size_t i = 0; i < g->plan->file_count; i++) {
        struct kp_plan_file *file = &g->plan->files[i];
        if (file->size || is_local_url(file->url) || kp_cache_has(g->cache, &file->digest, NULL))
            continue;
        struct kp_fetch_job *job = &g->jobs[i];
        job->name = file->component;
        job->url = file->url;
        job->head = job->to_memory = job->any_status = job->quiet = true;
        job->done = note_size;
        job->failed = forgive;
        job->user = file;
        kp_fetch_add(g->fetch, job);
    }
}

static void note_root(struct kp_plan_image *image, const struct kp_oci_image *seen)
{
    bool known = image->known;
    image->root = seen->root;
    image->known = true;
    if (known || !image->has_expected)
        return;
    image->checked = kp_digest_equal(&image->root, &image->expected) ? KP_CHECKED_EXPECTED_MATCH
                                                                     : KP_CHECKED_EXPECTED_MISMATCH;
}

static bool leaves_out(void *user, const struct kp_digest *blob, const char *media_type)
{
    return kp_held_leaves_out(user, blob, media_type);
}

int kp_gather_documents(struct kp_gather *g, struct kp_err *err)
{
    struct kp_plan *plan = g->plan;
    if (add_manifests(g, err) < 0)
        return -1;
    add_helm(g);
    ask_sizes(g);
    if (kp_fetch_run(g->fetch, err) < 0 || kp_make(plan, g->cache, &g->unsteady, err) < 0)
        return -1;
    g->images = kp_alloc_array(plan->image_count, sizeof(*g->images));
    g->oci = kp_oci_new(g->fetch);
    kp_oci_leave_out(g->oci, leaves_out, (void *)g->held);
    for (size_t i = 0; i < plan->image_count; i++) {
        g->images[i].reference = plan->images[i].reference;
        g->images[i].arches = plan->images[i].arches;
        g->images[i].digest = plan->images[i].known ? &plan->images[i].root : NULL;
    }
    if (kp_oci_resolve(g->oci, g->images, plan->image_count, err) < 0)
        return -1;
    for (size_t i = 0; i < plan->image_count; i++)
        note_root(&plan->images[i], &g->images[i]);
    return 0;
}

static int check_replaces(const struct kp_plan_manifest *manifest, const char *text,
                          struct kp_err *err)
{
    for (size_t i = 0; i < manifest->replace_count; i++) {
        if (strstr(text, manifest->replace[i].find))
            continue;
        kp_fail_as(err, KP_FAILED, "replace_missing", "%s: the text \"%s\" is not in it",
                   manifest->url, manifest->replace[i].find);
        return kp_hint(err,
                       "the release file wants it replaced by the site's %s; correct `replace`",
                       manifest->replace[i].with);
    }
    return 0;
}

int kp_gather_scan(struct kp_gather *g, struct kp_scan *scan, struct kp_err *err)
{
    for (size_t i = 0; i < g->plan->manifest_count; i++) {
        const struct kp_plan_manifest *manifest = &g->plan->manifests[i];
        kp_auto_free char *text = NULL;
        size_t len;
        const char *name = manifest->local ? manifest->local : kp_path_base(manifest->url);
        if (kp_cache_read(g->cache, &manifest->digest, KP_WALK_MAX, &text, &len, err) < 0 ||
            kp_scan_manifest(scan, (struct kp_slice){text, len}, name, err) < 0 ||
            check_replaces(manifest, text, err) < 0)
            return -1;
    }
    kp_scan_static_pods(scan);
    return kp_scan_result(scan, err);
}

struct file_job {
    struct kp_gather *gather;
    struct kp_plan_file *file;
};

static int pack_file(void *user, struct kp_fetch_job *job, struct kp_err *err)
{
    struct file_job *of = user;
    of->file->size = job->got;
    kp_packer_add(of->gather->packer, of->file);
    return kp_packer_failed(of->gather->packer) ? kp_packer_finish(of->gather->packer, err) : 0;
}

static int add_file(struct kp_gather *g, struct kp_plan_file *file, struct kp_fetch_job *job,
                    struct kp_err *err)
{
    if (is_local_url(file->url)) {
        if (take_local(g, file->local, file->url, &file->digest, err) < 0)
            return -1;
        kp_packer_add(g->packer, file);
        return 0;
    }
    struct file_job *of = kp_arena_alloc(g->plan->arena, sizeof(*of));
    *of = (struct file_job){g, file};
    memset(job, 0, sizeof(*job));
    job->name =
        kp_arena_printf(g->plan->arena, "%s v%s %s", file->component, file->version, file->arch);
    job->url = file->url;
    job->expected = &file->digest;
    job->size = file->size;
    job->total_bytes = file->announced;
    job->done = pack_file;
    job->user = of;
    kp_fetch_add(g->fetch, job);
    return 0;
}

static int make_probe(struct kp_gather *g, struct kp_err *err)
{
    struct kp_digest knodes[8] = {{{0}}};
    for (size_t a = 0; g->plan->arches[a]; a++) {
        bool found = false;
        for (size_t i = 0; i < g->plan->file_count; i++) {
            const struct kp_plan_file *file = &g->plan->files[i];
            if (strcmp(file->url, KP_OWN_URL) != 0 || strcmp(file->component, "knode") != 0 ||
                strcmp(file->arch, g->plan->arches[a]) != 0)
                continue;
            knodes[a] = file->digest;
            found = true;
        }
        if (!found)
            return kp_fail_as(err, KP_MISSING, "missing_arch", "no knode for %s in the lock",
                              g->plan->arches[a]);
    }
    return kp_probe_make(&g->probe, g->cache, g->plan->arches, knodes, &g->how, err);
}

int kp_gather_blobs(struct kp_gather *g, struct kp_err *err)
{
    struct kp_err packing = KP_ERR_INIT;
    g->packer = kp_packer_new(g->cache, &g->how, 0);
    for (size_t i = 0; i < g->plan->file_count; i++)
        if (add_file(g, &g->plan->files[i], &g->jobs[i], err) < 0)
            return -1;
    kp_oci_queue(g->oci, g->images, g->plan->image_count);
    if (kp_fetch_run(g->fetch, err) < 0)
        return -1;
    if (kp_packer_finish(g->packer, &packing) < 0) {
        if (err)
            *err = packing;
        return -1;
    }
    return make_probe(g, err);
}

static void measure_file(const struct kp_gather *g, const struct kp_plan_file *file,
                         struct kp_gather_sizes *out)
{
    uint64_t size = file->size ? file->size : file->announced;
    bool cached = kp_cache_has(g->cache, &file->digest, &size);
    bool local = is_local_url(file->url);
    if (cached && !local)
        out->cached += size;
    if (!cached && !local)
        out->fetch += size;
    out->unknown += !cached && !size;
    uint64_t held = local ? 0 : kp_held_from(g->held, file->url, file->arch);
    out->saved += held;
    if (held)
        return;
    // an archive is compressed already; what comes out of it has about its size again
    out->bundle +=
        file->install_count && file->installs[0].member ? size : size * PACKED_PERCENT / 100;
}

static int compare_blobs(const void *a, const void *b)
{
    const struct kp_oci_blob *const *x = a, *const *y = b;
    return memcmp((*x)->digest.bytes, (*y)->digest.bytes, KP_SHA256_LEN);
}

/* Images share layers: each blob counts once. */
static void measure_images(const struct kp_gather *g, struct kp_gather_sizes *out)
{
    size_t count = 0, n = 0;
    for (size_t i = 0; i < g->plan->image_count; i++)
        count += g->images[i].blob_count;
    kp_auto_free const struct kp_oci_blob **blobs = kp_alloc_array(count, sizeof(*blobs));
    for (size_t i = 0; i < g->plan->image_count; i++)
        for (size_t k = 0; k < g->images[i].blob_count; k++)
            blobs[n++] = &g->images[i].blobs[k];
    qsort(blobs, count, sizeof(*blobs), compare_blobs);
    for (size_t i = 0; i < count; i++) {
        if (i && compare_blobs(&blobs[i - 1], &blobs[i]) == 0)
            continue;
        if (kp_held_leaves_out(g->held, &blobs[i]->digest, blobs[i]->media_type)) {
            out->saved += blobs[i]->size;
            continue;
        }
        uint64_t *sum =
            kp_cache_has(g->cache, &blobs[i]->digest, NULL) ? &out->cached : &out->fetch;
        *sum += blobs[i]->size;
        out->bundle += blobs[i]->size;
    }
}

struct kp_gather_sizes kp_gather_measure(const struct kp_gather *g)
{
    struct kp_gather_sizes out = {0};
    for (size_t i = 0; i < g->plan->file_count; i++)
        measure_file(g, &g->plan->files[i], &out);
    measure_images(g, &out);
    return out;
}
