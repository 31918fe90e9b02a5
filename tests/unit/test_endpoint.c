/* SPDX-License-Identifier: Apache-2.0 */
/* The API's one address: where its name points, and what is written to make it so. */
#include "core/file.h"
#include "install/endpoint.h"
#include "install/steps/endpoint.h"
#include "install/steps/prepare.h"
#include "golden.h"

#include <criterion/criterion.h>
#include <stdlib.h>

struct sample {
    struct kp_node nodes[4];
    struct kp_inventory inventory;
    struct kp_image images[2];
    struct kp_manifest manifest;
};

static void fill(struct sample *s, const char *endpoint, size_t control_planes)
{
    static const char *const names[] = {"cp1", "cp2", "cp3", "w1"};
    static const char *const addresses[] = {"10.77.0.11", "10.77.0.12", "fd77::13", "10.77.0.14"};
    *s = (struct sample){0};
    for (size_t i = 0; i < 4; i++)
        s->nodes[i] =
            (struct kp_node){.name = names[i],
                             .address = addresses[i],
                             .roles = i < control_planes ? KP_ROLE_CONTROL_PLANE : KP_ROLE_WORKER};
    s->inventory = (struct kp_inventory){.cluster = "demo",
                                         .nodes = s->nodes,
                                         .node_count = 4,
                                         .control_plane_count = control_planes};
    s->inventory.kubernetes.endpoint = endpoint;
    s->inventory.kubernetes.vip_address = strcmp(endpoint, "kube-vip") == 0 ? "10.77.0.100" : NULL;
    s->images[0] =
        (struct kp_image){.name = "haproxy", .reference = "docker.io/library/haproxy:3.1.3-alpine"};
    s->images[1] = (struct kp_image){.name = "", .reference = "ghcr.io/kube-vip/kube-vip:v0.8.9"};
    s->manifest = (struct kp_manifest){.images = s->images, .image_count = 2};
}

Test(endpoint, where_the_name_points)
{
    static const struct {
        const char *endpoint;
        size_t control_planes, node;
        bool joined;
        const char *want; /* NULL: the name is not in the hosts file */
    } cases[] = {
        {"local", 3, 0, true, "10.77.0.11"},     {"local", 3, 1, false, "10.77.0.11"},
        {"local", 3, 1, true, "10.77.0.12"},     {"local", 3, 3, false, "10.77.0.11"},
        {"local", 3, 3, true, "127.0.0.1"},      {"local", 1, 3, true, "10.77.0.11"},
        {"first", 3, 1, true, "10.77.0.11"},     {"first", 3, 3, true, "10.77.0.11"},
        {"kube-vip", 3, 0, true, "10.77.0.100"}, {"kube-vip", 3, 3, false, "10.77.0.100"},
        {"lb.site:6443", 3, 1, true, NULL},
    };
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        struct sample s;
        fill(&s, cases[i].endpoint, cases[i].control_planes);
        const char *got = kp_endpoint_address(&s.inventory, &s.nodes[cases[i].node],
                                              cases[i].joined, "10.77.0.11");
        if (cases[i].want)
            cr_expect(got && strcmp(got, cases[i].want) == 0, "case %zu: %s", i, got ? got : "-");
        else
            cr_expect_null(got, "case %zu", i);
    }
}

Test(endpoint, texts)
{
    static const struct {
        const char *endpoint, *text, *host;
    } cases[] = {{"local", "demo.kpack.internal:6443", NULL},
                 {"kube-vip", "demo.kpack.internal:6443", NULL},
                 {"lb.site:7443", "lb.site:7443", "lb.site"},
                 {"[fd77::9]:6443", "[fd77::9]:6443", "fd77::9"}};
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        struct sample s;
        fill(&s, cases[i].endpoint, 3);
        kp_auto_free char *text = kp_endpoint_text(&s.inventory);
        kp_auto_free char *host = kp_endpoint_external_host(&s.inventory);
        cr_expect_str_eq(text, cases[i].text);
        cr_expect(cases[i].host ? host && strcmp(host, cases[i].host) == 0 : !host, "case %zu", i);
    }
}

