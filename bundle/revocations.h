/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Revocations (kind kpack.revocations/v1, docs/format.md): keys and bundle ids that count no more,
 * signed by the role revoke. Every bundle carries what its packer knew; a site and each node merge
 * it into what they know (revoked.json beside the keys) and never forget any of it.
 */
#pragma once

#include "bundle/document.h"

#define KP_REVOCATIONS_KIND "kpack.revocations/v1"
#define KP_REVOKED_MAX 4096   /* keys and bundles, together */
#define KP_REVOCATIONS_MAX 16 /* documents in a bundle */
#define KP_REVOKED_FILE "revoked.json"

struct kp_revoked; /* a set: keys and bundle ids, each with a reason for people */
struct kp_revoked *kp_revoked_new(void);
void kp_revoked_free(struct kp_revoked *revoked);
KP_DEFINE_AUTO(kp_revoked);
enum kp_revoked_what { KP_REVOKED_KEY, KP_REVOKED_BUNDLE };
/* One that is there already stays as it is. KP_USAGE beyond KP_REVOKED_MAX. */
KP_CHECK int kp_revoked_add(struct kp_revoked *revoked, enum kp_revoked_what what,
                            const struct kp_digest *id, const char *why, struct kp_err *err);
/* Adds all of `from`. */
KP_CHECK int kp_revoked_merge(struct kp_revoked *into, const struct kp_revoked *from,
                              struct kp_err *err);
/* The reason, or NULL where it is not revoked. revoked may be NULL. */
const char *kp_revoked_why(const struct kp_revoked *revoked, enum kp_revoked_what what,
                           const struct kp_digest *id);
size_t kp_revoked_count(const struct kp_revoked *revoked);
/* {"keys": [{"id", "why"}], "bundles": […]}, ascending by id. */
json_t *kp_revoked_json(const struct kp_revoked *revoked);
KP_CHECK int kp_revoked_from_json(struct kp_revoked *into, const json_t *value, struct kp_err *err);
/* The text of a document that revokes all of the set; kp_free. created: UTC. */
char *kp_revocations_dump(const struct kp_revoked *revoked, const char *created);
/* Parses a document, whoever signed it; *created (may be NULL) is kp_free'd. */
KP_CHECK int kp_revocations_read(struct kp_revoked *into, const struct kp_document *document,
                                 char **created, struct kp_err *err);
/* The same where trust's role revoke has signed it by its threshold. *counted is false where no
 * trusted key of that role signed it: then it says nothing here. A wrong signature by a trusted key
 * is an error. */
KP_CHECK int kp_revocations_take(struct kp_revoked *into, const struct kp_document *document,
                                 const struct kp_trust *trust, bool *counted, struct kp_err *err);
/* The folder's revoked.json into the set; fine where there is none. */
KP_CHECK int kp_revoked_load(struct kp_revoked *into, const char *folder, struct kp_err *err);
/* Merges the set into the folder's revoked.json (under a lock); *changed (may be NULL) where that
 * knew less. */
KP_CHECK int kp_revoked_keep(const struct kp_revoked *revoked, const char *folder, bool *changed,
                             struct kp_err *err);
