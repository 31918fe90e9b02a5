/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A medium that fails: a read-only file system (FUSE) over one folder of files. CONTROL says, line
 * by line and asked at each read, which bytes go wrong: "NAME FIRST LAST ERRNO", the errno's number
 * for an error, or "flip" for other bytes while size and times stay as they are.
 * usage: failing_fs FOLDER CONTROL MOUNTPOINT
 */
#define FUSE_USE_VERSION 31
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *folder, *control;

static void real_path(char *out, size_t len, const char *path)
{
    snprintf(out, len, "%s%s", folder, path);
}

static int fs_getattr(const char *path, struct stat *st, struct fuse_file_info *info)
{
    char real[PATH_MAX];
    (void)info;
    real_path(real, sizeof(real), path);
    return lstat(real, st) < 0 ? -errno : 0;
}

static int fs_readdir(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset,
                      struct fuse_file_info *info, enum fuse_readdir_flags flags)
{
    char real[PATH_MAX];
    (void)offset;
    (void)info;
    (void)flags;
    real_path(real, sizeof(real), path);
    DIR *dir = opendir(real);
    if (!dir)
        return -errno;
    for (struct dirent *entry; (entry = readdir(dir));)
        fill(buffer, entry->d_name, NULL, 0, 0);
    closedir(dir);
    return 0;
}

static int fs_open(const char *path, struct fuse_file_info *info)
{
    char real[PATH_MAX];
    real_path(real, sizeof(real), path);
    int fd = open(real, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    info->fh = (uint64_t)fd;
    info->direct_io = 1; // each read comes here
    return 0;
}

static int fs_release(const char *path, struct fuse_file_info *info)
{
    (void)path;
    close((int)info->fh);
    return 0;
}

static void flip(char *data, long long at, long long n, long long first, long long last)
{
    for (long long i = 0; i < n; i++)
        if (at + i >= first && at + i <= last)
            data[i] = (char)~data[i];
}

/* What the lines say of these bytes; n or -errno. */
static int spoil(const char *name, char *data, long long at, int n)
{
    FILE *file = fopen(control, "re");
    char line[512], wanted[256], how[32];
    long long first, last;
    int result = n, code;
    while (file && fgets(line, sizeof(line), file)) {
        if (sscanf(line, "%255s %lld %lld %31s", wanted, &first, &last, how) != 4 ||
            strcmp(wanted, name) != 0 || at > last || at + n <= first)
            continue;
        if (strcmp(how, "flip") == 0)
            flip(data, at, n, first, last);
        else if (sscanf(how, "%d", &code) == 1)
            result = -code;
    }
    if (file)
        fclose(file);
    return result;
}

static int fs_read(const char *path, char *data, size_t len, off_t offset,
                   struct fuse_file_info *info)
{
    ssize_t n = pread((int)info->fh, data, len, offset);
    return n < 0 ? -errno : spoil(path + 1, data, offset, (int)n);
}

static void *fs_init(struct fuse_conn_info *connection, struct fuse_config *config)
{
    (void)connection;
    config->use_ino = 1;
    config->attr_timeout = config->entry_timeout = 0;
    return NULL;
}

static const struct fuse_operations operations = {.init = fs_init,
                                                  .getattr = fs_getattr,
                                                  .readdir = fs_readdir,
                                                  .open = fs_open,
                                                  .release = fs_release,
                                                  .read = fs_read};

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: failing_fs FOLDER CONTROL MOUNTPOINT\n");
        return 2;
    }
    folder = argv[1];
    control = argv[2];
    char foreground[] = "-f", single[] = "-s", with[] = "-oro,fsname=failing";
    char *own[] = {argv[0], foreground, single, with, argv[3], NULL};
    return fuse_main(5, own, &operations, NULL);
}
