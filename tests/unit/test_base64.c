/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base64.h"

#include <criterion/criterion.h>

Test(base64, rfc4648_vectors)
{
    static const char *const table[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        kp_auto_free char *text = kp_base64(table[i][0], strlen(table[i][0]));
        cr_assert_str_eq(text, table[i][1]);
        kp_auto_free char *back = NULL;
        size_t len;
        cr_assert(kp_base64_parse(kp_slice_of(text), &back, &len));
        cr_assert_eq(len, strlen(table[i][0]));
        cr_assert_str_eq(back, table[i][0]);
    }
}

Test(base64, all_bytes)
{
    unsigned char data[256];
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (unsigned char)i;
    kp_auto_free char *text = kp_base64(data, sizeof(data));
    kp_auto_free char *back = NULL;
    size_t len;
    cr_assert(kp_base64_parse(kp_slice_of(text), &back, &len));
    cr_assert_eq(len, sizeof(data));
    cr_assert_eq(memcmp(back, data, len), 0);
}

Test(base64, refused)
{
    static const char *const table[] = {
        "Z",    "Zg",   "Zg=",  "Zg==\n", "Zh==", /* bits beyond the byte */
        "Zm9=", "====", "Z===", "=g==",   "Zg==Zg==", "Zm 9", "Zm-_",
    };
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        char *back = NULL;
        size_t len;
        cr_expect(!kp_base64_parse(kp_slice_of(table[i]), &back, &len), "%s", table[i]);
    }
}
