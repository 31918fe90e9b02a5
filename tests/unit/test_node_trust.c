/* SPDX-License-Identifier: Apache-2.0 */
#include "node_peer.h"

#include "bundle/revocations.h"
#include "bundle/trust_list.h"
#include "core/file.h"

#include <criterion/criterion.h>
#include <unistd.h>

static const char *change_something(struct peer *p, const char *letter)
{
    static char reason[64];
    json_t *request =
        json_pack("{s:s, s:s, s:i, s:i, s:i, s:i}", "op", "put", "path", "/etc/kpack-test/x",
                  "mode", 0600, "uid", (int)getuid(), "gid", (int)getgid(), "size", 1);
    kp_auto_json answer = peer_call(p, request, kp_slice_of(letter));
    snprintf(reason, sizeof(reason), "%s", peer_reason(answer));
    return reason;
}

Test(node_trust, first_contact_keeps_the_keys)
{
    struct peer p;
    peer_open(&p, false);
    kp_auto_json first = peer_hand_over(&p);
    kp_auto_free char *folder = peer_path(&p, "/etc/kpack/trusted.d");
    cr_assert(json_is_true(json_object_get(first, "first_contact")));
    cr_assert(!kp_file_exists(folder));
    cr_assert_str_eq(change_something(&p, "x"), "");
    struct kp_digest_text id = kp_digest_hex(&kp_trust_at(p.fixture.trust, 0)->id);
    kp_auto_free char *key = kp_asprintf("/etc/kpack/trusted.d/%s.pub", id.hex),
                      *pem = peer_read(&p, key);
    cr_assert_not_null(pem);
    peer_again(&p);
    kp_auto_json second = peer_hand_over(&p);
    cr_assert(json_is_false(json_object_get(second, "first_contact")));
    peer_close(&p);
}

Test(node_trust, a_stranger_is_refused_afterwards)
{
    struct peer p;
    struct fixture other;
    struct kp_err err;
    peer_open(&p, true);
    cr_assert_str_eq(change_something(&p, "x"), "");
    peer_again(&p);
    fixture_open(&other);
    fixture_write(&other);
    kp_auto(kp_bundle) bundle = NULL;
    cr_assert_eq(kp_bundle_open(&bundle, other.bundle, other.trust, NULL, &err), 0);
    kp_auto_json answer = peer_bundle(&p, kp_bundle_manifest_bytes(bundle),
                                      kp_bundle_signature_block(bundle), other.trust);
    cr_assert_str_eq(peer_reason(answer), "unknown_key");
    cr_assert_str_eq(change_something(&p, "x"), "no_bundle");
    fixture_close(&other);
    peer_close(&p);
}

Test(node_trust, any_flipped_bit_is_refused)
{
    struct peer p;
    struct kp_err err;
    kp_auto(kp_bundle) bundle = NULL;
    peer_open(&p, false);
    cr_assert_eq(kp_bundle_open(&bundle, p.fixture.bundle, p.fixture.trust, NULL, &err), 0);
    struct kp_slice manifest = kp_bundle_manifest_bytes(bundle),
                    block = kp_bundle_signature_block(bundle);
    kp_auto_free char *copy = kp_strndup(manifest.ptr, manifest.len),
                      *signatures = kp_strndup(block.ptr, block.len);
    for (size_t i = 0; i < manifest.len; i += manifest.len / 50 + 1) {
        copy[i] = (char)(copy[i] ^ 1);
        kp_auto_json answer =
            peer_bundle(&p, (struct kp_slice){copy, manifest.len}, block, p.fixture.trust);
        cr_assert_str_eq(peer_reason(answer), "bad_signature");
        copy[i] = (char)(copy[i] ^ 1);
    }
    for (size_t i = 0; i < block.len; i += 997) {
        signatures[i] = (char)(signatures[i] ^ 1);
        kp_auto_json answer =
            peer_bundle(&p, manifest, (struct kp_slice){signatures, block.len}, p.fixture.trust);
        cr_assert(json_object_get(answer, "error") != NULL, "%zu", i);
        signatures[i] = (char)(signatures[i] ^ 1);
    }
    cr_assert_str_eq(change_something(&p, "x"), "no_bundle");
    peer_close(&p);
}

Test(node_trust, an_older_serial_may_not_change_anything)
{
    struct peer p;
    peer_open(&p, true);
    cr_assert_str_eq(change_something(&p, "x"), "");
    kp_auto_free char *path = peer_path(&p, "/var/lib/kpack/bundles.json");
    kp_auto_free char *text = kp_asprintf("{\"%s\": %llu}", p.fixture.manifest->name,
                                          (unsigned long long)p.fixture.manifest->serial + 1);
    cr_assert_eq(kp_file_write_atomic(path, kp_slice_of(text), 0600, NULL), 0);
    peer_again(&p);
    json_decref(peer_hand_over(&p));
    cr_assert_str_eq(change_something(&p, "y"), "rollback");
    peer_close(&p);
}

