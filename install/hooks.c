/* SPDX-License-Identifier: Apache-2.0 */
#include "install/hooks.h"

#include "core/file.h"
#include "core/proc.h"
#include "core/text.h"
#include "core/zst.h"
#include "install/journal.h"
#include "install/steps/common.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <unistd.h>

#define NOTES "hooks.json"
#define NOTES_MAX ((size_t)1 << 20)
#define SCRIPT_MAX ((size_t)1 << 20)
#define OUTPUT_MAX ((size_t)4 << 20)
#define WINDOW_LOG_MAX 27
#define TAIL_MAX 600
#define RUN_BYTES 16

/* --- what was done ---------------------------------------------------------------------------- */

static char *notes_path(const struct kp_site *site)
{
    return kp_path_join(site->state_folder, NOTES);
}

static json_t *fresh_notes(const struct kp_site *site)
{
    uint8_t bytes[RUN_BYTES];
    char run[2 * RUN_BYTES + 1] = "";
    if (RAND_bytes(bytes, sizeof(bytes)) == 1)
        for (size_t i = 0; i < sizeof(bytes); i++)
            snprintf(run + 2 * i, 3, "%02x", bytes[i]);
    return json_pack("{s:s, s:s, s:[]}", "run", run, "bundle",
                     kp_digest_hex(&site->manifest->id).hex, "done");
}

/* Of the run that goes on; of another bundle's they do not count. */
static json_t *load_notes(const struct kp_site *site)
{
    kp_auto_free char *path = notes_path(site), *text = NULL;
    kp_auto_json notes = NULL;
    struct kp_err ignored;
    size_t len;
    if (kp_file_read(path, NOTES_MAX, &text, &len, &ignored) == 0 &&
        kp_json_parse(&notes, (struct kp_slice){text, len}, NOTES_MAX, NOTES, &ignored) == 0) {
        const char *bundle = json_string_value(json_object_get(notes, "bundle"));
        if (bundle && strcmp(bundle, kp_digest_hex(&site->manifest->id).hex) == 0 &&
            json_string_value(json_object_get(notes, "run")) &&
            json_is_array(json_object_get(notes, "done")))
            return kp_steal(&notes);
    }
    return fresh_notes(site);
}

static int store_notes(const struct kp_site *site, const json_t *notes, struct kp_err *err)
{
    kp_auto_free char *path = notes_path(site), *text = kp_json_dump(notes, false);
    return kp_file_write_atomic(path, kp_slice_of(text), 0600, err);
}

static bool is_done(const json_t *notes, const char *what)
{
    size_t i;
    const json_t *item;
    json_array_foreach(json_object_get(notes, "done"), i, item)
    {
        if (strcmp(json_string_value(item) ? json_string_value(item) : "", what) == 0)
            return true;
    }
    return false;
}

/* *done; else the run's own id in run: the same for all that belongs to it, and over cuts. */
static int begin(struct kp_site *site, const char *what, bool *done, char run[2 * RUN_BYTES + 1],
                 struct kp_err *err)
{
    pthread_mutex_lock(&site->lock);
    kp_auto_json notes = load_notes(site);
    *done = is_done(notes, what);
    snprintf(run, 2 * RUN_BYTES + 1, "%s", json_string_value(json_object_get(notes, "run")));
    int result = store_notes(site, notes, err);
    pthread_mutex_unlock(&site->lock);
    return result;
}

static int end(struct kp_site *site, const char *what, struct kp_err *err)
{
    pthread_mutex_lock(&site->lock);
    kp_auto_json notes = load_notes(site);
    json_array_append_new(json_object_get(notes, "done"), json_string(what));
    int result = store_notes(site, notes, err);
    pthread_mutex_unlock(&site->lock);
    return result;
}

void kp_hooks_end(struct kp_site *site)
{
    kp_auto_free char *path = notes_path(site);
    unlink(path);
}

/* --- running ---------------------------------------------------------------------------------- */

static const char *when_of(const struct kp_hook *hook)
{
    return hook->after ? "after" : "before";
}

