/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small signed documents: trust lists and revocations. A document is its exact bytes and the same
 * signature block as bundle.sig's, over those bytes: NAME.json and NAME.sig beside it. Each carries
 * its own `kind`, so that a signature over one can never be taken for a signature over another.
 */
#pragma once

#include "bundle/sign.h"
#include "core/json.h"

#define KP_DOCUMENT_MAX ((size_t)64 << 10)

struct kp_document {
    char *text; /* NUL-terminated */
    size_t len;
    struct kp_digest id; /* SHA-256 of the text */
    struct kp_signature_set signatures;
};
void kp_document_free(struct kp_document *document);
KP_DEFINE_AUTO(kp_document);
/* Takes the text (kp_free'd with the document). */
struct kp_document *kp_document_new(char *text, size_t len);
/* FILE.json and FILE.sig; without the latter it is unsigned. KP_USAGE, KP_UNTRUSTED
 * "bad_signature_block". */
KP_CHECK int kp_document_load(struct kp_document **out, const char *path, struct kp_err *err);
/* Writes both, the signatures first. */
KP_CHECK int kp_document_save(const struct kp_document *document, const char *path,
                              struct kp_err *err);
KP_CHECK int kp_document_sign(struct kp_document *document, const struct kp_key *key,
                              struct kp_err *err);
/* {"document": TEXT, "signatures": LINES}: as it travels inside bundle.json and to a node. */
json_t *kp_document_json(const struct kp_document *document);
KP_CHECK int kp_document_from_json(struct kp_document **out, const json_t *value,
                                   struct kp_err *err);
struct kp_slice kp_document_slice(const struct kp_document *document);
/* Parses; the kind is checked first, and *arena becomes the caller's with *out. KP_UNTRUSTED
 * "bad_document". */
KP_CHECK int kp_document_parse(json_t **out, const struct kp_document *document, const char *kind,
                               struct kp_err *err);
/* A document has one form only: value dumped again must be its bytes. */
KP_CHECK int kp_document_canonical(const struct kp_document *document, json_t *value,
                                   struct kp_err *err);
