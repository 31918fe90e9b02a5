/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "bundle/manifest.h"
#include "core/buf.h"
#include "install/step.h"

/* Literal replacement, left to right, never inside what was replaced; values[i] stands for
 * replace[i]. */
KP_CHECK int kp_manifest_fill(struct kp_buf *out, struct kp_slice text,
                              const struct kp_replace *replace, size_t n, const char *const *values,
                              struct kp_err *err);
/* Leaves out each line "key: value", however deep it stands. */
void kp_manifest_leave(struct kp_buf *out, struct kp_slice text, const char *key);
/* The manifest as this site wants it: every `replace` done. At most 8 MiB. */
KP_CHECK int kp_manifest_render(struct kp_site *site, const struct kp_cluster_manifest *manifest,
                                struct kp_buf *out, struct kp_err *err);
bool kp_manifest_is_network(const struct kp_cluster_manifest *manifest);
/* Applies the manifests of the bundle's network plugin (phase init, so that its pods start while
 * nodes join); phase network waits for them. */
KP_CHECK int kp_network_apply(struct kp_site *site, struct kp_site_node *node, struct kp_err *err);
/* Cilium: the BPF file system, mounted and shared with pods, now and after a reboot (phase
 * prepare). */
KP_CHECK int kp_network_node(struct kp_site *site, struct kp_site_node *node, struct kp_err *err);
