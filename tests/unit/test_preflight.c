/* SPDX-License-Identifier: Apache-2.0 */
#include "install/check/preflight_rules.h"
#include "manifests/packages.h"

#include <criterion/criterion.h>

/* A node without flaw; each case changes one thing. Disk space needs a bundle and is left to the
 * lab. */
static const char good[] =
    "{\"system\": {\"os\": {\"id\": \"debian\", \"version_id\": \"12\", \"id_like\": null},"
    " \"systemd\": 252, \"arch\": \"amd64\", \"cpus\": 2, \"machine_id\": \"m1\", \"hostname\": "
    "\"h1\","
    " \"memory\": {\"total\": 4000000000}, \"swap\": [], \"clock_difference\": 0.0,"
    " \"cap_sys_resource\": true, \"selinux\": \"none\","
    " \"programs\": {\"conntrack\": \"/usr/sbin/conntrack\", \"socat\": \"/usr/bin/socat\"}},"
    "\"kernel\": {\"cgroup\": {\"version\": 2, \"controllers\": [\"cpu\", \"memory\", \"pids\"]},"
    " \"modules\": {\"overlay\": \"builtin\", \"br_netfilter\": \"loaded\"}, \"modules_folder\": "
    "true},"
    "\"network\": {\"addresses\": [{\"interface\": \"eth0\", \"address\": \"10.77.0.11\"}],"
    " \"routes\": [{\"destination\": \"10.77.0.0\", \"prefix\": 24, \"interface\": \"eth0\"}],"
    " \"listening\": [{\"protocol\": \"tcp\", \"port\": 22, \"program\": \"sshd\"}],"
    " \"firewalls\": [], \"proxy\": []},"
    "\"leftovers\": {\"kubernetes_files\": [], \"etcd_member\": false, \"runtimes\": {}}}";

struct scene {
    struct kp_manifest manifest;
    struct kp_inventory inventory;
    struct kp_node nodes[2];
    struct kp_site_node site_nodes[2];
    struct kp_site site;
};

static const char *arches[] = {"amd64", NULL};
static const char *no_names[] = {NULL};
static const char *programs[] = {"conntrack", "socat", NULL};

static json_t *facts(void)
{
    json_t *value = json_loads(good, 0, NULL);
    cr_assert_not_null(value);
    return value;
}

static void set_scene(struct scene *s)
{
    *s = (struct scene){
        .manifest = {.arches = arches, .programs = programs, .kubernetes = "v1.30.14"}};
    s->inventory.cluster = "demo";
    s->inventory.kubernetes.pods = "10.233.64.0/18";
    s->inventory.kubernetes.services = "10.233.0.0/18";
    s->inventory.kubernetes.ignore_preflight = no_names;
    s->inventory.mirror.port = 5000;
    s->nodes[0] = (struct kp_node){
        .name = "cp1", .address = "10.77.0.11", .roles = KP_ROLE_CONTROL_PLANE, .mirror = true};
    s->site_nodes[0] =
        (struct kp_site_node){.node = &s->nodes[0], .facts = facts(), .arch = "amd64"};
    s->site = (struct kp_site){.manifest = &s->manifest,
                               .inventory = &s->inventory,
                               .nodes = s->site_nodes,
                               .node_count = 1};
}

static void end_scene(struct scene *s)
{
    json_decref(s->site_nodes[0].facts);
    json_decref(s->site_nodes[0].record);
    json_decref(s->site_nodes[1].facts);
}

/* Puts the JSON text at part.key. */
static void change(json_t *document, const char *part, const char *key, const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    cr_assert_not_null(value, "%s", text);
    json_object_set_new(json_object_get(document, part), key, value);
}

static void look(struct scene *s, kp_rule *rule, struct kp_findings *out)
{
    const json_t *f = s->site_nodes[0].facts;
    struct kp_look l = {&s->site,
                        &s->site_nodes[0],
                        json_object_get(f, "system"),
                        json_object_get(f, "kernel"),
                        json_object_get(f, "network"),
                        json_object_get(f, "leftovers"),
                        false,
                        out};
    rule(&l);
}

static kp_rule *const rules[] = {
    kp_rule_os,        kp_rule_arch,     kp_rule_cgroups,      kp_rule_cpu,     kp_rule_memory,
    kp_rule_clock,     kp_rule_swap,     kp_rule_capabilities, kp_rule_modules, kp_rule_programs,
    kp_rule_security,  kp_rule_address,  kp_rule_kernel,       kp_rule_ports,   kp_rule_networks,
    kp_rule_leftovers, kp_rule_runtimes,
};

