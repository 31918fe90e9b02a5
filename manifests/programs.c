/* SPDX-License-Identifier: Apache-2.0 */
#include "manifests/programs.h"

#include "core/mem.h"
#include "core/slice.h"

static const struct {
    const char *program;
    const char *packages[KP_FAMILIES];
} table[] = {
    {"conntrack", {"conntrack", "conntrack-tools", "conntrack-tools"}},
    {"ebtables", {"ebtables", "iptables-nft", "ebtables"}},
    {"ethtool", {"ethtool", "ethtool", "ethtool"}},
    {"ip", {"iproute2", "iproute", "iproute2"}},
    {"ipset", {"ipset", "ipset", "ipset"}},
    {"iptables", {"iptables", "iptables-nft", "iptables"}},
    {"ipvsadm", {"ipvsadm", "ipvsadm", "ipvsadm"}},
    {"mount", {"mount", "util-linux-core", "util-linux"}},
    {"nsenter", {"util-linux", "util-linux-core", "util-linux"}},
    {"socat", {"socat", "socat", "socat"}},
    {"tc", {"iproute2", "iproute-tc", "iproute2"}},
    {"touch", {"coreutils", "coreutils", "coreutils"}},
};

static const struct {
    const char *id;
    enum kp_family family;
} families[] = {
    {"debian", KP_FAMILY_DEBIAN},  {"ubuntu", KP_FAMILY_DEBIAN}, {"rhel", KP_FAMILY_RHEL},
    {"fedora", KP_FAMILY_RHEL},    {"centos", KP_FAMILY_RHEL},   {"rocky", KP_FAMILY_RHEL},
    {"almalinux", KP_FAMILY_RHEL}, {"ol", KP_FAMILY_RHEL},       {"suse", KP_FAMILY_SUSE},
    {"opensuse", KP_FAMILY_SUSE},  {"sles", KP_FAMILY_SUSE},     {"opensuse-leap", KP_FAMILY_SUSE},
    {"openeuler", KP_FAMILY_RHEL},
};

const char *kp_family_text(enum kp_family family)
{
    static const char *const texts[] = {"Debian, Ubuntu", "RHEL, Rocky, Alma", "SUSE"};
    return texts[family];
}

const char *kp_program_package(const char *program, enum kp_family family)
{
    for (size_t i = 0; i < KP_COUNT(table); i++)
        if (strcmp(table[i].program, program) == 0)
            return table[i].packages[family];
    return program;
}

static enum kp_family family_of_word(struct kp_slice word)
{
    for (size_t i = 0; i < KP_COUNT(families); i++)
        if (kp_slice_equal(word, families[i].id))
            return families[i].family;
    return KP_FAMILIES;
}

enum kp_family kp_family_of(const char *id, const char *id_like)
{
    struct kp_slice rest = kp_slice_of(id_like), word;
    enum kp_family family = family_of_word(kp_slice_of(id));
    while (family == KP_FAMILIES && rest.len) {
        if (!kp_slice_cut(&rest, ' ', &word)) {
            word = rest;
            rest.len = 0;
        }
        family = family_of_word(word);
    }
    return family;
}
