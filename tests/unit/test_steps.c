/* SPDX-License-Identifier: Apache-2.0 */
/* What the steps write, against golden files (KP_GOLDEN=write writes them), and what they read. */
#include "core/file.h"
#include "install/check/health_probe.h"
#include "install/node/approve_rules.h"
#include "install/steps/approve.h"
#include "install/steps/common.h"
#include "install/steps/images.h"
#include "install/steps/kubeadm.h"
#include "install/steps/network.h"
#include "install/steps/prepare.h"
#include "install/steps/reset_network.h"
#include "manifests/walk.h"
#include "install/security.h"
#include "install/steps/settings.h"
#include "golden.h"

#include <criterion/criterion.h>
#include <stdlib.h>

struct sample { /* a site as far as rendering needs one */
    struct kp_node nodes[3];
    struct kp_site_node site_nodes[3];
    struct kp_inventory inventory;
    struct kp_image images[5];
    struct kp_manifest manifest;
    struct kp_site site;
    struct kp_taint taints[2];
    const char *ignored[2];
};

static const char *arches[] = {"amd64", NULL};

static void fill_images(struct sample *s)
{
    static const char *const all[][2] = {
        {"kube-apiserver", "registry.k8s.io/kube-apiserver:v1.30.14"},
        {"etcd", "registry.k8s.io/etcd:3.5.15-0"},
        {"coredns", "registry.k8s.io/coredns/coredns:v1.11.3"},
        {"pause", "registry.k8s.io/pause:3.9"},
        {"", "docker.io/library/app:1"},
    };
    for (size_t i = 0; i < KP_COUNT(all); i++)
        s->images[i] = (struct kp_image){.name = all[i][0],
                                         .reference = all[i][1],
                                         .arches = arches,
                                         .roles = i < 2 ? KP_ROLE_CONTROL_PLANE
                                                        : KP_ROLE_CONTROL_PLANE | KP_ROLE_WORKER,
                                         .why = i < 4 ? "release" : "--image",
                                         .pinned = i == 3};
    for (size_t i = 0; i < KP_COUNT(all); i++)
        memset(s->images[i].digest.bytes, (int)(0x11 * (i + 1)), KP_SHA256_LEN);
}

static void fill_sample(struct sample *s, const char *version, const char *api)
{
    *s = (struct sample){0};
    s->nodes[0] = (struct kp_node){
        .name = "cp1", .address = "10.77.0.11", .roles = KP_ROLE_CONTROL_PLANE, .mirror = true};
    s->nodes[1] = (struct kp_node){.name = "w1", .address = "10.77.0.12", .roles = KP_ROLE_WORKER};
    s->nodes[2] = (struct kp_node){.name = "w2",
                                   .address = "10.77.0.13",
                                   .roles = KP_ROLE_WORKER,
                                   .taints = s->taints,
                                   .taint_count = 2,
                                   .taints_set = true};
    s->taints[0] = (struct kp_taint){"dedicated", "true", "NoSchedule"};
    s->taints[1] = (struct kp_taint){"slow", NULL, "PreferNoSchedule"};
    s->ignored[0] = "SystemVerification";
    s->inventory = (struct kp_inventory){
        .cluster = "demo", .nodes = s->nodes, .node_count = 3, .control_plane_count = 1};
    s->inventory.etcd = (struct kp_etcd_options){
        .quota_bytes = ((uint64_t)2 << 30), .heartbeat_ms = 100, .election_ms = 1000};
    s->inventory.kubernetes.endpoint = "local";
    s->inventory.kubernetes.pods = "10.233.64.0/18";
    s->inventory.kubernetes.services = "10.233.0.0/18";
    s->inventory.kubernetes.domain = "cluster.local";
    s->inventory.security = (struct kp_security){.pod_security = KP_POD_SECURITY_BASELINE,
                                                 .audit = true,
                                                 .encryption = true,
                                                 .seccomp_default = true,
                                                 .tls = 12};
    s->inventory.kubernetes.ignore_preflight = s->ignored;
    s->inventory.kubernetes.ignore_preflight_count = 1;
    fill_images(s);
    s->manifest = (struct kp_manifest){
        .kubernetes = version, .kubeadm_api = api, .images = s->images, .image_count = 5};
    for (size_t i = 0; i < 3; i++)
        s->site_nodes[i].node = &s->nodes[i];
    s->site = (struct kp_site){.inventory = &s->inventory,
                               .manifest = &s->manifest,
                               .nodes = s->site_nodes,
                               .node_count = 3};
}

