/* SPDX-License-Identifier: Apache-2.0 */
/* What prepare decides from answers and facts: packages, kernel parameters. */
#include "install/kernel.h"
#include "install/steps/packages.h"

#include <criterion/criterion.h>

Test(prepare, states_of_packages)
{
    static const struct {
        const char *answer, *arch, *version;
        enum kp_family family;
        enum kp_package_state state;
    } table[] = {
        {"", "amd64", NULL, KP_FAMILY_DEBIAN, KP_PACKAGE_ABSENT},
        {"socat\tamd64\tii \t1.7-2\n", "amd64", "1.7-2", KP_FAMILY_DEBIAN, KP_PACKAGE_THERE},
        {"socat\tall\thi \t1.7\n", "amd64", "1.7", KP_FAMILY_DEBIAN, KP_PACKAGE_THERE},
        {"socat\tamd64\tiiR\t1.7\n", "amd64", NULL, KP_FAMILY_DEBIAN, KP_PACKAGE_BROKEN},
        {"socat\tamd64\tiU \t1.7\n", "amd64", NULL, KP_FAMILY_DEBIAN, KP_PACKAGE_BROKEN},
        {"socat\tamd64\trc \t1.7\n", "amd64", NULL, KP_FAMILY_DEBIAN, KP_PACKAGE_TRACES},
        {"socat\tamd64\tun \t\n", "amd64", NULL, KP_FAMILY_DEBIAN, KP_PACKAGE_ABSENT},
        {"socat\ti386\tii \t1.7\n", "amd64", NULL, KP_FAMILY_DEBIAN, KP_PACKAGE_ABSENT},
        {"socat\ti386\tii \t1\nsocat\tamd64\tii \t2\n", "amd64", "2", KP_FAMILY_DEBIAN,
         KP_PACKAGE_THERE},
        {"socat-doc\tamd64\tii \t1\n", "amd64", NULL, KP_FAMILY_DEBIAN, KP_PACKAGE_ABSENT},
        {"package socat is not installed\n", "amd64", NULL, KP_FAMILY_RHEL, KP_PACKAGE_ABSENT},
        {"socat\tx86_64\t-\t1.7-2.el9\n", "amd64", "1.7-2.el9", KP_FAMILY_RHEL, KP_PACKAGE_THERE},
        {"socat\taarch64\t-\t1.7-2.el9\n", "arm64", "1.7-2.el9", KP_FAMILY_SUSE, KP_PACKAGE_THERE},
        {"socat\taarch64\t-\t1.7-2.el9\n", "amd64", NULL, KP_FAMILY_RHEL, KP_PACKAGE_ABSENT},
    };
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        kp_auto_free char *version = NULL;
        cr_expect_eq(kp_package_state_of(kp_slice_of(table[i].answer), table[i].family, "socat",
                                         table[i].arch, &version),
                     table[i].state, "case %zu", i);
        cr_expect_str_eq(version ? version : "none", table[i].version ? table[i].version : "none",
                         "case %zu", i);
    }
}

static json_t *kernel_facts(const char *sysctls, bool container)
{
    json_t *all = json_loads(sysctls, 0, NULL);
    cr_assert_not_null(all);
    return json_pack("{s:{s:b}, s:{s:o}}", "system", "container", (int)container, "kernel",
                     "sysctl", all);
}

#define FACTS                                                                                      \
    "{\"net.ipv4.ip_forward\": {\"value\": \"%d\", \"writable\": true},"                           \
    " \"kernel.panic\": {\"value\": \"%d\", \"writable\": %s},"                                    \
    " \"vm.panic_on_oom\": {\"value\": \"0\", \"writable\": false},"                               \
    " \"net.bridge.bridge-nf-call-iptables\": {\"value\": null, \"writable\": false}}"

Test(prepare, kernel_parameters_before_and_after)
{
    struct kp_inventory inventory = {.kubernetes.pods = "10.233.64.0/18"};
    struct kp_node node = {0};
    struct kp_site_node nodes[2] = {{.node = &node}};
    struct kp_site site = {.inventory = &inventory, .nodes = nodes, .node_count = 2};
    const char *out[KP_KERNEL_SETTINGS_MAX];
    kp_auto(kp_arena) arena = kp_arena_new();
    const char *old = kp_arena_printf(arena, FACTS, 0, 0, "true");
    const char *now = kp_arena_printf(arena, FACTS, 1, 10, "true");
    nodes[0].facts = kernel_facts(old, false);
    kp_auto_json before = kp_kernel_before(&site, &nodes[0]);
    cr_expect_eq(json_object_size(before), 2);
    cr_expect_str_eq(json_string_value(json_object_get(before, "kernel.panic")), "0");
    // Nothing of ours is there: nothing goes back.
    cr_expect_eq(kp_kernel_restore(&site, &nodes[0], before, arena, out, KP_COUNT(out)), 0);
    json_decref(nodes[0].facts);
    nodes[0].facts = kernel_facts(now, false);
    cr_assert_eq(kp_kernel_restore(&site, &nodes[0], before, arena, out, KP_COUNT(out)), 2);
    cr_expect_str_eq(out[0], "net.ipv4.ip_forward=0");
    cr_expect_str_eq(out[1], "kernel.panic=0");
    json_decref(nodes[0].facts);
    nodes[0].facts = kernel_facts(now, true); // what is not its own stays
    cr_assert_eq(kp_kernel_restore(&site, &nodes[0], before, arena, out, KP_COUNT(out)), 1);
    cr_expect_str_eq(out[0], "net.ipv4.ip_forward=0");
    json_decref(nodes[0].facts);
}

