/* SPDX-License-Identifier: Apache-2.0 */
/* Public key files of any bytes; what is taken comes out as a key of the same id. */
#include "bundle/trust.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kp_auto(kp_trust) trust = kp_trust_new();
    if (kp_trust_add_pem(trust, "fuzz", (struct kp_slice){(const char *)data, size}, NULL) < 0)
        return 0;
    kp_auto_free char *pem = kp_trust_pem(trust, 0);
    if (kp_trust_add_pem(trust, "again", kp_slice_of(pem), NULL) < 0 || kp_trust_count(trust) != 1)
        abort();
    return 0;
}