static int fail_hook(const struct kp_hook *hook, const char *where, int status,
                     struct kp_slice said, struct kp_err *err)
{
    said = kp_slice_trim(said);
    if (said.len > TAIL_MAX)
        said = (struct kp_slice){said.ptr + said.len - TAIL_MAX, TAIL_MAX};
    kp_fail_as(err, KP_FAILED, "hook_failed", "hook %s (%s %s) on %s failed (exit %d)%s%.*s",
               hook->file, when_of(hook), hook->phase, where, status, said.len ? ": " : "",
               (int)said.len, said.ptr ? said.ptr : "");
    return kp_hint(err, "mend what it needs and run the same command again: it goes on with this "
                        "hook; or make the bundle without it");
}

static int run_on_node(struct kp_site *site, struct kp_site_node *node, const struct kp_hook *hook,
                       const char *run_id, struct kp_err *err)
{
    const struct kp_file *file = kp_manifest_file(site->manifest, hook->file, node->arch);
    kp_auto(kp_arena) arena = kp_arena_new();
    if (!file)
        return kp_fail_as(err, KP_MISSING, "missing_file", "the bundle has no %s for %s",
                          hook->file, node->arch);
    const char *argv[] = {file->target, NULL};
    const char *env[] = {KP_PATH_ENV,
                         kp_arena_printf(arena, "KPACK_RUN=%s", run_id),
                         kp_arena_printf(arena, "KPACK_PHASE=%s", hook->phase),
                         kp_arena_printf(arena, "KPACK_WHEN=%s", when_of(hook)),
                         kp_arena_printf(arena, "KPACK_CLUSTER=%s", site->inventory->cluster),
                         kp_arena_printf(arena, "KPACK_NODE=%s", node->node->name),
                         kp_arena_printf(arena, "KPACK_VERSION=%s", site->manifest->kubernetes),
                         NULL};
    const struct kp_run run = {.argv = argv,
                               .env = env,
                               .timeout = (unsigned)hook->timeout,
                               .unit = kp_arena_printf(arena, "kpack-hook-%zu",
                                                       (size_t)(hook - site->manifest->hooks) + 1)};
    kp_auto_value(kp_run_result) result = {0};
    if (kp_place_file(site, node, hook->file, true, NULL, err) < 0)
        return -1;
    if (kp_step_run(site, node, &run, &result, err) == 0)
        return 0;
    if (result.status == 0) // it could not be run, or not to its end
        return kp_wrap(err, "hook %s (%s %s)", hook->file, when_of(hook), hook->phase);
    return fail_hook(hook, node->node->name, result.status,
                     kp_buf_slice(result.err_out.len ? &result.err_out : &result.out), err);
}

static int add_plain(void *user, const void *data, size_t len, struct kp_err *err)
{
    struct kp_buf *out = user;
    (void)err;
    kp_buf_add(out, data, len);
    return 0;
}

/* The script, unpacked out of the bundle and checked, as a file of the state folder. */
static int take_script(const struct kp_site *site, const struct kp_hook *hook, char **path,
                       struct kp_err *err)
{
    const struct kp_file *file =
        kp_manifest_file(site->manifest, hook->file, site->manifest->arches[0]);
    kp_auto_value(kp_buf) plain = KP_BUF(SCRIPT_MAX + 1);
    kp_auto_free char *packed = NULL, *folder = kp_path_join(site->state_folder, "hooks");
    kp_auto(kp_unzst) stream = kp_unzst_new(SCRIPT_MAX, WINDOW_LOG_MAX, add_plain, &plain);
    struct kp_digest digest;
    size_t len;
    if (!file)
        return kp_fail_as(err, KP_MISSING, "missing_file", "the bundle has no %s", hook->file);
    if (kp_bundle_load(site->bundle, &file->blob, 2 * SCRIPT_MAX, &packed, &len, err) < 0 ||
        kp_unzst_feed(stream, packed, len, err) < 0 || kp_unzst_finish(stream, err) < 0)
        return -1;
    kp_sha256(plain.data, plain.len, &digest);
    if (!kp_digest_equal(&digest, &file->sha256))
        return kp_fail_as(err, KP_DAMAGED, "damaged", "%s is not what was signed", hook->file);
    kp_auto_free char *to = kp_path_join(folder, hook->file);
    if (kp_mkdirs(folder, 0700, err) < 0 ||
        kp_file_write_atomic(to, kp_buf_slice(&plain), 0700, err) < 0)
        return -1;
    *path = kp_steal(&to);
    return 0;
}

