/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The download half of kpack by itself, with its limits as options, so that tests can drive it
 * against servers that behave and servers that do not: fetch_probe file URL, image REFERENCE,
 * archive FILE MEMBER….
 */
#include "core/cli.h"
#include "core/file.h"
#include "core/interrupt.h"
#include "core/slice.h"
#include "core/text.h"
#include "pack/archive.h"
#include "pack/fetch_oci.h"

#include <stddef.h>
#include <stdio.h>

#define JOBS_MAX 64

struct options {
    bool json, resolve_only;
    const char *cache, *mirrors, *sha256, *arch;
    uint64_t size, max, jobs, attempts, backoff_ms, low_speed_seconds, retry_after_max;
};

struct session {
    struct kp_cache *cache;
    struct kp_mirrors *mirrors;
    struct kp_fetch *fetch;
};

static void show_note(void *user, const struct kp_fetch_job *job, const char *text)
{
    (void)user;
    fprintf(stderr, "note %s: %s\n", job->name, text);
}

static void session_release(struct session *session)
{
    kp_fetch_free(session->fetch);
    kp_mirrors_free(session->mirrors);
    kp_cache_free(session->cache);
}
#define auto_session __attribute__((cleanup(session_release))) struct session

static int open_session(struct session *session, const struct options *o, struct kp_err *err)
{
    if (kp_cache_open(&session->cache, o->cache, err) < 0 ||
        kp_mirrors_load(&session->mirrors, o->mirrors, err) < 0)
        return -1;
    struct kp_fetch_options options = {
        .cache = session->cache,
        .mirrors = session->mirrors,
        .watch = {.note = show_note},
        .jobs = (unsigned)o->jobs,
        .attempts = (unsigned)o->attempts,
        .backoff = (double)o->backoff_ms / 1000,
        .low_speed_seconds = (unsigned)o->low_speed_seconds,
        .retry_after_max = (double)o->retry_after_max,
    };
    session->fetch = kp_fetch_new(&options);
    return 0;
}

static int run_file(void *options, int argc, char **argv, struct kp_err *err)
{
    const struct options *o = options;
    auto_session session = {0};
    struct kp_digest expected;
    static struct kp_fetch_job jobs[JOBS_MAX];
    if (o->sha256 && !kp_digest_parse(kp_slice_of(o->sha256), &expected))
        return kp_fail(err, KP_USAGE, "--sha256 is not a digest");
    if (open_session(&session, o, err) < 0)
        return -1;
    for (int i = 0; i < argc && i < JOBS_MAX; i++) {
        jobs[i] = (struct kp_fetch_job){.name = argv[i],
                                        .url = argv[i],
                                        .expected = o->sha256 ? &expected : NULL,
                                        .size = o->size,
                                        .max = o->max};
        kp_fetch_add(session.fetch, &jobs[i]);
    }
    if (kp_fetch_run(session.fetch, err) < 0)
        return -1;
    for (int i = 0; i < argc && i < JOBS_MAX; i++)
        printf("%s %llu %s resumed=%llu\n", kp_digest_hex(&jobs[i].digest).hex,
               (unsigned long long)jobs[i].got, jobs[i].cached ? "cached" : "fetched",
               (unsigned long long)jobs[i].resumed_from);
    return 0;
}

static void print_image(const struct kp_oci_image *image)
{
    static const char *const kinds[] = {"index", "manifest", "config", "layer"};
    kp_auto_free char *name = kp_reference_text(&image->parsed);
    printf("image %s sha256:%s %s download=%llu\n", name, kp_digest_hex(&image->root).hex,
           image->media_type, (unsigned long long)image->download);
    for (size_t i = 0; i < image->blob_count; i++) {
        const struct kp_oci_blob *blob = &image->blobs[i];
        printf("  %s %s sha256:%s %llu %s\n", kinds[blob->kind], blob->arch ? blob->arch : "-",
               kp_digest_hex(&blob->digest).hex, (unsigned long long)blob->size, blob->media_type);
    }
}

static size_t split_arches(char *text, const char *out[KP_OCI_ARCHES_MAX + 1])
{
    size_t n = 0;
    for (char *comma; n < KP_OCI_ARCHES_MAX; text = comma + 1) {
        comma = strchr(text, ',');
        if (comma)
            *comma = '\0';
        out[n++] = text;
        if (!comma)
            break;
    }
    out[n] = NULL;
    return n;
}

