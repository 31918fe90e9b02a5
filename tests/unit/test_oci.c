/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/oci_auth.h"
#include "pack/oci_document.h"

#include <criterion/criterion.h>

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIGEST "\"digest\":\"sha256:" HEX "\",\"size\":7"
#define INDEX_TYPE "application/vnd.oci.image.index.v1+json"
#define MANIFEST_TYPE "application/vnd.oci.image.manifest.v1+json"
#define CHILD(os, arch, variant)                                                                   \
    "{\"mediaType\":\"" MANIFEST_TYPE "\"," DIGEST ",\"platform\":{\"os\":\"" os                   \
    "\",\"architecture\":\"" arch "\",\"variant\":\"" variant "\"}}"
#define INDEX(children) "{\"schemaVersion\":2,\"manifests\":[" children "]}"
#define CONFIG "\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\"," DIGEST "}"
#define LAYER "{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\"," DIGEST "}"

static int parse(struct kp_oci_document *out, struct kp_arena *arena, const char *text,
                 const char *type, struct kp_err *err)
{
    return kp_oci_document_parse(out, arena, kp_slice_of(text), type, "x:1", err);
}

Test(oci, manifest)
{
    kp_auto(kp_arena) arena = kp_arena_new();
    struct kp_oci_document document;
    struct kp_err err = KP_ERR_INIT;
    const char *text = "{\"schemaVersion\":2," CONFIG ",\"layers\":[" LAYER "," LAYER
                       "],\"annotations\":{\"x\":\"y\"}}";
    cr_assert_eq(parse(&document, arena, text, MANIFEST_TYPE, &err), 0, "%s", err.message);
    cr_assert(!document.is_index);
    cr_assert_eq(document.layer_count, 2);
    cr_assert_eq(document.config.size, 7);
    cr_assert_str_eq(kp_digest_hex(&document.layers[1].digest).hex, HEX);
    cr_assert_eq(parse(&document, arena, text, "", &err), 0, "the type may be left out");
    cr_assert_str_eq(document.media_type, MANIFEST_TYPE);
}

Test(oci, choice_of_platforms)
{
    static const struct {
        const char *text, *arch;
        int child; /* -1: none */
    } table[] = {
        {INDEX(CHILD("linux", "amd64", "") "," CHILD("linux", "arm64", "v8")), "amd64", 0},
        {INDEX(CHILD("linux", "amd64", "") "," CHILD("linux", "arm64", "v8")), "arm64", 1},
        {INDEX(CHILD("linux", "amd64", "") "," CHILD("linux", "arm64", "v8")), "s390x", -1},
        {INDEX(CHILD("windows", "amd64", "") "," CHILD("linux", "amd64", "")), "amd64", 1},
        {INDEX(CHILD("linux", "amd64", "v3") "," CHILD("linux", "amd64", "")), "amd64", 1},
        {INDEX(CHILD("linux", "amd64", "v3")), "amd64", -1},
        {INDEX(CHILD("linux", "arm", "v6") "," CHILD("linux", "arm", "v7")), "arm/v7", 1},
        {INDEX(CHILD("unknown", "unknown", "") "," CHILD("linux", "amd64", "")), "amd64", 1},
        {INDEX(CHILD("unknown", "unknown", "")), "amd64", -1},
        {INDEX("{\"mediaType\":\"" MANIFEST_TYPE "\"," DIGEST "}"), "amd64", 0},
        {INDEX("{\"mediaType\":\"" INDEX_TYPE "\"," DIGEST "}," CHILD("linux", "arm64", "")),
         "amd64", 0},
        {INDEX("{\"mediaType\":\"text/plain\"," DIGEST
               ",\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"}}"),
         "amd64", -1},
    };
    kp_auto(kp_arena) arena = kp_arena_new();
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        struct kp_oci_document document;
        struct kp_err err = KP_ERR_INIT;
        cr_assert_eq(parse(&document, arena, table[i].text, INDEX_TYPE, &err), 0, "%s",
                     err.message);
        const struct kp_oci_descriptor *child = kp_oci_choose(&document, table[i].arch);
        cr_expect_eq(child ? (int)(child - document.children) : -1, table[i].child, "%zu", i);
    }
}