Test(prepare, one_node_that_cannot_takes_the_protection_from_all)
{
    struct kp_site_node nodes[2] = {{0}};
    struct kp_site site = {.nodes = nodes, .node_count = 2};
    kp_auto(kp_arena) arena = kp_arena_new();
    cr_expect(kp_kernel_protect(&site), "facts that say nothing");
    nodes[1].facts = kernel_facts(kp_arena_printf(arena, FACTS, 0, 10, "false"), true);
    cr_expect(kp_kernel_protect(&site), "it is so already");
    json_decref(nodes[1].facts);
    nodes[1].facts = kernel_facts(kp_arena_printf(arena, FACTS, 0, 0, "false"), true);
    cr_expect_not(kp_kernel_protect(&site));
    json_decref(nodes[1].facts);
}

/* What the inventory says stands in the place of what kinstall would set; the rest is decided. */
Test(prepare, kernel_parameters_of_the_inventory)
{
    struct kp_inventory inventory = {.kubernetes.pods = "10.233.64.0/18"};
    struct kp_pair own[] = {{"fs.inotify.max_user_watches", "1000000"}, {"vm.max_map_count", "9"}};
    struct kp_node node = {.sysctls = own, .sysctl_count = 2};
    struct kp_site_node at = {.node = &node};
    struct kp_site site = {.inventory = &inventory, .nodes = &at, .node_count = 1};
    struct kp_kernel_setting wanted[KP_KERNEL_SETTINGS_MAX];
    size_t n = kp_kernel_wanted(&site, &at, wanted), watches = 0;
    for (size_t i = 0; i < n; i++)
        if (strcmp(wanted[i].key, own[0].key) == 0) {
            watches++;
            cr_expect_str_eq(wanted[i].value, "1000000");
            cr_expect(wanted[i].own);
        }
    cr_expect_eq(watches, 1);
    cr_expect_str_eq(wanted[n - 1].key, "vm.max_map_count");
    cr_expect(kp_kernel_can(&at, &wanted[n - 1]), "facts that say nothing");
    at.facts =
        kernel_facts("{\"vm.max_map_count\": {\"value\": null, \"writable\": false}}", false);
    cr_expect_not(kp_kernel_can(&at, &wanted[n - 1]), "the kernel does not know it");
    json_decref(at.facts);
    cr_expect(kp_kernel_is_decided("net.ipv4.ip_forward"));
    cr_expect(kp_kernel_is_decided("kernel.panic"));
    cr_expect_not(kp_kernel_is_decided("fs.inotify.max_user_watches"));
    cr_expect_not(kp_kernel_is_decided("vm.max_map_count"));
}

/* Comes into the inventory, and leaves it again. */
Test(prepare, kernel_parameters_come_and_go)
{
    struct kp_pair own = {"net.core.somaxconn", "2048"};
    struct kp_inventory inventory = {.kubernetes.pods = "10.233.64.0/18"};
    struct kp_node node = {.sysctls = &own, .sysctl_count = 1};
    struct kp_site_node nodes[1] = {{.node = &node}};
    struct kp_site site = {.inventory = &inventory, .nodes = nodes, .node_count = 1};
    kp_auto(kp_arena) arena = kp_arena_new();
    const char *out[KP_KERNEL_SETTINGS_MAX];
    kp_auto_json before = json_pack("{s:s}", "kernel.panic", "0");
    kp_auto_json file = kp_kernel_parse(
        kp_slice_of("# written by kpack\nnet.ipv4.ip_forward=1\nkernel.panic=10\n"));
    cr_expect_eq(json_object_size(file), 2);
    nodes[0].facts =
        kernel_facts("{\"net.core.somaxconn\": {\"value\": \"4096\", \"writable\": true},"
                     " \"net.ipv4.ip_forward\": {\"value\": \"0\", \"writable\": true}}",
                     false);
    // ip_forward was set by us already: that somebody has set it back is no value of before
    cr_expect(kp_kernel_keep(before, file, &site, &nodes[0]));
    cr_expect_eq(json_object_size(before), 2);
    cr_expect_str_eq(json_string_value(json_object_get(before, "net.core.somaxconn")), "4096");
    cr_expect_not(kp_kernel_keep(before, file, &site, &nodes[0]));
    // as it is named: nothing goes back
    json_object_set_new(file, "net.core.somaxconn", json_string("2048"));
    cr_expect_eq(kp_kernel_dropped(&site, &nodes[0], file, before, arena, out, KP_COUNT(out)), 0);
    node.sysctl_count = 0;
    cr_assert_eq(kp_kernel_dropped(&site, &nodes[0], file, before, arena, out, KP_COUNT(out)), 1);
    cr_expect_str_eq(out[0], "net.core.somaxconn=4096");
    // of what nothing is known, and what a container shares with its host, stays
    json_object_del(before, "net.core.somaxconn");
    json_object_set_new(before, "vm.max_map_count", json_string("1"));
    json_object_set_new(file, "vm.max_map_count", json_string("2"));
    json_decref(nodes[0].facts);
    nodes[0].facts = kernel_facts("{}", true);
    cr_expect_eq(kp_kernel_dropped(&site, &nodes[0], file, before, arena, out, KP_COUNT(out)), 0);
    json_decref(nodes[0].facts);
}
