/* SPDX-License-Identifier: Apache-2.0 */
/* Rows that are alike for several: the components, and the groups of nodes. */
#include "install/inventory/inventory.h"
#include "install/inventory/rules.h"

static const struct kp_key mount_keys[] = {
    {.name = "name",
     .type = KP_KEY_TEXT,
     KP_AT(struct kp_mount, name),
     .required = true,
     .good = kp_rule_name,
     .need = "a name (a-z, 0-9, '-', at most 63)",
     .what = "of the volume"},
    {.name = "host_path",
     .type = KP_KEY_TEXT,
     KP_AT(struct kp_mount, host_path),
     .required = true,
     .good = kp_rule_mount,
     .need = "an absolute path of plain characters",
     .what = "on the node"},
    {.name = "mount_path",
     .type = KP_KEY_TEXT,
     KP_AT(struct kp_mount, mount_path),
     .required = true,
     .good = kp_rule_mount,
     .need = "an absolute path of plain characters",
     .what = "in the component's pod"},
    {.name = "read_only",
     .type = KP_KEY_BOOL,
     KP_AT(struct kp_mount, read_only),
     .fallback = "true",
     .what = ""},
    {.name = "type",
     .type = KP_KEY_WORD,
     KP_AT(struct kp_mount, type),
     .words = kp_mount_types,
     .fallback = "DirectoryOrCreate",
     .what = "`DirectoryOrCreate`, `Directory`, `FileOrCreate`, `File`"},
    {.name = NULL}};
static const struct kp_section mount_section = {.keys = mount_keys,
                                                .size = sizeof(struct kp_mount)};

#define COMPONENT(member, program)                                                                 \
    {.name = "args",                                                                               \
     .type = KP_KEY_PAIRS,                                                                         \
     KP_AT_COUNTED(struct kp_inventory, kubernetes.member.args, kubernetes.member.arg_count),      \
     .most = KP_ARGS_MAX,                                                                          \
     .good = kp_rule_arg,                                                                          \
     .need = "the name of an argument (without --)",                                               \
     .good_value = kp_rule_arg_value,                                                              \
     .need_value = "a value of at most 1024 characters without quotes and backslashes",            \
     .what = "arguments of " program ", without `--`; those that other keys here decide are "      \
             "refused"},                                                                           \
        {.name = "volumes",                                                                        \
         .type = KP_KEY_LIST,                                                                      \
         KP_AT_COUNTED(struct kp_inventory, kubernetes.member.mounts,                              \
                       kubernetes.member.mount_count),                                             \
         .section = &mount_section,                                                                \
         .most = KP_MOUNTS_MAX,                                                                    \
         .what = "paths of the node in its pod"},                                                  \
        {.name = "feature_gates",                                                                  \
         .type = KP_KEY_PAIRS,                                                                     \
         KP_AT_COUNTED(struct kp_inventory, kubernetes.member.feature_gates,                       \
                       kubernetes.member.feature_gate_count),                                      \
         .most = KP_ARGS_MAX,                                                                      \
         .good = kp_rule_gate,                                                                     \
         .need = "a feature gate's name",                                                          \
         .good_value = kp_rule_bool,                                                               \
         .need_value = "true or false",                                                            \
         .what = "on top of `kubernetes.feature_gates`"},                                          \
    {                                                                                              \
        .name = NULL                                                                               \
    }

static const struct kp_key apiserver_keys[] = {COMPONENT(apiserver, "kube-apiserver")};
static const struct kp_key controller_manager_keys[] = {
    COMPONENT(controller_manager, "kube-controller-manager")};
static const struct kp_key scheduler_keys[] = {COMPONENT(scheduler, "kube-scheduler")};
const struct kp_section kp_keys_apiserver = {.keys = apiserver_keys};
const struct kp_section kp_keys_controller_manager = {.keys = controller_manager_keys};
const struct kp_section kp_keys_scheduler = {.keys = scheduler_keys};

static const struct kp_key group_keys[] = {
    {.name = "labels",
     .type = KP_KEY_PAIRS,
     KP_AT_COUNTED(struct kp_group, labels, label_count),
     .most = KP_LABELS_MAX,
     .good = kp_rule_label_key,
     .need = "a label name",
     .good_value = kp_rule_label_value,
     .need_value = "a label value (letters, digits, '-', '_', '.', at most 63)",
     .what = "as of nodes"},
    {.name = "annotations",
     .type = KP_KEY_PAIRS,
     KP_AT_COUNTED(struct kp_group, annotations, annotation_count),
     .most = KP_LABELS_MAX,
     .good = kp_rule_label_key,
     .need = "an annotation's name",
     .good_value = kp_rule_annotation,
     .need_value = "one line of at most 4096 characters",
     .what = "as of nodes"},
    {.name = "sysctls",
     .type = KP_KEY_PAIRS,
     KP_AT_COUNTED(struct kp_group, sysctls, sysctl_count),
     .most = KP_SYSCTLS_MAX,
     .good = kp_rule_sysctl,
     .need = "a kernel parameter (like vm.max_map_count)",
     .good_value = kp_rule_sysctl_value,
     .need_value = "a kernel parameter's value",
     .what = "as of nodes"},
    {.name = "kubelet",
     .type = KP_KEY_OWN,
     KP_AT_COUNTED(struct kp_group, kubelet, kubelet_count),
     .read = kp_custom_read_kubelet,
     .what = "as of nodes"},
    {.name = NULL}};
const struct kp_section kp_keys_group = {.name = "groups",
                                         .keys = group_keys,
                                         .size = sizeof(struct kp_group),
                                         .begin = kp_custom_begin_group};
