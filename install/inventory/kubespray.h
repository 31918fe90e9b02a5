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

/* A variable that has a meaning, and where it goes: docs/inventory.md has this table. */
struct kp_kubespray_term {
    const char *name, *ours; /* "kube_pods_subnet", "kubernetes.pods" */
};
extern const struct kp_kubespray_term kp_kubespray_terms[]; /* ended by .name = NULL */
