/* SPDX-License-Identifier: Apache-2.0 */
/* Every bit of a bundle is covered: one flipped anywhere ends as 3 or 4 and names the entry. */
#include "bundle_fixture.h"

#include "bundle/layout.h"
#include "core/file.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct fixture f;
static uint64_t size;

static void setup(void)
{
    struct kp_err err = KP_ERR_INIT;
    struct kp_digest digest;
    fixture_open(&f);
    fixture_write(&f);
    cr_assert_eq(kp_sha256_file(f.bundle, &digest, &size, &err), 0);
}

static void teardown(void)
{
    fixture_close(&f);
}

TestSuite(bundle_damage, .init = setup, .fini = teardown, .timeout = 300);

static int check(struct kp_damage *damage, struct kp_err *err)
{
    kp_auto(kp_bundle) bundle = NULL;
    if (kp_bundle_open(&bundle, f.bundle, f.trust, NULL, err) < 0)
        return -1;
    return kp_bundle_verify(bundle, NULL, damage, err);
}

static void flip(uint64_t at, unsigned bit)
{
    kp_auto_fd int fd = open(f.bundle, O_RDWR);
    uint8_t byte;
    cr_assert_eq(pread(fd, &byte, 1, (off_t)at), 1);
    byte ^= (uint8_t)(1U << bit);
    cr_assert_eq(pwrite(fd, &byte, 1, (off_t)at), 1);
}

struct place {
    const char *entry; /* that lies there */
    uint64_t end;      /* of it, in the file */
};

/* Which entry a byte of the file belongs to, told independently of the reader. */
static struct place *make_places(const struct kp_bundle *bundle, size_t *count)
{
    const struct kp_manifest *m = kp_bundle_manifest(bundle);
    struct place *places = kp_alloc_array(m->entry_count + 3, sizeof(*places));
    size_t n = 0;
    uint64_t at = kp_layout_entry_size(kp_bundle_manifest_bytes(bundle).len);
    places[n++] = (struct place){"bundle.json", at};
    at += kp_layout_entry_size(KP_SIG_SIZE);
    places[n++] = (struct place){"bundle.sig", at};
    for (size_t i = 0; i < m->entry_count; i++) {
        at += kp_layout_entry_size(m->entries[i].size);
        places[n++] = (struct place){m->entries[i].path, at};
    }
    places[n++] = (struct place){"end of archive", size};
    *count = n;
    return places;
}

static const char *entry_at(const struct place *places, size_t n, uint64_t at)
{
    for (size_t i = 0; i < n; i++)
        if (at < places[i].end)
            return places[i].entry;
    return "nothing";
}

static void expect_refused(const struct place *places, size_t n, uint64_t at, unsigned bit)
{
    struct kp_err err = KP_ERR_INIT;
    struct kp_damage damage = {.path = ""};
    const char *entry = entry_at(places, n, at);
    flip(at, bit);
    int result = check(&damage, &err);
    flip(at, bit);
    cr_assert_eq(result, -1, "byte %llu bit %u of %s is not covered", (unsigned long long)at, bit,
                 entry);
    cr_expect(err.code == KP_UNTRUSTED || err.code == KP_DAMAGED, "byte %llu: code %d",
              (unsigned long long)at, (int)err.code);
    cr_expect(strstr(err.message, entry) != NULL, "byte %llu of %s: %s", (unsigned long long)at,
              entry, err.message);
    if (damage.path[0])
        cr_expect(damage.first <= at && at <= damage.last &&
                      damage.last - damage.first < KP_ENTRY_HEAD_MAX + KP_LEAF_STORED_MAX,
                  "byte %llu is not within %llu-%llu", (unsigned long long)at,
                  (unsigned long long)damage.first, (unsigned long long)damage.last);
}

Test(bundle_damage, random_bits_anywhere)
{
    kp_auto(kp_bundle) bundle = NULL;
    struct kp_err err = KP_ERR_INIT;
    size_t n;
    cr_assert_eq(kp_bundle_open(&bundle, f.bundle, f.trust, NULL, &err), 0, "%s", err.message);
    kp_auto_free struct place *places = make_places(bundle, &n);
    srandom(20261123);
    for (int i = 0; i < 300; i++)
        expect_refused(places, n, (uint64_t)random() % size, (unsigned)random() % 8);
}

