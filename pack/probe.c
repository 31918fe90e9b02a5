/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/probe.h"

#include "core/file.h"

#include <assert.h>
#include <stdio.h>
#include <unistd.h>

#define TAR_BLOCK 512
#define COPY_SIZE ((size_t)1 << 20)
#define TYPE_INDEX "application/vnd.oci.image.index.v1+json"
#define TYPE_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define TYPE_CONFIG "application/vnd.oci.image.config.v1+json"
#define TYPE_LAYER "application/vnd.oci.image.layer.v1.tar+zstd"
#define EPOCH "1970-01-01T00:00:00Z"

struct making {
    struct kp_cache *cache;
    struct kp_probe *out;
    const struct kp_compression *how;
    struct kp_err *err;
};

/* One ustar header: a regular file "knode", 0755, owner 0, time 0. */
static void fill_header(char head[TAR_BLOCK], uint64_t size)
{
    unsigned sum = 0;
    memset(head, 0, TAR_BLOCK);
    memcpy(head, "knode", 5);
    memcpy(head + 100, "0000755", 7);
    memcpy(head + 108, "0000000", 7);
    memcpy(head + 116, "0000000", 7);
    snprintf(head + 124, 12, "%011llo", (unsigned long long)size);
    memcpy(head + 136, "00000000000", 11);
    memset(head + 148, ' ', 8);
    head[156] = '0';
    memcpy(head + 257,
           "ustar\0"
           "00",
           8);
    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += (unsigned char)head[i];
    snprintf(head + 148, 8, "%06o", sum);
}

static int copy_fd(int from, int to, uint64_t size, struct kp_err *err)
{
    kp_auto_free char *block = kp_alloc(COPY_SIZE);
    for (uint64_t offset = 0; offset < size;) {
        size_t len = size - offset < COPY_SIZE ? (size_t)(size - offset) : COPY_SIZE;
        if (kp_pread_full(from, block, len, offset, err) < 0 ||
            kp_write_full(to, block, len, err) < 0)
            return -1;
        offset += len;
    }
    return 0;
}

static int write_tar(struct making *m, const struct kp_digest *knode, int out, uint64_t *size)
{
    char head[TAR_BLOCK];
    static const char zeros[3 * TAR_BLOCK];
    kp_auto_fd int fd = -1;
    uint64_t knode_size = 0;
    if (kp_cache_fd(m->cache, knode, &fd, m->err) < 0)
        return -1;
    kp_cache_has(m->cache, knode, &knode_size);
    size_t padding = (size_t)(-knode_size & (TAR_BLOCK - 1)) + 2 * (size_t)TAR_BLOCK;
    fill_header(head, knode_size);
    *size = TAR_BLOCK + knode_size + padding;
    if (kp_write_full(out, head, sizeof(head), m->err) < 0 ||
        copy_fd(fd, out, knode_size, m->err) < 0)
        return -1;
    return kp_write_full(out, zeros, padding, m->err);
}

/* The tar is a temporary of the cache that is never named; only its compressed form is kept. */
static int make_layer(struct making *m, const struct kp_digest *knode, struct kp_probe_blob *layer,
                      struct kp_digest *diff_id)
{
    kp_auto(kp_cache_new) tar = NULL;
    struct kp_memo packed;
    uint64_t size;
    if (kp_cache_begin(&tar, m->cache, m->err) < 0 ||
        write_tar(m, knode, kp_cache_new_fd(tar), &size) < 0)
        return -1;
    int fd = kp_cache_new_fd(tar);
    if (lseek(fd, 0, SEEK_SET) < 0)
        return kp_fail(m->err, KP_FAILED, "seek: %m");
    if (kp_sha256_fd(fd, diff_id, &size, m->err) < 0 ||
        kp_compress(m->cache, m->how, fd, diff_id, size, &packed, m->err) < 0)
        return -1;
    *layer = (struct kp_probe_blob){packed.digest, packed.size, TYPE_LAYER};
    return 0;
}

static int put_json(struct making *m, const json_t *document, const char *media_type,
                    struct kp_probe_blob *blob)
{
    kp_auto_free char *text = json_dumps(document, JSON_COMPACT);
    assert(text); // all of it was made here
    blob->size = strlen(text);
    blob->media_type = media_type;
    return kp_cache_put(m->cache, kp_slice_of(text), &blob->digest, m->err);
}

static json_t *descriptor(const struct kp_probe_blob *blob)
{
    kp_auto_free char *digest = kp_asprintf("sha256:%s", kp_digest_hex(&blob->digest).hex);
    return json_pack("{s:s, s:s, s:I}", "mediaType", blob->media_type, "digest", digest, "size",
                     (json_int_t)blob->size);
}

static json_t *make_config(const char *arch, const struct kp_digest *diff_id)
{
    kp_auto_free char *id = kp_asprintf("sha256:%s", kp_digest_hex(diff_id).hex);
    return json_pack("{s:s, s:s, s:s, s:{s:[s], s:s}, s:{s:s, s:[s]}, s:[{s:s, s:s}]}", "created",
                     EPOCH, "architecture", arch, "os", "linux", "config", "Entrypoint", "/knode",
                     "WorkingDir", "/", "rootfs", "type", "layers", "diff_ids", id, "history",
                     "created", EPOCH, "created_by", "kpack");
}

static json_t *make_manifest(const struct kp_probe_blob *config, const struct kp_probe_blob *layer)
{
    return json_pack("{s:i, s:s, s:o, s:[o]}", "schemaVersion", 2, "mediaType", TYPE_MANIFEST,
                     "config", descriptor(config), "layers", descriptor(layer));
}

static int make_arch(struct making *m, const char *arch, const struct kp_digest *knode,
                     json_t *children)
{
    struct kp_probe_blob *blobs = &m->out->blobs[m->out->count]; // manifest, config, layer
    struct kp_digest diff_id;
    if (make_layer(m, knode, &blobs[2], &diff_id) < 0)
        return -1;
    kp_auto_json config = make_config(arch, &diff_id);
    if (put_json(m, config, TYPE_CONFIG, &blobs[1]) < 0)
        return -1;
    kp_auto_json manifest = make_manifest(&blobs[1], &blobs[2]);
    if (put_json(m, manifest, TYPE_MANIFEST, &blobs[0]) < 0)
        return -1;
    json_t *child = descriptor(&blobs[0]);
    json_object_set_new(child, "platform",
                        json_pack("{s:s, s:s}", "architecture", arch, "os", "linux"));
    json_array_append_new(children, child);
    m->out->count += 3;
    return 0;
}

int kp_probe_make(struct kp_probe *out, struct kp_cache *cache, const char *const *arches,
                  const struct kp_digest *knodes, const struct kp_compression *how,
                  struct kp_err *err)
{
    struct making m = {.cache = cache, .out = out, .how = how, .err = err};
    json_t *children = json_array();
    kp_auto_json index = json_pack("{s:i, s:s, s:o}", "schemaVersion", 2, "mediaType", TYPE_INDEX,
                                   "manifests", children);
    out->count = 1; // the index, once its children are known
    for (size_t i = 0; arches[i]; i++) {
        assert(out->count + 3 <= KP_COUNT(out->blobs));
        if (make_arch(&m, arches[i], &knodes[i], children) < 0)
            return kp_wrap(err, "probe image, %s", arches[i]);
    }
    return put_json(&m, index, TYPE_INDEX, &out->blobs[0]);
}
