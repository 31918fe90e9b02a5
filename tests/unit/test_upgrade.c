/* SPDX-License-Identifier: Apache-2.0 */
#include "install/previous.h"
#include "install/steps/upgrade.h"

#include "core/file.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static const char *const names[] = {"cp1", "w1", "w2"};

#define CP(kubelet, control)                                                                       \
    {                                                                                              \
        true, kubelet, control, false, false                                                       \
    }
#define W(kubelet)                                                                                 \
    {                                                                                              \
        true, kubelet, "", false, false                                                            \
    }

static const struct {
    const char *what, *target, *from, *reason, *says;
    struct kp_node_versions nodes[3];
} cases[] = {
    {"one minor on",
     "v1.31.14",
     "v1.30.14",
     NULL,
     NULL,
     {CP("v1.30.14", "v1.30.14"), W("v1.30.14"), W("v1.30.14")}},
    {"a patch",
     "v1.30.14",
     "v1.30.4",
     NULL,
     NULL,
     {CP("v1.30.4", "v1.30.4"), W("v1.30.4"), W("v1.30.4")}},
    {"goes on: the control plane is done, a worker is",
     "v1.31.14",
     "v1.30.14",
     NULL,
     NULL,
     {CP("v1.31.14", "v1.31.14"), W("v1.31.14"), W("v1.30.14")}},
    {"goes on: static pods are new, the kubelet is not",
     "v1.31.14",
     "v1.30.14",
     NULL,
     NULL,
     {CP("v1.30.14", "v1.31.14"), W("v1.30.14"), W("v1.30.14")}},
    {"all done",
     "v1.31.14",
     "v1.31.14",
     NULL,
     NULL,
     {CP("v1.31.14", "v1.31.14"), W("v1.31.14"), W("v1.31.14")}},
    {"two minors",
     "v1.32.13",
     NULL,
     "skew",
     "2 minor versions",
     {CP("v1.30.14", "v1.30.14"), W("v1.30.14"), W("v1.30.14")}},
    {"two minors, one node only",
     "v1.32.13",
     NULL,
     "skew",
     "w2 has v1.30.14",
     {CP("v1.31.14", "v1.31.14"), W("v1.31.14"), W("v1.30.14")}},
    {"a minor back",
     "v1.30.14",
     NULL,
     "downgrade",
     "newer than the bundle's",
     {CP("v1.31.14", "v1.31.14"), W("v1.31.14"), W("v1.31.14")}},
    {"a patch back",
     "v1.31.0",
     NULL,
     "downgrade",
     "cp1 has v1.31.14",
     {CP("v1.31.14", "v1.31.14"), W("v1.31.14"), W("v1.31.14")}},
    {"nine is less than fourteen",
     "v1.31.14",
     "v1.31.9",
     NULL,
     NULL,
     {CP("v1.31.9", "v1.31.9"), W("v1.31.9"), W("v1.31.9")}},
    {"mixed",
     "v1.31.14",
     NULL,
     "mixed",
     "w1 has v1.30.4, other nodes have v1.30.14",
     {CP("v1.30.14", "v1.30.14"), W("v1.30.4"), W("v1.30.4")}},
    {"a node that is in the inventory only",
     "v1.31.14",
     NULL,
     "not_member",
     "w2 is not in",
     {CP("v1.30.14", "v1.30.14"), W("v1.30.14"), {false, "", "", false, false}}},
    {"no version",
     "v1.31.14",
     NULL,
     "bad_version",
     "'latest' is no version",
     {CP("v1.30.14", "v1.30.14"), W("latest"), W("v1.30.14")}},
};

Test(upgrade, which_versions_may_follow)
{
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        char from[KP_VERSION_MAX] = "";
        struct kp_err err = KP_ERR_INIT;
        int result = kp_upgrade_judge(from, cases[i].nodes, names, 3, cases[i].target, &err);
        if (!cases[i].reason) {
            cr_assert_eq(result, 0, "%s: %s", cases[i].what, err.message);
            cr_assert_str_eq(from, cases[i].from, "%s", cases[i].what);
            continue;
        }
        cr_assert_eq(result, -1, "%s", cases[i].what);
        cr_assert_str_eq(err.reason, cases[i].reason, "%s", cases[i].what);
        cr_assert(strstr(err.message, cases[i].says), "%s: %s", cases[i].what, err.message);
        cr_assert(strcmp(err.reason, "bad_version") == 0 || err.hint[0], "%s", cases[i].what);
    }
}

