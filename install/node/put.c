/* SPDX-License-Identifier: Apache-2.0 */
/* Ops put, remove, get: small whole files. */
#include "install/node/node.h"

#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

struct put {
    const char *path; /* as asked, for messages and diff */
    char *real;       /* root + path */
    uint64_t mode, uid, gid, size;
    bool secret, once, dry_run;
};

static void put_release(struct put *put)
{
    kp_free(put->real);
}
KP_DEFINE_AUTO_VALUE(put);

static int read_put(struct kp_node_state *state, const json_t *args, struct put *put,
                    struct kp_err *err)
{
    if (kp_node_path(args, "path", &put->path, err) < 0 ||
        kp_node_number(args, "mode", 07777, &put->mode, err) < 0 ||
        kp_node_number(args, "uid", UINT32_MAX - 1, &put->uid, err) < 0 ||
        kp_node_number(args, "gid", UINT32_MAX - 1, &put->gid, err) < 0 ||
        kp_node_number(args, "size", KP_PUT_MAX, &put->size, err) < 0)
        return -1;
    put->secret = kp_node_flag(args, "secret");
    put->once = kp_node_flag(args, "once");
    put->dry_run = kp_node_flag(args, "dry_run");
    put->real = kp_node_own(state, put->path);
    return 0;
}

/* What is there now: *found, its bytes and status. A link or device in its place is an error. */
static int read_present(const struct put *put, bool *found, struct stat *st, char **text,
                        size_t *len, struct kp_err *err)
{
    *found = false;
    if (lstat(put->real, st) < 0)
        return errno == ENOENT || errno == ENOTDIR
                   ? 0
                   : kp_fail_sys(err, errno, "look at %s", put->path);
    if (!S_ISREG(st->st_mode))
        return kp_fail(err, KP_FAILED, "%s is there and is no regular file", put->path);
    *found = true;
    if ((uint64_t)st->st_size > KP_PUT_MAX)
        return 0; // larger than anything that is put: it differs
    return kp_file_read(put->real, KP_PUT_MAX, text, len, err);
}

static int write_file(const struct put *put, struct kp_slice data, struct kp_err *err)
{
    kp_auto_free char *folder = kp_path_dir(put->real);
    kp_auto_free char *temp =
        kp_asprintf("%s/.kpack.%d.%u", folder, (int)getpid(), (unsigned)gettid());
    if (kp_mkdirs(folder, 0755, err) < 0)
        return -1;
    kp_auto_fd int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return kp_fail_sys(err, errno, "create a file in %s", folder);
    if (kp_write_full(fd, data.ptr, data.len, err) < 0 ||
        ((fchown(fd, (uid_t)put->uid, (gid_t)put->gid) < 0 || fchmod(fd, (mode_t)put->mode) < 0 ||
          fsync(fd) < 0 || rename(temp, put->real) < 0) &&
         kp_fail_sys(err, errno, "write") < 0)) {
        (void)unlink(temp);
        return kp_wrap(err, "%s", put->path);
    }
    return kp_sync_parent(put->real, err);
}

static char *describe(const struct put *put, bool found, const struct stat *st, bool same_bytes,
                      struct kp_slice before, struct kp_slice after)
{
    if (put->secret && !same_bytes)
        return NULL;
    kp_auto_value(kp_buf) out = KP_BUF(KP_DIFF_MAX + 1024);
    if (found && (st->st_mode & 07777) != put->mode)
        kp_buf_addf(&out, "%s: mode %04o becomes %04o\n", put->path, st->st_mode & 07777,
                    (unsigned)put->mode);
    if (found && (st->st_uid != put->uid || st->st_gid != put->gid))
        kp_buf_addf(&out, "%s: owner %u:%u becomes %u:%u\n", put->path, st->st_uid, st->st_gid,
                    (unsigned)put->uid, (unsigned)put->gid);
    kp_auto_free char *diff = put->secret ? NULL : kp_diff(put->path, before, after);
    if (diff)
        kp_buf_adds(&out, diff);
    else if (!found && !put->secret)
        kp_buf_addf(&out, "%s: new, empty\n", put->path);
    return kp_buf_steal(&out);
}

