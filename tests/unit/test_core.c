/* SPDX-License-Identifier: Apache-2.0 */
#include "core/buf.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/pool.h"
#include "core/text.h"
#include "core/zst.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char *make_folder(void)
{
    char *folder = kp_strdup("/tmp/kpack-core-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    return folder;
}

Test(err, wraps_and_keeps_the_first_fact)
{
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_fail_as(&err, KP_DAMAGED, "damaged", "leaf %d", 7), -1);
    cr_assert_eq(kp_wrap(&err, "bundle %s", "x"), -1);
    cr_assert_str_eq(err.message, "bundle x: leaf 7");
    kp_hint(&err, "copy it again");
    kp_hint(&err, "never seen");
    cr_assert_str_eq(err.hint, "copy it again");
    cr_assert_eq(err.code, KP_DAMAGED);
    cr_assert_str_eq(err.reason, "damaged");
}

Test(err, is_one_line_and_bounded)
{
    struct kp_err err = KP_ERR_INIT;
    char big[3000];
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    big[3] = '\n';
    kp_fail(&err, KP_FAILED, "%s", big);
    cr_assert_null(strchr(err.message, '\n'));
    cr_assert(kp_ends_with(err.message, "…"));
    kp_fail_sys(&err, ENOSPC, "write");
    cr_assert_str_eq(err.reason, "disk_full");
}

Test(slice, numbers)
{
    static const struct {
        const char *text;
        bool ok;
        uint64_t value;
    } table[] = {
        {"0", true, 0},   {"17", true, 17},   {"18446744073709551615", true, UINT64_MAX},
        {"", false, 0},   {"017", false, 0},  {"18446744073709551616", false, 0},
        {"-1", false, 0}, {"+1", false, 0},   {" 1", false, 0},
        {"1 ", false, 0}, {"0x10", false, 0}, {"1e3", false, 0},
    };
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        uint64_t value = 0;
        bool ok = kp_parse_u64(kp_slice_of(table[i].text), UINT64_MAX, &value);
        cr_assert_eq(ok, table[i].ok, "%s", table[i].text);
        cr_assert(!ok || value == table[i].value, "%s", table[i].text);
    }
}

Test(slice, sizes)
{
    static const struct {
        const char *text;
        bool ok;
        uint64_t value;
    } table[] = {
        {"4096", true, 4096},       {"64MiB", true, 64u << 20},
        {"1.5G", true, 1500000000}, {"700M", true, 700000000},
        {"1KiB", true, 1024},       {"2T", true, 2000000000000},
        {"12Q", false, 0},          {"", false, 0},
        {"1.", false, 0},           {"99999999999T", false, 0},
        {"-5M", false, 0},          {"1.5.5M", false, 0},
    };
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        uint64_t value = 0;
        bool ok = kp_parse_size(kp_slice_of(table[i].text), &value);
        cr_assert_eq(ok, table[i].ok, "%s", table[i].text);
        cr_assert(!ok || value == table[i].value, "%s: %llu", table[i].text,
                  (unsigned long long)value);
    }
}

Test(slice, hex_refuses_upper_case_and_odd_lengths)
{
    uint8_t out[2];
    char text[5];
    cr_assert(kp_parse_hex(kp_slice_of("00ff"), out, 2));
    cr_assert_eq(out[1], 0xff);
    kp_hex(text, out, 2);
    cr_assert_str_eq(text, "00ff");
    cr_assert_not(kp_parse_hex(kp_slice_of("00FF"), out, 2));
    cr_assert_not(kp_parse_hex(kp_slice_of("00f"), out, 2));
    cr_assert_not(kp_parse_hex(kp_slice_of("00fg"), out, 2));
}

Test(slice, lines)
{
    struct kp_slice text = kp_slice_of("a\r\n\nb"), line;
    cr_assert(kp_slice_line(&text, &line) && kp_slice_equal(line, "a"));
    cr_assert(kp_slice_line(&text, &line) && kp_slice_equal(line, ""));
    cr_assert(kp_slice_line(&text, &line) && kp_slice_equal(line, "b"));
    cr_assert_not(kp_slice_line(&text, &line));
}

Test(buf, keeps_its_limit)
{
    kp_auto_value(kp_buf) buf = KP_BUF(8);
    cr_assert(kp_buf_adds(&buf, "1234"));
    cr_assert(kp_buf_addf(&buf, "%d", 5678));
    cr_assert_not(kp_buf_adds(&buf, "9"));
    cr_assert(buf.overflow);
    cr_assert_str_eq(buf.data, "12345678");
    kp_buf_consume(&buf, 3);
    cr_assert_str_eq(buf.data, "45678");
    kp_buf_consume(&buf, 99);
    cr_assert_eq(buf.len, 0);
}

