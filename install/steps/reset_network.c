/* SPDX-License-Identifier: Apache-2.0 */
/* What network plugins and kube-proxy leave on a node: interfaces, chains, files, mounts, rules. */
#include "install/steps/reset_network.h"

#include "install/steps/common.h"

#include <unistd.h>

#define LINK_NAME_LEN 15
#define RULES_MAX ((size_t)16 << 20)

static bool is_our_chain(struct kp_slice name)
{
    static const char *const prefixes[] = {"KUBE-",   "CNI-",        "FLANNEL-",
                                           "CILIUM_", "OLD_CILIUM_", "cali-"};
    for (size_t i = 0; i < KP_COUNT(prefixes); i++)
        if (kp_slice_starts(name, prefixes[i]))
            return true;
    return false;
}

static bool word_after(struct kp_slice line, const char *before, struct kp_slice *word)
{
    const char *at = memmem(line.ptr, line.len, before, strlen(before));
    if (!at)
        return false;
    word->ptr = at + strlen(before);
    size_t left = line.len - (size_t)(word->ptr - line.ptr);
    const char *end = memchr(word->ptr, ' ', left);
    word->len = end ? (size_t)(end - word->ptr) : left;
    return true;
}

static void add_rule(struct kp_buf *rules, struct kp_buf *flush, struct kp_buf *drop,
                     struct kp_slice line)
{
    struct kp_slice chain, target;
    if (kp_slice_starts(line, ":")) {
        if (word_after(line, ":", &chain) && is_our_chain(chain)) {
            kp_buf_addf(flush, "-F %.*s\n", (int)chain.len, chain.ptr);
            kp_buf_addf(drop, "-X %.*s\n", (int)chain.len, chain.ptr);
        }
        return;
    }
    if (!kp_slice_starts(line, "-A ") || !word_after(line, "-A ", &chain) || is_our_chain(chain))
        return;
    if ((word_after(line, " -j ", &target) || word_after(line, " -g ", &target)) &&
        is_our_chain(target))
        kp_buf_addf(rules, "-D %.*s\n", (int)line.len - 3, line.ptr + 3);
}

char *kp_reset_rules(struct kp_slice save, const char *table)
{
    kp_auto_value(kp_buf) rules = KP_BUF(RULES_MAX), flush = KP_BUF(RULES_MAX),
                          drop = KP_BUF(RULES_MAX);
    struct kp_slice line;
    while (kp_slice_line(&save, &line))
        add_rule(&rules, &flush, &drop, line);
    if (rules.len + flush.len == 0)
        return kp_strdup("");
    return kp_asprintf("*%s\n%s%s%sCOMMIT\n", table, kp_buf_slice(&rules).ptr,
                       kp_buf_slice(&flush).ptr, kp_buf_slice(&drop).ptr);
}

static int reset_table(struct kp_site *site, struct kp_site_node *node, const char *family,
                       const char *table, struct kp_err *err)
{
    static const char *const env[] = {KP_PATH_ENV, NULL};
    kp_auto_free char *save = kp_asprintf("%s-save", family);
    kp_auto_free char *restore = kp_asprintf("%s-restore", family);
    const char *read[] = {save, "-t", table, NULL};
    const char *write[] = {restore, "--noflush", NULL};
    kp_auto_free char *now = NULL;
    kp_auto_value(kp_run_result) result = {0};
    struct kp_change change = {.changed = true};
    struct kp_err ignored;
    int status = 0;
    // No such program or no such table: nothing of ours is in it.
    if (kp_ask(site, node, read, 60, &status, &now, &ignored) < 0 || status != 0)
        return 0;
    kp_auto_free char *batch = kp_reset_rules(kp_slice_of(now), table);
    if (!*batch)
        return 0;
    const struct kp_run run = {
        .argv = write, .env = env, .input = kp_slice_of(batch), .timeout = 60};
    kp_auto_free char *what =
        kp_asprintf("take the chains of Kubernetes and its network out of %s %s", family, table);
    kp_step_changed(site, node, what, &change);
    return kp_step_run(site, node, &run, &result, err);
}

/* What kube-proxy keeps in nftables. No nft or no such table: nothing of it is there. */
static int drop_tables(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const families[] = {"ip", "ip6"};
    struct kp_change change = {.changed = true};
    for (size_t i = 0; i < KP_COUNT(families); i++) {
        const char *list[] = {"nft", "list", "table", families[i], "kube-proxy", NULL};
        const char *drop[] = {"nft", "delete", "table", families[i], "kube-proxy", NULL};
        struct kp_err ignored;
        int status = 0;
        if (kp_ask(site, node, list, 60, &status, NULL, &ignored) < 0 || status != 0)
            continue;
        if (kp_ask(site, node, drop, 60, NULL, NULL, err) < 0)
            return -1;
        kp_auto_free char *what = kp_asprintf("delete kube-proxy's table %s of nft", families[i]);
        kp_step_changed(site, node, what, &change);
    }
    return 0;
}

static int reset_rules(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const families[] = {"iptables", "ip6tables"};
    static const char *const tables[] = {"nat", "filter", "mangle", "raw"};
    for (size_t i = 0; i < KP_COUNT(families); i++)
        for (size_t j = 0; j < KP_COUNT(tables); j++)
            if (reset_table(site, node, families[i], tables[j], err) < 0)
                return -1;
    return drop_tables(site, node, err);
}

