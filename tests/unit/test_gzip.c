/* SPDX-License-Identifier: Apache-2.0 */
#include "core/gzip.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <zlib.h>

#define SIZE 1000000

static void expect_back(const char *plain, size_t len)
{
    static char back[SIZE];
    kp_auto_value(kp_buf) packed = KP_BUF(SIZE + 4096);
    struct kp_err err;
    cr_assert_eq(kp_gzip((struct kp_slice){plain, len}, &packed, &err), 0);
    z_stream stream = {.next_in = (Bytef *)packed.data, .avail_in = (uInt)packed.len};
    stream.next_out = (Bytef *)back;
    stream.avail_out = sizeof(back);
    cr_assert_eq(inflateInit2(&stream, MAX_WBITS + 16), Z_OK);
    cr_assert_eq(inflate(&stream, Z_FINISH), Z_STREAM_END);
    cr_assert_eq(stream.total_out, len);
    cr_assert_eq(stream.avail_in, 0);
    cr_assert_eq(memcmp(back, plain, len), 0);
    inflateEnd(&stream);
}

Test(gzip, comes_back_as_it_was)
{
    static char plain[SIZE];
    expect_back("", 0);
    expect_back("x", 1);
    expect_back(plain, sizeof(plain)); // zeros: much smaller
    for (size_t i = 0; i < sizeof(plain); i++)
        plain[i] = (char)rand(); // does not get smaller
    expect_back(plain, sizeof(plain));
}

Test(gzip, does_not_pass_the_limit)
{
    static char plain[4096];
    kp_auto_value(kp_buf) packed = KP_BUF(100);
    struct kp_err err;
    cr_assert_eq(kp_gzip((struct kp_slice){plain, sizeof(plain)}, &packed, &err), -1);
    cr_assert_str_eq(err.reason, "too_large");
    cr_assert_eq(packed.len, 0);
}