static json_t *fetch(struct peer *p, const char *blob, const char *target)
{
    return peer_call(p, json_pack("{s:s, s:s, s:s}", "op", "fetch", "blob", blob, "target", target),
                     (struct kp_slice){0});
}

Test(node_trust, only_signed_files_are_placed)
{
    struct peer p;
    peer_open(&p, true);
    const struct kp_file *file = &p.fixture.manifest->files[0];
    struct kp_digest_text blob = kp_digest_hex(&file->blob);
    kp_auto_json elsewhere = fetch(&p, blob.hex, "/etc/shadow");
    kp_auto_json unknown =
        fetch(&p, "0000000000000000000000000000000000000000000000000000000000000000", file->target);
    kp_auto_json nonsense = fetch(&p, "zz", file->target);
    cr_assert_str_eq(peer_reason(elsewhere), "not_listed");
    cr_assert_str_eq(peer_reason(unknown), "not_listed");
    cr_assert_str_eq(peer_reason(nonsense), "bad_request");
    // The fixture's blob is no zstd frame: whatever comes must be found out, and nothing placed.
    static const size_t sizes[] = {0, 1, 1000};
    for (size_t i = 0; i < KP_COUNT(sizes); i++) {
        kp_free(p.stream);
        p.stream = fixture_bytes(sizes[i], 50);
        p.stream_len = sizes[i];
        kp_auto_json wrong = fetch(&p, blob.hex, file->target);
        cr_assert(json_object_get(wrong, "error") != NULL);
    }
    kp_auto_free char *target = peer_path(&p, file->target), *folder = kp_path_dir(target);
    cr_assert(!kp_file_exists(target));
    cr_assert_eq(rmdir(folder), 0, "a temporary file was left in %s", folder);
    peer_close(&p);
}

/* The fixture's bundle with terms beside it; takes terms. */
static json_t *hand_over_with(struct peer *p, const struct fixture *f, json_t *terms)
{
    kp_auto(kp_bundle) bundle = NULL;
    kp_auto_value(kp_buf) data = KP_BUF(KP_MANIFEST_MAX);
    json_t *list = json_array();
    cr_assert_eq(kp_bundle_open(&bundle, f->bundle, f->trust, NULL, NULL), 0);
    struct kp_slice manifest = kp_bundle_manifest_bytes(bundle),
                    block = kp_bundle_signature_block(bundle);
    kp_buf_add(&data, manifest.ptr, manifest.len);
    kp_buf_add(&data, block.ptr, block.len);
    kp_auto_free char *pem = kp_trust_pem(f->trust, 0);
    json_array_append_new(list, json_pack("{s:s, s:s}", "name", "test", "pem", pem));
    json_t *request = json_pack("{s:s, s:I, s:o}", "op", "bundle", "manifest",
                                (json_int_t)manifest.len, "trust", list);
    json_object_update(request, terms);
    json_decref(terms);
    return peer_call(p, request, kp_buf_slice(&data));
}

Test(node_trust, what_the_site_says_is_revoked_stays_revoked_on_the_node)
{
    struct peer p;
    kp_auto(kp_revoked) set = kp_revoked_new();
    peer_open(&p, true);
    cr_assert_str_eq(change_something(&p, "x"), "");
    kp_auto(kp_bundle) bundle = NULL;
    cr_assert_eq(kp_bundle_open(&bundle, p.fixture.bundle, p.fixture.trust, NULL, NULL), 0);
    // Some other bundle: kept by the first change.
    struct kp_digest other = kp_bundle_manifest(bundle)->id;
    other.bytes[0] ^= 1;
    cr_assert_eq(kp_revoked_add(set, KP_REVOKED_BUNDLE, &other, "bad", NULL), 0);
    peer_again(&p);
    kp_auto_json first =
        hand_over_with(&p, &p.fixture, json_pack("{s:o}", "revoked", kp_revoked_json(set)));
    cr_assert_str_eq(peer_reason(first), "");
    cr_assert_str_eq(change_something(&p, "y"), "");
    kp_auto_free char *kept = peer_read(&p, "/etc/kpack/trusted.d/revoked.json");
    cr_assert_not_null(kept);
    cr_assert_not_null(strstr(kept, kp_digest_hex(&other).hex));
    // This very bundle: refused from now on, whatever the admin host forgets, trust or no trust.
    kp_auto_free char *folder = peer_path(&p, "/etc/kpack/trusted.d");
    const struct kp_digest *id = &kp_bundle_manifest(bundle)->id;
    cr_assert_eq(kp_revoked_add(set, KP_REVOKED_BUNDLE, id, "bad", NULL), 0);
    cr_assert_eq(kp_revoked_keep(set, folder, NULL, NULL), 0);
    peer_again(&p);
    kp_auto_json second = peer_hand_over(&p);
    cr_assert_str_eq(peer_reason(second), "revoked");
    kp_auto_json third =
        hand_over_with(&p, &p.fixture, json_pack("{s:s}", "insecure", "unknown_key"));
    cr_assert_str_eq(peer_reason(third), "revoked");
    peer_close(&p);
}