/* "cali1a2b3c4d5e6", "lxc0123456789ab": as long as a name can be. */
static bool has_hex_after(struct kp_slice name, const char *prefix)
{
    size_t len = strlen(prefix);
    if (name.len != LINK_NAME_LEN || !kp_slice_starts(name, prefix))
        return false;
    for (size_t i = len; i < name.len; i++)
        if (!strchr("0123456789abcdef", name.ptr[i]))
            return false;
    return true;
}

/* Of all plugins, whatever the bundle's is now: they are nobody else's. Cilium's and Calico's have
 * a name per pod. */
bool kp_reset_is_our_link(struct kp_slice name)
{
    static const char *const whole[] = {
        "cni0",         "flannel.1",    "flannel-v6.1",    "cilium_host",    "cilium_net",
        "cilium_vxlan", "vxlan.calico", "vxlan-v6.calico", "wireguard.cali", "wg-v6.cali"};
    for (size_t i = 0; i < KP_COUNT(whole); i++)
        if (kp_slice_equal(name, whole[i]))
            return true;
    return has_hex_after(name, "cali") || has_hex_after(name, "lxc") ||
           kp_slice_equal(name, "lxc_health");
}

/* "7: lxc1a2b@if6: <…" -> "lxc1a2b" */
static bool link_name(struct kp_slice line, struct kp_slice *name)
{
    struct kp_slice number;
    if (!kp_slice_cut(&line, ':', &number))
        return false;
    line = kp_slice_trim(line);
    name->ptr = line.ptr;
    name->len = 0;
    while (name->len < line.len && line.ptr[name->len] != ':' && line.ptr[name->len] != '@')
        name->len++;
    return name->len > 0;
}

static int reset_links(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const show[] = {"ip", "-o", "link", "show", NULL};
    struct kp_change change = {.changed = true};
    kp_auto_free char *text = NULL;
    if (kp_ask(site, node, show, 60, NULL, &text, err) < 0)
        return -1;
    struct kp_slice all = kp_slice_of(text), line, name;
    while (kp_slice_line(&all, &line)) {
        if (!link_name(line, &name) || !kp_reset_is_our_link(name))
            continue;
        kp_auto_free char *link = kp_strndup(name.ptr, name.len);
        const char *drop[] = {"ip", "link", "delete", link, NULL};
        int status; // of a pair both ends go with the first
        if (kp_ask(site, node, drop, 30, &status, NULL, err) < 0)
            return -1;
        kp_auto_free char *what = kp_asprintf("delete the interface %s", link);
        if (status == 0)
            kp_step_changed(site, node, what, &change);
    }
    return 0;
}

/* Maps and programs that Cilium pinned, its own cgroup mount, and the rules that send marked
 * packets to its tables; the rule for local addresses back to the front. */
static int reset_cilium(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char script[] =
        "rm -rf /sys/fs/bpf/tc /sys/fs/bpf/cilium\n"
        "for at in /run/cilium/cgroupv2 /var/run/cilium/cgroupv2; do\n"
        "  while mountpoint -q \"$at\" 2>/dev/null; do umount -l \"$at\" || break; done\n"
        "done\n"
        "for family in -4 -6; do\n"
        "  for mark in 0x200/0xf00 0xa00/0xf00; do\n"
        "    while ip $family rule del fwmark $mark 2>/dev/null; do :; done\n"
        "  done\n"
        "  for table in 2004 2005; do ip $family route flush table $table 2>/dev/null; done\n"
        "  case $(ip $family rule list pref 100 2>/dev/null) in\n"
        "    *'lookup local'*)\n"
        "      ip $family rule add pref 0 lookup local && ip $family rule del pref 100 lookup "
        "local;;\n"
        "  esac\n"
        "done\n"
        "true";
    static const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    int status;
    return kp_ask(site, node, argv, 120, &status, NULL, err);
}

int kp_reset_network(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const files[] = {"/etc/cni/net.d/10-flannel.conflist",
                                        "/run/flannel",
                                        "/opt/cni/bin/flannel",
                                        "/etc/cni/net.d/05-cilium.conflist",
                                        "/etc/cni/net.d/05-cilium.conf",
                                        "/run/cilium",
                                        "/var/lib/cilium",
                                        "/opt/cni/bin/cilium-cni",
                                        "/etc/sysctl.d/99-zzz-override_cilium.conf",
                                        "/etc/cni/net.d/10-calico.conflist",
                                        "/etc/cni/net.d/calico-kubeconfig",
                                        "/run/calico",
                                        "/var/lib/calico",
                                        "/var/log/calico",
                                        "/opt/cni/bin/calico",
                                        "/opt/cni/bin/calico-ipam",
                                        "/etc/cni/net.d/00-multus.conf",
                                        "/etc/cni/net.d/00-multus.conflist",
                                        "/etc/cni/net.d/multus.d",
                                        "/opt/cni/bin/multus",
                                        "/opt/cni/bin/multus-shim",
                                        "/run/multus",
                                        "/var/lib/cni"};
    if (reset_cilium(site, node, err) < 0)
        return -1;
    for (size_t i = 0; i < KP_COUNT(files); i++)
        if (kp_place_removed(site, node, files[i], NULL, err) < 0)
            return -1;
    return reset_links(site, node, err) < 0 ? -1 : reset_rules(site, node, err);
}
