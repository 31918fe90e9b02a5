/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/layout.h"
#include "bundle/set.h"
#include "core/file.h"
#include "core/text.h"
#include "core/zst.h"
#include "pack/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIELD(member) offsetof(struct kp_reading_options, member)
#define READ_SIZE ((size_t)1 << 20)

const struct kp_option kp_extract_options[] = {
    {"file", 0, KP_OPT_LIST, FIELD(files), "NAME", "a file of the bundle, by its name (kpack list)",
     0},
    {"arch", 0, KP_OPT_TEXT, FIELD(arch), "ARCH", "of the file, where there are several", 0},
    {"to", 0, KP_OPT_TEXT, FIELD(to), "DIR", "folder for --file (default: here)", 0},
    {"oci", 0, KP_OPT_TEXT, FIELD(oci), "DIR", "all images, as an OCI image layout", 0},
    {"base", 0, KP_OPT_LIST, FIELD(bases), "FILE", "a base of the delta", 0},
    {"key", 0, KP_OPT_LIST, FIELD(keys), "FILE", "a public key to trust for this run", 0},
    {"json", 0, KP_OPT_FLAG, FIELD(json), NULL, "JSON on stdout", 0},
    {"quiet", 'q', KP_OPT_FLAG, FIELD(quiet), NULL, "no progress", 0},
    {0},
};

struct output { /* one file being made beneath a folder; gone again unless it is finished */
    int dir, fd;
    char partial[KP_PATH_MAX + 16];
    const char *name;
    struct kp_hash *hash;
    bool finished;
};

static void output_release(struct output *out)
{
    if (out->fd >= 0)
        close(out->fd);
    if (out->fd >= 0 && !out->finished)
        unlinkat(out->dir, out->partial, 0);
    kp_hash_free(out->hash);
}
KP_DEFINE_AUTO_VALUE(output);

