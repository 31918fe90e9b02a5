/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates made anew before they end: those of kinstall's own CAs (external etcd, mirrors),
 * those that kubeadm made on control planes, kubelets' that were not rotated, and the admin's
 * kubeconfig here. Files first on all control planes, then one node after the other what reads
 * them, each well before the next: where everything has ended already, no member of etcd can be
 * well before all have their new files. A renewal has an id that stands in the nodes' records:
 * cut off, the next run goes on with it.
 */
#pragma once

#include "install/step.h"

/* Takes up the renewal that was cut off (<state>/certs-renew.json), or begins one. days: only what
 * ends within so many days; 0: all. */
KP_CHECK int kp_renew_begin(struct kp_site *site, long days, bool *again, struct kp_err *err);
/* It is done: the next one is another. */
KP_CHECK int kp_renew_end(struct kp_site *site, struct kp_err *err);
/* What kp_steps_run is given, in order; *count of them. Borrowed. */
const struct kp_step *const *kp_renew_phases(size_t *count);

/* Whether this renewal wants a certificate of ours to be made anew; never outside of one. */
bool kp_renew_due(const struct kp_site *site, struct kp_slice pem);
/* Pure: made before `started`, and ends within `days` (0: whenever). */
bool kp_renew_is_due(time_t made, time_t ends, time_t started, long days, time_t now);

/* The node's record says that this renewal has done it. */
KP_CHECK int kp_renew_done(struct kp_site *site, struct kp_site_node *node, const char *step,
                           bool *done, struct kp_err *err);
KP_CHECK int kp_renew_mark(struct kp_site *site, struct kp_site_node *node, const char *step,
                           bool finished, struct kp_err *err);
/* The kubelet's client certificate, where it was not rotated in time, or ends within the days that
 * were asked for. On a control plane by the CA on its disk, so that a cluster that stood still for
 * a year gets up again; on a worker by a bootstrap token, so that its key never leaves it. */
KP_CHECK int kp_renew_kubelet(struct kp_site *site, struct kp_site_node *node, struct kp_err *err);
/* What its kubelet serves with, where that ends within the days asked for or was not rotated in
 * time: it asks anew, and the request is approved as any other (steps/approve.h). */
KP_CHECK int kp_renew_serving(struct kp_site *site, struct kp_site_node *node, struct kp_err *err);
/* The node is Ready, and its static pods and those of DaemonSets are. */
KP_CHECK int kp_renew_gate(struct kp_site *site, struct kp_site_node *node, struct kp_err *err);

/* Of install/steps/mirror.c: the mirrors' CA and certificate on this host; and on a mirror, which
 * is restarted where it changed (or again) and must answer. */
KP_CHECK int kp_mirror_make_pki(struct kp_site *site, struct kp_site_node *node,
                                struct kp_err *err);
KP_CHECK int kp_mirror_renew(struct kp_site *site, struct kp_site_node *node, bool again,
                             struct kp_err *err);
