/* SPDX-License-Identifier: Apache-2.0 */
/* Commands as transient units: what kinstall's end of the line does. */
#include "install/node/run.h"

#include "core/file.h"
#include "core/proc.h"
#include "core/text.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLLOW_EVERY 30000     /* us */
#define LOOK_AT_UNIT_EVERY 1.0 /* seconds between questions to systemd */
#define COMMAND_FILE_MAX ((size_t)4 << 20)

struct task {
    struct kp_node_request *request;
    const struct kp_node_command *command;
    char *folder, *command_file, *result_file, *out_file, *err_file, *input_file, *service;
    char digest[KP_SHA256_HEX + 1]; /* of argv, env, input: is it the same command? */
    int out, err;                   /* being followed; -1 until there */
};

static void task_release(struct task *t)
{
    char **all[] = {&t->folder,   &t->command_file, &t->result_file, &t->out_file,
                    &t->err_file, &t->input_file,   &t->service};
    for (size_t i = 0; i < KP_COUNT(all); i++)
        kp_free(kp_steal(all[i]));
    if (t->out >= 0)
        close(t->out);
    if (t->err >= 0)
        close(t->err);
}
KP_DEFINE_AUTO_VALUE(task);

static void digest_command(struct task *t)
{
    struct kp_digest digest;
    kp_auto(kp_hash) hash = kp_hash_new();
    for (size_t i = 0; i < t->command->argc; i++)
        kp_hash_update(hash, t->command->argv[i], strlen(t->command->argv[i]) + 1);
    kp_hash_update(hash, "\0env", 4);
    for (size_t i = 0; i < t->command->env_count; i++)
        kp_hash_update(hash, t->command->env[i], strlen(t->command->env[i]) + 1);
    kp_hash_update(hash, "\0in", 3);
    kp_hash_update(hash, t->command->input.ptr, t->command->input.len);
    kp_hash_finish(hash, &digest);
    memcpy(t->digest, kp_digest_hex(&digest).hex, sizeof(t->digest));
}

static void task_begin(struct task *t, struct kp_node_request *request,
                       const struct kp_node_command *command)
{
    struct kp_node_state *state = kp_node_request_state(request);
    kp_auto_free char *all = kp_node_own(state, KP_TASK_FOLDER);
    *t = (struct task){.request = request, .command = command, .out = -1, .err = -1};
    t->folder = kp_path_join(all, command->unit);
    t->command_file = kp_path_join(t->folder, "command.json");
    t->result_file = kp_path_join(t->folder, "result.json");
    t->out_file = kp_path_join(t->folder, "out");
    t->err_file = kp_path_join(t->folder, "err");
    t->input_file = kp_asprintf("%s%s/%s.input", state->root, KP_TASK_INPUT_FOLDER, command->unit);
    t->service = kp_asprintf("%s.service", command->unit);
    digest_command(t);
}

static bool is_running(const struct task *t)
{
    const char *argv[] = {"systemctl", "is-active", t->service, NULL};
    kp_auto_free char *said = kp_node_output(argv, NULL);
    said[strcspn(said, "\n")] = '\0';
    return strcmp(said, "active") == 0 || strcmp(said, "activating") == 0 ||
           strcmp(said, "deactivating") == 0 || strcmp(said, "reloading") == 0;
}

static int pass_on(struct task *t, int *fd, const char *path, unsigned flags, struct kp_err *err)
{
    char block[16384];
    if (*fd < 0)
        *fd = open(path, O_RDONLY | O_CLOEXEC);
    while (*fd >= 0) {
        ssize_t n = read(*fd, block, sizeof(block));
        if (n <= 0)
            break;
        if (kp_node_write(t->request, flags, block, (size_t)n, err) < 0)
            return -1;
    }
    return 0;
}

// *lost: the unit is gone and left no result (killed, or the node went down).
static int follow(struct task *t, bool *lost, struct kp_err *err)
{
    double next = kp_now() + LOOK_AT_UNIT_EVERY;
    for (bool ended = false;;) {
        bool done = kp_file_exists(t->result_file);
        if (pass_on(t, &t->out, t->out_file, 0, err) < 0 ||
            pass_on(t, &t->err, t->err_file, KP_FLAG_STDERR, err) < 0)
            return -1;
        *lost = ended && !done;
        if (done || ended)
            return 0;
        if (kp_now() >= next) {
            ended = !is_running(t);
            next = kp_now() + LOOK_AT_UNIT_EVERY;
        }
        if (kp_node_cancelled(t->request))
            return kp_fail_as(err, KP_FAILED, "interrupted", "%s goes on by itself", t->service);
        usleep(FOLLOW_EVERY);
    }
}

static int read_json(const char *path, json_t **out, struct kp_err *err)
{
    kp_auto_free char *text = NULL;
    size_t len;
    if (kp_file_read(path, COMMAND_FILE_MAX, &text, &len, err) < 0)
        return -1;
    return kp_json_parse(out, (struct kp_slice){text, len}, COMMAND_FILE_MAX, path, err);
}

static bool same_text(const json_t *object, const char *key, const char *text)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value && strcmp(value, text) == 0;
}

/* *match: the folder is about this very command; *own: begun by this run. */
static void compare_command(const struct task *t, bool *match, bool *own)
{
    struct kp_err ignored;
    kp_auto_json known = NULL;
    *match = *own = false;
    if (read_json(t->command_file, &known, &ignored) < 0)
        return;
    const char *run = kp_node_request_state(t->request)->run_id;
    *match = same_text(known, "digest", t->digest);
    *own = *run && same_text(known, "run", run);
}

