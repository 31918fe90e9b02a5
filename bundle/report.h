/* SPDX-License-Identifier: Apache-2.0 */
/* What was found out about a bundle, as JSON: for kpack verify, kinstall audit and the audit log.
 */
#pragma once

#include "bundle/bundle.h"

/* [{"key", "name" or null, "state": "valid" "unknown_key"}] */
json_t *kp_bundle_signers_json(const struct kp_signers *signers);
