/* SPDX-License-Identifier: Apache-2.0 */
/* Static pods by their processes, which are seen also where no API server answers. */
#pragma once

#include "install/step.h"

#define KP_STATIC_PODS_FOLDER "/etc/kubernetes/manifests"

/* The process of the static pod that runs now, as text; "" where none does; kp_free. A pod of
 * somebody else's with the same program does not read kubeadm's files. */
KP_CHECK int kp_static_pod_find(struct kp_site *site, struct kp_site_node *node, const char *name,
                                char **id, struct kp_err *err);
/* Waits for another process than `before` that goes on running for calm seconds. An API server that
 * was told to end lingers for a minute where it is watched, and serves nobody then: it is killed
 * after some seconds, so that those that lean on it do not lose their leases meanwhile. */
KP_CHECK int kp_static_pod_await(struct kp_site *site, struct kp_site_node *node, const char *name,
                                 const char *before, double calm, struct kp_err *err);
struct kp_static_pod {
    const char *name, *reads; /* a file that it reads when it starts */
};
/* Ends their processes, and waits for the next ones: of a static pod that is all a restart needs.
 * One that started behind its file has read it: it goes on, because the kubelet backs off from what
 * ends again and again. */
KP_CHECK int kp_static_pods_restart(struct kp_site *site, struct kp_site_node *node,
                                    const struct kp_static_pod *pods, size_t count,
                                    struct kp_err *err);
/* Makes the pod anew by a word in its manifest: what reads files only at its start reads them
 * again. No back-off of the kubelet's, which counts what ends, is in the way. */
KP_CHECK int kp_static_pod_anew(struct kp_site *site, struct kp_site_node *node, const char *name,
                                const char *word, struct kp_err *err);