static int run_image(void *options, int argc, char **argv, struct kp_err *err)
{
    const struct options *o = options;
    auto_session session = {0};
    static struct kp_oci_image images[JOBS_MAX];
    const char *arches[KP_OCI_ARCHES_MAX + 1];
    kp_auto_free char *list = kp_strdup(o->arch ? o->arch : "amd64");
    struct kp_digest root;
    split_arches(list, arches);
    if (o->sha256 && !kp_digest_parse(kp_slice_of(o->sha256), &root))
        return kp_fail(err, KP_USAGE, "--sha256 is not a digest");
    if (open_session(&session, o, err) < 0)
        return -1;
    kp_auto(kp_oci) oci = kp_oci_new(session.fetch);
    size_t count = argc < JOBS_MAX ? (size_t)argc : JOBS_MAX;
    for (size_t i = 0; i < count; i++)
        images[i] = (struct kp_oci_image){
            .reference = argv[i], .arches = arches, .digest = o->sha256 ? &root : NULL};
    double begin = kp_now();
    if (kp_oci_resolve(oci, images, count, err) < 0)
        return -1;
    double resolved = kp_now();
    if (!o->resolve_only && kp_oci_download(oci, images, count, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        print_image(&images[i]);
    struct kp_fetch_totals totals = kp_fetch_totals(session.fetch);
    printf("totals requests=%llu retries=%llu fetched=%llu\n", (unsigned long long)totals.requests,
           (unsigned long long)totals.retries, (unsigned long long)totals.fetched);
    fprintf(stderr, "resolved in %s, fetched in %s\n", kp_text_seconds(resolved - begin).s,
            kp_text_seconds(kp_now() - resolved).s);
    return 0;
}

static int run_archive(void *options, int argc, char **argv, struct kp_err *err)
{
    const struct options *o = options;
    kp_auto(kp_cache) cache = NULL;
    kp_auto_free char *data = NULL;
    size_t len;
    struct kp_digest digest;
    struct kp_archive_member members[JOBS_MAX];
    struct kp_archive_limits limits = {.total = o->max, .member = o->size};
    size_t count = (size_t)argc - 1;
    if (count > JOBS_MAX)
        return kp_fail(err, KP_USAGE, "too many members");
    if (kp_cache_open(&cache, o->cache, err) < 0 ||
        kp_file_read(argv[0], (size_t)1 << 30, &data, &len, err) < 0 ||
        kp_cache_put(cache, (struct kp_slice){data, len}, &digest, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        members[i] = (struct kp_archive_member){.name = argv[i + 1]};
    if (kp_archive_extract(cache, &digest, kp_path_base(argv[0]), members, count, &limits, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        printf("%s %llu %s\n", kp_digest_hex(&members[i].digest).hex,
               (unsigned long long)members[i].size, members[i].name);
    return 0;
}

#define AT(member) offsetof(struct options, member)
static const struct kp_option options_table[] = {
    {"json", 0, KP_OPT_FLAG, AT(json), NULL, "errors as JSON", 0},
    {"resolve-only", 0, KP_OPT_FLAG, AT(resolve_only), NULL, "image: no layers", 0},
    {"cache", 0, KP_OPT_TEXT, AT(cache), "DIR", "the cache", 0},
    {"mirrors", 0, KP_OPT_TEXT, AT(mirrors), "FILE", "mirrors file", 0},
    {"sha256", 0, KP_OPT_TEXT, AT(sha256), "HEX", "expected digest", 0},
    {"arch", 0, KP_OPT_TEXT, AT(arch), "LIST", "architectures", 0},
    {"size", 0, KP_OPT_SIZE, AT(size), "BYTES", "expected size; archive: of a member", 0},
    {"max", 0, KP_OPT_SIZE, AT(max), "BYTES", "size limit", 0},
    {"jobs", 0, KP_OPT_NUMBER, AT(jobs), "N", "transfers at once", 64},
    {"attempts", 0, KP_OPT_NUMBER, AT(attempts), "N", "attempts", 100},
    {"backoff-ms", 0, KP_OPT_NUMBER, AT(backoff_ms), "N", "first wait", 60000},
    {"low-speed-seconds", 0, KP_OPT_NUMBER, AT(low_speed_seconds), "N", "slow for so long", 600},
    {"retry-after-max", 0, KP_OPT_NUMBER, AT(retry_after_max), "N", "seconds", 3600},
    {0},
};
static const struct kp_command commands[] = {
    {"file", "URL…", 1, JOBS_MAX, "fetch files", NULL, options_table, sizeof(struct options),
     run_file},
    {"image", "REFERENCE…", 1, JOBS_MAX, "fetch images", NULL, options_table,
     sizeof(struct options), run_image},
    {"archive", "FILE MEMBER…", 2, JOBS_MAX, "take members out of an archive", NULL, options_table,
     sizeof(struct options), run_archive},
    {0},
};

int main(int argc, char **argv)
{
    static const struct kp_program program = {"fetch_probe", "the downloads of kpack, for tests",
                                              commands, NULL};
    kp_interrupt_catch();
    return kp_cli_main(&program, argc, argv);
}
