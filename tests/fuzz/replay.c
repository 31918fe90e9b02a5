/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the files of the given folders through a fuzz target, each as it is, cut at every length up
 * to a limit, and with every bit of its beginning flipped: what libFuzzer would try first.
 */
#include "core/file.h"

#include <dirent.h>
#include <stdio.h>

#define INPUT_MAX ((size_t)16 << 20)
#define CUTS 1024U
#define FLIPPED_BYTES 256U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In a block of exactly that size, so that a read beyond its end is seen. */
static void run(const char *data, size_t size)
{
    kp_auto_free char *copy = kp_strndup("", 0);
    if (size) {
        kp_free(copy);
        copy = kp_realloc_array(NULL, size, 1);
        memcpy(copy, data, size);
    }
    LLVMFuzzerTestOneInput((const uint8_t *)copy, size);
}

static void vary(char *data, size_t size)
{
    run(data, size);
    for (size_t n = 0; n < size && n < CUTS; n++)
        run(data, n);
    for (size_t i = 0; i < size && i < FLIPPED_BYTES; i++)
        for (int bit = 0; bit < 8; bit++) {
            data[i] = (char)(data[i] ^ (1 << bit));
            run(data, size);
            data[i] = (char)(data[i] ^ (1 << bit));
        }
}

static size_t replay_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    size_t count = 0;
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        struct kp_err err = KP_ERR_INIT;
        kp_auto_free char *path = kp_path_join(folder, entry->d_name), *data = NULL;
        size_t size = 0;
        if (entry->d_name[0] == '.' || kp_file_read(path, INPUT_MAX, &data, &size, &err) < 0)
            continue;
        vary(data, size);
        count++;
    }
    if (dir)
        closedir(dir);
    return count;
}

int main(int argc, char **argv)
{
    size_t count = 0;
    for (int i = 1; i < argc; i++)
        count += replay_folder(argv[i]);
    printf("%zu inputs with their cuts and flips\n", count);
    return count ? 0 : 1; // an empty corpus tests nothing
}