Test(steps, kubeadm_init)
{
    static const char *const apis[] = {"v1beta3", "v1beta4"};
    for (size_t i = 0; i < KP_COUNT(apis); i++) {
        struct sample s;
        struct kp_err err = KP_ERR_INIT;
        kp_auto_free char *text = NULL;
        kp_auto_free char *name = kp_asprintf("init-%s.yaml", apis[i]);
        fill_sample(&s, i ? "v1.31.14" : "v1.30.14", apis[i]);
        cr_assert_eq(kp_kubeadm_init_config(&text, &s.site, "abcdef.0123456789abcdef", NULL, &err),
                     0, "%s", err.message);
        golden_check(name, text);
    }
}

static struct kp_pair api_args[] = {{"event-ttl", "2h0m0s"}, {"audit-log-maxage", "60"}};
static struct kp_pair gates[] = {{"NodeSwap", "true"}, {"Other", "false"}};
static struct kp_pair api_gates[] = {{"Other", "true"}};
static struct kp_mount mounts[] = {{"certs", "/etc/ssl/site", "/etc/ssl/site", true, 1},
                                   {"data", "/srv/data", "/data", false, 0}};
static struct kp_pair etcd_args[] = {{"auto-compaction-retention", "8"}};
static struct kp_pair kubelet[] = {{"maxPods", "200"}, {"featureGates", "{\"Other\": true}"}};
static struct kp_pair proxy[] = {{"conntrack", "{\"maxPerCore\": 1}"}};
static struct kp_pair own_kubelet[] = {{"maxPods", "50"},
                                       {"evictionHard", "{\"nodefs.available\": \"5%\"}"}};
static struct kp_patch patches[] = {{"etcd+json.json", "[]"},
                                    {"kube-apiserver0.yaml", "spec: {}\n"},
                                    {"kubeletconfiguration.yaml", "maxPods: 1\n"}};

static void add_custom(struct sample *s)
{
    s->inventory.kubernetes.apiserver = (struct kp_component){api_args, api_gates, 2, 1, mounts, 2};
    s->inventory.kubernetes.scheduler = (struct kp_component){.mounts = mounts, .mount_count = 1};
    s->inventory.kubernetes.feature_gates = gates;
    s->inventory.kubernetes.feature_gate_count = 2;
    s->inventory.kubernetes.kubelet = kubelet;
    s->inventory.kubernetes.kubelet_count = 2;
    s->inventory.kubernetes.kube_proxy = proxy;
    s->inventory.kubernetes.kube_proxy_count = 1;
    s->inventory.kubernetes.patches = patches;
    s->inventory.kubernetes.patch_count = 3;
    s->inventory.etcd.args = etcd_args;
    s->inventory.etcd.arg_count = 1;
    s->nodes[0].kubelet = own_kubelet;
    s->nodes[0].kubelet_count = 2;
}

Test(steps, kubeadm_init_with_settings_of_the_site)
{
    static const char *const apis[] = {"v1beta3", "v1beta4"};
    for (size_t i = 0; i < KP_COUNT(apis); i++) {
        struct sample s;
        struct kp_err err = KP_ERR_INIT;
        kp_auto_free char *text = NULL;
        kp_auto_free char *name = kp_asprintf("init-custom-%s.yaml", apis[i]);
        fill_sample(&s, i ? "v1.31.14" : "v1.30.14", apis[i]);
        add_custom(&s);
        cr_assert_eq(kp_kubeadm_init_config(&text, &s.site, "abcdef.0123456789abcdef", NULL, &err),
                     0, "%s", err.message);
        golden_check(name, text);
    }
}

/* What a node was given, in pieces that are applied by themselves: each has its own, and no more.
 */
