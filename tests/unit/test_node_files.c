/* SPDX-License-Identifier: Apache-2.0 */
#include "node_peer.h"

#include "core/file.h"

#include <criterion/criterion.h>
#include <sys/stat.h>
#include <unistd.h>

static json_t *put_with(struct peer *p, const char *path, const char *text, int mode,
                        const char *flag)
{
    json_t *request =
        json_pack("{s:s, s:s, s:i, s:i, s:i, s:i}", "op", "put", "path", path, "mode", mode, "uid",
                  (int)getuid(), "gid", (int)getgid(), "size", (int)strlen(text));
    if (flag)
        json_object_set_new(request, flag, json_true());
    return peer_call(p, request, kp_slice_of(text));
}

static bool changed(const json_t *answer)
{
    cr_assert(json_is_boolean(json_object_get(answer, "changed")), "%s", peer_reason(answer));
    return json_is_true(json_object_get(answer, "changed"));
}

static const char *diff_of(const json_t *answer)
{
    const char *diff = json_string_value(json_object_get(answer, "diff"));
    return diff ? diff : "";
}

Test(node_files, put_says_what_changed)
{
    struct peer p;
    peer_open(&p, true);
    kp_auto_json first = put_with(&p, "/etc/a/b.conf", "one\ntwo\n", 0640, NULL);
    kp_auto_json again = put_with(&p, "/etc/a/b.conf", "one\ntwo\n", 0640, NULL);
    kp_auto_json mode = put_with(&p, "/etc/a/b.conf", "one\ntwo\n", 0600, NULL);
    kp_auto_json text = put_with(&p, "/etc/a/b.conf", "one\n2\n", 0600, NULL);
    kp_auto_json once = put_with(&p, "/etc/a/b.conf", "other", 0644, "once");
    cr_assert(changed(first) && !changed(again) && changed(mode) && changed(text) &&
              !changed(once));
    cr_assert(
        strstr(diff_of(first), "--- /dev/null\n+++ /etc/a/b.conf\n@@ -0,0 +1,2 @@\n+one\n+two\n"));
    cr_assert(strstr(diff_of(mode), "mode 0640 becomes 0600"));
    cr_assert(strstr(diff_of(text), " one\n-two\n+2\n"));
    kp_auto_free char *now = peer_read(&p, "/etc/a/b.conf"), *path = peer_path(&p, "/etc/a/b.conf");
    struct stat st;
    cr_assert_str_eq(now, "one\n2\n");
    cr_assert(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600);
    peer_close(&p);
}

Test(node_files, secrets_have_no_diff)
{
    struct peer p;
    peer_open(&p, true);
    kp_auto_json first = put_with(&p, "/etc/k/s", "SECRET-1", 0600, "secret");
    kp_auto_json second = put_with(&p, "/etc/k/s", "SECRET-2", 0600, "secret");
    kp_auto_json mode = put_with(&p, "/etc/k/s", "SECRET-2", 0640, "secret");
    cr_assert(changed(first) && changed(second) && changed(mode));
    cr_assert_null(strstr(diff_of(first), "SECRET"));
    cr_assert_null(strstr(diff_of(second), "SECRET"));
    cr_assert(strstr(diff_of(mode), "mode 0600 becomes 0640") && !strstr(diff_of(mode), "SECRET"));
    peer_close(&p);
}

Test(node_files, a_dry_run_writes_nothing)
{
    struct peer p;
    peer_open(&p, true);
    kp_auto_json put = put_with(&p, "/etc/x", "text", 0600, "dry_run");
    cr_assert(changed(put));
    kp_auto_free char *file = peer_path(&p, "/etc/x"), *state = peer_path(&p, "/var"),
                      *etc = peer_path(&p, "/etc");
    cr_assert(!kp_file_exists(file) && !kp_file_exists(state) && !kp_file_exists(etc));
    kp_auto_json real = put_with(&p, "/etc/k/x", "text", 0600, NULL);
    kp_auto_json remove = peer_call(
        &p, json_pack("{s:s, s:s, s:b}", "op", "remove", "path", "/etc/k/x", "dry_run", 1),
        (struct kp_slice){0});
    kp_auto_free char *there = peer_path(&p, "/etc/k/x");
    cr_assert(changed(real) && changed(remove) && kp_file_exists(there));
    peer_close(&p);
}

