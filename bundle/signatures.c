/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/sign.h"

#include "bundle/revocations.h"
#include "bundle/spki.h"

#include <assert.h>

static const char scheme[] = "ed25519 ";
#define SCHEME_LEN (sizeof(scheme) - 1)
#define SIGNATURE_HEX (2 * KP_ED25519_SIGNATURE)
#define LINE_LEN (SCHEME_LEN + KP_SHA256_HEX + 1 + SIGNATURE_HEX + 1)

static_assert(LINE_LEN == KP_SIGNATURE_LINE, "as announced");
static_assert(KP_SIGNATURES_MAX * LINE_LEN <= KP_SIG_SIZE, "all signatures fit the block");

static int compare_ids(const struct kp_digest *a, const struct kp_digest *b)
{
    return memcmp(a->bytes, b->bytes, KP_SHA256_LEN);
}

int kp_signature_add(struct kp_signature_set *set, const struct kp_signature *signature,
                     struct kp_err *err)
{
    size_t at = 0;
    while (at < set->count && compare_ids(&set->items[at].key_id, &signature->key_id) < 0)
        at++;
    bool there = at < set->count && compare_ids(&set->items[at].key_id, &signature->key_id) == 0;
    if (!there && set->count == KP_SIGNATURES_MAX)
        return kp_fail(err, KP_FAILED, "a bundle takes at most %zu signatures", KP_SIGNATURES_MAX);
    if (!there) {
        memmove(&set->items[at + 1], &set->items[at], (set->count - at) * sizeof(set->items[0]));
        set->count++;
    }
    set->items[at] = *signature;
    return 0;
}

static bool parse_line(const char *line, struct kp_signature *out)
{
    const char *id = line + SCHEME_LEN, *signature = id + KP_SHA256_HEX + 1;
    return memcmp(line, scheme, SCHEME_LEN) == 0 && id[KP_SHA256_HEX] == ' ' &&
           signature[SIGNATURE_HEX] == '\n' &&
           kp_parse_hex((struct kp_slice){id, KP_SHA256_HEX}, out->key_id.bytes, KP_SHA256_LEN) &&
           kp_parse_hex((struct kp_slice){signature, SIGNATURE_HEX}, out->bytes,
                        KP_ED25519_SIGNATURE);
}

static int bad_block(struct kp_err *err, size_t line, const char *what)
{
    return kp_fail_as(err, KP_UNTRUSTED, "bad_signature_block", "bundle.sig:%zu: %s", line, what);
}

int kp_signatures_parse(struct kp_signature_set *out, const char block[KP_SIG_SIZE],
                        struct kp_err *err)
{
    struct kp_signature_set set = {.count = 0};
    size_t at = 0;
    while (at + LINE_LEN <= KP_SIG_SIZE && block[at] != ' ') {
        struct kp_signature *item = &set.items[set.count];
        if (set.count == KP_SIGNATURES_MAX)
            return bad_block(err, set.count + 1, "more signatures than allowed");
        if (!parse_line(block + at, item))
            return bad_block(err, set.count + 1, "not a signature line in its canonical form");
        if (set.count && compare_ids(&item[-1].key_id, &item->key_id) >= 0)
            return bad_block(err, set.count + 1, "key ids are not in ascending order");
        set.count++;
        at += LINE_LEN;
    }
    for (; at < KP_SIG_SIZE; at++)
        if (block[at] != ' ')
            return bad_block(err, set.count + 1,
                             "other bytes than blanks after the last signature");
    *out = set;
    return 0;
}

int kp_signature_parse_line(struct kp_signature *out, struct kp_slice text, struct kp_err *err)
{
    if (text.len != LINE_LEN || !parse_line(text.ptr, out))
        return kp_fail_as(err, KP_UNTRUSTED, "bad_signature_block",
                          "not one signature line in its canonical form");
    return 0;
}

void kp_signature_format_line(const struct kp_signature *signature,
                              char line[KP_SIGNATURE_LINE + 1])
{
    char *at = line + SCHEME_LEN + KP_SHA256_HEX;
    memcpy(line, scheme, SCHEME_LEN);
    memcpy(line + SCHEME_LEN, kp_digest_hex(&signature->key_id).hex, KP_SHA256_HEX);
    *at = ' ';
    kp_hex(at + 1, signature->bytes, KP_ED25519_SIGNATURE);
    memcpy(at + 1 + SIGNATURE_HEX, "\n", 2);
}

void kp_signatures_format(const struct kp_signature_set *set, char block[KP_SIG_SIZE])
{
    char *at = block;
    memset(block, ' ', KP_SIG_SIZE);
    for (size_t i = 0; i < set->count; i++, at += LINE_LEN) {
        char line[LINE_LEN + 1];
        kp_signature_format_line(&set->items[i], line);
        memcpy(at, line, LINE_LEN);
    }
}

const char *kp_signature_state_text(enum kp_signature_state state)
{
    static const char *const texts[] = {"valid", "unknown_key", "revoked", "out_of_time",
                                        "no_role"};
    return texts[state];
}

struct kp_judging kp_judging_by(const struct kp_trust *trust, unsigned role, const char *what)
{
    return (struct kp_judging){.role = role,
                               .revoked = kp_trust_revoked(trust),
                               .keys = kp_trust_at(trust, 0),
                               .key_count = kp_trust_count(trust),
                               .threshold = kp_trust_threshold(trust, role),
                               .what = what};
}

static const struct kp_trust_key *find_key(const struct kp_judging *how, const struct kp_digest *id)
{
    for (size_t i = 0; i < how->key_count; i++)
        if (kp_digest_equal(&how->keys[i].id, id))
            return &how->keys[i];
    return NULL;
}

