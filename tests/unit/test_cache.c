/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/cache.h"

#include "core/file.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/kp-cache-XXXXXX";

static void make_folder(void)
{
    cr_assert_not_null(mkdtemp(folder));
}

static void remove_folder(void)
{
    (void)!kp_remove_tree(folder, NULL);
}
TestSuite(cache, .init = make_folder, .fini = remove_folder);

static struct kp_cache *open_cache(void)
{
    struct kp_cache *cache = NULL;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_cache_open(&cache, folder, &err), 0, "%s", err.message);
    return cache;
}

static struct kp_digest digest_of(const char *text)
{
    struct kp_digest digest;
    kp_sha256(text, strlen(text), &digest);
    return digest;
}

Test(cache, put_and_read)
{
    kp_auto(kp_cache) cache = open_cache();
    struct kp_err err = KP_ERR_INIT;
    struct kp_digest digest, wanted = digest_of("hello");
    uint64_t size;
    cr_assert(!kp_cache_has(cache, &wanted, &size));
    cr_assert_eq(kp_cache_put(cache, kp_slice_of("hello"), &digest, &err), 0, "%s", err.message);
    cr_assert(kp_digest_equal(&digest, &wanted));
    cr_assert(kp_cache_has(cache, &wanted, &size));
    cr_assert_eq(size, 5);
    kp_auto_free char *text = NULL;
    size_t len;
    cr_assert_eq(kp_cache_read(cache, &wanted, 5, &text, &len, &err), 0, "%s", err.message);
    cr_assert_str_eq(text, "hello");
    cr_assert_eq(kp_cache_read(cache, &wanted, 4, &text, &len, &err), -1);
    cr_assert_str_eq(err.reason, "too_large");
}

Test(cache, missing_is_said)
{
    kp_auto(kp_cache) cache = open_cache();
    struct kp_err err = KP_ERR_INIT;
    struct kp_digest digest = digest_of("x");
    int fd;
    cr_assert_eq(kp_cache_fd(cache, &digest, &fd, &err), -1);
    cr_assert_eq(err.code, KP_MISSING);
    cr_assert_str_eq(err.reason, "not_cached");
}

Test(cache, damaged_is_dropped)
{
    kp_auto(kp_cache) cache = open_cache();
    struct kp_err err = KP_ERR_INIT;
    struct kp_digest digest;
    cr_assert_eq(kp_cache_put(cache, kp_slice_of("hello"), &digest, &err), 0);
    kp_auto_free char *path = kp_asprintf("%s/sha256/%.2s/%s", folder, kp_digest_hex(&digest).hex,
                                          kp_digest_hex(&digest).hex);
    cr_assert_eq(kp_file_write_atomic(path, kp_slice_of("hallo"), 0444, &err), 0);
    char *text = NULL;
    cr_assert_eq(kp_cache_read(cache, &digest, 100, &text, NULL, &err), -1);
    cr_assert_eq(err.code, KP_DAMAGED);
    cr_assert(!kp_cache_has(cache, &digest, NULL));
}

Test(cache, uncommitted_leaves_nothing)
{
    kp_auto(kp_cache) cache = open_cache();
    struct kp_err err = KP_ERR_INIT;
    struct kp_cache_new *blob;
    cr_assert_eq(kp_cache_begin(&blob, cache, &err), 0, "%s", err.message);
    cr_assert_eq(kp_write_full(kp_cache_new_fd(blob), "abc", 3, &err), 0);
    kp_cache_new_free(blob);
    kp_auto_free char *temporary = kp_path_join(folder, "tmp");
    cr_assert_eq(rmdir(temporary), 0, "not empty");
}

Test(cache, notes)
{
    kp_auto(kp_cache) cache = open_cache();
    struct kp_err err = KP_ERR_INIT;
    struct kp_memo memo = {.size = 5}, found;
    cr_assert(!kp_cache_memo(cache, "key", &found));
    cr_assert_eq(kp_cache_put(cache, kp_slice_of("hello"), &memo.digest, &err), 0);
    cr_assert_eq(kp_cache_note(cache, "key", &memo, &err), 0, "%s", err.message);
    cr_assert(kp_cache_memo(cache, "key", &found));
    cr_assert(kp_digest_equal(&found.digest, &memo.digest));
    cr_assert(!kp_cache_memo(cache, "other", &found));
    cr_assert_eq(kp_cache_note(cache, "two\nlines", &memo, &err), -1);
    memo.size = 6; // not the size of what is there
    cr_assert_eq(kp_cache_note(cache, "key", &memo, &err), 0);
    cr_assert(!kp_cache_memo(cache, "key", &found));
    memo.size = 5;
    cr_assert_eq(kp_cache_note(cache, "key", &memo, &err), 0);
    kp_cache_drop(cache, &memo.digest);
    cr_assert(!kp_cache_memo(cache, "key", &found), "the blob is gone");
}