Test(node_files, bad_paths)
{
    static const char *const paths[] = {"",          "etc/x",    "/",         "//x",
                                        "/etc/../x", "/etc/./x", "/etc//x",   "/etc/x/",
                                        "/etc/\nx",  "/etc/..",  "/etc/\x7fx"};
    struct peer p;
    peer_open(&p, true);
    for (size_t i = 0; i < KP_COUNT(paths); i++) {
        kp_auto_json put = put_with(&p, paths[i], "x", 0600, NULL);
        kp_auto_json remove = peer_call(
            &p, json_pack("{s:s, s:s}", "op", "remove", "path", paths[i]), (struct kp_slice){0});
        cr_assert_str_eq(peer_reason(put), "bad_request", "%s", paths[i]);
        cr_assert_str_eq(peer_reason(remove), "bad_request", "%s", paths[i]);
    }
    kp_auto_json top = peer_call(&p, json_pack("{s:s, s:s}", "op", "remove", "path", "/etc"),
                                 (struct kp_slice){0});
    cr_assert_str_eq(peer_reason(top), "bad_request");
    peer_close(&p);
}

Test(node_files, a_link_is_not_written_through)
{
    struct peer p;
    peer_open(&p, true);
    kp_auto_free char *link = peer_path(&p, "/link"), *aim = peer_path(&p, "/aim");
    cr_assert_eq(symlink(aim, link), 0);
    kp_auto_json put = put_with(&p, "/link", "x", 0600, NULL);
    const char *message =
        json_string_value(json_object_get(json_object_get(put, "error"), "message"));
    cr_assert(message && strstr(message, "no regular file"));
    cr_assert(!kp_file_exists(aim));
    peer_close(&p);
}

Test(node_files, put_needs_the_size_it_announced)
{
    struct peer p;
    peer_open(&p, true);
    for (int size = 2; size <= 4; size += 2) {
        json_t *request =
            json_pack("{s:s, s:s, s:i, s:i, s:i, s:i}", "op", "put", "path", "/etc/k", "mode", 0600,
                      "uid", (int)getuid(), "gid", (int)getgid(), "size", size);
        kp_auto_json answer = peer_call(&p, request, kp_slice_of("abc"));
        cr_assert_str_eq(peer_reason(answer), "bad_request");
    }
    kp_auto_free char *path = peer_path(&p, "/etc/k");
    cr_assert(!kp_file_exists(path));
    peer_close(&p);
}

Test(node_files, get)
{
    struct peer p;
    peer_open(&p, true);
    size_t len = (size_t)5 << 20; // beyond the window: credit must flow
    kp_auto_free char *bytes = fixture_bytes(len, 3), *path = peer_path(&p, "/big");
    cr_assert_eq(kp_file_write_atomic(path, (struct kp_slice){bytes, (size_t)1 << 20}, 0600, NULL),
                 0);
    kp_auto_json got = peer_call(
        &p, json_pack("{s:s, s:s, s:I}", "op", "get", "path", "/big", "max", (json_int_t)len),
        (struct kp_slice){0});
    cr_assert(json_is_true(json_object_get(got, "found")));
    cr_assert(p.data.len == (size_t)1 << 20 && memcmp(p.data.data, bytes, p.data.len) == 0);
    kp_auto_json none =
        peer_call(&p, json_pack("{s:s, s:s, s:i}", "op", "get", "path", "/none", "max", 10),
                  (struct kp_slice){0});
    cr_assert(json_is_false(json_object_get(none, "found")));
    kp_auto_json small =
        peer_call(&p, json_pack("{s:s, s:s, s:i}", "op", "get", "path", "/big", "max", 10),
                  (struct kp_slice){0});
    cr_assert_not_null(json_object_get(small, "error"));
    peer_close(&p);
}

