/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/oci.h"

#include "bundle/served.h"
#include "core/json.h"

#include <stdio.h>
#include <stdlib.h>

#include <string.h>

#define PATH_MAX_LEN 2048
#define JSON_TYPE "Content-Type: application/json\r\n"
#define FOREVER "Cache-Control: public, max-age=31536000, immutable\r\n"

struct question {
    const struct kp_catalog *catalog;
    const struct kp_http_head *request;
    struct kp_target target;
    bool is_get;
    char ns[KP_HOST_MAX]; /* "" where none was given */
    const char *host;     /* the registry host that is meant; NULL: any */
    const char *name;     /* the repository under it */
    char path[PATH_MAX_LEN];
};

void kp_answer_release(struct kp_answer *answer)
{
    kp_buf_release(&answer->fields);
    kp_buf_release(&answer->text);
}

/* --- pieces of answers --- */

static void put_json(struct kp_answer *out, unsigned status, const json_t *value)
{
    kp_auto_free char *text = kp_json_dump(value, true);
    out->status = status;
    out->body = KP_BODY_TEXT;
    kp_buf_adds(&out->text, text);
}

static void put_error(struct kp_answer *out, unsigned status, const char *code, const char *message)
{
    kp_auto_json value = json_pack("{s:[{s:s,s:s}]}", "errors", "code", code, "message", message);
    kp_buf_clear(&out->text);
    kp_buf_adds(&out->fields, JSON_TYPE "Cache-Control: no-store\r\n");
    put_json(out, status, value);
}

void kp_oci_damaged(struct kp_answer *answer)
{
    bool manifest = answer->route == KP_ROUTE_MANIFEST;
    kp_buf_clear(&answer->fields);
    put_error(answer, 404, manifest ? "MANIFEST_UNKNOWN" : "BLOB_UNKNOWN",
              "its bytes in this mirror's bundle are damaged; run kpack verify there");
}

void kp_oci_unreadable(struct kp_answer *answer)
{
    kp_buf_clear(&answer->fields);
    kp_buf_adds(&answer->fields, "Retry-After: 5\r\n");
    put_error(answer, 503, "UNAVAILABLE",
              "this mirror's medium cannot be read at the moment; ask again, or another mirror");
}

static void put_not_allowed(struct kp_answer *out)
{
    kp_buf_adds(&out->fields, "Allow: GET, HEAD\r\n");
    put_error(out, 405, "UNSUPPORTED", "this registry is read-only");
}

static bool etag_matches(struct kp_slice list, const char *etag)
{
    return list.len && (kp_slice_equal(list, "*") || kp_http_has_token(list, etag));
}

/* ETag, If-None-Match, Range over something of that digest and size. */
static void put_content(const struct question *q, struct kp_answer *out, const char *digest,
                        uint64_t size, bool ranges)
{
    char etag[KP_SHA256_HEX + 16];
    snprintf(etag, sizeof(etag), "\"%s\"", digest);
    kp_buf_addf(&out->fields, "ETag: %s\r\n%s", etag, ranges ? "Accept-Ranges: bytes\r\n" : "");
    out->status = 200;
    out->offset = 0;
    out->length = size;
    if (etag_matches(kp_http_field(q->request, "If-None-Match"), etag)) {
        out->status = 304;
        return;
    }
    struct kp_slice condition = kp_http_field(q->request, "If-Range");
    if (!ranges || !q->is_get || (condition.ptr && !kp_slice_equal(condition, etag)))
        return;
    switch (kp_http_range(kp_http_field(q->request, "Range"), size, &out->offset, &out->length)) {
    case KP_RANGE_WHOLE:
        return;
    case KP_RANGE_PART:
        out->status = 206;
        kp_buf_addf(&out->fields, "Content-Range: bytes %llu-%llu/%llu\r\n",
                    (unsigned long long)out->offset,
                    (unsigned long long)(out->offset + out->length - 1), (unsigned long long)size);
        return;
    case KP_RANGE_UNSATISFIABLE:
        kp_buf_clear(&out->fields);
        kp_buf_addf(&out->fields, "Content-Range: bytes */%llu\r\n", (unsigned long long)size);
        put_error(out, 416, "SIZE_INVALID", "the range lies outside of the blob");
    }
}

