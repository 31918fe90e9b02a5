/* SPDX-License-Identifier: Apache-2.0 */
/* What was found out about a bundle, as JSON: for kpack verify, kinstall audit and the audit log.
 */
#pragma once

#include "bundle/bundle.h"

/* [{"key", "name" or null, "state": "valid" "unknown_key"}] */
json_t *kp_bundle_signers_json(const struct kp_signers *signers);
/* kp_bundle_verify, and what it found of every entry: [{"path", "what", "size", "sha256", "state":
 * "ok" "damaged" "unchecked", "ranges": [[first, last]] in the file}], the end of the archive last.
 * *entries is set whatever comes out (json_decref). Without options->all what lies behind a damage
 * is unchecked. */
KP_CHECK int kp_bundle_verify_entries(struct kp_bundle *bundle,
                                      const struct kp_verify_options *options, json_t **entries,
                                      struct kp_err *err);
