/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/scan.h"

#include <criterion/criterion.h>

#define DIGEST "7031c1b283388d2c2e09b57badb803c05ebed362dc88d84b480cc47f72a21097"
#define OTHER "0031c1b283388d2c2e09b57badb803c05ebed362dc88d84b480cc47f72a21097"

static struct kp_plan_image images[] = {
    {.reference = "docker.io/flannel/flannel:v0.22.0", .name = ""},
    {.reference = "docker.io/library/busybox:latest", .name = ""},
    {.reference = "quay.io/x/agent:1", .name = "", .known = true},
};
static const char *waived[] = {"quay.io/x/waived:2", NULL};

static struct kp_plan plan_of_test(void)
{
    kp_digest_parse(kp_slice_of(DIGEST), &images[2].root);
    return (struct kp_plan){.images = images,
                            .image_count = KP_COUNT(images),
                            .waived = waived,
                            .kubernetes = "v1.30.14"};
}

static const struct {
    const char *what, *text;
    const char *missing; /* NULL: nothing is */
    const char *where;
} cases[] = {
    {"present", "spec:\n  containers:\n  - image: docker.io/flannel/flannel:v0.22.0\n", NULL, NULL},
    {"present by its short name", "image: flannel/flannel:v0.22.0\n", NULL, NULL},
    {"no tag is :latest", "image: busybox\n", NULL, NULL},
    {"present by digest", "image: quay.io/x/agent@sha256:" DIGEST "\n", NULL, NULL},
    {"tag and digest agree", "image: quay.io/x/agent:1@sha256:" DIGEST "\n", NULL, NULL},
    {"tag and another digest", "image: quay.io/x/agent:1@sha256:" OTHER "\n",
     "quay.io/x/agent:1@sha256:" OTHER, "m.yaml:1:8"},
    {"waived", "image: quay.io/x/waived:2\n", NULL, NULL},
    {"missing", "a: 1\nspec:\n  image: docker.io/flannel/flannel:v0.23.0\n",
     "docker.io/flannel/flannel:v0.23.0", "m.yaml:3:10"},
    {"missing without tag", "image: nginx\n", "docker.io/library/nginx:latest", "m.yaml:1:8"},
    {"in an argument", "args: [\"--reloader=quay.io/x/reloader:v0.6\"]\n",
     "quay.io/x/reloader:v0.6", "m.yaml:1:8"},
    {"in the environment", "env:\n- name: RELATED_IMAGE_WEBHOOK\n  value: grafana/grafana:9\n",
     "docker.io/grafana/grafana:9", "m.yaml:3:10"},
    {"variable that names no image", "env:\n- name: LISTEN\n  value: foo/bar:9\n", NULL, NULL},
    {"in a ConfigMap's text", "data:\n  conf: |\n    a: b\n    image = \"ghcr.io/x/y:1\"\n",
     "ghcr.io/x/y:1", "m.yaml:4:10"},
    {"in an object in a ConfigMap",
     "data:\n  pod.yaml: |-\n    apiVersion: v1\n    kind: Pod\n    spec:\n      image: alpine\n",
     "docker.io/library/alpine:latest", "m.yaml:6:10"},
    {"in an object in a ConfigMap, once",
     "data:\n  pod.yaml: |-\n    apiVersion: v1\n    kind: Pod\n    image: quay.io/no/such:1\n",
     "quay.io/no/such:1", "m.yaml:5:8"},
    {"present in an object in a ConfigMap",
     "data:\n  pod.yaml: |-\n    apiVersion: v1\n    kind: Pod\n    image: busybox\n", NULL, NULL},
    {"text that is no object", "data:\n  notes: |\n    kind: of\n    image: big\n", NULL, NULL},
    {"key with image in its name", "sidecarImage: x/y:3\n", "docker.io/x/y:3", "m.yaml:1:15"},
    {"registry with a port", "image: localhost:5000/x:1\n", "localhost:5000/x:1", "m.yaml:1:8"},
    {"second document", "a: 1\n---\nimage: quay.io/no/such:1\n", "quay.io/no/such:1", "m.yaml:3:8"},
    {"URL", "a: https://example.com/x:1\n", NULL, NULL},
    {"API group", "apiVersion: rbac.authorization.k8s.io/v1\n", NULL, NULL},
    {"CIDR", "net: 10.244.0.0/16\n", NULL, NULL},
    {"pull policy", "imagePullPolicy: IfNotPresent\n", NULL, NULL},
    {"pull secret", "imagePullSecrets:\n- name: regcred\n", NULL, NULL},
    {"subject", "name: system:serviceaccount:kube-system:x\n", NULL, NULL},
    {"address", "listen: 0.0.0.0:9153\n", NULL, NULL},
    {"schema of a CRD",
     "properties:\n  image:\n    type: string\n    description: the image to use\n", NULL, NULL},
    {"template", "image: \"{{ .Values.image }}\"\n", NULL, NULL},
    {"time", "at: 2026-11-23T21:00:00Z\n", NULL, NULL},
};

