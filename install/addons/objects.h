/* SPDX-License-Identifier: Apache-2.0 */
/* The objects of a record, as the cluster has them: which are there, whose they are; deleting. */
#pragma once

#include "install/addons/records.h"

#define KP_DELETE_S 180

enum kp_object_state {
    KP_OBJECT_ABSENT,
    KP_OBJECT_OURS,      /* kinstall has applied it */
    KP_OBJECT_UNCLAIMED, /* nobody has a field of it, as where nothing but a name was applied */
    KP_OBJECT_OTHERS
};
/* states[i] of objects[i]. Kinds that the cluster does not know are absent. */
KP_CHECK int kp_objects_states(struct kp_site *site, const struct kp_record_object *objects,
                               size_t count, enum kp_object_state *states, struct kp_err *err);
/* Reads what kubectl printed, "apiVersion|kind|namespace|name|manager:operation,…" a line. */
void kp_objects_read_states(struct kp_slice text, const struct kp_record_object *objects,
                            size_t count, enum kp_object_state *states);
/* Deletes them, the last one first, and waits until they are gone. */
KP_CHECK int kp_objects_delete(struct kp_site *site, const struct kp_record_object *objects,
                               size_t count, struct kp_err *err);
/* What is in the namespace or of the kind (a CustomResourceDefinition) that neither the record
 * lists nor its programs or the cluster itself made, as "Kind name" texts; json_decref. `container`
 * is one of the record's objects. */
KP_CHECK int kp_objects_strangers(struct kp_site *site, const struct kp_record *record,
                                  const struct kp_record_object *container, json_t **out,
                                  struct kp_err *err);
/* The part of it that asks nothing: list is kubectl's. */
json_t *kp_objects_judge(const struct kp_record *record, const json_t *list);
bool kp_object_is(const struct kp_record_object *object, const char *kind);
