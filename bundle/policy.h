/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policy: what is decided about a bundle whose signatures are right. Times of keys, thresholds and
 * revocations are judged wherever a bundle is opened with a trust store; serial and expiry only
 * where one is applied (DESIGN §3).
 */
#pragma once

#include "bundle/manifest.h"
#include "bundle/revocations.h"

#include <time.h>

/* What the bundle carries and trust's revokers signed, added to `into`; *counted and *ignored (may
 * be NULL) count documents. */
KP_CHECK int kp_policy_carried(const struct kp_manifest *manifest, const struct kp_trust *trust,
                               struct kp_revoked *into, size_t *counted, size_t *ignored,
                               struct kp_err *err);
/* With the manifest at hand: keys' times against its `created`, revocations (the store's and those
 * that the bundle itself carries), the threshold again, the bundle's own id. KP_UNTRUSTED
 * "revoked", "threshold". signers (may be NULL) is what is left. */
KP_CHECK int kp_policy_judge(const struct kp_manifest *manifest, const struct kp_signature_set *set,
                             struct kp_slice text, const struct kp_trust *trust,
                             struct kp_signers *signers, struct kp_err *err);
/* Hooks are carried: with a trust list the keys of role hooks that signed must reach that role's
 * threshold; with loose keys, which have no such role, `allowed` decides (a person typed it).
 * KP_UNTRUSTED "hooks". */
KP_CHECK int kp_policy_hooks(const struct kp_manifest *manifest, const struct kp_signature_set *set,
                             struct kp_slice text, const struct kp_trust *trust, bool allowed,
                             struct kp_err *err);
/* KP_UNTRUSTED "revoked" where the bundle's id is in the set. */
KP_CHECK int kp_policy_bundle(const struct kp_manifest *manifest, const struct kp_revoked *revoked,
                              struct kp_err *err);

struct kp_policy_allow {       /* typed by a person, recorded by the caller */
    const uint64_t *downgrade; /* --allow-downgrade SERIAL, or NULL */
    bool expired;              /* --allow-expired */
};
/* serial against the highest seen of that name ("rollback"), expires against now ("expired").
 * *downgraded (may be NULL) where the allowance was needed. */
KP_CHECK int kp_policy_serial(const struct kp_manifest *manifest, uint64_t highest,
                              const struct kp_policy_allow *allow, bool *downgraded,
                              struct kp_err *err);
KP_CHECK int kp_policy_expiry(const struct kp_manifest *manifest, time_t now,
                              const struct kp_policy_allow *allow, bool *expired,
                              struct kp_err *err);

/* The highest serial seen per bundle name: {"name": serial} in a file. 0 where none was seen. */
KP_CHECK int kp_serials_highest(const char *path, const char *name, uint64_t *out,
                                struct kp_err *err);
/* Raises it where this is higher; never lowers it. */
KP_CHECK int kp_serials_raise(const char *path, const char *name, uint64_t serial,
                              struct kp_err *err);
