/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle_fixture.h"

#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BLOBS_MAX 64

static void require(bool good, const char *what, const struct kp_err *err)
{
    if (good)
        return;
    fprintf(stderr, "fixture: %s: %s\n", what, err ? err->message : "");
    abort();
}

char *fixture_bytes(size_t len, uint64_t seed)
{
    char *out = kp_alloc(len + 1);
    uint64_t x = seed * 2685821657736338717ULL + 88172645463325252ULL;
    for (size_t i = 0; i < len; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        out[i] = (char)(x >> 32);
    }
    return out;
}

static char *blob_path(const struct fixture *f, const struct kp_digest *digest)
{
    return kp_path_join(f->dir, kp_digest_hex(digest).hex);
}

struct kp_digest fixture_blob(struct fixture *f, const void *data, size_t len, const char *type)
{
    struct kp_manifest *m = f->manifest;
    struct kp_blob blob = {.size = len, .media_type = type};
    struct kp_err err = KP_ERR_INIT;
    kp_sha256(data, len, &blob.sha256);
    kp_auto_free char *path = blob_path(f, &blob.sha256);
    require(kp_file_write_atomic(path, (struct kp_slice){data, len}, 0600, &err) == 0, "blob",
            &err);
    require(m->blob_count < BLOBS_MAX, "too many blobs", NULL);
    m->blobs[m->blob_count++] = blob;
    return blob.sha256;
}

static int open_blob(void *user, const struct kp_digest *digest, int *fd, struct kp_err *err)
{
    kp_auto_free char *path = blob_path(user, digest);
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    return *fd < 0 ? kp_fail_sys(err, errno, "open %s", path) : 0;
}

static void add_image(struct fixture *f)
{
    static const char type[] = "application/vnd.oci.image.manifest.v1+json";
    static const char layer_type[] = "application/vnd.oci.image.layer.v1.tar";
    static const char config_type[] = "application/vnd.oci.image.config.v1+json";
    static const char *arches[] = {"amd64", NULL};
    static const char layer[1024]; // an empty tar archive
    struct kp_image *image = kp_arena_alloc(f->manifest->arena, sizeof(*image));
    struct kp_digest layer_digest = fixture_blob(f, layer, sizeof(layer), layer_type);
    kp_auto_free char *config = kp_asprintf(
        "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{},\"rootfs\":{\"type\":"
        "\"layers\",\"diff_ids\":[\"sha256:%s\"]}}",
        kp_digest_hex(&layer_digest).hex);
    struct kp_digest config_digest = fixture_blob(f, config, strlen(config), config_type);
    kp_auto_free char *manifest = kp_asprintf(
        "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"config\":{\"mediaType\":\"%s\",\"digest\":"
        "\"sha256:%s\",\"size\":%zu},\"layers\":[{\"mediaType\":\"%s\",\"digest\":\"sha256:%s\","
        "\"size\":%zu}]}",
        type, config_type, kp_digest_hex(&config_digest).hex, strlen(config), layer_type,
        kp_digest_hex(&layer_digest).hex, sizeof(layer));
    *image = (struct kp_image){.reference = "registry.k8s.io/pause:3.9",
                               .name = "pause",
                               .digest = fixture_blob(f, manifest, strlen(manifest), type),
                               .media_type = type,
                               .arches = arches,
                               .roles = KP_ROLE_CONTROL_PLANE | KP_ROLE_WORKER,
                               .pinned = true,
                               .why = "release",
                               .license = "Apache-2.0"};
    f->manifest->images = image;
    f->manifest->image_count = 1;
}

static void add_file(struct fixture *f)
{
    struct kp_file *file = kp_arena_alloc(f->manifest->arena, sizeof(*file));
    size_t len = 2 * KP_LEAF_SIZE + 12345;
    kp_auto_free char *data = fixture_bytes(len, 7);
    struct kp_digest digest = fixture_blob(f, data, len, "application/octet-stream");
    *file = (struct kp_file){.name = "kubelet",
                             .component = "kubelet",
                             .version = "v1.30.14",
                             .arch = "amd64",
                             .target = "/usr/local/bin/kubelet",
                             .mode = 0755,
                             .roles = KP_ROLE_CONTROL_PLANE | KP_ROLE_WORKER,
                             .blob = digest,
                             .blob_size = len,
                             .sha256 = digest,
                             .size = len,
                             .origin = "https://dl.k8s.io/release/v1.30.14/bin/linux/amd64/kubelet",
                             .license = "Apache-2.0"};
    f->manifest->files = file;
    f->manifest->file_count = 1;
}

