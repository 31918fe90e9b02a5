/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of preflight: each looks at facts and adds what it finds. Private to preflight*.c. */
#pragma once

#include "install/check/preflight.h"

struct kp_look { /* one node being looked at */
    const struct kp_site *site;
    const struct kp_site_node *node;
    const json_t *system, *kernel, *network, *leftovers; /* parts of the facts; may be NULL */
    bool ours; /* the node's record says that this cluster was begun there */
    struct kp_findings *out;
};
typedef void kp_rule(const struct kp_look *look);

void kp_found(const struct kp_look *look, enum kp_level level, const char *check, const char *next,
              const char *fmt, ...) KP_PRINTF(5, 6);
json_int_t kp_fact_number(const json_t *part, const char *key);

kp_rule kp_rule_os, kp_rule_arch, kp_rule_cgroups, kp_rule_cpu, kp_rule_memory, kp_rule_disk,
    kp_rule_clock, kp_rule_swap, kp_rule_capabilities, kp_rule_modules, kp_rule_kernel,
    kp_rule_programs, kp_rule_security, kp_rule_proxy; /* preflight_host.c */
kp_rule kp_rule_address, kp_rule_ports, kp_rule_networks, kp_rule_leftovers,
    kp_rule_runtimes; /* preflight_cluster.c */
void kp_rule_duplicates(const struct kp_site *site,
                        struct kp_findings *out); /* preflight_cluster.c */
