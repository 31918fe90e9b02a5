/* SPDX-License-Identifier: Apache-2.0 */
/* The frame decoder, fed in pieces as a stream would; what it says must not depend on the pieces.
 */
#include "install/node/protocol.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A digest of all frames that come out, and of where it fails. */
static struct kp_digest decode(const uint8_t *data, size_t size, size_t piece)
{
    struct kp_digest out;
    kp_auto(kp_hash) hash = kp_hash_new();
    kp_auto_value(kp_decoder) d = KP_DECODER;
    bool failed = false;
    for (size_t at = 0; at < size && !failed; at += piece) {
        size_t n = size - at < piece ? size - at : piece;
        char *room = kp_decoder_room(&d, n);
        if (!room)
            abort(); // frames are taken as they come: there is always room
        memcpy(room, data + at, n);
        kp_decoder_added(&d, n);
        for (bool found = true; found && !failed;) {
            struct kp_frame frame;
            struct kp_err err = KP_ERR_INIT;
            failed = kp_decoder_next(&d, &frame, &found, &err) < 0;
            if (failed || !found)
                break;
            uint32_t head[3] = {frame.type, frame.flags, frame.id};
            kp_hash_update(hash, head, sizeof(head));
            kp_hash_update(hash, frame.payload.ptr, frame.payload.len);
        }
    }
    kp_hash_update(hash, &failed, sizeof(failed));
    kp_hash_finish(hash, &out);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kp_digest whole = decode(data, size, 65536), small = decode(data, size, 7),
                     odd = decode(data, size, 1021);
    struct kp_slice rest;
    size_t used;
    if (!kp_digest_equal(&whole, &small) || !kp_digest_equal(&whole, &odd))
        abort();
    if (kp_marker_find((struct kp_slice){(const char *)data, size}, "kpack-knode/1", "00", &rest,
                       &used) &&
        used > size)
        abort();
    return 0;
}
