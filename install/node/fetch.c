/* SPDX-License-Identifier: Apache-2.0 */
/* Op fetch: a file of the signed manifest to its place. */
#include "install/node/fetch.h"

#include "core/file.h"
#include "core/zst.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK ((size_t)262144)
#define WINDOW_LOG 27

void kp_node_mirrors_release(struct kp_node_mirrors *mirrors)
{
    kp_free(mirrors->urls);
}

int kp_node_read_mirrors(const json_t *args, struct kp_node_mirrors *out, struct kp_err *err)
{
    const char *ca = "";
    if (kp_node_texts(args, "urls", KP_MIRRORS_MAX, &out->urls, &out->count, err) < 0)
        return -1;
    if (json_object_get(args, "ca") && kp_node_text(args, "ca", KP_CA_MAX, &ca, err) < 0)
        return -1;
    out->ca = kp_slice_of(ca);
    return 0;
}

static int from_one(const struct kp_node_mirrors *mirrors, const char *url,
                    const struct kp_node_source *source, struct kp_err *err)
{
    struct kp_http_settings settings = {.ca = mirrors->ca};
    kp_auto(kp_http_client) client = NULL;
    kp_auto_free char *whole =
        kp_asprintf("%.*s%s", (int)(strlen(url) - kp_ends_with(url, "/")), url, source->path);
    uint64_t offset = 0;
    if (source->begin(source->user, &offset, err) < 0 ||
        kp_http_client_new(&client, &settings, err) < 0)
        return -1;
    struct kp_http_get get = {.url = whole,
                              .offset = offset,
                              .max = source->max - offset,
                              .sink = source->sink,
                              .user = source->user};
    if (offset == source->max && offset > 0)
        return 0;
    return kp_http_get(client, &get, NULL, err);
}

int kp_node_from_mirrors(const struct kp_node_mirrors *mirrors, const struct kp_node_source *source,
                         struct kp_err *err)
{
    kp_fail_as(err, KP_MISSING, "no_source", "no mirror was named");
    for (size_t i = 0; i < mirrors->count; i++) {
        struct kp_err one = KP_ERR_INIT;
        if (from_one(mirrors, mirrors->urls[i], source, &one) == 0)
            return 0;
        *err = one;
        kp_wrap(err, "mirror %s", mirrors->urls[i]);
        // Our own disk will not be better with another mirror.
        if (one.reason &&
            (strcmp(one.reason, "disk_full") == 0 || strcmp(one.reason, "interrupted") == 0))
            return -1;
    }
    return -1;
}

int kp_node_from_connection(struct kp_node_request *request, kp_http_sink *sink, void *user,
                            struct kp_err *err)
{
    kp_auto_free char *block = kp_alloc(BLOCK);
    for (;;) {
        size_t got;
        if (kp_node_read(request, block, BLOCK, &got, err) < 0)
            return -1;
        if (!got)
            return 0;
        if (sink(user, block, got, err) < 0)
            return -1;
    }
}

struct placing {
    struct kp_node_request *request;
    const struct kp_file *file;
    char *target, *temp;
    int fd;
    struct kp_unzst *unzst;
    struct kp_hash *packed, *plain;
    uint64_t packed_size, plain_size;
};

static void placing_release(struct placing *p)
{
    if (p->fd >= 0)
        close(p->fd);
    if (p->temp)
        (void)unlink(p->temp);
    kp_unzst_free(p->unzst);
    kp_hash_free(p->packed);
    kp_hash_free(p->plain);
    kp_free(p->target);
    kp_free(p->temp);
}
KP_DEFINE_AUTO_VALUE(placing);

static int take_plain(void *user, const void *data, size_t len, struct kp_err *err)
{
    struct placing *p = user;
    kp_hash_update(p->plain, data, len);
    p->plain_size += len;
    return kp_write_full(p->fd, data, len, err);
}

