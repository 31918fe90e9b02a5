/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/oci_document.h"

#include "core/json.h"
#include "core/text.h"
#include "pack/fetch_oci.h"

#define OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"
#define DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define PLATFORM_MAX 64
#define ANY_SIZE_MAX ((uint64_t)1 << 50)

static int bad(const char *what, const char *text, struct kp_err *err)
{
    return kp_fail_as(err, KP_DAMAGED, "bad_image", "%s: %s", what, text);
}

bool kp_oci_type_is_index(const char *media_type)
{
    return strcmp(media_type, OCI_INDEX) == 0 || strcmp(media_type, DOCKER_LIST) == 0;
}

static bool is_manifest_type(const char *media_type)
{
    return strcmp(media_type, OCI_MANIFEST) == 0 || strcmp(media_type, DOCKER_MANIFEST) == 0;
}

static bool is_schema1(const char *media_type)
{
    return kp_starts_with(media_type, "application/vnd.docker.distribution.manifest.v1+");
}

/* Layers whose bytes are elsewhere by design: no registry has to serve them. */
static bool is_foreign(const char *media_type)
{
    return strstr(media_type, ".foreign.") || strstr(media_type, ".nondistributable.");
}

/* "" where the key is missing; NULL where it is no plain text of at most max bytes. */
static const char *text_of(const json_t *object, const char *key, size_t max,
                           struct kp_arena *arena)
{
    const json_t *value = json_object_get(object, key);
    if (!value || json_is_null(value))
        return "";
    const char *text = json_string_value(value);
    return text && kp_text_plain(text, max) ? kp_arena_strdup(arena, text) : NULL;
}

static int read_platform(struct kp_oci_descriptor *out, const json_t *platform,
                         struct kp_arena *arena, const char *what, struct kp_err *err)
{
    out->os = text_of(platform, "os", PLATFORM_MAX, arena);
    out->arch = text_of(platform, "architecture", PLATFORM_MAX, arena);
    out->variant = text_of(platform, "variant", PLATFORM_MAX, arena);
    if (!out->os || !out->arch || !out->variant)
        return bad(what, "platform with os, architecture or variant that is no short text", err);
    return 0;
}

static int read_descriptor(struct kp_oci_descriptor *out, const json_t *value,
                           struct kp_arena *arena, const char *what, struct kp_err *err)
{
    const json_t *size = json_object_get(value, "size");
    const json_t *platform = json_object_get(value, "platform");
    const char *digest = json_string_value(json_object_get(value, "digest"));
    out->media_type = text_of(value, "mediaType", KP_OCI_TYPE_MAX, arena);
    if (!json_is_object(value) || !out->media_type || !*out->media_type)
        return bad(what, "descriptor without mediaType", err);
    if (!digest || !kp_starts_with(digest, "sha256:") ||
        !kp_digest_parse(kp_slice_of(digest), &out->digest))
        return bad(what, "descriptor whose digest is not sha256: and 64 lower-case hex digits",
                   err);
    json_int_t bytes = json_is_integer(size) ? json_integer_value(size) : -1;
    if (bytes < 0 || (uint64_t)bytes > ANY_SIZE_MAX)
        return bad(what, "descriptor whose size is no byte count", err);
    out->size = (uint64_t)bytes;
    out->os = out->arch = out->variant = "";
    out->has_platform = json_is_object(platform);
    if (out->has_platform && read_platform(out, platform, arena, what, err) < 0)
        return -1;
    out->attestation = strcmp(out->os, "unknown") == 0 || strcmp(out->arch, "unknown") == 0;
    return 0;
}

static int read_list(struct kp_oci_descriptor **out, size_t *count, const json_t *list, size_t max,
                     struct kp_arena *arena, const char *what, struct kp_err *err)
{
    size_t n = json_array_size(list);
    if (!json_is_array(list))
        return bad(what, "layers or manifests is not a list", err);
    if (n > max)
        return kp_fail_as(err, KP_DAMAGED, "bad_image", "%s: %zu entries, %zu are allowed", what, n,
                          max);
    *out = kp_arena_array(arena, n, sizeof(**out));
    *count = n;
    for (size_t i = 0; i < n; i++)
        if (read_descriptor(&(*out)[i], json_array_get(list, i), arena, what, err) < 0)
            return -1;
    return 0;
}

static int read_manifest(struct kp_oci_document *out, const json_t *document,
                         struct kp_arena *arena, const char *what, struct kp_err *err)
{
    if (read_descriptor(&out->config, json_object_get(document, "config"), arena, what, err) < 0 ||
        read_list(&out->layers, &out->layer_count, json_object_get(document, "layers"),
                  KP_OCI_LAYERS_MAX, arena, what, err) < 0)
        return -1;
    if (out->config.size > KP_OCI_CONFIG_MAX)
        return bad(what, "its config is larger than 8 MiB", err);
    for (size_t i = 0; i < out->layer_count; i++) {
        if (!is_foreign(out->layers[i].media_type))
            continue;
        kp_fail_as(err, KP_DAMAGED, "unsupported_image",
                   "%s: layer %zu (%s) is kept outside of the registry", what, i + 1,
                   out->layers[i].media_type);
        return kp_hint(err, "such layers cannot be carried; rebuild the image without them");
    }
    return 0;
}

static int refuse_schema1(const char *what, struct kp_err *err)
{
    kp_fail_as(err, KP_DAMAGED, "unsupported_image", "%s: an image of the old schema 1", what);
    return kp_hint(err, "containerd does not run it; pull and push it again with a current tool");
}

