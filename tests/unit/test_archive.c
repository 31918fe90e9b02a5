/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/archive.h"

#include "core/buf.h"
#include "core/file.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static char folder[] = "/tmp/kp-archive-XXXXXX";
static struct kp_cache *cache;

static void make_folder(void)
{
    struct kp_err err = KP_ERR_INIT;
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(kp_cache_open(&cache, folder, &err), 0, "%s", err.message);
}

static void remove_folder(void)
{
    kp_cache_free(cache);
    (void)!kp_remove_tree(folder, NULL);
}
TestSuite(archive, .init = make_folder, .fini = remove_folder);

/* A ustar entry, written by hand so that nothing is made nicer than it is. */
static void add_entry(struct kp_buf *tar, const char *name, char type, const char *content)
{
    char header[512] = "";
    size_t len = strlen(content);
    unsigned sum = 0;
    snprintf(header, 100, "%s", name);
    memcpy(header + 100, "0000644", 8);
    memcpy(header + 108, "0000000", 8);
    memcpy(header + 116, "0000000", 8);
    snprintf(header + 124, 12, "%011o", (unsigned)(len % 01000000000));
    memcpy(header + 136, "00000000000", 12);
    memset(header + 148, ' ', 8);
    header[156] = type;
    if (type == '1' || type == '2')
        memcpy(header + 157, "target", 6);
    memcpy(header + 257, "ustar\00000", 8);
    for (size_t i = 0; i < sizeof(header); i++)
        sum += (unsigned char)header[i];
    snprintf(header + 148, 8, "%06o", sum);
    static const char zeros[1024];
    kp_buf_add(tar, header, sizeof(header));
    kp_buf_add(tar, content, len);
    kp_buf_add(tar, zeros, (512 - len % 512) % 512);
}

static struct kp_digest finish(struct kp_buf *tar)
{
    static const char zeros[1024];
    struct kp_digest digest;
    struct kp_err err = KP_ERR_INIT;
    kp_buf_add(tar, zeros, sizeof(zeros));
    cr_assert(!tar->overflow);
    cr_assert_eq(kp_cache_put(cache, kp_buf_slice(tar), &digest, &err), 0, "%s", err.message);
    return digest;
}

static int take(const struct kp_digest *archive, const char *name, struct kp_archive_member *out,
                struct kp_err *err)
{
    *out = (struct kp_archive_member){.name = name};
    return kp_archive_extract(cache, archive, "t.tar", out, 1, NULL, err);
}

Test(archive, members_in_one_pass)
{
    kp_auto_value(kp_buf) tar = KP_BUF(1 << 20);
    add_entry(&tar, "./", '5', "");
    add_entry(&tar, "./bin/a", '0', "first");
    add_entry(&tar, "bin//b", '0', "second");
    add_entry(&tar, "link", '2', "");
    struct kp_digest digest = finish(&tar);
    struct kp_archive_member members[] = {
        {.name = "bin/b"}, {.name = "./bin/a"}, {.name = "bin/b"}};
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_archive_extract(cache, &digest, "t.tar", members, 3, NULL, &err), 0, "%s",
                 err.message);
    kp_auto_free char *text = NULL;
    cr_assert_eq(kp_cache_read(cache, &members[0].digest, 100, &text, NULL, &err), 0);
    cr_assert_str_eq(text, "second");
    cr_assert_eq(members[1].size, 5);
    cr_assert(kp_digest_equal(&members[0].digest, &members[2].digest));
}

Test(archive, second_time_from_notes)
{
    kp_auto_value(kp_buf) tar = KP_BUF(1 << 20);
    add_entry(&tar, "a", '0', "first");
    struct kp_digest digest = finish(&tar);
    struct kp_archive_member one, two;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(take(&digest, "a", &one, &err), 0);
    kp_cache_drop(cache, &digest); // not needed any more
    cr_assert_eq(take(&digest, "a", &two, &err), 0, "%s", err.message);
    cr_assert(kp_digest_equal(&one.digest, &two.digest));
    kp_cache_drop(cache, &one.digest);
    cr_assert_eq(take(&digest, "a", &two, &err), -1);
    cr_assert_eq(err.code, KP_MISSING);
}

