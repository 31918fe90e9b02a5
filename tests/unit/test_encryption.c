/* SPDX-License-Identifier: Apache-2.0 */
#include "install/steps/encryption.h"

#include <criterion/criterion.h>

#define HEAD                                                                                       \
    "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"          \
    "  - resources: [secrets]\n    providers:\n"

static void check_names(const struct kp_encryption_keys *keys, const char *wanted)
{
    kp_auto_value(kp_buf) names = KP_BUF(256);
    for (size_t i = 0; i < keys->count; i++)
        kp_buf_addf(&names, "%s%s", i ? " " : "", keys->items[i].name);
    cr_expect_str_eq(names.data ? names.data : "", wanted);
}

/* The order of a rotation: behind, first, alone; what is written is what is read again. */
Test(encryption, keys_in_the_order_of_a_rotation)
{
    kp_auto_value(kp_encryption_keys) keys = {0}, again = {0};
    kp_auto_free char *text = NULL;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_encryption_add_key(&keys, &err), 0);
    check_names(&keys, "key1");
    cr_assert_eq(kp_encryption_add_key(&keys, &err), 0);
    check_names(&keys, "key1 key2");
    cr_expect_str_neq(keys.items[0].secret, keys.items[1].secret);
    cr_expect_eq(strlen(keys.items[1].secret), 44); // 32 bytes
    kp_encryption_put_first(&keys, "key2");
    check_names(&keys, "key2 key1");
    cr_assert_eq(kp_encryption_render(&text, &keys, &err), 0, "%s", err.message);
    cr_assert_eq(kp_encryption_parse(&again, kp_slice_of(text), "x", &err), 0, "%s", err.message);
    check_names(&again, "key2 key1");
    cr_expect_str_eq(again.items[1].secret, keys.items[1].secret);
    kp_encryption_keep_only(&again, "key2");
    check_names(&again, "key2");
    cr_assert_eq(kp_encryption_add_key(&again, &err), 0);
    check_names(&again, "key2 key3");
    kp_encryption_put_first(&again, "nobody");
    check_names(&again, "key2 key3");
}

Test(encryption, files_of_others_are_refused)
{
    static const char *const bad[] = {
        "a: b\n",
        HEAD "      - identity: {}\n      - secretbox: {keys: [{name: a, secret: b}]}\n",
        HEAD "      - aescbc: {keys: [{name: a, secret: b}]}\n",
        HEAD "      - secretbox: {keys: []}\n",
        HEAD "      - secretbox: {keys: [{name: a}]}\n",
        HEAD "      - secretbox: {keys: [{name: a, secret: b, more: c}]}\n",
        "[",
    };
    for (size_t i = 0; i < KP_COUNT(bad); i++) {
        kp_auto_value(kp_encryption_keys) keys = {0};
        struct kp_err err = KP_ERR_INIT;
        cr_expect_eq(kp_encryption_parse(&keys, kp_slice_of(bad[i]), "encryption.yaml", &err), -1,
                     "%zu", i);
        cr_expect(strstr(err.message, "encryption.yaml"), "%zu: %s", i, err.message);
    }
}

Test(encryption, there_are_never_more_than_so_many)
{
    kp_auto_value(kp_encryption_keys) keys = {0};
    struct kp_err err = KP_ERR_INIT;
    for (int i = 0; i < KP_ENCRYPTION_KEYS_MAX; i++)
        cr_assert_eq(kp_encryption_add_key(&keys, &err), 0);
    cr_expect_eq(kp_encryption_add_key(&keys, &err), -1);
}
