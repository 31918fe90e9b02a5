/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a site has already, out of --base bundles (their signatures checked, their manifests read:
 * a signed list of digests is enough to know what is there, so the file need not be hashed) and of
 * a --have receipt; and which blobs of a new bundle are left out because of it.
 *
 * What a site needs before its mirrors serve the delta always travels: our own programs, manifests
 * for the cluster, and the documents of images (indexes and manifests). Left out is the rest:
 * node files and the configs and layers of images.
 */
#pragma once

#include "bundle/bundle.h"
#include "bundle/receipt.h"
#include "core/cli.h"
#include "pack/plan.h"

struct kp_held; /* what the site has */
/* files: --base; receipt: --have, or NULL. Errors are the reader's, with the option's name. *out
 * is NULL where neither was given. */
KP_CHECK int kp_held_load(struct kp_held **out, const struct kp_text_list *files,
                          const char *receipt, const struct kp_trust *trust, struct kp_err *err);
void kp_held_free(struct kp_held *held);
KP_DEFINE_AUTO(kp_held);
/* With a lock: exactly the bases that it names are used. KP_MISSING "missing_base" where one was
 * not given. held may be NULL. Without a lock: serials are compared (KP_USAGE). */
KP_CHECK int kp_held_settle(struct kp_held *held, const struct kp_plan *plan, bool locked,
                            struct kp_err *err);
/* Whether this image blob of that media type is there and would be left out. held may be NULL. */
bool kp_held_leaves_out(const struct kp_held *held, const struct kp_digest *blob,
                        const char *media_type);
/* The blob in which a base holds the file with this content, whatever compressed it; NULL. */
const struct kp_receipt_blob *kp_held_file(const struct kp_held *held,
                                           const struct kp_digest *content);
/* For the estimate before files are fetched: stored bytes of the files that came from this URL. */
uint64_t kp_held_from(const struct kp_held *held, const char *url, const char *arch);
/* Names, in a finished list of blobs (settled, sorted), the base of each that is left out, and sets
 * `bases` to those that are used; the same in the plan, for the lock. The newest serial goes first.
 * KP_USAGE where more than KP_BASES_MAX are needed. held may be NULL. */
KP_CHECK int kp_held_apply(const struct kp_held *held, struct kp_plan *plan, struct kp_manifest *m,
                           struct kp_err *err);
/* Needed before any mirror serves this bundle: travels in every delta. */
bool kp_delta_must_carry(const struct kp_manifest *m, const struct kp_blob *blob);
