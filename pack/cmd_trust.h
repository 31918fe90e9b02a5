/* SPDX-License-Identifier: Apache-2.0 */
/* Trust lists and revocations are made where the keys are; a site imports them. */
#pragma once

#include "core/cli.h"

extern const struct kp_command kp_cmd_trust_lists, kp_cmd_revoke;
