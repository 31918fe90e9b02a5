/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another runtime on a node that is in the cluster (kinstall runtime): node by node, each emptied
 * first and well before the next. Apply refuses such a change, plan shows it. Within the same kind
 * and upwards containers go on; another kind, or an older version, cannot take over what it finds:
 * there every pod of the node is ended and made anew.
 */
#pragma once

#include "install/runtime.h"
#include "install/step.h"

#define KP_RUNTIME_STEP "runtime-change" /* in the node's record; its digest is the runtime */
#define KP_RUNTIME_TEXT_MAX 96

struct kp_runtime_now { /* of one node */
    bool member;        /* init or join ended on it */
    bool found;         /* a runtime of ours is there */
    bool begun;         /* a change began and did not end */
    enum kp_runtime_kind kind;
    char version[KP_RUNTIME_TEXT_MAX]; /* "1.7.27" */
};
enum kp_runtime_difference {
    KP_RUNTIME_SAME,
    KP_RUNTIME_UPDATE,  /* the same kind, newer */
    KP_RUNTIME_REPLACE, /* another kind, or older: all pods of the node are made anew */
};
/* Pure: what the change from now to wanted is. */
enum kp_runtime_difference kp_runtime_compare(const struct kp_runtime_now *now,
                                              const struct kp_runtime *wanted);
/* Asks the node for its unit and its program's version. */
KP_CHECK int kp_runtime_ask(struct kp_site *site, struct kp_site_node *node,
                            struct kp_runtime_now *out, struct kp_err *err);
/* The version that the program at this path of the node says; "" where it is not there or does not
 * say one. */
KP_CHECK int kp_runtime_ask_program(struct kp_site *site, struct kp_site_node *node,
                                    const char *program, char out[KP_RUNTIME_TEXT_MAX],
                                    struct kp_err *err);
/* Ends every pod of the node, static ones too, by the runtime that runs there (the kubelet must be
 * stopped); where it does not run, nothing is done. */
KP_CHECK int kp_runtime_end_pods(struct kp_site *site, struct kp_site_node *node,
                                 enum kp_runtime_kind kind, struct kp_err *err);
/* "containerd 1.7.27 -> containerd 2.1.9"; kp_free. */
char *kp_runtime_change_text(const struct kp_runtime_now *now, const struct kp_runtime *wanted);
/* For apply: KP_FAILED "other_runtime" where a node in the cluster has another runtime than the
 * inventory says. In a dry run each is a line on the screen instead. */
KP_CHECK int kp_runtime_refuse_others(struct kp_site *site, struct kp_err *err);
/* For upgrade, which drains and replaces within one kind: KP_FAILED "other_runtime" where a node's
 * kind is another than the inventory says. */
KP_CHECK int kp_runtime_refuse_kinds(struct kp_site *site, struct kp_err *err);
/* What kp_steps_run is given, in order; *count of them. Borrowed. */
const struct kp_step *const *kp_runtime_phases(size_t *count);
