/* SPDX-License-Identifier: Apache-2.0 */
/* The objects of a rendered chart, put so that a plain apply does what Helm's install would. */
#pragma once

#include "core/buf.h"

/*
 * Helm gives the namespace beside the objects, and runs hooks by itself. Here: each object that
 * names no namespace and is of no kind without one is given `namespace_`; the namespace itself
 * comes first where the chart does not bring it and Kubernetes does not have it anyway; hooks stay
 * where they belong to an install (pre-install, post-install, also with others), and go where they
 * are only for deletion, rollback, upgrade or tests. All other bytes stay. `name` stands in errors
 * (KP_USAGE).
 */
KP_CHECK int kp_objects_settle(struct kp_buf *out, struct kp_slice yaml, const char *name,
                               const char *namespace_, struct kp_err *err);
