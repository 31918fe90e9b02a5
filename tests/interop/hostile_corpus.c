/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostile_corpus KPACK: every archive of the corpus through `kpack verify` and `kpack extract`: the
 * right exit code and reason, and not one file written.
 * hostile_corpus --list: the names.
 */
#include "hostile_archive.h"

#include "core/file.h"
#include "core/json.h"
#include "core/proc.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define OUTPUT_MAX ((size_t)64 << 10)
#define TIME_OUT_S 60

struct run {
    const char *kpack;
    const struct fixture *f;
    char *file, *out; /* the archive; a folder that does not exist */
    char *beside;     /* the folder kpack is run in, empty */
    size_t cases, failed;
};

static void complain(struct run *run, const struct hostile_case *one, const char *what,
                     const char *seen)
{
    printf("FAIL %s: %s: %s\n", one->name, what, seen);
    run->failed++;
}

/* True where `reason` is one of those in "a|b". */
static bool one_of(const char *reason, const char *wanted)
{
    struct kp_slice rest = kp_slice_of(wanted), word;
    while (kp_slice_cut(&rest, '|', &word))
        if (kp_slice_equal(word, reason))
            return true;
    return kp_slice_equal(rest, reason);
}

static const char *reason_of(const json_t *answer)
{
    const json_t *error = json_object_get(answer, "error");
    const char *reason = json_string_value(json_object_get(error ? error : answer, "reason"));
    return reason ? reason : "";
}

static void expect(struct run *run, const struct hostile_case *one, const char *const *argv)
{
    kp_auto_value(kp_buf) out = KP_BUF(OUTPUT_MAX);
    kp_auto_value(kp_buf) errors = KP_BUF(OUTPUT_MAX);
    kp_auto_json answer = NULL;
    struct kp_err err = KP_ERR_INIT;
    int status = -1;
    if (kp_proc_run(argv, NULL, (struct kp_slice){"", 0}, TIME_OUT_S, OUTPUT_MAX, &out, &errors,
                    &status, &err) < 0) {
        complain(run, one, argv[1], err.message);
        return;
    }
    kp_auto_free char *code =
        kp_asprintf("exit code %d, not %d; %s", status, one->code, kp_buf_slice(&errors).ptr);
    if (status != one->code || strstr(code, "Sanitizer:") || strstr(code, "runtime error:"))
        complain(run, one, argv[1], code);
    if (kp_json_parse(&answer, kp_buf_slice(&out), OUTPUT_MAX, "stdout", &err) < 0)
        complain(run, one, argv[1], err.message);
    else if (one->code && !one_of(reason_of(answer), one->reason))
        complain(run, one, argv[1], kp_buf_slice(&out).ptr);
    for (size_t i = 0; i < out.len; i++) // what the file says must not reach a terminal as it is
        if ((unsigned char)out.data[i] < ' ' && out.data[i] != '\n')
            complain(run, one, argv[1], "a control character on stdout");
}

static bool is_empty(const char *folder)
{
    DIR *dir = opendir(folder);
    size_t n = 0;
    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n == 2;
}

static void visit(void *user, const struct hostile_case *one, struct archive *archive)
{
    struct run *run = user;
    kp_auto_value(kp_buf) bytes = KP_BUF(ARCHIVE_FILE_MAX);
    struct kp_err err = KP_ERR_INIT;
    const char *key = run->f->public_key;
    const char *const verify[] = {run->kpack, "verify", "--json", "--key", key, run->file, NULL};
    const char *const extract[] = {run->kpack, "extract", "--json", "--key",  key,
                                   "--file",   "kubelet", "--to",   run->out, "--oci",
                                   run->out,   run->file, NULL};
    archive_write(archive, &bytes);
    if (kp_file_write_atomic(run->file, kp_buf_slice(&bytes), 0644, &err) < 0)
        complain(run, one, "write", err.message);
    run->cases++;
    expect(run, one, verify);
    expect(run, one, extract);
    if (one->code && (kp_file_exists(run->out) || !is_empty(run->beside)))
        complain(run, one, "extract", "something was written");
    if (!one->code && !kp_file_exists(run->out))
        complain(run, one, "extract", "nothing was written");
    (void)!kp_remove_tree(run->out, NULL);
}

/* Unchanged it is the same file: else every case above would be refused for a reason of ours. */
static void check_identity(struct run *run, struct kp_slice good)
{
    static const struct hostile_case same = {.name = "good", .code = KP_OK, .reason = ""};
    kp_auto_value(kp_buf) again = KP_BUF(ARCHIVE_FILE_MAX);
    struct archive a;
    archive_open(&a, good, run->f->key);
    archive_write(&a, &again);
    if (again.len != good.len || memcmp(again.data, good.ptr, good.len) != 0)
        complain(run, &same, "taken apart and put together", "another file");
    visit(run, &same, &a);
    archive_sign(&a);
    visit(run, &same, &a);
    archive_close(&a);
}

static void print_name(void *user, const struct hostile_case *one, struct archive *archive)
{
    (void)user;
    (void)archive;
    printf("%s\t%d\t%s\n", one->name, one->code, one->reason);
}

int main(int argc, char **argv)
{
    struct fixture f;
    struct kp_err err = KP_ERR_INIT;
    size_t len;
    if (argc != 2)
        return 2;
    kp_auto_free char *good = hostile_good(&f, &len);
    struct kp_slice bytes = {good, len};
    struct run run = {.kpack = argv[1],
                      .f = &f,
                      .file = kp_path_join(f.dir, "hostile.tar.zst"),
                      .out = kp_path_join(f.dir, "out"),
                      .beside = kp_path_join(f.dir, "empty")};
    if (strcmp(argv[1], "--list") == 0) {
        hostile_each(bytes, f.key, print_name, NULL);
    } else if (kp_mkdirs(run.beside, 0755, &err) < 0 || chdir(run.beside) < 0) {
        run.failed++;
    } else {
        check_identity(&run, bytes);
        hostile_each(bytes, f.key, visit, &run);
        printf("%zu cases, %zu complaints\n", run.cases, run.failed);
    }
    fixture_close(&f);
    kp_free(run.file);
    kp_free(run.out);
    kp_free(run.beside);
    return run.failed ? 1 : 0;
}
