/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/packages.h"

#include "bundle/names.h"
#include "core/file.h"
#include "pack/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define AR_MAGIC "!<arch>\n"
#define AR_HEADER 60
#define AR_MEMBERS_MAX 16
#define RPM_MAGIC "\xed\xab\xee\xdb"

struct package {
    struct kp_arena *arena;
    const char *path; /* as given, for errors */
    int fd;
    uint64_t size;
    bool deb;
    const char *name, *version, *arch;
    const char *const *programs; /* wanted */
    const char **brings;         /* of these, so far */
    size_t bring_count;
};

static int bad_package(const struct package *p, const char *why, struct kp_err *err)
{
    return kp_fail_as(err, KP_USAGE, "not_a_package", "--package %s: %s", p->path, why);
}

static void bring(struct package *p, const char *program)
{
    for (size_t i = 0; i < p->bring_count; i++)
        if (strcmp(p->brings[i], program) == 0)
            return;
    p->brings[p->bring_count++] = program;
}

/* Is the entry "usr/sbin/conntrack" the program conntrack? */
static bool is_program(const char *entry, const char *program)
{
    static const char *const folders[] = {"usr/bin/",       "usr/sbin/",       "bin/", "sbin/",
                                          "usr/local/bin/", "usr/local/sbin/", NULL};
    for (size_t i = 0; folders[i]; i++)
        if (kp_starts_with(entry, folders[i]) && strcmp(entry + strlen(folders[i]), program) == 0)
            return true;
    return false;
}

static int take_entry(void *user, const char *name, struct kp_slice content, struct kp_err *err)
{
    struct package *p = user;
    (void)content;
    (void)err;
    for (size_t i = 0; p->programs[i]; i++)
        if (is_program(name, p->programs[i]))
            bring(p, p->programs[i]);
    return 0;
}

/* The program may be made at install time only: then the package's name says it. */
static void bring_by_name(struct package *p)
{
    for (size_t i = 0; p->programs[i]; i++)
        for (int f = 0; f < KP_FAMILIES; f++)
            if ((f == KP_FAMILY_DEBIAN) == p->deb &&
                strcmp(kp_program_package(p->programs[i], (enum kp_family)f), p->name) == 0)
                bring(p, p->programs[i]);
}

static const char *control_field(const struct package *p, struct kp_slice control, const char *key)
{
    struct kp_slice line, name;
    while (kp_slice_line(&control, &line))
        if (kp_slice_cut(&line, ':', &name) && kp_slice_equal(name, key)) {
            line = kp_slice_trim(line);
            return kp_arena_strndup(p->arena, line.ptr, line.len);
        }
    return "";
}

static bool is_control(void *user, const char *name)
{
    (void)user;
    return strcmp(name, "control") == 0;
}

static int take_control(void *user, const char *name, struct kp_slice content, struct kp_err *err)
{
    struct package *p = user;
    (void)err;
    if (strcmp(name, "control") != 0 || p->name)
        return 0;
    p->name = control_field(p, content, "Package");
    p->version = control_field(p, content, "Version");
    p->arch = control_field(p, content, "Architecture");
    return 0;
}

/* The member of the ar archive whose name begins like that ("control.tar", ar(5)). */
static int find_member(const struct package *p, const char *prefix, struct kp_archive_part *out,
                       struct kp_err *err)
{
    char head[AR_HEADER];
    uint64_t at = sizeof(AR_MAGIC) - 1, size;
    for (int i = 0; i < AR_MEMBERS_MAX && at + AR_HEADER <= p->size; i++) {
        if (kp_pread_full(p->fd, head, sizeof(head), at, err) < 0)
            return kp_wrap(err, "--package %s", p->path);
        struct kp_slice digits = kp_slice_trim((struct kp_slice){head + 48, 10});
        at += AR_HEADER;
        if (head[58] != '`' || head[59] != '\n' || !kp_parse_u64(digits, p->size, &size) ||
            size > p->size - at)
            break;
        if (kp_slice_starts((struct kp_slice){head, 16}, prefix)) {
            *out =
                (struct kp_archive_part){.fd = p->fd, .offset = at, .len = size, .label = p->path};
            return 0;
        }
        at += size + (size & 1);
    }
    return bad_package(p, kp_arena_printf(p->arena, "is no .deb file: it has no %s", prefix), err);
}

static int read_deb(struct package *p, struct kp_err *err)
{
    struct kp_archive_part control, data;
    if (find_member(p, "control.tar", &control, err) < 0 ||
        find_member(p, "data.tar", &data, err) < 0)
        return -1;
    control.wants = is_control;
    if (kp_archive_part(&control, take_control, p, err) < 0 ||
        kp_archive_part(&data, take_entry, p, err) < 0)
        return kp_wrap(err, "--package");
    return p->name ? 0 : bad_package(p, "its control file is missing", err);
}