static int begin_placing(void *user, uint64_t *offset, struct kp_err *err)
{
    struct placing *p = user;
    *offset = 0;
    if (p->fd >= 0)
        close(p->fd);
    (void)unlink(p->temp);
    p->fd = open(p->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (p->fd < 0)
        return kp_fail_sys(err, errno, "create %s", p->temp);
    kp_unzst_free(p->unzst);
    kp_hash_free(p->packed);
    kp_hash_free(p->plain);
    p->unzst = kp_unzst_new(p->file->size, WINDOW_LOG, take_plain, p);
    p->packed = kp_hash_new();
    p->plain = kp_hash_new();
    p->packed_size = p->plain_size = 0;
    return 0;
}

static int take_packed(void *user, const void *data, size_t len, struct kp_err *err)
{
    struct placing *p = user;
    p->packed_size += len;
    if (p->packed_size > p->file->blob_size)
        return kp_fail_as(err, KP_DAMAGED, "too_large", "more than the signed %llu bytes",
                          (unsigned long long)p->file->blob_size);
    if (kp_node_cancelled(p->request))
        return kp_fail_as(err, KP_FAILED, "interrupted", "given up by kinstall");
    kp_hash_update(p->packed, data, len);
    return kp_unzst_feed(p->unzst, data, len, err);
}

static int check_digests(struct placing *p, struct kp_err *err)
{
    struct kp_digest packed, plain;
    if (kp_unzst_finish(p->unzst, err) < 0)
        return -1;
    kp_hash_finish(p->packed, &packed);
    kp_hash_finish(p->plain, &plain);
    if (p->packed_size != p->file->blob_size || !kp_digest_equal(&packed, &p->file->blob))
        return kp_fail_as(err, KP_DAMAGED, "damaged", "what came is not the blob that was signed");
    if (p->plain_size != p->file->size || !kp_digest_equal(&plain, &p->file->sha256))
        return kp_fail_as(err, KP_DAMAGED, "damaged", "the unpacked file is not what was signed");
    return 0;
}

static int finish_placing(struct placing *p, struct kp_err *err)
{
    if (fchown(p->fd, 0, 0) < 0 || fchmod(p->fd, p->file->mode & 0777) < 0 || fsync(p->fd) < 0 ||
        rename(p->temp, p->target) < 0)
        return kp_fail_sys(err, errno, "place %s", p->file->target);
    return kp_sync_parent(p->target, err);
}

static int bring(struct placing *p, const struct kp_node_mirrors *mirrors, struct kp_err *err)
{
    uint64_t offset;
    kp_auto_free char *folder = kp_path_dir(p->target);
    if (kp_mkdirs(folder, 0755, err) < 0)
        return -1;
    if (mirrors->urls) {
        kp_auto_free char *path =
            kp_asprintf("/blobs/sha256/%s", kp_digest_hex(&p->file->blob).hex);
        struct kp_node_source source = {path, p->file->blob_size, begin_placing, take_packed, p};
        return kp_node_from_mirrors(mirrors, &source, err);
    }
    kp_auto_json need = json_pack("{s:b}", "need", 1);
    if (begin_placing(p, &offset, err) < 0 || kp_node_note(p->request, need, err) < 0)
        return -1;
    return kp_node_from_connection(p->request, take_packed, p, err);
}

static const struct kp_file *find_file(const struct kp_manifest *manifest,
                                       const struct kp_digest *blob, const char *target)
{
    for (size_t i = 0; i < manifest->file_count; i++)
        if (kp_digest_equal(&manifest->files[i].blob, blob) &&
            strcmp(manifest->files[i].target, target) == 0)
            return &manifest->files[i];
    return NULL;
}

static int is_there(const struct placing *p, bool *there, bool *mode, struct kp_err *err)
{
    struct stat st;
    struct kp_digest digest;
    uint64_t size;
    *there = *mode = false;
    if (lstat(p->target, &st) < 0)
        return errno == ENOENT || errno == ENOTDIR
                   ? 0
                   : kp_fail_sys(err, errno, "look at %s", p->target);
    if (S_ISDIR(st.st_mode))
        return kp_fail(err, KP_FAILED, "%s is a folder", p->target);
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != p->file->size)
        return 0;
    if (kp_sha256_file(p->target, &digest, &size, err) < 0)
        return -1;
    *there = kp_digest_equal(&digest, &p->file->sha256);
    *mode = (st.st_mode & 07777) == (p->file->mode & 0777) && st.st_uid == 0 && st.st_gid == 0;
    return 0;
}

static int note_fetched(const struct placing *p, bool dry_run, json_t *result, struct kp_err *err)
{
    const struct kp_node_placed placed = {.op = "fetch",
                                          .path = p->file->target,
                                          .mode = p->file->mode & 0777,
                                          .size = p->file->size,
                                          .sha256 = p->file->sha256,
                                          .blob = &p->file->blob,
                                          .changed =
                                              json_is_true(json_object_get(result, "changed"))};
    return dry_run ? 0
                   : kp_node_note_placed(kp_node_request_state(p->request), &placed, result, err);
}

static int place(struct placing *p, const struct kp_node_mirrors *mirrors, bool dry_run,
                 json_t **result, struct kp_err *err)
{
    bool there, mode;
    if (is_there(p, &there, &mode, err) < 0)
        return -1;
    if (there && mode) {
        *result = kp_node_change(false, NULL);
        return note_fetched(p, dry_run, *result, err);
    }
    if (kp_node_commit(kp_node_request_state(p->request), dry_run, err) < 0)
        return -1;
    if (there && !dry_run &&
        (chmod(p->target, p->file->mode & 0777) < 0 || chown(p->target, 0, 0) < 0))
        return kp_fail_sys(err, errno, "set mode and owner");
    if (!there && !dry_run &&
        (bring(p, mirrors, err) < 0 || check_digests(p, err) < 0 || finish_placing(p, err) < 0))
        return -1;
    kp_auto_free char *diff = kp_asprintf("place %s %s at %s (mode %04o)\n", p->file->name,
                                          p->file->version, p->file->target, p->file->mode & 0777);
    *result = kp_node_change(true, diff);
    return note_fetched(p, dry_run, *result, err);
}

int kp_node_op_fetch(struct kp_node_request *request, const json_t *args, json_t **result,
                     struct kp_err *err)
{
    struct kp_node_state *state = kp_node_request_state(request);
    kp_auto_value(placing) p = {.request = request, .fd = -1};
    kp_auto_value(kp_node_mirrors) mirrors = {0};
    struct kp_digest blob;
    const char *hex, *target;
    if (kp_node_text(args, "blob", KP_SHA256_HEX, &hex, err) < 0 ||
        kp_node_path(args, "target", &target, err) < 0)
        return -1;
    if (!kp_digest_parse(kp_slice_of(hex), &blob))
        return kp_fail_as(err, KP_USAGE, "bad_request", "request field \"blob\" is not a digest");
    p.file = find_file(state->manifest, &blob, target);
    if (!p.file)
        return kp_fail_as(err, KP_UNTRUSTED, "not_listed",
                          "the signed manifest has no file %s of digest %s", target, hex);
    p.target = kp_node_own(state, target);
    p.temp = kp_asprintf("%s.kpack.%u", p.target, (unsigned)gettid());
    if (kp_node_read_mirrors(args, &mirrors, err) < 0 ||
        place(&p, &mirrors, kp_node_flag(args, "dry_run"), result, err) < 0)
        return kp_wrap(err, "%s", p.file->name);
    return 0;
}
