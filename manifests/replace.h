/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The values that `replace` of a manifest may name (docs/releases.md): what of the inventory each
 * carries to the network plugin.
 */
#pragma once

#include <stddef.h>

enum kp_tells { /* bits */
                KP_TELLS_MTU = 1,
                KP_TELLS_PORT = 2,
                KP_TELLS_INTERFACE = 4,
                KP_TELLS_IP4 = 8,  /* IPv4 alone */
                KP_TELLS_BOTH = 16 /* or both families; not IPv6 alone */
};

struct kp_replace_kind {
    const char *with;
    unsigned tells; /* enum kp_tells */
};
#define KP_REPLACE_KINDS 12
extern const struct kp_replace_kind kp_replace_kinds[KP_REPLACE_KINDS];

/* NULL: nobody knows it. */
const struct kp_replace_kind *kp_replace_kind(const char *with);