static void put_blob(const struct question *q, struct kp_answer *out, const char *media_type)
{
    const struct kp_blob *blob = out->holding.blob;
    char digest[KP_SHA256_HEX + 8];
    snprintf(digest, sizeof(digest), "sha256:%s", kp_digest_hex(&blob->sha256).hex);
    kp_buf_addf(&out->fields, "Content-Type: %s\r\nDocker-Content-Digest: %s\r\n", media_type,
                digest);
    out->body = KP_BODY_BLOB;
    put_content(q, out, digest, blob->size, out->route != KP_ROUTE_MANIFEST);
}

/* --- repositories --- */

static const char *canonical_host(const char *host)
{
    bool docker = strcmp(host, "registry-1.docker.io") == 0 || strcmp(host, "index.docker.io") == 0;
    return docker ? "docker.io" : host;
}

static bool host_matches(const struct question *q, const struct kp_tag *tag)
{
    return !q->host || strcmp(q->host, tag->host) == 0;
}

static bool repository_known(const struct question *q)
{
    size_t count;
    const struct kp_tag *tags = kp_catalog_repository(q->catalog, q->name, &count);
    for (size_t i = 0; i < count; i++)
        if (host_matches(q, &tags[i]))
            return true;
    return false;
}

/* Settles host and name: ?ns=, else the name as it is, else its first part as the host. */
static bool find_repository(struct question *q, struct kp_answer *out)
{
    q->name = q->target.name;
    q->host = q->ns[0] ? canonical_host(q->ns) : NULL;
    if (!kp_oci_name_ok(q->name)) {
        put_error(out, 404, "NAME_INVALID", "not a repository name");
        return false;
    }
    if (repository_known(q))
        return true;
    char *slash = q->host ? NULL : strchr(q->target.name, '/');
    if (slash) {
        *slash = '\0';
        q->host = canonical_host(q->target.name);
        q->name = slash + 1;
        if (repository_known(q))
            return true;
    }
    put_error(out, 404, "NAME_UNKNOWN", "no bundle here has this repository");
    return false;
}

/* True where the repository exists under several hosts and none was named. */
static bool is_ambiguous(const struct question *q)
{
    size_t count;
    const struct kp_tag *tags = kp_catalog_repository(q->catalog, q->name, &count);
    return !q->host && count && strcmp(tags[0].host, tags[count - 1].host) != 0;
}

static void put_ambiguous(struct kp_answer *out)
{
    put_error(out, 404, "NAME_UNKNOWN",
              "several registries have this repository: add ?ns=HOST, or put the host before the "
              "name");
}

enum found { FOUND, NOT_FOUND, SEVERAL };

static enum found find_tag(const struct question *q, struct kp_digest *out)
{
    size_t count;
    const struct kp_tag *tags = kp_catalog_repository(q->catalog, q->name, &count);
    enum found found = NOT_FOUND;
    for (size_t i = 0; i < count; i++) {
        if (!host_matches(q, &tags[i]) || strcmp(tags[i].tag, q->target.reference) != 0)
            continue;
        if (found == FOUND && !kp_digest_equal(out, &tags[i].image->digest))
            return SEVERAL;
        *out = tags[i].image->digest;
        found = FOUND;
    }
    return found;
}

/* --- routes --- */

static void answer_manifest(struct question *q, struct kp_answer *out)
{
    const char *reference = q->target.reference;
    bool by_digest = strchr(reference, ':') != NULL;
    struct kp_digest digest;
    enum found found;
    if (by_digest && !kp_oci_digest_ok(reference)) {
        put_error(out, 400, "DIGEST_INVALID", "not a digest");
        return;
    }
    if (!find_repository(q, out))
        return;
    if (by_digest)
        found = kp_digest_parse(kp_slice_of(reference), &digest) ? FOUND : NOT_FOUND;
    else
        found = kp_oci_tag_ok(reference) ? find_tag(q, &digest) : NOT_FOUND;
    if (found == SEVERAL) {
        put_ambiguous(out);
        return;
    }
    if (found == NOT_FOUND || !kp_catalog_blob(q->catalog, &digest, &out->holding) ||
        !kp_is_manifest_type(out->holding.blob->media_type)) {
        put_error(out, 404, "MANIFEST_UNKNOWN", "no bundle here has this manifest");
        return;
    }
    kp_buf_adds(&out->fields, by_digest ? FOREVER : "Cache-Control: no-cache\r\n");
    put_blob(q, out, out->holding.blob->media_type);
}