static void look_at_all(struct scene *s, struct kp_findings *out)
{
    for (size_t i = 0; i < KP_COUNT(rules); i++)
        look(s, rules[i], out);
}

Test(preflight, nothing_to_say_of_a_good_node)
{
    struct scene s;
    set_scene(&s);
    kp_auto_value(kp_findings) findings = {0};
    look_at_all(&s, &findings);
    cr_assert_eq(findings.count, 0, "%s", findings.count ? findings.items[0].text : "");
    end_scene(&s);
}

Test(preflight, each_flaw_is_found_and_named)
{
    static const struct {
        const char *part, *key, *value, *check, *say;
        enum kp_level level;
    } table[] = {
        {"system", "os", "{\"id\": \"plan9\"}", "os", "plan9", KP_LEVEL_WARNING},
        {"system", "systemd", "0", "os", "systemd does not run", KP_LEVEL_ERROR},
        {"system", "arch", "\"arm64\"", "arch", "arm64", KP_LEVEL_ERROR},
        {"kernel", "cgroup", "{\"controllers\": [\"cpu\", \"memory\"]}", "cgroups", "pids",
         KP_LEVEL_ERROR},
        {"system", "cpus", "1", "cpu", "1 core", KP_LEVEL_ERROR},
        {"system", "memory", "{\"total\": 1000000000}", "memory", "1.0 GB", KP_LEVEL_ERROR},
        {"system", "clock_difference", "2.0", "clock", "ahead", KP_LEVEL_WARNING},
        {"system", "clock_difference", "-7.2", "clock", "7.2 s behind", KP_LEVEL_ERROR},
        {"system", "swap", "[{\"device\": \"/dev/sda2\"}]", "swap", "/dev/sda2", KP_LEVEL_WARNING},
        {"system", "cap_sys_resource", "false", "capabilities", "SYS_RESOURCE", KP_LEVEL_WARNING},
        {"kernel", "modules", "{\"overlay\": \"missing\"}", "modules", "overlay", KP_LEVEL_ERROR},
        {"kernel", "sysctl", "{\"kernel.panic\": {\"value\": \"0\", \"writable\": false}}",
         "kernel", "kernel.panic cannot be set to 10", KP_LEVEL_WARNING},
        {"kernel", "sysctl", "{\"net.ipv4.ip_forward\": {\"value\": \"0\", \"writable\": false}}",
         "kernel", "net.ipv4.ip_forward", KP_LEVEL_ERROR},
        {"system", "programs", "{\"conntrack\": null, \"socat\": \"/usr/bin/socat\"}", "programs",
         "conntrack", KP_LEVEL_ERROR},
        {"system", "programs", "{\"conntrack\": \"/sbin/conntrack\", \"socat\": null}", "programs",
         "socat", KP_LEVEL_WARNING},
        {"system", "selinux", "\"enforcing\"", "selinux", "SELinux", KP_LEVEL_WARNING},
        {"network", "firewalls", "[\"firewalld\"]", "firewall", "firewalld", KP_LEVEL_WARNING},
        {"network", "addresses", "[]", "address", "10.77.0.11", KP_LEVEL_ERROR},
        {"network", "listening",
         "[{\"protocol\": \"tcp\", \"port\": 10250, \"program\": \"kubelet\"}]", "ports", "kubelet",
         KP_LEVEL_ERROR},
        {"network", "routes",
         "[{\"destination\": \"10.233.0.0\", \"prefix\": 16, \"interface\": \"eth1\"}]", "networks",
         "10.233.0.0/16", KP_LEVEL_ERROR},
        {"leftovers", "kubernetes_files", "[\"/etc/kubernetes/admin.conf\"]", "leftovers",
         "admin.conf", KP_LEVEL_ERROR},
        {"leftovers", "etcd_member", "true", "leftovers", "etcd", KP_LEVEL_ERROR},
        {"leftovers", "runtimes",
         "{\"containerd\": {\"active\": \"active\", \"path\": \"/usr/bin/c\"}}", "runtimes",
         "containerd", KP_LEVEL_ERROR},
    };
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        struct scene s;
        set_scene(&s);
        change(s.site_nodes[0].facts, table[i].part, table[i].key, table[i].value);
        kp_auto_value(kp_findings) findings = {0};
        look_at_all(&s, &findings);
        cr_assert_geq(findings.count, 1, "case %zu (%s): nothing found", i, table[i].check);
        cr_assert_str_eq(findings.items[0].check, table[i].check);
        cr_assert_eq(findings.items[0].level, table[i].level, "case %zu", i);
        cr_assert_not_null(strstr(findings.items[0].text, table[i].say), "case %zu: %s", i,
                           findings.items[0].text);
        end_scene(&s);
    }
}

