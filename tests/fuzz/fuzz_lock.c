/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a lock: refused, or writing it out and reading it again changes nothing. */
#include "pack/lock.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kp_auto(kp_plan) plan = NULL;
    kp_auto(kp_plan) again = NULL;
    struct kp_err err = KP_ERR_INIT;
    if (kp_lock_parse(&plan, (struct kp_slice){(const char *)data, size}, "l", &err) < 0) {
        if (!err.message[0])
            abort();
        return 0;
    }
    kp_auto_free char *text = kp_lock_dump(plan);
    if (kp_lock_parse(&again, kp_slice_of(text), "l", &err) < 0)
        abort();
    kp_auto_free char *twice = kp_lock_dump(again);
    if (strcmp(text, twice) != 0)
        abort();
    return 0;
}