static int output_begin(struct output *out, int dir, const char *name, mode_t mode,
                        struct kp_err *err)
{
    out->dir = dir;
    out->name = name;
    snprintf(out->partial, sizeof(out->partial), "%s.partial", name);
    unlinkat(dir, out->partial, 0);
    out->fd = kp_open_beneath(dir, out->partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (out->fd < 0)
        return kp_fail_sys(err, errno, "create %s", out->partial);
    fchmod(out->fd, mode); // whatever the umask
    out->hash = kp_hash_new();
    return 0;
}

static int output_write(void *user, const void *data, size_t len, struct kp_err *err)
{
    struct output *out = user;
    kp_hash_update(out->hash, data, len);
    return kp_write_full(out->fd, data, len, err);
}

static int output_finish(struct output *out, const struct kp_digest *wanted, struct kp_err *err)
{
    struct kp_digest seen;
    kp_hash_finish(out->hash, &seen);
    if (!kp_digest_equal(&seen, wanted))
        return kp_fail_as(err, KP_DAMAGED, "damaged", "%s is not what was signed", out->name);
    if (fsync(out->fd) < 0 || renameat(out->dir, out->partial, out->dir, out->name) < 0)
        return kp_fail_sys(err, errno, "write %s", out->name);
    out->finished = true;
    return 0;
}

/* The entry's content into sink, piece by piece. */
static int read_entry(const struct kp_bundle *bundle, size_t entry, uint64_t size,
                      kp_unzst_sink *sink, void *user, struct kp_err *err)
{
    kp_auto_free char *block = kp_alloc(READ_SIZE);
    for (uint64_t offset = 0; offset < size;) {
        size_t len = size - offset < READ_SIZE ? (size_t)(size - offset) : READ_SIZE;
        if (kp_bundle_read_entry(bundle, entry, offset, block, len, err) < 0 ||
            sink(user, block, len, err) < 0)
            return -1;
        offset += len;
    }
    return 0;
}

static int feed_unzst(void *user, const void *data, size_t len, struct kp_err *err)
{
    return kp_unzst_feed(user, data, len, err);
}

static int extract_file(const struct kp_bundle *bundle, const struct kp_file *file, int dir,
                        struct kp_err *err)
{
    const struct kp_bundle *holder;
    size_t entry;
    uint64_t size;
    kp_auto_value(output) out = {.fd = -1};
    if (!kp_bundle_locate(bundle, &file->blob, &holder, &entry, &size)) {
        (void)!kp_bundle_need_bases(bundle, err); // it lies in one of those
        return kp_wrap(err, "%s", file->name);
    }
    const char *name = kp_path_base(file->target);
    if (output_begin(&out, dir, name, file->mode, err) < 0)
        return -1;
    kp_auto(kp_unzst) unzst = kp_unzst_new(file->size, 27, output_write, &out);
    if (read_entry(holder, entry, size, feed_unzst, unzst, err) < 0 ||
        kp_unzst_finish(unzst, err) < 0 || output_finish(&out, &file->sha256, err) < 0)
        return kp_wrap(err, "%s", file->name);
    return 0;
}

static int find_file(const struct kp_manifest *m, const char *name, const char *arch,
                     const struct kp_file **out, struct kp_err *err)
{
    *out = NULL;
    for (size_t i = 0; i < m->file_count; i++) {
        const struct kp_file *file = &m->files[i];
        if (strcmp(file->name, name) != 0 || (arch && strcmp(file->arch, arch) != 0))
            continue;
        if (*out)
            return kp_fail(err, KP_USAGE, "--file %s is there for %s and %s; choose by --arch",
                           name, (*out)->arch, file->arch);
        *out = file;
    }
    if (*out)
        return 0;
    kp_fail_as(err, KP_MISSING, "missing_file", "--file %s: the bundle has no such file%s%s", name,
               arch ? " for " : "", arch ? arch : "");
    return kp_hint(err, "kpack list shows what it has");
}

static int open_folder(const char *path, int *out, struct kp_err *err)
{
    if (kp_mkdirs(path, 0755, err) < 0)
        return -1;
    *out = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *out < 0 ? kp_fail_sys(err, errno, "open %s", path) : 0;
}

static int extract_files(const struct kp_reading_options *o, const struct kp_bundle *bundle,
                         json_t *made, struct kp_err *err)
{
    const char *to = o->to ? o->to : ".";
    kp_auto_fd int dir = -1;
    if (!o->files.count)
        return 0;
    if (open_folder(to, &dir, err) < 0)
        return -1;
    for (size_t i = 0; i < o->files.count; i++) {
        const struct kp_file *file;
        if (find_file(kp_bundle_manifest(bundle), o->files.items[i], o->arch, &file, err) < 0 ||
            extract_file(bundle, file, dir, err) < 0)
            return -1;
        kp_auto_free char *path = kp_path_join(to, kp_path_base(file->target));
        json_array_append_new(made, json_string(path));
    }
    return 0;
}

static int make_folder_beneath(int dir, const char *name, struct kp_err *err)
{
    if (mkdirat(dir, name, 0755) < 0 && errno != EEXIST)
        return kp_fail_sys(err, errno, "make folder %s", name);
    kp_auto_fd int fd = kp_open_beneath(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    return fd < 0 ? kp_fail_sys(err, errno, "open folder %s", name) : 0; // a link is refused here
}

/* Blobs that only files of nodes use are no part of the layout. */
static bool is_image_blob(const struct kp_blob *blob)
{
    return kp_starts_with(blob->media_type, "application/vnd.oci.") ||
           kp_starts_with(blob->media_type, "application/vnd.docker.");
}

static int extract_entry(const struct kp_bundle *bundle, size_t i, int dir, struct kp_err *err)
{
    const struct kp_entry *entry = &kp_bundle_manifest(bundle)->entries[i];
    kp_auto_value(output) out = {.fd = -1};
    // the path is one of two fixed names, or blobs/sha256/ and the digest: the reader checked that
    if (output_begin(&out, dir, entry->path, 0644, err) < 0 ||
        read_entry(bundle, i, entry->size, output_write, &out, err) < 0)
        return -1;
    return output_finish(&out, &entry->sha256, err);
}

static int extract_blob(const struct kp_bundle *bundle, const struct kp_blob *blob, int dir,
                        struct kp_err *err)
{
    const struct kp_bundle *holder;
    size_t entry;
    uint64_t size;
    if (!kp_bundle_locate(bundle, &blob->sha256, &holder, &entry, &size))
        return kp_bundle_need_bases(bundle, err);
    return extract_entry(holder, entry, dir, err);
}

static int extract_oci(const struct kp_reading_options *o, const struct kp_bundle *bundle,
                       json_t *made, struct kp_err *err)
{
    const struct kp_manifest *m = kp_bundle_manifest(bundle);
    kp_auto_fd int dir = -1;
    if (!o->oci)
        return 0;
    if (kp_bundle_need_bases(bundle, err) < 0)
        return kp_wrap(err, "--oci");
    if (open_folder(o->oci, &dir, err) < 0 || make_folder_beneath(dir, "blobs", err) < 0 ||
        make_folder_beneath(dir, "blobs/sha256", err) < 0)
        return -1;
    for (size_t i = 1; i < KP_FIXED_ENTRIES; i++)
        if (extract_entry(bundle, i, dir, err) < 0)
            return kp_wrap(err, "--oci %s", o->oci);
    for (size_t i = 0; i < m->blob_count; i++)
        if (is_image_blob(&m->blobs[i]) && extract_blob(bundle, &m->blobs[i], dir, err) < 0)
            return kp_wrap(err, "--oci %s", o->oci);
    json_array_append_new(made, json_string(o->oci));
    return 0;
}

static void print_made(const struct kp_reading_options *o, const json_t *made)
{
    size_t i;
    json_t *path;
    if (o->json) {
        kp_auto_json out = json_pack("{s:O}", "extracted", made);
        kp_json_print(out);
        return;
    }
    json_array_foreach(made, i, path) printf("%s\n", json_string_value(path));
}

int kp_cmd_extract(void *options, int argc, char **argv, struct kp_err *err)
{
    const struct kp_reading_options *o = options;
    kp_auto(kp_trust) trust = NULL;
    kp_auto(kp_bundle) bundle = NULL;
    kp_auto_json made = json_array();
    struct kp_signers signers = {0};
    struct kp_verify_options how = {0};
    (void)argc;
    if (!o->files.count && !o->oci)
        return kp_fail(err, KP_USAGE, "say what: --file NAME, or --oci DIR for all images");
    if (kp_open_trusted(&bundle, argv[0], &o->keys, &trust, &signers, err) < 0 ||
        kp_bundle_verify(bundle, &how, NULL, err) < 0 ||
        kp_bundle_open_bases(bundle, o->bases.items, o->bases.count, err) < 0 ||
        extract_files(o, bundle, made, err) < 0 || extract_oci(o, bundle, made, err) < 0)
        return -1;
    print_made(o, made);
    return 0;
}
