/* SPDX-License-Identifier: Apache-2.0 */
#include "core/file.h"
#include "install/etcd/etcd.h"
#include "install/etcd/etcd_snapshot.h"
#include "install/inventory/inventory.h"
#include "install/steps/etcd.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <unistd.h>

static const char members_text[] =
    "{\"header\":{\"cluster_id\":11813797297539086420,\"member_id\":8812034455577505478,"
    "\"raft_term\":2},\"members\":[{\"ID\":946932853284938102,\"name\":\"e1\",\"peerURLs\":"
    "[\"https://10.77.0.21:2380\"],\"clientURLs\":[\"https://10.77.0.21:2379\"]},"
    "{\"ID\":17664384753456789012,\"name\":\"\",\"peerURLs\":[\"https://10.77.0.22:2380\"],"
    "\"isLearner\":true}]}";
static const char status_text[] =
    "[{\"Endpoint\":\"https://127.0.0.1:2379\",\"Status\":{\"header\":{\"cluster_id\":"
    "11813797297539086420,\"member_id\":946932853284938102,\"revision\":1069,\"raft_term\":2},"
    "\"version\":\"3.5.33\",\"dbSize\":1421312,\"leader\":946932853284938102,\"raftIndex\":1178,"
    "\"raftTerm\":2,\"raftAppliedIndex\":1178,\"dbSizeInUse\":1400832}}]";

static json_t *parse(const char *text)
{
    json_t *out = NULL;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_etcd_parse(&out, kp_slice_of(text), &err), 0, "%s", err.message);
    return out;
}

Test(etcd, ids_beyond_63_bits_are_kept_to_the_digit)
{
    kp_auto_json answer = parse(members_text);
    struct kp_etcd_members members;
    struct kp_err err = KP_ERR_INIT;
    char hex[17];
    cr_assert_eq(kp_etcd_read_members(&members, answer, &err), 0, "%s", err.message);
    cr_assert_eq(members.count, 2);
    cr_expect_str_eq(members.items[1].id, "17664384753456789012");
    cr_expect(members.items[1].learner);
    cr_expect_str_eq(members.items[1].name, "");
    cr_expect_not(members.items[0].learner);
    cr_assert_eq(kp_etcd_hex(hex, "11813797297539086420", &err), 0);
    cr_expect_str_eq(hex, "a3f30a0cc8497854");
    cr_expect_eq(kp_etcd_hex(hex, "no number", &err), -1);
}

Test(etcd, numbers_inside_texts_stay_texts)
{
    kp_auto_json answer =
        parse("{\"a\":\"x \\\" 12345678901234567890\",\"b\":12345678901234567890,\"c\":1.5e3}");
    cr_expect_str_eq(json_string_value(json_object_get(answer, "a")), "x \" 12345678901234567890");
    cr_expect_str_eq(json_string_value(json_object_get(answer, "b")), "12345678901234567890");
    cr_expect_eq(json_real_value(json_object_get(answer, "c")), 1500.0);
}

Test(etcd, what_is_no_answer_is_refused)
{
    static const char *const bad[] = {
        "", "{", "{\"members\":3}", "[]", "{\"members\":[{}]}", "\"12345678901234567890"};
    for (size_t i = 0; i < KP_COUNT(bad); i++) {
        kp_auto_json answer = NULL;
        struct kp_etcd_members members;
        struct kp_etcd_status status;
        struct kp_err err = KP_ERR_INIT;
        if (kp_etcd_parse(&answer, kp_slice_of(bad[i]), &err) < 0)
            continue;
        cr_expect_eq(kp_etcd_read_members(&members, answer, &err), -1, "%s", bad[i]);
        cr_expect_eq(kp_etcd_read_status(&status, answer, &err), -1, "%s", bad[i]);
    }
}

Test(etcd, status)
{
    kp_auto_json answer = parse(status_text);
    struct kp_etcd_status status;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_etcd_read_status(&status, answer, &err), 0, "%s", err.message);
    cr_expect_str_eq(status.leader, status.member);
    cr_expect_str_eq(status.version, "3.5.33");
    cr_expect_eq(status.db_size, 1421312);
    cr_expect_eq(status.in_use, 1400832);
    cr_expect_eq(status.revision, 1069);
    cr_expect_str_eq(status.storage, "");
    json_t *one = json_object_get(json_array_get(answer, 0), "Status");
    json_object_set_new(one, "storageVersion", json_string("3.6.0"));
    cr_assert_eq(kp_etcd_read_status(&status, answer, &err), 0, "%s", err.message);
    cr_expect_str_eq(status.storage, "3.6.0");
}

Test(etcd, a_member_is_found_by_name_or_by_its_peer_url)
{
    kp_auto_json answer = parse(members_text);
    struct kp_etcd_members members;
    struct kp_err err = KP_ERR_INIT;
    struct kp_node e1 = {.name = "e1", .address = "10.9.9.9"},
                   e2 = {.name = "e2", .address = "10.77.0.22"},
                   e3 = {.name = "e3", .address = "10.77.0.23"};
    cr_assert_eq(kp_etcd_read_members(&members, answer, &err), 0);
    cr_expect_eq(kp_etcd_find(&members, &e1), &members.items[0]);
    cr_expect_eq(kp_etcd_find(&members, &e2), &members.items[1]);
    cr_expect_null(kp_etcd_find(&members, &e3));
}