/* A manifest is no blob: a 200 here would be cached by containerd with the wrong type (#7390). */
static void answer_blob(struct question *q, struct kp_answer *out)
{
    struct kp_digest digest;
    if (!kp_oci_digest_ok(q->target.reference)) {
        put_error(out, 400, "DIGEST_INVALID", "not a digest");
        return;
    }
    if (!find_repository(q, out))
        return;
    if (!kp_digest_parse(kp_slice_of(q->target.reference), &digest) ||
        !kp_catalog_blob(q->catalog, &digest, &out->holding) ||
        kp_is_manifest_type(out->holding.blob->media_type)) {
        put_error(out, 404, "BLOB_UNKNOWN", "no bundle here has this blob");
        return;
    }
    kp_buf_adds(&out->fields, FOREVER);
    put_blob(q, out, "application/octet-stream");
}

static void answer_file(struct question *q, struct kp_answer *out)
{
    struct kp_digest digest;
    if (!kp_parse_hex(kp_slice_of(q->target.reference), digest.bytes, KP_SHA256_LEN)) {
        put_error(out, 400, "DIGEST_INVALID", "not 64 hexadecimal digits");
        return;
    }
    if (!kp_catalog_blob(q->catalog, &digest, &out->holding)) {
        put_error(out, 404, "BLOB_UNKNOWN", "no bundle here has this blob");
        return;
    }
    kp_buf_adds(&out->fields, FOREVER);
    put_blob(q, out, "application/octet-stream");
}

static void answer_bundle(struct question *q, struct kp_answer *out)
{
    struct kp_digest id;
    if (!kp_parse_hex(kp_slice_of(q->target.reference), id.bytes, KP_SHA256_LEN)) {
        put_error(out, 400, "DIGEST_INVALID", "not 64 hexadecimal digits");
        return;
    }
    for (size_t i = 0; i < kp_catalog_offers(q->catalog); i++) {
        const struct kp_offer *offer = kp_catalog_offer(q->catalog, i);
        if (!kp_digest_equal(&offer->manifest->id, &id))
            continue;
        out->body = KP_BODY_BUNDLE;
        out->bundle = i;
        // Not for ever: a signature may be added to the file, its id stays.
        kp_buf_adds(&out->fields, "Content-Type: application/zstd\r\nCache-Control: no-cache\r\n");
        put_content(q, out, kp_digest_hex(&id).hex, offer->size, true);
        return;
    }
    put_error(out, 404, "BLOB_UNKNOWN", "no such bundle here");
}

/* The first one is what was accepted last; then its bases, then the one before it. */
static void answer_bundles(const struct question *q, struct kp_answer *out)
{
    kp_auto_json list = json_array();
    for (size_t i = 0; i < kp_catalog_offers(q->catalog); i++) {
        const struct kp_offer *offer = kp_catalog_offer(q->catalog, i);
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:I, s:I}", "id", kp_digest_hex(&offer->manifest->id).hex,
                            "name", offer->manifest->name, "serial",
                            (json_int_t)offer->manifest->serial, "size", (json_int_t)offer->size));
    }
    kp_auto_json value = json_pack("{s:s, s:I, s:O}", "kind", KP_SERVED_KIND, "accepted",
                                   (json_int_t)kp_catalog_accepted(q->catalog), "bundles", list);
    kp_buf_adds(&out->fields, JSON_TYPE "Cache-Control: no-store\r\n");
    put_json(out, 200, value);
}