/* kubelet and kubeadm each refuse it, and each has to be told. */
Test(preflight, cgroup_v1_ends_with_kubernetes_1_35)
{
    static struct kp_pair no = {"failCgroupV1", "false"}, yes = {"failCgroupV1", "true"};
    static const char *ignored[] = {"SystemVerification", NULL};
    static const struct {
        const char *kubernetes;
        unsigned version;
        struct kp_pair *cluster, *node;
        const char **ignore;
        bool refused;
    } table[] = {
        {"v1.34.11", 1, NULL, NULL, no_names, false}, {"v1.35.0", 2, NULL, NULL, no_names, false},
        {"v1.35.0", 1, NULL, NULL, no_names, true},   {"v1.36.4", 1, NULL, NULL, ignored, true},
        {"v1.36.4", 1, &no, NULL, no_names, true},    {"v1.36.4", 1, &no, NULL, ignored, false},
        {"v1.36.4", 1, NULL, &no, ignored, false},    {"v1.36.4", 1, &no, &yes, ignored, true},
    };
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        struct scene s;
        kp_auto_value(kp_findings) findings = {0};
        set_scene(&s);
        s.manifest.kubernetes = table[i].kubernetes;
        s.inventory.kubernetes.kubelet = table[i].cluster;
        s.inventory.kubernetes.kubelet_count = table[i].cluster != NULL;
        s.inventory.kubernetes.ignore_preflight = table[i].ignore;
        s.nodes[0].kubelet = table[i].node;
        s.nodes[0].kubelet_count = table[i].node != NULL;
        json_t *cgroup = json_object_get(
            json_object_get(json_object_get(s.site_nodes[0].facts, "kernel"), "cgroup"), "version");
        json_integer_set(cgroup, table[i].version);
        look(&s, kp_rule_cgroups, &findings);
        cr_assert_eq(findings.errors, table[i].refused ? 1 : 0, "case %zu", i);
        if (table[i].refused)
            cr_expect(strstr(findings.items[0].text, table[i].kubernetes), "case %zu: %s", i,
                      findings.items[0].text);
        end_scene(&s);
    }
}

Test(preflight, package_names_follow_the_distribution)
{
    struct scene s;
    set_scene(&s);
    change(s.site_nodes[0].facts, "system", "os", "{\"id\": \"rocky\", \"version_id\": \"9.4\"}");
    change(s.site_nodes[0].facts, "system", "programs",
           "{\"conntrack\": null, \"socat\": \"/usr/bin/socat\"}");
    kp_auto_value(kp_findings) findings = {0};
    look(&s, kp_rule_programs, &findings);
    cr_assert_eq(findings.count, 1);
    cr_assert_not_null(strstr(findings.items[0].next, "conntrack-tools"));
    end_scene(&s);
}

Test(preflight, cloned_nodes)
{
    struct scene s;
    set_scene(&s);
    s.nodes[1] = (struct kp_node){.name = "w1", .address = "10.77.0.12", .roles = KP_ROLE_WORKER};
    s.site_nodes[1] = (struct kp_site_node){.node = &s.nodes[1], .facts = facts()};
    s.site.node_count = 2;
    kp_auto_value(kp_findings) findings = {0};
    kp_rule_duplicates(&s.site, &findings);
    cr_assert_eq(findings.errors, 2);
    cr_assert_not_null(strstr(findings.items[0].text, "cp1"));
    end_scene(&s);
}

static struct kp_file packages[] = {
    {.name = "tools.rpm",
     .component = "tools.rpm",
     .arch = "amd64",
     .target = KP_PACKAGE_FOLDER "/tools-1-1.x86_64.rpm",
     .roles = KP_ROLE_CONTROL_PLANE},
    {.name = "conntrack.deb",
     .component = "conntrack.deb",
     .arch = "amd64",
     .target = KP_PACKAGE_FOLDER "/conntrack_1.4.7_amd64.deb",
     .roles = KP_ROLE_CONTROL_PLANE},
};

