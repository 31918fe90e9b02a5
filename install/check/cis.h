/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checks of the CIS Kubernetes Benchmark 1.9 on what kinstall sets, against the running
 * cluster: what the API server says its own parts run with, what each kubelet answers, and the
 * modes and owners of files on the nodes. Checks of the benchmark that are not here are listed with
 * the reason.
 */
#pragma once

#include "install/step.h"

enum kp_cis_on {              /* what a check looks at */
                 KP_CIS_FILE, /* on every node that has it */
                 KP_CIS_API,
                 KP_CIS_CONTROLLER,
                 KP_CIS_SCHEDULER,
                 KP_CIS_ETCD,
                 KP_CIS_KUBELET, /* its running configuration */
                 KP_CIS_PROXY,   /* the ConfigMap */
                 KP_CIS_TRIED,   /* what the API server said to requests that change nothing */
                 KP_CIS_KINDS,
};
enum kp_cis_rule {
    KP_CIS_MODE,   /* no bit beyond value ("600") */
    KP_CIS_OWNER,  /* "root:root" */
    KP_CIS_EQUALS, /* the argument or field is value; not set counts as fallback */
    KP_CIS_NOT,    /* it is not value; not set is fine */
    KP_CIS_SET,    /* it is set and not empty */
    KP_CIS_UNSET,
    KP_CIS_HAS, /* a list, separated by commas, has value */
    KP_CIS_HAS_NOT,
    KP_CIS_LEAST, /* a number of at least value */
    KP_CIS_AMONG, /* each of a list is one of value's; not set is fine where the argument or field
                     named by fallback says TLS 1.3 */
};
struct kp_cis_check {
    const char *id, *title;
    enum kp_cis_on on;
    const char *subject; /* path or pattern of paths, argument without "--", field
                            ("authentication.anonymous.enabled"), or what was tried */
    enum kp_cis_rule rule;
    const char *value, *fallback;
};
struct kp_cis_gap {
    const char *ids, *why; /* "1.1.9, 1.1.10" */
};
extern const struct kp_cis_check kp_cis_checks[]; /* ended by .id = NULL, in the order of ids */
extern const struct kp_cis_gap kp_cis_gaps[];     /* ended by .ids = NULL */

/* What is known of one node. Members may be NULL: nothing of that kind is there. */
struct kp_cis_node {
    const char *name;
    const json_t *files;                 /* {"/etc/…": "600 root:root"} */
    const json_t *objects[KP_CIS_KINDS]; /* by kp_cis_on: {"profiling": "false"} */
};
/* Is the check met there? *applies false where the node has nothing that it looks at. found
 * (kp_free): what is there instead. */
bool kp_cis_judge(const struct kp_cis_check *check, const struct kp_cis_node *node, bool *applies,
                  char **found);
/* Asks nodes and API server, judges: {"benchmark", "checks": [{"id", "title", "ok", "nodes",
 * "failures": [{"node", "found", "wanted"}]}], "not_covered": [{"ids", "why"}], "failed": N}. */
KP_CHECK int kp_cis_report(json_t **out, struct kp_site *site, struct kp_err *err);
