/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostile_memory KPACK: the peak memory of `kpack verify` (ru_maxrss, wait4) on bundles of 16 MiB
 * and of 512 MiB, each of one zero-filled file. It must not grow with the bundle but for
 * bundle.leaves: 32 bytes per MiB.
 */
#include "bundle_fixture.h"

#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define SMALL ((uint64_t)16 << 20)
#define LARGE ((uint64_t)512 << 20)
#define GROWTH_MAX_KB 4096
#define PEAK_MAX_KB (64 * 1024)

extern char **environ;

static void require(bool good, const char *what, const struct kp_err *err)
{
    if (good)
        return;
    fprintf(stderr, "hostile_memory: %s: %s\n", what, err ? err->message : "");
    exit(1);
}

static void zeros_digest(uint64_t size, struct kp_digest *out)
{
    static const char zeros[1 << 20];
    kp_auto(kp_hash) hash = kp_hash_new();
    for (uint64_t done = 0; done < size; done += sizeof(zeros))
        kp_hash_update(hash, zeros, sizeof(zeros));
    kp_hash_finish(hash, out);
}

/* A sparse file: the writer reads zeros that are nowhere. */
static int open_zeros(void *user, const struct kp_digest *blob, int *fd, struct kp_err *err)
{
    const struct fixture *f = user;
    kp_auto_free char *path = kp_path_join(f->dir, kp_digest_hex(blob).hex);
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    return *fd < 0 ? kp_fail_sys(err, errno, "open %s", path) : 0;
}

static void make_bundle(struct fixture *f, uint64_t size, const char *path)
{
    struct kp_manifest *m = f->manifest;
    struct kp_blob blob = {.size = size, .media_type = "application/octet-stream"};
    struct kp_err err = KP_ERR_INIT;
    struct kp_bundle_written written;
    zeros_digest(size, &blob.sha256);
    kp_auto_free char *source = kp_path_join(f->dir, kp_digest_hex(&blob.sha256).hex);
    kp_auto_fd int fd = open(source, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    require(fd >= 0 && ftruncate(fd, (off_t)size) == 0, "sparse file", NULL);
    m->blobs[0] = blob;
    m->blob_count = 1;
    m->image_count = m->manifest_count = m->file_count = 0;
    const struct kp_key *const keys[] = {f->key};
    struct kp_bundle_writing writing = {
        .manifest = m, .source = {open_zeros, f}, .keys = keys, .key_count = 1, .threads = 1};
    require(kp_bundle_write(&writing, path, &written, &err) == 0, "write", &err);
}

static long peak_of(const char *kpack, const char *key, const char *path)
{
    const char *const argv[] = {kpack, "verify", "--quiet", "--key", key, path, NULL};
    struct rusage usage;
    pid_t pid;
    int status;
    require(posix_spawn(&pid, kpack, NULL, NULL, (char *const *)(uintptr_t)argv, environ) == 0,
            "start kpack", NULL);
    require(wait4(pid, &status, 0, &usage) == pid, "wait", NULL);
    require(WIFEXITED(status) && WEXITSTATUS(status) == 0, "kpack verify", NULL);
    return usage.ru_maxrss;
}

/* In a process of its own: ru_maxrss of a spawned child is never less than its parent's peak. */
static int make_bundles(const char *small, const char *large, const char *key)
{
    struct fixture f;
    kp_auto_free char *pem = NULL;
    size_t len;
    fixture_open(&f);
    make_bundle(&f, SMALL, small);
    make_bundle(&f, LARGE, large);
    require(kp_file_read(f.public_key, KP_KEY_FILE_MAX, &pem, &len, NULL) == 0 &&
                kp_file_write_atomic(key, (struct kp_slice){pem, len}, 0644, NULL) == 0,
            "key", NULL);
    fixture_close(&f);
    return 0;
}

static void measure(const char *kpack, const char *folder, long peaks[2])
{
    kp_auto_free char *small = kp_path_join(folder, "small.tar.zst");
    kp_auto_free char *large = kp_path_join(folder, "large.tar.zst");
    kp_auto_free char *key = kp_path_join(folder, "key.pub");
    int status = 0;
    pid_t pid = fork();
    if (pid == 0)
        _exit(make_bundles(small, large, key));
    require(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "make the bundles", NULL);
    peaks[0] = peak_of(kpack, key, small);
    peaks[1] = peak_of(kpack, key, large);
}

int main(int argc, char **argv)
{
    char folder[] = "/tmp/kpack-memory-XXXXXX";
    long peaks[2] = {0, 0};
    struct rusage own;
    if (argc != 2)
        return 2;
    require(mkdtemp(folder) != NULL, "temporary folder", NULL);
    measure(argv[1], folder, peaks);
    (void)!kp_remove_tree(folder, NULL);
    getrusage(RUSAGE_SELF, &own);
    printf("peak memory of kpack verify: %ld KiB for 16 MiB, %ld KiB for 512 MiB (floor %ld KiB)\n",
           peaks[0], peaks[1], own.ru_maxrss);
    // what is not above the floor was not measured
    require(peaks[0] > own.ru_maxrss, "the measure is this program's own", NULL);
    return peaks[1] - peaks[0] > GROWTH_MAX_KB || (KP_PEAK_BOUND && peaks[1] > PEAK_MAX_KB);
}
