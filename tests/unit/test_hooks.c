/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/hooks.h"

#include "core/file.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static char folder[] = "/tmp/kp-hooks-XXXXXX";

static void put(const char *name, const char *text)
{
    kp_auto_free char *path = kp_path_join(folder, name);
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_file_write_atomic(path, kp_slice_of(text), 0755, &err), 0, "%s", err.message);
}

static int describe(struct kp_arena *arena, const char *text, const char *name,
                    struct kp_hook *hook, struct kp_plan_file *file, struct kp_err *err)
{
    kp_auto_free char *whole = kp_asprintf("%s=%s/%s", text, folder, name);
    *err = KP_ERR_INIT;
    return kp_hook_describe(arena, whole, 3, hook, file, err);
}

Test(hooks, forms)
{
    static const struct {
        const char *text, *phase, *where;
        bool after;
        unsigned timeout;
    } cases[] = {
        {"prepare:before:all", "prepare", "all", false, KP_HOOK_TIMEOUT},
        {"prove:after:admin:7", "prove", "admin", true, 7},
        {"etcd:after:node-1.example", "etcd", "node-1.example", true, KP_HOOK_TIMEOUT},
    };
    kp_auto(kp_arena) arena = kp_arena_new();
    struct kp_err err = KP_ERR_INIT;
    cr_assert_not_null(mkdtemp(folder));
    put("a script.sh", "#!/bin/sh\n");
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        struct kp_hook hook = {0};
        struct kp_plan_file file;
        cr_assert_eq(describe(arena, cases[i].text, "a script.sh", &hook, &file, &err), 0, "%s",
                     err.message);
        cr_expect_str_eq(hook.phase, cases[i].phase);
        cr_expect_str_eq(hook.where, cases[i].where);
        cr_expect_eq(hook.after, cases[i].after);
        cr_expect_eq(hook.timeout, cases[i].timeout);
        cr_expect_str_eq(hook.file, "hook-3-a-script-sh");
        cr_expect_str_eq(file.installs[0].target, KP_HOOK_FOLDER "/hook-3-a-script-sh");
        cr_expect_eq(file.installs[0].mode, 0700);
    }
    cr_expect_eq(kp_remove_tree(folder, &err), 0);
}

Test(hooks, refused)
{
    static const struct {
        const char *text, *file, *says;
    } bad[] = {
        {"prepare:before", "ok.sh", "PHASE:before|after:WHERE"},
        {"prepare", "ok.sh", "PHASE:before|after:WHERE"},
        {"lunch:before:all", "ok.sh", "'lunch' is no phase; there are mirror, prepare"},
        {"prepare:during:all", "ok.sh", "before or after"},
        {"prepare:before:", "ok.sh", "neither admin, first"},
        {"prepare:before:a b", "ok.sh", "neither admin, first"},
        {"prepare:before:all:0", "ok.sh", "seconds"},
        {"prepare:before:all:99999999", "ok.sh", "seconds"},
        {"prepare:before:all:", "ok.sh", "seconds"},
        {"prepare:before:all", "program", "begins with #!/"},
        {"prepare:before:all", "not-there", "not-there"},
    };
    kp_auto(kp_arena) arena = kp_arena_new();
    struct kp_err err = KP_ERR_INIT;
    cr_assert_not_null(mkdtemp(folder));
    put("ok.sh", "#!/bin/sh\n");
    put("program", "\177ELF");
    for (size_t i = 0; i < KP_COUNT(bad); i++) {
        struct kp_hook hook = {0};
        struct kp_plan_file file;
        cr_expect_eq(describe(arena, bad[i].text, bad[i].file, &hook, &file, &err), -1, "%s",
                     bad[i].text);
        cr_expect_eq(err.code, KP_USAGE, "%s", bad[i].text);
        cr_expect(strstr(err.message, bad[i].says), "%s: %s", bad[i].text, err.message);
    }
    cr_expect_eq(kp_remove_tree(folder, &err), 0);
}
