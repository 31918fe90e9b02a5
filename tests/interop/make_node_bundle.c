/* SPDX-License-Identifier: Apache-2.0 */
/*
 * make_node_bundle FOLDER KNODE SERIAL [BIG_BYTES]: a real, signed bundle with knode for this
 * machine's arch, a small file "greeting" (/opt/kpack-test/greeting) and a big one "big" of random
 * bytes: FOLDER/test.tar.zst, signed by FOLDER/test.key. Prints its id.
 */
#include "bundle/writer.h"
#include "core/file.h"
#include "core/zst.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#define FILES 3

struct maker {
    const char *folder;
    struct kp_blob blobs[FILES];
    struct kp_file files[FILES];
    struct kp_manifest manifest;
};

static void die(const struct kp_err *err)
{
    fprintf(stderr, "make_node_bundle: %s\n", err->message);
    exit(1);
}

static void add_file(struct maker *m, const char *name, const char *path, const char *target)
{
    struct kp_err err = KP_ERR_INIT;
    size_t i = m->manifest.file_count++;
    struct kp_file *file = &m->files[i];
    kp_auto_free char *temp = kp_path_join(m->folder, "packed");
    kp_auto_fd int in = open(path, O_RDONLY | O_CLOEXEC);
    kp_auto_fd int out = open(temp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    off_t size = lseek(in, 0, SEEK_END);
    lseek(in, 0, SEEK_SET);
    *file = (struct kp_file){.name = name,
                             .component = name,
                             .version = "1",
                             .arch = "amd64",
                             .target = target,
                             .mode = 0755,
                             .roles = KP_ROLE_CONTROL_PLANE | KP_ROLE_WORKER,
                             .size = (uint64_t)size,
                             .origin = "kpack",
                             .license = "Apache-2.0"};
    if (kp_zst_compress_fd(in, (uint64_t)size, out, 3, 1, &file->sha256, &file->blob,
                           &file->blob_size, &err) < 0)
        die(&err);
    kp_auto_free char *blob = kp_path_join(m->folder, kp_digest_hex(&file->blob).hex);
    if (rename(temp, blob) < 0)
        exit(1);
    m->blobs[m->manifest.blob_count++] = (struct kp_blob){
        .sha256 = file->blob, .size = file->blob_size, .media_type = "application/octet-stream"};
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
    const struct kp_blob *x = a, *y = b;
    return memcmp(x->sha256.bytes, y->sha256.bytes, KP_SHA256_LEN);
}

static void make_file(const char *path, size_t size, bool random)
{
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *text = kp_alloc(size + 1);
    for (size_t at = 0; random && at < size;) {
        ssize_t n = getrandom(text + at, size - at, 0);
        at += n > 0 ? (size_t)n : 0;
    }
    if (!random)
        snprintf(text, size + 1, "hello from the bundle\n");
    struct kp_slice data = {text, random ? size : strlen(text)};
    if (!kp_file_exists(path) && kp_file_write_atomic(path, data, 0644, &err) < 0)
        die(&err);
}

static void write_it(struct maker *m)
{
    struct kp_err err = KP_ERR_INIT;
    struct kp_digest id;
    struct kp_bundle_written written;
    kp_auto(kp_key) key = NULL;
    kp_auto_free char *key_path = kp_path_join(m->folder, "test.key");
    kp_auto_free char *out = kp_path_join(m->folder, "test.tar.zst");
    if ((!kp_file_exists(key_path) && kp_key_generate(m->folder, "test", &id, &err) < 0) ||
        kp_key_load(&key, key_path, NULL, &err) < 0)
        die(&err);
    const struct kp_key *keys[] = {key};
    struct kp_bundle_writing writing = {
        .manifest = &m->manifest, .source = {open_blob, m}, .keys = keys, .key_count = 1};
    if (kp_bundle_write(&writing, out, &written, &err) < 0)
        die(&err);
    printf("%s\n", kp_digest_hex(&written.id).hex);
}

int main(int argc, char **argv)
{
    static const char *arches[] = {"amd64", NULL}, *none[] = {NULL};
    uint64_t serial = 1, big = 65536;
    if (argc < 4 || argc > 5 || !kp_parse_u64(kp_slice_of(argv[3]), UINT32_MAX, &serial) ||
        (argc == 5 && !kp_parse_size(kp_slice_of(argv[4]), &big)))
        return 2;
    static struct maker m;
    m.folder = argv[1];
    m.manifest = (struct kp_manifest){.arena = kp_arena_new(),
                                      .name = "session-test",
                                      .serial = serial,
                                      .created = "2026-01-01T00:00:00Z",
                                      .kubernetes = "v1.30.14",
                                      .kubeadm_api = "v1beta3",
                                      .containerd_config = 2,
                                      .network = "none",
                                      .minimum_kinstall = "0.1.0",
                                      .arches = arches,
                                      .programs = none,
                                      .blobs = m.blobs,
                                      .files = m.files};
    kp_auto_free char *greeting = kp_path_join(m.folder, "greeting"),
                      *random = kp_path_join(m.folder, "big");
    make_file(greeting, 64, false);
    make_file(random, big, true);
    add_file(&m, "knode", argv[2], "/usr/local/libexec/kpack/knode");
    add_file(&m, "greeting", greeting, "/opt/kpack-test/greeting");
    add_file(&m, "big", random, "/opt/kpack-test/big");
    qsort(m.blobs, m.manifest.blob_count, sizeof(m.blobs[0]), compare_blobs);
    write_it(&m);
    kp_arena_free(m.manifest.arena);
    return 0;
}
