/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Add-ons of the release and what the user gave (--manifest, --chart): the bundle's manifests that
 * are not the network's, grouped by name. Applied in order, noted on the cluster, checked,
 * pruned, and taken away again.
 */
#pragma once

#include "install/addons/records.h"
#include "install/check/health_report.h"

/* The manifests first … of one add-on, next is the first of another; false at the end. Those of the
 * network are passed over. */
struct kp_addon {
    const char *name, *version, *why;
    size_t first, next; /* of the bundle's manifests */
};
bool kp_addons_next(const struct kp_manifest *manifest, struct kp_addon *addon);
/* Its text as this site wants it, as one stream of documents. */
KP_CHECK int kp_addon_render(struct kp_site *site, const struct kp_addon *addon, struct kp_buf *out,
                             struct kp_err *err);

/* Applies each, in order: namespaces and CRDs first, the rest once the CRDs are established; what a
 * newer version no longer has is deleted. The workloads of what the user gave are waited for before
 * the next one. Those that were taken away by kinstall remove-addon stay away. */
KP_CHECK int kp_addons_apply(struct kp_site *site, struct kp_err *err);
/* Waits for the workloads of all. */
KP_CHECK int kp_addons_await(struct kp_site *site, struct kp_err *err);
/* The same of one. */
KP_CHECK int kp_addon_await(struct kp_site *site, struct kp_records *records,
                            const struct kp_addon *addon, struct kp_err *err);
/* ", metrics-server 0.9.0, local-path 0.0.30", with those that were left out. */
void kp_addons_describe(const struct kp_site *site, char *out, size_t size);
/* The checks of each, noted as "add-on NAME". deep: also those that make something. */
KP_CHECK int kp_addons_check(struct kp_health *health, struct kp_site *site, bool deep,
                             struct kp_err *err);
/* Takes one away: what the record lists, in reverse order, of it only what is still ours. A
 * namespace or kind that holds something else stays, unless `whole`; `stays` (json array of texts)
 * says what does and why. */
KP_CHECK int kp_addon_remove(struct kp_site *site, struct kp_records *records,
                             struct kp_record *record, bool whole, json_t *stays,
                             struct kp_err *err);
/* The same of a part of a record (`part`; `whole_record` is all of it), without noting anything. */
KP_CHECK int kp_addon_delete(struct kp_site *site, struct kp_records *records,
                             const struct kp_record *part, const struct kp_record *whole_record,
                             bool whole, json_t *stays, struct kp_err *err);