Test(mem, arena_gives_zeroed_aligned_memory)
{
    kp_auto(kp_arena) arena = kp_arena_new();
    for (size_t i = 1; i < 3000; i += 97) {
        unsigned char *p = kp_arena_alloc(arena, i * 50);
        cr_assert_eq((uintptr_t)p % 16, 0);
        cr_assert_eq(p[i * 50 - 1], 0);
        memset(p, 0xff, i * 50);
    }
    cr_assert_str_eq(kp_arena_printf(arena, "%s-%d", "x", 3), "x-3");
}

Test(hash, known_answers)
{
    struct kp_digest digest;
    kp_sha256("abc", 3, &digest);
    cr_assert_str_eq(kp_digest_hex(&digest).hex,
                     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    kp_auto(kp_hash) hash = kp_hash_new();
    kp_hash_update(hash, "a", 1);
    kp_auto(kp_hash) copy = kp_hash_copy(hash);
    kp_hash_update(hash, "bc", 2);
    struct kp_digest other;
    kp_hash_finish(hash, &other);
    cr_assert(kp_digest_equal(&digest, &other));
    kp_hash_update(copy, "bc", 2);
    kp_hash_finish(copy, &other);
    cr_assert(kp_digest_equal(&digest, &other));
    cr_assert_not(kp_digest_parse(kp_slice_of("sha256:abc"), &other));
}

Test(file, is_replaced_as_a_whole)
{
    kp_auto_free char *folder = make_folder();
    kp_auto_free char *path = kp_path_join(folder, "file");
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_file_write_atomic(path, kp_slice_of("one"), 0640, &err), 0, "%s", err.message);
    cr_assert_eq(kp_file_write_atomic(path, kp_slice_of("two"), 0600, &err), 0, "%s", err.message);
    kp_auto_free char *text = NULL;
    size_t len;
    cr_assert_eq(kp_file_read(path, 10, &text, &len, &err), 0);
    cr_assert_str_eq(text, "two");
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0600);
    kp_auto_free char *none = NULL;
    cr_assert_eq(kp_file_read(path, 2, &none, NULL, &err), -1);
    cr_assert_str_eq(err.reason, "too_large");
    cr_assert_eq(kp_remove_tree(folder, &err), 0, "%s", err.message);
    cr_assert_not(kp_file_exists(folder));
}

Test(file, never_leaves_its_folder)
{
    kp_auto_free char *folder = make_folder();
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *link = kp_path_join(folder, "link");
    cr_assert_eq(symlink("/etc", link), 0);
    kp_auto_fd int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    static const char *const bad[] = {"../x", "/etc/passwd", "link/passwd", "a/../../x"};
    for (size_t i = 0; i < KP_COUNT(bad); i++)
        cr_assert_eq(kp_open_beneath(dir, bad[i], O_RDONLY, 0), -1, "%s", bad[i]);
    kp_auto_fd int made = kp_open_beneath(dir, "fine", O_WRONLY | O_CREAT | O_EXCL, 0600);
    cr_assert_geq(made, 0);
    cr_assert_eq(kp_remove_tree(folder, &err), 0);
    cr_assert(kp_file_exists("/etc/passwd"));
}

Test(file, lock_says_who_holds_it)
{
    kp_auto_free char *folder = make_folder();
    kp_auto_free char *path = kp_path_join(folder, "lock");
    kp_auto_fd int first = -1;
    kp_auto_fd int second = -1;
    kp_auto_free char *holder = NULL;
    bool held;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_file_lock(path, &first, &held, &holder, &err), 0);
    cr_assert_not(held);
    cr_assert_eq(pwrite(first, "ann\n", 4, 0), 4);
    cr_assert_eq(kp_file_lock(path, &second, &held, &holder, &err), 0);
    cr_assert(held);
    cr_assert_str_eq(holder, "ann");
    cr_assert_eq(kp_remove_tree(folder, &err), 0);
}

static int square(void *user, size_t item, unsigned worker, struct kp_err *err)
{
    (void)worker;
    uint64_t *out = user;
    if (item == 700)
        return kp_fail(err, KP_FAILED, "seven hundred");
    out[item] = item * item;
    return 0;
}

Test(pool, does_every_item_once_and_stops_at_an_error)
{
    kp_auto_free uint64_t *out = kp_alloc_array(1000, sizeof(*out));
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_parallel(4, 500, square, out, &err), 0);
    for (size_t i = 0; i < 500; i++)
        cr_assert_eq(out[i], i * i);
    cr_assert_eq(kp_parallel(4, 1000, square, out, &err), -1);
    cr_assert_str_eq(err.message, "seven hundred");
    cr_assert_eq(kp_parallel(4, 0, square, out, &err), 0);
}

