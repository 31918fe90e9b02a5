/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/index.h"

static json_t *describe(const struct kp_image *image, const struct kp_blob *blob)
{
    kp_auto_free char *digest = kp_asprintf("sha256:%s", kp_digest_hex(&image->digest).hex);
    return json_pack("{s:s, s:s, s:I, s:{s:s, s:s}}", "mediaType", image->media_type, "digest",
                     digest, "size", (json_int_t)blob->size, "annotations",
                     "org.opencontainers.image.ref.name", image->reference,
                     "io.containerd.image.name", image->reference);
}

int kp_index_make(const struct kp_manifest *manifest, char **out, size_t *len, struct kp_err *err)
{
    json_t *list = json_array();
    kp_auto_json document = json_pack("{s:i, s:s, s:o}", "schemaVersion", 2, "mediaType",
                                      "application/vnd.oci.image.index.v1+json", "manifests", list);
    for (size_t i = 0; i < manifest->image_count; i++) {
        const struct kp_image *image = &manifest->images[i];
        const struct kp_blob *blob = kp_manifest_blob(manifest, &image->digest);
        json_t *descriptor = blob ? describe(image, blob) : NULL;
        if (!descriptor)
            return kp_fail(err, KP_USAGE, "image %s: %s", image->reference,
                           blob ? "is not plain text" : "its digest is not among the blobs");
        json_array_append_new(list, descriptor);
    }
    *out = kp_json_dump(document, false);
    *len = strlen(*out);
    return 0;
}
