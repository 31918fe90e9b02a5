/* SPDX-License-Identifier: Apache-2.0 */
/* What kp_cis_report() judges, gathered from nodes and API server. */
#pragma once

#include "install/check/cis.h"

#define KP_CIS_PROVIDER                                                                            \
    "encryption-provider-config: its first provider" /* beside the arguments                       \
                                                      */

/* nodes has room for one more than the site has nodes: the last is the cluster itself. What they
 * point to lives as long as *evidence (json_decref). */
KP_CHECK int kp_cis_ask(json_t **evidence, struct kp_cis_node *nodes, size_t *count,
                        struct kp_site *site, struct kp_err *err);
/* Adds to out what the API server says to requests that change nothing (server-side dry run, access
 * reviews): {"hostPID": "refused", "get secrets": "refused", …}; cis_try.c. */
KP_CHECK int kp_cis_try(json_t *out, struct kp_site *site, struct kp_err *err);
