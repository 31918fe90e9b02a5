/* SPDX-License-Identifier: Apache-2.0 */
/* bundle.sig: the input, filled up with blanks; and a detached signature: the input as it is. What
 * parses has exactly one form. */
#include "bundle/sign.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_line(const char *data, size_t size)
{
    struct kp_signature signature;
    char line[KP_SIGNATURE_LINE + 1];
    if (kp_signature_parse_line(&signature, (struct kp_slice){data, size}, NULL) < 0)
        return;
    kp_signature_format_line(&signature, line);
    if (size != KP_SIGNATURE_LINE || memcmp(data, line, size) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_line((const char *)data, size);
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
