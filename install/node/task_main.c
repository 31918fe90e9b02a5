/* SPDX-License-Identifier: Apache-2.0 */
/* `knode task FOLDER`: what a transient unit runs. */
#include "install/node/run.h"

#include "core/file.h"
#include "core/proc.h"
#include "core/text.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define COMMAND_FILE_MAX ((size_t)4 << 20)

static int redirect(const char *folder, const char *name, int target, struct kp_err *err)
{
    kp_auto_free char *path = kp_path_join(folder, name);
    kp_auto_fd int fd =
        open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || dup2(fd, target) < 0)
        return kp_fail_sys(err, errno, "open %s", path);
    return 0;
}

// The input may be a secret: it is gone from disk before the command begins.
static int take_input(const json_t *command, struct kp_buf *input, struct kp_err *err)
{
    const char *path = json_string_value(json_object_get(command, "input"));
    if (!path)
        return 0;
    kp_auto_free char *text = NULL;
    size_t len;
    if (kp_file_read(path, KP_INPUT_MAX, &text, &len, err) < 0)
        return -1;
    (void)unlink(path);
    kp_buf_add(input, text, len);
    explicit_bzero(text, len);
    return 0;
}

static int feed_all(struct kp_proc *proc, const struct kp_buf *input)
{
    struct kp_err ignored;
    // A command that does not want all of its input says so by its status.
    if (proc->in >= 0) {
        (void)!kp_write_full(proc->in, input->data, input->len, &ignored);
        close(proc->in);
        proc->in = -1;
    }
    return 0;
}

static json_t *run_it(const json_t *command, const char *folder)
{
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free const char **argv = NULL, **env = NULL;
    kp_auto_value(kp_buf) input = KP_BUF_SECRET(KP_INPUT_MAX);
    uint64_t timeout = 0;
    size_t n, env_count;
    int status = 0;
    struct kp_proc proc;
    if (kp_node_texts(command, "argv", KP_ARGS_MAX, &argv, &n, &err) < 0 ||
        kp_node_texts(command, "env", KP_ARGS_MAX, &env, &env_count, &err) < 0 ||
        kp_node_number(command, "timeout", UINT32_MAX, &timeout, &err) < 0 ||
        take_input(command, &input, &err) < 0 || redirect(folder, "out", STDOUT_FILENO, &err) < 0 ||
        redirect(folder, "err", STDERR_FILENO, &err) < 0 ||
        kp_proc_start(&proc, argv, env, KP_PROC_GROUP | (input.len ? KP_PROC_IN : 0), &err) < 0)
        return json_pack("{s:o}", "error", kp_err_to_json(&err));
    feed_all(&proc, &input);
    if (kp_proc_wait(&proc, (double)timeout, &status, &err) < 0)
        return json_pack("{s:b}", "timeout", 1);
    return json_pack("{s:i}", "status", status);
}

int kp_node_task_main(const char *folder, struct kp_err *err)
{
    kp_auto_free char *command_path = kp_path_join(folder, "command.json"), *text = NULL;
    kp_auto_free char *result_path = kp_path_join(folder, "result.json");
    kp_auto_json command = NULL;
    kp_auto_json result = NULL;
    size_t len;
    if (kp_file_read(command_path, COMMAND_FILE_MAX, &text, &len, err) < 0 ||
        kp_json_parse(&command, (struct kp_slice){text, len}, COMMAND_FILE_MAX, command_path, err) <
            0)
        return -1;
    result = run_it(command, folder);
    kp_auto_free char *dump = kp_json_dump(result, false);
    return kp_file_write_atomic(result_path, kp_slice_of(dump), 0600, err);
}