Test(node_trust, going_back_needs_exactly_the_serial)
{
    struct peer p;
    peer_open(&p, true);
    json_int_t serial = (json_int_t)p.fixture.manifest->serial;
    cr_assert_str_eq(change_something(&p, "x"), "");
    kp_auto_free char *path = peer_path(&p, "/var/lib/kpack/bundles.json");
    kp_auto_free char *text =
        kp_asprintf("{\"%s\": %lld}", p.fixture.manifest->name, (long long)serial + 5);
    cr_assert_eq(kp_file_write_atomic(path, kp_slice_of(text), 0600, NULL), 0);
    peer_again(&p);
    json_decref(hand_over_with(&p, &p.fixture, json_pack("{s:I}", "allow_downgrade", serial + 1)));
    cr_assert_str_eq(change_something(&p, "y"), "rollback");
    peer_again(&p);
    json_decref(hand_over_with(&p, &p.fixture, json_pack("{s:I}", "allow_downgrade", serial)));
    cr_assert_str_eq(change_something(&p, "z"), "");
    kp_auto_free char *after = peer_read(&p, "/var/lib/kpack/bundles.json");
    kp_auto_free char *highest = kp_asprintf("%lld", (long long)serial + 5);
    cr_assert_not_null(strstr(after, highest), "the highest serial is never lowered");
    peer_close(&p);
}

Test(node_trust, a_run_without_trust_leaves_a_line_and_neither_keys_nor_serial)
{
    struct peer p;
    struct fixture other;
    peer_open(&p, true);
    cr_assert_str_eq(change_something(&p, "x"), "");
    fixture_open(&other);
    other.manifest->serial = p.fixture.manifest->serial + 1000000;
    kp_auto_free char *high = kp_asprintf("%llu", (unsigned long long)other.manifest->serial);
    fixture_write(&other);
    peer_again(&p);
    kp_auto_json refused = hand_over_with(&p, &other, json_object());
    cr_assert_str_eq(peer_reason(refused), "unknown_key");
    kp_auto_json taken =
        hand_over_with(&p, &other, json_pack("{s:s}", "insecure", "signed by nobody known"));
    cr_assert_str_eq(peer_reason(taken), "");
    cr_assert_str_eq(change_something(&p, "y"), "");
    kp_auto_free char *line = peer_read(&p, "/var/lib/kpack/insecure.jsonl");
    cr_assert_not_null(line);
    cr_assert_not_null(strstr(line, "signed by nobody known"));
    struct kp_digest_text id = kp_digest_hex(&kp_trust_at(other.trust, 0)->id);
    kp_auto_free char *key = kp_asprintf("/etc/kpack/trusted.d/%s.pub", id.hex),
                      *pem = peer_read(&p, key),
                      *serials = peer_read(&p, "/var/lib/kpack/bundles.json");
    cr_assert_null(pem);
    cr_assert_null(strstr(serials, high));
    fixture_close(&other);
    peer_close(&p);
}

static struct kp_document *make_list(const struct kp_trust_key *key, const struct kp_key *signer,
                                     const struct kp_key *second)
{
    struct kp_trust_key all = *key;
    all.roles = KP_KEY_SIGN | KP_KEY_REVOKE | KP_KEY_ROOT;
    struct kp_trust_list list = {.version = 1,
                                 .created = "2027-01-01T00:00:00Z",
                                 .thresholds = {1, 1, 1},
                                 .keys = &all,
                                 .key_count = 1};
    char *text = kp_trust_list_dump(&list);
    struct kp_document *document = kp_document_new(text, strlen(text));
    cr_assert_eq(kp_document_sign(document, signer, NULL), 0);
    cr_assert_eq(!second || kp_document_sign(document, second, NULL) == 0, true);
    return document;
}

Test(node_trust, a_list_comes_to_a_node_only_by_the_keys_that_it_has)
{
    struct peer p;
    struct fixture other;
    peer_open(&p, true);
    cr_assert_str_eq(change_something(&p, "x"), "");
    fixture_open(&other);
    fixture_write(&other);
    const struct kp_trust_key *key = kp_trust_at(other.trust, 0);
    kp_auto(kp_document) alone = make_list(key, other.key, NULL);
    kp_auto(kp_document) both = make_list(key, other.key, p.fixture.key);
    peer_again(&p);
    kp_auto_json refused =
        hand_over_with(&p, &other, json_pack("{s:[o]}", "lists", kp_document_json(alone)));
    cr_assert_str_eq(peer_reason(refused), "unknown_key");
    kp_auto_json taken =
        hand_over_with(&p, &other, json_pack("{s:[o]}", "lists", kp_document_json(both)));
    cr_assert_str_eq(peer_reason(taken), "");
    cr_assert_str_eq(change_something(&p, "y"), "");
    kp_auto_free char *kept = peer_read(&p, "/etc/kpack/trusted.d/trust.1.json");
    cr_assert_not_null(kept);
    // From here on the list decides: the key of the first contact counts no more.
    peer_again(&p);
    kp_auto_json old = peer_hand_over(&p);
    cr_assert_str_eq(peer_reason(old), "unknown_key");
    fixture_close(&other);
    peer_close(&p);
}
