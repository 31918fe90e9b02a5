/* SPDX-License-Identifier: Apache-2.0 */
#include "install/inventory/nodes.h"

#include "install/inventory/network.h"
#include "install/inventory/rules.h"

#include <stdlib.h>

int kp_nodes_read_roles(const struct kp_key *key, const struct kp_reading *reading,
                        const struct kp_yaml *value, void *into)
{
    struct kp_node *node = into;
    size_t count = value->type == KP_YAML_LIST ? value->count : 1;
    (void)key;
    for (size_t i = 0; i < count; i++) {
        const struct kp_yaml *item = value->type == KP_YAML_LIST ? value->items[i] : value;
        const char *text = item->type == KP_YAML_SCALAR ? item->text : "this";
        unsigned role = item->type == KP_YAML_SCALAR ? kp_role_parse(text) : 0;
        if (!role)
            return kp_yaml_fail(item, reading->err,
                                "%s is not a role (control-plane, worker, etcd)", text);
        node->roles |= role;
    }
    if (!node->roles)
        return kp_yaml_fail(value, reading->err,
                            "a role is needed: control-plane, worker, etcd or several of them");
    node->mirror = (node->roles & KP_ROLE_CONTROL_PLANE) != 0;
    return 0;
}

/* "key=value:NoSchedule" or "key:NoSchedule" */
static int read_taint(const struct kp_reading *reading, const struct kp_yaml *at,
                      struct kp_taint *out)
{
    static const char *const effects[] = {"NoSchedule", "PreferNoSchedule", "NoExecute"};
    kp_auto_free char *text = at->type == KP_YAML_SCALAR ? kp_strdup(at->text) : kp_strdup("");
    char *colon = strrchr(text, ':');
    const char *effect = NULL;
    for (size_t i = 0; colon && i < KP_COUNT(effects); i++)
        if (strcmp(colon + 1, effects[i]) == 0)
            effect = effects[i];
    if (!effect)
        return kp_yaml_fail(at, reading->err,
                            "a taint is needed: key[=value]:NoSchedule, "
                            ":PreferNoSchedule or :NoExecute");
    *colon = '\0';
    char *equals = strchr(text, '=');
    if (equals)
        *equals = '\0';
    if (!kp_rule_label_key(text) || (equals && !kp_rule_label_value(equals + 1)))
        return kp_yaml_fail(at, reading->err, "%s is not a taint's key and value", at->text);
    *out = (struct kp_taint){kp_arena_strdup(reading->arena, text),
                             kp_arena_strdup(reading->arena, equals ? equals + 1 : ""), effect};
    return 0;
}

int kp_nodes_read_taints(const struct kp_key *key, const struct kp_reading *reading,
                         const struct kp_yaml *value, void *into)
{
    struct kp_node *node = into;
    (void)key;
    if (value->type != KP_YAML_LIST)
        return kp_yaml_fail(value, reading->err, "a list is needed");
    if (value->count > KP_LABELS_MAX)
        return kp_yaml_fail(value, reading->err, "at most %d are allowed", KP_LABELS_MAX);
    node->taints_set = true;
    node->taints = kp_arena_array(reading->arena, value->count, sizeof(*node->taints));
    for (size_t i = 0; i < value->count; i++)
        if (read_taint(reading, value->items[i], &node->taints[node->taint_count++]) < 0)
            return -1;
    return 0;
}

/* A user named here decides anew whether sudo is needed, and the word named here above it. */
static void settle_sudo(struct kp_node *node, bool user_named)
{
    bool root = strcmp(node->ssh.user, "root") == 0;
    if (user_named || node->sudo_word == KP_SUDO_AUTO)
        node->ssh.sudo = !root;
    if (node->sudo_word == KP_SUDO_NOPASSWD || node->sudo_word == KP_SUDO_PASSWORD)
        node->ssh.sudo = true;
    if (node->sudo_word == KP_SUDO_NONE)
        node->ssh.sudo = false;
    if (node->sudo_word)
        node->ask_password = node->sudo_word == KP_SUDO_PASSWORD;
}

int kp_nodes_read_ssh(const struct kp_key *key, const struct kp_reading *reading,
                      const struct kp_yaml *value, void *into)
{
    struct kp_node *node = into;
    (void)key;
    node->sudo_word = KP_SUDO_UNSAID;
    if (kp_keys_read(&kp_keys_ssh, reading, value, node) < 0)
        return -1;
    settle_sudo(node, kp_yaml_get(value, "user") != NULL);
    return 0;
}

int kp_nodes_read_ssh_defaults(const struct kp_key *key, const struct kp_reading *reading,
                               const struct kp_yaml *value, void *into)
{
    struct kp_inventory *inventory = into;
    return kp_nodes_read_ssh(key, reading, value, &inventory->ssh_defaults);
}

void kp_nodes_begin(const struct kp_reading *reading, const char *name, const struct kp_yaml *map,
                    void *into)
{
    struct kp_node *node = into;
    (void)name;
    node->line = map->line;
    node->ssh = reading->inventory->ssh_defaults.ssh;
    node->ask_password = reading->inventory->ssh_defaults.ask_password;
}

int kp_nodes_done(const struct kp_reading *reading, const struct kp_yaml *map, void *into)
{
    struct kp_node *node = into;
    struct kp_inventory *inventory = reading->inventory;
    node->ssh.node = node->name;
    if (!node->ssh.address)
        node->ssh.address = node->address;
    for (const struct kp_node *other = inventory->nodes; other < node; other++) {
        bool same_name = strcmp(other->name, node->name) == 0;
        const char *address = kp_node_same_address(other, node);
        if (same_name || address)
            return kp_yaml_fail(map, reading->err, "%s %s is that of the node in line %u",
                                same_name ? "name" : "address", same_name ? node->name : address,
                                other->line);
    }
    inventory->control_plane_count += (node->roles & KP_ROLE_CONTROL_PLANE) != 0;
    return 0;
}

static int rank_of(const struct kp_node *node)
{
    if (node->roles & KP_ROLE_CONTROL_PLANE)
        return 0;
    return node->roles & KP_ROLE_WORKER ? 1 : 2;
}

static int compare_nodes(const void *a, const void *b)
{
    const struct kp_node *x = a, *y = b;
    int order = rank_of(x) - rank_of(y);
    return order ? order : (x->line > y->line) - (x->line < y->line);
}

int kp_nodes_settle(const struct kp_reading *reading, const struct kp_yaml *list)
{
    struct kp_inventory *inventory = reading->inventory;
    bool mirror = false;
    if (!inventory->node_count)
        return kp_yaml_fail(list, reading->err, "no nodes");
    for (size_t i = 0; i < inventory->node_count; i++)
        mirror = mirror || inventory->nodes[i].mirror;
    if (!inventory->control_plane_count)
        return kp_yaml_fail(list, reading->err, "no node has the role control-plane");
    if (!mirror)
        return kp_yaml_fail(list, reading->err, "no node is a mirror: give one `mirror: true`");
    qsort(inventory->nodes, inventory->node_count, sizeof(struct kp_node), compare_nodes);
    for (size_t i = 0; i < inventory->node_count; i++)
        inventory->nodes[i].place = i;
    return 0;
}
