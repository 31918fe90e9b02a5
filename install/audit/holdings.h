/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the site's mirrors hold already: for deltas, whose bases may lie there, and for the site
 * receipt.
 */
#pragma once

#include "bundle/receipt.h"
#include "install/step.h"

/* For each base of a delta that was not given by --base: which mirror has it; into site->bases.
 * Asks connected mirrors only. KP_MISSING "missing_base" with the list of those that are nowhere.
 * Nothing is asked where the bundle is no delta. */
KP_CHECK int kp_holdings_find(struct kp_site *site, struct kp_err *err);
/* Everything that the mirrors hold; a mirror that was not reached is an error. *out:
 * kp_receipt_free. */
KP_CHECK int kp_holdings_receipt(struct kp_site *site, struct kp_receipt **out, struct kp_err *err);