Test(node_files, record_and_lock)
{
    struct peer p;
    peer_open(&p, true);
    static const struct {
        const char *cluster, *step, *digest;
        bool finished, refused;
    } marks[] = {{"demo", "init", "-", false, false},
                 {"demo", "init", "d1", true, false},
                 {"demo", "join", "-", false, false},
                 {"prod", "init", "-", false, true},
                 {"demo", "init", "-", false, false}};
    for (size_t i = 0; i < KP_COUNT(marks); i++) {
        kp_auto_json answer =
            peer_call(&p,
                      json_pack("{s:s, s:s, s:s, s:s, s:b}", "op", "mark", "cluster",
                                marks[i].cluster, "step", marks[i].step, "digest", marks[i].digest,
                                "finished", marks[i].finished),
                      (struct kp_slice){0});
        cr_assert_str_eq(peer_reason(answer), marks[i].refused ? "held" : "", "%zu", i);
    }
    kp_auto_json record = peer_call(&p, json_pack("{s:s}", "op", "record"), (struct kp_slice){0});
    kp_auto_json expected = json_pack("{s:s, s:s, s:[s, s], s:{}}", "cluster", "demo", "run", "",
                                      "begun", "init", "join", "finished");
    cr_assert(json_equal(record, expected), "%s", json_dumps(record, 0));
    kp_auto_json lock =
        peer_call(&p, json_pack("{s:s, s:s, s:s}", "op", "lock", "run", "r1", "who", "ann"),
                  (struct kp_slice){0});
    kp_auto_json same =
        peer_call(&p, json_pack("{s:s, s:s, s:s}", "op", "lock", "run", "r1", "who", "ann"),
                  (struct kp_slice){0});
    kp_auto_json other =
        peer_call(&p, json_pack("{s:s, s:s, s:s}", "op", "lock", "run", "r2", "who", "bob"),
                  (struct kp_slice){0});
    cr_assert_str_eq(peer_reason(lock), "");
    cr_assert_str_eq(peer_reason(same), "");
    cr_assert_str_eq(peer_reason(other), "bad_request");
    kp_auto_free char *holder = peer_read(&p, "/var/lib/kpack/lock");
    cr_assert_str_eq(holder, "ann, run r1\n");
    peer_close(&p);
}

Test(node_files, diffs)
{
    static const struct {
        const char *before, *after, *has;
    } table[] = {
        {"", "a\n", "@@ -0,0 +1,1 @@\n+a\n"},
        {"a\n", "", "+++ /dev/null\n@@ -1,1 +0,0 @@\n-a\n"},
        {"1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nX\n6\n7\n8\n9\n",
         "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+X\n 6\n 7\n 8\n"},
        {"a\n1\n2\n3\n4\n5\n6\n7\n8\nb\n", "A\n1\n2\n3\n4\n5\n6\n7\n8\nB\n",
         "@@ -7,4 +7,4 @@\n 6\n 7\n 8\n-b\n+B\n"},
    };
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        kp_auto_free char *diff =
            kp_diff("/f", kp_slice_of(table[i].before), kp_slice_of(table[i].after));
        cr_assert(diff && strstr(diff, table[i].has), "%zu: %s", i, diff);
    }
    cr_assert_null(kp_diff("/f", kp_slice_of("same"), kp_slice_of("same")));
    kp_auto_free char *end = kp_diff("/f", kp_slice_of("a"), kp_slice_of("a\n"));
    cr_assert_not_null(end);
    kp_auto_free char *binary = kp_diff("/f", (struct kp_slice){"a\0b", 3}, kp_slice_of("a"));
    cr_assert_str_eq(binary, "/f: 3 bytes become 1 bytes\n");
    kp_auto_free char *many = kp_alloc(8001);
    memset(many, '\n', 8000);
    kp_auto_free char *large = kp_diff("/f", kp_slice_of(many), kp_slice_of("x"));
    cr_assert_str_eq(large, "/f: 8000 bytes become 1 bytes\n");
}
