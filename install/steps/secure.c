/* SPDX-License-Identifier: Apache-2.0 */
#include "install/steps/secure.h"
#include "install/steps/settings.h"
#include "install/steps/encryption.h"

#include "install/steps/secure_network.h"

#include "core/file.h"

#define AUDIT_POLICY KP_SECURE_FOLDER "/audit-policy.yaml"
#define ADMISSION KP_SECURE_FOLDER "/admission.yaml"
#define KUBELET_CONFIG "/var/lib/kubelet/config.yaml"

/* Namespaces of parts that must touch the node. */
static const char *const own_namespaces[] = {"kube-system",        "kube-flannel",
                                             "calico-system",      "tigera-operator",
                                             "local-path-storage", "metallb-system"};
/* TLS 1.2 with forward secrecy and authenticated encryption; TLS 1.3 has no others. */
static const char *const ciphers[] = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",       "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",       "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
};

/* --- arguments -------------------------------------------------------------------------------- */

static void add_tls(struct kp_vars *vars, const struct kp_site *site)
{
    unsigned version = site->inventory->security.tls;
    kp_auto_value(kp_buf) list = KP_BUF(4096);
    const char *text = version == 13 ? "VersionTLS13" : "VersionTLS12";
    kp_settings_arg(vars, site, "api", "tls-min-version", text);
    kp_vars_set(vars, "tls_min", text);
    kp_vars_flag(vars, "tls_ciphers_set", version == 12);
    for (size_t i = 0; version == 12 && i < KP_COUNT(ciphers); i++) {
        kp_buf_addf(&list, "%s%s", i ? "," : "", ciphers[i]);
        kp_vars_add(vars, "tls_ciphers", "%s", ciphers[i]);
    }
    if (list.len)
        kp_settings_arg(vars, site, "api", "tls-cipher-suites", kp_buf_slice(&list).ptr);
}

static void add_audit(struct kp_vars *vars, const struct kp_site *site)
{
    kp_settings_arg(vars, site, "api", "audit-policy-file", AUDIT_POLICY);
    kp_settings_arg(vars, site, "api", "audit-log-path", KP_AUDIT_FOLDER "/audit.log");
    kp_settings_arg(vars, site, "api", "audit-log-maxage", "30");
    kp_settings_arg(vars, site, "api", "audit-log-maxbackup", "10");
    kp_settings_arg(vars, site, "api", "audit-log-maxsize", "100");
    kp_settings_mount(vars, "api", "kpack-audit", KP_AUDIT_FOLDER, false);
}

void kp_secure_vars(struct kp_vars *vars, const struct kp_site *site)
{
    static const char *const components[] = {"api", "controller", "scheduler"};
    const struct kp_security *security = &site->inventory->security;
    kp_vars_flag(vars, "seccomp_default", security->seccomp_default);
    kp_vars_flag(vars, "profiling", security->profiling);
    bool files =
        security->audit || security->encryption || security->pod_security != KP_POD_SECURITY_OFF;
    if (files)
        kp_settings_mount(vars, "api", "kpack-security", KP_SECURE_FOLDER, true);
    for (size_t i = 0; i < KP_COUNT(components); i++) {
        if (!security->profiling)
            kp_settings_arg(vars, site, components[i], "profiling", "false");
    }
    add_tls(vars, site);
    // Kubelets serve with certificates that the cluster signed (steps/approve.c).
    kp_settings_arg(vars, site, "api", "kubelet-certificate-authority",
                    "/etc/kubernetes/pki/ca.crt");
    if (security->audit)
        add_audit(vars, site);
    if (security->encryption)
        kp_settings_arg(vars, site, "api", "encryption-provider-config", KP_ENCRYPTION_FILE);
    if (security->pod_security != KP_POD_SECURITY_OFF)
        kp_settings_arg(vars, site, "api", "admission-control-config-file", ADMISSION);
}

/* --- the keys of the Secrets ------------------------------------------------------------------ */

static int make_encryption(char **out, struct kp_err *err)
{
    kp_auto_value(kp_encryption_keys) keys = {0};
    if (kp_encryption_add_key(&keys, err) < 0)
        return -1;
    return kp_encryption_render(out, &keys, err);
}

/* What a control plane has, where this host has nothing: another admin host takes over. One that
 * cannot be asked may be the one that has it: without its key the Secrets of a cluster are lost. */
static int fetch_encryption(struct kp_site *site, char **out, struct kp_err *err)
{
    for (size_t i = 0; i < site->node_count && !*out; i++) {
        kp_auto_value(kp_buf) text = KP_BUF_SECRET(KP_ENCRYPTION_MAX);
        bool found;
        if (!kp_is_control_plane(&site->nodes[i]) || !site->nodes[i].session)
            continue;
        if (kp_session_get(site->nodes[i].session, KP_ENCRYPTION_FILE, &text, &found, err) < 0)
            return kp_wrap(err, "%s: read " KP_ENCRYPTION_FILE, site->nodes[i].node->name);
        if (found && text.len)
            *out = kp_strndup(text.data, text.len);
    }
    if (!*out && kp_site_all_asked(site, KP_ROLE_CONTROL_PLANE, NULL, err) < 0)
        return kp_wrap(err, "the keys of Secrets are not in %s", site->state_folder);
    return 0;
}

/* The file as it is or shall be on all control planes, kept here before any of them gets it. */
int kp_secure_keep_keys(struct kp_site *site, struct kp_site_node *none, struct kp_err *err)
{
    kp_auto_free char *path = kp_path_join(site->state_folder, KP_ENCRYPTION_KEPT);
    char *text = NULL;
    (void)none;
    if (!site->inventory->security.encryption || site->dry_run || kp_file_exists(path))
        return 0;
    int result = fetch_encryption(site, &text, err);
    if (result == 0 && !text)
        result = make_encryption(&text, err);
    if (result == 0)
        result = kp_file_write_atomic(path, kp_slice_of(text), 0600, err);
    if (text)
        kp_free_secret(text, strlen(text));
    return result;
}

