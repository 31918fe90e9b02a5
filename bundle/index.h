/* SPDX-License-Identifier: Apache-2.0 */
/* The two documents that make the unpacked bundle an OCI image layout (image-spec v1.1). */
#pragma once

#include "bundle/manifest.h"

#define KP_OCI_LAYOUT_TEXT "{\"imageLayoutVersion\":\"1.0.0\"}\n"

/* index.json: one descriptor per image of the manifest, in its order, that names the full reference
 * for skopeo (ref.name) and containerd (io.containerd.image.name). kp_free. An image whose blob is
 * not listed is KP_USAGE. */
KP_CHECK int kp_index_make(const struct kp_manifest *manifest, char **out, size_t *len,
                           struct kp_err *err);
