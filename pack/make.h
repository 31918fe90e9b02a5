/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Manifests that are made at pack time of what their URL has: charts are rendered by the release's
 * helm, texts edited. The result is a blob like any other; its digest stands in the lock, so that
 * the same lock gives the same bytes, or an error.
 */
#pragma once

#include "pack/cache.h"
#include "pack/plan.h"

/* The result is known and in the cache: nothing is to be fetched or made. */
bool kp_make_is_done(const struct kp_cache *cache, const struct kp_plan_manifest *manifest);
/* The helm for this machine where a chart is still to be rendered, else NULL. */
const struct kp_plan_file *kp_make_helm(const struct kp_plan *plan, const struct kp_cache *cache);
/*
 * Makes what is not done, out of the cache (helm's archive and each manifest's own bytes are
 * there). Where the plan knew the result's digest another result is KP_FAILED
 * "rendered_differently"; else a chart that renders differently the second time is named in
 * *unsteady (borrowed). Of manifests that say so the images that the text names (as pack/scan.h
 * finds them) are added to the plan.
 */
KP_CHECK int kp_make(struct kp_plan *plan, struct kp_cache *cache, const char **unsteady,
                     struct kp_err *err);