Test(scan, what_counts_as_an_image)
{
    struct kp_plan plan = plan_of_test();
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        kp_auto(kp_scan) scan = kp_scan_new(&plan);
        struct kp_err err = KP_ERR_INIT;
        cr_assert_eq(kp_scan_manifest(scan, kp_slice_of(cases[i].text), "m.yaml", &err), 0,
                     "%s: %s", cases[i].what, err.message);
        cr_expect_eq(scan->missing_count, cases[i].missing != NULL, "%s: %zu missing, first %s",
                     cases[i].what, scan->missing_count,
                     scan->missing_count ? scan->missing[0].reference : "");
        if (!cases[i].missing || !scan->missing_count)
            continue;
        cr_expect_str_eq(scan->missing[0].reference, cases[i].missing, "%s: %s", cases[i].what,
                         scan->missing[0].reference);
        cr_expect_str_eq(scan->missing[0].where, cases[i].where, "%s: %s", cases[i].what,
                         scan->missing[0].where);
        cr_expect_eq(kp_scan_result(scan, &err), -1);
        cr_expect_eq(err.code, KP_MISSING);
        cr_expect_str_eq(err.reason, "missing_image");
    }
}

Test(scan, words_are_found_wherever_they_stand)
{
    struct kp_plan plan = plan_of_test();
    kp_auto(kp_scan) scan = kp_scan_new(&plan);
    struct kp_err err = KP_ERR_INIT;
    const char *text =
        "cmd: [sh, -c, 'run quay.io/a/b:1 && run (quay.io/c/d:2); echo \"quay.io/e/f:3\"']\n";
    cr_assert_eq(kp_scan_manifest(scan, kp_slice_of(text), "m.yaml", &err), 0);
    cr_assert_eq(scan->missing_count, 3);
    cr_assert_str_eq(scan->missing[2].reference, "quay.io/e/f:3");
    cr_assert_str_eq(scan->missing[0].path, "cmd[2]");
    cr_assert_eq(kp_scan_result(scan, &err), -1);
    cr_assert(strstr(err.message, "3 images are missing"), "%s", err.message);
    cr_assert(strstr(err.hint, "--waive quay.io/a/b:1"), "%s", err.hint);
}

Test(scan, static_pods)
{
    struct kp_plan_image core[] = {
        {.name = "kube-apiserver", .reference = "registry.k8s.io/kube-apiserver:v1.30.14"},
        {.name = "kube-controller-manager",
         .reference = "registry.k8s.io/kube-controller-manager:v1.30.14"},
        {.name = "kube-scheduler", .reference = "registry.k8s.io/kube-scheduler:v1.30.14"},
        {.name = "kube-proxy", .reference = "registry.k8s.io/kube-proxy:v1.30.14"},
        {.name = "coredns", .reference = "registry.k8s.io/coredns/coredns:v1.11.3"},
        {.name = "pause", .reference = "registry.k8s.io/pause:3.9"},
        {.name = "etcd", .reference = "registry.k8s.io/etcd:3.5.15-0"},
    };
    struct kp_plan plan = {.images = core, .image_count = KP_COUNT(core), .kubernetes = "v1.30.14"};
    struct kp_err err = KP_ERR_INIT;
    kp_auto(kp_scan) whole = kp_scan_new(&plan);
    kp_scan_static_pods(whole);
    cr_assert_eq(kp_scan_result(whole, &err), 0);
    cr_assert_eq(whole->static_pods, 4);
    plan.image_count--;
    core[2].reference = "registry.k8s.io/kube-scheduler:v1.30.13";
    kp_auto(kp_scan) broken = kp_scan_new(&plan);
    kp_scan_static_pods(broken);
    cr_assert_eq(broken->missing_count, 2);
    cr_assert_str_eq(broken->missing[0].where, "static pod kube-scheduler");
    cr_assert_str_eq(broken->missing[1].reference, "registry.k8s.io/etcd");
}
