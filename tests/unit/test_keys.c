/* SPDX-License-Identifier: Apache-2.0 */
#include "install/inventory/inventory.h"

#include <criterion/criterion.h>

static bool needs_fallback(const struct kp_key *key)
{
    return key->type == KP_KEY_WORD || key->type == KP_KEY_NUMBER || key->type == KP_KEY_BOOL;
}

static void check_row(void *user, const char *path, const struct kp_key *key)
{
    size_t *count = user;
    (*count)++;
    cr_expect(key->what || (key->section && !key->section->name), "%s says nothing", path);
    cr_expect(!key->good == !key->need, "%s: good and need go together", path);
    cr_expect(!key->good_value == !key->need_value, "%s: good_value and need_value", path);
    cr_expect((key->type == KP_KEY_OWN) == (key->read != NULL), "%s: reader", path);
    cr_expect((key->type == KP_KEY_WORD) == (key->words != NULL), "%s: words", path);
    if (needs_fallback(key))
        cr_expect(key->fallback || key->shown || key->required, "%s: what holds without", path);
    if (key->fallback && key->good)
        cr_expect(key->good(key->fallback), "%s: its own default is refused", path);
    if (key->type == KP_KEY_NUMBER || key->type == KP_KEY_SIZE)
        cr_expect(key->least <= key->most && key->most, "%s: bounds", path);
    if (key->type == KP_KEY_TEXTS || key->type == KP_KEY_PAIRS)
        cr_expect(key->count && key->most, "%s: how many, and where they are counted", path);
    if (key->type == KP_KEY_LIST || key->type == KP_KEY_NAMED)
        cr_expect(key->count && key->most && key->section->size, "%s: elements", path);
    for (size_t i = 0; key->words && key->words[i]; i++) {
        kp_auto_free char *word = kp_asprintf("`%s`", key->words[i]);
        cr_expect(strstr(key->what, word), "%s: its text has no %s", path, word);
    }
}

Test(keys, rows_are_whole)
{
    size_t count = 0;
    kp_keys_each(check_row, &count);
    cr_expect_gt(count, 60);
}

Test(keys, defaults)
{
    kp_auto_free struct kp_inventory *inventory = kp_alloc(sizeof(*inventory));
    kp_keys_defaults(&kp_keys_root, inventory);
    cr_expect_str_eq(inventory->kubernetes.domain, "cluster.local");
    cr_expect(inventory->security.firewall);
    cr_expect_eq(inventory->security.tls, 12);
    cr_expect_eq(inventory->security.pod_security, KP_POD_SECURITY_BASELINE);
    cr_expect(inventory->security.audit && !inventory->security.profiling);
    cr_expect_eq(inventory->etcd.quota_bytes, (uint64_t)2 << 30);
    cr_expect_eq(inventory->parallel, 20);
}

struct finding {
    const char *wanted;
    const struct kp_key *key;
};

static void find(void *user, const char *path, const struct kp_key *key)
{
    struct finding *finding = user;
    if (strcmp(path, finding->wanted) == 0)
        finding->key = key;
}

Test(keys, kinds_and_defaults_for_people)
{
    static const struct {
        const char *path, *kind, *fallback;
    } wanted[] = {
        {"parallel", "whole number from 1 to 200", "20"},
        {"etcd.quota_bytes", "size from 64MiB to 8GiB", "`2GiB`"},
        {"kubernetes.swap", "one of off, keep", "`off`"},
        {"kubernetes.vip.address", "text", "needed with `kube-vip`"},
        {"cluster", "text", "needed"},
        {"nodes[].labels", "mapping of texts", "none"},
        {"nodes[].ssh.port", "whole number from 1 to 65535", "22"},
    };
    for (size_t i = 0; i < KP_COUNT(wanted); i++) {
        struct finding finding = {.wanted = wanted[i].path};
        kp_keys_each(find, &finding);
        cr_assert_not_null(finding.key, "%s", wanted[i].path);
        kp_auto_free char *kind = kp_key_kind(finding.key);
        kp_auto_free char *fallback = kp_key_default(finding.key);
        cr_expect_str_eq(kind, wanted[i].kind);
        cr_expect_str_eq(fallback, wanted[i].fallback);
    }
}

/* Every way out that was taken is named; none: nothing. */
Test(keys, ways_out_are_named)
{
    const char *exempt[] = {"legacy", NULL};
    const struct kp_security none = {.pod_security = KP_POD_SECURITY_BASELINE,
                                     .audit = true,
                                     .encryption = true,
                                     .seccomp_default = true,
                                     .firewall = true};
    const struct kp_security all = {.anonymous = true,
                                    .profiling = true,
                                    .unprotected_kernel = true,
                                    .exempt = exempt,
                                    .exempt_count = 1};
    kp_auto_free char *nothing = kp_security_ways_out(&none), *text = kp_security_ways_out(&all);
    cr_expect_str_eq(nothing, "");
    cr_expect_str_eq(text, "pod_security: off, audit: false, encryption: false, anonymous: full, "
                           "seccomp_default: false, profiling: true, firewall: false, "
                           "protect_kernel: false, "
                           "pod_security_exempt: legacy");
}
