/* SPDX-License-Identifier: Apache-2.0 */
/* bundle.json of any bytes; what parses must come out of dump as the same document. */
#include "bundle/manifest.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kp_auto(kp_manifest) first = NULL;
    kp_auto(kp_manifest) second = NULL;
    struct kp_err err = KP_ERR_INIT;
    size_t len, again_len;
    if (kp_manifest_parse(&first, (struct kp_slice){(const char *)data, size}, &err) < 0) {
        if (err.code != KP_DAMAGED)
            abort();
        return 0;
    }
    kp_auto_free char *text = kp_manifest_dump(first, &len);
    if (kp_manifest_parse(&second, (struct kp_slice){text, len}, &err) < 0)
        abort();
    kp_auto_free char *again = kp_manifest_dump(second, &again_len);
    if (len != again_len || memcmp(text, again, len) != 0)
        abort();
    return 0;
}
