/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Kubespray inventory, read as it is: hosts.yaml with its top-level `all:`, group_vars and
 * host_vars beside it. It becomes the text of our own hosts.yaml, which the one reader of
 * inventories then reads: what `kinstall convert` writes is what every other command uses.
 *
 * Variables without a meaning for us are listed once, with file and line. Of Jinja only "{{ name
 * }}" is followed. Source: Kubespray's sample inventory and its defaults (revision 46dbdd399).
 */
#pragma once

#include "core/buf.h"
#include "manifests/yaml.h"

/* Is this the root of a Kubespray inventory? */
bool kp_kubespray_is(const struct kp_yaml *root);
/* Adds our own inventory to *out; to *notes one line per thing that was not taken over. root is
 * that of the file at path, beneath whose folder the variables are read. */
KP_CHECK int kp_kubespray_convert(struct kp_buf *out, struct kp_buf *notes, const char *path,
                                  const struct kp_yaml *root, struct kp_err *err);

/* A variable that has a meaning, and where it goes. Those with a place become a field or an
 * argument by this table alone. */
enum kp_kubespray_place {
    KP_KUBESPRAY_OWN, /* by code of its own */
    KP_KUBESPRAY_KUBELET,
    KP_KUBESPRAY_PROXY,
    KP_KUBESPRAY_API,
    KP_KUBESPRAY_CONTROLLER,
    KP_KUBESPRAY_SCHEDULER,
    KP_KUBESPRAY_ETCD,
};
struct kp_kubespray_term {
    const char *name; /* "kube_pods_subnet" */
    const char *ours; /* "kubernetes.pods"; with a place: NULL */
    enum kp_kubespray_place place;
    const char *key; /* field (may be nested: "ipvs.strictARP") or argument */
};
extern const struct kp_kubespray_term kp_kubespray_terms[]; /* by name, ended by .name = NULL */
/* The table of docs/inventory.md. */
void kp_kubespray_markdown(struct kp_buf *out);