static json_t *command_json(const struct task *t)
{
    json_t *argv = json_array(), *env = json_array();
    for (size_t i = 0; i < t->command->argc; i++)
        json_array_append_new(argv, json_string(t->command->argv[i]));
    for (size_t i = 0; i < t->command->env_count; i++)
        json_array_append_new(env, json_string(t->command->env[i]));
    return json_pack("{s:o, s:o, s:I, s:s, s:s, s:s*}", "argv", argv, "env", env, "timeout",
                     (json_int_t)t->command->timeout, "digest", t->digest, "run",
                     kp_node_request_state(t->request)->run_id, "input",
                     t->command->input.len ? t->input_file : NULL);
}

static int write_command(const struct task *t, struct kp_err *err)
{
    kp_auto_json command = command_json(t);
    if (!command)
        return kp_fail_as(err, KP_USAGE, "bad_request", "the command is not UTF-8");
    kp_auto_free char *text = kp_json_dump(command, false), *inputs = kp_path_dir(t->input_file);
    if (kp_remove_tree(t->folder, err) < 0 || kp_mkdirs(t->folder, 0700, err) < 0 ||
        kp_file_write_atomic(t->command_file, kp_slice_of(text), 0600, err) < 0)
        return -1;
    if (!t->command->input.len)
        return 0;
    if (kp_mkdirs(inputs, 0700, err) < 0)
        return -1;
    return kp_file_write_atomic(t->input_file, t->command->input, 0600, err);
}

static int start(const struct task *t, struct kp_err *err)
{
    char self[KP_PATH_MAX] = "";
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n <= 0)
        return kp_fail_sys(err, errno, "find knode");
    // A unit of that name that failed before would stand in the way.
    const char *reset[] = {"systemctl", "reset-failed", t->service, NULL};
    kp_free(kp_node_output(reset, NULL));
    if (write_command(t, err) < 0)
        return -1;
    kp_auto_free char *unit = kp_asprintf("--unit=%s", t->service);
    const char *argv[] = {"systemd-run",
                          "--quiet",
                          "--collect",
                          "--no-ask-password",
                          unit,
                          "--property=Type=exec",
                          "--property=KillMode=control-group",
                          "--",
                          self,
                          "task",
                          t->folder,
                          NULL};
    int status;
    kp_auto_free char *said = kp_node_output(argv, &status);
    return status == 0 ? 0 : kp_fail(err, KP_FAILED, "start %s: %s", t->service, said);
}

static int answer(struct task *t, bool attached, json_t **result, struct kp_err *err)
{
    kp_auto_json done = NULL;
    if (read_json(t->result_file, &done, err) < 0)
        return -1;
    if (json_is_true(json_object_get(done, "timeout")))
        return kp_fail_as(err, KP_FAILED, "timeout", "%s: did not end within %llu s",
                          t->command->argv[0], (unsigned long long)t->command->timeout);
    const json_t *failure = json_object_get(done, "error");
    if (failure) {
        kp_err_from_json(err, failure);
        return -1;
    }
    *result = json_pack("{s:O, s:b}", "status", json_object_get(done, "status"), "attached",
                        (int)attached);
    return *result
               ? 0
               : kp_fail_as(err, KP_DAMAGED, "bad_document", "%s has no status", t->result_file);
}

static bool unread_counts(const struct task *t, bool match, bool own)
{
    struct kp_err ignored;
    kp_auto_json done = NULL;
    if (!match || read_json(t->result_file, &done, &ignored) < 0)
        return false;
    // A failure of an earlier run may long be repaired: that command is run again.
    return own || json_integer_value(json_object_get(done, "status")) == 0;
}

int kp_node_run_unit(struct kp_node_request *request, const struct kp_node_command *command,
                     json_t **result, struct kp_err *err)
{
    kp_auto_value(task) t;
    bool match, own, lost = false;
    if (!kp_node_has_systemd())
        return kp_fail_as(err, KP_MISSING, "no_systemd", "this node does not run systemd");
    task_begin(&t, request, command);
    compare_command(&t, &match, &own);
    bool running = is_running(&t);
    if (running && follow(&t, &lost, err) < 0)
        return -1;
    if (running && match && !lost)
        return answer(&t, true, result, err);
    if (!running && unread_counts(&t, match, own))
        return follow(&t, &lost, err) < 0 ? -1 : answer(&t, true, result, err);
    kp_auto_value(task) fresh;
    task_begin(&fresh, request, command);
    if (kp_node_commit(kp_node_request_state(request), false, err) < 0 || start(&fresh, err) < 0 ||
        follow(&fresh, &lost, err) < 0)
        return -1;
    if (lost) {
        kp_fail_as(err, KP_FAILED, "ended", "%s ended without a result (killed?)", fresh.service);
        return kp_hint(err, "on the node: journalctl -u %s", fresh.service);
    }
    return answer(&fresh, false, result, err);
}

int kp_node_op_ran(struct kp_node_request *request, const json_t *args, json_t **result,
                   struct kp_err *err)
{
    const char *unit;
    if (kp_node_text(args, "unit", 64, &unit, err) < 0)
        return -1;
    if (!kp_starts_with(unit, "kpack-") || strchr(unit, '/'))
        return kp_fail_as(err, KP_USAGE, "bad_request", "unit \"%s\" is not kpack-<name>", unit);
    kp_auto_free char *all = kp_node_own(kp_node_request_state(request), KP_TASK_FOLDER);
    kp_auto_free char *folder = kp_path_join(all, unit);
    *result = json_object();
    return kp_remove_tree(folder, err);
}
