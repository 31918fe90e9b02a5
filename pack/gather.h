/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that a plan names, into the cache. Two stages, so that the plan can be shown and
 * checked for completeness before the large part: documents (image manifests, cluster manifests),
 * then blobs and files, packed while they come. What was seen is written into the plan. Broken off
 * at any moment and begun again it goes on where it was: the cache has what was complete.
 */
#pragma once

#include "pack/base.h"
#include "pack/fetch_oci.h"
#include "pack/packer.h"
#include "pack/probe.h"
#include "pack/scan.h"

struct kp_gather {
    struct kp_plan *plan;       /* borrowed */
    struct kp_cache *cache;     /* borrowed */
    struct kp_fetch *fetch;     /* borrowed */
    const struct kp_held *held; /* borrowed; what the site has; NULL unless the caller sets it */
    struct kp_oci *oci;
    struct kp_oci_image *images; /* one for each of the plan, after kp_gather_documents */
    struct kp_fetch_job *jobs;   /* of files, then of manifests, then helm's */
    struct kp_compression how;
    struct kp_packer *packer;
    struct kp_probe probe;
    const char *unsteady; /* a chart that renders differently each time, or NULL */
};
struct kp_gather *kp_gather_new(struct kp_plan *plan, struct kp_cache *cache,
                                struct kp_fetch *fetch);
void kp_gather_free(struct kp_gather *gather);
KP_DEFINE_AUTO(kp_gather);

/* Fetches cluster manifests, makes those that are made (pack/make.h), resolves images, also the
 * ones that were found in rendered charts; digests of the plan are known afterwards. */
KP_CHECK int kp_gather_documents(struct kp_gather *gather, struct kp_err *err);
/* Looks for images that are missing (pack/scan.h); and that what shall be replaced in manifests is
 * there. */
KP_CHECK int kp_gather_scan(struct kp_gather *gather, struct kp_scan *scan, struct kp_err *err);
/* Fetches and packs the rest. */
KP_CHECK int kp_gather_blobs(struct kp_gather *gather, struct kp_err *err);

struct kp_gather_sizes {
    uint64_t fetch;  /* bytes that are still to be fetched, as far as sizes are known */
    uint64_t cached; /* bytes that the cache has */
    size_t unknown;  /* files still to be fetched whose size nobody has told yet */
    uint64_t saved;  /* about what the site has already and is left out */
    uint64_t bundle; /* about what the bundle will have, without the unknown */
};
struct kp_gather_sizes kp_gather_measure(const struct kp_gather *gather);
