/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Op survey: how things are on the node, for an audit. Files are hashed, folders are listed,
 * bundles are verified; nothing is changed and nothing is judged here.
 */
#include "install/node/node.h"

#include "bundle/bundle.h"
#include "core/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

struct survey {
    struct kp_node_request *request;
    const struct kp_node_state *state;
    json_t *out;
    size_t entries; /* of folders so far */
};

static const char *kind_of(mode_t mode)
{
    if (S_ISREG(mode))
        return "file";
    if (S_ISDIR(mode))
        return "folder";
    return S_ISLNK(mode) ? "link" : "other";
}

static int check_cancelled(const struct survey *s, struct kp_err *err)
{
    return kp_node_cancelled(s->request)
               ? kp_fail_as(err, KP_FAILED, "interrupted", "given up by kinstall")
               : 0;
}

static json_t *describe(const char *path, const char *real, const struct stat *st)
{
    char mode[8], target[KP_PATH_MAX];
    snprintf(mode, sizeof(mode), "%04o", (unsigned)(st->st_mode & 07777));
    json_t *out =
        json_pack("{s:o, s:s, s:I, s:s, s:I, s:I}", "path", kp_node_json_text(kp_slice_of(path)),
                  "kind", kind_of(st->st_mode), "size", (json_int_t)st->st_size, "mode", mode,
                  "uid", (json_int_t)st->st_uid, "gid", (json_int_t)st->st_gid);
    ssize_t len = S_ISLNK(st->st_mode) ? readlink(real, target, sizeof(target)) : -1;
    if (len >= 0)
        json_object_set_new(out, "link", kp_node_json_text((struct kp_slice){target, (size_t)len}));
    return out;
}

static int add_digest(const struct survey *s, int fd, bool secret, json_t *item, struct kp_err *err)
{
    struct kp_digest digest, keyed;
    uint64_t size;
    if (kp_sha256_fd(fd, &digest, &size, err) < 0)
        return -1;
    if (!secret) {
        json_object_set_new(item, "sha256", json_string(kp_digest_hex(&digest).hex));
        return 0;
    }
    struct kp_err no_key;
    // A node that lost its key has nothing that a secret could be compared by.
    if (kp_node_secret_digest(s->state, &digest, &keyed, &no_key) == 0)
        json_object_set_new(item, "hmac", json_string(kp_digest_hex(&keyed).hex));
    return 0;
}

static int look_at_file(const struct survey *s, const char *path, bool secret, json_t *list,
                        struct kp_err *err)
{
    struct stat st;
    kp_auto_free char *real = kp_node_own(s->state, path);
    if (check_cancelled(s, err) < 0)
        return -1;
    kp_auto_fd int fd = open(real, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 ? lstat(real, &st) < 0 : fstat(fd, &st) < 0) {
        if (errno != ENOENT && errno != ENOTDIR)
            return kp_fail_sys(err, errno, "look at %s", path);
        json_array_append_new(list, json_pack("{s:s, s:s}", "path", path, "kind", "missing"));
        return 0;
    }
    json_t *item = describe(path, real, &st);
    json_array_append_new(list, item);
    return fd >= 0 && S_ISREG(st.st_mode) ? add_digest(s, fd, secret, item, err) : 0;
}

