/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/reference.h"

#include <criterion/criterion.h>

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

Test(reference, full_form)
{
    static const char *const table[][2] = {
        {"nginx", "docker.io/library/nginx:latest"},
        {"nginx:1.27", "docker.io/library/nginx:1.27"},
        {"flannel/flannel:v1", "docker.io/flannel/flannel:v1"},
        {"docker.io/nginx", "docker.io/library/nginx:latest"},
        {"index.docker.io/a/b", "docker.io/a/b:latest"},
        {"registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.9"},
        {"registry.k8s.io/coredns/coredns:v1.11.3", "registry.k8s.io/coredns/coredns:v1.11.3"},
        {"localhost/x", "localhost/x:latest"},
        {"host:5000/a/b_c/d__e/f-g:T.x", "host:5000/a/b_c/d__e/f-g:T.x"},
        {"[::1]:5000/x:1", "[::1]:5000/x:1"},
        {"quay.io/a/b@sha256:" HEX, "quay.io/a/b@sha256:" HEX},
        {"quay.io/a/b:v1@sha256:" HEX, "quay.io/a/b:v1@sha256:" HEX},
        {"manifests/blobs:1", "docker.io/manifests/blobs:1"},
    };
    kp_auto(kp_arena) arena = kp_arena_new();
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        struct kp_reference ref, again;
        struct kp_err err = KP_ERR_INIT;
        cr_assert_eq(kp_reference_parse(&ref, arena, table[i][0], &err), 0, "%s", err.message);
        kp_auto_free char *text = kp_reference_text(&ref);
        cr_assert_str_eq(text, table[i][1]);
        cr_assert_eq(kp_reference_parse(&again, arena, text, &err), 0, "%s", err.message);
        kp_auto_free char *twice = kp_reference_text(&again);
        cr_assert_str_eq(twice, text);
    }
}

Test(reference, refused)
{
    static const char *const table[] = {
        "",
        "Nginx",
        "a//b",
        "a/",
        "/a",
        "a:",
        "a:b:c",
        "a b",
        "../x",
        "a/../b",
        "a.io/..",
        "a@sha256:12",
        "a@sha512:" HEX,
        "a@" HEX,
        "A.io/x",
        "a.io:0/x",
        "a.io:65536/x",
        "a.io:1x/x",
        "a___b",
        "a..b/c/d",
        "a.io/x..y",
        "a.io/x._y",
        "a.io/-x",
        "a.io/x-",
        "-a.io/x",
        "a.io/x\n",
        "a.io/x:-t",
        "a.io/x:t/u:",
        "https://a.io/x",
    };
    kp_auto(kp_arena) arena = kp_arena_new();
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        struct kp_reference ref;
        struct kp_err err = KP_ERR_INIT;
        cr_expect_eq(kp_reference_parse(&ref, arena, table[i], &err), -1, "'%s'", table[i]);
        cr_expect_eq(err.code, KP_USAGE, "'%s'", table[i]);
    }
}

Test(reference, too_long)
{
    char text[KP_REFERENCE_MAX + 2];
    kp_auto(kp_arena) arena = kp_arena_new();
    struct kp_reference ref;
    struct kp_err err = KP_ERR_INIT;
    memset(text, 'a', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    cr_assert_eq(kp_reference_parse(&ref, arena, text, &err), -1);
    text[KP_REPOSITORY_MAX + 1] = '\0';
    cr_assert_eq(kp_reference_parse(&ref, arena, text, &err), -1);
    text[KP_REPOSITORY_MAX - 8] = '\0'; // "library/" comes before it
    cr_assert_eq(kp_reference_parse(&ref, arena, text, &err), 0, "%s", err.message);
}
