/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registry client, on top of fetch_http: OCI distribution spec v1.1, pull side, with Docker's token
 * protocol. Two steps, so that the plan can be printed between them:
 *
 *   kp_oci_resolve   index -> manifests of the chosen architectures -> configs; all small documents
 *                    land in the cache, layers are named with their sizes
 *   kp_oci_download  all blobs of all images through the one engine, shared ones once
 *
 * Digests are always checked over the exact bytes. Refused: schema 1, documents with both layers
 * and manifests, a mediaType other than the Content-Type, layers that live elsewhere (foreign,
 * `urls`), anything past the limits. Attestation children are not followed; an index's bytes are
 * never changed.
 */
#pragma once

#include "pack/fetch_http.h"
#include "pack/reference.h"

#define KP_OCI_MANIFEST_MAX ((size_t)4 << 20)
#define KP_OCI_CONFIG_MAX ((size_t)8 << 20)
#define KP_OCI_LAYERS_MAX 512
#define KP_OCI_CHILDREN_MAX 1024 /* of one index */
#define KP_OCI_NESTING_MAX 2     /* an index in an index */
#define KP_OCI_ARCHES_MAX 8

enum kp_oci_kind { KP_OCI_INDEX, KP_OCI_MANIFEST, KP_OCI_CONFIG, KP_OCI_LAYER };

struct kp_oci_blob {
    enum kp_oci_kind kind;
    struct kp_digest digest;
    uint64_t size;
    const char *media_type;
    const char
        *arch; /* "amd64"; NULL for an index. A layer that several share is listed for each */
};

struct kp_oci_image {
    /* set by the caller, borrowed */
    const char *reference;     /* any form */
    const char *const *arches; /* NULL-terminated: "amd64", "arm64", "arm/v7" */
    const struct kp_digest
        *digest; /* the root must be this (a lock, a release's digest); NULL: as resolved */
    /* found; strings live in the client */
    struct kp_reference parsed;
    struct kp_digest root;  /* of the index, or of the manifest where there is no index */
    const char *media_type; /* of the root */
    uint64_t root_size;
    struct kp_oci_blob *blobs; /* root first, then each arch: manifest, config, layers in order */
    size_t blob_count;
    uint64_t download; /* bytes not in the cache yet, shared layers counted once in this image */
};

struct kp_oci; /* a client: tokens, parsed documents */
/* credentials: docker's config.json and helpers are read on first need. fetch is borrowed. */
struct kp_oci *kp_oci_new(struct kp_fetch *fetch);
void kp_oci_free(struct kp_oci *oci);
KP_DEFINE_AUTO(kp_oci);

/* Resolves all images in parallel. Where the caller gives a digest and the cache has every
 * document, no request is made. Errors name the reference: KP_MISSING for an architecture that an
 * image lacks (it says which there are), KP_DAMAGED for bytes that differ from a digest,
 * "unexpected_digest" where the registry's root is not the caller's. */
KP_CHECK int kp_oci_resolve(struct kp_oci *oci, struct kp_oci_image *images, size_t count,
                            struct kp_err *err);
/* Blobs for which this says yes are not fetched. */
typedef bool kp_oci_unneeded(void *user, const struct kp_digest *blob, const char *media_type);
void kp_oci_leave_out(struct kp_oci *oci, kp_oci_unneeded *unneeded, void *user);
/* Queues what the cache lacks (each blob once), without running: kp_fetch_run does, with all other
 * jobs of the caller. */
void kp_oci_queue(struct kp_oci *oci, const struct kp_oci_image *images, size_t count);
/* kp_oci_queue and kp_fetch_run. */
KP_CHECK int kp_oci_download(struct kp_oci *oci, const struct kp_oci_image *images, size_t count,
                             struct kp_err *err);