/* Whichever control plane a run has put in front. */
Test(endpoint, what_is_written_keeps_the_inventory_s_order)
{
    struct sample s;
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *config = NULL, *pod = NULL, *other = NULL, *other_pod = NULL;
    fill(&s, "local", 3);
    for (size_t i = 0; i < 4; i++)
        s.nodes[i].place = i;
    kp_auto_free char *hosts = kp_endpoint_hosts(&s.inventory, "10.77.0.1");
    cr_assert_eq(kp_endpoint_render_haproxy(&config, &pod, &s.inventory, &s.manifest, &err), 0);
    struct kp_node third = s.nodes[2];
    memmove(&s.nodes[1], &s.nodes[0], 2 * sizeof(s.nodes[0]));
    s.nodes[0] = third;
    kp_auto_free char *moved = kp_endpoint_hosts(&s.inventory, "10.77.0.1");
    cr_assert_eq(kp_endpoint_render_haproxy(&other, &other_pod, &s.inventory, &s.manifest, &err),
                 0);
    cr_expect_str_eq(moved, hosts);
    cr_expect_str_eq(other, config);
    cr_expect_str_eq(other_pod, pod);
}

Test(endpoint, haproxy)
{
    struct sample s;
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *config = NULL, *pod = NULL, *other = NULL, *other_pod = NULL;
    fill(&s, "local", 3);
    cr_assert_eq(kp_endpoint_render_haproxy(&config, &pod, &s.inventory, &s.manifest, &err), 0,
                 "%s", err.message);
    golden_check("haproxy.cfg", config);
    golden_check("haproxy-pod.yaml", pod);
    // Another configuration is another pod, or the kubelet would leave it as it is.
    fill(&s, "local", 2);
    cr_assert_eq(kp_endpoint_render_haproxy(&other, &other_pod, &s.inventory, &s.manifest, &err),
                 0);
    cr_expect_str_neq(pod, other_pod);
    s.images[0].name = "other";
    s.images[0].reference = "docker.io/library/other:1";
    char *none = NULL;
    cr_expect_eq(kp_endpoint_render_haproxy(&none, &none, &s.inventory, &s.manifest, &err), -1);
    cr_expect_eq(err.code, KP_MISSING);
    cr_expect(strstr(err.message, "haproxy"));
}

/* From 1.29 on admin.conf has no rights until kubeadm init is done. */
Test(endpoint, kube_vip)
{
    struct sample s;
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *making = NULL, *made = NULL, *old = NULL;
    fill(&s, "kube-vip", 3);
    s.inventory.kubernetes.vip_interface = "eth0";
    cr_assert_eq(kp_endpoint_render_vip(&making, &s.inventory, &s.manifest, 130, true, &err), 0,
                 "%s", err.message);
    cr_assert_eq(kp_endpoint_render_vip(&made, &s.inventory, &s.manifest, 130, false, &err), 0);
    cr_assert_eq(kp_endpoint_render_vip(&old, &s.inventory, &s.manifest, 128, true, &err), 0);
    golden_check("kube-vip-making.yaml", making);
    golden_check("kube-vip.yaml", made);
    cr_expect(strstr(making, "super-admin.conf"));
    cr_expect_str_eq(old, made);
}