/* n= and last= of a listing. False (and the error is there) where n is no number. */
static bool read_page(const struct question *q, struct kp_answer *out, uint64_t *n, char *last,
                      size_t last_size)
{
    char text[32];
    if (!kp_http_query(q->request->query, "last", last, last_size))
        last[0] = '\0';
    if (!kp_http_query(q->request->query, "n", text, sizeof(text)))
        return true;
    uint64_t given;
    if (!kp_parse_u64(kp_slice_of(text), INT64_MAX, &given)) {
        put_error(out, 400, "UNSUPPORTED", "n is not a number");
        return false;
    }
    *n = given < *n ? given : *n;
    return true;
}

static void put_next_link(const struct question *q, struct kp_answer *out, const char *path,
                          uint64_t n, const char *last)
{
    kp_buf_addf(&out->fields, "Link: <%s?n=%llu&last=%s%s%s>; rel=\"next\"\r\n", path,
                (unsigned long long)n, last, q->ns[0] ? "&ns=" : "", q->ns);
}

static void answer_tags(struct question *q, struct kp_answer *out)
{
    char last[KP_REF_MAX], path[PATH_MAX_LEN];
    uint64_t n = KP_IMAGES_MAX * KP_REGISTRY_BUNDLES_MAX;
    size_t count;
    kp_auto_free char *shown = kp_strdup(q->target.name);
    if (!find_repository(q, out) || !read_page(q, out, &n, last, sizeof(last)))
        return;
    if (is_ambiguous(q)) {
        put_ambiguous(out);
        return;
    }
    const struct kp_tag *tags = kp_catalog_repository(q->catalog, q->name, &count);
    kp_auto_json list = json_array();
    const char *latest = NULL;
    for (size_t i = 0; i < count; i++) {
        if (!host_matches(q, &tags[i]) || !tags[i].tag[0] || strcmp(tags[i].tag, last) <= 0)
            continue;
        if (json_array_size(list) == n) {
            snprintf(path, sizeof(path), "/v2/%s/tags/list", shown);
            if (latest)
                put_next_link(q, out, path, n, latest);
            break;
        }
        latest = tags[i].tag;
        json_array_append_new(list, json_string(latest));
    }
    kp_auto_json value = json_pack("{s:s,s:O}", "name", shown, "tags", list);
    kp_buf_adds(&out->fields, JSON_TYPE "Cache-Control: no-cache\r\n");
    put_json(out, 200, value);
}

