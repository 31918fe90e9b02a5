/* SPDX-License-Identifier: Apache-2.0 */
/* What single texts of an inventory may be. */
#pragma once

#include "core/mem.h"

bool kp_rule_name(const char *text);  /* of a cluster, node, namespace: a-z, 0-9, '-', at most 63 */
bool kp_rule_user(const char *text);  /* of a Unix user */
bool kp_rule_plain(const char *text); /* one word without quotes or commas, at most 253 */
bool kp_rule_domain(const char *text);
bool kp_rule_version(const char *text); /* v1.30, v1.30.14 */
bool kp_rule_endpoint(const char *text);
bool kp_rule_interface(const char *text);
bool kp_rule_folder(const char *text); /* absolute, plain characters */
bool kp_rule_host_key(const char *text);
/* systemd's calendar events (systemd.time(7)), by their letters; `systemd-analyze calendar` on the
 * node judges the rest. */
bool kp_rule_schedule(const char *text);
/* Labels (kubernetes.io, "Labels and Selectors"). */
bool kp_rule_label_key(const char *text);
bool kp_rule_label_value(const char *text);
/* A component's argument and what it is set to: it stands in quotes in YAML. */
bool kp_rule_arg(const char *text);
bool kp_rule_arg_value(const char *text);
bool kp_rule_gate(const char *text);
bool kp_rule_bool(const char *text);
bool kp_rule_mount(const char *text); /* a path that YAML takes without quotes */
bool kp_rule_annotation(const char *text);
/* Kernel parameters; knode takes the same letters. */
bool kp_rule_sysctl(const char *text);
bool kp_rule_sysctl_value(const char *text);
