/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "core/buf.h"

/* Input for `iptables-restore --noflush` that takes away the chains KUBE-*, CNI-* and FLANNEL-* of
 * one table and the rules that jump to them, and nothing else; "" where there are none. save: the
 * output of iptables-save -t TABLE. kp_free. */
char *kp_reset_rules(struct kp_slice save, const char *table);
