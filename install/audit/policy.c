/* SPDX-License-Identifier: Apache-2.0 */
#include "install/audit/policy.h"

#include "bundle/trust_list.h"
#include "core/file.h"

#include <stdio.h>

#define SERIALS_FILE "serials.json"

void kp_policy_outcome_release(struct kp_policy_outcome *outcome)
{
    json_decref(outcome->terms);
    *outcome = (struct kp_policy_outcome){.terms = NULL};
}

static char *own_file(const char *name)
{
    kp_auto_free char *folder = kp_trust_own_folder();
    return kp_path_join(folder, name);
}

int kp_policy_open(struct kp_bundle **bundle, const char *path, const struct kp_trust *trust,
                   const struct kp_policy_options *options, struct kp_signers *signers,
                   struct kp_policy_outcome *out, struct kp_err *err)
{
    struct kp_err refused = KP_ERR_INIT;
    out->threshold = kp_trust_threshold(trust, KP_KEY_SIGN);
    if (kp_bundle_open(bundle, path, trust, signers, &refused) == 0) {
        out->valid = signers->valid;
        return 0;
    }
    if (refused.code == KP_UNTRUSTED && options->insecure) {
        *signers = (struct kp_signers){.count = 0};
        out->reason = refused.reason ? refused.reason : "untrusted";
        snprintf(out->insecure, sizeof(out->insecure), "%s", refused.message);
        return kp_bundle_open(bundle, path, NULL, NULL, err);
    }
    if (err)
        *err = refused;
    return -1;
}

static int read_downgrade(const struct kp_policy_options *options, uint64_t *serial,
                          struct kp_err *err)
{
    if (!options->downgrade || kp_parse_u64(kp_slice_of(options->downgrade), INT64_MAX, serial))
        return 0;
    return kp_fail(err, KP_USAGE, "--allow-downgrade %s: the bundle's serial is needed",
                   options->downgrade);
}

static int check_serial(const struct kp_manifest *m, const struct kp_policy_options *options,
                        struct kp_policy_outcome *out, struct kp_err *err)
{
    kp_auto_free char *path = own_file(SERIALS_FILE);
    uint64_t highest;
    if (read_downgrade(options, &out->serial, err) < 0 ||
        kp_serials_highest(path, m->name, &highest, err) < 0)
        return -1;
    const struct kp_policy_allow allow = {.downgrade = options->downgrade ? &out->serial : NULL,
                                          .expired = options->expired};
    if (kp_policy_serial(m, highest, &allow, &out->downgraded, err) < 0)
        return kp_wrap(err, "this site");
    return kp_policy_expiry(m, time(NULL), &allow, &out->expired, err);
}

static int add_lists(json_t *terms, const struct kp_trust *trust, struct kp_err *err)
{
    kp_auto_value(kp_trust_chain) chain = {.count = 0};
    if (!kp_trust_list_folder(trust))
        return 0;
    if (kp_trust_chain_load(&chain, kp_trust_list_folder(trust), err) < 0)
        return -1;
    json_object_set_new(terms, "lists", kp_trust_chain_json(&chain));
    return 0;
}

int kp_policy_terms(const struct kp_trust *trust, const struct kp_policy_options *options,
                    struct kp_policy_outcome *out, struct kp_err *err)
{
    out->terms = json_object();
    json_object_set_new(out->terms, "revoked", kp_revoked_json(kp_trust_revoked(trust)));
    if (options->downgrade)
        json_object_set_new(out->terms, "allow_downgrade", json_integer((json_int_t)out->serial));
    if (out->insecure[0])
        json_object_set_new(out->terms, "insecure", json_string(out->insecure));
    return add_lists(out->terms, trust, err);
}

static int check_hooks(const struct kp_bundle *bundle, const struct kp_trust *trust,
                       const struct kp_policy_options *options, struct kp_policy_outcome *out,
                       struct kp_err *err)
{
    kp_auto_free struct kp_signature_set *set = kp_alloc(sizeof(*set));
    if (!kp_bundle_manifest(bundle)->hook_count)
        return 0;
    if (kp_signatures_parse(set, kp_bundle_signature_block(bundle).ptr, err) < 0)
        return -1;
    out->hooks = options->hooks && !kp_trust_list_of(trust);
    return kp_policy_hooks(kp_bundle_manifest(bundle), set, kp_bundle_manifest_bytes(bundle), trust,
                           options->hooks, err);
}

int kp_policy_apply(const struct kp_bundle *bundle, struct kp_trust *trust,
                    const struct kp_policy_options *options, struct kp_policy_outcome *out,
                    struct kp_err *err)
{
    const struct kp_manifest *m = kp_bundle_manifest(bundle);
    // What nobody known has signed must not revoke anything either.
    if (!out->insecure[0] &&
        kp_policy_carried(m, trust, kp_trust_revoked(trust), NULL, NULL, err) < 0)
        return -1;
    if (kp_policy_bundle(m, kp_trust_revoked(trust), err) < 0)
        return -1;
    return check_hooks(bundle, trust, options, out, err) < 0 ? -1
                                                             : check_serial(m, options, out, err);
}

int kp_policy_keep_revoked(const struct kp_trust *trust, const struct kp_policy_outcome *out,
                           struct kp_err *err)
{
    kp_auto_free char *folder = kp_trust_own_folder();
    if (out->insecure[0])
        return 0;
    return kp_revoked_keep(kp_trust_revoked(trust), folder, NULL, err);
}

int kp_policy_keep_serial(const struct kp_manifest *manifest, const struct kp_policy_outcome *out,
                          struct kp_err *err)
{
    kp_auto_free char *serials = own_file(SERIALS_FILE);
    if (out->insecure[0])
        return 0;
    return kp_serials_raise(serials, manifest->name, manifest->serial, err);
}

json_t *kp_policy_json(const struct kp_policy_outcome *out, const struct kp_text_list *keys)
{
    json_t *given = json_array();
    for (size_t i = 0; i < keys->count; i++)
        json_array_append_new(given, json_string(keys->items[i]));
    json_t *policy =
        json_pack("{s:I, s:I, s:b, s:o}", "threshold", (json_int_t)out->threshold, "valid",
                  (json_int_t)out->valid, "insecure", out->insecure[0] != 0, "keys_given", given);
    if (out->insecure[0])
        json_object_set_new(policy, "reason", json_string(out->reason));
    if (out->downgraded)
        json_object_set_new(policy, "downgrade", json_integer((json_int_t)out->serial));
    if (out->hooks)
        json_object_set_new(policy, "hooks", json_true());
    if (out->expired)
        json_object_set_new(policy, "expired", json_true());
    return policy;
}
