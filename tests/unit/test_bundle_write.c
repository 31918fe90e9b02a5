/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle_fixture.h"

#include "bundle/layout.h"
#include "core/file.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/resource.h>
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

TestSuite(bundle_write, .init = setup, .fini = teardown, .timeout = 60);

static int write_to(const char *path, unsigned threads, struct kp_bundle_written *out,
                    struct kp_err *err)
{
    const struct kp_key *const keys[] = {f.key};
    struct kp_bundle_writing writing = fixture_writing(&f, keys);
    writing.threads = threads;
    return kp_bundle_write(&writing, path, out, err);
}

Test(bundle_write, what_is_written_opens_verifies_and_reads_back)
{
    kp_auto(kp_bundle) bundle = NULL;
    struct kp_err err = KP_ERR_INIT;
    struct kp_bundle_written written;
    struct kp_signers signers;
    struct kp_digest file_digest;
    uint64_t file_size;
    cr_assert_eq(write_to(f.bundle, 0, &written, &err), 0, "%s", err.message);
    cr_assert_eq(kp_bundle_open(&bundle, f.bundle, f.trust, &signers, &err), 0, "%s", err.message);
    cr_assert_eq(kp_bundle_verify(bundle, NULL, NULL, &err), 0, "%s", err.message);
    cr_expect_eq(signers.count, 1);
    cr_expect_eq(signers.valid, 1);
    cr_expect_str_eq(signers.items[0].name, "site");
    cr_expect(kp_digest_equal(&kp_bundle_manifest(bundle)->id, &written.id));
    cr_assert_eq(kp_sha256_file(f.bundle, &file_digest, &file_size, &err), 0);
    cr_expect(kp_digest_equal(&file_digest, &written.sha256));
    cr_expect_eq(file_size, written.size);
    cr_expect_eq(kp_bundle_size(bundle), written.size);
    const struct kp_manifest *m = kp_bundle_manifest(bundle);
    for (size_t i = 0; i < m->blob_count; i++) {
        kp_auto_free char *data = NULL;
        size_t len;
        cr_assert_eq(kp_bundle_load(bundle, &m->blobs[i].sha256, SIZE_MAX - 1, &data, &len, &err),
                     0, "%s", err.message);
        cr_expect_eq(len, m->blobs[i].size);
    }
}

Test(bundle_write, same_input_gives_same_bytes_with_any_number_of_threads)
{
    static const unsigned threads[] = {1, 2, 5};
    struct kp_err err = KP_ERR_INIT;
    struct kp_bundle_written first, again;
    cr_assert_eq(write_to(f.bundle, 0, &first, &err), 0, "%s", err.message);
    for (size_t i = 0; i < KP_COUNT(threads); i++) {
        cr_assert_eq(write_to(f.bundle, threads[i], &again, &err), 0, "%s", err.message);
        cr_expect(kp_digest_equal(&first.sha256, &again.sha256), "%u threads", threads[i]);
    }
}

Test(bundle_write, order_of_blobs_in_the_manifest_does_not_matter)
{
    struct kp_err err = KP_ERR_INIT;
    struct kp_bundle_written first, again;
    struct kp_manifest *m = f.manifest;
    cr_assert_eq(write_to(f.bundle, 0, &first, &err), 0, "%s", err.message);
    for (size_t i = 0; i < m->blob_count / 2; i++) {
        struct kp_blob blob = m->blobs[i];
        m->blobs[i] = m->blobs[m->blob_count - 1 - i];
        m->blobs[m->blob_count - 1 - i] = blob;
    }
    cr_assert_eq(write_to(f.bundle, 0, &again, &err), 0, "%s", err.message);
    cr_expect(kp_digest_equal(&first.sha256, &again.sha256));
}

static void expect_nothing_left(void)
{
    kp_auto_free char *partial = kp_asprintf("%s.partial", f.bundle);
    cr_expect_not(kp_file_exists(f.bundle));
    cr_expect_not(kp_file_exists(partial));
}