Test(steps, settings)
{
    static const char *const names[] = {"etcd", "control-plane", "kubelet", "kube-proxy"};
    struct sample s;
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *config = NULL;
    fill_sample(&s, "v1.30.14", "v1beta3");
    add_custom(&s);
    cr_assert_eq(kp_kubeadm_node_config(&config, &s.site, &s.site_nodes[0], &err), 0, "%s",
                 err.message);
    for (int kind = 0; kind < KP_SETTINGS_KINDS; kind++) {
        kp_auto_free char *text = kp_settings_text(kind, &s.site, &s.nodes[0], config);
        kp_auto_free char *name = kp_asprintf("settings-%s.yaml", names[kind]);
        golden_check(name, text);
    }
    cr_expect(kp_settings_patched(&s.site, &s.nodes[1]));
    s.inventory.kubernetes.patch_count = 0;
    cr_expect(kp_settings_patched(&s.site, &s.nodes[0]));
    cr_expect_not(kp_settings_patched(&s.site, &s.nodes[1]));
}

/* A control plane that comes or goes changes names in a certificate, and no static pod. */
Test(steps, settings_leave_the_names_of_the_certificate_alone)
{
    struct sample s;
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *one = NULL, *two = NULL;
    fill_sample(&s, "v1.30.14", "v1beta3");
    cr_assert_eq(kp_kubeadm_node_config(&one, &s.site, &s.site_nodes[0], &err), 0);
    s.nodes[1].roles = KP_ROLE_CONTROL_PLANE;
    cr_assert_eq(kp_kubeadm_node_config(&two, &s.site, &s.site_nodes[0], &err), 0);
    cr_expect_str_neq(one, two);
    kp_auto_free char *a = kp_settings_text(KP_SETTINGS_CONTROL, &s.site, &s.nodes[0], one);
    kp_auto_free char *b = kp_settings_text(KP_SETTINGS_CONTROL, &s.site, &s.nodes[0], two);
    cr_expect_str_eq(a, b);
}

/* The API server reads them at its start only: another namespace that is exempt is due there. */
Test(steps, settings_follow_policies)
{
    struct sample s;
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *config = NULL;
    static const char *exempt[] = {"shop"};
    fill_sample(&s, "v1.30.14", "v1beta3");
    s.inventory.security = (struct kp_security){.pod_security = KP_POD_SECURITY_BASELINE};
    cr_assert_eq(kp_kubeadm_node_config(&config, &s.site, &s.site_nodes[0], &err), 0);
    kp_auto_free char *a = kp_settings_text(KP_SETTINGS_CONTROL, &s.site, &s.nodes[0], config);
    kp_auto_free char *same = kp_settings_text(KP_SETTINGS_CONTROL, &s.site, &s.nodes[0], config);
    s.inventory.security.exempt = exempt;
    s.inventory.security.exempt_count = 1;
    kp_auto_free char *b = kp_settings_text(KP_SETTINGS_CONTROL, &s.site, &s.nodes[0], config);
    cr_expect_str_eq(a, same);
    cr_expect_str_neq(a, b);
    kp_auto_free char *etcd = kp_settings_text(KP_SETTINGS_ETCD, &s.site, &s.nodes[0], config);
    cr_expect_null(strstr(etcd, KP_SETTINGS_POLICIES));
}

/* What restarts something is done on one node after the other, before anybody joins; one that is
 * not well stops the rest. */
Test(steps, settings_one_after_the_other)
{
    static const char *const restarting[] = {"etcd-settings", "control-settings",
                                             "kubelet-settings", "proxy-settings"};
    for (size_t i = 0; i < KP_COUNT(restarting); i++) {
        cr_assert_str_eq(kp_steps_join[i].name, restarting[i]);
        cr_expect(kp_steps_join[i].serial && kp_steps_join[i].halting, "%s", restarting[i]);
    }
}

/* External etcd: its list of members is the API server's affair. */
Test(steps, settings_follow_external_etcd)
{
    struct sample s;
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *config = NULL;
    fill_sample(&s, "v1.30.14", "v1beta3");
    s.inventory.etcd.external = true;
    s.nodes[1].roles = KP_ROLE_ETCD;
    cr_assert_eq(kp_kubeadm_node_config(&config, &s.site, &s.site_nodes[0], &err), 0);
    kp_auto_free char *text = kp_settings_text(KP_SETTINGS_CONTROL, &s.site, &s.nodes[0], config);
    cr_expect(strstr(text, "https://10.77.0.12:2379"));
    cr_expect_not(kp_settings_apply_to(KP_SETTINGS_ETCD, &s.site, &s.site_nodes[0]));
}

