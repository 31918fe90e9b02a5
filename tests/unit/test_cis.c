/* SPDX-License-Identifier: Apache-2.0 */
#include "install/check/cis.h"

#include <criterion/criterion.h>

struct kp_cis_case {
    enum kp_cis_on on;
    const char *subject;
    enum kp_cis_rule rule;
    const char *value, *fallback;
    bool ok;
};

static const char evidence[] =
    "{\"files\": {\"/a\": \"600 root:root\", \"/b\": \"640 root:etcd\", \"/c\": \"odd\","
    " \"/p/x.key\": \"600 root:root\", \"/p/q/y.key\": \"644 root:root\"},"
    " \"api\": {\"profiling\": \"false\", \"authorization-mode\": \"Node,RBAC\", \"age\": \"29\","
    " \"empty\": \"\", \"ciphers\": \"A,B\", \"min\": \"VersionTLS13\"},"
    " \"kubelet\": {\"readOnlyPort\": 0, \"ciphers\": [\"A\", \"C\"], \"rotateCertificates\": true,"
    " \"authentication\": {\"anonymous\": {\"enabled\": false}}}}";

Test(cis, rules)
{
    static const struct kp_cis_case cases[] = {
        {KP_CIS_FILE, "/a", KP_CIS_MODE, "600", NULL, true},
        {KP_CIS_FILE, "/a", KP_CIS_MODE, "644", NULL, true}, // stricter is fine
        {KP_CIS_FILE, "/b", KP_CIS_MODE, "600", NULL, false},
        {KP_CIS_FILE, "/a", KP_CIS_OWNER, "root:root", NULL, true},
        {KP_CIS_FILE, "/b", KP_CIS_OWNER, "root:root", NULL, false},
        {KP_CIS_FILE, "/c", KP_CIS_MODE, "600", NULL, false},
        {KP_CIS_FILE, "/p/*.key", KP_CIS_OWNER, "root:root", NULL, true},
        {KP_CIS_FILE, "/p/x*.key", KP_CIS_MODE, "600", NULL, true},
        {KP_CIS_FILE, "/p/*.key", KP_CIS_MODE, "600", NULL, false}, // one deeper, too
        {KP_CIS_FILE, "/none", KP_CIS_MODE, "600", NULL, true},     // nothing to judge
        {KP_CIS_API, "profiling", KP_CIS_EQUALS, "false", "true", true},
        {KP_CIS_API, "other", KP_CIS_EQUALS, "false", "true", false},
        {KP_CIS_API, "other", KP_CIS_EQUALS, "false", "false", true},
        {KP_CIS_API, "other", KP_CIS_EQUALS, "false", NULL, false},
        {KP_CIS_API, "profiling", KP_CIS_NOT, "false", NULL, false},
        {KP_CIS_API, "other", KP_CIS_NOT, "false", NULL, true},
        {KP_CIS_API, "profiling", KP_CIS_SET, NULL, NULL, true},
        {KP_CIS_API, "empty", KP_CIS_SET, NULL, NULL, false},
        {KP_CIS_API, "other", KP_CIS_SET, NULL, NULL, false},
        {KP_CIS_API, "profiling", KP_CIS_UNSET, NULL, NULL, false},
        {KP_CIS_API, "other", KP_CIS_UNSET, NULL, NULL, true},
        {KP_CIS_API, "authorization-mode", KP_CIS_HAS, "RBAC", NULL, true},
        {KP_CIS_API, "authorization-mode", KP_CIS_HAS, "RB", NULL, false},
        {KP_CIS_API, "other", KP_CIS_HAS, "RBAC", NULL, false},
        {KP_CIS_API, "authorization-mode", KP_CIS_HAS_NOT, "Node", NULL, false},
        {KP_CIS_API, "other", KP_CIS_HAS_NOT, "Node", NULL, true},
        {KP_CIS_API, "age", KP_CIS_LEAST, "30", NULL, false},
        {KP_CIS_API, "age", KP_CIS_LEAST, "29", NULL, true},
        {KP_CIS_API, "other", KP_CIS_LEAST, "1", NULL, false},
        {KP_CIS_API, "ciphers", KP_CIS_AMONG, "B,A,C", "min", true},
        {KP_CIS_API, "ciphers", KP_CIS_AMONG, "A,C", "min", false},
        {KP_CIS_API, "empty", KP_CIS_AMONG, "A", "min", false},
        {KP_CIS_API, "other", KP_CIS_AMONG, "A", "min", true}, // TLS 1.3
        {KP_CIS_API, "other", KP_CIS_AMONG, "A", "age", false},
        {KP_CIS_KUBELET, "ciphers", KP_CIS_AMONG, "A,B,C", "min", true},
        {KP_CIS_KUBELET, "ciphers", KP_CIS_AMONG, "A,B", "min", false},
        {KP_CIS_KUBELET, "authentication.anonymous.enabled", KP_CIS_EQUALS, "false", "true", true},
        {KP_CIS_KUBELET, "authentication.x509.clientCAFile", KP_CIS_SET, NULL, NULL, false},
        {KP_CIS_KUBELET, "readOnlyPort", KP_CIS_EQUALS, "0", "0", true},
        {KP_CIS_KUBELET, "rotateCertificates", KP_CIS_EQUALS, "true", "false", true},
    };
    json_t *all = json_loads(evidence, 0, NULL);
    struct kp_cis_node node = {.name = "cp1", .files = json_object_get(all, "files")};
    node.objects[KP_CIS_KUBELET] = json_object_get(all, "kubelet");
    node.objects[KP_CIS_API] = json_object_get(all, "api");
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        const struct kp_cis_case *c = &cases[i];
        const struct kp_cis_check check = {"0",     "",       c->on,      c->subject,
                                           c->rule, c->value, c->fallback};
        bool applies;
        kp_auto_free char *found = NULL;
        cr_expect_eq(kp_cis_judge(&check, &node, &applies, &found), c->ok, "%zu: %s", i,
                     c->subject);
        cr_expect_eq(applies, strcmp(c->subject, "/none") != 0);
    }
    json_decref(all);
}

