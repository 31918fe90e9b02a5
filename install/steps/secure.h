/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `security:` of the inventory means on the nodes: files beside the API server before it
 * starts (audit policy, Pod Security, encryption of Secrets), its arguments, and the roles in the
 * cluster afterwards (phase secure). The key that encrypts Secrets is made once, kept in the state
 * folder (encryption.yaml, 0600) and on the control planes; what a control plane has is never
 * replaced by a new one.
 */
#pragma once

#include "install/steps/common.h"

#define KP_SECURE_FOLDER "/etc/kubernetes/kpack"
#define KP_ENCRYPTION_FILE KP_SECURE_FOLDER "/encryption.yaml"
#define KP_ENCRYPTION_KEPT "encryption.yaml" /* in the state folder */
#define KP_ENCRYPTION_MAX ((size_t)64 << 10)
#define KP_AUDIT_FOLDER "/var/log/kubernetes/audit"

/* Lists and flags for the templates kubeadm-init and kubelet-config. */
void kp_secure_vars(struct kp_vars *vars, const struct kp_site *site);
/* A step of the admin host: the keys of the Secrets are in the state folder. */
KP_CHECK int kp_secure_keep_keys(struct kp_site *site, struct kp_site_node *none,
                                 struct kp_err *err);
/* The digest of the policies (Pod Security, audit) that the API server reads at its start only, as
 * they are to be; kp_free. */
char *kp_secure_policies(const struct kp_site *site);
/* A step: the files that the API server reads. */
KP_CHECK int kp_secure_files(struct kp_site *site, struct kp_site_node *node, struct kp_err *err);
