/* SPDX-License-Identifier: Apache-2.0 */
#include "install/security.h"

#include "core/buf.h"

#define WORDS_MAX 1024

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
    return kp_buf_steal(&out);
}