Test(steps, kubeadm_init_on_external_etcd)
{
    static const char *const apis[] = {"v1beta3", "v1beta4"};
    for (size_t i = 0; i < KP_COUNT(apis); i++) {
        struct sample s;
        struct kp_err err = KP_ERR_INIT;
        kp_auto_free char *text = NULL;
        kp_auto_free char *name = kp_asprintf("init-external-%s.yaml", apis[i]);
        fill_sample(&s, i ? "v1.31.14" : "v1.30.14", apis[i]);
        s.inventory.etcd.external = true;
        s.nodes[1].roles = KP_ROLE_ETCD;
        s.nodes[2].roles |= KP_ROLE_ETCD;
        cr_assert_eq(kp_kubeadm_init_config(&text, &s.site, "abcdef.0123456789abcdef", NULL, &err),
                     0, "%s", err.message);
        cr_expect_null(strstr(text, "local:"));
        golden_check(name, text);
    }
}

Test(steps, kubeadm_init_on_a_nested_node_that_works_too)
{
    struct sample s;
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *text = NULL;
    fill_sample(&s, "v1.30.14", "v1beta3");
    kp_auto_json facts = json_pack("{s:{s:{s:{s:b}}}}", "kernel", "sysctl",
                                   "net.netfilter.nf_conntrack_max", "writable", 0);
    s.nodes[0].roles = KP_ROLE_CONTROL_PLANE | KP_ROLE_WORKER;
    s.site_nodes[1].facts = facts;
    s.inventory.kubernetes.keep_swap = true;
    s.inventory.security = (struct kp_security){.anonymous = true, .profiling = true, .tls = 13};
    cr_assert_eq(kp_kubeadm_init_config(
                     &text, &s.site, "abcdef.0123456789abcdef",
                     "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", &err),
                 0, "%s", err.message);
    golden_check("init-nested.yaml", text);
}

Test(steps, kubeadm_join)
{
    static const char *const apis[] = {"v1beta3", "v1beta4"};
    for (size_t i = 0; i < 4; i++) {
        struct sample s;
        struct kp_err err = KP_ERR_INIT;
        kp_auto_free char *text = NULL;
        bool control = i >= 2;
        fill_sample(&s, "v1.30.14", apis[i % 2]);
        s.nodes[1].roles = KP_ROLE_CONTROL_PLANE;
        kp_auto_free char *name =
            kp_asprintf("join-%s-%s.yaml", control ? "control-plane" : "worker", apis[i % 2]);
        cr_assert_eq(
            kp_kubeadm_join_config(
                &text, &s.site, &s.site_nodes[control ? 1 : 2], "abcdef.0123456789abcdef",
                "753d1ac41c4ff4537814ab5cfb176a903108973ee7d56bf7825845b0f45abbda",
                control ? "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff" : "",
                &err),
            0, "%s", err.message);
        golden_check(name, text);
    }
}

Test(steps, a_missing_image_is_named)
{
    struct sample s;
    struct kp_err err = KP_ERR_INIT;
    char *text = NULL;
    fill_sample(&s, "v1.30.14", "v1beta3");
    s.images[1].name = "other";
    cr_expect_eq(kp_kubeadm_init_config(&text, &s.site, "t", NULL, &err), -1);
    cr_expect(strstr(err.message, "etcd"));
    cr_expect_eq(err.code, KP_MISSING);
}

Test(steps, containerd_configs)
{
    for (unsigned v = 2; v <= 4; v++) {
        kp_auto(kp_vars) vars = kp_vars_new();
        kp_auto_free char *text = NULL;
        kp_auto_free char *name = kp_asprintf("containerd-v%u.toml", v);
        /* seen containerd-2.3 rendered */
        struct kp_err err = KP_ERR_INIT;
        kp_vars_set(vars, "pause", "registry.k8s.io/pause:3.9");
        kp_vars_set(vars, "oci", "runc");
        kp_vars_set(vars, "oci_program", "/usr/local/sbin/runc");
        kp_vars_flag(vars, "restrict_oom_score_adj", v == 2);
        kp_vars_flag(vars, "selinux", v == 4);
        cr_assert_eq(kp_render(&text, name, vars, &err), 0, "%s", err.message);
        golden_check(name, text);
    }
}

