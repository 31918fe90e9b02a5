/* SPDX-License-Identifier: Apache-2.0 */
/*
 * make_bundle FOLDER IMAGES LAYER_BYTES [SERIAL [sparse]]: a small but real bundle for tests and
 * benchmarks of the registry: FOLDER/test.tar.zst, signed by FOLDER/test.key. Images are
 * registry.k8s.io/img<n>:v1 (one layer of a tar with random bytes, an index with a child that is
 * not carried), all different. sparse: only their first 4 KiB are random, for large ones. Prints
 * the bundle's id.
 */
#include "bundle/writer.h"
#include "core/file.h"
#include "core/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define IMAGES_MAX 1000
#define SPARSE_HEAD ((size_t)8192)
#define LAYER_TYPE "application/vnd.oci.image.layer.v1.tar"
#define CONFIG_TYPE "application/vnd.oci.image.config.v1+json"
#define MANIFEST_TYPE "application/vnd.oci.image.manifest.v1+json"
#define INDEX_TYPE "application/vnd.oci.image.index.v1+json"

struct maker {
    const char *folder;
    bool sparse;
    struct kp_manifest manifest;
    struct kp_blob blobs[IMAGES_MAX * 4];
    struct kp_image images[IMAGES_MAX];
    char references[IMAGES_MAX][64];
};

static void die(const struct kp_err *err)
{
    fprintf(stderr, "make_bundle: %s\n", err->message);
    exit(1);
}

static const struct kp_blob *add_blob(struct maker *m, struct kp_slice data, const char *type)
{
    struct kp_err err = KP_ERR_INIT;
    struct kp_blob *blob = &m->blobs[m->manifest.blob_count++];
    *blob = (struct kp_blob){.size = data.len, .media_type = type};
    kp_sha256(data.ptr, data.len, &blob->sha256);
    kp_auto_free char *path = kp_path_join(m->folder, kp_digest_hex(&blob->sha256).hex);
    size_t head = m->sparse && data.len > SPARSE_HEAD ? SPARSE_HEAD : data.len;
    if (kp_file_write_atomic(path, (struct kp_slice){data.ptr, head}, 0644, &err) < 0)
        die(&err);
    if (truncate(path, (off_t)data.len) < 0 && kp_fail_sys(&err, errno, "%s", path) < 0)
        die(&err);
    return blob;
}

/* A tar of one file of random bytes, size bytes long in all. */
static char *make_layer(size_t size, bool sparse)
{
    char *tar = kp_alloc(size);
    size_t content = size - 512 - 1024;
    snprintf(tar, 100, "data");
    snprintf(tar + 100, 8, "0000644");
    snprintf(tar + 108, 8, "0000000");
    snprintf(tar + 116, 8, "0000000");
    snprintf(tar + 124, 12, "%011zo", content);
    snprintf(tar + 136, 12, "%011o", 0);
    memset(tar + 148, ' ', 8);
    tar[156] = '0';
    memcpy(tar + 257, "ustar\00000", 8);
    unsigned sum = 0;
    for (size_t i = 0; i < 512; i++)
        sum += (unsigned char)tar[i];
    snprintf(tar + 148, 8, "%06o", sum);
    for (size_t at = 0; at < (sparse ? 4096 : content);) {
        ssize_t n = getrandom(tar + 512 + at, content - at < 4096 ? content - at : 4096, 0);
        at += n > 0 ? (size_t)n : 0;
    }
    return tar;
}

static const struct kp_blob *add_text(struct maker *m, char *text, const char *type)
{
    const struct kp_blob *blob = add_blob(m, kp_slice_of(text), type);
    kp_free(text);
    return blob;
}

static void add_image(struct maker *m, size_t i, size_t layer_size)
{
    kp_auto_free char *tar = make_layer(layer_size, m->sparse);
    const struct kp_blob *layer = add_blob(m, (struct kp_slice){tar, layer_size}, LAYER_TYPE);
    const char *hex = kp_arena_strdup(m->manifest.arena, kp_digest_hex(&layer->sha256).hex);
    const struct kp_blob *config = add_text(
        m,
        kp_asprintf("{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{},\"rootfs\":"
                    "{\"type\":\"layers\",\"diff_ids\":[\"sha256:%s\"]}}",
                    hex),
        CONFIG_TYPE);
    const struct kp_blob *manifest = add_text(
        m,
        kp_asprintf("{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST_TYPE
                    "\",\"config\":{\"mediaType\":\"" CONFIG_TYPE
                    "\",\"digest\":\"sha256:%s\",\"size\":%zu},\"layers\":[{\"mediaType\":"
                    "\"" LAYER_TYPE "\",\"digest\":\"sha256:%s\",\"size\":%zu}]}",
                    kp_digest_hex(&config->sha256).hex, (size_t)config->size, hex, layer_size),
        MANIFEST_TYPE);
    const char *text = kp_arena_strdup(m->manifest.arena, kp_digest_hex(&manifest->sha256).hex);
    const struct kp_blob *index = add_text(
        m,
        kp_asprintf("{\"schemaVersion\":2,\"mediaType\":\"" INDEX_TYPE
                    "\",\"manifests\":[{\"mediaType\":\"" MANIFEST_TYPE
                    "\",\"digest\":\"sha256:%s\",\"size\":%zu,\"platform\":{\"architecture\":"
                    "\"amd64\",\"os\":\"linux\"}},{\"mediaType\":\"" MANIFEST_TYPE
                    "\",\"digest\":\"sha256:"
                    "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd\",\"size\":7,"
                    "\"platform\":{\"architecture\":\"arm64\",\"os\":\"linux\"}}]}",
                    text, (size_t)manifest->size),
        INDEX_TYPE);
    static const char *arches[] = {"amd64", NULL};
    snprintf(m->references[i], sizeof(m->references[i]), "registry.k8s.io/img%zu:v1", i);
    m->images[i] = (struct kp_image){.reference = m->references[i],
                                     .name = "",
                                     .digest = index->sha256,
                                     .media_type = INDEX_TYPE,
                                     .arches = arches,
                                     .roles = KP_ROLE_CONTROL_PLANE | KP_ROLE_WORKER,
                                     .why = "test",
                                     .license = ""};
}