/* Secrets that were written with a key need that key: what a control plane has stays. */
static int place_encryption(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_free char *path = kp_path_join(site->state_folder, KP_ENCRYPTION_KEPT);
    char *text = NULL;
    size_t len = 0;
    bool there;
    if (kp_have_file(node, KP_ENCRYPTION_FILE, &there, err) < 0)
        return -1;
    if (there)
        return 0;
    if (!site->dry_run && kp_file_read(path, KP_ENCRYPTION_MAX, &text, &len, err) < 0)
        return -1;
    int result = kp_place_secret(site, node, KP_ENCRYPTION_FILE, text ? text : "", NULL, err);
    if (text)
        kp_free_secret(text, len);
    return result;
}

/* --- files ------------------------------------------------------------------------------------ */

static void admission_vars(struct kp_vars *vars, const struct kp_site *site)
{
    const struct kp_security *security = &site->inventory->security;
    kp_vars_set(vars, "enforce",
                security->pod_security == KP_POD_SECURITY_RESTRICTED ? "restricted" : "baseline");
    for (size_t i = 0; i < KP_COUNT(own_namespaces); i++)
        kp_vars_add(vars, "exempt", "%s", own_namespaces[i]);
    for (size_t i = 0; i < security->exempt_count; i++)
        kp_vars_add(vars, "exempt", "%s", security->exempt[i]);
}

char *kp_secure_policies(const struct kp_site *site)
{
    const struct kp_security *security = &site->inventory->security;
    kp_auto(kp_vars) vars = kp_vars_new();
    kp_auto_free char *admission = NULL, *audit = NULL;
    struct kp_err ignored = KP_ERR_INIT; // what cannot be written is said where it is placed
    struct kp_digest digest;
    admission_vars(vars, site);
    if (security->pod_security != KP_POD_SECURITY_OFF &&
        kp_render(&admission, "admission.yaml", vars, &ignored) < 0)
        return kp_strdup("");
    if (security->audit && kp_render(&audit, "audit-policy.yaml", vars, &ignored) < 0)
        return kp_strdup("");
    kp_auto_free char *both =
        kp_asprintf("%s---\n%s", admission ? admission : "", audit ? audit : "");
    kp_sha256(both, strlen(both), &digest);
    return kp_strdup(kp_digest_hex(&digest).hex);
}

int kp_secure_files(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    const struct kp_security *security = &site->inventory->security;
    kp_auto(kp_vars) none = kp_vars_new();
    kp_auto(kp_vars) vars = kp_vars_new();
    admission_vars(vars, site);
    if (security->pod_security != KP_POD_SECURITY_OFF &&
        kp_place_template(site, node, ADMISSION, "admission.yaml", vars, NULL, err) < 0)
        return -1;
    if (security->audit &&
        kp_place_template(site, node, AUDIT_POLICY, "audit-policy.yaml", none, NULL, err) < 0)
        return -1;
    return security->encryption ? place_encryption(site, node, err) : 0;
}

/* --- roles ------------------------------------------------------------------------------------ */

static int apply_template(struct kp_site *site, const char *what, const char *name,
                          struct kp_err *err)
{
    kp_auto(kp_vars) none = kp_vars_new();
    kp_auto_free char *yaml = NULL;
    if (kp_render(&yaml, name, none, err) < 0)
        return -1;
    return kp_kube_apply(site, what, kp_slice_of(yaml), NULL, err);
}

static int apply_roles(struct kp_site *site, struct kp_site_node *first, struct kp_err *err)
{
    (void)first;
    if (apply_template(site, "the roles admin, operator and auditor", "rbac-roles.yaml", err) < 0)
        return -1;
    if (site->inventory->security.anonymous)
        return 0;
    return apply_template(site, "no more than health for the anonymous", "rbac-anonymous.yaml",
                          err);
}

/* kubeadm writes the kubelet's configuration for all to read (CIS 4.1.9). */
static int apply_modes(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const ask[] = {"stat", "-c", "%a", KUBELET_CONFIG, NULL};
    static const char *const set[] = {"chmod", "600", KUBELET_CONFIG, NULL};
    struct kp_change change = {.changed = true};
    kp_auto_free char *mode = NULL;
    int status;
    if (kp_ask(site, node, ask, 30, &status, &mode, err) < 0)
        return -1;
    if (status != 0 || kp_slice_equal(kp_slice_trim(kp_slice_of(mode)), "600"))
        return 0; // not there yet, or well
    if (!site->dry_run && kp_ask(site, node, set, 30, NULL, NULL, err) < 0)
        return -1;
    kp_step_changed(site, node, "mode 600 of " KUBELET_CONFIG, &change);
    return 0;
}

static int describe(const struct kp_site *site, char *out, size_t size)
{
    kp_auto_free char *ways_out = kp_security_ways_out(&site->inventory->security);
    snprintf(out, size, "%s%s",
             *ways_out ? "switched off: "
                       : "roles; Pod Security, audit log, "
                         "encrypted Secrets",
             ways_out);
    return 0;
}

const struct kp_step kp_steps_secure[] = {
    {.name = "roles",
     .phase = "secure",
     .nodes = KP_STEP_FIRST,
     .apply = apply_roles,
     .describe = describe},
    {.name = "network-policy",
     .phase = "secure",
     .nodes = KP_STEP_FIRST,
     .apply = kp_secure_network},
    {.name = "file-modes", .phase = "secure", .nodes = KP_STEP_ALL, .apply = apply_modes},
    {.name = NULL},
};
