/* SPDX-License-Identifier: Apache-2.0 */
/* Static pods by their processes, which are seen also where no API server answers. */
#pragma once

#include "install/step.h"

#define KP_STATIC_PODS_FOLDER "/etc/kubernetes/manifests"

/* The process of the static pod that runs now, as text; "" where none does; kp_free. A pod of
 * somebody else's with the same program does not read kubeadm's files. */
KP_CHECK int kp_static_pod_find(struct kp_site *site, struct kp_site_node *node, const char *name,
                                char **id, struct kp_err *err);
/* Waits for another process than `before` that goes on running for calm seconds. */
KP_CHECK int kp_static_pod_await(struct kp_site *site, struct kp_site_node *node, const char *name,
                                 const char *before, double calm, struct kp_err *err);
/* Ends the process, and waits for the next: of a static pod that is all a restart needs. */
KP_CHECK int kp_static_pod_restart(struct kp_site *site, struct kp_site_node *node,
                                   const char *name, struct kp_err *err);
/* Makes the pod anew by a word in its manifest: what reads files only at its start reads them
 * again. No back-off of the kubelet's, which counts what ends, is in the way. */
KP_CHECK int kp_static_pod_anew(struct kp_site *site, struct kp_site_node *node, const char *name,
                                const char *word, struct kp_err *err);