Test(oci, refused)
{
    static const struct {
        const char *text, *type, *message;
    } table[] = {
        {"", MANIFEST_TYPE, "x:1"},
        {"[]", MANIFEST_TYPE, "not an image document"},
        {"{\"schemaVersion\":1}", MANIFEST_TYPE, "schema 1"},
        {"{}", "application/vnd.docker.distribution.manifest.v1+prettyjws", "schema 1"},
        {"{\"schemaVersion\":3}", MANIFEST_TYPE, "schemaVersion is not 2"},
        {"{\"schemaVersion\":2,\"manifests\":[],\"layers\":[]}", INDEX_TYPE, "both an index"},
        {"{\"schemaVersion\":2,\"manifests\":[]," CONFIG "}", INDEX_TYPE, "both an index"},
        {INDEX(""), MANIFEST_TYPE, "not the type of an index"},
        {INDEX(""), "text/html", "not the type of an index"},
        {"{\"schemaVersion\":2," CONFIG ",\"layers\":[]}", INDEX_TYPE, "not the type of an image"},
        {"{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST_TYPE "\"," CONFIG ",\"layers\":[]}",
         "application/vnd.docker.distribution.manifest.v2+json", "differs from the server's"},
        {"{\"schemaVersion\":2,\"mediaType\":7," CONFIG ",\"layers\":[]}", "",
         "not an image document"},
        {"{\"schemaVersion\":2,\"layers\":[]}", MANIFEST_TYPE, "descriptor"},
        {"{\"schemaVersion\":2," CONFIG "}", MANIFEST_TYPE, "not a list"},
        {"{\"schemaVersion\":2," CONFIG ",\"layers\":{}}", MANIFEST_TYPE, "not a list"},
        {"{\"schemaVersion\":2," CONFIG
         ",\"layers\":[{\"mediaType\":\"a\",\"digest\":\"sha256:../x\","
         "\"size\":1}]}",
         MANIFEST_TYPE, "digest"},
        {"{\"schemaVersion\":2," CONFIG ",\"layers\":[{\"mediaType\":\"a\",\"digest\":\"" HEX "\","
         "\"size\":1}]}",
         MANIFEST_TYPE, "digest"},
        {"{\"schemaVersion\":2," CONFIG ",\"layers\":[{\"mediaType\":\"a\",\"digest\":\"sha256:" HEX
         "\",\"size\":-1}]}",
         MANIFEST_TYPE, "size"},
        {"{\"schemaVersion\":2," CONFIG ",\"layers\":[{\"mediaType\":\"a\",\"digest\":\"sha256:" HEX
         "\",\"size\":1.5}]}",
         MANIFEST_TYPE, "size"},
        {"{\"schemaVersion\":2," CONFIG ",\"layers\":[{\"mediaType\":"
         "\"application/vnd.oci.image.layer.nondistributable.v1.tar\"," DIGEST "}]}",
         MANIFEST_TYPE, "outside of the registry"},
        {"{\"schemaVersion\":2,\"schemaVersion\":2," CONFIG ",\"layers\":[]}", MANIFEST_TYPE,
         "x:1"},
    };
    kp_auto(kp_arena) arena = kp_arena_new();
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        struct kp_oci_document document;
        struct kp_err err = KP_ERR_INIT;
        cr_expect_eq(parse(&document, arena, table[i].text, table[i].type, &err), -1, "%s",
                     table[i].text);
        cr_expect(strstr(err.message, table[i].message), "%s: %s", table[i].text, err.message);
    }
}

Test(oci, config)
{
    kp_auto(kp_arena) arena = kp_arena_new();
    struct kp_oci_descriptor platform;
    struct kp_err err = KP_ERR_INIT;
    const char *good = "{\"architecture\":\"arm64\",\"os\":\"linux\",\"variant\":\"v8\"}";
    cr_assert_eq(kp_oci_config_parse(&platform, arena, kp_slice_of(good), "x", &err), 0);
    cr_assert(kp_oci_platform_fits(&platform, "arm64"));
    cr_assert(!kp_oci_platform_fits(&platform, "amd64"));
    cr_assert_eq(kp_oci_config_parse(&platform, arena, kp_slice_of("{}"), "x", &err), -1);
    cr_assert(strstr(err.message, "without architecture"));
}