static int open_blob(void *user, const struct kp_digest *blob, int *fd, struct kp_err *err)
{
    const struct maker *m = user;
    kp_auto_free char *path = kp_path_join(m->folder, kp_digest_hex(blob).hex);
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    return *fd < 0 ? kp_fail_sys(err, errno, "%s", path) : 0;
}

static int compare_blobs(const void *a, const void *b)
{
    return memcmp(((const struct kp_blob *)a)->sha256.bytes,
                  ((const struct kp_blob *)b)->sha256.bytes, KP_SHA256_LEN);
}

static void fill_manifest(struct maker *m, uint64_t serial)
{
    static const char *arches[] = {"amd64", NULL}, *none[] = {NULL};
    struct kp_manifest *manifest = &m->manifest;
    manifest->arena = kp_arena_new();
    manifest->name = "registry-test";
    manifest->serial = serial;
    manifest->created = "2026-01-01T00:00:00Z";
    manifest->kubernetes = "v1.30.14";
    manifest->kubeadm_api = "v1beta3";
    manifest->containerd_config = 2;
    manifest->network = "none";
    manifest->minimum_kinstall = "0.1.0";
    manifest->arches = arches;
    manifest->programs = none;
    manifest->blobs = m->blobs;
    manifest->images = m->images;
}

static void write_bundle(struct maker *m, const char *folder, struct kp_bundle_written *written)
{
    struct kp_err err = KP_ERR_INIT;
    struct kp_digest id;
    kp_auto(kp_key) key = NULL;
    kp_auto_free char *key_path = kp_path_join(folder, "test.key");
    kp_auto_free char *out = kp_path_join(folder, "test.tar.zst");
    if (!kp_file_exists(key_path) && kp_key_generate(folder, "test", &id, &err) < 0)
        die(&err);
    if (kp_key_load(&key, key_path, NULL, &err) < 0)
        die(&err);
    const struct kp_key *keys[] = {key};
    struct kp_bundle_writing writing = {
        .manifest = &m->manifest, .source = {open_blob, m}, .keys = keys, .key_count = 1};
    if (kp_bundle_write(&writing, out, written, &err) < 0)
        die(&err);
}

int main(int argc, char **argv)
{
    uint64_t images = 0, layer = 0, serial = 1;
    struct kp_err err = KP_ERR_INIT;
    if (argc < 4 || argc > 6 || (argc == 6 && strcmp(argv[5], "sparse") != 0) ||
        !kp_parse_u64(kp_slice_of(argv[2]), IMAGES_MAX, &images) ||
        !kp_parse_size(kp_slice_of(argv[3]), &layer) || layer < 4096 || layer % 512 ||
        (argc >= 5 && !kp_parse_u64(kp_slice_of(argv[4]), UINT32_MAX, &serial))) {
        fprintf(stderr, "make_bundle FOLDER IMAGES LAYER_BYTES [SERIAL [sparse]]\n");
        return 2;
    }
    kp_auto_free char *cache = kp_path_join(argv[1], "blobs");
    if (kp_mkdirs(cache, 0755, &err) < 0)
        die(&err);
    struct maker *m = kp_alloc(sizeof(*m));
    struct kp_bundle_written written;
    m->folder = cache;
    m->sparse = argc == 6;
    fill_manifest(m, serial);
    for (size_t i = 0; i < images; i++)
        add_image(m, i, (size_t)layer);
    m->manifest.image_count = images;
    qsort(m->blobs, m->manifest.blob_count, sizeof(m->blobs[0]), compare_blobs);
    write_bundle(m, argv[1], &written);
    printf("%s\n", kp_digest_hex(&written.id).hex);
    kp_arena_free(m->manifest.arena);
    kp_free(m);
    return kp_remove_tree(cache, &err) < 0;
}
