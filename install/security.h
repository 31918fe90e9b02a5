/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `security:` of the inventory: what is on by default, and the named way out of each. Plan shows
 * every way out that was taken.
 */
#pragma once

#include "core/mem.h"

#define KP_SECURITY_NAMESPACES_MAX 64

enum kp_pod_security { KP_POD_SECURITY_OFF, KP_POD_SECURITY_BASELINE, KP_POD_SECURITY_RESTRICTED };

struct kp_security {
    enum kp_pod_security pod_security; /* what is enforced; restricted is warned of beside it */
    const char **exempt;               /* namespaces, beside those of the cluster's own parts */
    size_t exempt_count;
    bool audit;           /* the API server's audit log */
    bool encryption;      /* Secrets are encrypted in etcd */
    bool anonymous;       /* beyond the health endpoints */
    bool seccomp_default; /* RuntimeDefault for pods that ask for nothing */
    bool profiling;
    unsigned tls;          /* the least version: 12 or 13 */
    const char **isolated; /* namespaces that begin with a NetworkPolicy that denies all but DNS */
    size_t isolated_count;
    bool firewall;         /* a node's own, where one is active, gets the rules of its roles */
    const char **api_from; /* who may reach the API server through it; none: everybody */
    size_t api_from_count;
    bool unprotected_kernel; /* kubelets take what kernel parameters they find, or set them */
};

/* The network of that name enforces NetworkPolicy: yes, no, or not known (a network of one's own).
 */
enum kp_enforces { KP_ENFORCES_NOT, KP_ENFORCES, KP_ENFORCES_UNKNOWN };
enum kp_enforces kp_network_enforces(const char *network);

/* "pod_security: off, audit: false": the ways out that were taken; "" where none; kp_free. */
char *kp_security_ways_out(const struct kp_security *security);
