/* SPDX-License-Identifier: Apache-2.0 */
/* Trust lists, thresholds, revocations, serials: each guard has a case that only it refuses. */
#include "bundle_fixture.h"

#include "bundle/policy.h"
#include "bundle/trust_list.h"
#include "core/file.h"
#include "core/text.h"

#include <criterion/criterion.h>
#include <unistd.h>

#define NOW "2027-01-01T00:00:00Z"

static struct fixture f;
static struct kp_key *keys[4];
static struct kp_trust_key publics[4];

static void setup(void)
{
    fixture_open(&f);
    for (size_t i = 0; i < KP_COUNT(keys); i++) {
        kp_auto_free char *name = kp_asprintf("k%zu", i);
        kp_auto_free char *path = kp_asprintf("%s/%s.key", f.dir, name);
        kp_auto_free char *pub = kp_asprintf("%s/%s.pub", f.dir, name);
        kp_auto(kp_trust) one = kp_trust_new();
        struct kp_digest id;
        cr_assert_eq(kp_key_generate(f.dir, name, &id, NULL), 0);
        cr_assert_eq(kp_key_load(&keys[i], path, NULL, NULL), 0);
        cr_assert_eq(kp_trust_add_file(one, pub, NULL), 0);
        publics[i] = *kp_trust_at(one, 0);
        publics[i].name = i == 0 ? "k0" : i == 1 ? "k1" : i == 2 ? "k2" : "k3";
        publics[i].roles = KP_KEY_SIGN | KP_KEY_REVOKE | KP_KEY_ROOT;
    }
}

static void teardown(void)
{
    for (size_t i = 0; i < KP_COUNT(keys); i++)
        kp_key_free(keys[i]);
    fixture_close(&f);
}

TestSuite(bundle_policy, .init = setup, .fini = teardown, .timeout = 60);

static char *dump_list(uint64_t version, const struct kp_trust_list *previous,
                       const struct kp_trust_key *members, size_t count, unsigned threshold)
{
    struct kp_trust_list list = {.version = version,
                                 .created = NOW,
                                 .has_previous = previous != NULL,
                                 .thresholds = {threshold, threshold, threshold},
                                 .key_count = count};
    struct kp_trust_key copy[8];
    memcpy(copy, members, count * sizeof(copy[0]));
    list.keys = copy;
    if (previous)
        list.previous = previous->document->id;
    return kp_trust_list_dump(&list);
}

/* signers: a bit per key. */
static struct kp_trust_list *make_list(uint64_t version, const struct kp_trust_list *previous,
                                       const struct kp_trust_key *members, size_t count,
                                       unsigned threshold, unsigned signers)
{
    struct kp_err err = KP_ERR_INIT;
    struct kp_trust_list *list = NULL;
    char *text = dump_list(version, previous, members, count, threshold);
    struct kp_document *document = kp_document_new(text, strlen(text));
    for (size_t i = 0; i < KP_COUNT(keys); i++)
        if (signers & 1U << i)
            cr_assert_eq(kp_document_sign(document, keys[i], NULL), 0);
    cr_assert_eq(kp_trust_list_parse(&list, document, &err), 0, "%s", err.message);
    return list;
}

static const char *reason_of(int result, const struct kp_err *err)
{
    if (result == 0)
        return "ok";
    cr_expect_eq(err->code, KP_UNTRUSTED, "%s", err->message);
    return err->reason ? err->reason : "";
}
#define REASON(call)                                                                               \
    __extension__({                                                                                \
        struct kp_err err = KP_ERR_INIT;                                                           \
        int result_ = (call);                                                                      \
        reason_of(result_, &err);                                                                  \
    })

static const char *parse_reason(char *text)
{
    kp_auto(kp_trust_list) list = NULL;
    return REASON(kp_trust_list_parse(&list, kp_document_new(text, strlen(text)), &err));
}

static const char message_text[] = "{\"kind\":\"kpack.bundle/v1\"}";
#define MESSAGE ((struct kp_slice){message_text, sizeof(message_text) - 1})

static struct kp_signature_set signed_by(unsigned signers)
{
    struct kp_signature_set set = {.count = 0};
    struct kp_signature signature;
    for (size_t i = 0; i < KP_COUNT(keys); i++)
        for (int twice = 0; signers & 1U << i && twice < 2; twice++) {
            cr_assert_eq(kp_sign(keys[i], MESSAGE, &signature, NULL), 0);
            cr_assert_eq(kp_signature_add(&set, &signature, NULL), 0);
        }
    return set;
}