static void answer_referrers(struct question *q, struct kp_answer *out)
{
    char ignored[256];
    if (!kp_oci_digest_ok(q->target.reference)) {
        put_error(out, 400, "DIGEST_INVALID", "not a digest");
        return;
    }
    if (!kp_oci_name_ok(q->target.name)) {
        put_error(out, 404, "NAME_INVALID", "not a repository name");
        return;
    }
    if (kp_http_query(q->request->query, "artifactType", ignored, sizeof(ignored)))
        kp_buf_adds(&out->fields, "OCI-Filters-Applied: artifactType\r\n");
    kp_auto_json value = json_pack("{s:i,s:s,s:[]}", "schemaVersion", 2, "mediaType",
                                   "application/vnd.oci.image.index.v1+json", "manifests");
    kp_buf_adds(&out->fields, "Content-Type: application/vnd.oci.image.index.v1+json\r\n");
    put_json(out, 200, value);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "host/repository" once each, sorted; with ns the repositories of that host. */
static size_t list_repositories(const struct question *q, struct kp_arena *arena, char ***out)
{
    size_t count, n = 0;
    const struct kp_tag *tags = kp_catalog_tags(q->catalog, &count);
    const char *only = q->ns[0] ? canonical_host(q->ns) : NULL;
    char **names = kp_arena_array(arena, count + 1, sizeof(*names));
    for (size_t i = 0; i < count; i++) {
        if (only && strcmp(only, tags[i].host) != 0)
            continue;
        if (i && strcmp(tags[i].repository, tags[i - 1].repository) == 0 &&
            strcmp(tags[i].host, tags[i - 1].host) == 0)
            continue;
        names[n++] = only ? kp_arena_strdup(arena, tags[i].repository)
                          : kp_arena_printf(arena, "%s/%s", tags[i].host, tags[i].repository);
    }
    qsort(names, n, sizeof(*names), compare_texts);
    *out = names;
    return n;
}

static void answer_catalog(struct question *q, struct kp_answer *out)
{
    char last[KP_REF_MAX], **names;
    uint64_t n = KP_CATALOG_PAGE_MAX;
    if (!read_page(q, out, &n, last, sizeof(last)))
        return;
    kp_auto(kp_arena) arena = kp_arena_new();
    size_t count = list_repositories(q, arena, &names), i = 0;
    kp_auto_json list = json_array();
    while (i < count && strcmp(names[i], last) <= 0)
        i++;
    for (; i < count && json_array_size(list) < n; i++)
        json_array_append_new(list, json_string(names[i]));
    if (i < count && json_array_size(list))
        put_next_link(q, out, "/v2/_catalog", n, names[i - 1]);
    kp_auto_json value = json_pack("{s:O}", "repositories", list);
    kp_buf_adds(&out->fields, JSON_TYPE "Cache-Control: no-cache\r\n");
    put_json(out, 200, value);
}

static void answer_get(struct question *q, struct kp_answer *out)
{
    switch (out->route) {
    case KP_ROUTE_BASE:
        kp_buf_adds(&out->fields, JSON_TYPE);
        kp_buf_adds(&out->text, "{}");
        out->status = 200;
        return;
    case KP_ROUTE_MANIFEST:
        answer_manifest(q, out);
        return;
    case KP_ROUTE_BLOB:
        answer_blob(q, out);
        return;
    case KP_ROUTE_TAGS:
        answer_tags(q, out);
        return;
    case KP_ROUTE_REFERRERS:
        answer_referrers(q, out);
        return;
    case KP_ROUTE_CATALOG:
        answer_catalog(q, out);
        return;
    case KP_ROUTE_FILE:
        answer_file(q, out);
        return;
    case KP_ROUTE_BUNDLE:
        answer_bundle(q, out);
        return;
    case KP_ROUTE_BUNDLES:
        answer_bundles(q, out);
        return;
    case KP_ROUTE_HEALTH:
    case KP_ROUTE_METRICS:
        out->status = 200;
        return;
    case KP_ROUTE_UPLOAD:
        put_error(out, 404, "BLOB_UPLOAD_UNKNOWN", "this registry is read-only");
        return;
    default:
        put_error(out, 404, "UNSUPPORTED", "no such address");
    }
}

/* ns is echoed in a field, so it must be what a host looks like. */
static bool read_ns(struct question *q)
{
    if (!kp_http_query(q->request->query, "ns", q->ns, sizeof(q->ns)))
        q->ns[0] = '\0';
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]";
    return q->ns[strspn(q->ns, allowed)] == '\0';
}

void kp_oci_answer(const struct kp_catalog *catalog, const struct kp_http_head *request,
                   struct kp_answer *out)
{
    struct question q = {.catalog = catalog, .request = request};
    *out = (struct kp_answer){.fields = KP_BUF(KP_OCI_FIELDS_MAX), .text = KP_BUF(KP_OCI_TEXT_MAX)};
    kp_buf_adds(&out->fields, "Docker-Distribution-Api-Version: registry/2.0\r\n"
                              "X-Content-Type-Options: nosniff\r\n");
    if (!kp_http_decode(request->path, false, q.path, sizeof(q.path)) || !read_ns(&q)) {
        put_error(out, 400, "NAME_INVALID", "the address cannot be read");
        return;
    }
    q.target = kp_oci_route(q.path);
    out->route = q.target.route;
    q.is_get = kp_slice_equal(request->method, "GET");
    bool reading = q.is_get || kp_slice_equal(request->method, "HEAD");
    bool cancel = out->route == KP_ROUTE_UPLOAD && kp_slice_equal(request->method, "DELETE");
    if (!reading && !cancel && out->route != KP_ROUTE_NONE) {
        put_not_allowed(out);
        return;
    }
    if (q.ns[0])
        kp_buf_addf(&out->fields, "OCI-Namespace: %s\r\n", q.ns);
    answer_get(&q, out);
}
