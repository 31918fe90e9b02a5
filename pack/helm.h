/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running helm: in a folder of its own that is its HOME and all it can be expected to write to,
 * with no environment but that, no plugins, no repositories, no network (core/confine.h), bounded
 * time and output.
 */
#pragma once

#include "pack/cache.h"
#include "pack/plan.h"

#define KP_HELM_TIMEOUT_S 120.0

struct kp_helm; /* a folder with the program */
KP_CHECK int kp_helm_open(struct kp_helm **out, struct kp_cache *cache,
                          const struct kp_plan_file *helm, struct kp_err *err);
void kp_helm_free(struct kp_helm *helm); /* removes the folder */
KP_DEFINE_AUTO(kp_helm);
/* `helm template NAME CHART --include-crds --skip-tests`, the values in order; *out is kp_free.
 * What helm says is the error (KP_FAILED "helm_failed"). */
KP_CHECK int kp_helm_render(struct kp_helm *helm, struct kp_cache *cache,
                            const struct kp_plan_manifest *chart, const char *kubernetes,
                            char **out, size_t *len, struct kp_err *err);
