/* SPDX-License-Identifier: Apache-2.0 */
/* A confined program: its own environment only, no socket, bounded output and time. */
#include "core/proc.h"

#include <criterion/criterion.h>

#define LIMIT ((size_t)64 << 10)

static int run_shell(const char *script, struct kp_buf *out, int *status, struct kp_err *err)
{
    const char *const argv[] = {"/bin/bash", "-c", script, NULL};
    const char *const env[] = {"ONLY=this", "PATH=/usr/bin:/bin", NULL};
    return kp_proc_run_confined(argv, env, 20, LIMIT, out, NULL, status, err);
}

static const struct {
    const char *what, *script, *want;
    int status;
} cases[] = {
    {"its environment", "echo $ONLY ${HOME-none} ${USER-none}", "this none none\n", 0},
    {"no socket",
     "if (: </dev/tcp/127.0.0.1/9) 2>&1 | grep -o 'Permission denied' | sort -u; then "
     ":; fi",
     "Permission denied\n", 0},
    {"files and pipes", "echo a | cat", "a\n", 0},
    {"no core file, no new privileges", "ulimit -c; grep NoNewPrivs /proc/self/status",
     "0\nNoNewPrivs:\t1\n", 0},
    {"its exit code", "exit 3", "", 3},
};

Test(confine, cases)
{
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        kp_auto_value(kp_buf) out = KP_BUF(LIMIT);
        struct kp_err err = KP_ERR_INIT;
        int status = -1;
        cr_assert_eq(run_shell(cases[i].script, &out, &status, &err), 0, "%s: %s", cases[i].what,
                     err.message);
        cr_assert_str_eq(kp_buf_slice(&out).ptr, cases[i].want, "%s: %s", cases[i].what,
                         kp_buf_slice(&out).ptr);
        cr_assert_eq(status, cases[i].status, "%s: %d", cases[i].what, status);
    }
}

Test(confine, too_much_output)
{
    kp_auto_value(kp_buf) out = KP_BUF(LIMIT);
    struct kp_err err = KP_ERR_INIT;
    int status;
    cr_assert_eq(run_shell("while echo 0123456789; do :; done", &out, &status, &err), -1);
    cr_assert_str_eq(err.reason, "too_large");
}

Test(confine, too_long)
{
    const char *const argv[] = {"/bin/sleep", "60", NULL};
    const char *const env[] = {NULL};
    kp_auto_value(kp_buf) out = KP_BUF(LIMIT);
    struct kp_err err = KP_ERR_INIT;
    int status;
    cr_assert_eq(kp_proc_run_confined(argv, env, 0.2, LIMIT, &out, NULL, &status, &err), -1);
    cr_assert_str_eq(err.reason, "timeout");
}

Test(confine, what_is_not_there)
{
    const char *const argv[] = {"/nonexistent/helm", NULL};
    const char *const env[] = {NULL};
    kp_auto_value(kp_buf) out = KP_BUF(LIMIT);
    struct kp_err err = KP_ERR_INIT;
    int status;
    cr_assert_eq(kp_proc_run_confined(argv, env, 5, LIMIT, &out, NULL, &status, &err), -1);
    cr_assert(strstr(err.message, "/nonexistent/helm"));
}
