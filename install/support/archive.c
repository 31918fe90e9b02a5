/* SPDX-License-Identifier: Apache-2.0 */
#include "install/support/archive.h"

#include "bundle/layout.h"
#include "core/file.h"
#include "core/zst.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define NAME_MAX_LEN 100
#define LEVEL 3

struct kp_archive {
    char *path, *partial;
    int tar; /* nameless */
    uint64_t size;
};

int kp_archive_new(struct kp_archive **out, const char *path, struct kp_err *err)
{
    kp_auto(kp_archive) a = kp_alloc(sizeof(*a));
    kp_auto_free char *folder = kp_path_dir(path);
    a->path = kp_strdup(path);
    a->partial = kp_asprintf("%s.partial", path);
    a->tar = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (a->tar < 0)
        return kp_fail_sys(err, errno, "make a file in %s", folder);
    *out = kp_steal(&a);
    return 0;
}

void kp_archive_free(struct kp_archive *archive)
{
    if (!archive)
        return;
    if (archive->tar >= 0)
        close(archive->tar);
    unlink(archive->partial);
    kp_free(archive->path);
    kp_free(archive->partial);
    kp_free(archive);
}

static int append(struct kp_archive *archive, const void *data, size_t len, struct kp_err *err)
{
    if (kp_pwrite_full(archive->tar, data, len, archive->size, err) < 0)
        return kp_wrap(err, "%s", archive->path);
    archive->size += len;
    return 0;
}

int kp_archive_add(struct kp_archive *archive, const char *name, struct kp_slice text,
                   struct kp_err *err)
{
    static const char zeros[KP_TAR_BLOCK];
    uint8_t head[KP_ENTRY_HEAD_MAX];
    if (strlen(name) > NAME_MAX_LEN)
        return kp_fail(err, KP_FAILED, "%s: the name is too long for the archive", name);
    // A bundle's header without the frame around it.
    (void)kp_layout_entry_head(head, name, text.len);
    if (append(archive, head + KP_HEADER_FRAME - KP_TAR_BLOCK, KP_TAR_BLOCK, err) < 0 ||
        append(archive, text.ptr, text.len, err) < 0)
        return -1;
    return append(archive, zeros, (size_t)(kp_layout_padded(text.len) - text.len), err);
}

int kp_archive_finish(struct kp_archive *archive, uint64_t *size, struct kp_err *err)
{
    static const char end[2 * KP_TAR_BLOCK];
    struct kp_digest plain, packed;
    if (append(archive, end, sizeof(end), err) < 0)
        return -1;
    unlink(archive->partial);
    kp_auto_fd int fd = open(archive->partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return kp_fail_sys(err, errno, "make %s", archive->partial);
    if (lseek(archive->tar, 0, SEEK_SET) < 0)
        return kp_fail_sys(err, errno, "%s", archive->path);
    if (kp_zst_compress_fd(archive->tar, archive->size, fd, LEVEL, KP_ZST_THIS_THREAD, &plain,
                           &packed, size, err) < 0)
        return kp_wrap(err, "%s", archive->path);
    if (fsync(fd) < 0 || rename(archive->partial, archive->path) < 0)
        return kp_fail_sys(err, errno, "write %s", archive->path);
    return kp_sync_parent(archive->path, err);
}
