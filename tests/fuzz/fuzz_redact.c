/* SPDX-License-Identifier: Apache-2.0 */
/* The redactor of kinstall support: the first line is a secret; it is not in what comes out of the
 * rest, whatever the rest looks like. */
#include "install/support/redact.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the redactor writes itself may be put together with its surroundings to anything. */
static bool can_be_made(struct kp_slice secret)
{
    static const char own[] = " (a private key)";
    return memchr(secret.ptr, '<', secret.len) || memchr(secret.ptr, '>', secret.len) ||
           memmem(own, sizeof(own) - 1, secret.ptr, secret.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kp_slice rest = {(const char *)data, size}, line = {"", 0};
    kp_auto(kp_redactor) redactor = kp_redactor_new();
    size_t len, removed = 0;
    (void)kp_slice_line(&rest, &line);
    struct kp_slice secret = kp_slice_trim(line);
    kp_redactor_know(redactor, secret);
    kp_redactor_know_document(redactor, rest);
    kp_auto_free char *out = kp_redact(redactor, rest, &len, &removed);
    if (secret.len >= KP_SECRET_LEAST && !can_be_made(secret) &&
        memmem(out, len, secret.ptr, secret.len))
        abort();
    return 0;
}
