/* SPDX-License-Identifier: Apache-2.0 */
#include "install/security.h"

#include "core/buf.h"

#define WORDS_MAX 8192

static void add(struct kp_buf *out, bool taken, const char *text)
{
    if (taken)
        kp_buf_addf(out, "%s%s", out->len ? ", " : "", text);
}

char *kp_security_ways_out(const struct kp_security *security)
{
    kp_auto_value(kp_buf) out = KP_BUF(WORDS_MAX);
    add(&out, security->pod_security == KP_POD_SECURITY_OFF, "pod_security: off");
    add(&out, !security->audit, "audit: false");
    add(&out, !security->encryption, "encryption: false");
    add(&out, security->anonymous, "anonymous: full");
    add(&out, !security->seccomp_default, "seccomp_default: false");
    add(&out, security->profiling, "profiling: true");
    add(&out, !security->firewall, "firewall: false");
    add(&out, security->unprotected_kernel, "protect_kernel: false");
    for (size_t i = 0; i < security->exempt_count; i++) {
        kp_auto_free char *one = kp_asprintf("pod_security_exempt: %s", security->exempt[i]);
        add(&out, true, one);
    }
    return kp_buf_steal(&out);
}

enum kp_enforces kp_network_enforces(const char *network)
{
    static const struct {
        const char *name;
        enum kp_enforces enforces;
    } known[] = {{"cilium", KP_ENFORCES},
                 {"calico", KP_ENFORCES},
                 {"flannel", KP_ENFORCES_NOT},
                 {"none", KP_ENFORCES_UNKNOWN}};
    for (size_t i = 0; i < KP_COUNT(known); i++)
        if (strcmp(known[i].name, network) == 0)
            return known[i].enforces;
    return KP_ENFORCES_UNKNOWN;
}
