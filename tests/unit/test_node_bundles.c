/* SPDX-License-Identifier: Apache-2.0 */
/* A delta and its base brought to a mirror; what knode says of the bundles that lie there. */
#include "node_peer.h"

#include "bundle/bundle.h"
#include "core/file.h"

#include <criterion/criterion.h>
#include <unistd.h>

#define FOLDER "/var/lib/kpack/bundles"

static struct peer p;
static char *base, *delta; /* the files' bytes */
static size_t base_len, delta_len;
static struct kp_digest base_id, delta_id;

static void load(const char *path, char **out, size_t *len, struct kp_digest *id)
{
    struct kp_err err = KP_ERR_INIT;
    kp_auto(kp_bundle) bundle = NULL;
    cr_assert_eq(kp_bundle_open(&bundle, path, p.fixture.trust, NULL, &err), 0, "%s", err.message);
    *id = kp_bundle_manifest(bundle)->id;
    cr_assert_eq(kp_file_read(path, (size_t)64 << 20, out, len, &err), 0);
}

/* The fixture's bundle is the base; then the same with one blob left out is handed over. */
static void setup(void)
{
    static struct kp_base listed;
    struct kp_err err = KP_ERR_INIT;
    peer_open(&p, false);
    struct fixture *f = &p.fixture;
    fixture_write(f);
    load(f->bundle, &base, &base_len, &base_id);
    listed = (struct kp_base){base_id, "k8s-v1.30.14-flannel-amd64", f->manifest->serial};
    f->manifest->serial++;
    f->manifest->bases = &listed;
    f->manifest->base_count = 1;
    f->manifest->blobs[0].base = &listed.id;
    fixture_write(f);
    load(f->bundle, &delta, &delta_len, &delta_id);
    kp_auto(kp_bundle) bundle = NULL;
    cr_assert_eq(kp_bundle_open(&bundle, f->bundle, f->trust, NULL, &err), 0);
    kp_auto_json answer = peer_bundle(&p, kp_bundle_manifest_bytes(bundle),
                                      kp_bundle_signature_block(bundle), f->trust);
    cr_assert_str_eq(peer_reason(answer), "");
}

static void teardown(void)
{
    kp_free(base);
    kp_free(delta);
    peer_close(&p);
}

TestSuite(node_bundles, .init = setup, .fini = teardown);

static json_t *receive(const struct kp_digest *id, const char *data, size_t len)
{
    struct kp_digest_text hex = kp_digest_hex(id);
    kp_auto_free char *path = kp_asprintf(FOLDER "/%s.tar.zst", hex.hex);
    p.stream = (char *)(uintptr_t)data;
    p.stream_len = len;
    json_t *answer = peer_call(&p,
                               json_pack("{s:s, s:s, s:s, s:I}", "op", "receive", "path", path,
                                         "id", hex.hex, "size", (json_int_t)len),
                               (struct kp_slice){NULL, 0});
    p.stream = NULL;
    return answer;
}

static void expect_reason(json_t *answer, const char *reason)
{
    cr_expect_str_eq(peer_reason(answer), reason);
    json_decref(answer);
}

static json_t *list(const struct kp_digest *id)
{
    json_t *request = json_pack("{s:s, s:s}", "op", "bundles", "folder", FOLDER);
    if (id)
        json_object_set_new(request, "id", json_string(kp_digest_hex(id).hex));
    return peer_call(&p, request, (struct kp_slice){NULL, 0});
}

static size_t count_bundles(void)
{
    kp_auto_json answer = list(NULL);
    return json_array_size(json_object_get(answer, "bundles"));
}

Test(node_bundles, delta_and_base_are_taken_and_listed)
{
    struct kp_digest seen;
    cr_expect_eq(count_bundles(), 0);
    expect_reason(receive(&base_id, base, base_len), "");
    expect_reason(receive(&delta_id, delta, delta_len), "");
    cr_expect_eq(count_bundles(), 2);
    kp_auto_json answer = list(&base_id);
    cr_assert_str_eq(peer_reason(answer), "");
    kp_sha256(p.data.data, p.data.len, &seen);
    cr_expect(kp_digest_equal(&seen, &base_id));
}

Test(node_bundles, no_key_is_asked_for_a_base_that_the_delta_names)
{
    char *line = memmem(base, base_len, "ed25519 ", 8);
    cr_assert_not_null(line);
    memset(line, ' ', strcspn(line, "\n") + 1);
    expect_reason(receive(&base_id, base, base_len), "");
}

Test(node_bundles, a_bundle_that_is_not_named_is_refused)
{
    struct kp_digest other;
    kp_sha256("other", 5, &other);
    expect_reason(receive(&other, base, base_len), "not_listed");
    cr_expect_eq(count_bundles(), 0);
}

Test(node_bundles, another_file_under_the_bases_name_is_refused)
{
    expect_reason(receive(&base_id, delta, delta_len), "wrong_id");
    cr_expect_eq(count_bundles(), 0);
}

Test(node_bundles, a_damaged_base_is_refused)
{
    base[base_len - base_len / 3] ^= 1;
    expect_reason(receive(&base_id, base, base_len), "damaged");
    cr_expect_eq(count_bundles(), 0);
}

Test(node_bundles, what_knode_did_not_verify_does_not_count)
{
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *folder = peer_path(&p, FOLDER);
    kp_auto_free char *path = kp_asprintf("%s/%s.tar.zst", folder, kp_digest_hex(&base_id).hex);
    cr_assert_eq(kp_mkdirs(folder, 0755, &err), 0);
    cr_assert_eq(kp_file_write_atomic(path, (struct kp_slice){base, base_len}, 0644, &err), 0);
    cr_expect_eq(count_bundles(), 0);
    expect_reason(list(&base_id), "missing_bundle");
}
