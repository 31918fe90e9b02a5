/* SPDX-License-Identifier: Apache-2.0 */
#include "core/json.h"
#include "registry/oci.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"

/* Digests are one repeated byte: D(0x11) is sha256:1111…; text: HEX11. */
#define REP4(x) x x x x
#define HEX(pair) REP4(REP4(pair pair))
#define PAUSE HEX("11")   /* index of pause:3.9, held */
#define CHILD HEX("12")   /* its amd64 manifest, held */
#define FOREIGN HEX("13") /* its arm64 manifest, not carried */
#define LAYER HEX("14")   /* 2048 bytes */
#define OTHER HEX("15")   /* quay's tool:1 */
#define NEWER HEX("16")   /* pause:3.9 of the second, newer bundle */
#define BASED HEX("17")   /* an image whose index lies in a base */

static struct kp_digest digest_of(const char *hex)
{
    struct kp_digest digest;
    cr_assert(kp_parse_hex(kp_slice_of(hex), digest.bytes, KP_SHA256_LEN));
    return digest;
}

struct world {
    struct kp_digest base;
    struct kp_blob first_blobs[8], second_blobs[2];
    struct kp_image first_images[16], second_images[2];
    struct kp_manifest manifests[2];
    struct kp_catalog *catalog;
};

static void add_blob(struct kp_manifest *m, struct kp_blob *blobs, const char *hex, uint64_t size,
                     const char *type, const struct kp_digest *base)
{
    blobs[m->blob_count++] = (struct kp_blob){digest_of(hex), size, type, base};
    m->blobs = blobs;
}

static void add_image(struct kp_manifest *m, struct kp_image *images, const char *reference,
                      const char *hex)
{
    images[m->image_count++] = (struct kp_image){
        .reference = reference, .name = "", .digest = digest_of(hex), .media_type = OCI_INDEX};
    m->images = images;
}

static struct world *world_new(void)
{
    struct world *w = kp_alloc(sizeof(*w));
    struct kp_manifest *a = &w->manifests[0], *b = &w->manifests[1];
    w->base = digest_of(HEX("99"));
    *a = (struct kp_manifest){.name = "a", .serial = 5, .id = digest_of(HEX("aa"))};
    *b = (struct kp_manifest){.name = "b", .serial = 6, .id = digest_of(HEX("bb"))};
    add_blob(a, w->first_blobs, PAUSE, 100, OCI_INDEX, NULL);
    add_blob(a, w->first_blobs, CHILD, 200, OCI_MANIFEST, NULL);
    add_blob(a, w->first_blobs, LAYER, 2048, "application/vnd.oci.image.layer.v1.tar+gzip", NULL);
    add_blob(a, w->first_blobs, OTHER, 300, OCI_INDEX, NULL);
    add_blob(a, w->first_blobs, BASED, 400, OCI_INDEX, &w->base);
    add_image(a, w->first_images, "registry.k8s.io/pause:3.9", PAUSE);
    add_image(a, w->first_images, "registry.k8s.io/pause:3.10", PAUSE);
    add_image(a, w->first_images, "registry.k8s.io/tool:1", PAUSE);
    add_image(a, w->first_images, "quay.io/tool:1", OTHER);
    add_image(a, w->first_images, "quay.io/tool:2", OTHER);
    add_image(a, w->first_images, "docker.io/library/manifests:v1", OTHER);
    add_image(a, w->first_images, "docker.io/a/blobs/tags:v1", OTHER);
    add_image(a, w->first_images, "quay.io/based:1", BASED);
    add_image(a, w->first_images, "docker.io/flannel/flannel:v0.26.4", OTHER);
    add_blob(b, w->second_blobs, LAYER, 2048, "application/octet-stream", NULL);
    add_blob(b, w->second_blobs, NEWER, 500, OCI_INDEX, NULL);
    add_image(b, w->second_images, "registry.k8s.io/pause:3.9", NEWER);
    struct kp_offer offers[2] = {{a, 4096}, {b, 8192}};
    w->catalog = kp_catalog_new(offers, 2);
    return w;
}

static void world_free(struct world *w)
{
    kp_catalog_free(w->catalog);
    kp_free(w);
}

