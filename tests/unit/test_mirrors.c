/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/mirrors.h"

#include "core/file.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static char folder[] = "/tmp/kp-mirrors-XXXXXX";

static char *write_file(const char *name, const char *text, mode_t mode)
{
    struct kp_err err = KP_ERR_INIT;
    char *path = kp_path_join(folder, name);
    cr_assert_eq(kp_file_write_atomic(path, kp_slice_of(text), mode, &err), 0, "%s", err.message);
    return path;
}

static void make_folder(void)
{
    cr_assert_not_null(mkdtemp(folder));
    kp_free(write_file("ca.pem", "x\n", 0644));
    kp_free(write_file("pw", "secret\nmore\n", 0600));
    kp_free(write_file("open", "secret\n", 0644));
    kp_free(write_file("empty", "\n", 0600));
}

static void remove_folder(void)
{
    (void)!kp_remove_tree(folder, NULL);
}
TestSuite(mirrors, .init = make_folder, .fini = remove_folder);

static int load(struct kp_mirrors **out, const char *rules, struct kp_err *err)
{
    kp_auto_free char *text = kp_asprintf("kind: kpack.mirrors/v1\nmirrors:\n%s", rules);
    kp_auto_free char *path = write_file("m.yaml", text, 0644);
    return kp_mirrors_load(out, path, err);
}

static struct kp_mirrors *load_ok(const char *rules)
{
    struct kp_mirrors *mirrors = NULL;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(load(&mirrors, rules, &err), 0, "%s", err.message);
    return mirrors;
}

Test(mirrors, urls)
{
    kp_auto(kp_mirrors) mirrors = load_ok(
        "  - {from: 'https://dl.k8s.io/', to: 'https://m:1/k/', ca: ca.pem}\n"
        "  - {from: 'https://dl.k8s.io/release/v2', to: 'http://two'}\n"
        "  - {from: 'https://x.io', to: 'https://y.io', username: ann, password_file: pw}\n");
    static const char *const table[][2] = {
        {"https://dl.k8s.io/release/v1/x?a=b", "https://m:1/k/release/v1/x?a=b"},
        {"https://dl.k8s.io/release/v2/x", "http://two/x"},
        {"https://dl.k8s.io/release/v2", "http://two"},
        {"https://dl.k8s.io/release/v22", "https://m:1/k/release/v22"},
        {"https://x.io/a", "https://y.io/a"},
        {"https://x.io.evil/a", "https://x.io.evil/a"},
        {"http://dl.k8s.io/a", "http://dl.k8s.io/a"},
        {"https://elsewhere/", "https://elsewhere/"},
    };
    const struct kp_site *site;
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        kp_auto_free char *url = kp_mirrors_url(mirrors, table[i][0], &site);
        cr_expect_str_eq(url, table[i][1]);
        cr_expect_eq(site == NULL, strcmp(table[i][0], table[i][1]) == 0);
    }
    kp_auto_free char *url = kp_mirrors_url(mirrors, "https://x.io/a", &site);
    cr_assert_not_null(url);
    cr_assert_str_eq(site->username, "ann");
    cr_assert_str_eq(site->password, "secret");
    kp_auto_free char *other = kp_mirrors_url(mirrors, "https://dl.k8s.io/a", &site);
    cr_assert_not_null(other);
    kp_auto_free char *ca = kp_path_join(folder, "ca.pem");
    cr_assert_str_eq(site->ca, ca, "beside the mirrors file");
}

static void expect_place(const struct kp_mirrors *mirrors, const char *text, const char *base,
                         const char *repository)
{
    kp_auto(kp_arena) arena = kp_arena_new();
    kp_auto_value(kp_registry_place) place = {0};
    struct kp_reference ref;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_reference_parse(&ref, arena, text, &err), 0, "%s", err.message);
    kp_mirrors_registry(mirrors, &ref, &place);
    cr_expect_str_eq(place.base, base, "%s", place.base);
    cr_expect_str_eq(place.repository, repository, "%s", place.repository);
}