/* By name, whichever control plane is the hand; without those that only carry etcd. */
Test(steps, nodes_that_get_serving_certificates)
{
    struct kp_node nodes[] = {
        {.name = "cp2", .address = "10.0.0.2", .roles = KP_ROLE_CONTROL_PLANE},
        {.name = "cp1",
         .address = "10.0.0.1",
         .address2 = "fd77::1",
         .roles = KP_ROLE_CONTROL_PLANE},
        {.name = "w1", .address = "fd77::3", .roles = KP_ROLE_WORKER},
        {.name = "e1", .address = "10.0.0.4", .roles = KP_ROLE_ETCD},
    };
    const struct kp_inventory inventory = {
        .nodes = nodes, .node_count = 4, .control_plane_count = 2};
    kp_auto_free char *all = kp_approve_nodes_text(&inventory, NULL);
    kp_auto_free char *rest = kp_approve_nodes_text(&inventory, "w1");
    kp_auto(kp_arena) arena = kp_arena_new();
    struct kp_approve_list list;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_approve_list_read(&list, kp_slice_of(all), arena, &err), 0, "%s", err.message);
    cr_assert_eq(list.count, 3);
    cr_expect_str_eq(list.nodes[0].name, "cp1");
    cr_expect_eq(list.nodes[0].address_count, 2);
    cr_expect_eq(list.nodes[1].address_count, 1);
    cr_expect_str_eq(list.nodes[2].addresses[0], "fd77::3");
    cr_expect(!strstr(all, "e1"));
    cr_expect(strstr(all, "w1") && !strstr(rest, "w1"));
}

Test(steps, corefile_without_and_with_resolvers)
{
    for (int i = 0; i < 2; i++) {
        kp_auto(kp_vars) vars = kp_vars_new();
        kp_auto_free char *text = NULL;
        struct kp_err err = KP_ERR_INIT;
        kp_vars_set(vars, "domain", "cluster.local");
        kp_vars_set(vars, "forward", i ? "10.0.0.53 10.0.0.54" : "");
        cr_assert_eq(kp_render(&text, "coredns-corefile.yaml", vars, &err), 0);
        golden_check(i ? "corefile-resolvers.yaml" : "corefile-none.yaml", text);
        cr_expect_eq(strstr(text, "forward .") != NULL, i == 1);
    }
}

Test(steps, hosts_file)
{
    static const struct {
        const char *old, *block, *want;
    } cases[] = {
        {"127.0.0.1 localhost\n", "10.0.0.1 a\n",
         "127.0.0.1 localhost\n# kpack: begin (written by kinstall, lost when changed)\n10.0.0.1 "
         "a\n# kpack: end\n"},
        {"1 a\n# kpack: begin (x)\n9 old\n# kpack: end\n2 b", "3 c\n",
         "1 a\n2 b\n# kpack: begin (written by kinstall, lost when changed)\n3 c\n# kpack: end\n"},
        {"1 a\n# kpack: begin\n9 old\n# kpack: end\n2 b\n", NULL, "1 a\n2 b\n"},
        {"", NULL, ""},
    };
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        kp_auto_free char *text = kp_hosts_merge(kp_slice_of(cases[i].old), cases[i].block);
        cr_expect_str_eq(text, cases[i].want);
        kp_auto_free char *again = kp_hosts_merge(kp_slice_of(text), cases[i].block);
        cr_expect_str_eq(again, text, "a second time changes nothing");
    }
}

Test(steps, replaced_text)
{
    const struct kp_replace replace[] = {{"10.244.0.0/16", "pods"}, {"a", "cluster"}};
    const char *const values[] = {"10.233.64.0/18", "aa"};
    kp_auto_value(kp_buf) out = KP_BUF(4096);
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_manifest_fill(&out, kp_slice_of("net: 10.244.0.0/16 xax 10.244"), replace, 2,
                                  values, &err),
                 0);
    cr_expect_str_eq(out.data, "net: 10.233.64.0/18 xaax 10.244");
    kp_auto_value(kp_buf) small = KP_BUF(4);
    cr_expect_eq(kp_manifest_fill(&small, kp_slice_of("aaaaaa"), replace, 2, values, &err), -1);
}