static const char *judge(struct kp_judging how, unsigned signers)
{
    struct kp_signature_set set = signed_by(signers);
    how.what = "test";
    return REASON(kp_signatures_judge(&set, &how, MESSAGE, NULL, &err));
}

Test(bundle_policy, two_of_three_are_counted_over_distinct_keys)
{
    struct kp_judging how = {.role = KP_KEY_SIGN, .keys = publics, .key_count = 3, .threshold = 2};
    cr_expect_str_eq(judge(how, 1), "threshold"); // the same key signed twice
    cr_expect_str_eq(judge(how, 1 | 8), "threshold");
    cr_expect_str_eq(judge(how, 8), "unknown_key");
    cr_expect_str_eq(judge(how, 3), "ok");
    cr_expect_str_eq(judge(how, 1 | 4 | 8), "ok");
}

Test(bundle_policy, a_key_without_the_role_or_outside_its_time_does_not_count)
{
    struct kp_judging how = {.role = KP_KEY_SIGN, .keys = publics, .key_count = 2, .threshold = 1};
    publics[0].roles = KP_KEY_ROOT;
    cr_expect_str_eq(judge(how, 1), "threshold");
    publics[0].roles = KP_KEY_SIGN;
    cr_expect_str_eq(judge(how, 1), "ok");
    publics[0].not_before = "2027-01-01T00:00:00Z";
    publics[0].not_after = "2027-12-31T00:00:00Z";
    how.created = "2026-12-31T23:59:59Z";
    cr_expect_str_eq(judge(how, 1), "threshold");
    how.created = "2027-01-01T00:00:00Z";
    cr_expect_str_eq(judge(how, 1), "ok");
    how.created = "2027-12-31T00:00:01Z";
    cr_expect_str_eq(judge(how, 1), "threshold");
    cr_expect_str_eq(judge(how, 3), "ok");
}

Test(bundle_policy, a_revoked_key_does_not_count)
{
    kp_auto(kp_revoked) revoked = kp_revoked_new();
    struct kp_judging how = {
        .role = KP_KEY_SIGN, .keys = publics, .key_count = 3, .threshold = 2, .revoked = revoked};
    cr_assert_eq(kp_revoked_add(revoked, KP_REVOKED_KEY, &publics[1].id, "lost", NULL), 0);
    cr_expect_str_eq(judge(how, 3), "revoked");
    cr_expect_str_eq(judge(how, 7), "ok");
}

Test(bundle_policy, lists_of_bad_form_are_refused)
{
    struct kp_trust_key twice[2] = {publics[0], publics[0]};
    twice[1].name = "other";
    cr_expect_str_eq(parse_reason(dump_list(1, NULL, twice, 2, 2)), "bad_document");
    cr_expect_str_eq(parse_reason(dump_list(1, NULL, publics, 2, 3)), "bad_document");
    cr_expect_str_eq(parse_reason(dump_list(1, NULL, publics, 2, 0)), "bad_document");
    cr_expect_str_eq(parse_reason(dump_list(2, NULL, publics, 2, 1)), "bad_document");
    twice[1] = publics[1];
    twice[1].id = publics[0].id;
    cr_expect_str_eq(parse_reason(dump_list(1, NULL, twice + 1, 1, 1)), "bad_document");
    char *good = dump_list(1, NULL, publics, 2, 1);
    char *loose = kp_asprintf(" %s", good); // the same document in another form
    cr_expect_str_eq(parse_reason(loose), "bad_document");
    cr_expect_str_eq(parse_reason(good), "ok");
    kp_auto(kp_revoked) none = kp_revoked_new();
    cr_expect_str_eq(parse_reason(kp_revocations_dump(none, NOW)), "bad_document");
}

static const char *follows(const struct kp_trust_list *next, const struct kp_trust_list *old)
{
    return REASON(kp_trust_list_follows(next, old, NULL, &err));
}

