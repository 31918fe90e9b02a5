/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Phase etcd, and what others need of it: external etcd as units of systemd with a CA of its own in
 * the state folder (etcd/ca.pem). Stacked etcd is kubeadm's.
 */
#pragma once

#include "install/pki/pki.h"
#include "install/step.h"

#define KP_ETCD_CLIENT_CA "/etc/kubernetes/pki/etcd/ca.crt"
#define KP_ETCD_CLIENT_CERT "/etc/kubernetes/pki/apiserver-etcd-client.crt"
#define KP_ETCD_CLIENT_KEY "/etc/kubernetes/pki/apiserver-etcd-client.key"

/* The CA and all certificates that are missing, near their end or lack a name; made on this host,
 * kept in the state folder. In a dry run only said. */
KP_CHECK int kp_etcd_make_pki(struct kp_site *site, struct kp_err *err);
/* Programs, certificates, unit and settings of a member. */
KP_CHECK int kp_etcd_place_files(struct kp_site *site, struct kp_site_node *node, bool *changed,
                                 struct kp_err *err);
/* Of these the certificates alone. */
KP_CHECK int kp_etcd_place_certificates(struct kp_site *site, struct kp_site_node *node,
                                        bool *changed, struct kp_err *err);
/* What etcd reads when it has no data: state "new" or "existing". */
KP_CHECK int kp_etcd_place_initial(struct kp_site *site, struct kp_site_node *node,
                                   const char *cluster, const char *state, bool *changed,
                                   struct kp_err *err);
/* The API server's certificates for it, where kubeadm looks for them. Nothing for stacked etcd. */
KP_CHECK int kp_etcd_place_client(struct kp_site *site, struct kp_site_node *node, bool *changed,
                                  struct kp_err *err);
/* Before kubeadm init on external etcd: what a broken init left is deleted (begun), data of
 * anything else are an error. */
KP_CHECK int kp_etcd_before_init(struct kp_site *site, bool begun, struct kp_err *err);
/* The scheduled snapshots: timer and its script, or their removal. */
KP_CHECK int kp_etcd_place_backup(struct kp_site *site, struct kp_site_node *node,
                                  struct kp_err *err);
/* The token of the cluster's bootstrap: its own, the same in each run. kp_free. */
KP_CHECK int kp_etcd_token(char **out, struct kp_site *site, struct kp_err *err);
/* All other members can be asked and are well, or it is an error. */
KP_CHECK int kp_etcd_others_well(struct kp_site *site, const struct kp_site_node *node,
                                 struct kp_err *err);
/* One member is restarted; before and after it all others must be well. */
KP_CHECK int kp_etcd_restart(struct kp_site *site, struct kp_site_node *node, struct kp_err *err);
