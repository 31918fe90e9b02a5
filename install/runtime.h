/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a node runs pods with: which of the bundle's runtimes the inventory chooses for it, and
 * where a runtime of each kind has its things.
 */
#pragma once

#include "install/inventory/inventory.h"

#define KP_RUNC "/usr/local/sbin/runc"

struct kp_runtime_place {
    const char *program;  /* "/usr/local/bin/containerd": says its version by --version */
    const char *unit;     /* "containerd.service" */
    const char *socket;   /* "/run/containerd/containerd.sock" */
    const char *endpoint; /* the same as kubelet and crictl want it: "unix://…" */
    const char *state, *run, *config; /* folders */
};
/* Of containerd and crio; "oci" has none. */
const struct kp_runtime_place *kp_runtime_place(enum kp_runtime_kind kind);

/* The runtime of the node: what the inventory says of it, or of all, or the bundle's first. Names
 * are those of the bundle, or just "containerd" or "crio" for the first of that kind. False where
 * the bundle has it not. A bundle without a list has one containerd. */
bool kp_runtime_find(struct kp_runtime *out, const struct kp_inventory *inventory,
                     const struct kp_manifest *manifest, const struct kp_node *node);
/* The same for an inventory that was checked against the bundle. */
struct kp_runtime kp_runtime_of(const struct kp_inventory *inventory,
                                const struct kp_manifest *manifest, const struct kp_node *node);
/* "runc" or the bundle's runtime of the kind "oci" that the inventory names ("crun"). */
const char *kp_runtime_oci(const struct kp_inventory *inventory, const struct kp_node *node);
/* Each node's runtimes are in the bundle; KP_MISSING "runtime_missing" else. */
KP_CHECK int kp_runtime_check(const struct kp_inventory *inventory,
                              const struct kp_manifest *manifest, struct kp_err *err);
/* The file is for all nodes, or of one of this node's runtimes. Role and arch are not looked at. */
bool kp_runtime_takes(const struct kp_inventory *inventory, const struct kp_manifest *manifest,
                      const struct kp_node *node, const struct kp_file *file);
/* "2.1.9" or "containerd github.com/… v2.1.9 abc" -> the first word that is a version, without the
 * v; "" where there is none. out has size bytes. */
void kp_runtime_version(char *out, size_t size, const char *said);