#define HEX11 "1111111111111111111111111111111111111111111111111111111111111111"
#define HEX22 "2222222222222222222222222222222222222222222222222222222222222222"
#define HEX44 "4444444444444444444444444444444444444444444444444444444444444444"

Test(steps, images_on_a_node)
{
    static const char listing[] =
        "REF TYPE DIGEST SIZE PLATFORMS LABELS\n"
        "registry.k8s.io/kube-apiserver:v1.30.14 application/vnd.oci.image.index.v1+json "
        "sha256:" HEX11 " 30.7 MiB linux/amd64 io.cri-containerd.image=managed\n"
        "registry.k8s.io/etcd:3.5.15-0 application/vnd.oci.image.index.v1+json sha256:" HEX11
        " 1 MiB linux/amd64 -\n"
        "registry.k8s.io/pause:3.9 application/vnd.oci.image.index.v1+json sha256:" HEX44
        " 300 KiB linux/amd64 io.cri-containerd.image=managed,io.cri-containerd.pinned=pinned\n"
        "registry.k8s.io/pause@sha256:" HEX44 " x sha256:" HEX22 " 300 KiB linux/amd64 -\n";
    struct sample s;
    size_t n;
    fill_sample(&s, "v1.30.14", "v1beta3");
    kp_auto_free struct kp_image_state *states =
        kp_images_wanted(&s.manifest, KP_ROLE_CONTROL_PLANE, "amd64", &n);
    cr_assert_eq(n, 5);
    kp_images_read(states, n, kp_slice_of(listing));
    cr_expect(states[0].present && !states[0].pinned);
    cr_expect_not(states[1].present, "the same name with another digest is not the image");
    cr_expect_not(states[2].present);
    cr_expect(states[3].present && states[3].pinned);
    cr_expect(kp_image_is_vital(states[0].image));
    cr_expect_not(kp_image_is_vital(states[4].image));
    kp_auto_free struct kp_image_state *worker =
        kp_images_wanted(&s.manifest, KP_ROLE_WORKER, "amd64", &n);
    cr_expect_eq(n, 3);
    cr_expect_str_eq(worker[0].image->name, "coredns");
    kp_auto_free struct kp_image_state *foreign =
        kp_images_wanted(&s.manifest, KP_ROLE_WORKER, "arm64", &n);
    cr_expect_eq(n, 0);
    cr_expect(foreign != NULL);
}

Test(steps, only_our_chains_go)
{
    static const char save[] =
        "*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n"
        ":KUBE-SEP-X - [0:0]\n:FLANNEL-POSTRTG - [0:0]\n:MINE - [0:0]\n:CILIUM_PRE_nat - [0:0]\n"
        ":cali-OUTPUT - [0:0]\n:california - [0:0]\n"
        "-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n"
        "-A PREROUTING -p tcp -m tcp --dport 22 -j ACCEPT\n"
        "-A POSTROUTING -m comment --comment \"flanneld masq\" -j FLANNEL-POSTRTG\n"
        "-A POSTROUTING -m comment --comment KUBE-X -j MINE\n"
        "-A KUBE-SERVICES -j KUBE-SEP-X\n-A MINE -j RETURN\nCOMMIT\n";
    kp_auto_free char *batch = kp_reset_rules(kp_slice_of(save), "nat");
    cr_expect_str_eq(
        batch,
        "*nat\n-D PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n"
        "-D POSTROUTING -m comment --comment \"flanneld masq\" -j FLANNEL-POSTRTG\n"
        "-F KUBE-SERVICES\n-F KUBE-SEP-X\n-F FLANNEL-POSTRTG\n-F CILIUM_PRE_nat\n-F cali-OUTPUT\n"
        "-X KUBE-SERVICES\n-X KUBE-SEP-X\n-X FLANNEL-POSTRTG\n-X CILIUM_PRE_nat\n-X "
        "cali-OUTPUT\nCOMMIT\n");
    kp_auto_free char *nothing =
        kp_reset_rules(kp_slice_of("*nat\n:MINE - [0:0]\n-A MINE -j RETURN\nCOMMIT\n"), "nat");
    cr_expect_str_eq(nothing, "");
}

