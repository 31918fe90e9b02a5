/* SPDX-License-Identifier: Apache-2.0 */
#include "manifests/replace.h"

#include <string.h>

const struct kp_replace_kind kp_replace_kinds[KP_REPLACE_KINDS] = {
    {"pods", KP_TELLS_IP4},
    {"services", 0},
    {"cluster", 0},
    {"leave", 0},
    {"flannel-network", 0},
    {"flannel-backend", KP_TELLS_MTU | KP_TELLS_PORT},
    {"flannel-args", KP_TELLS_INTERFACE},
    {"cilium-config", KP_TELLS_MTU | KP_TELLS_PORT | KP_TELLS_INTERFACE | KP_TELLS_BOTH},
    {"calico-mtu", KP_TELLS_MTU},
    {"calico-ipip", 0},
    {"calico-vxlan", KP_TELLS_PORT},
    {"calico-address", KP_TELLS_INTERFACE},
};

const struct kp_replace_kind *kp_replace_kind(const char *with)
{
    for (size_t i = 0; i < KP_REPLACE_KINDS; i++)
        if (strcmp(kp_replace_kinds[i].with, with) == 0)
            return &kp_replace_kinds[i];
    return NULL;
}
