/* SPDX-License-Identifier: Apache-2.0 */
/* The reader of the audit log: any bytes, read whole and in two parts, say the same. */
#include "install/audit/audit_log.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kp_slice text = {(const char *)data, size};
    struct kp_chain_state whole, first, second;
    // Signatures take their time: one size in sixteen is enough to find what reading them does.
    kp_auto_value(kp_audit_book) book = {.check = size % 16 == 0};
    struct kp_err err = KP_ERR_INIT;
    if (kp_chain_parse(text, NULL, kp_audit_book_take, &book, &whole, &err) < 0)
        abort(); // what is wrong is a finding, never an error
    if (book.digest_count > whole.head.count)
        abort();
    const char *end = size ? memchr(text.ptr, '\n', text.len) : NULL;
    size_t cut = end ? (size_t)(end - text.ptr) + 1 : 0;
    if (kp_chain_parse((struct kp_slice){text.ptr, cut}, NULL, NULL, NULL, &first, &err) < 0 ||
        kp_chain_parse((struct kp_slice){text.ptr + cut, size - cut}, &first.head, NULL, NULL,
                       &second, &err) < 0 ||
        second.head.count != whole.head.count || second.torn != whole.torn ||
        !kp_digest_equal(&second.head.digest, &whole.head.digest))
        abort();
    return 0;
}