Test(steps, only_our_interfaces_go)
{
    static const struct {
        const char *name;
        bool ours;
    } cases[] = {{"cni0", true},         {"flannel.1", true},
                 {"cilium_vxlan", true}, {"lxc0123456789ab", true},
                 {"lxc_health", true},   {"cali0123456789a", true},
                 {"vxlan.calico", true}, {"eth0", false},
                 {"lxcbr0", false},      {"lxc-0123456789a", false},
                 {"calif", false},       {"docker0", false}};
    for (size_t i = 0; i < KP_COUNT(cases); i++)
        cr_expect_eq(kp_reset_is_our_link(kp_slice_of(cases[i].name)), cases[i].ours, "%s",
                     cases[i].name);
}

static int take_namespace(void *user, const struct kp_walk_scalar *scalar, struct kp_err *err)
{
    (void)err;
    if (strcmp(scalar->key, "namespace") == 0)
        ++*(size_t *)user;
    return 0;
}

/* What the final verification and the closed namespaces apply is YAML, all of it in its namespace.
 */
Test(steps, network_templates)
{
    static const struct {
        const char *name;
        size_t namespaces;
    } cases[] = {{"prove-pods.yaml", 2},
                 {"prove-policy.yaml", 1},
                 {"prove-attachment.yaml", 1},
                 {"network-policy.yaml", 2}};
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        kp_auto(kp_vars) vars = kp_vars_new();
        kp_auto_free char *yaml = NULL;
        struct kp_err err = KP_ERR_INIT;
        size_t count = 0;
        kp_vars_set(vars, "namespace", "vault");
        kp_vars_set(vars, "image", "kpack.internal/probe:1");
        kp_vars_set(vars, "bridge", "kpack-prove0");
        kp_vars_set(vars, "node", "w1");
        kp_vars_set(vars, "attachment", "probe");
        kp_vars_flag(vars, "make", true);
        kp_vars_add(vars, "pods", "allowed");
        kp_vars_add(vars, "pods", "denied");
        cr_assert_eq(kp_render(&yaml, cases[i].name, vars, &err), 0, "%s", err.message);
        cr_assert_eq(kp_yaml_walk(kp_slice_of(yaml), cases[i].name, take_namespace, &count, &err),
                     0, "%s", err.message);
        cr_expect_eq(count, cases[i].namespaces, "%s: %zu", cases[i].name, count);
    }
}

Test(steps, who_enforces_policies)
{
    cr_expect_eq(kp_network_enforces("cilium"), KP_ENFORCES);
    cr_expect_eq(kp_network_enforces("calico"), KP_ENFORCES);
    cr_expect_eq(kp_network_enforces("flannel"), KP_ENFORCES_NOT);
    cr_expect_eq(kp_network_enforces("custom"), KP_ENFORCES_UNKNOWN);
}

Test(steps, ways_that_are_tried)
{
    cr_expect_eq(kp_health_pairs(1), 0);
    cr_expect_eq(kp_health_pairs(3), 6);
    cr_expect_eq(kp_health_pairs(10), 90);
    cr_expect_eq(kp_health_pairs(100), 300);
    for (size_t i = 0; i < 100; i++) { // each node is asked by somebody
        size_t from = 0;
        for (size_t j = 0; j < 100; j++)
            from += kp_health_tries(j, i, 100);
        cr_expect_eq(from, 3);
    }
}

Test(steps, random_words)
{
    char a[KP_TOKEN_SECRET_LEN + 1], b[KP_TOKEN_SECRET_LEN + 1], key[KP_CERTIFICATE_KEY_HEX + 1];
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_random_word(a, KP_TOKEN_SECRET_LEN, false, &err), 0);
    cr_assert_eq(kp_random_word(b, KP_TOKEN_SECRET_LEN, false, &err), 0);
    cr_assert_eq(kp_random_word(key, KP_CERTIFICATE_KEY_HEX, true, &err), 0);
    cr_expect_eq(strspn(a, "abcdefghijklmnopqrstuvwxyz0123456789"), KP_TOKEN_SECRET_LEN);
    cr_expect_eq(strspn(key, "0123456789abcdef"), KP_CERTIFICATE_KEY_HEX);
    cr_expect_str_neq(a, b);
}