/* Cuts at the last occurrence of c; false where there is none. */
static bool cut_last(char *text, char c, char **after)
{
    char *at = strrchr(text, c);
    if (!at)
        return false;
    *at = '\0';
    *after = at + 1;
    return true;
}

static int read_rpm(struct package *p, struct kp_err *err)
{
    char *base = kp_arena_strdup(p->arena, kp_path_base(p->path)), *arch, *release, *version;
    const struct kp_archive_part payload = {
        .fd = p->fd, .len = p->size, .kind = KP_ARCHIVE_RPM, .label = p->path};
    base[strlen(base) - 4] = '\0';
    if (!cut_last(base, '.', &arch) || !cut_last(base, '-', &release) ||
        !cut_last(base, '-', &version)) {
        bad_package(p, "the name is not as a distribution writes it", err);
        return kp_hint(err, "NAME-VERSION-RELEASE.ARCH.rpm");
    }
    release[-1] = '-'; // version and release stay together
    p->name = base;
    p->version = version;
    p->arch = arch;
    return kp_archive_part(&payload, take_entry, p, err) < 0 ? kp_wrap(err, "--package") : 0;
}

static const char *our_arch(const char *arch, const char *wanted)
{
    if (strcmp(arch, "x86_64") == 0)
        return "amd64";
    if (strcmp(arch, "aarch64") == 0)
        return "arm64";
    return strcmp(arch, "all") == 0 || strcmp(arch, "noarch") == 0 ? wanted : arch;
}

static int read_package(struct package *p, struct kp_err *err)
{
    const char *magic = p->deb ? AR_MAGIC : RPM_MAGIC;
    char head[sizeof(AR_MAGIC)];
    struct stat st;
    size_t len = strlen(magic);
    if (fstat(p->fd, &st) < 0)
        return kp_fail_sys(err, errno, "--package %s", p->path);
    p->size = (uint64_t)st.st_size;
    if (p->size < len || kp_pread_full(p->fd, head, len, 0, err) < 0 ||
        memcmp(head, magic, len) != 0)
        return bad_package(p, p->deb ? "is no .deb file" : "is no .rpm file", err);
    size_t n = 0;
    while (p->programs[n])
        n++;
    p->brings = kp_arena_array(p->arena, n + 1, sizeof(*p->brings));
    if ((p->deb ? read_deb(p, err) : read_rpm(p, err)) < 0)
        return -1;
    bring_by_name(p);
    return 0;
}

/* As the distribution's pool names it: without the epoch. */
static const char *target_of(const struct package *p)
{
    const char *colon = strchr(p->version, ':');
    if (!p->deb)
        return kp_arena_printf(p->arena, KP_PACKAGE_FOLDER "/%s", kp_path_base(p->path));
    return kp_arena_printf(p->arena, KP_PACKAGE_FOLDER "/%s_%s_%s.deb", p->name,
                           colon ? colon + 1 : p->version, p->arch);
}

static void describe(const struct package *p, const char *target, const char *arch,
                     struct kp_plan_file *out)
{
    out->component = kp_arena_printf(p->arena, "%s.%s", p->name, p->deb ? "deb" : "rpm");
    out->version = p->version;
    out->arch = arch;
    out->url = kp_arena_printf(p->arena, "file:%s", kp_path_base(target));
    out->license = "";
    out->roles = KP_ROLE_CONTROL_PLANE | KP_ROLE_WORKER;
    out->known = true;
    out->checked = KP_CHECKED_LOCAL;
    out->local = p->path;
    out->programs = p->brings;
    out->install_count = 1;
    out->installs = kp_arena_alloc(p->arena, sizeof(*out->installs));
    *out->installs =
        (struct kp_plan_install){.name = out->component, .target = target, .mode = 0644};
}

int kp_package_describe(struct kp_arena *arena, const char *path, const char *arch,
                        const char *const *programs, struct kp_plan_file *out, bool *matches,
                        struct kp_err *err)
{
    kp_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct package p = {.arena = arena,
                        .path = path,
                        .fd = fd,
                        .deb = kp_ends_with(path, ".deb"),
                        .programs = programs};
    if (fd < 0)
        return kp_fail(err, KP_USAGE, "--package %s: %m", path);
    if (!p.deb && !kp_ends_with(path, ".rpm"))
        return bad_package(&p, "neither .deb nor .rpm", err);
    if (read_package(&p, err) < 0)
        return -1;
    const char *target = target_of(&p);
    if (!kp_name_ok(p.name) || !kp_version_ok(p.version) || !kp_target_ok(target))
        return bad_package(&p, "its name or version is not as a distribution writes it", err);
    *matches = strcmp(our_arch(p.arch, arch), arch) == 0;
    if (lseek(fd, 0, SEEK_SET) < 0 || kp_sha256_fd(fd, &out->digest, &out->size, err) < 0)
        return kp_wrap(err, "--package %s", path);
    describe(&p, target, arch, out);
    return 0;
}
