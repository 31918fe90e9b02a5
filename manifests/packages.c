/* SPDX-License-Identifier: Apache-2.0 */
#include "manifests/packages.h"

static const char *ending_of(enum kp_family family)
{
    return family == KP_FAMILY_DEBIAN ? ".deb" : ".rpm";
}

bool kp_package_fits(const struct kp_file *file, enum kp_family family, const char *arch,
                     unsigned roles)
{
    return family != KP_FAMILIES && kp_starts_with(file->target, KP_PACKAGE_FOLDER "/") &&
           kp_ends_with(file->component, ending_of(family)) && strcmp(file->arch, arch) == 0 &&
           (file->roles & roles);
}

char *kp_package_name(const struct kp_file *file)
{
    const char *dot = strrchr(file->component, '.');
    return dot ? kp_strndup(file->component, (size_t)(dot - file->component))
               : kp_strdup(file->component);
}

const char *kp_package_file(const struct kp_file *file)
{
    const char *slash = strrchr(file->target, '/');
    return slash ? slash + 1 : file->target;
}

static bool brings(const struct kp_file *file, const char *program)
{
    for (const char **one = file->programs; one && *one; one++)
        if (strcmp(*one, program) == 0)
            return true;
    return false;
}

const struct kp_file *kp_package_for(const struct kp_manifest *manifest, const char *program,
                                     enum kp_family family, const char *arch, unsigned roles)
{
    for (size_t i = 0; i < manifest->file_count; i++)
        if (kp_package_fits(&manifest->files[i], family, arch, roles) &&
            brings(&manifest->files[i], program))
            return &manifest->files[i];
    return NULL;
}
