/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle_fixture.h"

#include "bundle/layout.h"
#include "core/file.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static struct fixture f;

static void setup(void)
{
    fixture_open(&f);
}

static void teardown(void)
{
    fixture_close(&f);
}

TestSuite(bundle_sign, .init = setup, .fini = teardown, .timeout = 60);

static const char message_text[] = "{\"kind\":\"kpack.bundle/v1\"}";
#define MESSAGE ((struct kp_slice){message_text, sizeof(message_text) - 1})

static struct kp_key *make_key(const char *name)
{
    struct kp_key *key = NULL;
    struct kp_digest id;
    kp_auto_free char *path = kp_asprintf("%s/%s.key", f.dir, name);
    cr_assert_eq(kp_key_generate(f.dir, name, &id, NULL), 0);
    cr_assert_eq(kp_key_load(&key, path, NULL, NULL), 0);
    return key;
}

static void sign_with(struct kp_signature_set *set, const struct kp_key *key)
{
    struct kp_signature signature;
    cr_assert_eq(kp_sign(key, MESSAGE, &signature, NULL), 0);
    cr_assert_eq(kp_signature_add(set, &signature, NULL), 0);
}

Test(bundle_sign, format_is_the_inverse_of_parse)
{
    struct kp_signature_set set = {.count = 0}, again;
    char block[KP_SIG_SIZE];
    for (int i = 0; i < 5; i++) {
        kp_auto_free char *name = kp_asprintf("k%d", i);
        kp_auto(kp_key) key = make_key(name);
        sign_with(&set, key);
        sign_with(&set, key); // replaces
    }
    cr_assert_eq(set.count, 5);
    kp_signatures_format(&set, block);
    cr_assert_eq(kp_signatures_parse(&again, block, NULL), 0);
    cr_assert_eq(again.count, 5);
    cr_expect_eq(memcmp(again.items, set.items, 5 * sizeof(set.items[0])), 0);
}

Test(bundle_sign, block_takes_its_most_and_no_more)
{
    struct kp_signature_set set = {.count = 0}, again;
    char block[KP_SIG_SIZE];
    struct kp_signature signature = {.bytes = {0}};
    for (size_t i = 0; i <= KP_SIGNATURES_MAX; i++) {
        signature.key_id.bytes[31] = (uint8_t)i;
        cr_expect_eq(kp_signature_add(&set, &signature, NULL), i < KP_SIGNATURES_MAX ? 0 : -1);
    }
    kp_signatures_format(&set, block);
    cr_expect_eq(kp_signatures_parse(&again, block, NULL), 0);
    cr_expect_eq(again.count, KP_SIGNATURES_MAX);
}

#define LINE 202 /* "ed25519 " 64 " " 128 "\n" */

static void upper_case(char *block)
{
    for (char *p = block + 8; p < block + 72; p++)
        if (*p >= 'a' && *p <= 'f') {
            *p = (char)(*p - 32);
            return;
        }
}
static void other_scheme(char *block)
{
    memcpy(block, "rsa2048", 7);
}
static void crlf(char *block)
{
    block[LINE - 1] = '\r';
}
static void letter_in_padding(char *block)
{
    block[KP_SIG_SIZE - 1] = 'x';
}
static void line_feed_in_padding(char *block)
{
    block[KP_SIG_SIZE - 1] = '\n';
}
static void zero_padding(char *block)
{
    memset(block + 2 * LINE, 0, KP_SIG_SIZE - 2 * LINE);
}
static void swapped(char *block)
{
    char line[LINE];
    memcpy(line, block, LINE);
    memcpy(block, block + LINE, LINE);
    memcpy(block + LINE, line, LINE);
}
static void doubled(char *block)
{
    memcpy(block + LINE, block, LINE);
}
static void blank_first(char *block)
{
    memmove(block + 1, block, KP_SIG_SIZE - 1);
    block[0] = ' ';
}
static void comment(char *block)
{
    block[2 * LINE] = '#';
}
static void not_hex(char *block)
{
    block[100] = 'g';
}
static void tab(char *block)
{
    block[7] = '\t';
}
static void gap(char *block)
{
    memmove(block + LINE + 1, block + LINE, LINE);
    block[LINE] = ' ';
}

static const struct flaw {
    const char *flaw;
    void (*make)(char *block);
} flaws[] = {
    {"key id in upper case", upper_case},
    {"other scheme", other_scheme},
    {"line ends by CR", crlf},
    {"letter in the padding", letter_in_padding},
    {"line feed in the padding", line_feed_in_padding},
    {"zeros as padding", zero_padding},
    {"lines not sorted", swapped},
    {"line twice", doubled},
    {"blank before the first line", blank_first},
    {"comment", comment},
    {"not hexadecimal", not_hex},
    {"tab as separator", tab},
    {"blank between lines", gap},
};

