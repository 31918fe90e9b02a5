/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a mirror says it serves (kind kpack.served/v1, GET /bundles of kregistry): {"kind",
 * "accepted", "bundles": [{"id", "name", "serial", "size"}]}, the accepted bundle first, then its
 * bases, then the one before it. Nothing of it is signed: it says what may be asked for, not what
 * to believe.
 */
#pragma once

#include "core/hash.h"

#define KP_SERVED_KIND "kpack.served/v1"
#define KP_SERVED_MAX 16
#define KP_SERVED_TEXT_MAX ((size_t)64 << 10)

struct kp_served {
    struct kp_digest id;
    uint64_t serial, size; /* as the mirror says */
};
struct kp_served_list {
    struct kp_served items[KP_SERVED_MAX]; /* distinct ids */
    size_t count;
    uint64_t accepted; /* when kinstall accepted the first one here, in seconds; 0: not known */
};
/* Unknown members are passed over. KP_USAGE where it is not such a document; from names the one who
 * said it. */
KP_CHECK int kp_served_parse(struct kp_served_list *out, struct kp_slice text, const char *from,
                             struct kp_err *err);
const struct kp_served *kp_served_find(const struct kp_served_list *list,
                                       const struct kp_digest *id);
