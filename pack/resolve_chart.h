/* SPDX-License-Identifier: Apache-2.0 */
/* Charts of the command line, and the helm that renders those and the release's. */
#pragma once

#include "pack/resolve.h"

/* Adds --chart and --values of the request to a plan that has all else; helm is the release's or
 * NULL. */
KP_CHECK int kp_resolve_charts(struct kp_plan *plan, const struct kp_request *request,
                               const struct kp_release_file *helm, struct kp_err *err);
