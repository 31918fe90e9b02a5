/* SPDX-License-Identifier: Apache-2.0 */
/* bundle.sig: the input, filled up with blanks. What parses has exactly one form. */
#include "bundle/sign.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kp_signature_set set;
    kp_auto_free char *block = kp_alloc(KP_SIG_SIZE);
    kp_auto_free char *again = kp_alloc(KP_SIG_SIZE);
    memset(block, ' ', KP_SIG_SIZE);
    memcpy(block, data, size < KP_SIG_SIZE ? size : KP_SIG_SIZE);
    if (kp_signatures_parse(&set, block, NULL) < 0)
        return 0;
    kp_signatures_format(&set, again);
    if (memcmp(block, again, KP_SIG_SIZE) != 0)
        abort();
    return 0;
}