Test(archive, refused)
{
    static const struct {
        const char *name;
        char type;
        const char *reason, *text;
    } table[] = {
        {"a", '1', "bad_archive", "is a link"},      {"a", '2', "bad_archive", "is a link"},
        {"a", '3', "bad_archive", "device"},         {"a", '5', "bad_archive", "folder"},
        {"a", '6', "bad_archive", "device"},         {"../a", '0', "bad_archive", "'..'"},
        {"x/../../a", '0', "bad_archive", "'..'"},   {"..", '5', "bad_archive", "'..'"},
        {"/a", '0', "bad_archive", "absolute"},      {"a\nb", '0', "bad_archive", "not plain"},
        {"b", '0', "missing_member", "no member a"},
    };
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        kp_auto_value(kp_buf) tar = KP_BUF(1 << 20);
        struct kp_archive_member member;
        struct kp_err err = KP_ERR_INIT;
        add_entry(&tar, table[i].name, table[i].type, "");
        struct kp_digest digest = finish(&tar);
        cr_expect_eq(take(&digest, "a", &member, &err), -1, "%s", table[i].name);
        cr_expect_str_eq(err.reason ? err.reason : "-", table[i].reason, "%s: %s", table[i].name,
                         err.message);
        cr_expect(strstr(err.message, table[i].text), "%s: %s", table[i].name, err.message);
    }
}

Test(archive, wanted_names_are_checked)
{
    static const char *const names[] = {"", ".", "/a", "../a", "a/.."};
    kp_auto_value(kp_buf) tar = KP_BUF(1 << 20);
    add_entry(&tar, "a", '0', "x");
    struct kp_digest digest = finish(&tar);
    for (size_t i = 0; i < KP_COUNT(names); i++) {
        struct kp_archive_member member;
        struct kp_err err = KP_ERR_INIT;
        cr_expect_eq(take(&digest, names[i], &member, &err), -1, "'%s'", names[i]);
        cr_expect_eq(err.code, KP_USAGE);
    }
}

Test(archive, damaged_in_the_cache)
{
    kp_auto_value(kp_buf) tar = KP_BUF(1 << 20);
    add_entry(&tar, "a", '0', "first");
    struct kp_digest digest = finish(&tar);
    struct kp_archive_member member;
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *path = kp_asprintf("%s/sha256/%.2s/%s", folder, kp_digest_hex(&digest).hex,
                                          kp_digest_hex(&digest).hex);
    tar.data[512] = 'F'; // the member itself: the archive still reads well
    cr_assert_eq(kp_file_write_atomic(path, kp_buf_slice(&tar), 0444, &err), 0);
    cr_assert_eq(take(&digest, "a", &member, &err), -1);
    cr_assert_eq(err.code, KP_DAMAGED, "%s", err.message);
    cr_assert(!kp_cache_has(cache, &digest, NULL), "it is dropped");
    cr_assert_eq(kp_file_write_atomic(path, kp_slice_of("nonsense"), 0444, &err), 0);
    cr_assert_eq(take(&digest, "a", &member, &err), -1);
    cr_assert_eq(err.code, KP_DAMAGED, "said as what it is: %s", err.message);
}

Test(archive, limits)
{
    kp_auto_value(kp_buf) tar = KP_BUF(1 << 20);
    char text[5001];
    memset(text, 'x', sizeof(text));
    text[5000] = '\0';
    add_entry(&tar, "before", '0', text);
    add_entry(&tar, "a", '0', text);
    struct kp_digest digest = finish(&tar);
    struct kp_archive_member member = {.name = "a"};
    struct kp_archive_limits limits = {.member = 4999};
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_archive_extract(cache, &digest, "t", &member, 1, &limits, &err), -1);
    cr_assert_str_eq(err.reason, "too_large");
    limits = (struct kp_archive_limits){.total = 9999};
    cr_assert_eq(kp_archive_extract(cache, &digest, "t", &member, 1, &limits, &err), -1);
    cr_assert_str_eq(err.reason, "too_large");
    limits = (struct kp_archive_limits){.total = 10000, .member = 5000};
    cr_assert_eq(kp_archive_extract(cache, &digest, "t", &member, 1, &limits, &err), 0, "%s",
                 err.message);
}

static int note_name(void *user, const char *name, uint64_t size, struct kp_err *err)
{
    (void)err;
    kp_buf_addf(user, "%s=%llu ", name, (unsigned long long)size);
    return 0;
}

Test(archive, list)
{
    kp_auto_value(kp_buf) tar = KP_BUF(1 << 20);
    kp_auto_value(kp_buf) names = KP_BUF(1000);
    struct kp_err err = KP_ERR_INIT;
    add_entry(&tar, "./x/", '5', "");
    add_entry(&tar, "./x/a", '0', "12345");
    add_entry(&tar, "l", '2', "");
    add_entry(&tar, "b", '0', "");
    struct kp_digest digest = finish(&tar);
    cr_assert_eq(kp_archive_list(cache, &digest, "t.tar", note_name, &names, &err), 0, "%s",
                 err.message);
    cr_assert_str_eq(names.data, "x/a=5 b=0 ");
}
