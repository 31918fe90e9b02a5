/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a site receipt: refused, or writing it out and reading it again changes nothing. */
#include "bundle/receipt.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kp_auto(kp_receipt) receipt = NULL;
    kp_auto(kp_receipt) again = NULL;
    struct kp_err err = KP_ERR_INIT;
    if (kp_receipt_parse(&receipt, (struct kp_slice){(const char *)data, size}, "r", &err) < 0) {
        if (!err.message[0])
            abort();
        return 0;
    }
    kp_auto_free char *text = kp_receipt_dump(receipt);
    if (kp_receipt_parse(&again, kp_slice_of(text), "r", &err) < 0)
        abort();
    kp_auto_free char *twice = kp_receipt_dump(again);
    if (strcmp(text, twice) != 0)
        abort();
    return 0;
}
