/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network plugin's pods ask the API at the Service address that the kubelet gives them in
 * KUBERNETES_SERVICE_HOST. Until kube-proxy has its rules (at the first start and after every
 * reboot) such a packet takes the default route and leaves the site. What stands in a container's
 * own `env` comes before what the kubelet gives: so each container of a pod on the host's network
 * is told the cluster's endpoint by name, which /etc/hosts of every node has.
 */
#pragma once

#include "core/buf.h"

/* Adds KUBERNETES_SERVICE_HOST and _PORT to every container and init container of every object in
 * the manifest (any number of documents, block or flow style) whose spec.template.spec has
 * `hostNetwork: true`; a container that sets KUBERNETES_SERVICE_HOST by itself keeps its own. All
 * other bytes stay as they are. `name` stands in errors (KP_USAGE). *containers (may be NULL): how
 * many were told. */
KP_CHECK int kp_pod_env_add(struct kp_buf *out, struct kp_slice yaml, const char *name,
                            const char *host, unsigned port, size_t *containers,
                            struct kp_err *err);
