/* SPDX-License-Identifier: Apache-2.0 */
/* Other programs: argv only, no shell; pipes; bounded output; a time-out; ended by the pid we
 * started. */
#pragma once

#include "core/buf.h"

#include <sys/types.h>

struct kp_proc {
    pid_t pid;
    int in, out, err; /* our ends; -1 where not asked for */
};
enum {
    KP_PROC_IN = 1,
    KP_PROC_OUT = 2,
    KP_PROC_ERR = 4,
    KP_PROC_NULL_ERR = 8,
    KP_PROC_GROUP = 16,
    KP_PROC_CONFINED = 32
};
/* Starts argv[0] (searched in PATH) with our environment plus env (NULL-terminated "K=V", or NULL).
 * Streams not asked for are /dev/null (in) or ours (out, err). GROUP: its own process group.
 * CONFINED: behind core/confine.h, with nothing but env as its environment. The child dies with us
 * (PR_SET_PDEATHSIG). */
KP_CHECK int kp_proc_start(struct kp_proc *out, const char *const *argv, const char *const *env,
                           int flags, struct kp_err *err);
/* Waits; *status: exit code, or 128 + signal. timeout in seconds, 0: none; past it the process is
 * killed and reason "timeout" given. */
KP_CHECK int kp_proc_wait(struct kp_proc *proc, double timeout, int *status, struct kp_err *err);
void kp_proc_kill(struct kp_proc *proc); /* SIGKILL and reap; closes the pipes */
/* Runs to the end: writes input, collects stdout and stderr (each at most max; more is an error).
 * out or err may be NULL. */
KP_CHECK int kp_proc_run(const char *const *argv, const char *const *env, struct kp_slice input,
                         double timeout, size_t max, struct kp_buf *out, struct kp_buf *errors,
                         int *status, struct kp_err *err);
/* The same behind core/confine.h, with nothing but env as its environment and no input. */
KP_CHECK int kp_proc_run_confined(const char *const *argv, const char *const *env, double timeout,
                                  size_t max, struct kp_buf *out, struct kp_buf *errors,
                                  int *status, struct kp_err *err);