/* Nothing on a node that is no control plane: its API checks do not apply. */
Test(cis, nothing_there)
{
    const struct kp_cis_node node = {.name = "w1"};
    for (const struct kp_cis_check *check = kp_cis_checks; check->id; check++) {
        bool applies = true;
        kp_auto_free char *found = NULL;
        cr_expect(kp_cis_judge(check, &node, &applies, &found), "%s", check->id);
        cr_expect_not(applies, "%s", check->id);
    }
}

static bool has_word(const char *list, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = list; (at = strstr(at, word)); at += len)
        if ((at == list || at[-1] == ' ') && (!at[len] || at[len] == ','))
            return true;
    return false;
}

/* Each id of the benchmark is checked, or named with a reason; none is both. */
Test(cis, every_id)
{
    static const struct {
        const char *chapter;
        unsigned count;
    } chapters[] = {{"1.1", 21}, {"1.2", 29}, {"1.3", 7},  {"1.4", 2}, {"2", 7},    {"3.1", 3},
                    {"3.2", 2},  {"4.1", 10}, {"4.2", 13}, {"4.3", 1}, {"5.1", 13}, {"5.2", 13},
                    {"5.3", 2},  {"5.4", 2},  {"5.5", 1},  {"5.7", 4}};
    size_t known = 0;
    for (size_t i = 0; i < KP_COUNT(chapters); i++) {
        for (unsigned n = 1; n <= chapters[i].count; n++) {
            kp_auto_free char *id = kp_asprintf("%s.%u", chapters[i].chapter, n);
            bool checked = false;
            unsigned named = 0;
            for (const struct kp_cis_check *c = kp_cis_checks; c->id; c++) {
                checked = checked || strcmp(c->id, id) == 0;
                known += strcmp(c->id, id) == 0;
            }
            for (const struct kp_cis_gap *gap = kp_cis_gaps; gap->ids; gap++)
                named += has_word(gap->ids, id);
            cr_expect_eq(checked + named, 1, "%s: checked %d, named %u", id, checked, named);
        }
    }
    size_t all = 0;
    for (const struct kp_cis_check *c = kp_cis_checks; c->id; c++)
        all++;
    cr_expect_eq(known, all, "an id that the benchmark does not have");
}
