/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes into a network plugin's manifest in the places that the release file names (`replace`,
 * docs/releases.md; manifests/replace.h has the list): each plugin is told in its own way. Pure.
 */
#pragma once

#include "install/step.h"

/* The text in place of replace->find, out of the inventory and the nodes' facts; `text` is the
 * whole manifest. NULL where replace->with is none of a plugin's. kp_free. */
char *kp_plugin_value(const struct kp_site *site, const struct kp_replace *replace,
                      const char *text);
/* Keys that `with` writes because the inventory says so: what a chart's values said of them goes.
 * The i-th, or NULL. */
const char *kp_plugin_writes(const struct kp_site *site, const char *with, size_t i);
