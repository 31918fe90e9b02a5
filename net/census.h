/* SPDX-License-Identifier: Apache-2.0 */
/* How many connections there are, in all and from each address. Thread-safe. */
#pragma once

#include "net/net.h"

struct kp_census;
struct kp_census *kp_census_new(unsigned total, unsigned per_address); /* per_address 0: no limit */
void kp_census_free(struct kp_census *census);
KP_DEFINE_AUTO(kp_census);
/* Counts one in; false where a limit is reached. IPv6 counts by /64: a host has all of it. */
bool kp_census_enter(struct kp_census *census, const struct kp_net_address *address);
void kp_census_leave(struct kp_census *census, const struct kp_net_address *address);
