/* SPDX-License-Identifier: Apache-2.0 */
#include "install/addons/addons.h"
#include "install/addons/objects.h"
#include "install/steps/network.h"

#include <criterion/criterion.h>

static json_t *parsed(const char *text)
{
    json_t *out = NULL;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_json_parse(&out, kp_slice_of(text), 1 << 20, "test", &err), 0, "%s",
                 err.message);
    return out;
}

static struct kp_records *records_of(const char *document)
{
    kp_auto_json map = json_pack("{s:{s:s}}", "data", "store", document);
    struct kp_records *out = NULL;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_records_read(&out, map, &err), 0, "%s", err.message);
    return out;
}

#define STORE                                                                                      \
    "{\"version\":\"0.3\",\"objects\":[\"v1 Namespace - store\",\"apps/v1 Deployment store "       \
    "store\",\"v1 ConfigMap store old foreign\"],\"programs\":[\"provisioner\",\"cert-webhook\"]}"

Test(addons, records_there_and_back)
{
    kp_auto(kp_records) records = records_of(STORE);
    const struct kp_record *store = kp_records_find(records, "store");
    struct kp_err err = KP_ERR_INIT;
    cr_assert_not_null(store);
    cr_assert_eq(store->count, 3);
    cr_expect_str_eq(store->objects[0].namespace_, "");
    cr_expect_str_eq(store->objects[1].kind, "Deployment");
    cr_expect(store->objects[2].foreign && !store->objects[1].foreign);
    cr_expect_null(store->removed);
    cr_expect_null(kp_records_find(records, "other"));
    kp_auto_free char *text = NULL;
    cr_assert_eq(kp_records_dump(&text, records, &err), 0);
    kp_auto_json map = parsed(text);
    kp_auto(kp_records) again = NULL;
    cr_assert_eq(kp_records_read(&again, map, &err), 0, "%s", err.message);
    kp_auto_free char *same = NULL;
    cr_assert_eq(kp_records_dump(&same, again, &err), 0);
    cr_expect_str_eq(text, same);
    kp_auto(kp_records) none = NULL;
    cr_assert_eq(kp_records_read(&none, NULL, &err), 0);
    cr_expect_eq(none->count, 0);
}

Test(addons, records_that_are_not_ours)
{
    static const char *const bad[] = {
        "", "[]", "{\"version\":\"1\"}",
        "{\"version\":\"1\",\"objects\":[\"v1 Pod\"],\"programs\":[]}",
        "{\"version\":\"1\",\"objects\":[],\"programs\":[],\"more\":1}"};
    for (size_t i = 0; i < KP_COUNT(bad); i++) {
        kp_auto_json map = json_pack("{s:{s:s}}", "data", "store", bad[i]);
        kp_auto(kp_records) out = NULL;
        struct kp_err err = KP_ERR_INIT;
        cr_expect_eq(kp_records_read(&out, map, &err), -1, "%s", bad[i]);
        cr_expect_eq(err.code, KP_DAMAGED);
        cr_expect(strstr(err.message, "kpack-addons"), "%s", err.message);
    }
}

Test(addons, a_new_version_of_its_api_is_the_same_object)
{
    kp_auto(kp_records) records = records_of(STORE);
    const struct kp_record *store = kp_records_find(records, "store");
    struct kp_record_object object = {"apps/v2", "Deployment", "store", "store", false};
    cr_expect(kp_record_has(store, &object));
    object.api_version = "apps.x/v1";
    cr_expect_not(kp_record_has(store, &object));
    object.api_version = "v1";
    cr_expect_not(kp_record_has(store, &object));
    struct kp_record_object core = {"v1", "Namespace", "", "store", false};
    cr_expect(kp_record_has(store, &core));
    core.namespace_ = "other";
    cr_expect_not(kp_record_has(store, &core));
}

Test(addons, whose_an_object_is)
{
    const struct kp_record_object objects[] = {
        {"v1", "Namespace", "", "store", false},    {"v1", "ConfigMap", "", "here", false},
        {"apps/v1", "Deployment", "a", "b", false}, {"v1", "Secret", "a", "gone", false},
        {"v1", "ConfigMap", "a", "here", false},    {"v1", "Namespace", "", "bare", false},
    };
    enum kp_object_state states[KP_COUNT(objects)] = {KP_OBJECT_ABSENT};
    const char *text = "v1|Namespace||default|kube-apiserver:Update,\n"
                       "v1|Namespace||store|kpack:Apply,kube-controller-manager:Update,\n"
                       "v1|ConfigMap|default|here|kubectl:Apply,\n"
                       "apps/v1|Deployment|a|b|kpack:Update,\n"
                       "v1|Namespace||bare|\n"
                       "noise\n";
    kp_objects_read_states(kp_slice_of(text), objects, KP_COUNT(objects), states);
    cr_expect_eq(states[0], KP_OBJECT_OURS);
    cr_expect_eq(states[1], KP_OBJECT_OTHERS);
    cr_expect_eq(states[2], KP_OBJECT_OTHERS);
    cr_expect_eq(states[3], KP_OBJECT_ABSENT);
    cr_expect_eq(states[4], KP_OBJECT_ABSENT);
    cr_expect_eq(states[5], KP_OBJECT_UNCLAIMED); // nothing but its name was applied
}