/* The type is the document's own, the server's, and that of its shape: all three must agree. */
static int settle_type(struct kp_oci_document *out, const char *own, const char *content_type,
                       const char *what, struct kp_err *err)
{
    const char *type = *own ? own : content_type;
    if (!*type) // OCI documents may leave it out; Docker's never do
        type = out->is_index ? OCI_INDEX : OCI_MANIFEST;
    if (*own && *content_type && strcmp(own, content_type) != 0)
        return kp_fail_as(err, KP_DAMAGED, "bad_image",
                          "%s: its mediaType %s differs from the server's Content-Type %s", what,
                          own, content_type);
    if (out->is_index ? !kp_oci_type_is_index(type) : !is_manifest_type(type))
        return kp_fail_as(err, KP_DAMAGED, "bad_image", "%s: %s is not the type of %s", what, type,
                          out->is_index ? "an index" : "an image manifest");
    out->media_type = type;
    return 0;
}

int kp_oci_document_parse(struct kp_oci_document *out, struct kp_arena *arena, struct kp_slice text,
                          const char *content_type, const char *what, struct kp_err *err)
{
    kp_auto_json document = NULL;
    struct kp_oci_document found = {0};
    if (is_schema1(content_type))
        return refuse_schema1(what, err);
    if (kp_json_parse(&document, text, KP_OCI_MANIFEST_MAX, what, err) < 0)
        return -1;
    const json_t *version = json_object_get(document, "schemaVersion");
    const json_t *children = json_object_get(document, "manifests");
    const json_t *layers = json_object_get(document, "layers");
    const char *own = text_of(document, "mediaType", KP_OCI_TYPE_MAX, arena);
    if (!json_is_object(document) || !own)
        return bad(what, "not an image document", err);
    if (is_schema1(own) || (json_is_integer(version) && json_integer_value(version) == 1))
        return refuse_schema1(what, err);
    if (!json_is_integer(version) || json_integer_value(version) != 2)
        return bad(what, "schemaVersion is not 2", err);
    if (children && (layers || json_object_get(document, "config")))
        return bad(what, "refused: both an index (manifests) and a manifest (config, layers)", err);
    found.is_index = children != NULL;
    if (settle_type(&found, own, kp_arena_strdup(arena, content_type), what, err) < 0)
        return -1;
    int result = found.is_index ? read_list(&found.children, &found.child_count, children,
                                            KP_OCI_CHILDREN_MAX, arena, what, err)
                                : read_manifest(&found, document, arena, what, err);
    if (result == 0)
        *out = found;
    return result;
}

/* Lower is better; 0: does not fit. A plain arch takes what every machine of it runs. */
static unsigned rank(const struct kp_oci_descriptor *child, const char *arch)
{
    const char *slash = strchr(arch, '/');
    size_t len = slash ? (size_t)(slash - arch) : strlen(arch);
    if (child->attestation || strlen(child->arch) != len || strncmp(child->arch, arch, len) != 0 ||
        (strcmp(child->os, "linux") != 0 && *child->os))
        return 0;
    if (slash)
        return strcmp(child->variant, slash + 1) == 0;
    if (!*child->variant)
        return 1;
    bool arm64 = strcmp(arch, "arm64") == 0;
    if (strcmp(child->variant, arm64 ? "v8" : "v1") == 0)
        return 2;
    return 0;
}

bool kp_oci_platform_fits(const struct kp_oci_descriptor *platform, const char *arch)
{
    return rank(platform, arch) > 0;
}

const struct kp_oci_descriptor *kp_oci_choose(const struct kp_oci_document *index, const char *arch)
{
    const struct kp_oci_descriptor *best = NULL, *bare_index = NULL;
    for (size_t i = 0; i < index->child_count; i++) {
        const struct kp_oci_descriptor *child = &index->children[i];
        bool usable =
            kp_oci_type_is_index(child->media_type) || is_manifest_type(child->media_type);
        if (!child->has_platform && kp_oci_type_is_index(child->media_type) && !bare_index)
            bare_index = child;
        unsigned mine = usable && child->has_platform ? rank(child, arch) : 0;
        if (mine && (!best || mine < rank(best, arch)))
            best = child;
    }
    if (!best && index->child_count == 1 && !index->children[0].has_platform)
        best = &index->children[0]; // its config will say what it is
    return best ? best : bare_index;
}

const char *kp_oci_platforms(const struct kp_oci_document *index, struct kp_arena *arena)
{
    kp_auto_value(kp_buf) text = KP_BUF(512);
    for (size_t i = 0; i < index->child_count; i++) {
        const struct kp_oci_descriptor *child = &index->children[i];
        if (child->attestation || !child->has_platform)
            continue;
        kp_buf_addf(&text, "%s%s/%s%s%s", text.len ? ", " : "", child->os, child->arch,
                    *child->variant ? "/" : "", child->variant);
    }
    return text.len ? kp_arena_strdup(arena, text.data) : "nothing with a platform";
}

int kp_oci_config_parse(struct kp_oci_descriptor *platform, struct kp_arena *arena,
                        struct kp_slice text, const char *what, struct kp_err *err)
{
    kp_auto_json document = NULL;
    if (kp_json_parse(&document, text, KP_OCI_CONFIG_MAX, what, err) < 0)
        return -1;
    *platform = (struct kp_oci_descriptor){.has_platform = true};
    if (!json_is_object(document))
        return bad(what, "not an image config", err);
    if (read_platform(platform, document, arena, what, err) < 0)
        return -1;
    if (!*platform->arch)
        return bad(what, "an image config without architecture (an artifact, not an image?)", err);
    return 0;
}
