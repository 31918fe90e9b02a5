/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/medium_find.h"

#include "core/file.h"
#include "core/slice.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BUNDLE_SUFFIX ".tar.zst"

void kp_found_release(struct kp_found *found)
{
    for (size_t i = 0; i < found->count; i++)
        kp_free(found->paths[i]);
    kp_free(found->paths);
    kp_free(found->beside);
    kp_free(found->stem);
    *found = (struct kp_found){0};
}

unsigned kp_slice_digits(size_t count)
{
    return count > 999 ? KP_SLICE_DIGITS + 1 : KP_SLICE_DIGITS;
}

bool kp_slice_name(const char *path, size_t *stem, unsigned *number)
{
    const char *dot = strrchr(path, '.');
    size_t digits = dot ? strlen(dot + 1) : 0;
    uint64_t value = 0;
    if (digits < KP_SLICE_DIGITS || digits > KP_SLICE_DIGITS + 1 || dot == path)
        return false;
    for (const char *p = dot + 1; *p; p++) {
        if (*p < '0' || *p > '9')
            return false;
        value = 10 * value + (uint64_t)(*p - '0');
    }
    *stem = (size_t)(dot - path);
    *number = (unsigned)value;
    return value > 0;
}

static char *slice_path(const char *stem, unsigned digits, size_t number)
{
    return kp_asprintf("%s.%0*zu", stem, (int)digits, number);
}

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* Where the first slice of that stem is; the digits of its name tell those of all. */
static bool find_first(const char *stem, unsigned *digits)
{
    for (*digits = KP_SLICE_DIGITS; *digits <= KP_SLICE_DIGITS + 1; ++*digits) {
        kp_auto_free char *path = slice_path(stem, *digits, 1);
        if (is_file(path))
            return true;
    }
    return false;
}

static void put_slice(struct kp_found *found, const char *folder, const char *name, unsigned number,
                      bool beside)
{
    if (number > found->count) {
        found->paths = kp_realloc_array(found->paths, number, sizeof(*found->paths));
        found->beside = kp_realloc_array(found->beside, number, sizeof(*found->beside));
        for (size_t i = found->count; i < number; i++)
            found->paths[i] = NULL;
        found->count = number;
    }
    kp_auto_free char *path = kp_path_join(folder, name);
    if (found->paths[number - 1] || !is_file(path))
        return;
    found->paths[number - 1] = kp_steal(&path);
    found->beside[number - 1] = beside;
}

/* Takes every slice of the stem that the folder has and that was not found before. */
static void look_into(struct kp_found *found, const char *folder, bool beside)
{
    const char *base = kp_path_base(found->stem);
    DIR *dir = opendir(folder);
    size_t len;
    unsigned number;
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (kp_slice_name(entry->d_name, &len, &number) && len == strlen(base) &&
            memcmp(entry->d_name, base, len) == 0 &&
            strlen(entry->d_name) == len + 1 + found->digits)
            put_slice(found, folder, entry->d_name, number, beside);
    closedir(dir);
}

static int compare_names(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* /media/ann/STICK1/x.tar.zst.001: the other slices may lie on /media/ann/STICK2. */
static void look_beside(struct kp_found *found, const char *folder)
{
    struct dirent **names;
    kp_auto_free char *above = kp_path_join(folder, "..");
    int n = scandir(above, &names, NULL, compare_names);
    for (int i = 0; i < n; i++) {
        kp_auto_free char *beside = kp_path_join(above, names[i]->d_name);
        if (i < KP_SIBLINGS_MAX && names[i]->d_name[0] != '.' && is_folder(beside))
            look_into(found, beside, true);
        free(names[i]);
    }
    if (n >= 0)
        free(names);
}

static int find_slices(struct kp_found *out, const char *stem, unsigned digits, struct kp_err *err)
{
    kp_auto_free char *folder = kp_path_dir(stem);
    kp_auto_value(kp_found) found = {.stem = kp_strdup(stem), .digits = digits};
    kp_auto_free char *first = slice_path(stem, digits, 1);
    look_into(&found, folder, false);
    look_beside(&found, folder); // the last ones may be there without leaving a gap here
    if (!found.count || !found.paths[0]) {
        kp_fail_as(err, KP_MISSING, "missing_slice", "%s is missing", first);
        return kp_hint(err, "it holds the manifest and the signatures; put it beside the others");
    }
    *out = found;
    found = (struct kp_found){0};
    return 0;
}

static int find_file(struct kp_found *out, const char *path)
{
    *out = (struct kp_found){.count = 1, .paths = kp_alloc(sizeof(char *))};
    out->paths[0] = kp_strdup(path);
    return 0;
}

/* The one bundle of a folder. */
static int find_in_folder(struct kp_found *out, const char *path, struct kp_err *err)
{
    kp_auto_free char *found = NULL;
    DIR *dir = opendir(path);
    size_t stem;
    unsigned number, count = 0;
    if (!dir)
        return kp_fail_sys(err, errno, "open");
    for (struct dirent *entry; (entry = readdir(dir));) {
        bool slice = kp_slice_name(entry->d_name, &stem, &number) && number == 1;
        if (!slice && !kp_ends_with(entry->d_name, BUNDLE_SUFFIX))
            continue;
        count++;
        kp_free(found);
        found = kp_path_join(path, entry->d_name);
    }
    closedir(dir);
    if (!count)
        return kp_fail(err, KP_USAGE, "this folder has no bundle, whole or sliced");
    if (count > 1)
        return kp_fail(err, KP_USAGE, "this folder has several bundles; name one");
    return kp_medium_find(out, found, err);
}

int kp_medium_find(struct kp_found *out, const char *path, struct kp_err *err)
{
    size_t stem;
    unsigned number, digits;
    if (is_folder(path))
        return find_in_folder(out, path, err);
    if (kp_slice_name(path, &stem, &number)) {
        kp_auto_free char *name = kp_strndup(path, stem);
        return find_slices(out, name, (unsigned)(strlen(path) - stem - 1), err);
    }
    if (access(path, F_OK) < 0 && errno == ENOENT && find_first(path, &digits))
        return find_slices(out, path, digits, err);
    return find_file(out, path);
}
