/* SPDX-License-Identifier: Apache-2.0 */
#include "install/security.h"

#include "core/buf.h"
#include "core/text.h"

#define WORDS_MAX 1024

static const char *const pod_security_words[] = {"off", "baseline", "restricted", NULL};

static void read_exempt(struct kp_security *out, struct kp_yaml_reader *r, struct kp_arena *arena)
{
    size_t n = 0;
    const char **names = kp_yaml_texts(r, "pod_security_exempt", KP_SECURITY_NAMESPACES_MAX, &n);
    if (r->failed)
        return;
    out->exempt = kp_arena_array(arena, n + 1, sizeof(char *));
    for (size_t i = 0; i < n; i++) {
        if (!kp_text_dns_name(names[i], 63) || strchr(names[i], '.'))
            kp_yaml_complain(r, "pod_security_exempt", "%s is not a namespace", names[i]);
        out->exempt[out->exempt_count++] = kp_arena_strdup(arena, names[i]);
    }
}

int kp_security_read(struct kp_security *out, const struct kp_yaml *map, struct kp_arena *arena,
                     struct kp_err *err)
{
    static const struct kp_yaml empty = {.type = KP_YAML_MAP, .path = "security"};
    static const char *const anonymous[] = {"health", "full", NULL};
    static const char *const tls[] = {"1.2", "1.3", NULL};
    *out = (struct kp_security){0};
    struct kp_yaml_reader r = kp_yaml_read(map ? map : &empty, err);
    out->pod_security = (enum kp_pod_security)kp_yaml_choice(&r, "pod_security", pod_security_words,
                                                             KP_POD_SECURITY_BASELINE);
    read_exempt(out, &r, arena);
    out->audit = kp_yaml_bool(&r, "audit", true);
    out->encryption = kp_yaml_bool(&r, "encryption", true);
    out->anonymous = kp_yaml_choice(&r, "anonymous", anonymous, 0) == 1;
    out->seccomp_default = kp_yaml_bool(&r, "seccomp_default", true);
    out->profiling = kp_yaml_bool(&r, "profiling", false);
    out->tls = kp_yaml_choice(&r, "tls", tls, 0) == 1 ? 13 : 12;
    return kp_yaml_finish(&r);
}

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