static int run_here(struct kp_site *site, const struct kp_hook *hook, const char *run_id,
                    struct kp_err *err)
{
    kp_auto_free char *path = NULL;
    kp_auto(kp_arena) arena = kp_arena_new();
    kp_auto_value(kp_buf) out = KP_BUF(OUTPUT_MAX);
    kp_auto_value(kp_buf) errors = KP_BUF(OUTPUT_MAX);
    int status = 0;
    if (take_script(site, hook, &path, err) < 0)
        return -1;
    const char *argv[] = {path, NULL};
    const char *env[] = {kp_arena_printf(arena, "KPACK_RUN=%s", run_id),
                         kp_arena_printf(arena, "KPACK_PHASE=%s", hook->phase),
                         kp_arena_printf(arena, "KPACK_WHEN=%s", when_of(hook)),
                         kp_arena_printf(arena, "KPACK_CLUSTER=%s", site->inventory->cluster),
                         kp_arena_printf(arena, "KPACK_STATE=%s", site->state_folder),
                         kp_arena_printf(arena, "KPACK_VERSION=%s", site->manifest->kubernetes),
                         NULL};
    if (kp_proc_run(argv, env, (struct kp_slice){0}, (double)hook->timeout, OUTPUT_MAX, &out,
                    &errors, &status, err) < 0)
        return kp_wrap(err, "hook %s (%s %s)", hook->file, when_of(hook), hook->phase);
    kp_journal_log(site->journal, "admin", out.data ? out.data : "", out.len);
    kp_journal_log(site->journal, "admin", errors.data ? errors.data : "", errors.len);
    return status == 0 ? 0
                       : fail_hook(hook, "this host", status,
                                   kp_buf_slice(errors.len ? &errors : &out), err);
}

static bool is_place(const struct kp_hook *hook, const char *place)
{
    return strcmp(hook->where, place) == 0;
}

static bool is_named(const struct kp_hook *hook)
{
    for (const char *const *p = kp_hook_places; *p; p++)
        if (is_place(hook, *p))
            return false;
    return true;
}

static int apply_hook(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    const struct kp_hook *hook = site->hook;
    const char *where = node ? node->node->name : "admin";
    char run[2 * RUN_BYTES + 1];
    bool done;
    if (node && is_named(hook) && !is_place(hook, where))
        return 0;
    kp_auto_free char *what = kp_asprintf("%s %s", hook->file, where);
    kp_auto_free char *text =
        kp_asprintf("hook %s (%s %s)", hook->file, when_of(hook), hook->phase);
    if (begin(site, what, &done, run, err) < 0)
        return -1;
    if (done)
        return 0;
    kp_step_note(site, node, "%s", text);
    kp_journal_note(site->journal, "hook", node ? where : NULL, hook->file, text);
    if ((node ? run_on_node(site, node, hook, run, err) : run_here(site, hook, run, err)) < 0)
        return -1;
    return end(site, what, err);
}

struct kp_step kp_hook_step(const struct kp_hook *hook)
{
    static const struct {
        const char *place;
        enum kp_step_nodes nodes;
    } places[] = {{"admin", KP_STEP_ADMIN},
                  {"first", KP_STEP_FIRST},
                  {"control-plane", KP_STEP_CONTROL_PLANES},
                  {"worker", KP_STEP_WORKERS},
                  {"etcd", KP_STEP_ETCD}};
    struct kp_step step = {
        .name = "hook", .phase = hook->phase, .nodes = KP_STEP_EVERY, .apply = apply_hook};
    for (size_t i = 0; i < KP_COUNT(places); i++)
        if (is_place(hook, places[i].place))
            step.nodes = places[i].nodes;
    return step;
}

static bool is_node(const struct kp_site *site, const char *name)
{
    for (size_t i = 0; i < site->node_count; i++)
        if (strcmp(site->nodes[i].node->name, name) == 0)
            return true;
    return false;
}

void kp_hooks_plan(struct kp_site *site)
{
    for (size_t i = 0; i < site->manifest->hook_count; i++) {
        const struct kp_hook *hook = &site->manifest->hooks[i];
        kp_screen_line(site->screen, "  %-12s hook %s %s %s, at most %llu s%s", hook->where,
                       hook->file, when_of(hook), hook->phase, (unsigned long long)hook->timeout,
                       is_named(hook) && !is_node(site, hook->where)
                           ? " (no node of this inventory has that name)"
                           : "");
    }
}