Test(bundle_sign, each_flawed_block_is_refused_and_named)
{
    struct kp_signature_set set = {.count = 0}, parsed;
    char good[KP_SIG_SIZE], block[KP_SIG_SIZE];
    kp_auto(kp_key) other = make_key("other");
    sign_with(&set, f.key);
    sign_with(&set, other);
    kp_signatures_format(&set, good);
    cr_assert_eq(good[LINE - 1], '\n');
    for (size_t i = 0; i < KP_COUNT(flaws); i++) {
        struct kp_err err = KP_ERR_INIT;
        memcpy(block, good, sizeof(block));
        flaws[i].make(block);
        cr_assert_eq(kp_signatures_parse(&parsed, block, &err), -1, "%s", flaws[i].flaw);
        cr_expect_eq(err.code, KP_UNTRUSTED);
        cr_expect_str_eq(err.reason, "bad_signature_block");
        cr_expect(strstr(err.message, "bundle.sig:") != NULL, "%s", err.message);
    }
}

static const char *verify_reason(const struct kp_signature_set *set, const struct kp_trust *trust,
                                 struct kp_signers *signers)
{
    struct kp_err err = KP_ERR_INIT;
    if (kp_signatures_verify(set, trust, MESSAGE, signers, &err) == 0)
        return "ok";
    cr_expect_eq(err.code, KP_UNTRUSTED);
    return err.reason;
}

Test(bundle_sign, trusted_unknown_none_and_empty_store)
{
    struct kp_signature_set set = {.count = 0};
    struct kp_signers signers;
    kp_auto(kp_trust) empty = kp_trust_new();
    kp_auto(kp_key) other = make_key("other");
    cr_expect_str_eq(verify_reason(&set, f.trust, NULL), "unsigned");
    sign_with(&set, other);
    cr_expect_str_eq(verify_reason(&set, f.trust, NULL), "unknown_key");
    cr_expect_str_eq(verify_reason(&set, empty, NULL), "no_trusted_keys");
    sign_with(&set, f.key);
    cr_expect_str_eq(verify_reason(&set, f.trust, &signers), "ok");
    cr_expect_eq(signers.count, 2);
    cr_expect_eq(signers.valid, 1);
    for (size_t i = 0; i < 2; i++)
        cr_expect_eq(signers.items[i].state,
                     signers.items[i].name ? KP_SIG_VALID : KP_SIG_UNKNOWN_KEY);
}

Test(bundle_sign, invalid_signature_by_a_known_key_is_refused_where_another_is_valid)
{
    struct kp_signature_set set = {.count = 0};
    kp_auto(kp_key) other = make_key("other");
    kp_auto_free char *path = kp_path_join(f.dir, "other.pub");
    cr_assert_eq(kp_trust_add_file(f.trust, path, NULL), 0);
    sign_with(&set, f.key);
    sign_with(&set, other);
    cr_expect_str_eq(verify_reason(&set, f.trust, NULL), "ok");
    for (size_t i = 0; i < 2; i++) {
        set.items[i].bytes[5] ^= 0x10;
        cr_expect_str_eq(verify_reason(&set, f.trust, NULL), "bad_signature");
        set.items[i].bytes[5] ^= 0x10;
    }
}

Test(bundle_sign, changed_key_id_of_a_second_signature_does_not_pass_as_unknown)
{
    struct kp_signature_set set = {.count = 0};
    kp_auto(kp_key) other = make_key("other");
    kp_auto_free char *path = kp_path_join(f.dir, "other.pub");
    cr_assert_eq(kp_trust_add_file(f.trust, path, NULL), 0);
    sign_with(&set, f.key);
    sign_with(&set, other);
    set.items[1].key_id.bytes[9] ^= 1;
    cr_expect_str_eq(verify_reason(&set, f.trust, NULL), "bad_signature");
}

static int open_bundle(struct kp_trust *trust, struct kp_signers *signers, struct kp_err *err)
{
    kp_auto(kp_bundle) bundle = NULL;
    if (kp_bundle_open(&bundle, f.bundle, trust, signers, err) < 0)
        return -1;
    return kp_bundle_verify(bundle, NULL, NULL, err);
}

