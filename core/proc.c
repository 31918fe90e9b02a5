/* SPDX-License-Identifier: Apache-2.0 */
#include "core/proc.h"

#include "core/confine.h"
#include "core/file.h"
#include "core/text.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ENV_MAX 256
#define COMMAND_NOT_FOUND 127

struct pipes {
    int in[2], out[2], err[2], exec[2];
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void close_pipes(struct pipes *p)
{
    int *all[] = {p->in, p->out, p->err, p->exec};
    for (size_t i = 0; i < KP_COUNT(all); i++) {
        close_fd(&all[i][0]);
        close_fd(&all[i][1]);
    }
}

static bool open_pipes(struct pipes *p, int flags)
{
    return (!(flags & KP_PROC_IN) || pipe2(p->in, O_CLOEXEC) == 0) &&
           (!(flags & KP_PROC_OUT) || pipe2(p->out, O_CLOEXEC) == 0) &&
           (!(flags & KP_PROC_ERR) || pipe2(p->err, O_CLOEXEC) == 0) &&
           pipe2(p->exec, O_CLOEXEC) == 0;
}

// Runs between fork and exec: async-signal-safe calls only.
static void become_child(const char *const *argv, char **env, struct pipes *p, int flags,
                         pid_t parent)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    if (flags & KP_PROC_GROUP)
        setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(COMMAND_NOT_FOUND);
    dup2(flags & KP_PROC_IN ? p->in[0] : null, STDIN_FILENO);
    if (flags & KP_PROC_OUT)
        dup2(p->out[1], STDOUT_FILENO);
    if (flags & (KP_PROC_ERR | KP_PROC_NULL_ERR))
        dup2(flags & KP_PROC_ERR ? p->err[1] : null, STDERR_FILENO);
    if (!(flags & KP_PROC_CONFINED) || kp_confine())
        execvpe(argv[0], (char *const *)(uintptr_t)argv, env);
    int failed = errno;
    ssize_t ignored = write(p->exec[1], &failed, sizeof(failed));
    (void)ignored;
    _exit(COMMAND_NOT_FOUND);
}

static size_t merge_env(char **out, const char *const *extra, bool ours)
{
    size_t n = 0;
    for (char **e = environ; ours && *e && n < ENV_MAX; e++)
        out[n++] = *e;
    for (; extra && *extra && n < 2 * ENV_MAX - 1; extra++) {
        size_t name = strcspn(*extra, "=") + 1;
        size_t i = 0;
        while (i < n && strncmp(out[i], *extra, name) != 0)
            i++;
        out[i] = (char *)(uintptr_t)*extra;
        n += i == n;
    }
    out[n] = NULL;
    return n;
}

static int read_exec_error(int fd)
{
    int failed = 0;
    ssize_t n;
    do
        n = read(fd, &failed, sizeof(failed));
    while (n < 0 && errno == EINTR);
    return n == sizeof(failed) ? failed : 0;
}

int kp_proc_start(struct kp_proc *out, const char *const *argv, const char *const *env, int flags,
                  struct kp_err *err)
{
    struct pipes p = {{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}};
    char *merged[2 * ENV_MAX];
    merge_env(merged, env, !(flags & KP_PROC_CONFINED));
    if (!open_pipes(&p, flags)) {
        close_pipes(&p);
        return kp_fail_sys(err, errno, "pipe");
    }
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        become_child(argv, merged, &p, flags, parent);
    if (pid < 0) {
        close_pipes(&p);
        return kp_fail_sys(err, errno, "start %s", argv[0]);
    }
    close_fd(&p.exec[1]);
    int failed = read_exec_error(p.exec[0]);
    if (failed) {
        close_pipes(&p);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        return kp_fail_sys(err, failed, "start %s", argv[0]);
    }
    *out = (struct kp_proc){pid, p.in[1], p.out[0], p.err[0]};
    p.in[1] = p.out[0] = p.err[0] = -1;
    close_pipes(&p);
    return 0;
}

static int exit_status(int raw)
{
    return WIFSIGNALED(raw) ? 128 + WTERMSIG(raw) : WEXITSTATUS(raw);
}

static bool reap(struct kp_proc *proc, int options, int *status)
{
    int raw = 0;
    pid_t got;
    do
        got = waitpid(proc->pid, &raw, options);
    while (got < 0 && errno == EINTR);
    if (got == 0)
        return false;
    if (status)
        *status = got < 0 ? COMMAND_NOT_FOUND : exit_status(raw);
    proc->pid = -1;
    return true;
}

void kp_proc_kill(struct kp_proc *proc)
{
    close_fd(&proc->in);
    close_fd(&proc->out);
    close_fd(&proc->err);
    if (proc->pid <= 0)
        return;
    if (getpgid(proc->pid) == proc->pid)
        kill(-proc->pid, SIGKILL);
    kill(proc->pid, SIGKILL);
    reap(proc, 0, NULL);
}