static void add_cluster_manifest(struct fixture *f)
{
    static const char text[] = "apiVersion: v1\nkind: Namespace\nmetadata: {name: kube-flannel}\n";
    static const struct kp_replace replace[] = {{"10.244.0.0/16", "pods"}};
    static const struct kp_wait wait[] = {{"daemonset", "kube-flannel", "kube-flannel-ds"}};
    struct kp_cluster_manifest *m = kp_arena_alloc(f->manifest->arena, sizeof(*m));
    *m = (struct kp_cluster_manifest){.name = "kube-flannel",
                                      .why = "network flannel",
                                      .blob = fixture_blob(f, text, strlen(text), "text/yaml"),
                                      .size = strlen(text),
                                      .origin = "https://github.com/flannel-io/flannel",
                                      .replace = replace,
                                      .replace_count = 1,
                                      .wait = wait,
                                      .wait_count = 1};
    f->manifest->manifests = m;
    f->manifest->manifest_count = 1;
}

/* Sizes on both sides of every boundary: tar block, zstd block, leaf. */
static void add_sizes(struct fixture *f)
{
    static const size_t sizes[] = {0,      1,      511,    512,     513,     131071,
                                   131072, 131073, 262144, 1048575, 1048576, 1048577};
    for (size_t i = 0; i < KP_COUNT(sizes); i++) {
        kp_auto_free char *data = fixture_bytes(sizes[i], 100 + i);
        fixture_blob(f, data, sizes[i], "application/octet-stream");
    }
}

static void fill_head(struct kp_manifest *m)
{
    static const char *arches[] = {"amd64", NULL};
    static const char *programs[] = {"conntrack", "iptables", NULL};
    m->name = "k8s-v1.30.14-flannel-amd64";
    m->serial = 1764000000;
    m->created = "2026-11-23T21:00:00Z";
    m->kubernetes = "v1.30.14";
    m->kubeadm_api = "v1beta3";
    m->containerd_config = 2;
    m->network = "flannel";
    m->minimum_kinstall = "0.1.0";
    m->arches = arches;
    m->programs = programs;
    m->blobs = kp_arena_array(m->arena, BLOBS_MAX, sizeof(*m->blobs));
}

static void make_key(struct fixture *f)
{
    struct kp_err err = KP_ERR_INIT;
    struct kp_digest id;
    kp_auto_free char *path = kp_path_join(f->dir, "site.key");
    f->public_key = kp_path_join(f->dir, "site.pub");
    f->trust = kp_trust_new();
    require(kp_key_generate(f->dir, "site", &id, &err) == 0 &&
                kp_key_load(&f->key, path, NULL, &err) == 0 &&
                kp_trust_add_file(f->trust, f->public_key, &err) == 0,
            "key", &err);
}

void fixture_open(struct fixture *f)
{
    const char *tmp = getenv("TMPDIR");
    *f = (struct fixture){0};
    f->dir = kp_asprintf("%s/kpack-bundle-XXXXXX", tmp ? tmp : "/tmp");
    require(mkdtemp(f->dir) != NULL, "temporary folder", NULL);
    f->bundle = kp_path_join(f->dir, "x.tar.zst");
    f->manifest = kp_manifest_new();
    fill_head(f->manifest);
    make_key(f);
    add_file(f);
    add_image(f);
    add_cluster_manifest(f);
    add_sizes(f);
}

void fixture_close(struct fixture *f)
{
    if (f->dir)
        (void)!kp_remove_tree(f->dir, NULL);
    kp_manifest_free(f->manifest);
    kp_key_free(f->key);
    kp_trust_free(f->trust);
    kp_free(f->public_key);
    kp_free(f->bundle);
    kp_free(f->dir);
}

struct kp_bundle_writing fixture_writing(struct fixture *f, const struct kp_key *const keys[1])
{
    return (struct kp_bundle_writing){
        .manifest = f->manifest, .source = {open_blob, f}, .keys = keys, .key_count = 1};
}

void fixture_write(struct fixture *f)
{
    const struct kp_key *const keys[] = {f->key};
    struct kp_bundle_writing writing = fixture_writing(f, keys);
    struct kp_bundle_written written;
    struct kp_err err = KP_ERR_INIT;
    require(kp_bundle_write(&writing, f->bundle, &written, &err) == 0, "write", &err);
}
