/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes into Flannel's manifest in the places that the release file names (`replace`,
 * docs/releases.md). Pure.
 */
#pragma once

#include "install/step.h"

/* The text for with: "flannel-network", "flannel-backend" or "flannel-args", out of the inventory
 * and the nodes' facts (MTU); NULL for any other. kp_free. */
char *kp_flannel_value(const struct kp_site *site, const char *with);
