/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where certificates lie on a node, and how long each holds: Kubernetes' own, those inside
 * kubeconfigs, the kubelet's, external etcd's, the mirrors'. One that is not there is none.
 */
#pragma once

#include "install/step.h"

#include <time.h>

#define KP_CERTIFICATE_NAME_MAX 128
#define KP_KUBELET_CLIENT "/var/lib/kubelet/pki/kubelet-client-current.pem"
#define KP_KUBELET_SERVER "/var/lib/kubelet/pki/kubelet-server-current.pem"

enum kp_certificate_kind {
    KP_CERTIFICATE_CA,
    KP_CERTIFICATE_CONTROL, /* made by kubeadm on control planes */
    KP_CERTIFICATE_KUBELET, /* its client certificate, which it renews itself */
    KP_CERTIFICATE_SERVING, /* the kubelet's own server */
    KP_CERTIFICATE_OWN      /* of CAs in the state folder: external etcd, mirrors */
};
struct kp_lifetime {
    const char *path;
    enum kp_certificate_kind kind;
    char name[KP_CERTIFICATE_NAME_MAX]; /* common name */
    time_t begins, ends;
};
typedef int kp_lifetime_visit(void *user, const struct kp_lifetime *found, struct kp_err *err);
/* Each certificate that is on the node. Keys that lie in the same files are wiped, never shown. */
KP_CHECK int kp_lifetimes(struct kp_site_node *node, kp_lifetime_visit *visit, void *user,
                          struct kp_err *err);
/* The client certificate inside a kubeconfig, PEM; false where it names files. *out: kp_free. */
bool kp_lifetime_embedded(struct kp_slice kubeconfig, char **out, size_t *len);
/* A kubelet renews its own when 70 to 90 % of its life are over: one that has less than a tenth
 * left did not. */
bool kp_lifetime_is_late(const struct kp_lifetime *found, time_t now);