Test(endpoint, images_only_where_they_are_needed)
{
    struct sample s;
    fill(&s, "local", 3);
    cr_expect(kp_endpoint_wants_image(&s.inventory, &s.nodes[3], &s.images[0]));
    cr_expect_not(kp_endpoint_wants_image(&s.inventory, &s.nodes[0], &s.images[0]));
    cr_expect_not(kp_endpoint_wants_image(&s.inventory, &s.nodes[0], &s.images[1]));
    s.nodes[1].roles |= KP_ROLE_WORKER; // a control plane that works too asks itself
    cr_expect_not(kp_endpoint_wants_image(&s.inventory, &s.nodes[1], &s.images[0]));
    fill(&s, "local", 1);
    cr_expect_not(kp_endpoint_wants_image(&s.inventory, &s.nodes[3], &s.images[0]));
    fill(&s, "kube-vip", 3);
    cr_expect(kp_endpoint_wants_image(&s.inventory, &s.nodes[0], &s.images[1]));
    cr_expect_not(kp_endpoint_wants_image(&s.inventory, &s.nodes[3], &s.images[1]));
    cr_expect_not(kp_endpoint_wants_image(&s.inventory, &s.nodes[3], &s.images[0]));
}

static const char admin_conf[] =
    "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: Q0E=\n"
    "    server: https://demo.kpack.internal:6443\n  name: demo\nusers:\n- name: kubernetes-admin\n"
    "  user:\n    client-certificate-data: Q0VSVA==\n    client-key-data: S0VZ\n";

Test(endpoint, kubeconfig)
{
    static const char *const modes[] = {"local", "kube-vip", "lb.site:7443"};
    static const char *const names[] = {"kubeconfig-local", "kubeconfig-kube-vip",
                                        "kubeconfig-external"};
    for (size_t i = 0; i < KP_COUNT(modes); i++) {
        struct sample s;
        struct kp_err err = KP_ERR_INIT;
        kp_auto_free char *text = NULL;
        fill(&s, modes[i], 3);
        cr_assert_eq(kp_endpoint_kubeconfig(&text, &s.inventory, kp_slice_of(admin_conf), &err), 0);
        golden_check(names[i], text);
    }
    struct sample s;
    struct kp_err err = KP_ERR_INIT;
    char *text = NULL;
    fill(&s, "local", 3);
    cr_expect_eq(kp_endpoint_kubeconfig(&text, &s.inventory, kp_slice_of("server: x\n"), &err), -1);
    cr_expect_eq(err.code, KP_DAMAGED);
}

Test(endpoint, the_name_in_a_hosts_file)
{
    static const char hosts[] = "9.9.9.9 demo.kpack.internal\n# kpack: begin (x)\n10.77.0.11 cp1\n"
                                "10.77.0.12 demo.kpack.internal\n# kpack: end\n"
                                "8.8.8.8 demo.kpack.internal\n";
    kp_auto_free char *address = kp_hosts_address(kp_slice_of(hosts), "demo.kpack.internal");
    cr_assert_not_null(address);
    cr_expect_str_eq(address, "10.77.0.12");
    cr_expect_null(kp_hosts_address(kp_slice_of(hosts), "demo.kpack.intern"));
    cr_expect_null(
        kp_hosts_address(kp_slice_of("10.77.0.12 demo.kpack.internal\n"), "demo.kpack.internal"));
}

Test(endpoint, pods_with_a_stale_hosts_file)
{
    static const char listing[] =
        "/var/lib/kubelet/pods/aaaa-1/etc-hosts:10.77.0.11 demo.kpack.internal\n"
        "/var/lib/kubelet/pods/bbbb-2/etc-hosts:127.0.0.1 demo.kpack.internal\n"
        "/var/lib/kubelet/pods/aaaa-1/etc-hosts:10.77.0.11\tdemo.kpack.internal\n"
        "/var/lib/kubelet/pods/0123456789abcdef/etc-hosts:10.77.0.11 demo.kpack.internal\n"
        "/var/lib/kubelet/pods/cccc-3/etc-hosts:127.0.0.10 demo.kpack.internal\n"
        "/etc/hosts:10.77.0.11 demo.kpack.internal\nnonsense\n";
    kp_auto_free char *stale = kp_endpoint_stale_pods(kp_slice_of(listing), "127.0.0.1");
    cr_expect_str_eq(stale, "aaaa-1 cccc-3");
    kp_auto_free char *none = kp_endpoint_stale_pods(kp_slice_of(""), "127.0.0.1");
    cr_expect_str_eq(none, "");
}