static char *source_of(size_t blob)
{
    return kp_path_join(f.dir, kp_digest_hex(&f.manifest->blobs[blob].sha256).hex);
}

Test(bundle_write, source_with_other_content_is_refused)
{
    struct kp_err err = KP_ERR_INIT;
    struct kp_bundle_written written;
    kp_auto_free char *path = source_of(0);
    kp_auto_fd int fd = open(path, O_RDWR);
    char byte;
    cr_assert_eq(pread(fd, &byte, 1, 1500000), 1);
    byte ^= 1;
    cr_assert_eq(pwrite(fd, &byte, 1, 1500000), 1);
    cr_assert_eq(write_to(f.bundle, 0, &written, &err), -1);
    cr_expect_eq(err.code, KP_DAMAGED);
    cr_expect(strstr(err.message, "other content") != NULL, "%s", err.message);
    expect_nothing_left();
}

Test(bundle_write, source_of_another_size_is_refused)
{
    struct kp_err err = KP_ERR_INIT;
    struct kp_bundle_written written;
    kp_auto_free char *path = source_of(0);
    cr_assert_eq(truncate(path, 100), 0);
    cr_assert_eq(write_to(f.bundle, 0, &written, &err), -1);
    cr_expect_eq(err.code, KP_DAMAGED);
    expect_nothing_left();
}

Test(bundle_write, missing_source_is_an_error)
{
    struct kp_err err = KP_ERR_INIT;
    struct kp_bundle_written written;
    kp_auto_free char *path = source_of(3);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(write_to(f.bundle, 0, &written, &err), -1);
    cr_expect_eq(err.code, KP_FAILED);
    expect_nothing_left();
}

Test(bundle_write, file_too_large_leaves_nothing)
{
    struct kp_err err = KP_ERR_INIT;
    struct kp_bundle_written written;
    struct rlimit limit = {1 << 20, 1 << 20};
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(write_to(f.bundle, 0, &written, &err), -1);
    cr_expect_eq(err.code, KP_FAILED);
    cr_expect_neq(err.hint[0], '\0');
    expect_nothing_left();
}

Test(bundle_write, what_the_reader_refuses_is_not_written)
{
    static const char *const names[] = {"", "a/b", "../x", "-x", "a b"};
    for (size_t i = 0; i < KP_COUNT(names); i++) {
        struct kp_err err = KP_ERR_INIT;
        struct kp_bundle_written written;
        f.manifest->name = names[i];
        cr_assert_eq(write_to(f.bundle, 0, &written, &err), -1, "%s", names[i]);
        cr_expect_eq(err.code, KP_USAGE);
        cr_expect(strstr(err.message, "bundle.json.name") != NULL, "%s", err.message);
        expect_nothing_left();
    }
}

Test(bundle_write, leftover_partial_is_overwritten)
{
    struct kp_err err = KP_ERR_INIT;
    struct kp_bundle_written first, again;
    kp_auto_free char *partial = kp_asprintf("%s.partial", f.bundle);
    cr_assert_eq(write_to(f.bundle, 0, &first, &err), 0, "%s", err.message);
    kp_auto_free char *junk = fixture_bytes(9 << 20, 1); // longer than the bundle
    cr_assert_eq(kp_file_write_atomic(partial, (struct kp_slice){junk, 9 << 20}, 0600, &err), 0);
    cr_assert_eq(write_to(f.bundle, 0, &again, &err), 0, "%s", err.message);
    cr_expect(kp_digest_equal(&first.sha256, &again.sha256));
    cr_expect_not(kp_file_exists(partial));
}

