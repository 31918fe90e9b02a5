/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an index, manifest or config: refused, or within every limit. */
#include "pack/fetch_oci.h"
#include "pack/oci_document.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kp_auto(kp_arena) arena = kp_arena_new();
    struct kp_slice text = {(const char *)data, size};
    struct kp_oci_document document;
    struct kp_oci_descriptor platform;
    struct kp_err err = KP_ERR_INIT;
    if (kp_oci_document_parse(&document, arena, text, "", "x", &err) == 0) {
        if (document.layer_count > KP_OCI_LAYERS_MAX ||
            document.child_count > KP_OCI_CHILDREN_MAX ||
            (document.layer_count && document.is_index))
            abort();
        const struct kp_oci_descriptor *child = kp_oci_choose(&document, "amd64");
        if (child && child->attestation)
            abort();
        if (!*kp_oci_platforms(&document, arena))
            abort();
    } else if (!err.message[0]) {
        abort();
    }
    if (kp_oci_config_parse(&platform, arena, text, "x", &err) == 0 && !*platform.arch)
        abort();
    return 0;
}
