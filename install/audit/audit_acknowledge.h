/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owning up to what is wrong with the audit log: a log that was lost, a line that was changed, a
 * node that was made anew. Somebody says why, in a record of the log itself ("acknowledged": who,
 * reason, what), which every audit shows; what it names is no difference any more. What differs in
 * files, images and units is never taken back so: that is mended by an apply.
 */
#pragma once

#include "install/audit/audit_log.h"

#define KP_AUDIT_REASON_MAX 500
#define KP_AUDIT_FINDINGS_MAX 2000

/* A finding: {"node" ("" for the site's own log), "text", and "line" (of the site's log) or
 * "digest" (of a line that a node was told of) where there is one}. Takes what was acknowledged out
 * of the list of a node's differences; how many those were. */
size_t kp_audit_forgive(const struct kp_audit_book *book, const char *node, json_t *differences);
/* The same for the book's own problems, those of its chain too. */
void kp_audit_forgive_book(struct kp_audit_book *book);
/* What could be owned up to: problems of the book; json_decref. */
json_t *kp_audit_findings_of_book(const struct kp_audit_book *book);
/* Adds a node's differences in its log (kp_audit_compare_log), those that were not acknowledged. */
void kp_audit_add_findings(json_t *findings, const char *node, const json_t *differences);
