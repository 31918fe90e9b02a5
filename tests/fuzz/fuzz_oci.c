/* SPDX-License-Identifier: Apache-2.0 */
/* Any request against a small catalog: the answer is whole and its fields are clean. */
#include "registry/oci.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct kp_catalog *catalog(void)
{
    static struct kp_catalog *made;
    static struct kp_blob blobs[1] = {{.size = 2048, .media_type = "application/octet-stream"}};
    static struct kp_image images[2] = {{.reference = "registry.k8s.io/pause:3.9"},
                                        {.reference = "quay.io/pause:3.9"}};
    static const struct kp_manifest manifest = {.name = "m",
                                                .serial = 1,
                                                .blobs = blobs,
                                                .blob_count = 1,
                                                .images = images,
                                                .image_count = 2};
    struct kp_offer offer = {&manifest, 4096};
    if (!made)
        made = kp_catalog_new(&offer, 1);
    return made;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kp_http_head head;
    if (kp_http_parse_request(&head, (struct kp_slice){(const char *)data, size}) != 0)
        return 0;
    kp_auto_value(kp_answer) answer;
    kp_oci_answer(catalog(), &head, &answer);
    if (answer.status < 200 || answer.status > 499 || answer.fields.overflow)
        abort();
    for (size_t i = 0; i < answer.fields.len; i++) // no line of the sender's making
        if (answer.fields.data[i] == '\n' && (!i || answer.fields.data[i - 1] != '\r'))
            abort();
    if (answer.body == KP_BODY_BLOB && answer.status < 300 &&
        answer.offset + answer.length > answer.holding.blob->size)
        abort();
    return 0;
}
