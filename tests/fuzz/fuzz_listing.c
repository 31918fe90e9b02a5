/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a cluster manifest: refused, or whole objects whose documents are the text. */
#include "manifests/listing.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kp_auto(kp_listing) listing = NULL;
    struct kp_err err = KP_ERR_INIT;
    if (kp_listing_read(&listing, (struct kp_slice){(const char *)data, size}, "m", &err) < 0) {
        if (!err.message[0])
            abort();
        return 0;
    }
    const char *at = (const char *)data;
    for (size_t i = 0; i < listing->document_count; i++) {
        if (listing->documents[i].ptr != at)
            abort();
        at += listing->documents[i].len;
    }
    if (listing->document_count && at != (const char *)data + size)
        abort();
    for (size_t i = 0; i < listing->count; i++)
        if (!listing->items[i].kind[0] || !listing->items[i].name[0] ||
            listing->items[i].document >= listing->document_count)
            abort();
    return 0;
}