int kp_proc_wait(struct kp_proc *proc, double timeout, int *status, struct kp_err *err)
{
    if (timeout <= 0) {
        reap(proc, 0, status);
        return 0;
    }
    kp_auto_fd int pidfd = (int)syscall(SYS_pidfd_open, proc->pid, 0);
    double until = kp_now() + timeout;
    while (!reap(proc, WNOHANG, status)) {
        double left = until - kp_now();
        if (left <= 0) {
            kp_proc_kill(proc);
            return kp_fail_as(err, KP_FAILED, "timeout", "did not end within %.0f s", timeout);
        }
        struct pollfd end = {.fd = pidfd, .events = POLLIN};
        // Without pidfds (old kernels) look again every 20 ms.
        poll(&end, 1, pidfd >= 0 ? (int)(left * 1000) + 1 : 20);
    }
    return 0;
}

struct exchange {
    struct kp_proc *proc;
    struct kp_slice input;
    struct kp_buf *out, *errors;
};

static int feed_input(struct exchange *x, struct kp_err *err)
{
    ssize_t n = write(x->proc->in, x->input.ptr, x->input.len);
    if (n < 0 && errno == EPIPE)
        x->input.len = 0; // it does not want more; its status will tell
    else if (n < 0 && errno != EINTR && errno != EAGAIN)
        return kp_fail_sys(err, errno, "write");
    else if (n > 0) {
        x->input.ptr += n;
        x->input.len -= (size_t)n;
    }
    if (!x->input.len)
        close_fd(&x->proc->in);
    return 0;
}

static int take_output(int *fd, struct kp_buf *buf, struct kp_err *err)
{
    assert(buf); // a pipe is only made where its output is asked for
    char block[16384];
    ssize_t n = read(*fd, block, sizeof(block));
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (n <= 0) {
        close_fd(fd);
        return 0;
    }
    if (!kp_buf_add(buf, block, (size_t)n))
        return kp_fail_as(err, KP_FAILED, "too_large", "more than %zu bytes of output", buf->max);
    return 0;
}

static int exchange_all(struct exchange *x, double until, struct kp_err *err)
{
    struct kp_proc *p = x->proc;
    while (p->in >= 0 || p->out >= 0 || p->err >= 0) {
        struct pollfd fds[3] = {{p->in, POLLOUT, 0}, {p->out, POLLIN, 0}, {p->err, POLLIN, 0}};
        double left = until - kp_now();
        int n = poll(fds, 3, until > 0 ? (left > 0 ? (int)(left * 1000) + 1 : 0) : -1);
        if (n < 0 && errno != EINTR)
            return kp_fail_sys(err, errno, "poll");
        if (n == 0)
            return kp_fail_as(err, KP_FAILED, "timeout", "did not end in time");
        if (n < 0)
            continue;
        if ((fds[0].revents && feed_input(x, err) < 0) ||
            (fds[1].revents && take_output(&p->out, x->out, err) < 0) ||
            (fds[2].revents && take_output(&p->err, x->errors, err) < 0))
            return -1;
    }
    return 0;
}

static int run_to_end(const char *const *argv, const char *const *env, struct kp_slice input,
                      double timeout, size_t max, struct kp_buf *out, struct kp_buf *errors,
                      int flags, int *status, struct kp_err *err)
{
    struct kp_proc proc = {-1, -1, -1, -1};
    flags |= (input.len ? KP_PROC_IN : 0) | (out ? KP_PROC_OUT : 0) | (errors ? KP_PROC_ERR : 0);
    if (kp_proc_start(&proc, argv, env, flags, err) < 0)
        return -1;
    if (out)
        out->max = max;
    if (errors)
        errors->max = max;
    if (proc.in >= 0)
        fcntl(proc.in, F_SETFL, O_NONBLOCK);
    double until = timeout > 0 ? kp_now() + timeout : 0;
    struct exchange x = {&proc, input, out, errors};
    if (exchange_all(&x, until, err) < 0) {
        kp_proc_kill(&proc);
        return kp_wrap(err, "%s", argv[0]);
    }
    double left = until > 0 ? until - kp_now() : 0;
    if (kp_proc_wait(&proc, until > 0 && left < 0.01 ? 0.01 : left, status, err) < 0)
        return kp_wrap(err, "%s", argv[0]);
    return 0;
}

int kp_proc_run(const char *const *argv, const char *const *env, struct kp_slice input,
                double timeout, size_t max, struct kp_buf *out, struct kp_buf *errors, int *status,
                struct kp_err *err)
{
    return run_to_end(argv, env, input, timeout, max, out, errors, 0, status, err);
}

int kp_proc_run_confined(const char *const *argv, const char *const *env, double timeout,
                         size_t max, struct kp_buf *out, struct kp_buf *errors, int *status,
                         struct kp_err *err)
{
    struct kp_slice none = {0};
    return run_to_end(argv, env, none, timeout, max, out, errors, KP_PROC_CONFINED, status, err);
}
