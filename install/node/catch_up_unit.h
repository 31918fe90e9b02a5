/* SPDX-License-Identifier: Apache-2.0 */
/* What a mirror that catches up (catch_up.h) reads and writes: its unit kregistry.service, and what
 * that is to name. Pure. */
#pragma once

#include "bundle/manifest.h"
#include "bundle/served.h"

#define KP_CATCH_UP_SERVICE "kpack-catch-up.service"
#define KP_CATCH_UP_TIMER "kpack-catch-up.timer"
#define KP_CATCH_UP_UNIT_MAX ((size_t)256 << 10)      /* of kregistry.service */
#define KP_CATCH_UP_HOLDER "this mirror, catching up" /* how the node's lock begins then */

/* The ids that kinstall's kregistry.service serves, in order, out of files of that folder, and
 * since when. KP_FAILED "foreign_unit" where it is not as kinstall writes it. */
KP_CHECK int kp_catch_up_read_unit(struct kp_served_list *out, struct kp_slice text,
                                   const char *folder, struct kp_err *err);
/* The same unit with these; kp_free. text as read. */
char *kp_catch_up_write_unit(struct kp_slice text, const char *folder,
                             const struct kp_served_list *wanted);
/* What is to be served once `fresh` has come, which a mirror serves as the first of `said`: it, its
 * bases, and what that mirror serves beside them, where all of that is served here already.
 * KP_FAILED "too_many". Only ids and accepted are set. */
KP_CHECK int kp_catch_up_plan(struct kp_served_list *out, const struct kp_manifest *fresh,
                              const struct kp_served_list *said, const struct kp_served_list *own,
                              struct kp_err *err);
