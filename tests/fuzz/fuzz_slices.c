/* SPDX-License-Identifier: Apache-2.0 */
/* slices.json: what parses names each MiB of each slice once. */
#include "bundle/slices.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kp_auto_value(kp_slices) list = {0};
    struct kp_err err = KP_ERR_INIT;
    if (kp_slices_parse(&list, (struct kp_slice){(const char *)data, size}, &err) < 0) {
        if (err.code != KP_DAMAGED || list.items)
            abort();
        return 0;
    }
    for (size_t i = 0; i < list.count; i++)
        if (!list.items[i].size || !list.items[i].leaves)
            abort();
    return 0;
}
