/* SPDX-License-Identifier: Apache-2.0 */
/* What people call a blob; only asked for where something is wrong with it. */
#include "bundle/reader.h"

#include <stdio.h>

#define DOCUMENT_MAX ((size_t)4 << 20) /* an OCI manifest or index */
#define DEPTH_MAX 2                    /* index -> manifest -> layer */

static bool describe_file(const struct kp_manifest *m, const struct kp_digest *blob, char *out,
                          size_t len)
{
    for (size_t i = 0; i < m->file_count; i++) {
        const struct kp_file *file = &m->files[i];
        if (!kp_digest_equal(&file->blob, blob))
            continue;
        snprintf(out, len, "%s %s, %s", file->name, file->version, file->arch);
        return true;
    }
    for (size_t i = 0; i < m->manifest_count; i++) {
        if (!kp_digest_equal(&m->manifests[i].blob, blob))
            continue;
        snprintf(out, len, "cluster manifest %s", m->manifests[i].name);
        return true;
    }
    return false;
}

static bool mentions(const struct kp_bundle *b, const json_t *descriptor,
                     const struct kp_digest *blob, int depth);

/* Whether the OCI document leads to the blob. Unverified and perhaps damaged: kp_bundle_load checks
 * its digest, and whatever does not read simply leads nowhere. */
static bool leads_to(const struct kp_bundle *b, const struct kp_digest *document,
                     const struct kp_digest *blob, int depth)
{
    static const char *const lists[] = {"manifests", "layers"};
    kp_auto_free char *text = NULL;
    kp_auto_json parsed = NULL;
    size_t len;
    if (kp_bundle_load(b, document, DOCUMENT_MAX, &text, &len, NULL) < 0 ||
        kp_json_parse(&parsed, (struct kp_slice){text, len}, DOCUMENT_MAX, "image", NULL) < 0)
        return false;
    if (mentions(b, json_object_get(parsed, "config"), blob, 0))
        return true;
    for (size_t i = 0; i < KP_COUNT(lists); i++) {
        const json_t *list = json_object_get(parsed, lists[i]);
        for (size_t k = 0; k < json_array_size(list); k++)
            if (mentions(b, json_array_get(list, k), blob, depth))
                return true;
    }
    return false;
}

static bool mentions(const struct kp_bundle *b, const json_t *descriptor,
                     const struct kp_digest *blob, int depth)
{
    const char *text = json_string_value(json_object_get(descriptor, "digest"));
    struct kp_digest digest;
    if (!text || !kp_digest_parse(kp_slice_of(text), &digest))
        return false;
    if (kp_digest_equal(&digest, blob))
        return true;
    const char *type = json_string_value(json_object_get(descriptor, "mediaType"));
    return depth > 0 && type && strstr(type, "manifest") && leads_to(b, &digest, blob, depth - 1);
}

void kp_reader_describe(const struct kp_bundle *bundle, size_t entry, char *out, size_t len)
{
    const struct kp_manifest *m = bundle->manifest;
    const struct kp_digest *blob = &m->entries[entry].sha256;
    out[0] = '\0';
    if (entry < KP_FIXED_ENTRIES || describe_file(m, blob, out, len))
        return;
    for (size_t i = 0; i < m->image_count; i++) {
        if (!kp_digest_equal(&m->images[i].digest, blob) &&
            !leads_to(bundle, &m->images[i].digest, blob, DEPTH_MAX - 1))
            continue;
        snprintf(out, len, "%s", m->images[i].reference);
        return;
    }
}
