/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `kinstall audit` finds out: the log's own state, what was installed where by whom, and with
 * --nodes how the nodes differ from it and from the signed bundle. Nothing is changed on a node.
 */
#pragma once

#include "install/audit/audit_log.h"
#include "install/step.h"

#define KP_AUDIT_TRUST "/etc/kpack/trusted.d" /* of a node */

/* The end of a run: what the cluster's own programs made is noted, the nodes write down the head of
 * the log, audit.head is kept. failed: why the run stopped, or NULL. */
KP_CHECK int kp_audit_end(struct kp_site *site, const char *failed, struct kp_err *err);

/* {"name", "reached", "differences": [{"what", "path", "text"}], "files", "images"}: what differs
 * is "changed" "missing" "mode" "extra" "image" "bundle" "log" "unreachable". json_decref. */
KP_CHECK int kp_audit_node(const struct kp_site *site, struct kp_site_node *node,
                           const struct kp_audit_book *book, json_t **out, struct kp_err *err);

/* Pure parts, for tests. Whether a file that nobody placed, found at this path, matters to us. */
bool kp_audit_is_watched(const char *path);
/* Whether the cluster's own programs (kubeadm, network plugins) make it. */
bool kp_audit_is_made_by_cluster(const char *path);
/* Compares one file of a survey with what was recorded ("sha256" or "hmac", "mode", "uid", "gid");
 * a difference is added to list. signed_digest: of the manifest, or NULL. */
void kp_audit_compare(json_t *list, const json_t *wanted, const struct kp_digest *signed_digest,
                      const json_t *found);
/* `ctr images ls` against the manifest: each that did not come out of it is added. Returns how many
 * there were. */
size_t kp_audit_images(json_t *list, const struct kp_manifest *manifest, struct kp_slice listing);
/* The node's trust folder as a survey found it, digests and all, against whom the site trusts: keys
 * and trust lists that the site does not know, or that were altered. Loose keys beside a trust list
 * are no keys any more. */
KP_CHECK int kp_audit_keys(json_t *list, const struct kp_trust *trust, const json_t *found,
                           struct kp_err *err);
/* What lies in a mirror's folder of bundles and was not sent there by kinstall: files of the book
 * (may be NULL), each with its mark, and what is half sent. */
void kp_audit_stray_bundles(json_t *list, const char *folder, const json_t *files,
                            const json_t *entries);
void kp_audit_differ(json_t *list, const char *what, const char *path, const char *fmt, ...)
    KP_PRINTF(4, 5);
/* The node's log as it is now against ours. */
void kp_audit_compare_log(json_t *list, const struct kp_audit_book *book, const char *node,
                          const struct kp_node_log_part *part);
/* The report without nodes; json_decref. */
json_t *kp_audit_report(const struct kp_audit_book *book, const char *state_folder,
                        const char *cluster);
/* One page for people. */
void kp_audit_print(const json_t *report, FILE *out);
