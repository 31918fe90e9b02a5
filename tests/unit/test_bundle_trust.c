/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/sign.h"

#include "core/file.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* openssl genpkey -algorithm ed25519; id by: openssl pkey -pubin -outform DER | sha256sum */
static const char known_pem[] = "-----BEGIN PUBLIC KEY-----\n"
                                "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
                                "-----END PUBLIC KEY-----\n";
static const char rsa_pem[] = "-----BEGIN PUBLIC KEY-----\n"
                              "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCf55kJ3DAQ2k3XEk0eW8NmkV/6\n"
                              "yc0hh3IpvMFBezgk/q2Oo+PA+WRuOX5bCaTCOgSOuLS/Oxd6llRa3RYUQd9GsFsm\n"
                              "e79oKrEGo0bfmzjBqoEkj08ABVIB01MCgytJTWIiGYPLqppfTYaN7QfohY7we3ew\n"
                              "ITK2gPbCfIVeUk6pFwIDAQAB\n"
                              "-----END PUBLIC KEY-----\n";

static char folder[64];

static void setup(void)
{
    snprintf(folder, sizeof(folder), "/tmp/kpack-trust-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static void teardown(void)
{
    (void)!kp_remove_tree(folder, NULL);
}

TestSuite(bundle_trust, .init = setup, .fini = teardown, .timeout = 60);

static void put(const char *name, const char *text)
{
    kp_auto_free char *path = kp_path_join(folder, name);
    cr_assert_eq(kp_file_write_atomic(path, kp_slice_of(text), 0644, NULL), 0);
}

static int add(struct kp_trust *trust, const char *name, struct kp_err *err)
{
    kp_auto_free char *path = kp_path_join(folder, name);
    return kp_trust_add_file(trust, path, err);
}

Test(bundle_trust, known_key_has_its_id_and_name_and_comes_out_again)
{
    kp_auto(kp_trust) trust = kp_trust_new();
    struct kp_err err = KP_ERR_INIT;
    put("rfc8032.pub", known_pem);
    cr_assert_eq(add(trust, "rfc8032.pub", &err), 0, "%s", err.message);
    const struct kp_trust_key *key = kp_trust_at(trust, 0);
    cr_expect_str_eq(key->name, "rfc8032");
    cr_expect_eq(key->public_key[0], 0xd7);
    cr_expect_eq(key->public_key[31], 0x1a);
    cr_expect_str_eq(kp_digest_hex(&key->id).hex,
                     "06e3fd8fda29bb60ab59557de61edb0aecdb231134be30e75b455f8e1b792fa9");
    kp_auto_free char *pem = kp_trust_pem(trust, 0);
    cr_expect_str_eq(pem, known_pem);
    cr_expect_null(kp_trust_at(trust, 1));
    cr_expect_eq(kp_trust_find(trust, &key->id), key);
}

Test(bundle_trust, same_key_under_two_names_counts_once)
{
    kp_auto(kp_trust) trust = kp_trust_new();
    struct kp_err err = KP_ERR_INIT;
    put("a.pub", known_pem);
    put("b.pem", known_pem);
    cr_assert_eq(kp_trust_add_folder(trust, folder, &err), 0, "%s", err.message);
    cr_expect_eq(kp_trust_count(trust), 1);
}

Test(bundle_trust, folder_takes_pub_and_pem_only)
{
    kp_auto(kp_trust) trust = kp_trust_new();
    struct kp_err err = KP_ERR_INIT;
    put("a.pub", known_pem);
    put("README", "keys of the site");
    put(".hidden.pub", "junk");
    cr_assert_eq(kp_trust_add_folder(trust, folder, &err), 0, "%s", err.message);
    cr_expect_eq(kp_trust_count(trust), 1);
}

Test(bundle_trust, missing_folder_is_fine_and_missing_file_is_not)
{
    kp_auto(kp_trust) trust = kp_trust_new();
    struct kp_err err = KP_ERR_INIT;
    cr_expect_eq(kp_trust_add_folder(trust, "/nonexistent/trusted.d", &err), 0);
    cr_expect_eq(add(trust, "nobody.pub", &err), -1);
    cr_expect_eq(err.code, KP_USAGE);
}

static const struct flaw {
    const char *flaw, *text, *said;
} flaws[] = {
    {"empty", "", "not a PEM public key"},
    {"not PEM", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI...", "not a PEM public key"},
    {"private key",
     "-----BEGIN PRIVATE KEY-----\n"
     "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
     "-----END PRIVATE KEY-----\n",
     "private key"},
    {"RSA", rsa_pem, "RSA"},
    {"certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "PEM"},
    {"short key",
     "-----BEGIN PUBLIC KEY-----\n"
     "MCkwBQYDK2VwAyAA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHUQ==\n"
     "-----END PUBLIC KEY-----\n",
     "public key"},
    {"cut off", "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKx\n", "public key"},
};

Test(bundle_trust, each_flawed_key_file_is_refused_and_named)
{
    for (size_t i = 0; i < KP_COUNT(flaws); i++) {
        kp_auto(kp_trust) trust = kp_trust_new();
        struct kp_err err = KP_ERR_INIT;
        put("k.pub", flaws[i].text);
        cr_assert_eq(add(trust, "k.pub", &err), -1, "%s", flaws[i].flaw);
        cr_expect_eq(err.code, KP_USAGE, "%s", flaws[i].flaw);
        cr_expect(strstr(err.message, flaws[i].said) != NULL, "%s: %s", flaws[i].flaw, err.message);
        cr_expect(strstr(err.message, "k.pub") != NULL, "%s: %s", flaws[i].flaw, err.message);
        cr_expect_eq(kp_trust_count(trust), 0);
    }
}

Test(bundle_trust, two_keys_in_one_file_are_refused)
{
    kp_auto(kp_trust) trust = kp_trust_new();
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *two = kp_asprintf("%s%s", known_pem, known_pem);
    put("k.pub", two);
    cr_expect_eq(add(trust, "k.pub", &err), -1);
    cr_expect(strstr(err.message, "one key per file") != NULL, "%s", err.message);
}

Test(bundle_trust, too_many_keys_are_refused)
{
    kp_auto(kp_trust) trust = kp_trust_new();
    struct kp_err err = KP_ERR_INIT;
    for (int i = 0; i <= KP_TRUST_KEYS_MAX; i++) {
        kp_auto_free char *name = kp_asprintf("k%d", i);
        kp_auto_free char *file = kp_asprintf("k%d.pub", i);
        struct kp_digest id;
        cr_assert_eq(kp_key_generate(folder, name, &id, &err), 0, "%s", err.message);
        cr_expect_eq(add(trust, file, &err), i < KP_TRUST_KEYS_MAX ? 0 : -1, "key %d", i);
    }
}

static mode_t mode_of(const char *name)
{
    kp_auto_free char *path = kp_path_join(folder, name);
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    return st.st_mode & 07777;
}

Test(bundle_trust, generated_key_is_private_loads_and_is_never_overwritten)
{
    kp_auto(kp_key) key = NULL;
    struct kp_err err = KP_ERR_INIT;
    struct kp_digest id, other;
    kp_auto_free char *path = kp_path_join(folder, "site.key");
    cr_assert_eq(kp_key_generate(folder, "site", &id, &err), 0, "%s", err.message);
    cr_expect_eq(mode_of("site.key"), 0600);
    cr_expect_eq(mode_of("site.pub"), 0644);
    cr_assert_eq(kp_key_load(&key, path, NULL, &err), 0, "%s", err.message);
    cr_expect(kp_digest_equal(kp_key_id(key), &id));
    cr_expect_eq(kp_key_generate(folder, "site", &other, &err), -1);
    cr_expect_eq(err.code, KP_USAGE);
    cr_assert_eq(unlink(path), 0);
    cr_expect_eq(kp_key_generate(folder, "site", &other, &err), -1, "the .pub alone is enough");
    cr_expect_not(kp_file_exists(path));
}

Test(bundle_trust, key_names_are_strict)
{
    static const char *const names[] = {"", "../x", "a/b", ".x", "a b"};
    for (size_t i = 0; i < KP_COUNT(names); i++) {
        struct kp_err err = KP_ERR_INIT;
        struct kp_digest id;
        cr_expect_eq(kp_key_generate(folder, names[i], &id, &err), -1, "\"%s\"", names[i]);
        cr_expect_eq(err.code, KP_USAGE);
    }
}

/* openssl genpkey -algorithm ed25519 -aes256 -pass pass:secret */
static const char encrypted_pem[] =
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
    "MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAiWj39j+gTPSwICCAAw\n"
    "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEIX1wfAXmDSfRC9CC9ym0UcEQOil\n"
    "R6tDTTvs3BMj8y7W4sTeGOjE7gq62CQ2jt/m4XSrAALNKcmToHg+xnJO+5bjkeO7\n"
    "JxvU7o63Bdssp2WCYOs=\n"
    "-----END ENCRYPTED PRIVATE KEY-----\n";

Test(bundle_trust, encrypted_key_needs_its_passphrase)
{
    kp_auto(kp_key) key = NULL;
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *path = kp_path_join(folder, "e.key");
    put("e.key", encrypted_pem);
    cr_expect_eq(kp_key_load(&key, path, NULL, &err), -1);
    cr_expect_str_eq(err.reason, "key_encrypted");
    cr_expect_eq(kp_key_load(&key, path, "wrong", &err), -1);
    cr_expect_str_eq(err.reason, "wrong_passphrase");
    cr_expect_eq(kp_key_load(&key, path, "secret", &err), 0, "%s", err.message);
}

Test(bundle_trust, flawed_private_keys_are_refused)
{
    static const char *const texts[] = {"", "junk", known_pem};
    for (size_t i = 0; i < KP_COUNT(texts); i++) {
        kp_auto(kp_key) key = NULL;
        struct kp_err err = KP_ERR_INIT;
        kp_auto_free char *path = kp_path_join(folder, "f.key");
        put("f.key", texts[i]);
        cr_expect_eq(kp_key_load(&key, path, NULL, &err), -1);
        cr_expect_eq(err.code, KP_USAGE);
        cr_expect(strstr(err.message, "f.key") != NULL, "%s", err.message);
    }
}
