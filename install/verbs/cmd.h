/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of kinstall; each cmd_*.c has one or two and their options. */
#pragma once

#include "core/cli.h"

struct kp_apply_options;
extern const struct kp_command kp_cmd_apply, kp_cmd_main, kp_cmd_plan, kp_cmd_check, kp_cmd_status,
    kp_cmd_receipt, kp_cmd_reset, kp_cmd_trust, kp_cmd_audit, kp_cmd_upgrade, kp_cmd_rollback,
    kp_cmd_convert, kp_cmd_kubeconfig, kp_cmd_kubectl, kp_cmd_etcd, kp_cmd_certs, kp_cmd_remove,
    kp_cmd_support, kp_cmd_explain, kp_cmd_encryption, kp_cmd_runtime, kp_cmd_remove_addon;