Test(bundle_write, second_writer_of_the_same_file_is_refused_and_harms_nothing)
{
    struct kp_err err = KP_ERR_INIT;
    struct kp_bundle_written written;
    kp_auto_free char *partial = kp_asprintf("%s.partial", f.bundle);
    kp_auto_fd int fd = open(partial, O_RDWR | O_CREAT, 0600);
    cr_assert_eq(flock(fd, LOCK_EX), 0);
    cr_assert_eq(write_to(f.bundle, 0, &written, &err), -1);
    cr_expect(strstr(err.message, "somebody else") != NULL, "%s", err.message);
    cr_expect(kp_file_exists(partial));
}

Test(bundle_write, link_in_place_of_the_partial_file_is_not_followed)
{
    struct kp_err err = KP_ERR_INIT;
    struct kp_bundle_written written;
    kp_auto_free char *partial = kp_asprintf("%s.partial", f.bundle);
    kp_auto_free char *victim = kp_path_join(f.dir, "victim");
    cr_assert_eq(symlink(victim, partial), 0);
    cr_assert_eq(write_to(f.bundle, 0, &written, &err), -1);
    cr_expect_not(kp_file_exists(victim));
}

Test(bundle_write, unsigned_bundle_is_written_and_not_trusted)
{
    kp_auto(kp_bundle) bundle = NULL;
    struct kp_err err = KP_ERR_INIT;
    struct kp_bundle_written written;
    struct kp_bundle_writing writing = fixture_writing(&f, NULL);
    writing.key_count = 0;
    cr_assert_eq(kp_bundle_write(&writing, f.bundle, &written, &err), 0, "%s", err.message);
    cr_assert_eq(kp_bundle_open(&bundle, f.bundle, f.trust, NULL, &err), -1);
    cr_expect_eq(err.code, KP_UNTRUSTED);
    cr_expect_str_eq(err.reason, "unsigned");
    cr_assert_eq(kp_bundle_open_id(&bundle, f.bundle, &written.id, &err), 0, "%s", err.message);
}

Test(bundle_write, blobs_of_a_base_are_listed_but_not_carried)
{
    kp_auto(kp_bundle) bundle = NULL;
    struct kp_err err = KP_ERR_INIT;
    struct kp_bundle_written written;
    struct kp_base base = {.name = "k8s-v1.30.13", .serial = 7};
    kp_sha256("base", 4, &base.id);
    f.manifest->bases = &base;
    f.manifest->base_count = 1;
    struct kp_digest moved = f.manifest->blobs[0].sha256;
    f.manifest->blobs[0].base = &base.id;
    cr_assert_eq(write_to(f.bundle, 0, &written, &err), 0, "%s", err.message);
    cr_assert_eq(kp_bundle_open(&bundle, f.bundle, f.trust, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(kp_bundle_verify(bundle, NULL, NULL, &err), 0, "%s", err.message);
    cr_expect_not(kp_bundle_find(bundle, &moved, NULL, NULL));
    char byte;
    cr_assert_eq(kp_bundle_read(bundle, &moved, 0, &byte, 1, &err), -1);
    cr_expect_eq(err.code, KP_MISSING);
    cr_expect_str_eq(err.reason, "missing_base");
}

struct seen {
    uint64_t done, total;
    bool backwards;
};

static void watch(void *user, uint64_t done, uint64_t total)
{
    struct seen *seen = user;
    seen->backwards = seen->backwards || done < seen->done;
    seen->done = done;
    seen->total = total;
}

Test(bundle_write, progress_of_verify_reaches_the_total)
{
    kp_auto(kp_bundle) bundle = NULL;
    struct kp_err err = KP_ERR_INIT;
    struct seen seen = {0};
    struct kp_verify_options options = {.progress = watch, .user = &seen};
    fixture_write(&f);
    cr_assert_eq(kp_bundle_open(&bundle, f.bundle, f.trust, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(kp_bundle_verify(bundle, &options, NULL, &err), 0, "%s", err.message);
    cr_expect_not(seen.backwards);
    cr_expect_eq(seen.done, seen.total);
    cr_expect_eq(seen.total, kp_bundle_manifest(bundle)->tail_length);
}
