/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/oci.h"

#include <string.h>

#define NAME_MAX_LEN 255

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* (\.|_|__|-+) : its length at p, 0 where there is none. */
static size_t separator_len(const char *p)
{
    if (*p == '-')
        return strspn(p, "-");
    if (*p == '.')
        return 1;
    if (*p == '_')
        return p[1] == '_' ? 2 : 1;
    return 0;
}

bool kp_oci_name_ok(const char *name)
{
    const char *p = name;
    if (strlen(name) > NAME_MAX_LEN)
        return false;
    for (;;) {
        if (!is_alnum(*p))
            return false;
        while (is_alnum(*p))
            p++;
        if (!*p)
            return true;
        size_t n = *p == '/' ? 1 : separator_len(p);
        if (!n)
            return false;
        p += n;
    }
}

bool kp_oci_tag_ok(const char *tag)
{
    static const char word[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    size_t n = strlen(tag);
    if (n < 1 || n > 128 || !strchr(word, tag[0]))
        return false;
    for (size_t i = 1; i < n; i++)
        if (!strchr(word, tag[i]) && tag[i] != '.' && tag[i] != '-')
            return false;
    return true;
}

bool kp_oci_digest_ok(const char *digest)
{
    size_t want = kp_starts_with(digest, "sha256:")   ? 64
                  : kp_starts_with(digest, "sha512:") ? 128
                                                      : 0;
    return want && strlen(digest) == 7 + want && strspn(digest + 7, "0123456789abcdef") == want;
}

const char *kp_route_name(enum kp_route route)
{
    static const char *const names[KP_ROUTE_COUNT] = {
        [KP_ROUTE_NONE] = "none",         [KP_ROUTE_BASE] = "base",
        [KP_ROUTE_MANIFEST] = "manifest", [KP_ROUTE_BLOB] = "blob",
        [KP_ROUTE_TAGS] = "tags",         [KP_ROUTE_REFERRERS] = "referrers",
        [KP_ROUTE_CATALOG] = "catalog",   [KP_ROUTE_UPLOAD] = "upload",
        [KP_ROUTE_FILE] = "file",         [KP_ROUTE_BUNDLE] = "bundle",
        [KP_ROUTE_BUNDLES] = "bundles",   [KP_ROUTE_HEALTH] = "health",
        [KP_ROUTE_METRICS] = "metrics"};
    return names[route];
}

static enum kp_route fixed_route(const char *path)
{
    static const struct {
        const char *path;
        enum kp_route route;
    } fixed[] = {{"/v2", KP_ROUTE_BASE},
                 {"/v2/", KP_ROUTE_BASE},
                 {"/v2/_catalog", KP_ROUTE_CATALOG},
                 {"/bundles", KP_ROUTE_BUNDLES},
                 {"/healthz", KP_ROUTE_HEALTH},
                 {"/metrics", KP_ROUTE_METRICS}};
    for (size_t i = 0; i < KP_COUNT(fixed); i++)
        if (strcmp(path, fixed[i].path) == 0)
            return fixed[i].route;
    return KP_ROUTE_NONE;
}

/* Cuts the last path element off; it is returned, NULL where there is no '/' left. */
static char *cut_last(char *path)
{
    char *slash = strrchr(path, '/');
    if (!slash)
        return NULL;
    *slash = '\0';
    return slash + 1;
}

static enum kp_route route_of(const char *keyword, const char *reference)
{
    if (strcmp(keyword, "manifests") == 0)
        return KP_ROUTE_MANIFEST;
    if (strcmp(keyword, "blobs") == 0)
        return strcmp(reference, "uploads") == 0 ? KP_ROUTE_UPLOAD : KP_ROUTE_BLOB;
    if (strcmp(keyword, "referrers") == 0)
        return KP_ROUTE_REFERRERS;
    if (strcmp(keyword, "tags") == 0 && strcmp(reference, "list") == 0)
        return KP_ROUTE_TAGS;
    return KP_ROUTE_NONE;
}

/* <name>/<keyword>/<reference>, read from the right: a repository may be called "blobs". */
static struct kp_target repository_route(char *rest)
{
    struct kp_target target = {.route = KP_ROUTE_NONE, .name = rest};
    target.reference = cut_last(rest);
    char *keyword = target.reference ? cut_last(rest) : NULL;
    if (!keyword)
        return target;
    target.route = route_of(keyword, target.reference);
    if (target.route != KP_ROUTE_NONE || strcmp(keyword, "uploads") != 0)
        return target;
    keyword = cut_last(rest); // <name>/blobs/uploads/<session>
    if (keyword && strcmp(keyword, "blobs") == 0)
        target.route = KP_ROUTE_UPLOAD;
    return target;
}

struct kp_target kp_oci_route(char *path)
{
    struct kp_target target = {.route = fixed_route(path), .name = path};
    if (target.route != KP_ROUTE_NONE)
        return target;
    if (kp_starts_with(path, "/v2/"))
        return repository_route(path + 4);
    if (kp_starts_with(path, "/blobs/sha256/")) {
        target.route = KP_ROUTE_FILE;
        target.reference = path + strlen("/blobs/sha256/");
    } else if (kp_starts_with(path, "/bundle/")) {
        target.route = KP_ROUTE_BUNDLE;
        target.reference = path + strlen("/bundle/");
    }
    return target;
}