#define OBJECT(kind, name, manager)                                                                \
    "{\"apiVersion\":\"v1\",\"kind\":\"" kind                                                      \
    "\",\"metadata\":{\"namespace\":\"store\",\"name\":\"" name                                    \
    "\",\"managedFields\":[{\"manager\":\"" manager "\"}]}}"

Test(addons, what_holds_a_namespace)
{
    kp_auto(kp_records) records = records_of(STORE);
    kp_auto_json list = parsed(
        "{\"items\":[" OBJECT("ConfigMap", "kube-root-ca.crt", "kube-controller-manager") "," OBJECT("ServiceAccount", "default", "kube-controller-manager") "," OBJECT(
            "Lease", "lock",
            "x") "," OBJECT("Secret", "made",
                            "provisioner") "," OBJECT("Secret", "ca",
                                                      "webhook") "," OBJECT("ConfigMap", "old",
                                                                            "kpack") "," OBJECT("Se"
                                                                                                "cr"
                                                                                                "e"
                                                                                                "t",
                                                                                                "mi"
                                                                                                "n"
                                                                                                "e",
                                                                                                "ku"
                                                                                                "be"
                                                                                                "ct"
                                                                                                "l-"
                                                                                                "cr"
                                                                                                "ea"
                                                                                                "t"
                                                                                                "e") ","
                                                                                                     "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"ownerReferences\":[{}]}},"
                                                                                                     "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"q\",\"deletionTimestamp\":\"x\"}}," OBJECT(
                                                                                                         "ConfigMap",
                                                                                                         "both",
                                                                                                         "provisioner") "]}");
    // somebody else has written into what its program made
    json_array_append_new(
        json_object_get(
            json_object_get(json_array_get(json_object_get(list, "items"), 9), "metadata"),
            "managedFields"),
        json_pack("{s:s}", "manager", "kubectl-edit"));
    kp_auto_json strangers = kp_objects_judge(kp_records_find(records, "store"), list);
    cr_assert_eq(json_array_size(strangers), 2);
    cr_expect_str_eq(json_string_value(json_array_get(strangers, 0)), "Secret mine");
    cr_expect_str_eq(json_string_value(json_array_get(strangers, 1)), "ConfigMap both");
}

Test(addons, manifests_are_grouped_by_add_on)
{
    struct kp_cluster_manifest items[] = {
        {.name = "kube-flannel", .why = "network flannel"},
        {.name = "crds", .addon = "store", .version = "0.3", .why = "add-on store"},
        {.name = "store", .addon = "store", .version = "0.3", .why = "add-on store"},
        {.name = "app", .addon = "app", .why = "--manifest"},
        {.name = "old", .why = "--manifest"},
    };
    struct kp_manifest manifest = {.manifests = items, .manifest_count = KP_COUNT(items)};
    struct kp_addon addon = {.next = 0};
    cr_assert(kp_addons_next(&manifest, &addon));
    cr_expect(strcmp(addon.name, "store") == 0 && addon.first == 1 && addon.next == 3);
    cr_assert(kp_addons_next(&manifest, &addon));
    cr_expect(strcmp(addon.name, "app") == 0 && addon.first == 3 && !*addon.version);
    cr_assert(kp_addons_next(&manifest, &addon));
    cr_expect(strcmp(addon.name, "old") == 0 && addon.next == 5);
    cr_expect_not(kp_addons_next(&manifest, &addon));
}

Test(addons, lines_that_a_controller_fills_in_are_left_out)
{
    kp_auto_value(kp_buf) out = KP_BUF(1024);
    kp_manifest_leave(&out,
                      kp_slice_of("a:\n  caBundle: Cg==\n  caBundles: x\n  caBundle:\n    b: 1\n"
                                  "- caBundle: no\ncaBundle: Cg=="),
                      "caBundle");
    cr_expect(kp_slice_equal(kp_buf_slice(&out),
                             "a:\n  caBundles: x\n  caBundle:\n    b: 1\n- caBundle: no\n"),
              "%.*s", (int)out.len, out.data);
}