Test(mirrors, registries)
{
    kp_auto(kp_mirrors) mirrors =
        load_ok("  - {from: registry.k8s.io, to: 'm:5000/k8s', realms: ['a.io', 'b.io:8443']}\n"
                "  - {from: registry.k8s.io/coredns, to: other}\n"
                "  - {from: 'docker.io', to: 'm:5000', plain_http: true}\n");
    expect_place(mirrors, "registry.k8s.io/pause:3.9", "https://m:5000", "k8s/pause");
    expect_place(mirrors, "registry.k8s.io/coredns/coredns:1", "https://other", "coredns");
    expect_place(mirrors, "registry.k8s.io/coredns2:1", "https://m:5000", "k8s/coredns2");
    expect_place(mirrors, "nginx", "http://m:5000", "library/nginx");
    expect_place(mirrors, "quay.io/a/b", "https://quay.io", "a/b");
    expect_place(NULL, "nginx", "https://registry-1.docker.io", "library/nginx");
}

Test(mirrors, none)
{
    struct kp_err err = KP_ERR_INIT;
    struct kp_mirrors *mirrors = NULL;
    const struct kp_site *site;
    cr_assert_eq(kp_mirrors_load(&mirrors, NULL, &err), 0);
    kp_auto_free char *url = kp_mirrors_url(mirrors, "https://a/b", &site);
    cr_assert_str_eq(url, "https://a/b");
    cr_assert_null(site);
    kp_mirrors_free(mirrors);
}

Test(mirrors, refused)
{
    static const struct {
        const char *rule, *text;
    } table[] = {
        {"{from: 'https://a/', to: 'b'}", "must both be URLs"},
        {"{from: 'a.io', to: 'https://b/'}", "must both be URLs"},
        {"{from: 'https://a/', to: 'https://b'}", "both end in '/'"},
        {"{from: 'https://u:p@a/', to: 'https://b/'}", "no plain URL prefix"},
        {"{from: 'https://a/', to: 'https://b/?x'}", "no plain URL prefix"},
        {"{from: 'https:///', to: 'https://b/'}", "no plain URL prefix"},
        {"{from: 'a.io', to: 'B.io'}", "not host[:port][/prefix]"},
        {"{from: 'a.io', to: 'b.io/'}", "not host[:port][/prefix]"},
        {"{from: 'ftp://a/', to: 'b.io'}", "neither a URL"},
        {"{from: 'a.io'}", "to"},
        {"{from: 'https://a/', to: 'https://b/', plain_http: true}", "write http://"},
        {"{from: 'a.io', to: 'b.io', ca: none.pem}", "none.pem"},
        {"{from: 'a.io', to: 'b.io', username: ann}", "go together"},
        {"{from: 'a.io', to: 'b.io', password_file: pw}", "go together"},
        {"{from: 'a.io', to: 'b.io', username: ann, password: x}", "does not belong here"},
        {"{from: 'a.io', to: 'b.io', username: ann, password_file: open}", "read by others"},
        {"{from: 'a.io', to: 'b.io', username: ann, password_file: empty}", "empty"},
        {"{from: 'a.io', to: 'b.io', username: ann, password_file: none}", "No such file"},
        {"{from: 'a.io', to: 'b.io', realms: ['https://x']}", "not host or host:port"},
        {"{from: 'a.io', to: 'b.io', insecrue: true}", "insecure"},
        {"{from: 'a.io', to: 'b.io'}\n  - {from: 'a.io', to: 'c.io'}", "stands twice"},
    };
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        kp_auto_free char *rules = kp_asprintf("  - %s\n", table[i].rule);
        struct kp_mirrors *mirrors = NULL;
        struct kp_err err = KP_ERR_INIT;
        cr_expect_eq(load(&mirrors, rules, &err), -1, "%s", table[i].rule);
        cr_expect_eq(err.code, KP_USAGE, "%s: %s", table[i].rule, err.message);
        cr_expect(strstr(err.message, "m.yaml:3:") || strstr(err.message, "m.yaml:4:"), "%s",
                  err.message);
        cr_expect(strstr(err.message, table[i].text), "%s: %s", table[i].rule, err.message);
    }
}

Test(mirrors, another_kind_of_file)
{
    kp_auto_free char *path = write_file("k.yaml", "kind: kpack.release/v1\nmirrors: []\n", 0644);
    struct kp_mirrors *mirrors = NULL;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_mirrors_load(&mirrors, path, &err), -1);
    cr_assert(strstr(err.message, "not a mirrors file"), "%s", err.message);
}