/* The first, a middle and the last byte of each part of each entry, and every bit of some. */
Test(bundle_damage, headers_frames_signatures_padding_and_end)
{
    kp_auto(kp_bundle) bundle = NULL;
    struct kp_err err = KP_ERR_INIT;
    size_t n;
    cr_assert_eq(kp_bundle_open(&bundle, f.bundle, f.trust, NULL, &err), 0, "%s", err.message);
    kp_auto_free struct place *places = make_places(bundle, &n);
    uint64_t start = 0;
    for (size_t i = 0; i < n; i++) {
        static const unsigned inside[] = {0,   4,   5,   6,   13,  14,  16,  17,
                                          100, 117, 141, 165, 173, 274, 282, 300,
                                          528, 529, 533, 534, 542, 543, 546};
        for (size_t k = 0; k < KP_COUNT(inside); k++)
            if (start + inside[k] < places[i].end)
                expect_refused(places, n, start + inside[k], k % 8);
        expect_refused(places, n, places[i].end - 1, 0);
        start = places[i].end;
    }
}

Test(bundle_damage, every_bit_of_the_signature_line)
{
    kp_auto(kp_bundle) bundle = NULL;
    struct kp_err err = KP_ERR_INIT;
    size_t n;
    cr_assert_eq(kp_bundle_open(&bundle, f.bundle, f.trust, NULL, &err), 0, "%s", err.message);
    kp_auto_free struct place *places = make_places(bundle, &n);
    uint64_t at = places[0].end + KP_ENTRY_HEAD_MAX + KP_BLOCK_HEADER;
    for (uint64_t i = 0; i < 202; i++)
        for (unsigned bit = 0; bit < 8; bit++)
            expect_refused(places, n, at + i, bit);
}

Test(bundle_damage, cut_anywhere_is_refused)
{
    kp_auto_free char *whole = NULL;
    struct kp_err err = KP_ERR_INIT;
    size_t len;
    cr_assert_eq(kp_file_read(f.bundle, size, &whole, &len, &err), 0);
    for (uint64_t cut = 0; cut < size; cut += cut < 30000 ? 499 : 99991) {
        cr_assert_eq(truncate(f.bundle, (off_t)cut), 0);
        cr_expect_eq(check(NULL, &err), -1, "%llu bytes", (unsigned long long)cut);
        cr_expect(err.code == KP_DAMAGED, "%llu bytes: %s", (unsigned long long)cut, err.message);
        cr_assert_eq(kp_file_write_atomic(f.bundle, (struct kp_slice){whole, len}, 0600, &err), 0);
    }
}

Test(bundle_damage, bytes_after_the_end_are_refused)
{
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(truncate(f.bundle, (off_t)size + 512), 0);
    cr_expect_eq(check(NULL, &err), -1);
    cr_expect_eq(err.code, KP_DAMAGED);
    cr_expect_str_eq(err.reason, "trailing_data");
}

Test(bundle_damage, blob_is_named_as_people_call_it)
{
    kp_auto(kp_bundle) bundle = NULL;
    struct kp_err err = KP_ERR_INIT;
    size_t n, entry;
    cr_assert_eq(kp_bundle_open(&bundle, f.bundle, f.trust, NULL, &err), 0, "%s", err.message);
    kp_auto_free struct place *places = make_places(bundle, &n);
    const struct kp_manifest *m = kp_bundle_manifest(bundle);
    for (size_t i = 0; i < m->blob_count; i++) {
        struct kp_damage damage = {.path = ""};
        if (!m->blobs[i].size || !kp_bundle_find(bundle, &m->blobs[i].sha256, &entry, NULL))
            continue;
        uint64_t at = places[entry + 2].end - 600;
        flip(at, 3);
        cr_assert_eq(check(&damage, &err), -1);
        flip(at, 3);
        cr_expect_str_eq(damage.path, m->entries[entry].path);
        if (kp_digest_equal(&m->blobs[i].sha256, &m->files[0].blob))
            cr_expect_str_eq(damage.what, "kubelet v1.30.14, amd64");
        if (strstr(m->blobs[i].media_type, "vnd.oci.image.layer"))
            cr_expect_str_eq(damage.what, "registry.k8s.io/pause:3.9", "%s", damage.what);
    }
}