static int look_at_files(struct survey *s, const json_t *args, const char *key, bool secret,
                         json_t *list, struct kp_err *err)
{
    kp_auto_free const char **paths = NULL;
    size_t n;
    if (kp_node_texts(args, key, KP_SURVEY_FILES_MAX, &paths, &n, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (!kp_node_path_is_plain(paths[i]))
            return kp_fail_as(err, KP_USAGE, "bad_request", "\"%s\" is not a plain absolute path",
                              paths[i]);
    for (size_t i = 0; i < n; i++)
        if (look_at_file(s, paths[i], secret, list, err) < 0)
            return -1;
    return 0;
}

static int list_folder(struct survey *s, const char *path, unsigned depth, json_t *list,
                       struct kp_err *err);

static int list_entry(struct survey *s, const char *path, unsigned depth, json_t *list,
                      struct kp_err *err)
{
    struct stat st;
    kp_auto_free char *real = kp_node_own(s->state, path);
    if (++s->entries > KP_SURVEY_ENTRIES_MAX)
        return kp_fail_as(err, KP_FAILED, "too_large", "more than %d entries in the folders",
                          KP_SURVEY_ENTRIES_MAX);
    if (lstat(real, &st) < 0) // went meanwhile
        return 0;
    json_array_append_new(list, describe(path, real, &st));
    return S_ISDIR(st.st_mode) && depth > 1 ? list_folder(s, path, depth - 1, list, err) : 0;
}

static void close_folder(DIR **folder)
{
    if (*folder)
        closedir(*folder);
}

static int list_folder(struct survey *s, const char *path, unsigned depth, json_t *list,
                       struct kp_err *err)
{
    kp_auto_free char *real = kp_node_own(s->state, path);
    int fd = open(real, O_RDONLY | O_CLOEXEC | O_DIRECTORY | O_NOFOLLOW);
    __attribute__((cleanup(close_folder))) DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder)
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP
                   ? 0
                   : kp_fail_sys(err, errno, "list %s", path);
    struct dirent *entry;
    while ((entry = readdir(folder))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        kp_auto_free char *inside = kp_path_join(path, entry->d_name);
        if (check_cancelled(s, err) < 0 || list_entry(s, inside, depth, list, err) < 0)
            return -1;
    }
    return 0;
}

static int look_at_folders(struct survey *s, const json_t *args, json_t *list, struct kp_err *err)
{
    const json_t *folders = json_object_get(args, "folders");
    for (size_t i = 0; i < json_array_size(folders); i++) {
        const json_t *one = json_array_get(folders, i);
        const char *path;
        uint64_t depth;
        if (kp_node_path(one, "path", &path, err) < 0 ||
            kp_node_number(one, "depth", KP_SURVEY_DEPTH_MAX, &depth, err) < 0 ||
            list_folder(s, path, (unsigned)depth, list, err) < 0)
            return -1;
    }
    return 0;
}

/* By its id where it is the accepted one: a run whose signature was not asked for has no other. */
static int open_bundle(const struct survey *s, const char *path, struct kp_bundle **out,
                       struct kp_err *err)
{
    kp_auto_free char *real = kp_node_own(s->state, path);
    struct kp_digest_text id = kp_digest_hex(&s->state->manifest->id);
    if (kp_starts_with(kp_path_base(path), id.hex))
        return kp_bundle_open_id(out, real, &s->state->manifest->id, err);
    return kp_bundle_open(out, real, s->state->trust, NULL, err);
}

static int look_at_bundle(const struct survey *s, const char *path, json_t *list,
                          struct kp_err *err)
{
    struct kp_err why = KP_ERR_INIT;
    kp_auto(kp_bundle) bundle = NULL;
    if (check_cancelled(s, err) < 0)
        return -1;
    int bad = open_bundle(s, path, &bundle, &why);
    if (bad == 0)
        bad = kp_bundle_verify(bundle, NULL, NULL, &why);
    json_t *item = json_pack("{s:s, s:b}", "path", path, "ok", bad == 0);
    if (bundle)
        json_object_set_new(item, "id",
                            json_string(kp_digest_hex(&kp_bundle_manifest(bundle)->id).hex));
    if (bad < 0) {
        json_object_set_new(item, "reason", json_string(why.reason ? why.reason : "failed"));
        json_object_set_new(item, "message", kp_node_json_text(kp_slice_of(why.message)));
    }
    json_array_append_new(list, item);
    return 0;
}

static int look_at_bundles(struct survey *s, const json_t *args, json_t *list, struct kp_err *err)
{
    kp_auto_free const char **paths = NULL;
    size_t n;
    if (kp_node_texts(args, "bundles", KP_SURVEY_BUNDLES_MAX, &paths, &n, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (!kp_node_path_is_plain(paths[i]))
            return kp_fail_as(err, KP_USAGE, "bad_request", "\"%s\" is not a plain absolute path",
                              paths[i]);
    for (size_t i = 0; i < n; i++)
        if (look_at_bundle(s, paths[i], list, err) < 0)
            return -1;
    return 0;
}

/* {"files": [paths], "secrets": [paths], "folders": [{"path", "depth"}], "bundles": [paths]}.
 * *result: {"files": [{"path", "kind": "file" "folder" "link" "other" "missing", "size", "mode",
 * "uid", "gid", "sha256" or for secrets "hmac", "link"}], "entries": [the same without digests],
 * "bundles": [{"path", "ok", "id", "reason", "message"}]}. */
int kp_node_op_survey(struct kp_node_request *request, const json_t *args, json_t **result,
                      struct kp_err *err)
{
    struct survey s = {.request = request, .state = kp_node_request_state(request)};
    kp_auto_json files = json_array();
    kp_auto_json entries = json_array();
    kp_auto_json bundles = json_array();
    if (look_at_files(&s, args, "files", false, files, err) < 0 ||
        look_at_files(&s, args, "secrets", true, files, err) < 0 ||
        look_at_folders(&s, args, entries, err) < 0 || look_at_bundles(&s, args, bundles, err) < 0)
        return -1;
    *result = json_pack("{s:O, s:O, s:O}", "files", files, "entries", entries, "bundles", bundles);
    return 0;
}
