/* SPDX-License-Identifier: Apache-2.0 */
/* A rendered chart's objects as a plain apply needs them; nothing else changes. */
#include "manifests/objects.h"

#include <criterion/criterion.h>

#define SPACE "---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: mine\n"
#define HOOK(kinds)                                                                                \
    "---\nkind: Job\nmetadata:\n  name: j\n  namespace: mine\n  annotations:\n"                    \
    "    \"helm.sh/hook\": " kinds "\n"

static const struct {
    const char *what, *yaml, *want;
} cases[] = {
    {"a namespace where there is none, block and flow",
     "---\n# Source: é\nkind: Service\nmetadata:\n    name: a\n---\n{\"kind\": \"ConfigMap\", "
     "\"metadata\": {\"name\": \"b\"}}\n",
     SPACE "---\n# Source: é\nkind: Service\nmetadata:\n    namespace: mine\n    name: a\n---\n"
           "{\"kind\": \"ConfigMap\", \"metadata\": {namespace: mine, \"name\": \"b\"}}\n"},
    {"its own namespace stays; kinds without one have none",
     "---\nkind: Role\nmetadata:\n  name: a\n  namespace: other\n---\nkind: ClusterRole\n"
     "metadata:\n  name: b\n",
     SPACE "---\nkind: Role\nmetadata:\n  name: a\n  namespace: other\n---\nkind: ClusterRole\n"
           "metadata:\n  name: b\n"},
    {"its own CRD without namespaces, behind the object",
     "---\nkind: Thing\nmetadata:\n  name: a\n---\nkind: Box\nmetadata:\n  name: b\n---\n"
     "kind: CustomResourceDefinition\nmetadata:\n  name: things\nspec:\n  scope: Cluster\n"
     "  names: {kind: Thing}\n",
     SPACE "---\nkind: Thing\nmetadata:\n  name: a\n---\nkind: Box\nmetadata:\n  namespace: mine\n"
           "  name: b\n---\nkind: CustomResourceDefinition\nmetadata:\n  name: things\nspec:\n"
           "  scope: Cluster\n  names: {kind: Thing}\n"},
    {"the chart brings the namespace", "---\nkind: Namespace\nmetadata:\n  name: mine\n",
     "---\nkind: Namespace\nmetadata:\n  name: mine\n"},
    {"hooks of an install stay", HOOK("pre-install,pre-upgrade"),
     SPACE HOOK("pre-install,pre-upgrade")},
    {"hooks of a deletion go", HOOK("pre-delete") HOOK("post-install") HOOK("test-success"),
     SPACE HOOK("post-install")},
    {"no newline at the end", "kind: Pod\nmetadata: {name: a}",
     SPACE "kind: Pod\nmetadata: {namespace: mine, name: a}\n"},
    {"nothing", "", SPACE},
};

Test(objects, cases)
{
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        kp_auto_value(kp_buf) out = KP_BUF(65536);
        struct kp_err err = KP_ERR_INIT;
        cr_assert_eq(kp_objects_settle(&out, kp_slice_of(cases[i].yaml), "chart", "mine", &err), 0,
                     "%s: %s", cases[i].what, err.message);
        cr_assert_str_eq(kp_buf_slice(&out).ptr, cases[i].want, "%s: %s", cases[i].what,
                         kp_buf_slice(&out).ptr);
    }
}

Test(objects, given_namespaces_are_not_made)
{
    kp_auto_value(kp_buf) out = KP_BUF(65536);
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_objects_settle(&out, kp_slice_of("kind: Pod\nmetadata: {name: a}\n"), "chart",
                                   "kube-system", &err),
                 0);
    cr_assert_str_eq(out.data, "kind: Pod\nmetadata: {namespace: kube-system, name: a}\n");
}

Test(objects, bad_yaml_is_named)
{
    kp_auto_value(kp_buf) out = KP_BUF(65536);
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_objects_settle(&out, kp_slice_of("a: [\n"), "chart", "mine", &err), -1);
    cr_assert_str_eq(err.reason, "bad_yaml");
    cr_assert(strstr(err.message, "chart:"));
}

Test(objects, the_limit_holds)
{
    kp_auto_value(kp_buf) out = KP_BUF(8);
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_objects_settle(&out, kp_slice_of("kind: Pod\nmetadata: {name: a}\n"), "chart",
                                   "mine", &err),
                 -1);
    cr_assert_str_eq(err.reason, "too_large");
}
