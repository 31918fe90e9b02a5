/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What add-ons and the user's own manifests have put into the cluster: one ConfigMap there,
 * kube-system/kpack-addons, with a document per add-on. So an upgrade knows what to prune, and
 * `kinstall remove-addon` takes exactly what was applied, from any admin host.
 */
#pragma once

#include "install/step.h"
#include "manifests/listing.h"

#define KP_RECORDS_NAMESPACE "kube-system"
#define KP_RECORDS_NAME "kpack-addons"
#define KP_RECORDS_MAX 256
#define KP_RECORD_SIZE_MAX ((size_t)768 << 10)

struct kp_record_object {
    const char *api_version, *kind, *namespace_, *name;
    bool foreign; /* it was there before and not ours: never deleted */
};
struct kp_record {
    const char *name, *version;
    const char *removed; /* when kinstall remove-addon took it away; NULL: it is there */
    struct kp_record_object *objects; /* in the order in which they were applied */
    size_t count;
    const char **programs; /* names of its containers and images; NULL-terminated */
};
struct kp_records {
    struct kp_arena *arena; /* all texts live here */
    struct kp_record items[KP_RECORDS_MAX];
    size_t count;
    bool known; /* false: the cluster is not there to be asked */
};
void kp_records_free(struct kp_records *records);
KP_DEFINE_AUTO(kp_records);
/* Asks the cluster; empty where there is none yet. */
KP_CHECK int kp_records_load(struct kp_records **out, struct kp_site *site, struct kp_err *err);
/* The same out of the ConfigMap's document, or none where it is NULL. KP_DAMAGED where it is not as
 * we write it. */
KP_CHECK int kp_records_read(struct kp_records **out, const json_t *config_map, struct kp_err *err);
/* The ConfigMap as JSON; kp_free. KP_FAILED where a name cannot be a key or all is too large. */
KP_CHECK int kp_records_dump(char **out, const struct kp_records *records, struct kp_err *err);
KP_CHECK int kp_records_store(const struct kp_records *records, struct kp_site *site,
                              struct kp_err *err);
/* NULL where it is not known. */
struct kp_record *kp_records_find(struct kp_records *records, const char *name);
/* The one that is there, or a new empty one. KP_FAILED where there are too many. */
KP_CHECK int kp_records_add(struct kp_records *records, const char *name, struct kp_record **out,
                            struct kp_err *err);
bool kp_record_has(const struct kp_record *record, const struct kp_record_object *object);
/* "kube-system/ConfigMap x", for people; in the arena. */
const char *kp_record_text(struct kp_arena *arena, const struct kp_record_object *object);
