/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/create_screen.h"

#include "core/text.h"

struct shown_job {
    struct shown_job *next;
    const struct kp_fetch_job *job;
    struct kp_row *row;
    uint64_t done;
    bool counted; // its size is part of the total
};

struct kp_create_screen {
    struct kp_screen *screen;
    struct shown_job *jobs;
    uint64_t done, total;
};

struct kp_create_screen *kp_create_screen_new(struct kp_screen *screen)
{
    struct kp_create_screen *shown = kp_alloc(sizeof(*shown));
    shown->screen = screen;
    return shown;
}

void kp_create_screen_free(struct kp_create_screen *shown)
{
    if (!shown)
        return;
    while (shown->jobs) {
        struct shown_job *job = shown->jobs;
        shown->jobs = job->next;
        kp_row_done(job->row, NULL);
        kp_free(job);
    }
    kp_free(shown);
}

static struct shown_job **find_job(struct kp_create_screen *shown, const struct kp_fetch_job *job)
{
    struct shown_job **at = &shown->jobs;
    while (*at && (*at)->job != job)
        at = &(*at)->next;
    return at;
}

static void note_size(struct kp_create_screen *shown, struct shown_job *at)
{
    if (at->counted || !at->job->total_bytes)
        return;
    shown->total += at->job->total_bytes;
    at->counted = true;
}

static void on_started(void *user, const struct kp_fetch_job *job)
{
    struct kp_create_screen *shown = user;
    if (job->quiet || *find_job(shown, job))
        return;
    struct shown_job *at = kp_alloc(sizeof(*at));
    uint64_t size = job->size ? job->size : job->total_bytes;
    *at = (struct shown_job){.next = shown->jobs, .job = job, .counted = size != 0};
    at->row = kp_screen_row(shown->screen, job->name, size);
    shown->jobs = at;
}

static void on_moved(void *user, const struct kp_fetch_job *job)
{
    struct kp_create_screen *shown = user;
    struct shown_job *at = *find_job(shown, job);
    if (!at)
        return;
    note_size(shown, at);
    shown->done += job->done_bytes - at->done; // a restart makes it smaller: wraps back
    at->done = job->done_bytes;
    kp_row_set(at->row, job->done_bytes);
    kp_screen_total(shown->screen, shown->done, shown->total);
}

static void on_note(void *user, const struct kp_fetch_job *job, const char *text)
{
    struct kp_create_screen *shown = user;
    struct shown_job *at = *find_job(shown, job);
    if (at)
        kp_row_note(at->row, "%s", text);
    if (!kp_screen_live(shown->screen))
        kp_screen_line(shown->screen, "%s: %s", job->name, text);
}

static void on_finished(void *user, const struct kp_fetch_job *job, bool ok)
{
    struct kp_create_screen *shown = user;
    struct shown_job **at = find_job(shown, job);
    struct shown_job *gone = *at;
    if (!gone)
        return;
    on_moved(user, job);
    if (ok)
        kp_row_done(gone->row, "done   %s", job->expected ? "sha256 ok" : "sha256 noted");
    else
        kp_row_done(gone->row, NULL);
    *at = gone->next;
    kp_free(gone);
}

struct kp_fetch_watch kp_create_watch(struct kp_create_screen *shown)
{
    return (struct kp_fetch_watch){on_started, on_moved, on_note, on_finished, shown};
}

void kp_create_expect(struct kp_create_screen *shown, uint64_t bytes)
{
    shown->total = bytes;
}

static char *join(const char *const *words)
{
    kp_auto_value(kp_buf) buf = KP_BUF(65536);
    for (size_t i = 0; words[i]; i++)
        kp_buf_addf(&buf, "%s%s", i ? " " : "", words[i]);
    return kp_buf_steal(&buf);
}

static size_t count_downloads(const struct kp_plan *plan)
{
    size_t count = 0;
    for (size_t i = 0; i < plan->file_count; i++)
        count += kp_starts_with(plan->files[i].url, "https://");
    return count;
}

static const char *plural(size_t n)
{
    return n == 1 ? "" : "s";
}

char *kp_plan_summary(const struct kp_gather *gather)
{
    const struct kp_plan *plan = gather->plan;
    struct kp_gather_sizes sizes = kp_gather_measure(gather);
    kp_auto_free char *arches = join(plan->arches);
    kp_auto_value(kp_buf) buf = KP_BUF(65536);
    size_t files = count_downloads(plan);
    kp_buf_addf(&buf, "release   %s (%s)   network %s   arch %s\n", plan->kubernetes,
                plan->release_path ? plan->release_path : "lock", plan->network, arches);
    kp_buf_addf(&buf, "plan      %zu file%s · %zu image%s · %zu manifest%s   fetch %s", files,
                plural(files), plan->image_count, plural(plan->image_count), plan->manifest_count,
                plural(plan->manifest_count), kp_text_bytes(sizes.fetch).s);
    if (sizes.unknown)
        kp_buf_addf(&buf, " and %zu file%s", sizes.unknown, plural(sizes.unknown));
    kp_buf_addf(&buf, " (%s cached)   bundle %s %s", kp_text_bytes(sizes.cached).s,
                sizes.unknown ? "more than" : "about", kp_text_bytes(sizes.bundle).s);
    if (gather->held)
        kp_buf_addf(&buf, "   left out about %s, which the site has", kp_text_bytes(sizes.saved).s);
    return kp_buf_steal(&buf);
}

