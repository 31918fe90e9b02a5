/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Completeness: what cluster manifests and kubeadm's static pods will ask for must be in the
 * bundle, or be waived by name. Every scalar of every document is looked at, ConfigMaps,
 * environment and arguments too. A word counts as an image reference where it is HOST/PATH with a
 * tag or digest; or, beneath a key (or an environment variable) with "image" in its name, any
 * reference with a tag or digest; or anything under a key that is just "image".
 */
#pragma once

#include "pack/plan.h"

struct kp_scan_miss {
    const char *reference; /* full form */
    const char *where;     /* "kube-flannel.yml:142:16" */
    const char *path;      /* "spec.template.spec.containers[0].image" */
    const char *detail;    /* "" or why the one that is there does not do */
};
struct kp_scan {
    struct kp_arena *arena;
    const struct kp_plan *plan;
    struct kp_scan_miss *missing;
    size_t missing_count, missing_room;
    size_t references; /* that were looked at, waived and present ones too */
    size_t manifests, static_pods;
};
/* plan must outlive the scan. */
struct kp_scan *kp_scan_new(const struct kp_plan *plan);
void kp_scan_free(struct kp_scan *scan);
KP_DEFINE_AUTO(kp_scan);
/* Reads one manifest; `name` stands in places. Text that is no YAML is KP_USAGE. */
KP_CHECK int kp_scan_manifest(struct kp_scan *scan, struct kp_slice text, const char *name,
                              struct kp_err *err);
/* kubeadm's static pods and add-ons, by the release's names and the tags that kubeadm takes. */
void kp_scan_static_pods(struct kp_scan *scan);
/* 0 where nothing is missing; else KP_MISSING "missing_image" that names the first and how many
 * more. */
KP_CHECK int kp_scan_result(const struct kp_scan *scan, struct kp_err *err);
