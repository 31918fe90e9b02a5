/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/own.h"

#include "core/file.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#define PROGRAM_HEADERS_MAX 64

static const struct {
    const char *name;
    unsigned roles; // 0: carried, not placed
} programs[KP_OWN_PROGRAMS] = {
    {"knode", KP_ROLE_CONTROL_PLANE | KP_ROLE_WORKER | KP_ROLE_ETCD},
    {"kregistry", KP_ROLE_CONTROL_PLANE},
    {"kinstall", 0},
};

static const struct {
    const char *arch;
    uint16_t machine;
} machines[] = {{"amd64", EM_X86_64}, {"arm64", EM_AARCH64}};

char *kp_own_base(void)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    path[n > 0 ? n : 0] = '\0';
    kp_auto_free char *folder = kp_path_dir(path);
    return kp_path_dir(folder);
}

static int check_static(int fd, const Elf64_Ehdr *head, const char *path, struct kp_err *err)
{
    if (head->e_phnum > PROGRAM_HEADERS_MAX || head->e_phentsize != sizeof(Elf64_Phdr))
        return head->e_phnum ? kp_fail(err, KP_USAGE, "%s: strange ELF header", path) : 0;
    for (size_t i = 0; i < head->e_phnum; i++) {
        Elf64_Phdr segment;
        if (kp_pread_full(fd, &segment, sizeof(segment), head->e_phoff + i * sizeof(segment), err) <
            0)
            return kp_wrap(err, "%s", path);
        if (segment.p_type != PT_INTERP)
            continue;
        kp_fail_as(err, KP_USAGE, "not_static", "%s is dynamically linked", path);
        return kp_hint(err,
                       "sites have no libraries for it: take a release build, by --libexec DIR");
    }
    return 0;
}

static int check_elf(int fd, const char *arch, const char *path, struct kp_err *err)
{
    Elf64_Ehdr head;
    if (kp_pread_full(fd, &head, sizeof(head), 0, err) < 0 ||
        memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64)
        return kp_fail_as(err, KP_USAGE, "not_a_program", "%s is no program", path);
    for (size_t i = 0; i < KP_COUNT(machines); i++)
        if (strcmp(machines[i].arch, arch) == 0 && machines[i].machine != head.e_machine)
            return kp_fail_as(err, KP_USAGE, "wrong_arch", "%s is not for %s", path, arch);
    return check_static(fd, &head, path, err);
}

static const char *find_program(struct kp_arena *arena, const struct kp_text_list *folders,
                                const char *folder_default, const char *arch, const char *name)
{
    size_t given = folders ? folders->count : 0;
    for (size_t i = 0; i <= given; i++) {
        const char *folder = i < given ? folders->items[i] : folder_default;
        if (!folder)
            continue;
        const char *path = kp_arena_printf(arena, "%s/%s/%s", folder, arch, name);
        if (kp_file_exists(path))
            return path;
    }
    return NULL;
}

static int fail_missing(const struct kp_text_list *folders, const char *folder_default,
                        const char *arch, const char *name, struct kp_err *err)
{
    kp_fail_as(err, KP_MISSING, "missing_arch", "our own %s for %s is not in %s/%s", name, arch,
               folders && folders->count ? folders->items[0] : folder_default, arch);
    return kp_hint(err, "build it (cmake --preset %s) and name the folder by --libexec DIR",
                   strcmp(arch, "arm64") == 0 ? "arm64" : "release");
}

static int describe(struct kp_arena *arena, const char *path, const char *arch, size_t program,
                    struct kp_plan_file *out, struct kp_err *err)
{
    kp_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return kp_fail(err, KP_FAILED, "open %s: %m", path);
    if (check_elf(fd, arch, path, err) < 0)
        return -1;
    if (kp_sha256_fd(fd, &out->digest, &out->size, err) < 0)
        return kp_wrap(err, "%s", path);
    out->component = programs[program].name;
    out->version = KP_VERSION;
    out->arch = arch;
    out->url = KP_OWN_URL;
    out->license = "Apache-2.0";
    out->roles = programs[program].roles;
    out->known = true;
    out->checked = KP_CHECKED_LOCAL;
    out->local = path;
    out->install_count = 1;
    out->installs = kp_arena_alloc(arena, sizeof(*out->installs));
    out->installs->name = out->component;
    out->installs->target = kp_arena_printf(arena, KP_OWN_FOLDER "/%s", out->component);
    out->installs->mode = 0755;
    return 0;
}

int kp_own_find(struct kp_arena *arena, const struct kp_text_list *folders,
                const char *folder_default, const char *arch,
                struct kp_plan_file files[KP_OWN_PROGRAMS], struct kp_err *err)
{
    for (size_t i = 0; i < KP_OWN_PROGRAMS; i++) {
        const char *path = find_program(arena, folders, folder_default, arch, programs[i].name);
        if (!path)
            return fail_missing(folders, folder_default, arch, programs[i].name, err);
        if (describe(arena, path, arch, i, &files[i], err) < 0)
            return -1;
    }
    return 0;
}
