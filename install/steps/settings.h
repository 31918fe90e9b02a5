/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kubernetes' own configuration as the inventory has it: arguments, volumes, feature gates,
 * kubelets, kubeadm's patches. What a node was given lies on it in texts (KP_SETTINGS_FOLDER): they
 * are written before kubeadm makes or joins it, and again when a change has been applied, so that
 * the difference is what is to be applied, and what plan shows.
 */
#pragma once

#include "install/steps/common.h"

#define KP_SETTINGS_FOLDER "/etc/kubernetes/kpack"
#define KP_SETTINGS_POLICIES "# policies that the API server reads at its start: "
#define KP_PATCHES_FOLDER KP_SETTINGS_FOLDER "/patches"

enum kp_settings { /* what is applied in one piece */
                   KP_SETTINGS_ETCD,
                   KP_SETTINGS_CONTROL,
                   KP_SETTINGS_KUBELET,
                   KP_SETTINGS_PROXY,
                   KP_SETTINGS_KINDS
};

/* An argument of "api", "controller" or "scheduler" that kinstall sets; one that the inventory sets
 * stands in its place. */
void kp_settings_arg(struct kp_vars *vars, const struct kp_site *site, const char *component,
                     const char *name, const char *value);
/* A path of the node in the component's pod, at the same place. */
void kp_settings_mount(struct kp_vars *vars, const char *component, const char *name,
                       const char *path, bool read_only);
/* The inventory's own arguments, volumes and feature gates, for kubeadm's configuration. */
void kp_settings_vars(struct kp_vars *vars, const struct kp_site *site);
/* Adds the inventory's fields to kubelets' and kube-proxy's configuration. gate: one that
 * kube-proxy needs, or NULL. */
void kp_settings_add_kubelet(struct kp_buf *out, const struct kp_inventory *inventory);
void kp_settings_add_proxy(struct kp_buf *out, const struct kp_inventory *inventory,
                           const char *gate);

/* kubeadm's patches of this node: those of the inventory, and one that has its kubelet's own
 * fields. Does it have any? */
bool kp_settings_patched(const struct kp_site *site, const struct kp_node *node);
/* The text of one kind for this node; kp_free. config: as kubeadm gets it. */
char *kp_settings_text(enum kp_settings kind, const struct kp_site *site,
                       const struct kp_node *node, const char *config);
char *kp_settings_path(enum kp_settings kind); /* on the node; kp_free */
bool kp_settings_apply_to(enum kp_settings kind, const struct kp_site *site,
                          const struct kp_site_node *node);

/* A step before init and join: patches on every node; the texts on nodes that are not in yet. */
KP_CHECK int kp_settings_prepare(struct kp_site *site, struct kp_site_node *node,
                                 struct kp_err *err);
/* Steps of nodes that are in: what has changed is applied, on one node after the other, each well
 * before the next (install/steps/follow.c). */
KP_CHECK int kp_follow_etcd(struct kp_site *site, struct kp_site_node *node, struct kp_err *err);
KP_CHECK int kp_follow_control(struct kp_site *site, struct kp_site_node *node, struct kp_err *err);
KP_CHECK int kp_follow_kubelet(struct kp_site *site, struct kp_site_node *node, struct kp_err *err);
KP_CHECK int kp_follow_proxy(struct kp_site *site, struct kp_site_node *node, struct kp_err *err);
