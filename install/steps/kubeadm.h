/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What init and join share: the values of kubeadm's configuration, and a kubeadm command as a
 * transient unit that a later run attaches to. Secrets travel in a file of mode 0600 that is
 * deleted afterwards, never in argv.
 */
#pragma once

#include "install/step.h"
#include "manifests/render.h"

#define KP_TOKEN_ID_LEN 6
#define KP_TOKEN_SECRET_LEN 16
#define KP_CERTIFICATE_KEY_HEX 64

/* The node's own values: node, address, taints, ignored preflight checks. */
void kp_kubeadm_node_vars(struct kp_vars *vars, const struct kp_site *site,
                          const struct kp_site_node *node);
/* The cluster's configuration (all documents of `kubeadm init --config`), for tests too. token is
 * "id.secret"; certificate_key NULL: none. */
KP_CHECK int kp_kubeadm_init_config(char **out, struct kp_site *site, const char *token,
                                    const char *certificate_key, struct kp_err *err);
/* The same for any node, with no token: what its settings are (install/steps/settings.h). */
KP_CHECK int kp_kubeadm_node_config(char **out, struct kp_site *site,
                                    const struct kp_site_node *node, struct kp_err *err);
/* Runs a kubeadm command (argv names config, a path on the node) with the cluster's configuration
 * for this very node, which is deleted behind it. The token in it is never made. */
KP_CHECK int kp_kubeadm_configured(struct kp_site *site, struct kp_site_node *node,
                                   const char *config, const char *const *argv, struct kp_err *err);
KP_CHECK int kp_kubeadm_join_config(char **out, const struct kp_site *site,
                                    const struct kp_site_node *node, const char *token,
                                    const char *ca_hash, const char *certificate_key,
                                    struct kp_err *err);
/* A bootstrap token of half an hour in the cluster, and its end. token: "id.secret". */
#define KP_TOKEN_SIZE (KP_TOKEN_ID_LEN + KP_TOKEN_SECRET_LEN + 2)
KP_CHECK int kp_kubeadm_make_token(char token[KP_TOKEN_SIZE], struct kp_site *site,
                                   struct kp_err *err);
KP_CHECK int kp_kubeadm_drop_token(struct kp_site *site, const char *token, struct kp_err *err);
/* Random, from [a-z0-9] (bootstrap tokens) or hex; out has len + 1 bytes. */
KP_CHECK int kp_random_word(char *out, size_t len, bool hex, struct kp_err *err);

struct kp_kubeadm_task { /* kubeadm init or join on one node */
    const char *unit;    /* "kpack-init" */
    const char *verb;    /* "init" */
    const char *config;  /* path of the file on the node */
    /* Whether the cluster shows that it went to its end: where no result is left, this decides. */
    int (*complete)(struct kp_site *site, struct kp_site_node *node, bool *complete,
                    struct kp_err *err);
    unsigned timeout;
};
/* Attaches to the unit where it runs, or takes its result where it ended well. *settled: it did,
 * and nothing is to be run. A failed one is left to the caller to reset. */
KP_CHECK int kp_kubeadm_attach(struct kp_site *site, struct kp_site_node *node,
                               const struct kp_kubeadm_task *task, bool *settled,
                               struct kp_err *err);
/* Writes the configuration, runs, deletes it. */
KP_CHECK int kp_kubeadm_run(struct kp_site *site, struct kp_site_node *node,
                            const struct kp_kubeadm_task *task, const char *config,
                            struct kp_err *err);
/* kubeadm reset -f: only for what this node's record says was begun here and not finished. */
KP_CHECK int kp_kubeadm_reset(struct kp_site *site, struct kp_site_node *node, struct kp_err *err);
