/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/policy.h"

#include "bundle/trust_list.h"
#include "core/file.h"
#include "core/text.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

#define SERIALS_MAX ((size_t)1 << 20)

int kp_policy_carried(const struct kp_manifest *manifest, const struct kp_trust *trust,
                      struct kp_revoked *into, size_t *counted, size_t *ignored, struct kp_err *err)
{
    size_t taken = 0, n = json_array_size(manifest->revocations);
    for (size_t i = 0; i < n; i++) {
        kp_auto(kp_document) document = NULL;
        bool counts = false;
        if (kp_document_from_json(&document, json_array_get(manifest->revocations, i), err) < 0 ||
            kp_revocations_take(into, document, trust, &counts, err) < 0)
            return kp_wrap(err, "bundle.json: revocations[%zu]", i);
        taken += counts;
    }
    if (counted)
        *counted = taken;
    if (ignored)
        *ignored = n - taken;
    return 0;
}

int kp_policy_bundle(const struct kp_manifest *manifest, const struct kp_revoked *revoked,
                     struct kp_err *err)
{
    const char *why = kp_revoked_why(revoked, KP_REVOKED_BUNDLE, &manifest->id);
    if (!why)
        return 0;
    kp_fail_as(err, KP_UNTRUSTED, "revoked", "bundle %s (%s, serial %llu) is revoked%s%s",
               kp_digest_hex(&manifest->id).hex, manifest->name,
               (unsigned long long)manifest->serial, why[0] ? ": " : "", why);
    return kp_hint(err, "get a newer bundle of that name");
}

int kp_policy_judge(const struct kp_manifest *manifest, const struct kp_signature_set *set,
                    struct kp_slice text, const struct kp_trust *trust, struct kp_signers *signers,
                    struct kp_err *err)
{
    kp_auto(kp_revoked) revoked = kp_revoked_new();
    struct kp_judging how = kp_judging_by(trust, KP_KEY_SIGN, "bundle.json");
    if (kp_revoked_merge(revoked, kp_trust_revoked(trust), err) < 0 ||
        kp_policy_carried(manifest, trust, revoked, NULL, NULL, err) < 0)
        return -1;
    how.created = manifest->created;
    how.revoked = revoked;
    if (kp_signatures_judge(set, &how, text, signers, err) < 0)
        return -1;
    return kp_policy_bundle(manifest, revoked, err);
}

static int refuse_hooks(const struct kp_manifest *manifest, const char *why, const char *hint,
                        struct kp_err *err)
{
    kp_fail_as(err, KP_UNTRUSTED, "hooks", "bundle %s carries %zu hook%s, %s", manifest->name,
               manifest->hook_count, manifest->hook_count == 1 ? "" : "s", why);
    return kp_hint(err, "%s", hint);
}

int kp_policy_hooks(const struct kp_manifest *manifest, const struct kp_signature_set *set,
                    struct kp_slice text, const struct kp_trust *trust, bool allowed,
                    struct kp_err *err)
{
    struct kp_judging how = kp_judging_by(trust, KP_KEY_HOOKS, "the bundle's hooks");
    struct kp_err failure = KP_ERR_INIT;
    if (!manifest->hook_count)
        return 0;
    if (!kp_trust_list_of(trust))
        return allowed
                   ? 0
                   : refuse_hooks(manifest, "and no trust list here says who may have them run",
                                  "look at them (kpack list, kpack extract), then: --allow-hooks",
                                  err);
    how.created = manifest->created;
    if (how.threshold && kp_signatures_judge(set, &how, text, NULL, &failure) == 0)
        return 0;
    return refuse_hooks(
        manifest, how.threshold ? failure.message : "and no key of the trust list may",
        "have it signed by keys of role hooks (kpack sign), or made without hooks", err);
}

int kp_policy_serial(const struct kp_manifest *manifest, uint64_t highest,
                     const struct kp_policy_allow *allow, bool *downgraded, struct kp_err *err)
{
    unsigned long long serial = manifest->serial;
    bool lower = manifest->serial < highest;
    if (downgraded)
        *downgraded = lower;
    if (!lower || (allow && allow->downgrade && *allow->downgrade == manifest->serial))
        return 0;
    kp_fail_as(err, KP_UNTRUSTED, "rollback", "bundle %s has serial %llu, and %llu was seen",
               manifest->name, serial, (unsigned long long)highest);
    return kp_hint(err,
                   "use the newest bundle of that name, or, where going back is meant: "
                   "--allow-downgrade %llu",
                   serial);
}

int kp_policy_expiry(const struct kp_manifest *manifest, time_t now,
                     const struct kp_policy_allow *allow, bool *expired, struct kp_err *err)
{
    time_t end = 0;
    bool past = manifest->expires && kp_parse_utc(manifest->expires, &end) && now > end;
    if (expired)
        *expired = past;
    if (!past || (allow && allow->expired))
        return 0;
    kp_fail_as(err, KP_UNTRUSTED, "expired", "bundle %s expired at %s; this host's clock says %s",
               manifest->name, manifest->expires, kp_text_utc(now).s);
    return kp_hint(err, "use a newer bundle, or, where it is meant: --allow-expired");
}

static int load_serials(const char *path, json_t **out, struct kp_err *err)
{
    kp_auto_free char *text = NULL;
    kp_auto_json all = NULL;
    size_t len;
    if (!kp_file_exists(path)) {
        *out = json_object();
        return 0;
    }
    if (kp_file_read(path, SERIALS_MAX, &text, &len, err) < 0 ||
        kp_json_parse(&all, (struct kp_slice){text, len}, SERIALS_MAX, path, err) < 0)
        return -1;
    if (!json_is_object(all))
        return kp_fail_as(err, KP_DAMAGED, "bad_document", "%s is not an object", path);
    *out = kp_steal(&all);
    return 0;
}

static uint64_t highest_of(const json_t *all, const char *name)
{
    json_int_t value = json_integer_value(json_object_get(all, name));
    return value > 0 ? (uint64_t)value : 0;
}

int kp_serials_highest(const char *path, const char *name, uint64_t *out, struct kp_err *err)
{
    kp_auto_json all = NULL;
    if (load_serials(path, &all, err) < 0)
        return -1;
    *out = highest_of(all, name);
    return 0;
}

int kp_serials_raise(const char *path, const char *name, uint64_t serial, struct kp_err *err)
{
    kp_auto_free char *folder = kp_path_dir(path);
    kp_auto_json all = NULL;
    if (kp_mkdirs(folder, 0700, err) < 0)
        return -1;
    kp_auto_fd int lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0 || flock(lock, LOCK_EX) < 0)
        return kp_fail_sys(err, errno, "lock %s", folder);
    if (load_serials(path, &all, err) < 0)
        return -1;
    if (serial <= highest_of(all, name))
        return 0;
    json_object_set_new(all, name, json_integer((json_int_t)serial));
    kp_auto_free char *text = kp_json_dump(all, false);
    return kp_file_write_atomic(path, kp_slice_of(text), 0600, err);
}
