/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/packages.h"

#include "core/file.h"
#include "package_fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define CONTROL                                                                                    \
    "Package: conntrack\nVersion: 1:1.4.7-1+b2\nArchitecture: amd64\n"                             \
    "Description: x\n Package: other\n"

static char folder[] = "/tmp/kp-packages-XXXXXX";
static struct kp_arena *arena;
static const char *const programs[] = {"conntrack", "iptables", "socat", "tc", NULL};

static void begin(void)
{
    cr_assert_not_null(mkdtemp(folder));
    arena = kp_arena_new();
}

static void end(void)
{
    kp_arena_free(arena);
    (void)!kp_remove_tree(folder, NULL);
}
TestSuite(packages, .init = begin, .fini = end);

static int describe(const char *name, const struct kp_buf *bytes, struct kp_plan_file *out,
                    bool *matches, struct kp_err *err)
{
    kp_auto_free char *path = kp_path_join(folder, name);
    *err = KP_ERR_INIT;
    cr_assert(!bytes->overflow);
    cr_assert_eq(kp_file_write_atomic(path, kp_buf_slice(bytes), 0644, err), 0, "%s", err->message);
    *out = (struct kp_plan_file){0};
    return kp_package_describe(arena, path, "amd64", programs, out, matches, err);
}

static void check_programs(const struct kp_plan_file *file, const char *wanted)
{
    const char *have = "";
    for (const char **one = file->programs; *one; one++)
        have = kp_arena_printf(arena, "%s%s ", have, *one);
    cr_expect_str_eq(have, wanted);
}

Test(packages, a_deb_is_what_its_control_file_says)
{
    static const char *const entries[] = {"./usr/sbin/conntrack", "./usr/share/doc/socat",
                                          "./usr/sbin/deep/tc", NULL};
    kp_auto_value(kp_buf) bytes = KP_BUF(1 << 20);
    struct kp_plan_file file;
    struct kp_err err;
    bool matches;
    package_deb(&bytes, CONTROL, entries);
    cr_assert_eq(describe("conntrack_1%3a1.4.7-1+b2_amd64.deb", &bytes, &file, &matches, &err), 0,
                 "%s", err.message);
    cr_expect(matches);
    cr_expect_str_eq(file.component, "conntrack.deb");
    cr_expect_str_eq(file.version, "1:1.4.7-1+b2");
    cr_expect_str_eq(file.installs[0].target, KP_PACKAGE_FOLDER "/conntrack_1.4.7-1+b2_amd64.deb");
    check_programs(&file, "conntrack ");
}

Test(packages, a_program_that_is_made_at_install_time_goes_by_the_name)
{
    static const char *const entries[] = {"./usr/sbin/iptables-nft", NULL};
    kp_auto_value(kp_buf) deb = KP_BUF(1 << 20), rpm = KP_BUF(1 << 20);
    struct kp_plan_file file;
    struct kp_err err;
    bool matches;
    package_deb(&deb, "Package: iptables\nVersion: 1.8\nArchitecture: arm64\n", entries);
    cr_assert_eq(describe("x.deb", &deb, &file, &matches, &err), 0, "%s", err.message);
    cr_expect(!matches, "arm64 was taken for amd64");
    check_programs(&file, "iptables ");
    // What is called so by Debian is another thing on RHEL.
    package_rpm(&rpm, entries);
    cr_assert_eq(describe("iproute2-1-1.x86_64.rpm", &rpm, &file, &matches, &err), 0, "%s",
                 err.message);
    check_programs(&file, "tc ");
    cr_assert_eq(describe("conntrack-1-1.x86_64.rpm", &rpm, &file, &matches, &err), 0, "%s",
                 err.message);
    check_programs(&file, "");
}

Test(packages, an_rpm_goes_by_its_name_and_payload)
{
    static const char *const entries[] = {"./usr/sbin/conntrack", "./usr/bin/socat", NULL};
    kp_auto_value(kp_buf) bytes = KP_BUF(1 << 20);
    struct kp_plan_file file;
    struct kp_err err;
    bool matches;
    package_rpm(&bytes, entries);
    cr_assert_eq(describe("conntrack-tools-1.4.7-2.el9.x86_64.rpm", &bytes, &file, &matches, &err),
                 0, "%s", err.message);
    cr_expect(matches);
    cr_expect_str_eq(file.component, "conntrack-tools.rpm");
    cr_expect_str_eq(file.version, "1.4.7-2.el9");
    cr_expect_str_eq(file.installs[0].target,
                     KP_PACKAGE_FOLDER "/conntrack-tools-1.4.7-2.el9.x86_64.rpm");
    check_programs(&file, "conntrack socat ");
}

static void check_refused(const char *name, const struct kp_buf *bytes, const char *says)
{
    struct kp_plan_file file;
    struct kp_err err;
    bool matches;
    cr_expect_eq(describe(name, bytes, &file, &matches, &err), -1, "%s: accepted", says);
    cr_expect(strstr(err.message, says), "'%s' is not in '%s'", says, err.message);
    cr_expect(strstr(err.message, name), "no name in '%s'", err.message);
}

Test(packages, hostile_and_broken_ones)
{
    static const char *const none[] = {NULL}, *const out[] = {"../../etc/passwd", NULL};
    kp_auto_value(kp_buf) bytes = KP_BUF(1 << 20);
    kp_buf_adds(&bytes, "PK\3\4........");
    check_refused("x.deb", &bytes, "is no .deb file");
    check_refused("x-1-1.noarch.rpm", &bytes, "is no .rpm file");
    check_refused("x.txt", &bytes, "neither .deb nor .rpm");
    kp_buf_clear(&bytes);
    kp_buf_adds(&bytes, "!<arch>\n");
    check_refused("x.deb", &bytes, "it has no control.tar");
    package_deb(&bytes, CONTROL, none); // a second magic where a member should be
    check_refused("x.deb", &bytes, "it has no control.tar");
    kp_buf_clear(&bytes);
    package_deb(&bytes, NULL, none);
    check_refused("x.deb", &bytes, "its control file is missing");
    kp_buf_clear(&bytes);
    package_deb(&bytes, "Package: a/b\nVersion: 1\nArchitecture: all\n", none);
    check_refused("x.deb", &bytes, "not as a distribution writes it");
    kp_buf_clear(&bytes);
    package_deb(&bytes, CONTROL, out);
    check_refused("x.deb", &bytes, "..");
    kp_buf_clear(&bytes);
    package_deb(&bytes, CONTROL, none);
    bytes.len = 300; // the member goes beyond the end of the file
    check_refused("x.deb", &bytes, "it has no control.tar");
    kp_buf_clear(&bytes);
    package_rpm(&bytes, none);
    check_refused("thing.rpm", &bytes, "not as a distribution writes it");
}