/* `fields`: more header lines, each ended by CRLF. */
static void ask(const struct world *w, const char *method, const char *target, const char *fields,
                struct kp_answer *out)
{
    kp_auto_free char *text =
        kp_asprintf("%s %s HTTP/1.1\r\nHost: m\r\n%s\r\n", method, target, fields);
    struct kp_http_head head;
    cr_assert_eq(kp_http_parse_request(&head, kp_slice_of(text)), 0, "%s", target);
    kp_oci_answer(w->catalog, &head, out);
    if (out->body == KP_BODY_TEXT && out->status >= 400) {
        struct kp_err err = KP_ERR_INIT;
        kp_auto_json value = NULL;
        cr_expect_eq(kp_json_parse(&value, kp_buf_slice(&out->text), 65536, target, &err), 0, "%s",
                     err.message);
        cr_expect(json_string_value(
                      json_object_get(json_array_get(json_object_get(value, "errors"), 0), "code")),
                  "errors are the specification's JSON: %s", out->text.data);
        cr_expect(strstr(out->fields.data, "Content-Type: application/json\r\n"), "%s", target);
    }
}

struct row {
    const char *method, *target, *fields;
    unsigned status;
    const char *contains; /* in fields or text; NULL: anything */
};

static const struct row rows[] = {
    {"GET", "/v2/", "", 200, "Docker-Distribution-Api-Version: registry/2.0"},
    {"HEAD", "/v2", "", 200, NULL},
    {"GET", "/", "", 404, NULL},
    {"GET", "/v3/", "", 404, NULL},
    /* manifests */
    {"GET", "/v2/pause/manifests/3.9?ns=registry.k8s.io", "", 200,
     "Docker-Content-Digest: sha256:" NEWER},
    {"HEAD", "/v2/pause/manifests/3.10?ns=registry.k8s.io", "", 200,
     "Docker-Content-Digest: sha256:" PAUSE},
    {"GET", "/v2/pause/manifests/3.9", "", 200, "Content-Type: " OCI_INDEX},
    {"GET", "/v2/pause/manifests/3.9", "Accept: text/plain\r\n", 200, "Content-Type: " OCI_INDEX},
    {"GET", "/v2/pause/manifests/sha256:" PAUSE, "", 200, "immutable"},
    {"GET", "/v2/pause/manifests/sha256%3A" PAUSE, "", 200, NULL},
    {"GET", "/v2/pause/manifests/sha256:" CHILD, "", 200, "Content-Type: " OCI_MANIFEST},
    {"GET", "/v2/pause/manifests/sha256:" FOREIGN, "", 404, "MANIFEST_UNKNOWN"},
    {"GET", "/v2/pause/manifests/sha256:" LAYER, "", 404, "MANIFEST_UNKNOWN"},
    {"GET", "/v2/pause/manifests/sha256:baddigeststring", "", 400, "DIGEST_INVALID"},
    {"GET", "/v2/pause/manifests/nope", "", 404, "MANIFEST_UNKNOWN"},
    {"GET", "/v2/pause/manifests/.bad", "", 404, "MANIFEST_UNKNOWN"},
    {"GET", "/v2/nope/manifests/3.9", "", 404, "NAME_UNKNOWN"},
    {"GET", "/v2/PAUSE/manifests/3.9", "", 404, "NAME_INVALID"},
    {"GET", "/v2/pause/manifests/3.9?ns=quay.io", "", 404, "NAME_UNKNOWN"},
    {"GET", "/v2/tool/manifests/1?ns=quay.io", "", 200, "Docker-Content-Digest: sha256:" OTHER},
    {"GET", "/v2/tool/manifests/1?ns=quay.io", "", 200, "OCI-Namespace: quay.io\r\n"},
    {"GET", "/v2/tool/manifests/1", "", 404, "several registries"},
    {"GET", "/v2/tool/manifests/2", "", 200, "sha256:" OTHER},
    {"GET", "/v2/quay.io/tool/manifests/1", "", 200, "sha256:" OTHER},
    {"GET", "/v2/flannel/flannel/manifests/v0.26.4?ns=registry-1.docker.io", "", 200, NULL},
    {"GET", "/v2/library/manifests/manifests/v1", "", 200, NULL},
    {"GET", "/v2/a/blobs/tags/manifests/v1", "", 200, NULL},
    {"GET", "/v2/a/blobs/tags/tags/list", "", 200, "\"v1\""},
    {"GET", "/v2/based/manifests/1", "", 404, "MANIFEST_UNKNOWN"},
    {"GET", "/v2/pause/manifests/3.10", "If-None-Match: \"sha256:" PAUSE "\"\r\n", 304, "ETag"},
    {"GET", "/v2/pause/manifests/3.10", "If-None-Match: \"x\", \"sha256:" PAUSE "\"\r\n", 304,
     NULL},
    {"GET", "/v2/pause/manifests/3.9?ns=a%0d%0aX", "", 400, NULL},
    /* blobs */
    {"GET", "/v2/pause/blobs/sha256:" LAYER, "", 200, "Accept-Ranges: bytes"},
    {"HEAD", "/v2/pause/blobs/sha256:" LAYER, "", 200, "Content-Type: application/octet-stream"},
    {"HEAD", "/v2/pause/blobs/sha256:" PAUSE, "", 404, "BLOB_UNKNOWN"},
    {"GET", "/v2/pause/blobs/sha256:" FOREIGN, "", 404, "BLOB_UNKNOWN"},
    {"GET", "/v2/pause/blobs/sha512:" LAYER LAYER, "", 404, "BLOB_UNKNOWN"},
    {"GET", "/v2/pause/blobs/md5:11", "", 400, "DIGEST_INVALID"},
    {"GET", "/v2/nope/blobs/sha256:" LAYER, "", 404, "NAME_UNKNOWN"},
    {"GET", "/v2/pause/blobs/sha256:" LAYER, "Range: bytes=500-1499\r\n", 206,
     "Content-Range: bytes 500-1499/2048"},
    {"GET", "/v2/pause/blobs/sha256:" LAYER, "Range: bytes=500-\r\n", 206,
     "Content-Range: bytes 500-2047/2048"},
    {"GET", "/v2/pause/blobs/sha256:" LAYER, "Range: bytes=-500\r\n", 206,
     "Content-Range: bytes 1548-2047/2048"},
    {"GET", "/v2/pause/blobs/sha256:" LAYER, "Range: bytes=2000-5000\r\n", 206,
     "Content-Range: bytes 2000-2047/2048"},
    {"GET", "/v2/pause/blobs/sha256:" LAYER, "Range: bytes=500-0\r\n", 416,
     "Content-Range: bytes */2048"},
    {"GET", "/v2/pause/blobs/sha256:" LAYER, "Range: bytes=5000-10000\r\n", 416, NULL},
    {"GET", "/v2/pause/blobs/sha256:" LAYER,
     "Range: bytes=0-9\r\nIf-Range: \"sha256:" LAYER "\"\r\n", 206, NULL},
    {"GET", "/v2/pause/blobs/sha256:" LAYER, "Range: bytes=0-9\r\nIf-Range: \"x\"\r\n", 200, NULL},
    {"HEAD", "/v2/pause/blobs/sha256:" LAYER, "Range: bytes=0-9\r\n", 200, NULL},
    /* listings */
    {"GET", "/v2/pause/tags/list", "", 200, "{\"name\":\"pause\",\"tags\":[\"3.10\",\"3.9\"]}"},
    {"GET", "/v2/pause/tags/list?n=1", "", 200, "[\"3.10\"]"},
    {"GET", "/v2/pause/tags/list?n=1", "", 200,
     "Link: </v2/pause/tags/list?n=1&last=3.10>; rel=\"next\""},
    {"GET", "/v2/pause/tags/list?last=3.10", "", 200, "[\"3.9\"]"},
    {"GET", "/v2/pause/tags/list?n=0", "", 200, "[]"},
    {"GET", "/v2/pause/tags/list?n=x", "", 400, NULL},
    {"GET", "/v2/pause/tags/list?n=-1", "", 400, NULL},
    {"GET", "/v2/nope/tags/list", "", 404, "NAME_UNKNOWN"},
    {"GET", "/v2/tool/tags/list", "", 404, "several registries"},
    {"GET", "/v2/tool/tags/list?ns=quay.io&n=1", "", 200, "last=1&ns=quay.io"},
    {"GET", "/v2/_catalog?n=2", "", 200,
     "{\"repositories\":[\"docker.io/a/blobs/tags\",\"docker.io/flannel/flannel\"]}"},
    {"GET", "/v2/_catalog?n=2", "", 200, "Link: </v2/_catalog?n=2&last=docker.io/flannel/flannel>"},
    {"GET", "/v2/_catalog?ns=quay.io", "", 200, "[\"based\",\"tool\"]"},
    {"GET", "/v2/_catalog?last=quay.io/tool", "", 200,
     "[\"registry.k8s.io/pause\",\"registry.k8s.io/tool\"]"},
    {"GET", "/v2/_catalog?n=99999999999", "", 200, NULL},
    /* referrers */
    {"GET", "/v2/pause/referrers/sha256:" FOREIGN, "", 200,
     "{\"schemaVersion\":2,\"mediaType\":\"" OCI_INDEX "\",\"manifests\":[]}"},
    {"GET", "/v2/pause/referrers/sha256:" FOREIGN, "", 200, "Content-Type: " OCI_INDEX "\r\n"},
    {"GET", "/v2/pause/referrers/sha256:" PAUSE "?artifactType=a/b", "", 200,
     "OCI-Filters-Applied: artifactType"},
    {"GET", "/v2/pause/referrers/sha256:x", "", 400, "DIGEST_INVALID"},
    /* writes */
    {"POST", "/v2/pause/blobs/uploads/", "", 405, "Allow: GET, HEAD"},
    {"POST", "/v2/pause/blobs/uploads/?digest=sha256:" LAYER, "", 405, "UNSUPPORTED"},
    {"PATCH", "/v2/pause/blobs/uploads/abc", "", 405, NULL},
    {"PUT", "/v2/pause/blobs/uploads/abc?digest=x", "", 405, NULL},
    {"PUT", "/v2/pause/manifests/3.9", "", 405, NULL},
    {"DELETE", "/v2/pause/manifests/3.9", "", 405, NULL},
    {"DELETE", "/v2/pause/blobs/sha256:" LAYER, "", 405, NULL},
    {"GET", "/v2/pause/blobs/uploads/abc", "", 404, NULL},
    {"DELETE", "/v2/pause/blobs/uploads/abc", "", 404, NULL},
    {"OPTIONS", "/v2/", "", 405, NULL},
    /* ours */
    {"GET", "/blobs/sha256/" LAYER, "Range: bytes=10-\r\n", 206,
     "Content-Range: bytes 10-2047/2048"},
    {"GET", "/blobs/sha256/" BASED, "", 404, "BLOB_UNKNOWN"},
    {"GET", "/blobs/sha256/xyz", "", 400, NULL},
    {"GET", "/bundle/" HEX("bb"), "Range: bytes=8000-\r\n", 206, "bytes 8000-8191/8192"},
    {"HEAD", "/bundle/" HEX("aa"), "", 200, NULL},
    {"GET", "/bundle/" HEX("cc"), "", 404, NULL},
    {"GET", "/bundle/../etc/passwd", "", 400, NULL},
    {"GET", "/bundles", "", 200,
     "{\"kind\":\"kpack.served/v1\",\"accepted\":0,\"bundles\":[{\"id\":\"" HEX(
         "aa") "\",\"name\":\"a\","
               "\"serial\":5,\"size\":4096},{\"id\":\"" HEX("bb") "\",\"name\":\"b\",\"serial\":6,"
                                                                  "\"size\":8192}]}"},
    {"PUT", "/bundles", "", 405, "UNSUPPORTED"},
    {"GET", "/healthz", "", 200, NULL},
    {"GET", "/metrics", "", 200, NULL},
    {"POST", "/metrics", "", 405, NULL},
};

