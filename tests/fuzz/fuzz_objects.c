/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a rendered chart: refused with words, or put out again, and the second time nothing
 * is left to do. */
#include "manifests/objects.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kp_auto_value(kp_buf) out = KP_BUF((size_t)1 << 20);
    struct kp_err err = KP_ERR_INIT;
    struct kp_slice text = {(const char *)data, size};
    if (kp_objects_settle(&out, text, "m", "default", &err) < 0)
        return err.message[0] ? 0 : (abort(), 0);
    if (out.len > 3 * size + 64)
        abort();
    return 0;
}
