/* SPDX-License-Identifier: Apache-2.0 */
/* A delta with its base: read as one, and every way in which the two do not fit. */
#include "bundle_fixture.h"

#include "bundle/receipt.h"
#include "bundle/set.h"
#include "core/file.h"

#include <criterion/criterion.h>

static struct fixture f;
static struct kp_base base;
static char *delta;
static const char *added = "new";     /* the content that only the delta has */
static struct kp_digest moved, fresh; /* a blob of the base; one that only the delta has */

static void setup(void)
{
    added = "new";
    fixture_open(&f);
    fixture_write(&f);
    delta = kp_path_join(f.dir, "delta.tar.zst");
    kp_auto(kp_bundle) opened = NULL;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_bundle_open(&opened, f.bundle, f.trust, NULL, &err), 0, "%s", err.message);
    const struct kp_manifest *m = kp_bundle_manifest(opened);
    base = (struct kp_base){m->id, kp_arena_strdup(f.manifest->arena, m->name), m->serial};
    moved = f.manifest->files[0].blob;
}

static void teardown(void)
{
    kp_free(delta);
    fixture_close(&f);
}

TestSuite(bundle_set, .init = setup, .fini = teardown);

/* Every blob of the base is left out, one more is carried. */
static void write_delta(const struct kp_base *bases, size_t count)
{
    static const struct kp_bundle_written none;
    struct kp_bundle_written written = none;
    struct kp_err err = KP_ERR_INIT;
    f.manifest->bases = (struct kp_base *)bases;
    f.manifest->base_count = count;
    f.manifest->serial++;
    for (size_t i = 0; i < f.manifest->blob_count; i++)
        f.manifest->blobs[i].base = &bases[i % count].id;
    fresh = fixture_blob(&f, added, strlen(added), "application/octet-stream");
    const struct kp_key *const keys[] = {f.key};
    struct kp_bundle_writing writing = fixture_writing(&f, keys);
    cr_assert_eq(kp_bundle_write(&writing, delta, &written, &err), 0, "%s", err.message);
}

static struct kp_bundle *open_delta(void)
{
    struct kp_bundle *out = NULL;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_bundle_open(&out, delta, f.trust, NULL, &err), 0, "%s", err.message);
    return out;
}

static void expect_base(struct kp_bundle *bundle, const char *path, enum kp_code code,
                        const char *reason, const char *word)
{
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_bundle_open_base(bundle, path, &err), -1);
    cr_expect_eq(err.code, code, "%s", err.message);
    cr_expect_str_eq(err.reason, reason, "%s", err.message);
    cr_expect(strstr(err.message, word) || strstr(err.hint, word), "%s / %s", err.message,
              err.hint);
}