Test(registry_oci, requests_and_answers)
{
    struct world *w = world_new();
    for (size_t i = 0; i < KP_COUNT(rows); i++) {
        kp_auto_value(kp_answer) answer;
        ask(w, rows[i].method, rows[i].target, rows[i].fields, &answer);
        cr_expect_eq(answer.status, rows[i].status, "%s %s %s: %u", rows[i].method, rows[i].target,
                     rows[i].fields, answer.status);
        bool there = !rows[i].contains || strstr(answer.fields.data, rows[i].contains) ||
                     (answer.text.data && strstr(answer.text.data, rows[i].contains));
        cr_expect(there, "%s %s: no %s in\n%s%s", rows[i].method, rows[i].target, rows[i].contains,
                  answer.fields.data, answer.text.data ? answer.text.data : "");
        cr_expect(!answer.fields.overflow && !answer.text.overflow);
    }
    world_free(w);
}

Test(registry_oci, which_bytes_of_which_bundle)
{
    struct world *w = world_new();
    kp_auto_value(kp_answer) blob, file, tag;
    ask(w, "GET", "/v2/pause/blobs/sha256:" LAYER, "Range: bytes=5-9\r\n", &blob);
    cr_expect_eq(blob.body, KP_BODY_BLOB);
    cr_expect(blob.offset == 5 && blob.length == 5);
    cr_expect(blob.holding.count == 2 && blob.holding.bundles[1] == 1, "both bundles have it");
    ask(w, "GET", "/bundle/" HEX("bb"), "", &file);
    cr_expect(file.body == KP_BODY_BUNDLE && file.bundle == 1 && file.length == 8192);
    ask(w, "GET", "/v2/pause/manifests/3.9", "", &tag);
    cr_expect(tag.holding.count == 1 && tag.holding.bundles[0] == 1 && tag.length == 500,
              "the newest serial wins the tag");
    kp_oci_damaged(&tag);
    cr_expect(tag.status == 404 && tag.body == KP_BODY_TEXT);
    cr_expect(strstr(tag.text.data, "MANIFEST_UNKNOWN"));
    world_free(w);
}