Test(bundle_policy, a_list_goes_on_only_by_both_thresholds)
{
    kp_auto(kp_trust_list) one = make_list(1, NULL, publics, 2, 2, 3);
    kp_auto(kp_trust_list) by_new = make_list(2, one, publics + 2, 2, 2, 4 | 8);
    kp_auto(kp_trust_list) by_old = make_list(2, one, publics + 2, 2, 2, 3);
    kp_auto(kp_trust_list) by_half = make_list(2, one, publics + 2, 2, 2, 1 | 4 | 8);
    kp_auto(kp_trust_list) by_both = make_list(2, one, publics + 2, 2, 2, 15);
    cr_expect_str_eq(follows(by_new, one), "unknown_key");
    cr_expect_str_eq(follows(by_old, one), "unknown_key");
    cr_expect_str_eq(follows(by_half, one), "threshold");
    cr_expect_str_eq(follows(by_both, one), "ok");
    cr_expect_str_eq(follows(one, by_both), "rollback");
    cr_expect_str_eq(follows(by_both, by_both), "rollback");
    kp_auto(kp_trust_list) three = make_list(3, by_both, publics, 2, 2, 15);
    cr_expect_str_eq(follows(three, one), "missing_list");
    kp_auto(kp_trust_list) fork = make_list(2, one, publics, 4, 2, 15);
    cr_expect_str_eq(follows(three, fork), "bad_chain");
    kp_auto(kp_revoked) revoked = kp_revoked_new();
    cr_assert_eq(kp_revoked_add(revoked, KP_REVOKED_KEY, &publics[0].id, "", NULL), 0);
    cr_expect_str_eq(REASON(kp_trust_list_follows(by_both, one, revoked, &err)), "revoked");
}

static const char *accept(const struct kp_trust *store, struct kp_trust_chain chain, size_t *first)
{
    return REASON(kp_trust_chain_accept(store, &chain, first, &err));
}

Test(bundle_policy, a_chain_is_taken_in_several_steps_and_kept)
{
    kp_auto(kp_trust) store = kp_trust_new();
    kp_auto(kp_trust) kept = kp_trust_new();
    kp_auto(kp_trust_list) one = make_list(1, NULL, publics, 2, 1, 1);
    kp_auto(kp_trust_list) two = make_list(2, one, publics + 1, 2, 1, 2);
    kp_auto(kp_trust_list) three = make_list(3, two, publics + 2, 2, 1, 4);
    kp_auto(kp_trust_list) other = make_list(2, one, publics, 3, 1, 1);
    struct kp_trust_chain all = {.lists = {one, two, three}, .count = 3};
    size_t first = 99;
    kp_auto_free char *folder = kp_path_join(f.dir, "trusted.d");
    cr_expect_str_eq(accept(store, all, &first), "ok");
    cr_expect_eq(first, 0);
    cr_assert_eq(kp_trust_chain_keep(&all, 0, folder, NULL), 0);
    cr_assert_eq(kp_trust_add_folder(kept, folder, NULL), 0);
    cr_assert_eq(kp_trust_list_of(kept)->version, 3);
    cr_expect_eq(kp_trust_count(kept), 2);
    cr_expect_str_eq(accept(kept, all, &first), "ok");
    cr_expect_eq(first, 3, "nothing new");
    struct kp_trust_chain old = {.lists = {one, two}, .count = 2};
    cr_expect_str_eq(accept(kept, old, &first), "rollback");
    struct kp_trust_chain fork = {.lists = {one, other}, .count = 2};
    kp_auto(kp_trust) at_two = kp_trust_new();
    kp_auto_free char *second = kp_path_join(f.dir, "second");
    cr_assert_eq(kp_trust_chain_keep(&old, 0, second, NULL), 0);
    cr_assert_eq(kp_trust_add_folder(at_two, second, NULL), 0);
    cr_expect_str_eq(accept(at_two, fork, &first), "rollback");
    cr_expect_str_eq(accept(at_two, all, &first), "ok");
    cr_expect_eq(first, 2);
}

/* Each step by itself, and behind one that is known already. */
Test(bundle_policy, a_chain_that_the_list_in_use_has_not_signed_is_refused)
{
    kp_auto(kp_trust) store = kp_trust_new();
    kp_auto(kp_trust_list) one = make_list(1, NULL, publics, 2, 1, 1);
    kp_auto(kp_trust_list) two = make_list(2, one, publics + 1, 2, 1, 2);
    kp_auto(kp_trust_list) strange = make_list(2, one, publics + 2, 2, 1, 4 | 8);
    kp_auto(kp_trust_list) after = make_list(3, two, publics + 2, 2, 1, 8);
    struct kp_trust_chain first_only = {.lists = {one}, .count = 1};
    struct kp_trust_chain table[] = {{.lists = {strange}, .count = 1},
                                     {.lists = {one, strange}, .count = 2},
                                     {.lists = {one, two, after}, .count = 3}};
    kp_auto_free char *folder = kp_path_join(f.dir, "trusted.d");
    size_t first;
    cr_assert_eq(kp_trust_chain_keep(&first_only, 0, folder, NULL), 0);
    cr_assert_eq(kp_trust_add_folder(store, folder, NULL), 0);
    for (size_t i = 0; i < KP_COUNT(table); i++)
        cr_expect_str_eq(accept(store, table[i], &first), "unknown_key", "case %zu", i);
}

