/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bundle's images on the nodes: pulled by tag, as the kubelet will ask, in the background by
 * the transient unit kpack-images, and pinned against image garbage collection where the cluster
 * cannot run without them.
 */
#pragma once

#include "install/step.h"

struct kp_image_state { /* of one image that the node needs */
    const struct kp_image *image;
    bool present; /* by this reference, with this digest */
    bool pinned;
};
/* Those of the manifest that are for the node's roles and arch; n at most image_count. kp_free. */
struct kp_image_state *kp_images_wanted(const struct kp_manifest *manifest, unsigned roles,
                                        const char *arch, size_t *n);
/* Reads what `ctr -n k8s.io images ls` said into the states. */
void kp_images_read(struct kp_image_state *states, size_t n, struct kp_slice listing);
/* The same of `crictl images -o json` (CRI-O). */
void kp_images_read_cri(struct kp_image_state *states, size_t n, const json_t *listing);
/* Must survive image garbage collection. */
bool kp_image_is_vital(const struct kp_image *image);

/* Starts to pull what is missing; returns at once. */
KP_CHECK int kp_images_start(struct kp_site *site, struct kp_site_node *node, struct kp_err *err);
/* Waits until those are there that kubeadm looks for. */
KP_CHECK int kp_images_first(struct kp_site *site, struct kp_site_node *node, struct kp_err *err);
/* Waits until all are there, then pins. */
KP_CHECK int kp_images_finish(struct kp_site *site, struct kp_site_node *node, struct kp_err *err);