static int note_put(struct kp_node_state *state, const struct put *put, struct kp_slice data,
                    json_t *result, struct kp_err *err)
{
    struct kp_node_placed placed = {.op = "put",
                                    .path = put->path,
                                    .mode = (unsigned)put->mode,
                                    .uid = (unsigned)put->uid,
                                    .gid = (unsigned)put->gid,
                                    .size = data.len,
                                    .secret = put->secret,
                                    .changed = json_is_true(json_object_get(result, "changed"))};
    kp_sha256(data.ptr, data.len, &placed.sha256);
    return put->dry_run ? 0 : kp_node_note_placed(state, &placed, result, err);
}

static int put_file(struct kp_node_state *state, const struct put *put, struct kp_slice data,
                    json_t **result, struct kp_err *err)
{
    bool found;
    struct stat st = {0};
    kp_auto_free char *text = NULL;
    size_t len = 0;
    if (read_present(put, &found, &st, &text, &len, err) < 0)
        return -1;
    bool same_bytes = found && text && len == data.len && memcmp(text, data.ptr, len) == 0;
    bool same = same_bytes && (st.st_mode & 07777) == put->mode && st.st_uid == put->uid &&
                st.st_gid == put->gid;
    if (same || (put->once && found)) {
        *result = kp_node_change(false, NULL);
        return same ? note_put(state, put, data, *result, err) : 0;
    }
    if (kp_node_commit(state, put->dry_run, err) < 0 ||
        (!put->dry_run && write_file(put, data, err) < 0))
        return -1;
    kp_auto_free char *diff =
        describe(put, found, &st, same_bytes, (struct kp_slice){text ? text : "", len}, data);
    if (text && put->secret)
        explicit_bzero(text, len);
    *result = kp_node_change(true, diff);
    return note_put(state, put, data, *result, err);
}

int kp_node_op_put(struct kp_node_request *request, const json_t *args, json_t **result,
                   struct kp_err *err)
{
    struct kp_node_state *state = kp_node_request_state(request);
    kp_auto_value(kp_buf) data = KP_BUF_SECRET(KP_PUT_MAX);
    kp_auto_value(put) put = {0};
    if (read_put(state, args, &put, err) < 0 || kp_node_read_all(request, &data, put.size, err) < 0)
        return -1;
    return put_file(state, &put, kp_buf_slice(&data), result, err);
}

int kp_node_op_remove(struct kp_node_request *request, const json_t *args, json_t **result,
                      struct kp_err *err)
{
    struct kp_node_state *state = kp_node_request_state(request);
    const char *path;
    struct stat st;
    if (kp_node_path(args, "path", &path, err) < 0)
        return -1;
    if (!strchr(path + 1, '/'))
        return kp_fail_as(err, KP_USAGE, "bad_request", "%s is too near to the root to be removed",
                          path);
    kp_auto_free char *real = kp_node_own(state, path);
    bool dry_run = kp_node_flag(args, "dry_run");
    if (lstat(real, &st) < 0) {
        if (errno != ENOENT && errno != ENOTDIR)
            return kp_fail_sys(err, errno, "look at %s", path);
        *result = kp_node_change(false, NULL);
        return 0;
    }
    if (kp_node_commit(state, dry_run, err) < 0 || (!dry_run && kp_remove_tree(real, err) < 0))
        return -1;
    kp_auto_free char *diff = kp_asprintf("remove %s%s\n", path, S_ISDIR(st.st_mode) ? "/" : "");
    *result = kp_node_change(true, diff);
    const struct kp_node_placed removed = {.op = "remove", .path = path, .changed = true};
    return dry_run ? 0 : kp_node_note_placed(state, &removed, *result, err);
}

int kp_node_op_get(struct kp_node_request *request, const json_t *args, json_t **result,
                   struct kp_err *err)
{
    struct kp_node_state *state = kp_node_request_state(request);
    const char *path;
    uint64_t max;
    struct stat st;
    if (kp_node_path(args, "path", &path, err) < 0 ||
        kp_node_number(args, "max", KP_PUT_MAX, &max, err) < 0)
        return -1;
    kp_auto_free char *real = kp_node_own(state, path);
    if (stat(real, &st) < 0 && (errno == ENOENT || errno == ENOTDIR)) {
        *result = json_pack("{s:b}", "found", 0);
        return 0;
    }
    kp_auto_free char *text = NULL;
    size_t len;
    if (kp_file_read(real, (size_t)max, &text, &len, err) < 0)
        return -1;
    int failed = kp_node_write(request, 0, text, len, err);
    explicit_bzero(text, len);
    *result = json_pack("{s:b, s:I}", "found", 1, "size", (json_int_t)len);
    return failed;
}