Test(bundle_policy, loose_keys_stand_for_the_first_list_and_count_no_more_beside_one)
{
    kp_auto(kp_trust) loose = kp_trust_new();
    kp_auto(kp_trust) after = kp_trust_new();
    kp_auto_free char *pub = kp_asprintf("%s/k0.pub", f.dir);
    kp_auto(kp_trust_list) strange = make_list(1, NULL, publics + 1, 2, 1, 2);
    kp_auto(kp_trust_list) known = make_list(1, NULL, publics + 1, 2, 1, 3);
    struct kp_trust_chain bad = {.lists = {strange}, .count = 1};
    struct kp_trust_chain good = {.lists = {known}, .count = 1};
    size_t first;
    kp_auto_free char *folder = kp_path_join(f.dir, "trusted.d");
    kp_auto_free char *beside = kp_path_join(folder, "k0.pub");
    cr_assert_eq(kp_trust_add_file(loose, pub, NULL), 0);
    cr_expect_str_eq(accept(loose, bad, &first), "unknown_key");
    cr_expect_str_eq(accept(loose, good, &first), "ok");
    cr_assert_eq(kp_trust_chain_keep(&good, 0, folder, NULL), 0);
    cr_assert_eq(link(pub, beside), 0);
    cr_assert_eq(kp_trust_add_folder(after, folder, NULL), 0);
    cr_expect_null(kp_trust_find(after, &publics[0].id));
}

Test(bundle_policy, a_key_for_one_run_lifts_neither_role_nor_threshold)
{
    kp_auto(kp_trust) store = kp_trust_new();
    struct kp_trust_key members[3] = {publics[0], publics[1], publics[2]};
    members[1].roles = KP_KEY_ROOT | KP_KEY_REVOKE;
    struct kp_trust_list *list = make_list(1, NULL, members, 3, 2, 3);
    kp_auto_free char *pub = kp_asprintf("%s/k1.pub", f.dir);
    cr_assert_eq(kp_trust_add_file(store, pub, NULL), 0); // --key, before the folders
    cr_assert_eq(kp_trust_use_list(store, list, NULL), 0);
    cr_assert_eq(kp_trust_add_file(store, pub, NULL), 0);
    cr_expect_str_eq(judge(kp_judging_by(store, KP_KEY_SIGN, "test"), 1 | 2), "threshold");
    cr_expect_str_eq(judge(kp_judging_by(store, KP_KEY_SIGN, "test"), 1 | 4), "ok");
}

static json_t *revocations_signed(const struct kp_revoked *set, unsigned signers)
{
    char *text = kp_revocations_dump(set, NOW);
    kp_auto(kp_document) document = kp_document_new(text, strlen(text));
    for (size_t i = 0; i < KP_COUNT(keys); i++)
        if (signers & 1U << i)
            cr_assert_eq(kp_document_sign(document, keys[i], NULL), 0);
    json_t *out = json_array();
    json_array_append_new(out, kp_document_json(document));
    return out;
}

/* A store whose list has the fixture's key for bundles and k0, k1 (both needed) to revoke. */
static struct kp_trust *revoking_store(void)
{
    struct kp_trust *store = kp_trust_new();
    struct kp_trust_key members[3] = {*kp_trust_at(f.trust, 0), publics[0], publics[1]};
    struct kp_trust_list list = {
        .version = 1, .created = NOW, .thresholds = {1, 2, 1}, .keys = members, .key_count = 3};
    members[0].roles = KP_KEY_SIGN;
    members[1].roles = members[2].roles = KP_KEY_REVOKE | KP_KEY_ROOT;
    char *text = kp_trust_list_dump(&list);
    struct kp_trust_list *parsed = NULL;
    cr_assert_eq(kp_trust_list_parse(&parsed, kp_document_new(text, strlen(text)), NULL), 0);
    cr_assert_eq(kp_trust_use_list(store, parsed, NULL), 0);
    return store;
}

static const char *open_reason(const struct kp_trust *trust)
{
    kp_auto(kp_bundle) bundle = NULL;
    return REASON(kp_bundle_open(&bundle, f.bundle, trust, NULL, &err));
}

