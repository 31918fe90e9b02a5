/* SPDX-License-Identifier: Apache-2.0 */
#include "install/inventory/network.h"

#include <criterion/criterion.h>

Test(network, cidrs)
{
    static const char *const good[] = {"10.233.64.0/18", "0.0.0.0/0", "fd00::/108", "10.0.0.1/32"};
    static const char *const bad[] = {"10.233.64.1/18", "10.0.0.0", "10.0.0.0/33", "fd00::1/64",
                                      "10.0.0.0/",      "/8",       "x/8",         "10.0.0.0/08"};
    for (size_t i = 0; i < KP_COUNT(good); i++)
        cr_assert(kp_network_is_cidr(good[i]), "%s", good[i]);
    for (size_t i = 0; i < KP_COUNT(bad); i++)
        cr_assert_not(kp_network_is_cidr(bad[i]), "%s", bad[i]);
}

Test(network, hosts_and_ports)
{
    cr_assert(kp_network_is_host("cp1.site") && kp_network_is_host("10.0.0.1") &&
              kp_network_is_host("fd00::1"));
    cr_assert_not(kp_network_is_host("10.0.0.256")); // a mistyped address is not a name
    cr_assert_not(kp_network_is_host("-oProxyCommand=x"));
    cr_assert(kp_network_is_host_port("lb.site:6443") && kp_network_is_host_port("[fd00::1]:6443"));
    cr_assert_not(kp_network_is_host_port("fd00::1:6443"));
    cr_assert_not(kp_network_is_host_port("lb.site"));
    cr_assert_not(kp_network_is_host_port("lb.site:0"));
    cr_assert_not(kp_network_is_host_port("lb.site:65536"));
}

Test(network, overlap_and_members)
{
    cr_assert(kp_network_overlap("10.0.0.0/8", "10.233.0.0/18"));
    cr_assert(kp_network_overlap("10.233.0.0/18", "10.0.0.0/8"));
    cr_assert_not(kp_network_overlap("10.233.0.0/18", "10.233.64.0/18"));
    cr_assert_not(kp_network_overlap("0.0.0.0/0", "fd00::/8"));
    cr_assert(kp_network_contains("10.77.0.0/24", "10.77.0.11"));
    cr_assert_not(kp_network_contains("10.77.0.0/24", "10.78.0.11"));
    cr_assert(kp_network_same_ip("fd00::0:1", "fd00::1"));
}

Test(network, nth_address)
{
    static const struct {
        const char *cidr;
        unsigned n;
        const char *want;
    } table[] = {
        {"10.233.0.0/18", 1, "10.233.0.1"},
        {"10.233.0.0/18", 10, "10.233.0.10"},
        {"10.233.0.0/18", 300, "10.233.1.44"},
        {"fd00::/108", 10, "fd00::a"},
        {"10.0.0.0/30", 4, NULL},
    };
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        kp_auto_free char *got = kp_network_nth(table[i].cidr, table[i].n);
        if (table[i].want)
            cr_assert_str_eq(got, table[i].want);
        else
            cr_assert_null(got);
    }
}

Test(network, lists_of_both_families)
{
    static const char both[] = "10.233.64.0/18,fd10::/56";
    kp_auto_free char *four = kp_network_of(both, false);
    kp_auto_free char *six = kp_network_of(both, true);
    kp_auto_free char *none = kp_network_of("10.0.0.0/8", true);
    kp_auto_free char *first = kp_network_nth(both, 10);
    cr_expect_str_eq(four, "10.233.64.0/18");
    cr_expect_str_eq(six, "fd10::/56");
    cr_expect_null(none);
    cr_expect_str_eq(first, "10.233.64.10");
    cr_expect(kp_network_contains(both, "fd10::1") && kp_network_contains(both, "10.233.65.1"));
    cr_expect_not(kp_network_contains(both, "fd11::1"));
    cr_expect(kp_network_overlap(both, "10.0.0.0/8,fd99::/64"));
    cr_expect(kp_network_overlap("192.0.2.0/24,fd10::/64", both));
    cr_expect_not(kp_network_overlap(both, "192.0.2.0/24,fd11::/64"));
    cr_expect_eq(kp_network_prefix("fd10::/56"), 56);
    cr_expect(kp_network_is_ip6("fd10::1") && !kp_network_is_ip6("10.0.0.1"));
}
