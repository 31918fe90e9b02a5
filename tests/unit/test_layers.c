/* SPDX-License-Identifier: Apache-2.0 */
#include "core/buf.h"
#include "pack/layers.h"

#include <criterion/criterion.h>

#define STATUS "var/lib/dpkg/status"
#define D "var/lib/dpkg/status.d/"

static void note(void *user, const struct kp_dpkg_package *p)
{
    kp_buf_addf(user, "%.*s=%.*s/%.*s ", (int)p->name.len, p->name.ptr, (int)p->version.len,
                p->version.ptr, (int)p->arch.len, p->arch.ptr);
}

Test(dpkg, stanzas)
{
    static const struct {
        const char *text, *found;
        size_t odd;
    } table[] = {
        {"", "", 0},
        {"\n\n\n", "", 0},
        {"Package: a\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n",
         "a=1/amd64 ", 0},
        {"\n\nPackage: a\nVersion: 1:2.3+b~1-4\nArchitecture: all\n\n\nPackage: b\nVersion: 2\n"
         "Architecture: amd64",
         "a=1:2.3+b~1-4/all b=2/amd64 ", 0},
        {"Package: a\r\nVersion: 1\r\nArchitecture: all\r\n", "a=1/all ", 0},
        {"Package: a\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: all\n", "", 0},
        {"Package: a\nStatus: hold ok installed\nVersion: 1\nArchitecture: all\n", "a=1/all ", 0},
        {"Package: a\nStatus: install ok half-installed\nVersion: 1\nArchitecture: all\n", "", 0},
        {"Package: a\nDescription: x\n Version: 9\n Package: z\nVersion: 1\nArchitecture: all\n",
         "a=1/all ", 0},
        {"Package: a\nArchitecture: all\n", "", 1},
        {"Package: a b\nVersion: 1\nArchitecture: all\n", "", 1},
        {"Package: a\nVersion: \xff\nArchitecture: all\n", "", 1},
        {"Package: a\"\nVersion: 1\nArchitecture: all\n\nPackage: b\nVersion: 1\nArchitecture: all",
         "b=1/all ", 1},
    };
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        kp_auto_value(kp_buf) found = KP_BUF(65536);
        kp_buf_adds(&found, "");
        size_t odd = kp_dpkg_parse(kp_slice_of(table[i].text), note, &found);
        cr_expect_str_eq(kp_buf_slice(&found).ptr ? kp_buf_slice(&found).ptr : "", table[i].found,
                         "case %zu", i);
        cr_expect_eq(odd, table[i].odd, "case %zu", i);
    }
}

Test(dpkg, fields)
{
    struct kp_slice os = kp_slice_of("NAME=\"Debian GNU/Linux\"\nID=debian\nVERSION_ID='12'\n");
    cr_expect(kp_slice_equal(kp_dpkg_field(os, '=', "ID"), "debian"));
    cr_expect(kp_slice_equal(kp_dpkg_field(os, '=', "VERSION_ID"), "12"));
    cr_expect(kp_slice_equal(kp_dpkg_field(os, '=', "NAME"), "Debian GNU/Linux"));
    cr_expect_eq(kp_dpkg_field(os, '=', "NOSUCH").len, 0);
}

#define P(name, version) "Package: " name "\nVersion: " version "\nArchitecture: all\n"

/* Entries of layers, "|" begins the next; NULL ends. */
struct entry {
    const char *name, *text;
};

static void try_layers(const struct entry *entries, const char *wanted, size_t number)
{
    kp_auto(kp_layers) layers = kp_layers_new();
    kp_auto_value(kp_buf) found = KP_BUF(65536);
    struct kp_err err = KP_ERR_INIT;
    kp_layers_next(layers);
    for (; entries->name; entries++) {
        if (strcmp(entries->name, "|") == 0)
            kp_layers_next(layers);
        else
            cr_assert_eq(kp_layers_take(layers, entries->name, kp_slice_of(entries->text), &err),
                         0);
    }
    kp_buf_adds(&found, kp_layers_has_dpkg(layers) ? "" : "none");
    kp_layers_packages(layers, note, &found);
    cr_expect_str_eq(found.len ? kp_buf_slice(&found).ptr : "", wanted, "case %zu", number);
}

Test(layers, the_upper_ones_win_and_hide)
{
    static const struct {
        struct entry entries[9];
        const char *found;
    } table[] = {
        {{{"bin/sh", ""}}, "none"},
        {{{STATUS, P("a", "1")}}, "a=1/all "},
        {{{STATUS, P("a", "1")}, {"|", ""}, {"bin/sh", ""}}, "a=1/all "},
        {{{STATUS, P("a", "1")}, {"|", ""}, {STATUS, P("b", "2")}}, "b=2/all "},
        {{{STATUS, P("a", "1")}, {"|", ""}, {"var/lib/dpkg/.wh.status", ""}}, "none"},
        {{{STATUS, P("a", "1")}, {"|", ""}, {"var/lib/.wh.dpkg", ""}}, "none"},
        {{{STATUS, P("a", "1")}, {"|", ""}, {".wh.var", ""}}, "none"},
        {{{STATUS, P("a", "1")}, {"|", ""}, {"var/lib/dpkg/.wh..wh..opq", ""}}, "none"},
        {{{STATUS, P("a", "1")}, {"|", ""}, {".wh..wh..opq", ""}}, "none"},
        {{{STATUS, P("a", "1")}, {"|", ""}, {"var/lib/dpkg/.wh.stat", ""}}, "a=1/all "},
        {{{STATUS, P("a", "1")}, {"|", ""}, {"var/lib/.wh.dpkg-old", ""}}, "a=1/all "},
        {{{STATUS, P("a", "1")}, {"|", ""}, {"var/lib/dpkg-old/.wh..wh..opq", ""}}, "a=1/all "},
        // a whiteout hides what lies below, not what its own layer brings, in either order
        {{{STATUS, P("a", "1")},
          {"|", ""},
          {"var/lib/dpkg/.wh..wh..opq", ""},
          {STATUS, P("b", "2")}},
         "b=2/all "},
        {{{STATUS, P("a", "1")},
          {"|", ""},
          {STATUS, P("b", "2")},
          {"var/lib/dpkg/.wh..wh..opq", ""}},
         "b=2/all "},
        // a file or link where a folder was
        {{{STATUS, P("a", "1")}, {"|", ""}, {"var/lib", ""}}, "none"},
        {{{D "b", P("b", "1")}, {D "a", P("a", "1")}, {D "a.md5sums", "x"}, {D "x/y", "x"}},
         "a=1/all b=1/all "},
        {{{D "a", P("a", "1")}, {"|", ""}, {D "a", P("a", "2")}, {D ".wh.b", ""}}, "a=2/all "},
    };
    for (size_t i = 0; i < KP_COUNT(table); i++)
        try_layers(table[i].entries, table[i].found, i);
}

Test(layers, are_bounded)
{
    kp_auto(kp_layers) layers = kp_layers_new();
    struct kp_err err = KP_ERR_INIT;
    kp_layers_next(layers);
    for (int i = 0; i < KP_LAYERS_FILES_MAX; i++) {
        char name[64];
        snprintf(name, sizeof(name), D "p%d", i);
        cr_assert_eq(kp_layers_take(layers, name, kp_slice_of(""), &err), 0);
    }
    cr_assert_eq(kp_layers_take(layers, D "q", kp_slice_of(""), &err), -1);
    cr_assert_str_eq(err.reason, "too_large");
    cr_assert_eq(kp_layers_take(layers, D "p1", kp_slice_of("x"), &err), 0,
                 "in the old one's place");
}
