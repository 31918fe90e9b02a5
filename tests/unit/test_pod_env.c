/* SPDX-License-Identifier: Apache-2.0 */
/* A network plugin's containers are told the cluster's endpoint; nothing else changes. */
#include "manifests/pod_env.h"

#include <criterion/criterion.h>

#define HOST "demo.kpack.internal"
#define ITEMS                                                                                      \
    "{name: KUBERNETES_SERVICE_HOST, value: \"" HOST                                               \
    "\"}, {name: KUBERNETES_SERVICE_PORT, value: \"6443\"}"
#define HEAD "kind: DaemonSet\nspec:\n  template:\n    spec:\n      hostNetwork: true\n"

static const struct {
    const char *what, *yaml, *want;
    size_t count;
} cases[] = {
    {"block container without env",
     HEAD "      containers:\n      - name: é\n        image: x\n      - name: b\n",
     HEAD "      containers:\n      - env: [" ITEMS
          "]\n        name: é\n        image: x\n      - env: [" ITEMS "]\n        name: b\n",
     2},
    {"block env, indented and not, in init containers too",
     HEAD "      initContainers:\n      - name: a\n        env:\n        - name: X\n"
          "      containers:\n        - name: b\n          env:\n            - name: Y\n",
     HEAD "      initContainers:\n      - name: a\n        env:\n"
          "        - {name: KUBERNETES_SERVICE_HOST, value: \"" HOST "\"}\n"
          "        - {name: KUBERNETES_SERVICE_PORT, value: \"6443\"}\n        - name: X\n"
          "      containers:\n        - name: b\n          env:\n"
          "            - {name: KUBERNETES_SERVICE_HOST, value: \"" HOST "\"}\n"
          "            - {name: KUBERNETES_SERVICE_PORT, value: \"6443\"}\n            - name: Y\n",
     2},
    {"flow", HEAD "      containers: [{name: a}, {name: b, env: []}, {env: [{name: X}]}]\n",
     HEAD "      containers: [{env: [" ITEMS "], name: a}, {name: b, env: [" ITEMS
          "]}, {env: [" ITEMS ", {name: X}]}]\n",
     3},
    {"its own value stays",
     HEAD "      containers:\n      - env:\n        - name: KUBERNETES_SERVICE_HOST\n"
          "          value: own\n",
     NULL, 0},
    {"not on the host's network",
     "spec:\n  template:\n    spec:\n      containers:\n      - name: a\n", NULL, 0},
    {"hostNetwork false",
     "spec:\n  template:\n    spec:\n      hostNetwork: false\n      containers: [{name: a}]\n",
     NULL, 0},
    {"JSON in a list",
     "{\"kind\": \"List\", \"items\": [{\"spec\": {\"template\": {\"spec\": {\"hostNetwork\": "
     "true, \"containers\": [{\"name\": \"a\"}]}}}}]}",
     "{\"kind\": \"List\", \"items\": [{\"spec\": {\"template\": {\"spec\": {\"hostNetwork\": "
     "true, \"containers\": [{env: [" ITEMS "], \"name\": \"a\"}]}}}}]}",
     1},
    {"empty", "", NULL, 0},
};

Test(pod_env, cases)
{
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        kp_auto_value(kp_buf) out = KP_BUF(65536), again = KP_BUF(65536);
        struct kp_err err = KP_ERR_INIT;
        size_t count = 99;
        cr_assert_eq(
            kp_pod_env_add(&out, kp_slice_of(cases[i].yaml), "x.yaml", HOST, 6443, &count, &err), 0,
            "%s: %s", cases[i].what, err.message);
        cr_expect_eq(count, cases[i].count, "%s", cases[i].what);
        cr_expect_str_eq(kp_buf_slice(&out).ptr, cases[i].want ? cases[i].want : cases[i].yaml,
                         "%s", cases[i].what);
        cr_assert_eq(kp_pod_env_add(&again, kp_buf_slice(&out), "x.yaml", HOST, 6443, &count, &err),
                     0, "%s: what is written can be read: %s", cases[i].what, err.message);
        cr_expect_eq(count, 0, "%s: a second time changes nothing", cases[i].what);
    }
}

Test(pod_env, documents)
{
    static const char yaml[] =
        "\xEF\xBB\xBF# \xC3\xBC\nkind: ConfigMap\ndata:\n  a: |\n    hostNetwork: "
        "true\n---\n" HEAD "      containers: # c\n      - name: a # d\n---\nkind: Service\n";
    static const char want[] = "# \xC3\xBC\nkind: ConfigMap\ndata:\n  a: |\n    hostNetwork: "
                               "true\n---\n" HEAD "      containers: # c\n      - env: [" ITEMS
                               "]\n        name: a # d\n---\nkind: Service\n";
    kp_auto_value(kp_buf) out = KP_BUF(65536);
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_pod_env_add(&out, kp_slice_of(yaml), "x.yaml", HOST, 6443, NULL, &err), 0);
    cr_expect_str_eq(out.data, want);
}

Test(pod_env, refused)
{
    static const char *const bad[] = {
        HEAD "      containers:\n      - &a\n        name: b\n",
        HEAD "      containers: [",
        "a: *nobody\n",
    };
    for (size_t i = 0; i < KP_COUNT(bad); i++) {
        kp_auto_value(kp_buf) out = KP_BUF(65536);
        struct kp_err err = KP_ERR_INIT;
        cr_expect_eq(kp_pod_env_add(&out, kp_slice_of(bad[i]), "x.yaml", HOST, 6443, NULL, &err),
                     -1, "%s", bad[i]);
        cr_expect_eq(err.code, KP_USAGE);
        cr_expect(strstr(err.message, "x.yaml"), "%s", err.message);
    }
    kp_auto_value(kp_buf) small = KP_BUF(40);
    struct kp_err err = KP_ERR_INIT;
    cr_expect_eq(kp_pod_env_add(&small, kp_slice_of(HEAD), "x.yaml", HOST, 6443, NULL, &err), -1);
}