Test(text, for_people)
{
    cr_assert_str_eq(kp_text_bytes(12).s, "12 bytes");
    cr_assert_str_eq(kp_text_bytes(402100000).s, "402.1 MB");
    cr_assert_str_eq(kp_text_bytes(999999999).s, "1.0 GB");
    cr_assert_str_eq(kp_text_grouped(41943040).s, "41 943 040");
    cr_assert_str_eq(kp_text_seconds(0.31).s, "0.3 s");
    cr_assert_str_eq(kp_text_seconds(250).s, "4 min 10 s");
    time_t when;
    cr_assert(kp_parse_utc("2026-11-23T21:00:00Z", &when));
    cr_assert_str_eq(kp_text_utc(when).s, "2026-11-23T21:00:00Z");
    cr_assert_not(kp_parse_utc("2026-13-23T21:00:00Z", &when));
    cr_assert_not(kp_parse_utc("2026-11-23T21:00:00", &when));
    cr_assert_eq(kp_text_width("✓ né"), 4);
}

Test(text, nearest_names)
{
    static const char *const names[] = {"address", "roles", "labels", "ssh"};
    cr_assert_str_eq(kp_nearest("adress", names, 4), "address");
    cr_assert_str_eq(kp_nearest("lables", names, 4), "labels");
    cr_assert_null(kp_nearest("zzzzzz", names, 4));
}

Test(text, dns_names)
{
    static const char *const good[] = {"a", "cp1", "a-b.c", "10.0.0.1"};
    static const char *const bad[] = {"", "-a", "a-", "A", "a..b", "a.-b", "a_b", "a b", "a-.b"};
    for (size_t i = 0; i < KP_COUNT(good); i++)
        cr_assert(kp_text_dns_name(good[i], 63), "%s", good[i]);
    for (size_t i = 0; i < KP_COUNT(bad); i++)
        cr_assert_not(kp_text_dns_name(bad[i], 63), "%s", bad[i]);
}

static int collect(void *user, const void *data, size_t len, struct kp_err *err)
{
    return kp_buf_add(user, data, len) ? 0 : kp_fail(err, KP_FAILED, "full");
}

static void pack(const char *folder, struct kp_buf *out, struct kp_digest *digest, unsigned workers)
{
    kp_auto_free char *in_path = kp_path_join(folder, "in");
    kp_auto_free char *out_path = kp_path_join(folder, "out");
    struct kp_err err = KP_ERR_INIT;
    kp_auto_value(kp_buf) plain = KP_BUF(4 << 20);
    for (int i = 0; i < 200000; i++)
        kp_buf_addf(&plain, "%d ", i * 7);
    cr_assert_eq(kp_file_write_atomic(in_path, kp_buf_slice(&plain), 0600, &err), 0);
    kp_auto_fd int in = open(in_path, O_RDONLY | O_CLOEXEC);
    kp_auto_fd int packed = open(out_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    struct kp_digest plain_digest, want;
    uint64_t size;
    cr_assert_eq(
        kp_zst_compress_fd(in, plain.len, packed, 3, workers, &plain_digest, digest, &size, &err),
        0, "%s", err.message);
    kp_sha256(plain.data, plain.len, &want);
    cr_assert(kp_digest_equal(&want, &plain_digest));
    char *room = kp_buf_reserve(out, size);
    cr_assert_eq(kp_pread_full(packed, room, size, 0, &err), 0);
    out->len = size;
}

Test(zst, is_deterministic_bounded_and_strict)
{
    kp_auto_free char *folder = make_folder();
    kp_auto_value(kp_buf) one = KP_BUF(4 << 20);
    kp_auto_value(kp_buf) two = KP_BUF(4 << 20);
    struct kp_digest first, second;
    struct kp_err err = KP_ERR_INIT;
    pack(folder, &one, &first, 1);
    pack(folder, &two, &second, 2);
    cr_assert(kp_digest_equal(&first, &second));

    kp_auto_value(kp_buf) plain = KP_BUF(4 << 20);
    kp_auto(kp_unzst) good = kp_unzst_new(4 << 20, 27, collect, &plain);
    cr_assert_eq(kp_unzst_feed(good, one.data, one.len, &err), 0, "%s", err.message);
    cr_assert_eq(kp_unzst_finish(good, &err), 0);

    kp_auto_value(kp_buf) less = KP_BUF(4 << 20);
    kp_auto(kp_unzst) small = kp_unzst_new(1000, 27, collect, &less);
    cr_assert_eq(kp_unzst_feed(small, one.data, one.len, &err), -1);
    cr_assert_str_eq(err.reason, "too_large");

    kp_auto_value(kp_buf) part = KP_BUF(4 << 20);
    kp_auto(kp_unzst) cut = kp_unzst_new(4 << 20, 27, collect, &part);
    cr_assert_eq(kp_unzst_feed(cut, one.data, one.len / 2, &err), 0);
    cr_assert_eq(kp_unzst_finish(cut, &err), -1);
    cr_assert_str_eq(err.reason, "truncated");
    cr_assert_eq(kp_remove_tree(folder, &err), 0);
}