Test(preflight, a_carried_package_is_no_error)
{
    static const char *conntrack[] = {"conntrack", NULL};
    struct scene s;
    set_scene(&s);
    packages[0].programs = packages[1].programs = conntrack;
    s.manifest.files = packages;
    s.manifest.file_count = KP_COUNT(packages);
    change(s.site_nodes[0].facts, "system", "programs",
           "{\"conntrack\": null, \"socat\": \"/usr/bin/socat\"}");
    kp_auto_value(kp_findings) findings = {0};
    look(&s, kp_rule_programs, &findings);
    cr_assert_eq(findings.count, 1);
    cr_expect_eq(findings.errors + findings.warnings, 0);
    cr_expect_eq(findings.items[0].level, KP_LEVEL_NOTE);
    cr_expect(strstr(findings.items[0].text, "(conntrack_1.4.7_amd64.deb)"), "%s",
              findings.items[0].text);
    // Of another family, another arch, another role: an error as before.
    kp_findings_release(&findings);
    change(s.site_nodes[0].facts, "system", "os", "{\"id\": \"rocky\"}");
    look(&s, kp_rule_programs, &findings);
    cr_expect(strstr(findings.items[0].text, "(tools-1-1.x86_64.rpm)"));
    kp_findings_release(&findings);
    change(s.site_nodes[0].facts, "system", "os", "{\"id\": \"ubuntu\"}");
    packages[1].arch = "arm64";
    look(&s, kp_rule_programs, &findings);
    cr_expect_eq(findings.errors, 1);
    kp_findings_release(&findings);
    packages[1].arch = "amd64";
    packages[1].roles = KP_ROLE_WORKER;
    look(&s, kp_rule_programs, &findings);
    cr_expect_eq(findings.errors, 1);
    packages[1].roles = KP_ROLE_CONTROL_PLANE;
    end_scene(&s);
}

static void check_disk(struct scene *s, const char *disks, const char *path)
{
    kp_auto_value(kp_findings) findings = {0};
    change(s->site_nodes[0].facts, "system", "disks", disks);
    look(s, kp_rule_disk, &findings);
    cr_assert_eq(findings.count, path ? 1 : 0, "%s", disks);
    if (path)
        cr_expect(kp_starts_with(findings.items[0].text, path), "%s", findings.items[0].text);
}

/* 600 MB are kept for a control plane; the files of the bundle come on top. */
Test(preflight, disk_space_is_computed_from_the_bundle)
{
    static struct kp_file large = {.name = "kubelet",
                                   .component = "kubelet",
                                   .arch = "amd64",
                                   .target = "/usr/local/bin/kubelet",
                                   .roles = KP_ROLE_CONTROL_PLANE,
                                   .size = 300000000};
    struct scene s;
    set_scene(&s);
    s.nodes[0].mirror = false;
    s.manifest.files = &large;
    s.manifest.file_count = 1;
    // On one file system both are needed together.
    check_disk(&s,
               "{\"/var/lib\": {\"device\": \"a\", \"free\": 899000000}, \"/usr/local\": "
               "{\"device\": \"a\", \"free\": 899000000}}",
               "/var/lib");
    check_disk(&s,
               "{\"/var/lib\": {\"device\": \"a\", \"free\": 901000000}, \"/usr/local\": "
               "{\"device\": \"a\", \"free\": 901000000}}",
               NULL);
    check_disk(&s,
               "{\"/var/lib\": {\"device\": \"a\", \"free\": 601000000}, \"/usr/local\": "
               "{\"device\": \"b\", \"free\": 299000000}}",
               "/usr/local");
    check_disk(&s,
               "{\"/var/lib\": {\"device\": \"a\", \"free\": 601000000}, \"/usr/local\": "
               "{\"device\": \"b\", \"free\": 301000000}}",
               NULL);
    end_scene(&s);
}