Test(upgrade, what_an_older_etcd_reads)
{
    static const struct {
        const char *tag, *storage;
        bool reads;
    } table[] = {
        {"3.5.24-0", "", true},     {"3.5.24-0", "3.5.0", true}, {"3.5.24-0", "3.6.0", false},
        {"3.6.5-0", "3.6.0", true}, {"3.10.1-0", "3.9.0", true}, {"3.9.1-0", "3.10.0", false},
        {"v3.5.24", "3.6.0", true}, {"", "3.6.0", true}, // no tag that is known: not judged
    };
    for (size_t i = 0; i < KP_COUNT(table); i++)
        cr_expect_eq(kp_upgrade_etcd_reads(table[i].tag, table[i].storage), table[i].reads, "%s %s",
                     table[i].tag, table[i].storage);
}

#define POD(name, kind, image, ready, more)                                                        \
    "{\"metadata\": {\"name\": \"" name "\", \"ownerReferences\": [{\"kind\": \"" kind "\"}]" more \
    "}, \"spec\": {\"containers\": [{\"image\": \"" image                                          \
    "\"}]}, \"status\": {\"conditions\": [{\"type\": \"Ready\", \"status\": \"" ready "\"}]}}"

static const struct {
    const char *pod, *lack;
} pods[] = {
    {POD("kube-apiserver-cp1", "Node", "registry.k8s.io/kube-apiserver:v1.31.14", "True", ""), ""},
    {POD("kube-apiserver-cp1", "Node", "registry.k8s.io/kube-apiserver:v1.30.14", "True", ""),
     "pod kube-apiserver-cp1 is not of v1.31.14 yet"},
    {POD("kube-apiserver-cp1", "Node", "registry.k8s.io/kube-apiserver:v1.31.14", "False", ""),
     "pod kube-apiserver-cp1 is not Ready"},
    {POD("etcd-cp1", "Node", "registry.k8s.io/etcd:3.5.24-0", "True", ""), ""},
    {POD("kube-vip-cp1", "Node", "ghcr.io/kube-vip/kube-vip:v1.0.3", "True", ""), ""},
    {POD("etcd-cp1", "Node", "registry.k8s.io/etcd:3.5.24-0", "False", ""),
     "pod etcd-cp1 is not Ready"},
    {POD("kube-proxy-x", "DaemonSet", "registry.k8s.io/kube-proxy:v1.31.14", "False", ""),
     "pod kube-proxy-x is not Ready"},
    {POD("kube-proxy-x", "DaemonSet", "registry.k8s.io/kube-proxy:v1.30.14", "True",
         ", \"deletionTimestamp\": \"2026-11-24T04:00:00Z\""),
     "pod kube-proxy-x is being replaced"},
    {POD("app-1", "ReplicaSet", "x/app:1", "False", ""), ""}, // somebody else's care
};

Test(upgrade, pods_of_a_node_that_is_well)
{
    for (size_t i = 0; i < KP_COUNT(pods); i++) {
        struct kp_err err = KP_ERR_INIT;
        kp_auto_json list = NULL;
        char lack[256];
        kp_auto_free char *text = kp_asprintf("{\"items\": [%s]}", pods[i].pod);
        cr_assert_eq(kp_json_parse(&list, kp_slice_of(text), 65536, "pods", &err), 0, "%s",
                     err.message);
        kp_upgrade_pods_lack(lack, sizeof(lack), list, "v1.31.14");
        cr_assert_str_eq(lack, pods[i].lack, "%zu", i);
    }
}

Test(upgrade, the_bundle_of_before)
{
    char folder[] = "/tmp/kpack-previous.XXXXXX";
    struct kp_err err = KP_ERR_INIT;
    struct kp_previous kept, read = {.count = 9};
    struct kp_manifest manifest = {.base_count = 0};
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(kp_previous_load(&read, folder, &err), 0, "%s", err.message);
    cr_assert_eq(read.count, 0);
    memset(manifest.id.bytes, 0x5a, sizeof(manifest.id.bytes));
    cr_assert_eq(kp_previous_keep(&kept, folder, &manifest, &err), 0, "%s", err.message);
    cr_assert_eq(kp_previous_load(&read, folder, &err), 0, "%s", err.message);
    cr_assert_eq(read.count, 1);
    cr_assert(kp_digest_equal(&read.ids[0], &manifest.id));
    kp_auto_free char *path = kp_path_join(folder, "previous");
    cr_assert_eq(kp_file_write_atomic(path, kp_slice_of("no id\n"), 0600, &err), 0);
    cr_assert_eq(kp_previous_load(&read, folder, &err), -1);
    cr_assert_eq(err.code, KP_DAMAGED);
    cr_assert_eq(kp_remove_tree(folder, &err), 0);
}
