/* SPDX-License-Identifier: Apache-2.0 */
/* Op run as a plain child, in its own process group: ended with the connection. */
#include "install/node/run.h"

#include "core/proc.h"
#include "core/text.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMEOUT_MAX 86400
#define LOOK_EVERY 200 /* ms: how soon a cancelled command ends */

void kp_node_end_process(struct kp_proc *proc)
{
    if (proc->pid <= 0)
        return;
    kill(-proc->pid, SIGTERM);
    struct kp_err ignored;
    // kp_proc_wait kills what is left after that; the group may outlive its leader.
    pid_t group = proc->pid;
    (void)!kp_proc_wait(proc, 5, NULL, &ignored);
    kill(-group, SIGKILL);
    kp_proc_kill(proc);
}

static int feed(struct kp_proc *proc, struct kp_slice *input, struct kp_err *err)
{
    ssize_t n = write(proc->in, input->ptr, input->len);
    if (n < 0 && errno != EPIPE && errno != EINTR && errno != EAGAIN)
        return kp_fail_sys(err, errno, "write to the command");
    if (n > 0) {
        input->ptr += n;
        input->len -= (size_t)n;
    }
    if (!input->len || (n < 0 && errno == EPIPE)) {
        close(proc->in);
        proc->in = -1;
    }
    return 0;
}

static int pass(struct kp_node_request *request, int *fd, unsigned flags, struct kp_err *err)
{
    char block[16384];
    ssize_t n = read(*fd, block, sizeof(block));
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (n <= 0) {
        close(*fd);
        *fd = -1;
        return 0;
    }
    return kp_node_write(request, flags, block, (size_t)n, err);
}

static bool ended(pid_t pid)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

static int exchange(struct kp_node_request *request, struct kp_proc *p, struct kp_slice input,
                    double until, struct kp_err *err)
{
    bool gone = false;
    while (p->out >= 0 || p->err >= 0) {
        struct pollfd fds[3] = {{p->in, POLLOUT, 0}, {p->out, POLLIN, 0}, {p->err, POLLIN, 0}};
        int n = poll(fds, 3, gone ? 0 : LOOK_EVERY);
        if (kp_node_cancelled(request))
            return kp_fail_as(err, KP_FAILED, "interrupted", "given up by kinstall");
        if (until > 0 && kp_now() > until)
            return kp_fail_as(err, KP_FAILED, "timeout", "did not end in time");
        // A daemon that it left behind may hold the pipes open: its own end is enough, once all is
        // read that it wrote before.
        if (n == 0 && gone)
            return 0;
        if (n == 0)
            gone = ended(p->pid);
        if (n <= 0)
            continue;
        if ((fds[0].revents && feed(p, &input, err) < 0) ||
            (fds[1].revents && pass(request, &p->out, 0, err) < 0) ||
            (fds[2].revents && pass(request, &p->err, KP_FLAG_STDERR, err) < 0))
            return -1;
    }
    return 0;
}

int kp_node_run_child(struct kp_node_request *request, const struct kp_node_command *command,
                      json_t **result, struct kp_err *err)
{
    struct kp_proc proc;
    int status = 0,
        flags = KP_PROC_OUT | KP_PROC_ERR | KP_PROC_GROUP | (command->input.len ? KP_PROC_IN : 0);
    double until = command->timeout ? kp_now() + (double)command->timeout : 0;
    if (kp_proc_start(&proc, command->argv, command->env, flags, err) < 0)
        return -1;
    if (proc.in >= 0)
        fcntl(proc.in, F_SETFL, O_NONBLOCK);
    if (exchange(request, &proc, command->input, until, err) < 0) {
        kp_node_end_process(&proc);
        return kp_wrap(err, "%s", command->argv[0]);
    }
    double left = until > 0 ? until - kp_now() : 0;
    if (kp_proc_wait(&proc, until > 0 && left < 0.1 ? 0.1 : left, &status, err) < 0)
        return kp_wrap(err, "%s", command->argv[0]);
    kp_proc_kill(&proc); // closes what is open still
    *result = json_pack("{s:i, s:b}", "status", status, "attached", 0);
    return 0;
}

void kp_node_command_release(struct kp_node_command *command)
{
    kp_free(command->argv);
    kp_free(command->env);
}

static bool unit_is_ours(const char *unit)
{
    return kp_starts_with(unit, "kpack-") && strlen(unit) <= 64 &&
           unit[strspn(unit, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0';
}

static int read_command(const json_t *args, struct kp_node_command *command, struct kp_err *err)
{
    size_t n;
    if (kp_node_texts(args, "argv", KP_ARGS_MAX, &command->argv, &n, err) < 0 ||
        kp_node_texts(args, "env", KP_ARGS_MAX / 2, &command->env, &command->env_count, err) < 0 ||
        kp_node_number(args, "timeout", TIMEOUT_MAX, &command->timeout, err) < 0 ||
        kp_node_number(args, "size", KP_INPUT_MAX, &command->input_size, err) < 0)
        return -1;
    if (n == 0 || !command->argv[0][0])
        return kp_fail_as(err, KP_USAGE, "bad_request", "request field \"argv\" is empty");
    for (size_t i = 0; i < command->env_count; i++)
        if (!strchr(command->env[i], '=') || command->env[i][0] == '=')
            return kp_fail_as(err, KP_USAGE, "bad_request",
                              "request field \"env\" has no NAME=VALUE");
    command->argc = n;
    command->unit = json_string_value(json_object_get(args, "unit"));
    if (command->unit && !unit_is_ours(command->unit))
        return kp_fail_as(err, KP_USAGE, "bad_request", "unit \"%s\" is not kpack-<name>",
                          command->unit);
    return 0;
}

int kp_node_op_run(struct kp_node_request *request, const json_t *args, json_t **result,
                   struct kp_err *err)
{
    kp_auto_value(kp_buf) input = KP_BUF_SECRET(KP_INPUT_MAX);
    kp_auto_value(kp_node_command) command = {0};
    if (read_command(args, &command, err) < 0 ||
        kp_node_read_all(request, &input, command.input_size, err) < 0)
        return -1;
    command.input = kp_buf_slice(&input);
    if (command.unit)
        return kp_node_run_unit(request, &command, result, err);
    return kp_node_run_child(request, &command, result, err);
}