/* Each rule is really asked: what the table above finds one by one is found by kinstall check. */
Test(preflight, all_rules_are_asked_and_lost_nodes_are_findings)
{
    static const char *const checks[] = {
        "os",       "arch",         "cgroups",  "cpu",      "memory",    "clock",
        "swap",     "capabilities", "modules",  "kernel",   "programs",  "selinux",
        "firewall", "address",      "ports",    "networks", "leftovers", "runtimes",
        "disk",     "machine-id",   "hostname", "connect"};
    struct scene s;
    set_scene(&s);
    s.nodes[0].mirror = false;
    kp_auto_json bad = json_loads(
        "{\"system\": {\"os\": {\"id\": \"plan9\"}, \"systemd\": 252, \"arch\": \"s390x\", "
        "\"cpus\": 1, \"machine_id\": \"m1\", \"hostname\": \"h1\", \"memory\": {\"total\": 1}, "
        "\"swap\": [{\"device\": \"x\"}], \"clock_difference\": 9.0, \"cap_sys_resource\": false, "
        "\"selinux\": \"enforcing\", \"programs\": {}, \"disks\": {\"/var/lib\": {\"device\": "
        "\"a\", "
        "\"free\": 1}}}, \"kernel\": {\"cgroup\": {\"controllers\": []}, \"modules\": "
        "{\"overlay\": "
        "\"missing\"}, \"sysctl\": {\"kernel.panic\": {\"value\": \"0\", \"writable\": false}}}, "
        "\"network\": {\"addresses\": [], \"routes\": [{\"destination\": \"10.233.0.0\", "
        "\"prefix\": "
        "16, \"interface\": \"eth1\"}], \"listening\": [{\"protocol\": \"tcp\", \"port\": 6443}], "
        "\"firewalls\": [\"ufw\"], \"proxy\": []}, \"leftovers\": {\"kubernetes_files\": [\"/a\"], "
        "\"etcd_member\": true, \"runtimes\": {\"containerd\": {\"active\": \"active\"}}}}",
        0, NULL);
    cr_assert_not_null(bad);
    json_decref(s.site_nodes[0].facts);
    s.site_nodes[0].facts = json_incref(bad);
    s.nodes[1] = (struct kp_node){.name = "w1", .address = "10.77.0.12", .roles = KP_ROLE_WORKER};
    s.site_nodes[1] = (struct kp_site_node){.node = &s.nodes[1], .facts = json_incref(bad)};
    s.site_nodes[1].failed = true;
    (void)kp_fail(&s.site_nodes[1].failure, KP_FAILED, "node w1: no route");
    s.site.node_count = 2;
    kp_auto_value(kp_findings) findings = {0};
    kp_preflight(&s.site, &findings);
    for (size_t c = 0; c < KP_COUNT(checks); c++) {
        bool found = false;
        for (size_t i = 0; i < findings.count; i++)
            found = found || strcmp(findings.items[i].check, checks[c]) == 0;
        cr_expect(found, "nothing of the check %s", checks[c]);
    }
    end_scene(&s);
}

/* In a cluster that is there, an off node may also be dead: the way out is named. */
Test(preflight, a_node_that_does_not_answer)
{
    static const struct {
        const char *reason;
        bool ours, named;
    } rows[] = {{"unreachable", true, true},
                {"unreachable", false, false},
                {"permission_denied", true, false}};
    for (size_t i = 0; i < KP_COUNT(rows); i++) {
        struct scene s;
        kp_auto_value(kp_findings) findings = {0};
        set_scene(&s);
        s.nodes[0].mirror = false; // there is no bundle to be kept
        if (rows[i].ours)
            s.site_nodes[0].record = json_pack("{s:s}", "cluster", "demo");
        s.nodes[1] =
            (struct kp_node){.name = "w1", .address = "10.77.0.12", .roles = KP_ROLE_WORKER};
        s.site_nodes[1] = (struct kp_site_node){.node = &s.nodes[1], .failed = true};
        s.site_nodes[1].failure = (struct kp_err){
            .code = KP_FAILED, .reason = rows[i].reason, .message = "no way", .hint = "is it on?"};
        s.site.node_count = 2;
        kp_preflight(&s.site, &findings);
        const struct kp_finding *found = NULL;
        for (size_t k = 0; k < findings.count; k++)
            if (findings.items[k].node == &s.site_nodes[1])
                found = &findings.items[k];
        cr_assert(found && found->level == KP_LEVEL_ERROR);
        cr_expect(kp_starts_with(found->next, "is it on?"), "%s", found->next);
        cr_expect_eq(strstr(found->next, "kinstall remove w1 --force-dead -i ") != NULL,
                     rows[i].named, "%zu: %s", i, found->next);
        end_scene(&s);
    }
}

Test(preflight, a_node_of_another_cluster_and_one_of_ours)
{
    struct scene s;
    set_scene(&s);
    kp_auto_value(kp_findings) findings = {0};
    s.site_nodes[0].record = json_pack("{s:s}", "cluster", "other");
    look(&s, kp_rule_leftovers, &findings);
    cr_assert_eq(findings.errors, 1);
    cr_expect(strstr(findings.items[0].text, "the cluster other"), "%s", findings.items[0].text);
    kp_findings_release(&findings);
    // Of our own cluster ports, files and member are as they should be.
    json_object_set_new(s.site_nodes[0].record, "cluster", json_string("demo"));
    change(s.site_nodes[0].facts, "leftovers", "etcd_member", "true");
    change(s.site_nodes[0].facts, "network", "listening",
           "[{\"protocol\": \"tcp\", \"port\": 6443}]");
    s.nodes[0].mirror = false;
    kp_preflight(&s.site, &findings);
    cr_expect_eq(findings.errors, 0, "%s", findings.count ? findings.items[0].text : "");
    end_scene(&s);
}