// Times of this one form (RFC 3339, UTC) sort as texts do.
static enum kp_signature_state state_of(const struct kp_trust_key *key,
                                        const struct kp_judging *how)
{
    if (!key)
        return KP_SIG_UNKNOWN_KEY;
    if (kp_revoked_why(how->revoked, KP_REVOKED_KEY, &key->id))
        return KP_SIG_REVOKED;
    if (!(key->roles & how->role))
        return KP_SIG_NO_ROLE;
    if (how->created && ((key->not_before && strcmp(how->created, key->not_before) < 0) ||
                         (key->not_after && strcmp(how->created, key->not_after) > 0)))
        return KP_SIG_OUT_OF_TIME;
    return KP_SIG_VALID;
}

static int bad_signature(struct kp_err *err, const struct kp_trust_key *key, const char *what)
{
    return kp_fail_as(err, KP_UNTRUSTED, "bad_signature",
                      "the signature by key %s (%s) does not fit %s; one of the two was altered "
                      "or damaged",
                      key->name, kp_digest_hex(&key->id).hex, what);
}

// A signature that a known key made, but that names another key, is no unknown signer: the block
// was altered. So every bit of a block signed by trusted keys only is covered.
static int check_unknown(const struct kp_signature_set *set, const struct kp_signers *found,
                         const struct kp_judging *how, struct kp_slice message, struct kp_err *err)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct kp_signature *signature = &set->items[i];
        for (size_t k = 0; how->keys && !found->items[i].name && k < how->key_count; k++)
            if (kp_spki_verify(how->keys[k].public_key, message, signature->bytes))
                return kp_fail_as(err, KP_UNTRUSTED, "bad_signature",
                                  "the signature by key %s stands under another key id (%s)",
                                  how->keys[k].name, kp_digest_hex(&signature->key_id).hex);
    }
    return 0;
}

static int too_few(const struct kp_signature_set *set, const struct kp_signers *found,
                   const struct kp_judging *how, struct kp_err *err)
{
    const char *role = kp_key_role_text(how->role);
    bool known = false;
    for (size_t i = 0; i < set->count; i++) {
        const struct kp_signer *signer = &found->items[i];
        known = known || signer->name;
        if (signer->state == KP_SIG_REVOKED) {
            kp_fail_as(
                err, KP_UNTRUSTED, "revoked",
                "signed by key %s (%s), which is revoked: %s; %zu of %u needed keys are left",
                signer->name, kp_digest_hex(&signer->key_id).hex,
                kp_revoked_why(how->revoked, KP_REVOKED_KEY, &signer->key_id), found->valid,
                how->threshold);
            return kp_hint(err, "have %s signed by keys that still count", how->what);
        }
    }
    if (!known)
        return kp_fail_as(err, KP_UNTRUSTED, "unknown_key",
                          "signed by key %s%s, which is not trusted here",
                          set->count ? kp_digest_hex(&set->items[0].key_id).hex : "(none)",
                          set->count > 1 ? " and others" : "");
    kp_fail_as(err, KP_UNTRUSTED, "threshold", "%zu of %u needed keys of role %s signed %s",
               found->valid, how->threshold, role, how->what);
    for (size_t i = 0; i < set->count; i++)
        if (found->items[i].state == KP_SIG_OUT_OF_TIME)
            return kp_hint(err, "it was made (%s) outside the time of key %s", how->created,
                           found->items[i].name);
    return kp_hint(err, "let more of the keys sign it: kpack sign, kpack trust sign");
}

int kp_signatures_judge(const struct kp_signature_set *set, const struct kp_judging *how,
                        struct kp_slice message, struct kp_signers *out, struct kp_err *err)
{
    kp_auto_free struct kp_signers *found = kp_alloc(sizeof(*found));
    found->count = set->count;
    found->needed = how->threshold;
    for (size_t i = 0; i < set->count; i++) {
        const struct kp_signature *signature = &set->items[i];
        const struct kp_trust_key *key = find_key(how, &signature->key_id);
        if (key && !kp_spki_verify(key->public_key, message, signature->bytes))
            return bad_signature(err, key, how->what);
        enum kp_signature_state state = state_of(key, how);
        found->valid += state == KP_SIG_VALID;
        found->items[i] = (struct kp_signer){
            .key_id = signature->key_id, .name = key ? key->name : NULL, .state = state};
    }
    if (found->valid < how->threshold)
        return too_few(set, found, how, err);
    if (check_unknown(set, found, how, message, err) < 0)
        return -1;
    if (out)
        *out = *found;
    return 0;
}

int kp_signatures_verify(const struct kp_signature_set *set, const struct kp_trust *trust,
                         struct kp_slice message, struct kp_signers *out, struct kp_err *err)
{
    struct kp_judging how = kp_judging_by(trust, KP_KEY_SIGN, "bundle.json");
    if (!kp_trust_count(trust)) {
        kp_fail_as(err, KP_UNTRUSTED, "no_trusted_keys", "no trusted key is known here");
        return kp_hint(err, "get the signer's .pub by another way than the bundle, then: kinstall "
                            "trust add FILE.pub, or --key FILE.pub for this run");
    }
    if (!set->count) {
        kp_fail_as(err, KP_UNTRUSTED, "unsigned", "bundle.sig: the bundle is not signed");
        return kp_hint(err, "sign it where it was made: kpack sign --key KEY BUNDLE");
    }
    if (kp_signatures_judge(set, &how, message, out, err) == 0)
        return 0;
    kp_wrap(err, "bundle.sig");
    return kp_hint(err, "if you know this key by another way than the bundle: kinstall trust add "
                        "FILE.pub, or --key FILE.pub for this run");
}
