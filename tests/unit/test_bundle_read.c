/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle_fixture.h"

#include "core/file.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static struct fixture f;
static struct kp_bundle *bundle;

static void setup(void)
{
    struct kp_err err = KP_ERR_INIT;
    fixture_open(&f);
    fixture_write(&f);
    cr_assert_eq(kp_bundle_open(&bundle, f.bundle, f.trust, NULL, &err), 0, "%s", err.message);
}

static void teardown(void)
{
    kp_bundle_free(bundle);
    fixture_close(&f);
}

TestSuite(bundle_read, .init = setup, .fini = teardown, .timeout = 60);

Test(bundle_read, any_range_of_a_blob_reads_as_its_source)
{
    static const struct {
        uint64_t offset;
        size_t len;
    } ranges[] = {{0, 0},           {0, 1},       {0, 131072},      {131071, 2},  {131072, 1},
                  {1, 1000000},     {1048575, 2}, {2097152, 12345}, {2109496, 1}, {2109497, 0},
                  {262144, 262144}, {0, 2109497}, {100000, 500000}};
    size_t len = 2 * KP_LEAF_SIZE + 12345;
    kp_auto_free char *source = fixture_bytes(len, 7);
    kp_auto_free char *out = kp_alloc(len);
    struct kp_err err = KP_ERR_INIT;
    const struct kp_file *file = kp_manifest_file(kp_bundle_manifest(bundle), "kubelet", "amd64");
    for (size_t i = 0; i < KP_COUNT(ranges); i++) {
        memset(out, 0xEE, len);
        cr_assert_eq(
            kp_bundle_read(bundle, &file->blob, ranges[i].offset, out, ranges[i].len, &err), 0,
            "%s", err.message);
        cr_expect_eq(memcmp(out, source + ranges[i].offset, ranges[i].len), 0, "range %zu", i);
    }
}

