/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a site decides about a bundle before it is applied, and what it remembers: the highest
 * serial per bundle name and all that was ever revoked lie beside the trusted keys
 * ($XDG_CONFIG_HOME/kpack/trusted.d: serials.json, revoked.json). The exceptions are typed by a
 * person and recorded in the journal, the audit log and on the nodes.
 */
#pragma once

#include "bundle/bundle.h"
#include "bundle/policy.h"
#include "core/cli.h"

struct kp_policy_options {
    const char *downgrade; /* --allow-downgrade SERIAL */
    bool expired;          /* --allow-expired */
    bool insecure;         /* --insecure-no-verify */
    bool hooks;            /* --allow-hooks */
};
#define KP_POLICY_OPTIONS(type)                                                                    \
    {"allow-downgrade",                                                                            \
     0,                                                                                            \
     KP_OPT_TEXT,                                                                                  \
     offsetof(struct type, site.policy.downgrade),                                                 \
     "SERIAL",                                                                                     \
     "take the bundle of exactly this serial though a newer one was seen (recorded)",              \
     0},                                                                                           \
        {"allow-expired",                                                                          \
         0,                                                                                        \
         KP_OPT_FLAG,                                                                              \
         offsetof(struct type, site.policy.expired),                                               \
         NULL,                                                                                     \
         "take a bundle whose date of expiry has passed (recorded)",                               \
         0},                                                                                       \
        {"allow-hooks",                                                                            \
         0,                                                                                        \
         KP_OPT_FLAG,                                                                              \
         offsetof(struct type, site.policy.hooks),                                                 \
         NULL,                                                                                     \
         "run the bundle's hooks though no trust list says who may carry them (recorded)",         \
         0},                                                                                       \
    {                                                                                              \
        "insecure-no-verify", 0, KP_OPT_FLAG, offsetof(struct type, site.policy.insecure), NULL,   \
            "take a bundle that nobody trusted has signed; every byte is checked all the same "    \
            "(recorded on the nodes and in the cluster)",                                          \
            0                                                                                      \
    }

struct kp_policy_outcome {
    unsigned threshold;
    size_t valid;
    bool downgraded, expired, hooks;   /* an allowance was used */
    char insecure[KP_ERR_MESSAGE_MAX]; /* why trust was refused, and lifted; "" */
    const char *reason;                /* the reason of that refusal */
    uint64_t serial;                   /* of --allow-downgrade */
    json_t *terms;                     /* for kp_session_bundle */
};
void kp_policy_outcome_release(struct kp_policy_outcome *outcome);
KP_DEFINE_AUTO_VALUE(kp_policy_outcome);

/* kp_bundle_open by the trust store; with --insecure-no-verify a refusal is noted in *out and the
 * bundle opened without trust. */
KP_CHECK int kp_policy_open(struct kp_bundle **bundle, const char *path,
                            const struct kp_trust *trust, const struct kp_policy_options *options,
                            struct kp_signers *signers, struct kp_policy_outcome *out,
                            struct kp_err *err);
/* Before a bundle is applied: revoked, serial, expiry; what it revokes is added to trust's set. */
KP_CHECK int kp_policy_apply(const struct kp_bundle *bundle, struct kp_trust *trust,
                             const struct kp_policy_options *options, struct kp_policy_outcome *out,
                             struct kp_err *err);
/* out->terms, for the nodes: the chain of trust lists, what is revoked, the exceptions. */
KP_CHECK int kp_policy_terms(const struct kp_trust *trust, const struct kp_policy_options *options,
                             struct kp_policy_outcome *out, struct kp_err *err);
/* Remembers what is revoked: after the bundle was verified whole. */
KP_CHECK int kp_policy_keep_revoked(const struct kp_trust *trust,
                                    const struct kp_policy_outcome *out, struct kp_err *err);
/* Remembers the bundle's serial: when nodes are about to be changed, not when a run was refused. */
KP_CHECK int kp_policy_keep_serial(const struct kp_manifest *manifest,
                                   const struct kp_policy_outcome *out, struct kp_err *err);
/* {"threshold", "valid", "insecure", "reason", "downgrade", "expired", "keys_given"} */
json_t *kp_policy_json(const struct kp_policy_outcome *out, const struct kp_text_list *keys);
