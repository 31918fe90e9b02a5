/* SPDX-License-Identifier: Apache-2.0 */
#include "node_peer.h"

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