Test(cache, torn_note_is_none)
{
    kp_auto(kp_cache) cache = open_cache();
    struct kp_err err = KP_ERR_INIT;
    struct kp_memo memo = {.size = 5}, found;
    struct kp_digest key = digest_of("key");
    cr_assert_eq(kp_cache_put(cache, kp_slice_of("hello"), &memo.digest, &err), 0);
    cr_assert_eq(kp_cache_note(cache, "key", &memo, &err), 0);
    kp_auto_free char *path = kp_asprintf("%s/memo/%s", folder, kp_digest_hex(&key).hex);
    kp_auto_free char *text = NULL;
    size_t len;
    cr_assert_eq(kp_file_read(path, 1000, &text, &len, &err), 0);
    for (size_t cut = 0; cut + 1 < len; cut++) {
        cr_assert_eq(kp_file_write_atomic(path, (struct kp_slice){text, cut}, 0600, &err), 0);
        cr_assert(!kp_cache_memo(cache, "key", &found), "cut at %zu", cut);
    }
}

Test(cache, partial_is_continued)
{
    kp_auto(kp_cache) cache = open_cache();
    struct kp_err err = KP_ERR_INIT;
    struct kp_digest digest = digest_of("hello world");
    const char *key = "0011223344556677889900112233445566778899001122334455667788990011";
    struct kp_partial *partial;
    cr_assert_eq(kp_partial_open(&partial, cache, key, &err), 0, "%s", err.message);
    cr_assert_eq(partial->size, 0);
    cr_assert_eq(kp_pwrite_full(partial->fd, "hello ", 6, 0, &err), 0);
    partial->total = 11;
    snprintf(partial->etag, sizeof(partial->etag), "\"v1\"");
    cr_assert_eq(kp_partial_save_info(partial, &err), 0, "%s", err.message);
    kp_partial_free(partial);
    cr_assert_eq(kp_partial_open(&partial, cache, key, &err), 0);
    cr_assert_eq(partial->size, 6);
    cr_assert_eq(partial->total, 11);
    cr_assert_str_eq(partial->etag, "\"v1\"");
    cr_assert_str_eq(partial->modified, "");
    cr_assert_eq(kp_pwrite_full(partial->fd, "world", 5, 6, &err), 0);
    cr_assert_eq(kp_partial_commit(partial, &digest, &err), 0, "%s", err.message);
    kp_partial_free(partial);
    kp_auto_free char *text = NULL;
    cr_assert_eq(kp_cache_read(cache, &digest, 100, &text, NULL, &err), 0, "%s", err.message);
    cr_assert_str_eq(text, "hello world");
    cr_assert_eq(kp_partial_open(&partial, cache, key, &err), 0);
    cr_assert_eq(partial->size, 0, "begins anew");
    cr_assert_str_eq(partial->etag, "");
    kp_partial_discard(partial);
    kp_partial_free(partial);
    kp_auto_free char *left = kp_path_join(folder, "partial");
    cr_assert_eq(rmdir(left), 0, "not empty");
}

Test(cache, partial_of_another_process)
{
    kp_auto(kp_cache) cache = open_cache();
    struct kp_err err = KP_ERR_INIT;
    const char *key = "0011223344556677889900112233445566778899001122334455667788990011";
    struct kp_partial *partial, *second;
    cr_assert_eq(kp_partial_open(&partial, cache, key, &err), 0);
    cr_assert_eq(kp_partial_open(&second, cache, key, &err), 0, "%s", err.message);
    cr_assert_null(second, "it is held");
    kp_partial_free(partial);
    cr_assert_eq(kp_partial_open(&second, cache, key, &err), 0);
    cr_assert_not_null(second);
    kp_partial_free(second);
}

/* Many processes put and read the same blobs at once. */
Test(cache, crowd)
{
    enum { PROCESSES = 6, ROUNDS = 40 };
    kp_auto(kp_cache) cache = open_cache();
    pid_t pids[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        if (pids[i])
            continue;
        for (int k = 0; k < ROUNDS; k++) {
            char text[32];
            struct kp_digest digest;
            kp_auto_free char *back = NULL;
            snprintf(text, sizeof(text), "blob %d", k);
            if (kp_cache_put(cache, kp_slice_of(text), &digest, NULL) < 0 ||
                kp_cache_read(cache, &digest, 100, &back, NULL, NULL) < 0 ||
                strcmp(back, text) != 0)
                _exit(1);
        }
        _exit(0);
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        waitpid(pids[i], &status, 0);
        cr_assert_eq(status, 0);
    }
    kp_auto_free char *temporary = kp_path_join(folder, "tmp");
    cr_assert_eq(rmdir(temporary), 0, "temporaries are left");
}