Test(bundle_damage, all_damage_is_counted_and_the_first_is_named)
{
    kp_auto(kp_bundle) bundle = NULL;
    struct kp_err err = KP_ERR_INIT;
    struct kp_damage damage;
    struct kp_verify_options options = {.all = true, .threads = 3};
    uint64_t places[] = {size - 2000, size / 2, size - 10};
    for (size_t i = 0; i < KP_COUNT(places); i++)
        flip(places[i], 0);
    cr_assert_eq(kp_bundle_open(&bundle, f.bundle, f.trust, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(kp_bundle_verify(bundle, &options, &damage, &err), -1);
    cr_expect(strstr(err.message, "3 damaged places") != NULL, "%s", err.message);
    cr_expect(damage.first <= size / 2 && size / 2 <= damage.last);
}

/* A signer's key in other hands: the manifest is signed, but says other things than the file has.
 */
Test(bundle_damage, manifest_that_fits_another_bundle_is_refused)
{
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *first = NULL, *second = NULL;
    size_t first_len, second_len;
    cr_assert_eq(kp_file_read(f.bundle, 1 << 30, &first, &first_len, &err), 0);
    kp_auto_free char *data = fixture_bytes(777, 999);
    fixture_blob(&f, data, 777, "application/octet-stream");
    fixture_write(&f);
    cr_assert_eq(kp_file_read(f.bundle, 1 << 30, &second, &second_len, &err), 0);
    // the front of the first before the rest of the second
    kp_auto(kp_bundle) bundle = NULL;
    cr_assert_eq(kp_bundle_open(&bundle, f.bundle, f.trust, NULL, &err), 0, "%s", err.message);
    kp_auto_free char *mixed = kp_alloc(first_len + second_len);
    size_t cut = kp_layout_entry_size(kp_bundle_manifest_bytes(bundle).len) +
                 kp_layout_entry_size(KP_SIG_SIZE);
    size_t first_cut = cut - (second_len - first_len - kp_layout_entry_size(777));
    memcpy(mixed, first, first_cut);
    memcpy(mixed + first_cut, second + cut, second_len - cut);
    cr_assert_eq(kp_file_write_atomic(
                     f.bundle, (struct kp_slice){mixed, first_cut + second_len - cut}, 0600, &err),
                 0);
    cr_expect_eq(check(NULL, &err), -1);
    cr_expect_eq(err.code, KP_DAMAGED, "%s", err.message);
}

/* A blob of several leaves, of which two are hashed at once: its head, each block's header, and
 * the first and last byte of each block's content. */
Test(bundle_damage, leaves_that_are_hashed_together)
{
    enum { LEN = 5 * 1048576 + 7 };
    kp_auto_free char *bytes = fixture_bytes(LEN, 99);
    kp_auto(kp_bundle) bundle = NULL;
    struct kp_err err = KP_ERR_INIT;
    struct kp_digest blob = fixture_blob(&f, bytes, LEN, "application/octet-stream");
    uint64_t at, blob_size, block = KP_BLOCK_HEADER + KP_BLOCK_MAX;
    size_t entry;
    fixture_write(&f);
    cr_assert_eq(kp_bundle_open(&bundle, f.bundle, f.trust, NULL, &err), 0, "%s", err.message);
    cr_assert(kp_bundle_find(bundle, &blob, &entry, &blob_size));
    cr_assert_eq(kp_bundle_verify(bundle, NULL, NULL, &err), 0, "%s", err.message);
    const struct kp_manifest *m = kp_bundle_manifest(bundle);
    at = kp_layout_entry_size(kp_bundle_manifest_bytes(bundle).len) +
         kp_layout_entry_size(KP_SIG_SIZE);
    for (size_t i = 0; i < entry; i++)
        at += kp_layout_entry_size(m->entries[i].size);
    for (uint64_t i = 0; i < kp_layout_blocks(LEN); i++) {
        uint64_t start = at + kp_layout_block_offset(i);
        uint64_t places[] = {start, start + 2, start + KP_BLOCK_HEADER, start + block - 1, at + 20};
        size_t n = i + 1 < kp_layout_blocks(LEN) ? KP_COUNT(places) : 3;
        for (size_t k = 0; k < n; k++) {
            struct kp_damage damage = {.first = 0};
            flip(places[k], (unsigned)(i % 8));
            cr_expect_eq(kp_bundle_verify(bundle, NULL, &damage, &err), -1, "block %d place %d",
                         (int)i, (int)k);
            cr_expect(damage.first <= places[k] && places[k] <= damage.last &&
                          damage.last - damage.first < KP_LEAF_SIZE + 2048,
                      "block %d place %d", (int)i, (int)k);
            flip(places[k], (unsigned)(i % 8));
        }
    }
    kp_bundle_free(kp_steal(&bundle));
    cr_assert_eq(kp_bundle_open(&bundle, f.bundle, f.trust, NULL, &err), 0, "%s", err.message);
    cr_expect_eq(kp_bundle_verify(bundle, NULL, NULL, &err), 0, "%s", err.message);
}