Test(bundle_policy, what_a_bundle_carries_counts_by_the_threshold_of_the_revokers)
{
    kp_auto(kp_trust) store = revoking_store();
    kp_auto(kp_revoked) set = kp_revoked_new();
    cr_assert_eq(kp_revoked_add(set, KP_REVOKED_KEY, &kp_trust_at(f.trust, 0)->id, "lost", NULL),
                 0);
    static const struct {
        unsigned signers;
        const char *reason;
    } cases[] = {{0, "ok"}, {1, "ok"}, {4, "ok"}, {1 | 4, "ok"}, {3, "revoked"}};
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        kp_auto_json carried = revocations_signed(set, cases[i].signers);
        f.manifest->revocations = carried;
        fixture_write(&f);
        cr_expect_str_eq(open_reason(store), cases[i].reason, "case %zu", i);
        cr_expect_str_eq(open_reason(f.trust), "ok", "a store that knows no revoker");
    }
    f.manifest->revocations = NULL;
}

Test(bundle_policy, a_revoked_bundle_is_refused)
{
    kp_auto(kp_bundle) bundle = NULL;
    fixture_write(&f);
    cr_assert_eq(kp_bundle_open(&bundle, f.bundle, f.trust, NULL, NULL), 0);
    const struct kp_manifest *m = kp_bundle_manifest(bundle);
    cr_assert_eq(kp_revoked_add(kp_trust_revoked(f.trust), KP_REVOKED_BUNDLE, &m->id, "bad", NULL),
                 0);
    cr_expect_str_eq(open_reason(f.trust), "revoked");
    kp_auto(kp_bundle) accepted = NULL; // a mirror that runs goes on
    cr_expect_eq(kp_bundle_open_id(&accepted, f.bundle, &m->id, NULL), 0);
}

Test(bundle_policy, what_is_revoked_is_merged_and_never_lost)
{
    kp_auto(kp_revoked) one = kp_revoked_new();
    kp_auto(kp_revoked) two = kp_revoked_new();
    kp_auto(kp_revoked) all = kp_revoked_new();
    kp_auto(kp_revoked) none = kp_revoked_new();
    bool changed = false;
    cr_assert_eq(kp_revoked_add(one, KP_REVOKED_KEY, &publics[0].id, "first", NULL), 0);
    cr_assert_eq(kp_revoked_add(two, KP_REVOKED_BUNDLE, &publics[0].id, "second", NULL), 0);
    cr_assert_eq(kp_revoked_keep(one, f.dir, &changed, NULL), 0);
    cr_expect(changed);
    cr_assert_eq(kp_revoked_keep(two, f.dir, &changed, NULL), 0);
    cr_expect(changed);
    cr_assert_eq(kp_revoked_keep(none, f.dir, &changed, NULL), 0);
    cr_assert_eq(kp_revoked_keep(one, f.dir, &changed, NULL), 0);
    cr_expect(!changed);
    cr_assert_eq(kp_revoked_load(all, f.dir, NULL), 0);
    cr_expect_eq(kp_revoked_count(all), 2);
    cr_expect_str_eq(kp_revoked_why(all, KP_REVOKED_KEY, &publics[0].id), "first");
    cr_expect_str_eq(kp_revoked_why(all, KP_REVOKED_BUNDLE, &publics[0].id), "second");
    cr_expect_null(kp_revoked_why(all, KP_REVOKED_KEY, &publics[1].id));
}

static const char *serial_reason(uint64_t serial, uint64_t highest, const uint64_t *allowed)
{
    struct kp_manifest m = {.name = "n", .serial = serial};
    const struct kp_policy_allow allow = {.downgrade = allowed};
    return REASON(kp_policy_serial(&m, highest, &allow, NULL, &err));
}

Test(bundle_policy, a_lower_serial_needs_exactly_its_name)
{
    const uint64_t seven = 7, eight = 8;
    uint64_t highest = 0;
    kp_auto_free char *path = kp_path_join(f.dir, "serials.json");
    cr_expect_str_eq(serial_reason(7, 7, NULL), "ok");
    cr_expect_str_eq(serial_reason(8, 7, NULL), "ok");
    cr_expect_str_eq(serial_reason(7, 9, NULL), "rollback");
    cr_expect_str_eq(serial_reason(7, 9, &eight), "rollback");
    cr_expect_str_eq(serial_reason(7, 9, &seven), "ok");
    cr_assert_eq(kp_serials_raise(path, "n", 9, NULL), 0);
    cr_assert_eq(kp_serials_raise(path, "n", 7, NULL), 0);
    cr_assert_eq(kp_serials_raise(path, "other", 3, NULL), 0);
    cr_assert_eq(kp_serials_highest(path, "n", &highest, NULL), 0);
    cr_expect_eq(highest, 9);
}