Test(registry_oci, grammar)
{
    static const struct {
        const char *name;
        bool ok;
    } names[] = {{"a", true},      {"a/b", true},  {"a.b_c__d-e---f/g1", true},
                 {"", false},      {"A", false},   {"a//b", false},
                 {"/a", false},    {"a/", false},  {"a..b", false},
                 {"a___b", false}, {"-a", false},  {"a-", false},
                 {"a.-b", false},  {"a:b", false}, {"../a", false},
                 {"a b", false}};
    for (size_t i = 0; i < KP_COUNT(names); i++)
        cr_expect_eq(kp_oci_name_ok(names[i].name), names[i].ok, "%s", names[i].name);
    char tag[130];
    memset(tag, 'a', 129);
    tag[129] = '\0';
    cr_expect(!kp_oci_tag_ok(tag));
    cr_expect(kp_oci_tag_ok(tag + 1));
    cr_expect(kp_oci_tag_ok("_1.2-x") && !kp_oci_tag_ok("-1") && !kp_oci_tag_ok("") &&
              !kp_oci_tag_ok("a/b") && !kp_oci_tag_ok("a+b"));
    cr_expect(!kp_oci_digest_ok("sha256:" HEX("AA")) && !kp_oci_digest_ok("sha256:" HEX("aa") "a"));
}