Test(bundle_set, delta_alone_is_whole_and_names_what_it_needs)
{
    struct kp_err err = KP_ERR_INIT;
    const struct kp_base *missing[KP_BASES_MAX];
    write_delta(&base, 1);
    kp_auto(kp_bundle) bundle = open_delta();
    cr_assert_eq(kp_bundle_verify(bundle, NULL, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(kp_bundle_missing(bundle, missing), 1);
    cr_expect(kp_digest_equal(&missing[0]->id, &base.id));
    cr_assert_eq(kp_bundle_need_bases(bundle, &err), -1);
    cr_expect_eq(err.code, KP_MISSING);
    cr_expect_str_eq(err.reason, "missing_base");
    cr_expect(strstr(err.message, "k8s-v1.30.14-flannel-amd64 serial 1764000000 (id "), "%s",
              err.message);
    cr_expect_null(kp_bundle_base(bundle, 0));
    cr_expect_null(kp_bundle_base(bundle, 1));
}

Test(bundle_set, base_and_delta_read_as_one)
{
    struct kp_err err = KP_ERR_INIT;
    const struct kp_bundle *holder;
    uint64_t size;
    size_t entry;
    char byte, wanted;
    write_delta(&base, 1);
    kp_auto(kp_bundle) bundle = open_delta();
    cr_expect_not(kp_bundle_locate(bundle, &moved, &holder, &entry, &size));
    cr_assert_eq(kp_bundle_open_base(bundle, f.bundle, &err), 0, "%s", err.message);
    cr_assert_eq(kp_bundle_need_bases(bundle, &err), 0, "%s", err.message);
    cr_assert(kp_bundle_locate(bundle, &moved, &holder, &entry, &size));
    cr_expect_eq(holder, kp_bundle_base(bundle, 0));
    cr_expect_eq(size, f.manifest->files[0].blob_size);
    cr_assert_eq(kp_bundle_read(bundle, &moved, 5, &byte, 1, &err), 0, "%s", err.message);
    cr_assert_eq(kp_bundle_read(holder, &moved, 5, &wanted, 1, &err), 0, "%s", err.message);
    cr_expect_eq(byte, wanted);
    cr_assert(kp_bundle_locate(bundle, &fresh, &holder, &entry, &size));
    cr_expect_eq(holder, bundle);
    for (size_t i = 0; i < f.manifest->blob_count; i++) {
        kp_auto_free char *data = NULL;
        cr_expect_eq(
            kp_bundle_load(bundle, &f.manifest->blobs[i].sha256, 64 << 20, &data, NULL, &err), 0,
            "%s", err.message);
    }
}

Test(bundle_set, a_key_that_is_no_longer_trusted_may_have_signed_the_base)
{
    struct kp_err err = KP_ERR_INIT;
    write_delta(&base, 1);
    kp_auto(kp_bundle) bundle = open_delta();
    // the id alone decides: the base's signatures are wiped
    kp_auto_free char *data = NULL;
    size_t len;
    cr_assert_eq(kp_file_read(f.bundle, 64 << 20, &data, &len, &err), 0);
    char *line = memmem(data, len, "ed25519 ", 8);
    cr_assert_not_null(line);
    memset(line, ' ', strcspn(line, "\n") + 1);
    cr_assert_eq(kp_file_write_atomic(f.bundle, (struct kp_slice){data, len}, 0644, &err), 0);
    cr_expect_eq(kp_bundle_open_base(bundle, f.bundle, &err), 0, "%s", err.message);
}

Test(bundle_set, another_bundle_is_not_a_base)
{
    write_delta(&base, 1);
    kp_auto(kp_bundle) bundle = open_delta();
    expect_base(bundle, delta, KP_MISSING, "wrong_base", "serial 1764000000");
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_bundle_open_base(bundle, f.bundle, &err), 0, "%s", err.message);
    expect_base(bundle, f.bundle, KP_MISSING, "wrong_base", "any more");
    kp_auto(kp_bundle) whole = NULL;
    cr_assert_eq(kp_bundle_open(&whole, f.bundle, f.trust, NULL, &err), 0, "%s", err.message);
    expect_base(whole, delta, KP_MISSING, "wrong_base", "needs no other bundle");
}

Test(bundle_set, one_byte_of_the_bases_manifest)
{
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *data = NULL;
    size_t len;
    write_delta(&base, 1);
    kp_auto(kp_bundle) bundle = open_delta();
    cr_assert_eq(kp_file_read(f.bundle, 64 << 20, &data, &len, &err), 0);
    char *at = memmem(data, len, "v1.30.14", 8);
    at[7] = '5';
    cr_assert_eq(kp_file_write_atomic(f.bundle, (struct kp_slice){data, len}, 0644, &err), 0);
    expect_base(bundle, f.bundle, KP_MISSING, "wrong_base", "it needs");
}

Test(bundle_set, base_of_another_name_or_serial)
{
    struct kp_base named = base;
    named.serial = 5;
    write_delta(&named, 1);
    kp_auto(kp_bundle) bundle = open_delta();
    expect_base(bundle, f.bundle, KP_DAMAGED, "bad_base", "serial 5");
}

Test(bundle_set, base_that_lacks_a_blob)
{
    write_delta(&base, 1);
    kp_auto(kp_bundle) first = open_delta();
    const struct kp_manifest *m = kp_bundle_manifest(first);
    // a second delta that expects everything in the first, which holds only "new"
    struct kp_base second = {m->id, kp_arena_strdup(f.manifest->arena, m->name), m->serial};
    kp_auto_free char *where = kp_strdup(delta);
    kp_free(delta);
    delta = kp_path_join(f.dir, "second.tar.zst");
    added = "newer";
    write_delta(&second, 1);
    kp_auto(kp_bundle) bundle = open_delta();
    expect_base(bundle, where, KP_MISSING, "base_lacks_blob", "does not hold blob");
}

Test(bundle_set, several_bases_are_all_needed)
{
    struct kp_err err = KP_ERR_INIT;
    struct kp_base two[] = {base, base};
    kp_sha256("other", 5, &two[1].id);
    write_delta(two, 2);
    kp_auto(kp_bundle) bundle = open_delta();
    const char *const paths[] = {f.bundle};
    cr_assert_eq(kp_bundle_open_bases(bundle, paths, 1, &err), 0, "%s", err.message);
    cr_assert_eq(kp_bundle_need_bases(bundle, &err), -1);
    cr_expect(strstr(err.message, kp_base_text(&two[1]).s), "%s", err.message);
    cr_expect_not(strstr(err.message, kp_base_text(&two[0]).s), "%s", err.message);
}

Test(bundle_set, damage_in_the_base_is_found_when_a_blob_is_taken)
{
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *data = NULL, *blob = NULL;
    size_t len;
    write_delta(&base, 1);
    cr_assert_eq(kp_file_read(f.bundle, 64 << 20, &data, &len, &err), 0);
    kp_auto_free char *content = fixture_bytes(2 * KP_LEAF_SIZE + 12345, 7);
    char *at = memmem(data, len, content, 64);
    cr_assert_not_null(at);
    at[3] ^= 1;
    cr_assert_eq(kp_file_write_atomic(f.bundle, (struct kp_slice){data, len}, 0644, &err), 0);
    kp_auto(kp_bundle) bundle = open_delta();
    cr_assert_eq(kp_bundle_open_base(bundle, f.bundle, &err), 0, "%s", err.message);
    cr_assert_eq(kp_bundle_load(bundle, &moved, 64 << 20, &blob, NULL, &err), -1);
    cr_expect_eq(err.code, KP_DAMAGED);
    cr_assert_eq(kp_bundle_verify(kp_bundle_base(bundle, 0), NULL, NULL, &err), -1);
    cr_expect_eq(err.code, KP_DAMAGED);
}

/* --- the receipt --- */

static struct kp_receipt *make_receipt(void)
{
    struct kp_err err = KP_ERR_INIT;
    struct kp_receipt *receipt = kp_receipt_new();
    write_delta(&base, 1);
    kp_auto(kp_bundle) whole = NULL;
    kp_auto(kp_bundle) bundle = open_delta();
    cr_assert_eq(kp_bundle_open(&whole, f.bundle, f.trust, NULL, &err), 0, "%s", err.message);
    receipt->cluster = "demo";
    receipt->created = "2026-11-23T21:00:00Z";
    cr_assert_eq(kp_receipt_add(receipt, kp_bundle_manifest(whole), 7, "cp1", &err), 0);
    cr_assert_eq(kp_receipt_add(receipt, kp_bundle_manifest(bundle), 8, "cp1", &err), 0);
    cr_assert_eq(kp_receipt_add(receipt, kp_bundle_manifest(whole), 7, "cp2", &err), 0);
    return receipt;
}

Test(bundle_receipt, says_what_lies_in_which_file, .init = setup, .fini = teardown)
{
    struct kp_err err = KP_ERR_INIT;
    kp_auto(kp_receipt) receipt = make_receipt();
    kp_auto(kp_receipt) read = NULL;
    kp_auto_free char *text = kp_receipt_dump(receipt);
    cr_assert_eq(kp_receipt_parse(&read, kp_slice_of(text), "r.json", &err), 0, "%s", err.message);
    cr_assert_eq(read->bundle_count, 2);
    const struct kp_receipt_bundle *bundle = &read->bundles[0], *whole = &read->bundles[1];
    cr_expect_eq(bundle->serial, whole->serial + 1);
    cr_expect_eq(bundle->blob_count, 1);
    cr_expect_eq(bundle->file_count, 0);
    cr_expect_null(kp_receipt_blob(bundle, &moved));
    cr_expect_not_null(kp_receipt_blob(whole, &moved));
    cr_expect_eq(whole->mirror_count, 2);
    cr_expect_eq(whole->file_count, 1);
    cr_expect_str_eq(whole->mirrors[1], "cp2");
    kp_auto_free char *again = kp_receipt_dump(read);
    cr_expect_str_eq(text, again);
}

static const struct {
    const char *flaw, *find, *replace, *word;
} receipts[] = {
    {"another kind", "kpack.receipt/v1", "kpack.receipt/v2", "kind"},
    {"unknown key", "\"cluster\"", "\"clutser\"", "cluster: is missing"},
    {"date", "2026-11-23T21:00:00Z", "yesterday", "created"},
    {"name with a slash", "\"cp2\"", "\"../2\"", "mirrors"},
    {"negative size", "\"size\": 7", "\"size\": -7", "size"},
    {"order of serials", "\"serial\": 1764000001", "\"serial\": 1763000000", "newest"},
    {"file in no blob", "\"blob\": \"", "\"blob\": \"0", "blob"},
};

Test(bundle_receipt, each_flaw_is_named, .init = setup, .fini = teardown)
{
    kp_auto(kp_receipt) receipt = make_receipt();
    kp_auto_free char *text = kp_receipt_dump(receipt);
    for (size_t i = 0; i < KP_COUNT(receipts); i++) {
        kp_auto(kp_receipt) read = NULL;
        struct kp_err err = KP_ERR_INIT;
        const char *at = strstr(text, receipts[i].find);
        cr_assert_not_null(at, "%s", receipts[i].flaw);
        kp_auto_free char *bad = kp_asprintf("%.*s%s%s", (int)(at - text), text,
                                             receipts[i].replace, at + strlen(receipts[i].find));
        cr_expect_eq(kp_receipt_parse(&read, kp_slice_of(bad), "r.json", &err), -1, "%s",
                     receipts[i].flaw);
        cr_expect_eq(err.code, KP_USAGE, "%s", receipts[i].flaw);
        cr_expect(strstr(err.message, receipts[i].word), "%s: %s", receipts[i].flaw, err.message);
    }
}
