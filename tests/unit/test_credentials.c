/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/credentials.h"

#include "core/file.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>

static char folder[] = "/tmp/kp-credentials-XXXXXX";

static void write_file(const char *name, const char *text, mode_t mode)
{
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *path = kp_path_join(folder, name);
    cr_assert_eq(kp_file_write_atomic(path, kp_slice_of(text), mode, &err), 0, "%s", err.message);
}

/* Helpers that answer, know nothing, fail, and talk nonsense. */
static void make_folder(void)
{
    cr_assert_not_null(mkdtemp(folder));
    write_file("docker-credential-good",
               "#!/bin/sh\nread host\n[ \"$1\" = get ] || exit 9\n"
               "echo \"{\\\"ServerURL\\\":\\\"$host\\\",\\\"Username\\\":\\\"u-$host\\\","
               "\\\"Secret\\\":\\\"pw\\\"}\"\n",
               0755);
    write_file("docker-credential-token",
               "#!/bin/sh\necho '{\"Username\":\"<token>\",\"Secret\":\"refresh\"}'\n", 0755);
    write_file("docker-credential-knows-none",
               "#!/bin/sh\necho 'credentials not found in native keychain'\nexit 1\n", 0755);
    write_file("docker-credential-broken", "#!/bin/sh\necho 'vault is locked' >&2\nexit 1\n", 0755);
    write_file("docker-credential-nonsense", "#!/bin/sh\necho hello\n", 0755);
    kp_auto_free char *path = kp_asprintf("%s:%s", folder, getenv("PATH"));
    setenv("PATH", path, 1);
    signal(SIGPIPE, SIG_IGN); // as every program of ours does; a helper may not read
}

static void remove_folder(void)
{
    (void)!kp_remove_tree(folder, NULL);
}
TestSuite(credentials, .init = make_folder, .fini = remove_folder);

static int find(const char *config, const char *registry, struct kp_credential *out,
                struct kp_err *err)
{
    if (config)
        write_file("config.json", config, 0600);
    kp_auto(kp_credentials) credentials = kp_credentials_new(folder);
    return kp_credentials_find(credentials, registry, out, err);
}

Test(credentials, found)
{
    static const struct {
        const char *config, *registry, *username, *password, *identity;
    } table[] = {
        {NULL, "a.io", NULL, NULL, NULL},
        {"{}", "a.io", NULL, NULL, NULL},
        {"{\"auths\":{\"a.io\":{\"auth\":\"YW5uOnB3OngK\"}}}", "a.io", "ann", "pw:x\n", NULL},
        {"{\"auths\":{\"a.io\":{\"auth\":\"YW5uOnB3\"}}}", "a.io:5000", NULL, NULL, NULL},
        {"{\"auths\":{\"a.io\":{\"auth\":\"YW5uOnB3\"}}}", "b.a.io", NULL, NULL, NULL},
        {"{\"auths\":{\"https://a.io\":{\"auth\":\"YW5uOnB3\"}}}", "a.io", "ann", "pw", NULL},
        {"{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"YW5uOnB3\"}}}", "docker.io",
         "ann", "pw", NULL},
        {"{\"auths\":{\"a.io\":{}}}", "a.io", NULL, NULL, NULL},
        {"{\"auths\":{\"a.io\":{\"identitytoken\":\"t\"}}}", "a.io", "<token>", NULL, "t"},
        {"{\"auths\":{\"a.io\":{\"username\":\"u\",\"password\":\"p\"}}}", "a.io", "u", "p", NULL},
        {"{\"credHelpers\":{\"a.io\":\"good\"}}", "a.io", "u-a.io", "pw", NULL},
        {"{\"credHelpers\":{\"a.io\":\"good\"}}", "b.io", NULL, NULL, NULL},
        {"{\"credsStore\":\"good\"}", "docker.io", "u-https://index.docker.io/v1/", "pw", NULL},
        {"{\"credsStore\":\"token\"}", "a.io", "<token>", NULL, "refresh"},
        {"{\"credsStore\":\"knows-none\"}", "a.io", NULL, NULL, NULL},
        {"{\"credsStore\":\"knows-none\",\"auths\":{\"a.io\":{\"auth\":\"YW5uOnB3\"}}}", "a.io",
         "ann", "pw", NULL},
    };
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        kp_auto_value(kp_credential) got = {0};
        struct kp_err err = KP_ERR_INIT;
        cr_assert_eq(find(table[i].config, table[i].registry, &got, &err), 0, "%zu: %s", i,
                     err.message);
        cr_expect_str_eq(got.username ? got.username : "-",
                         table[i].username ? table[i].username : "-", "%zu", i);
        cr_expect_str_eq(got.password ? got.password : "-",
                         table[i].password ? table[i].password : "-", "%zu", i);
        cr_expect_str_eq(got.identity ? got.identity : "-",
                         table[i].identity ? table[i].identity : "-", "%zu", i);
    }
}

Test(credentials, refused)
{
    static const struct {
        const char *config, *text;
    } table[] = {
        {"{", "config.json"},
        {"{\"auths\":{\"a.io\":{\"auth\":\"###\"}}}", "not Base64"},
        {"{\"auths\":{\"a.io\":{\"auth\":\"YW5u\"}}}", "not user:password"},
        {"{\"credsStore\":\"../good\"}", "no name of a credential helper"},
        {"{\"credsStore\":\"a b\"}", "no name of a credential helper"},
        {"{\"credsStore\":\"broken\"}", "vault is locked"},
        {"{\"credsStore\":\"nonsense\"}", "not JSON"},
        {"{\"credsStore\":\"not-installed\"}", "docker-credential-not-installed"},
    };
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        kp_auto_value(kp_credential) got = {0};
        struct kp_err err = KP_ERR_INIT;
        cr_expect_eq(find(table[i].config, "a.io", &got, &err), -1, "%s", table[i].config);
        cr_expect(strstr(err.message, table[i].text), "%s: %s", table[i].config, err.message);
        cr_expect_null(got.username);
    }
}