Test(bundle_sign, signing_in_place_adds_a_signature_and_keeps_the_id)
{
    struct kp_err err = KP_ERR_INIT;
    struct kp_signers signers;
    kp_auto(kp_key) other = make_key("other");
    kp_auto(kp_trust) both = kp_trust_new();
    kp_auto_free char *path = kp_path_join(f.dir, "other.pub");
    kp_auto_free char *beside = kp_asprintf("%s" KP_SIGN_SUFFIX, f.bundle);
    fixture_write(&f);
    cr_assert_eq(kp_trust_add_file(both, path, &err), 0);
    cr_expect_eq(open_bundle(both, NULL, &err), -1);
    cr_assert_eq(kp_bundle_sign_file(f.bundle, other, &err), 0, "%s", err.message);
    cr_assert_eq(open_bundle(both, &signers, &err), 0, "%s", err.message);
    cr_expect_eq(signers.count, 2);
    cr_assert_eq(open_bundle(f.trust, &signers, &err), 0, "%s", err.message);
    cr_assert_eq(kp_bundle_sign_file(f.bundle, other, &err), 0, "again: %s", err.message);
    cr_assert_eq(open_bundle(both, &signers, &err), 0, "%s", err.message);
    cr_expect_eq(signers.count, 2);
    cr_expect_not(kp_file_exists(beside));
}

/* The power fails while the block is written: half old, half new, and the new one beside. */
Test(bundle_sign, torn_block_is_hinted_at_and_finished_by_the_next_call)
{
    struct kp_err err = KP_ERR_INIT;
    struct kp_signers signers;
    char block[KP_SIG_SIZE];
    kp_auto(kp_bundle) bundle = NULL;
    kp_auto(kp_key) other = make_key("other");
    kp_auto_free char *beside = kp_asprintf("%s" KP_SIGN_SUFFIX, f.bundle);
    fixture_write(&f);
    cr_assert_eq(kp_bundle_open(&bundle, f.bundle, f.trust, NULL, &err), 0, "%s", err.message);
    struct kp_digest id = kp_bundle_manifest(bundle)->id;
    struct kp_slice text = kp_bundle_manifest_bytes(bundle);
    memcpy(block, kp_bundle_signature_block(bundle).ptr, KP_SIG_SIZE);
    kp_auto_free char *saved =
        kp_asprintf("%s\n%.*s", kp_digest_hex(&id).hex, (int)KP_SIG_SIZE, block);
    cr_assert_eq(kp_file_write_atomic(beside, kp_slice_of(saved), 0644, &err), 0);
    kp_auto_fd int fd = open(f.bundle, O_RDWR);
    uint64_t at = kp_layout_entry_size(text.len) + KP_ENTRY_HEAD_MAX + KP_BLOCK_HEADER;
    cr_assert_eq(pwrite(fd, "torn torn torn", 14, (off_t)at + 50), 14);
    cr_expect_eq(open_bundle(f.trust, NULL, &err), -1);
    cr_expect(strstr(err.hint, "kpack sign") != NULL, "%s", err.hint);
    cr_assert_eq(kp_bundle_sign_file(f.bundle, other, &err), 0, "%s", err.message);
    cr_assert_eq(open_bundle(f.trust, &signers, &err), 0, "%s", err.message);
    cr_expect_eq(signers.count, 2);
    cr_expect_not(kp_file_exists(beside));
}

Test(bundle_sign, block_left_beside_by_another_bundle_is_not_used)
{
    struct kp_err err = KP_ERR_INIT;
    struct kp_signers signers;
    char block[KP_SIG_SIZE];
    struct kp_signature_set none = {.count = 0};
    struct kp_digest id;
    kp_auto(kp_key) other = make_key("other");
    kp_auto_free char *beside = kp_asprintf("%s" KP_SIGN_SUFFIX, f.bundle);
    fixture_write(&f);
    kp_sha256("other", 5, &id);
    kp_signatures_format(&none, block);
    kp_auto_free char *saved =
        kp_asprintf("%s\n%.*s", kp_digest_hex(&id).hex, (int)KP_SIG_SIZE, block);
    cr_assert_eq(kp_file_write_atomic(beside, kp_slice_of(saved), 0644, &err), 0);
    cr_assert_eq(kp_bundle_sign_file(f.bundle, other, &err), 0, "%s", err.message);
    cr_assert_eq(open_bundle(f.trust, &signers, &err), 0, "%s", err.message);
    cr_expect_eq(signers.count, 2, "the first signature is still there");
}

Test(bundle_sign, what_is_no_bundle_is_not_signed_or_changed)
{
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *path = kp_path_join(f.dir, "junk");
    kp_auto_free char *junk = fixture_bytes(100000, 3);
    kp_auto_free char *after = NULL;
    size_t len;
    cr_assert_eq(kp_file_write_atomic(path, (struct kp_slice){junk, 100000}, 0600, &err), 0);
    cr_expect_eq(kp_bundle_sign_file(path, f.key, &err), -1);
    cr_expect_eq(err.code, KP_DAMAGED);
    cr_assert_eq(kp_file_read(path, 100001, &after, &len, &err), 0);
    cr_expect_eq(memcmp(after, junk, 100000), 0);
}
