/* SPDX-License-Identifier: Apache-2.0 */
#include "golden.h"

#include "core/file.h"

#include <criterion/criterion.h>
#include <stdlib.h>

void golden_check(const char *name, const char *text)
{
    kp_auto_free char *path = kp_asprintf("%s/rendered/%s", KP_TEST_DATA, name), *want = NULL;
    const char *mode = getenv("KP_GOLDEN");
    struct kp_err err = KP_ERR_INIT;
    size_t len;
    if (mode && strcmp(mode, "write") == 0)
        cr_assert_eq(kp_file_write_atomic(path, kp_slice_of(text), 0644, &err), 0, "%s",
                     err.message);
    cr_assert_eq(kp_file_read(path, (size_t)1 << 20, &want, &len, &err), 0, "%s", err.message);
    cr_expect_str_eq(text, want, "%s", name);
}