Test(bundle_policy, expiry_is_judged_where_it_is_set)
{
    struct kp_manifest m = {.name = "n", .expires = "2027-01-01T00:00:00Z"};
    const struct kp_policy_allow allow = {.expired = true};
    time_t end;
    bool used;
    cr_assert(kp_parse_utc(m.expires, &end));
    cr_expect_str_eq(REASON(kp_policy_expiry(&m, end, NULL, &used, &err)), "ok");
    cr_expect_str_eq(REASON(kp_policy_expiry(&m, end + 1, NULL, &used, &err)), "expired");
    cr_expect_str_eq(REASON(kp_policy_expiry(&m, end + 1, &allow, &used, &err)), "ok");
    cr_expect(used);
    m.expires = NULL;
    cr_expect_str_eq(REASON(kp_policy_expiry(&m, end + 1, NULL, &used, &err)), "ok");
}

/* A store whose list has k0 and k1 for bundles; those of the mask may have hooks carried. */
static struct kp_trust *hooking_store(unsigned mask, unsigned threshold)
{
    struct kp_trust *store = kp_trust_new();
    struct kp_trust_key members[2] = {publics[0], publics[1]};
    struct kp_trust_list list = {.version = 1,
                                 .created = NOW,
                                 .thresholds = {1, 1, 1, threshold},
                                 .keys = members,
                                 .key_count = 2};
    struct kp_trust_list *parsed = NULL;
    for (unsigned i = 0; i < 2; i++)
        members[i].roles |= mask & 1U << i ? KP_KEY_HOOKS : 0;
    char *text = kp_trust_list_dump(&list);
    cr_assert_eq(kp_trust_list_parse(&parsed, kp_document_new(text, strlen(text)), NULL), 0);
    cr_assert_eq(kp_trust_use_list(store, parsed, NULL), 0);
    return store;
}

static const char *hooks(const struct kp_trust *store, unsigned signers, bool allowed)
{
    struct kp_hook one = {.phase = "prepare", .where = "all", .file = "h", .timeout = 1};
    struct kp_manifest manifest = {.name = "test", .created = NOW, .hooks = &one, .hook_count = 1};
    struct kp_signature_set set = signed_by(signers);
    return REASON(kp_policy_hooks(&manifest, &set, MESSAGE, store, allowed, &err));
}

Test(bundle_policy, hooks_are_taken_from_those_who_may)
{
    kp_auto_free char *pub = kp_asprintf("%s/k0.pub", f.dir);
    kp_auto(kp_trust) loose = kp_trust_new();
    kp_auto(kp_trust) nobody = hooking_store(0, 0);
    kp_auto(kp_trust) one = hooking_store(1, 1);
    kp_auto(kp_trust) both = hooking_store(1 | 2, 2);
    cr_assert_eq(kp_trust_add_file(loose, pub, NULL), 0);
    cr_expect_str_eq(hooks(loose, 1, false), "hooks");
    cr_expect_str_eq(hooks(loose, 1, true), "ok");
    cr_expect_str_eq(hooks(nobody, 1 | 2, false), "hooks");
    cr_expect_str_eq(hooks(nobody, 1 | 2, true), "hooks", "typed words lift no trust list");
    cr_expect_str_eq(hooks(one, 1, false), "ok");
    cr_expect_str_eq(hooks(one, 2, false), "hooks");
    cr_expect_str_eq(hooks(both, 1, false), "hooks");
    cr_expect_str_eq(hooks(both, 1 | 2, false), "ok");
    // a threshold that nobody holds, and holders without a threshold, are no lists
    struct kp_trust_key members[1] = {publics[0]};
    struct kp_trust_list list = {
        .version = 1, .created = NOW, .thresholds = {1, 1, 1, 1}, .keys = members, .key_count = 1};
    cr_expect_str_eq(parse_reason(kp_trust_list_dump(&list)), "bad_document");
    list.thresholds[3] = 0;
    members[0].roles |= KP_KEY_HOOKS;
    cr_expect_str_eq(parse_reason(kp_trust_list_dump(&list)), "bad_document");
}
