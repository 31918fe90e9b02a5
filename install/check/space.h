/* SPDX-License-Identifier: Apache-2.0 */
/* How many bytes an install needs on a node, computed from the bundle. */
#pragma once

#include "install/step.h"

struct kp_space {
    uint64_t files;  /* /usr/local, /opt: files as installed */
    uint64_t images; /* /var/lib/containerd: layers as stored and unpacked */
    uint64_t bundle; /* the mirror's folder */
    uint64_t total;  /* and what kubelet, etcd and logs need to begin with */
};
/* Layers of images are compressed: unpacked they take about three times as much, which is measured,
 * not known. A shared layer is counted once per image. */
KP_CHECK int kp_space_needed(const struct kp_site *site, const struct kp_node *node,
                             const char *arch, struct kp_space *out, struct kp_err *err);
