/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/packages.h"

#include "bundle/names.h"
#include "core/file.h"

#include <fcntl.h>

struct parts {
    const char *name, *version, *arch, *kind;
};

/* Cuts at the last occurrence of c; false where there is none. */
static bool cut_last(char *text, char c, char **after)
{
    char *p = strrchr(text, c);
    if (!p)
        return false;
    *p = '\0';
    *after = p + 1;
    return true;
}

static bool split_deb(char *base, struct parts *out)
{
    char *arch, *version;
    if (!cut_last(base, '_', &arch) || !cut_last(base, '_', &version))
        return false;
    *out = (struct parts){base, version, arch, "deb"};
    return true;
}

static bool split_rpm(char *base, struct parts *out)
{
    char *arch, *release, *version;
    if (!cut_last(base, '.', &arch) || !cut_last(base, '-', &release) ||
        !cut_last(base, '-', &version))
        return false;
    release[-1] = '-'; // version and release stay together
    *out = (struct parts){base, version, arch, "rpm"};
    return true;
}

static bool split_name(struct kp_arena *arena, const char *path, struct parts *out)
{
    char *base = kp_arena_strdup(arena, kp_path_base(path));
    bool deb = kp_ends_with(base, ".deb");
    if (!deb && !kp_ends_with(base, ".rpm"))
        return false;
    base[strlen(base) - 4] = '\0';
    return deb ? split_deb(base, out) : split_rpm(base, out);
}

static const char *our_arch(const char *arch, const char *wanted)
{
    if (strcmp(arch, "x86_64") == 0)
        return "amd64";
    if (strcmp(arch, "aarch64") == 0)
        return "arm64";
    return strcmp(arch, "all") == 0 || strcmp(arch, "noarch") == 0 ? wanted : arch;
}

static int check_magic(int fd, const char *kind, const char *path, struct kp_err *err)
{
    static const char deb[] = "!<arch>\n", rpm[] = "\xed\xab\xee\xdb";
    const char *magic = strcmp(kind, "deb") == 0 ? deb : rpm;
    char head[8];
    if (kp_pread_full(fd, head, sizeof(head), 0, err) < 0 ||
        memcmp(head, magic, strlen(magic)) != 0)
        return kp_fail_as(err, KP_USAGE, "not_a_package", "--package %s: is no .%s file", path,
                          kind);
    return 0;
}

int kp_package_describe(struct kp_arena *arena, const char *path, const char *arch,
                        struct kp_plan_file *out, bool *matches, struct kp_err *err)
{
    struct parts parts;
    kp_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return kp_fail(err, KP_USAGE, "--package %s: %m", path);
    const char *target = kp_arena_printf(arena, KP_PACKAGE_FOLDER "/%s", kp_path_base(path));
    if (!split_name(arena, path, &parts) || !kp_name_ok(parts.name) ||
        !kp_version_ok(parts.version) || !kp_target_ok(target)) {
        kp_fail(err, KP_USAGE, "--package %s: the name is not as a distribution writes it", path);
        return kp_hint(err, "NAME_VERSION_ARCH.deb or NAME-VERSION-RELEASE.ARCH.rpm");
    }
    *matches = strcmp(our_arch(parts.arch, arch), arch) == 0;
    if (check_magic(fd, parts.kind, path, err) < 0 ||
        kp_sha256_fd(fd, &out->digest, &out->size, err) < 0)
        return -1;
    out->component = kp_arena_printf(arena, "%s.%s", parts.name, parts.kind);
    out->version = parts.version;
    out->arch = arch;
    out->url = kp_arena_printf(arena, "file:%s", kp_path_base(path));
    out->license = "";
    out->roles = KP_ROLE_CONTROL_PLANE | KP_ROLE_WORKER;
    out->known = true;
    out->checked = KP_CHECKED_LOCAL;
    out->local = path;
    out->install_count = 1;
    out->installs = kp_arena_alloc(arena, sizeof(*out->installs));
    *out->installs =
        (struct kp_plan_install){.name = out->component, .target = target, .mode = 0644};
    return 0;
}
