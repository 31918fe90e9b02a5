/* SPDX-License-Identifier: Apache-2.0 */
/* Trust lists of any bytes; what is taken has exactly the bytes that its content makes. */
#include "bundle/trust_list.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kp_auto(kp_trust_list) list = NULL;
    char *copy = kp_alloc(size + 1);
    memcpy(copy, data, size);
    struct kp_document *document = kp_document_new(copy, size);
    if (size > KP_DOCUMENT_MAX) {
        kp_document_free(document);
        return 0;
    }
    if (kp_trust_list_parse(&list, document, NULL) < 0)
        return 0;
    kp_auto_free char *again = kp_trust_list_dump(list);
    if (strlen(again) != size || memcmp(again, data, size) != 0)
        abort();
    if (kp_trust_list_check(list, NULL, NULL) == 0) // nobody signed it
        abort();
    return 0;
}