static const char *pin_text(bool known, enum kp_checked checked)
{
    return known || checked != KP_CHECKED_SEEN ? kp_checked_text(checked) : "not pinned";
}

static void print_files(const struct kp_gather *gather)
{
    static const char *const heads[] = {"FILE", "VERSION", "ARCH", "SIZE", "SHA256", "FROM"};
    kp_auto(kp_table) table = kp_table_new(KP_COUNT(heads), heads);
    kp_table_right(table, 3);
    for (size_t i = 0; i < gather->plan->file_count; i++) {
        const struct kp_plan_file *file = &gather->plan->files[i];
        uint64_t size = file->size ? file->size : file->announced;
        bool cached = kp_cache_has(gather->cache, &file->digest, &size);
        kp_table_cell(table, KP_PLAIN, "%s", file->component);
        kp_table_cell(table, KP_PLAIN, "%s", file->version);
        kp_table_cell(table, KP_PLAIN, "%s", file->arch);
        kp_table_cell(table, KP_PLAIN, "%s", size ? kp_text_bytes(size).s : "?");
        kp_table_cell(table, KP_PLAIN, "%s", pin_text(file->known, file->checked));
        kp_table_cell(table, cached ? KP_DIM : KP_PLAIN, "%s%s",
                      file->local ? file->local : file->url, cached ? " (cached)" : "");
    }
    kp_table_print(table, stdout);
}

static void print_images(const struct kp_gather *gather)
{
    static const char *const heads[] = {"IMAGE", "FETCH", "DIGEST", "CHECKED", "WHY"};
    kp_auto(kp_table) table = kp_table_new(KP_COUNT(heads), heads);
    kp_table_right(table, 1);
    for (size_t i = 0; i < gather->plan->image_count; i++) {
        const struct kp_plan_image *image = &gather->plan->images[i];
        kp_table_cell(table, KP_PLAIN, "%s", image->reference);
        kp_table_cell(table, KP_PLAIN, "%s", kp_text_bytes(gather->images[i].download).s);
        kp_table_cell(table, KP_PLAIN, "sha256:%.12s", kp_digest_hex(&image->root).hex);
        kp_table_cell(table, image->checked == KP_CHECKED_EXPECTED_MISMATCH ? KP_YELLOW : KP_PLAIN,
                      "%s", kp_checked_text(image->checked));
        kp_table_cell(table, KP_PLAIN, "%s", image->why);
    }
    kp_table_print(table, stdout);
}

void kp_plan_print(const struct kp_gather *gather)
{
    kp_auto_free char *summary = kp_plan_summary(gather);
    printf("%s\n\n", summary);
    print_files(gather);
    putchar('\n');
    print_images(gather);
    for (size_t i = 0; i < gather->plan->manifest_count; i++) {
        const struct kp_plan_manifest *manifest = &gather->plan->manifests[i];
        printf("%smanifest  %s   %s   %s\n", i ? "" : "\n", manifest->name,
               kp_checked_text(manifest->checked),
               manifest->local ? manifest->local : manifest->url);
    }
}

json_t *kp_plan_json(const struct kp_gather *gather)
{
    const struct kp_plan *plan = gather->plan;
    struct kp_gather_sizes sizes = kp_gather_measure(gather);
    json_t *files = json_array(), *images = json_array(), *manifests = json_array();
    for (size_t i = 0; i < plan->file_count; i++) {
        const struct kp_plan_file *file = &plan->files[i];
        json_array_append_new(files, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "component",
                                               file->component, "version", file->version, "arch",
                                               file->arch, "url", file->url, "sha256",
                                               kp_digest_hex(&file->digest).hex, "checked",
                                               pin_text(file->known, file->checked)));
    }
    for (size_t i = 0; i < plan->image_count; i++) {
        const struct kp_plan_image *image = &plan->images[i];
        json_array_append_new(images,
                              json_pack("{s:s, s:s, s:s, s:s, s:I}", "reference", image->reference,
                                        "digest", kp_digest_hex(&image->root).hex, "checked",
                                        kp_checked_text(image->checked), "why", image->why, "fetch",
                                        (json_int_t)gather->images[i].download));
    }
    for (size_t i = 0; i < plan->manifest_count; i++)
        json_array_append_new(manifests,
                              json_pack("{s:s, s:s, s:s}", "name", plan->manifests[i].name, "url",
                                        plan->manifests[i].url, "sha256",
                                        kp_digest_hex(&plan->manifests[i].digest).hex));
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:i, s:I, s:I, s:o, s:o, s:o}", "name", plan->name,
                     "kubernetes", plan->kubernetes, "network", plan->network, "fetch",
                     (json_int_t)sizes.fetch, "cached", (json_int_t)sizes.cached, "unknown_sizes",
                     (int)sizes.unknown, "bundle_about", (json_int_t)sizes.bundle, "saved_about",
                     (json_int_t)sizes.saved, "files", files, "images", images, "manifests",
                     manifests);
}
