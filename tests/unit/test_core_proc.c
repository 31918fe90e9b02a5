/* SPDX-License-Identifier: Apache-2.0 */
#include "core/proc.h"

#include <criterion/criterion.h>
#include <errno.h>

static const struct kp_slice nothing = {"", 0};

Test(proc, passes_input_and_collects_both_streams)
{
    static const char *const argv[] = {"sh", "-c", "cat; echo $EXTRA >&2; exit 3", NULL};
    static const char *const env[] = {"EXTRA=more", NULL};
    kp_auto_value(kp_buf) out = {0};
    kp_auto_value(kp_buf) errors = {0};
    kp_auto_free char *big = kp_alloc(300000);
    memset(big, 'x', 299999);
    struct kp_err err = KP_ERR_INIT;
    int status = -1;
    cr_assert_eq(
        kp_proc_run(argv, env, kp_slice_of(big), 20, 1 << 20, &out, &errors, &status, &err), 0,
        "%s", err.message);
    cr_assert_eq(status, 3);
    cr_assert_eq(out.len, 299999);
    cr_assert_str_eq(errors.data, "more\n");
}

Test(proc, says_what_cannot_be_started)
{
    static const char *const argv[] = {"/nonexistent/program", NULL};
    struct kp_err err = KP_ERR_INIT;
    int status;
    cr_assert_eq(kp_proc_run(argv, NULL, nothing, 5, 100, NULL, NULL, &status, &err), -1);
    cr_assert_eq(err.sys, ENOENT);
}

Test(proc, ends_what_takes_too_long)
{
    static const char *const argv[] = {"sleep", "60", NULL};
    kp_auto_value(kp_buf) out = {0};
    struct kp_err err = KP_ERR_INIT;
    int status;
    cr_assert_eq(kp_proc_run(argv, NULL, nothing, 0.2, 100, &out, NULL, &status, &err), -1);
    cr_assert_str_eq(err.reason, "timeout");
}

Test(proc, bounds_the_output)
{
    static const char *const argv[] = {"yes", NULL};
    kp_auto_value(kp_buf) out = {0};
    struct kp_err err = KP_ERR_INIT;
    int status;
    cr_assert_eq(kp_proc_run(argv, NULL, nothing, 20, 5000, &out, NULL, &status, &err), -1);
    cr_assert_str_eq(err.reason, "too_large");
}
