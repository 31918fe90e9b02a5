/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a cluster manifest: refused, or every miss has a reference, a place and a path. */
#include "pack/scan.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kp_plan_image image = {.reference = "docker.io/library/nginx:1", .name = ""};
    struct kp_plan plan = {.images = &image, .image_count = 1, .kubernetes = "v1.30.14"};
    kp_auto(kp_scan) scan = kp_scan_new(&plan);
    struct kp_err err = KP_ERR_INIT;
    if (kp_scan_manifest(scan, (struct kp_slice){(const char *)data, size}, "m", &err) < 0 &&
        !err.message[0])
        abort();
    if (scan->missing_count > scan->references)
        abort();
    for (size_t i = 0; i < scan->missing_count; i++)
        if (!scan->missing[i].reference[0] || !scan->missing[i].where[0] || !scan->missing[i].path)
            abort();
    return 0;
}