Test(etcd, a_quorum_must_stay)
{
    static const struct {
        size_t n, healthy;
        bool its, can;
    } cases[] = {
        {1, 1, true, false}, {2, 2, true, true},  {2, 1, false, true}, {2, 1, true, false},
        {3, 3, true, true},  {3, 2, false, true}, {3, 2, true, false}, {3, 1, false, false},
        {5, 3, true, false}, {5, 4, true, true},  {5, 3, false, true}, {4, 3, true, true},
    };
    for (size_t i = 0; i < KP_COUNT(cases); i++)
        cr_expect_eq(kp_etcd_can_lose(cases[i].n, cases[i].healthy, cases[i].its), cases[i].can,
                     "case %zu", i);
}

static int load(struct kp_inventory **out, const char *etcd, const char *roles, struct kp_err *err)
{
    char path[] = "/tmp/kpack-etcd-XXXXXX";
    kp_auto_free char *text =
        kp_asprintf("cluster: demo\n%s\nnodes:\n  - {name: e9, address: 10.77.0.29, roles: [%s]}\n"
                    "  - {name: w1, address: 10.77.0.12, roles: [worker]}\n"
                    "  - {name: cp1, address: 10.77.0.11, roles: [control-plane]}\n",
                    etcd, roles);
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    cr_assert_eq(kp_write_full(fd, text, strlen(text), err), 0);
    close(fd);
    int result = kp_inventory_load(out, path, err);
    unlink(path);
    return result;
}

Test(etcd, options_of_the_inventory)
{
    kp_auto(kp_inventory) external = NULL;
    kp_auto(kp_inventory) stacked = NULL;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(load(&external,
                      "etcd: {quota_bytes: 4GiB, heartbeat_ms: 200, election_ms: 2000, backup: "
                      "{schedule: \"*-*-* 00/6:00:00\", keep: 3}}",
                      "etcd", &err),
                 0, "%s", err.message);
    cr_expect(external->etcd.external);
    cr_expect_eq(external->etcd.quota_bytes, (uint64_t)4 << 30);
    cr_expect_eq(external->etcd.election_ms, 2000);
    cr_expect_str_eq(external->etcd.backup_schedule, "*-*-* 00/6:00:00");
    cr_expect_eq(external->etcd.backup_keep, 3);
    cr_expect_eq(kp_inventory_members(external), 2);
    cr_expect_str_eq(external->nodes[0].name, "cp1");
    cr_expect_str_eq(external->nodes[2].name, "e9", "etcd alone stands last");
    cr_assert_eq(load(&stacked, "", "worker", &err), 0, "%s", err.message);
    cr_expect_not(stacked->etcd.external);
    cr_expect_eq(stacked->etcd.quota_bytes, ((uint64_t)2 << 30));
    cr_expect_null(stacked->etcd.backup_schedule);
    cr_expect_eq(kp_inventory_members(stacked), 3);
}

Test(etcd, bad_options_are_named)
{
    static const struct {
        const char *etcd, *roles, *word;
    } cases[] = {
        {"etcd: {mode: stacked}", "etcd", "stacked, but"},
        {"etcd: {mode: external}", "worker", "role etcd"},
        {"etcd: {mode: both}", "worker", "etcd.mode"},
        {"etcd: {quota_bytes: 1}", "etcd", "etcd.quota_bytes"},
        {"etcd: {quota_bytes: 9GiB}", "etcd", "etcd.quota_bytes"},
        {"etcd: {heartbeat_ms: 500}", "etcd", "less than 5 times"},
        {"etcd: {hartbeat_ms: 500}", "etcd", "heartbeat_ms"},
        {"etcd: {backup: {schedule: \"daily; reboot\"}}", "etcd", "schedule"},
        {"etcd: {backup: {keep: 0}}", "etcd", "keep"},
        {"", "database", "database"},
    };
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        kp_auto(kp_inventory) inventory = NULL;
        struct kp_err err = KP_ERR_INIT;
        cr_expect_eq(load(&inventory, cases[i].etcd, cases[i].roles, &err), -1, "%s",
                     cases[i].etcd);
        cr_expect_eq(err.code, KP_USAGE);
        cr_expect(strstr(err.message, cases[i].word), "%s: %s", cases[i].etcd, err.message);
    }
}

Test(etcd, a_snapshots_description_comes_back)
{
    struct kp_etcd_snapshot in = {.cluster = "demo",
                                  .etcd = "11813797297539086420",
                                  .node = "e1",
                                  .version = "3.5.33",
                                  .kubernetes = "v1.30.14",
                                  .time = "2026-11-24T04:00:00Z",
                                  .size = 1421344,
                                  .revision = 1069,
                                  .keys = 300,
                                  .hash = 4000000000},
                            out;
    struct kp_err err = KP_ERR_INIT;
    memset(in.ca, 'a', 64);
    memset(in.sha256, 'b', 64);
    memset(in.bundle, 'c', 64);
    kp_auto_json document = kp_etcd_snapshot_json(&in);
    cr_assert_eq(kp_etcd_snapshot_read(&out, document, "x.json", &err), 0, "%s", err.message);
    cr_expect_eq(memcmp(&in, &out, sizeof(in)), 0);
    json_object_set_new(document, "kind", json_string("kpack.bundle/v1"));
    cr_expect_eq(kp_etcd_snapshot_read(&out, document, "x.json", &err), -1);
    json_object_del(document, "ca");
    cr_expect_eq(kp_etcd_snapshot_read(&out, document, "x.json", &err), -1);
    cr_expect(strstr(err.message, "ca"), "%s", err.message);
}
