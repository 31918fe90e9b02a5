/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all steps do: place something on a node and say so, ask or tell the cluster through kubectl
 * on the first control plane. In a dry run nothing is changed; what would be is reported. `changed`
 * may be NULL everywhere.
 */
#pragma once

#include "install/endpoint.h"
#include "install/step.h"
#include "manifests/render.h"

#define KP_PATH_ENV "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define KP_ADMIN_CONF "/etc/kubernetes/admin.conf"
#define KP_KUBECTL "/usr/local/bin/kubectl"
#define KP_KUBEADM "/usr/local/bin/kubeadm"
#define KP_CRICTL "/usr/local/bin/crictl"
#define KP_CTR "/usr/local/bin/ctr"
#define KP_HANDS "/usr/local/libexec/kpack"
#define KP_CA_FILE "/etc/kpack/mirror-ca.pem"
#define KP_KUBECTL_TIMEOUT 60
#define KP_KUBECTL_OUTPUT_MAX ((size_t)16 << 20)

/* Where the bundle's knode lies on the node, for units of ours; NULL: the bundle has none. kp_free.
 */
char *kp_hand_path(const struct kp_site *site, const struct kp_site_node *node);
/* Files, units: the session's request, then kp_step_changed. */
KP_CHECK int kp_place(struct kp_site *site, struct kp_site_node *node, const char *path,
                      struct kp_slice data, unsigned mode, bool *changed, struct kp_err *err);
KP_CHECK int kp_place_secret(struct kp_site *site, struct kp_site_node *node, const char *path,
                             const char *text, bool *changed, struct kp_err *err);
/* Renders the template and places it, 0644. */
KP_CHECK int kp_place_template(struct kp_site *site, struct kp_site_node *node, const char *path,
                               const char *template_name, const struct kp_vars *vars, bool *changed,
                               struct kp_err *err);
KP_CHECK int kp_place_removed(struct kp_site *site, struct kp_site_node *node, const char *path,
                              bool *changed, struct kp_err *err);
/* A signed file by name for the node's arch, from the mirrors (or over the connection: direct).
 * Those the bundle does not have are an error. */
KP_CHECK int kp_place_file(struct kp_site *site, struct kp_site_node *node, const char *name,
                           bool direct, bool *changed, struct kp_err *err);
/* All signed files of one component of the release ("containerd", "cni-plugins"). */
KP_CHECK int kp_place_component(struct kp_site *site, struct kp_site_node *node,
                                const char *component, bool *changed, struct kp_err *err);
KP_CHECK int kp_place_unit(struct kp_site *site, struct kp_site_node *node, const char *unit,
                           enum kp_unit_action action, bool *changed, struct kp_err *err);
/* A service of ours: enabled and running; restarted where what it stands on was changed. */
KP_CHECK int kp_place_service(struct kp_site *site, struct kp_site_node *node, const char *unit,
                              bool changed, struct kp_err *err);
/* Restarts the node's kubelet. What that node said of itself before is no word on how it is now:
 * kp_health_check waits for a newer one. */
KP_CHECK int kp_restart_kubelet(struct kp_site *site, struct kp_site_node *node,
                                struct kp_err *err);
/* systemctl enable without starting: the kubelet, which kubeadm starts. */
KP_CHECK int kp_place_enabled(struct kp_site *site, struct kp_site_node *node, const char *unit,
                              struct kp_err *err);

/* A command on the node, PATH set; its status in *status (NULL: another than 0 is an error), its
 * output in *out (may be NULL). In dry runs for questions only. */
KP_CHECK int kp_ask(struct kp_site *site, struct kp_site_node *node, const char *const *argv,
                    unsigned timeout, int *status, char **out, struct kp_err *err);
KP_CHECK int kp_have_file(struct kp_site_node *node, const char *path, bool *found,
                          struct kp_err *err);

/* Facts: false where they were not asked for or could not be found out. */
bool kp_fact_true(const struct kp_site_node *node, const char *part, const char *key);
/* The file of /proc/sys can be written, or the facts do not say. */
bool kp_fact_writable(const struct kp_site_node *node, const char *sysctl);

struct kp_site_node *kp_first(struct kp_site *site);
size_t kp_control_planes(const struct kp_site *site);
/* Nodes of the cluster itself, the first ones of site->nodes. */
size_t kp_members(const struct kp_site *site);
bool kp_is_control_plane(const struct kp_site_node *node);
/* What the node's own record of this cluster says of the step; reads it afresh into node->record. A
 * node that belongs to another cluster is an error. */
KP_CHECK int kp_recorded(struct kp_site *site, struct kp_site_node *node, const char *step,
                         bool *begun, bool *finished, struct kp_err *err);
/* It is in the cluster by its own record, whether it was made there or joined. */
KP_CHECK int kp_joined(struct kp_site *site, struct kp_site_node *node, bool *joined,
                       struct kp_err *err);
/* The same of node->record as it was read last: before the engine noted that the step begins. */
bool kp_was_begun(const struct kp_site_node *node, const char *step);
/* "demo.kpack.internal:6443", or the inventory's own endpoint; kp_free. */
char *kp_endpoint(const struct kp_site *site);
/* "1.30" of v1.30.14 as 130: for what differs between versions. */
unsigned kp_minor(const struct kp_site *site);

/* kubectl on the first control plane with the admin's kubeconfig. An API server that does not
 * answer is an error (reason "api_unreachable") after half a minute of patience; *found false where
 * it answers that the object is not there. argv without the program, NULL-terminated. */
KP_CHECK int kp_kube_json(struct kp_site *site, json_t **out, bool *found, const char *const *argv,
                          struct kp_err *err);
KP_CHECK int kp_kube(struct kp_site *site, const char *const *argv, struct kp_slice input,
                     char **out, struct kp_err *err);
/* The same for what may fail in part: what it printed of the rest. It is an error where it failed
 * and printed nothing. */
KP_CHECK int kp_kube_partly(struct kp_site *site, const char *const *argv, struct kp_slice input,
                            char **out, struct kp_err *err);
/* The same for what may take longer than a minute. */
KP_CHECK int kp_kube_long(struct kp_site *site, const char *const *argv, struct kp_slice input,
                          unsigned timeout, char **out, struct kp_err *err);
/* Server-side apply as field manager kpack, only where `kubectl diff` sees a difference. what names
 * it in reports. secret: no diff is made or shown. */
KP_CHECK int kp_kube_apply(struct kp_site *site, const char *what, struct kp_slice yaml,
                           bool *changed, struct kp_err *err);
/* kubectl rollout status; a crd is waited for until it is established, a job until it is complete
 * (one that failed is an error). */
KP_CHECK int kp_kube_wait(struct kp_site *site, const char *kind, const char *namespace_,
                          const char *name, unsigned timeout, struct kp_err *err);
/* Whether the cluster is there to be asked: the first control plane finished its init. In a dry run
 * before that, steps only say what they would do. */
KP_CHECK int kp_cluster_made(struct kp_site *site, bool *made, struct kp_err *err);
/* The admin's kubeconfig in the state folder is what the node's admin.conf says. */
KP_CHECK int kp_prove_kubeconfig(struct kp_site *site, struct kp_site_node *node,
                                 struct kp_err *err);