Test(oci, challenges)
{
    static const struct {
        const char *lines;
        int scheme;
        const char *realm, *service, *scope;
    } table[] = {
        {"", KP_CHALLENGE_NONE, "", "", ""},
        {"Negotiate", KP_CHALLENGE_NONE, "", "", ""},
        {"Basic realm=\"x\"", KP_CHALLENGE_BASIC, "x", "", ""},
        {"Bearer realm=\"https://a/t\",service=\"s\",scope=\"repository:a/b:pull,push\"",
         KP_CHALLENGE_BEARER, "https://a/t", "s", "repository:a/b:pull,push"},
        {"bearer  realm=\"https://a/t\" , Service=s", KP_CHALLENGE_BEARER, "https://a/t", "s", ""},
        {"Basic realm=\"x\"\nBearer realm=\"https://a\"", KP_CHALLENGE_BEARER, "https://a", "", ""},
        {"Bearer realm=\"https://a/\\\"t\\\"\"", KP_CHALLENGE_BEARER, "https://a/\"t\"", "", ""},
        {"Bearer realm=\"https://a", KP_CHALLENGE_BEARER, "", "", ""},
        {"Bearer realm", KP_CHALLENGE_BEARER, "", "", ""},
        {"Bearer", KP_CHALLENGE_BEARER, "", "", ""},
        {"BearerX realm=\"y\"", KP_CHALLENGE_NONE, "", "", ""},
    };
    kp_auto(kp_arena) arena = kp_arena_new();
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        struct kp_challenge c;
        kp_challenge_parse(&c, arena, table[i].lines);
        cr_expect_eq((int)c.scheme, table[i].scheme, "%s", table[i].lines);
        cr_expect_str_eq(c.realm, table[i].realm, "%s", table[i].lines);
        cr_expect_str_eq(c.service, table[i].service, "%s", table[i].lines);
        cr_expect_str_eq(c.scope, table[i].scope, "%s", table[i].lines);
    }
}

Test(oci, who_may_have_credentials)
{
    static const char *const named[] = {"auth.corp", "tokens.corp:8443", NULL};
    static const struct {
        const char *registry, *realm;
        bool may;
    } table[] = {
        {"ghcr.io", "ghcr.io", true},
        {"a.io:5000", "a.io", true},
        {"a.io:5000", "a.io:8443", true},
        {"a.io", "a.io.evil", false},
        {"a.io", "evila.io", false},
        {"a.io", "b.a.io", false},
        {"b.a.io", "a.io", false},
        {"registry-1.docker.io", "auth.docker.io", true},
        {"registry-1.docker.io", "auth.docker.io:444", false},
        {"evil.io", "auth.docker.io", false},
        {"registry.gitlab.com", "gitlab.com", true},
        {"a.io", "auth.corp", true},
        {"a.io", "auth.corp:444", true},
        {"a.io", "tokens.corp:8443", true},
        {"a.io", "tokens.corp:8444", false},
        {"a.io", "tokens.corp", false},
        {"a.io", "", false},
    };
    for (size_t i = 0; i < KP_COUNT(table); i++)
        cr_expect_eq(kp_realm_may_have_credentials(table[i].registry, table[i].realm, named),
                     table[i].may, "%s %s", table[i].registry, table[i].realm);
}

Test(oci, realms)
{
    static const char *const table[][2] = {
        {"https://a.io/token", "a.io"},  {"HTTPS://A.io:8443?x", "a.io:8443"},
        {"http://a.io/token", ""},       {"https://ann:pw@a.io/token", ""},
        {"https://a.io@evil/token", ""}, {"https://a.io\\@evil/token", ""},
        {"https:///token", ""},          {"a.io/token", ""},
        {"file:///etc/passwd", ""},
    };
    kp_auto(kp_arena) arena = kp_arena_new();
    for (size_t i = 0; i < KP_COUNT(table); i++)
        cr_expect_str_eq(kp_https_authority(arena, table[i][0]), table[i][1], "%s", table[i][0]);
}