Test(registry_oci, the_catalog_is_capped)
{
    enum { MANY = 1500 };
    struct kp_image *images = kp_alloc_array(MANY, sizeof(*images));
    struct kp_manifest manifest = {.name = "m", .images = images, .image_count = MANY};
    for (size_t i = 0; i < MANY; i++) {
        images[i].reference = kp_asprintf("h.io/r%04zu:1", i);
        images[i].digest = digest_of(PAUSE);
    }
    struct kp_offer offer = {&manifest, 1};
    struct world w = {.catalog = kp_catalog_new(&offer, 1)};
    kp_auto_value(kp_answer) answer;
    ask(&w, "GET", "/v2/_catalog?n=100000", "", &answer);
    struct kp_err err = KP_ERR_INIT;
    kp_auto_json value = NULL;
    cr_assert_eq(kp_json_parse(&value, kp_buf_slice(&answer.text), 1 << 20, "catalog", &err), 0);
    cr_expect_eq(json_array_size(json_object_get(value, "repositories")), 1000);
    cr_expect(strstr(answer.fields.data, "last=h.io/r0999>"), "%s", answer.fields.data);
    kp_catalog_free(w.catalog);
    for (size_t i = 0; i < MANY; i++)
        kp_free((void *)(uintptr_t)images[i].reference);
    kp_free(images);
}
