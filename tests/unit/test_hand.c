/* SPDX-License-Identifier: Apache-2.0 */
/* Which control plane is the hand: records, and what the cluster says of them. */
#include "install/hand.h"

#include <criterion/criterion.h>

#define NODES 4

struct said { /* one row: what each node is, and what it says when asked; NULL: it cannot tell */
    const char *what;
    bool failed[NODES], in[NODES];
    const char *names[NODES];
    const char *except;
    size_t hand, asked; /* NODES: none; how many were asked */
    bool removed[NODES];
};

static const struct said *row;
static size_t asked;

static bool answer(struct kp_site_node *node, char **names)
{
    size_t i = (size_t)(node->node->name[2] - '1');
    asked++;
    if (row->names[i])
        *names = kp_strdup(row->names[i]);
    return row->names[i] != NULL;
}

static struct kp_node nodes[NODES] = {{.name = "cp1", .roles = KP_ROLE_CONTROL_PLANE},
                                      {.name = "cp2", .roles = KP_ROLE_CONTROL_PLANE},
                                      {.name = "cp3", .roles = KP_ROLE_CONTROL_PLANE},
                                      {.name = "w1", .roles = KP_ROLE_WORKER}};

static void set_up(struct kp_site *site, struct kp_site_node *list, const struct said *said)
{
    *site = (struct kp_site){.nodes = list, .node_count = NODES};
    for (size_t i = 0; i < NODES; i++)
        list[i] = (struct kp_site_node){
            .node = &nodes[i],
            .failed = said->failed[i],
            .record = said->in[i] ? json_pack("{s:{s:s}}", "finished",
                                              i ? "kubeadm-join" : "kubeadm-init", "x")
                                  : NULL};
    row = said;
    asked = 0;
}

Test(hand, is_one_that_the_cluster_knows)
{
    static const char all[] = "node/cp1\nnode/cp2\nnode/cp3\n", rest[] = "node/cp2\nnode/cp3\n",
                      alike[] = "node/cp10\nnode/cp2\nnode/cp3";
    static const struct said rows[] = {
        {"a new site", {0}, {0}, {0}, NULL, NODES, 0, {0}},
        {"one alone is not asked", {0}, {true}, {0}, NULL, 0, 0, {0}},
        {"all are in", {0}, {true, true, true, true}, {all, all, all}, NULL, 0, 1, {0}},
        {"the first cannot tell", {0}, {true, true, true}, {NULL, all, all}, NULL, 0, 2, {0}},
        {"nobody can tell: the records stand", {0}, {true, true, true}, {0}, NULL, 0, 3, {0}},
        {"the first came back and cannot tell",
         {0},
         {true, true, true},
         {NULL, rest, rest},
         NULL,
         1,
         2,
         {true}},
        {"it came back and asks through another", {0}, {true, true}, {rest}, NULL, 1, 1, {true}},
        {"a name that begins alike", {0}, {true, true}, {alike}, NULL, 1, 1, {true}},
        {"another one came back",
         {0},
         {true, true, true},
         {"node/cp1\nnode/cp3\n"},
         NULL,
         0,
         1,
         {false, true}},
        {"it came back, and the next does not answer",
         {false, true},
         {true, true, true},
         {NULL, NULL, rest},
         NULL,
         2,
         2,
         {true}},
        {"one that joins now is no candidate", {0}, {true, false, true}, {all}, NULL, 0, 1, {0}},
        {"any but the first", {0}, {true, true, true}, {all}, "cp1", 1, 1, {0}},
        {"any but the second, where the first came back",
         {0},
         {true, true, true},
         {NULL, rest},
         "cp2",
         2,
         2,
         {true}},
        {"only those that were removed answer",
         {0},
         {true, true},
         {"node/cp3"},
         NULL,
         NODES,
         1,
         {true, true}},
    };
    for (size_t i = 0; i < KP_COUNT(rows); i++) {
        struct kp_site site;
        struct kp_site_node list[NODES];
        set_up(&site, list, &rows[i]);
        kp_hand_look(&site, answer);
        cr_expect_eq(kp_hand_find(&site, rows[i].except), rows[i].hand, "%s: %zu", rows[i].what,
                     kp_hand_find(&site, rows[i].except));
        cr_expect_eq(asked, rows[i].asked, "%s: asked %zu", rows[i].what, asked);
        for (size_t j = 0; j < NODES; j++) {
            cr_expect_eq(list[j].removed, rows[i].removed[j], "%s: cp%zu", rows[i].what, j + 1);
            json_decref(list[j].record);
        }
    }
}

Test(hand, those_that_were_removed_are_told)
{
    static const struct said said = {.in = {true, true, true}, .names = {"node/cp2\nnode/cp3\n"}};
    const struct kp_inventory inventory = {.path = "hosts.yaml"};
    struct kp_site site;
    struct kp_site_node list[NODES];
    set_up(&site, list, &said);
    site.inventory = &inventory;
    kp_hand_look(&site, answer);
    kp_hand_refuse_removed(&site);
    cr_expect(list[0].failed && !list[1].failed && !list[2].failed && !list[3].failed);
    cr_expect_str_eq(list[0].failure.reason, "removed");
    cr_expect(strstr(list[0].failure.hint, "kinstall remove cp1 -i hosts.yaml"), "%s",
              list[0].failure.hint);
    for (size_t j = 0; j < NODES; j++) {
        json_decref(list[j].record);
        kp_free(list[j].failed_step);
    }
}

Test(hand, where_nothing_was_found_the_one_that_could_not_be_asked_is_named)
{
    static const struct said said = {.failed = {true}};
    struct kp_err err = KP_ERR_INIT;
    struct kp_site site;
    struct kp_site_node list[NODES];
    set_up(&site, list, &said);
    kp_fail_as(&list[0].failure, KP_FAILED, "ssh", "no route to host");
    cr_assert_eq(kp_site_all_asked(&site, KP_ROLE_ETCD, NULL, &err), 0);
    cr_assert_eq(kp_site_all_asked(&site, KP_ROLE_CONTROL_PLANE, NULL, &err), -1);
    cr_expect_str_eq(err.message, "cp1 cannot be reached: no route to host");
    cr_expect_str_eq(err.reason, "ssh");
    kp_fail(&list[1].failure, KP_FAILED, "it is silent");
    cr_assert_eq(kp_site_all_asked(&site, KP_ROLE_CONTROL_PLANE, &list[0], &err), -1);
    cr_expect_str_eq(err.message, "cp2 cannot be reached: it is silent");
}
