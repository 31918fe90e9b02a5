/* SPDX-License-Identifier: Apache-2.0 */
/* Revocations of any bytes: as a signed document, and as the set that a site keeps. */
#include "bundle/revocations.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void as_set(struct kp_slice text)
{
    kp_auto(kp_revoked) set = kp_revoked_new();
    kp_auto(kp_revoked) again = kp_revoked_new();
    kp_auto(kp_document) document = NULL;
    kp_auto_json value = NULL;
    if (kp_json_parse(&value, text, KP_DOCUMENT_MAX, "fuzz", NULL) < 0)
        return;
    (void)!kp_document_from_json(&document, value, NULL);
    if (kp_revoked_from_json(set, value, NULL) < 0)
        return;
    kp_auto_json dump = kp_revoked_json(set);
    if (kp_revoked_from_json(again, dump, NULL) < 0 ||
        kp_revoked_count(again) != kp_revoked_count(set))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kp_auto(kp_revoked) set = kp_revoked_new();
    kp_auto_free char *created = NULL;
    if (size > KP_DOCUMENT_MAX)
        return 0;
    as_set((struct kp_slice){(const char *)data, size});
    char *copy = kp_alloc(size + 1);
    memcpy(copy, data, size);
    kp_auto(kp_document) document = kp_document_new(copy, size);
    if (kp_revocations_read(set, document, &created, NULL) < 0)
        return 0;
    kp_auto_free char *again = kp_revocations_dump(set, created);
    if (strlen(again) != size || memcmp(again, data, size) != 0)
        abort();
    return 0;
}
