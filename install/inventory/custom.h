/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an inventory changes of Kubernetes' own configuration: arguments, volumes and feature gates
 * of the components, kubeadm's patches, groups of nodes. All of it is checked while the inventory
 * is read; what kinstall decides by keys of its own is refused here, with that key.
 */
#pragma once

#include "install/inventory/keys.h"

#define KP_ARGS_MAX 64   /* of one component */
#define KP_MOUNTS_MAX 32 /* of one component */
#define KP_GROUPS_MAX 64
#define KP_SYSCTLS_MAX 64 /* of one node */
#define KP_FIELDS_MAX 64
#define KP_PATCHES_MAX 64
#define KP_PATCH_MAX ((size_t)256 << 10)

struct kp_mount { /* a path of the node inside a component's pod */
    const char *name, *host_path, *mount_path;
    bool read_only;
    unsigned type; /* kp_mount_types */
};
extern const char *const kp_mount_types[]; /* of Kubernetes' hostPath; ended by NULL */

struct kp_component { /* API server, controller manager, scheduler */
    struct kp_pair *args, *feature_gates;
    size_t arg_count, feature_gate_count;
    struct kp_mount *mounts;
    size_t mount_count;
};

struct kp_patch { /* a file of kubeadm's patches folder: "kube-apiserver0+merge.yaml" */
    const char *name, *text;
};

struct kp_group { /* of nodes: what they have in common */
    const char *name;
    struct kp_pair *labels, *annotations, *sysctls, *kubelet;
    size_t label_count, annotation_count, sysctl_count, kubelet_count;
};

/* A row's reader: fields of a configuration of Kubernetes, as they are; those that kinstall sets
 * itself are refused. Into the counted struct kp_pair * of the key: field and JSON. */
int kp_custom_read_kubelet(const struct kp_key *key, const struct kp_reading *reading,
                           const struct kp_yaml *value, void *into);
int kp_custom_read_proxy(const struct kp_key *key, const struct kp_reading *reading,
                         const struct kp_yaml *value, void *into);
/* May the inventory set this field of KubeletConfiguration? */
bool kp_custom_kubelet_free(const char *field);
/* The key that decides that argument of "apiserver", "controller_manager", "scheduler" or "etcd";
 * NULL where the inventory may set it. */
const char *kp_custom_decider(const char *component, const char *arg);
void kp_custom_begin_group(const struct kp_reading *reading, const char *name,
                           const struct kp_yaml *map, void *into);

/* Once all is read: arguments that are not to be set here, the patches folder, and each node gets
 * what its groups say, in their order, below what it says itself. */
KP_CHECK int kp_custom_settle(const struct kp_reading *reading, const struct kp_yaml *root);

/* "kube-apiserver" of "kube-apiserver0+merge.yaml"; NULL where kubeadm knows no such name. */
const char *kp_patch_target(const char *name);
/* The pair of that key; NULL where none. */
const struct kp_pair *kp_pair_find(const struct kp_pair *pairs, size_t count, const char *key);

extern const struct kp_section kp_keys_apiserver, kp_keys_controller_manager, kp_keys_scheduler,
    kp_keys_group; /* keys_custom.c */
