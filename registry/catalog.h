/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What several signed manifests offer together: tags by (registry host, repository), blobs by
 * digest. The bundle with the newest serial wins a tag. Immutable once made, so thread-safe; no
 * I/O.
 */
#pragma once

#include "bundle/manifest.h"
#include "bundle/served.h"

#define KP_REGISTRY_BUNDLES_MAX KP_SERVED_MAX
#define KP_HOST_MAX 256

struct kp_offer { /* one bundle */
    const struct kp_manifest *manifest;
    uint64_t size; /* of its file */
};
struct kp_tag {
    const char *host, *repository, *tag; /* tag "" where the image is known by digest only */
    const struct kp_image *image;
    uint64_t serial;
    size_t bundle; /* the offer it came from */
};
struct kp_holding { /* where a blob lies */
    const struct kp_blob *blob;
    size_t bundles[KP_REGISTRY_BUNDLES_MAX];
    size_t count;
};

struct kp_catalog;
/* offers are copied, the manifests borrowed. */
struct kp_catalog *kp_catalog_new(const struct kp_offer *offers, size_t count);
/* When the first offer was accepted, in seconds; 0 where nobody said so. */
void kp_catalog_set_accepted(struct kp_catalog *catalog, uint64_t accepted);
uint64_t kp_catalog_accepted(const struct kp_catalog *catalog);
void kp_catalog_free(struct kp_catalog *catalog);
KP_DEFINE_AUTO(kp_catalog);
const struct kp_offer *kp_catalog_offer(const struct kp_catalog *catalog, size_t i);
size_t kp_catalog_offers(const struct kp_catalog *catalog);
/* All tags, sorted by repository, host, tag; each (host, repository, tag) once. */
const struct kp_tag *kp_catalog_tags(const struct kp_catalog *catalog, size_t *count);
/* The tags of one repository over all hosts; NULL and 0 where it is unknown. */
const struct kp_tag *kp_catalog_repository(const struct kp_catalog *catalog, const char *repository,
                                           size_t *count);
/* False where no bundle at hand holds it (it may be in a base that was not given). */
bool kp_catalog_blob(const struct kp_catalog *catalog, const struct kp_digest *digest,
                     struct kp_holding *out);
/* True for image manifests and indexes, OCI's and docker's. */
bool kp_is_manifest_type(const char *media_type);