Test(bundle_read, long_read_goes_over_many_calls)
{
    size_t len = 9 << 20, seen = 0;
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *source = fixture_bytes(len, 55);
    kp_auto_free char *data = NULL;
    kp_auto(kp_bundle) large = NULL;
    struct kp_digest digest = fixture_blob(&f, source, len, "application/octet-stream");
    fixture_write(&f);
    cr_assert_eq(kp_bundle_open(&large, f.bundle, f.trust, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(kp_bundle_load(large, &digest, len, &data, &seen, &err), 0, "%s", err.message);
    cr_expect_eq(seen, len);
    cr_expect_eq(memcmp(data, source, len), 0);
}

Test(bundle_read, ranges_beyond_the_end_are_errors)
{
    struct kp_err err = KP_ERR_INIT;
    char byte;
    const struct kp_file *file = kp_manifest_file(kp_bundle_manifest(bundle), "kubelet", "amd64");
    cr_expect_eq(kp_bundle_read(bundle, &file->blob, file->blob_size, &byte, 1, &err), -1);
    cr_expect_eq(kp_bundle_read(bundle, &file->blob, UINT64_MAX, &byte, 1, &err), -1);
    cr_expect_eq(kp_bundle_read(bundle, &file->blob, 1, &byte, SIZE_MAX, &err), -1);
    cr_expect_eq(kp_bundle_read_entry(bundle, 9999, 0, &byte, 1, &err), -1);
}

Test(bundle_read, blob_that_is_not_there_is_missing)
{
    struct kp_err err = KP_ERR_INIT;
    struct kp_digest digest;
    char byte;
    kp_sha256("nobody", 6, &digest);
    cr_expect_not(kp_bundle_find(bundle, &digest, NULL, NULL));
    cr_expect_eq(kp_bundle_read(bundle, &digest, 0, &byte, 1, &err), -1);
    cr_expect_eq(err.code, KP_MISSING);
    // index.json is an entry, but no blob
    cr_expect_not(
        kp_bundle_find(bundle, &kp_bundle_manifest(bundle)->entries[2].sha256, NULL, NULL));
}

Test(bundle_read, load_is_bounded)
{
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *data = NULL;
    const struct kp_file *file = kp_manifest_file(kp_bundle_manifest(bundle), "kubelet", "amd64");
    cr_expect_eq(kp_bundle_load(bundle, &file->blob, 1000, &data, NULL, &err), -1);
    cr_expect_str_eq(err.reason, "too_large");
}

Test(bundle_read, accepted_id_opens_without_trust_and_another_does_not)
{
    kp_auto(kp_bundle) again = NULL;
    struct kp_err err = KP_ERR_INIT;
    struct kp_digest id = kp_bundle_manifest(bundle)->id;
    cr_expect_eq(kp_bundle_open_id(&again, f.bundle, &id, &err), 0, "%s", err.message);
    id.bytes[0] ^= 1;
    kp_auto(kp_bundle) other = NULL;
    cr_expect_eq(kp_bundle_open_id(&other, f.bundle, &id, &err), -1);
    cr_expect_eq(err.code, KP_UNTRUSTED);
    cr_expect_str_eq(err.reason, "wrong_id");
}

Test(bundle_read, what_is_no_file_is_said)
{
    static const struct {
        const char *path;
        enum kp_code code;
    } cases[] = {{"/nonexistent.tar.zst", KP_MISSING}, {"/tmp", KP_USAGE}, {"/dev/zero", KP_USAGE}};
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        kp_auto(kp_bundle) other = NULL;
        struct kp_err err = KP_ERR_INIT;
        cr_expect_eq(kp_bundle_open(&other, cases[i].path, f.trust, NULL, &err), -1);
        cr_expect_eq(err.code, cases[i].code, "%s: %s", cases[i].path, err.message);
        cr_expect(strstr(err.message, cases[i].path) != NULL, "%s", err.message);
    }
}

Test(bundle_read, file_that_grows_or_shrinks_after_open_is_noticed)
{
    static const int changes[] = {1, -1};
    for (size_t i = 0; i < KP_COUNT(changes); i++) {
        struct kp_err err = KP_ERR_INIT;
        cr_assert_eq(truncate(f.bundle, (off_t)kp_bundle_size(bundle) + changes[i]), 0);
        cr_expect_eq(kp_bundle_verify(bundle, NULL, NULL, &err), -1);
        cr_expect_eq(err.code, KP_DAMAGED, "%s", err.message);
    }
}

/* A bundle made by the first version of the format: readers of all later ones must take it. */
Test(bundle_read, golden_bundle_of_version_1_is_read)
{
    kp_auto(kp_bundle) golden = NULL;
    kp_auto(kp_trust) trust = kp_trust_new();
    struct kp_err err = KP_ERR_INIT;
    struct kp_signers signers;
    cr_assert_eq(kp_trust_add_file(trust, KP_TEST_DATA "/bundle/golden.pub", &err), 0, "%s",
                 err.message);
    cr_assert_eq(
        kp_bundle_open(&golden, KP_TEST_DATA "/bundle/golden.tar.zst", trust, &signers, &err), 0,
        "%s", err.message);
    cr_expect_eq(kp_bundle_verify(golden, NULL, NULL, &err), 0, "%s", err.message);
    const struct kp_manifest *m = kp_bundle_manifest(golden);
    cr_expect_str_eq(kp_digest_hex(&m->id).hex,
                     "363a2c6d96a8d5b2a65b156b250ba16046bdbb22eb8192f731d4a9c4095e78cd");
    cr_expect_str_eq(signers.items[0].name, "golden");
    cr_expect_str_eq(m->expires, "2030-01-01T00:00:00Z");
    cr_assert_not_null(m->provenance);
}

/* What a site keeps of a bundle: signatures and manifest, checked as ever; no contents. */
Test(bundle_read, the_front_alone_tells_what_is_in_it)
{
    kp_auto_free char *whole = NULL, *path = kp_path_join(f.dir, "x.front");
    kp_auto(kp_bundle) front = NULL;
    kp_auto(kp_bundle) refused = NULL;
    kp_auto(kp_trust) nobody = kp_trust_new();
    struct kp_err err = KP_ERR_INIT;
    const struct kp_file *file = kp_manifest_file(kp_bundle_manifest(bundle), "kubelet", "amd64");
    char byte;
    size_t len;
    cr_assert_eq(kp_bundle_keep_front(bundle, path, &err), 0, "%s", err.message);
    cr_assert_eq(kp_file_read(path, 64 << 20, &whole, &len, &err), 0);
    cr_assert_lt(len, kp_bundle_size(bundle));
    cr_assert_eq(kp_bundle_open_front(&front, path, f.trust, &err), 0, "%s", err.message);
    cr_expect(kp_digest_equal(&kp_bundle_manifest(front)->id, &kp_bundle_manifest(bundle)->id));
    cr_expect_eq(kp_bundle_size(front), kp_bundle_size(bundle));
    cr_expect_eq(kp_bundle_read(front, &file->blob, 0, &byte, 1, &err), -1, "no content is there");
    cr_expect_eq(kp_bundle_open_front(&refused, path, nobody, &err), -1, "nobody trusts its keys");
    whole[600] ^= 1;
    cr_assert_eq(kp_file_write_atomic(path, (struct kp_slice){whole, len}, 0600, &err), 0);
    cr_expect_eq(kp_bundle_open_front(&refused, path, f.trust, &err), -1, "one bit of it");
    cr_expect_eq(kp_bundle_open(&refused, path, f.trust, NULL, &err), -1, "it is no bundle");
}
