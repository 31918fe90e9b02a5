/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `pki:` of the inventory: the cluster's CA is one of the site's. kubeadm finds it before it makes
 * one of its own and signs with it. What is above it (the root) goes to pods by root-ca-file, and
 * never to what client certificates are judged by.
 */
#pragma once

#include "install/pki/pki_site.h"
#include "install/steps/common.h"

#define KP_SITE_CA_FOLDER "/etc/kubernetes/kpack-ca"
#define KP_SITE_CA_CHAIN KP_SITE_CA_FOLDER "/chain.pem"
#define KP_SITE_CA_NAME "site-ca" /* in the state folder: .pem, .key, .csr */

bool kp_site_ca_wanted(const struct kp_inventory *inventory);
/* The chain and its key, checked; *found false where the inventory wants none. */
KP_CHECK int kp_site_ca_load(struct kp_pki_pair *out, bool *found,
                             const struct kp_inventory *inventory, struct kp_err *err);
/* Before any node is touched. */
KP_CHECK int kp_site_ca_check(const struct kp_site *site, struct kp_err *err);
/* A step of control planes: the chain for pods; a cluster with another CA is refused. */
KP_CHECK int kp_site_ca_place(struct kp_site *site, struct kp_site_node *node, struct kp_err *err);
/* On the first control plane, right before kubeadm init: ca.crt and ca.key. */
KP_CHECK int kp_site_ca_before_init(struct kp_site *site, struct kp_site_node *node,
                                    struct kp_err *err);
/* The controller manager's argument and volume. */
void kp_site_ca_vars(struct kp_vars *vars, const struct kp_site *site);

/* kinstall certs request, accept: on this host alone. */
KP_CHECK int kp_site_ca_request(char **csr, const struct kp_inventory *inventory,
                                struct kp_err *err);
KP_CHECK int kp_site_ca_accept(const struct kp_inventory *inventory, const char *path,
                               struct kp_err *err);
