/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base64.h"
#include "core/file.h"
#include "core/text.h"
#include "install/audit/audit_log.h"
#include "install/verbs/cmd.h"
#include "install/journal.h"
#include "install/pki/pki_request.h"
#include "install/site.h"
#include "install/steps/common.h"
#include "install/steps/kubeadm.h"

#include <stdio.h>
#include <time.h>

#define KUBECONFIG_MAX ((size_t)1 << 20)
#define HOURS_DEFAULT 8
#define HOURS_MAX (24 * 365)
#define SIGNING_S 30.0
#define PAUSE_NS 300000000L
#define NAME_LEN 8
#define ADMIN_USER                                                                                 \
    "kubernetes-admin" /* kubeadm's name for the admin, in the state folder's file                 \
                        */

struct options {
    struct kp_site_options site;
    const char *role, *user, *output;
    uint64_t hours;
};

static const struct kp_option option_table[] = {
    KP_SITE_OPTIONS(options),
    {"role", 'r', KP_OPT_TEXT, offsetof(struct options, role), "ROLE",
     "admin, operator (workloads, nodes in and out of service) or auditor (reads all but Secrets)",
     0},
    {"user", 'u', KP_OPT_TEXT, offsetof(struct options, user), "NAME",
     "who it is for: the name in the API server's audit log", 0},
    {"hours", 0, KP_OPT_NUMBER, offsetof(struct options, hours), "N",
     "how long the certificate holds (8)", HOURS_MAX},
    {"output", 'o', KP_OPT_TEXT, offsetof(struct options, output), "FILE",
     "where to write it, 0600; NAME.kubeconfig if not given", 0},
    {.name = NULL}};

static int check_options(const struct options *options, struct kp_err *err)
{
    static const char *const roles[] = {"admin", "operator", "auditor"};
    if (!options->role || !options->user)
        return kp_fail(err, KP_USAGE, "--role and --user are needed");
    if (!kp_text_plain(options->user, 63) || strpbrk(options->user, " :/\"'\\") ||
        !options->user[0])
        return kp_fail(err, KP_USAGE, "--user %s: letters, digits and -_.@ are wanted",
                       options->user);
    for (size_t i = 0; i < KP_COUNT(roles); i++)
        if (strcmp(options->role, roles[i]) == 0)
            return 0;
    return kp_fail(err, KP_USAGE, "--role %s: admin, operator or auditor", options->role);
}

static int ask_for(struct kp_site *site, const char *name, const struct options *options,
                   const char *request, struct kp_err *err)
{
    static const char *const create[] = {"create", "-f", "-", NULL};
    const char *approve[] = {"certificate", "approve", name, NULL};
    struct kp_slice none = {0};
    kp_auto(kp_vars) vars = kp_vars_new();
    kp_auto_free char *encoded = kp_base64(request, strlen(request)), *yaml = NULL;
    kp_vars_set(vars, "name", name);
    kp_vars_set(vars, "request", encoded);
    kp_vars_setf(vars, "seconds", "%llu", (unsigned long long)options->hours * 3600);
    if (kp_render(&yaml, "certificate-request.yaml", vars, err) < 0 ||
        kp_kube(site, create, kp_slice_of(yaml), NULL, err) < 0)
        return -1;
    return kp_kube(site, approve, none, NULL, err);
}

/* The certificate as the API server encodes it; it signs within a second or two. */
static int wait_signed(struct kp_site *site, const char *name, char **out, struct kp_err *err)
{
    const char *get[] = {"get", "csr", name, "-o", "json", NULL};
    double start = kp_now();
    while (kp_now() - start < SIGNING_S && !*out) {
        kp_auto_json csr = NULL;
        struct timespec pause = {.tv_nsec = PAUSE_NS};
        if (kp_kube_json(site, &csr, NULL, get, err) < 0)
            return -1;
        *out = kp_strdup(
            json_string_value(json_object_get(json_object_get(csr, "status"), "certificate")));
        if (!*out)
            nanosleep(&pause, NULL);
    }
    if (*out)
        return 0;
    return kp_fail_as(err, KP_FAILED, "not_signed",
                      "the controller manager did not sign the certificate within %.0f s",
                      SIGNING_S);
}

static int get_certificate(struct kp_site *site, const struct options *options, const char *request,
                           char **out, struct kp_err *err)
{
    char word[NAME_LEN + 1];
    if (kp_random_word(word, NAME_LEN, false, err) < 0)
        return -1;
    kp_auto_free char *name = kp_asprintf("kpack-%s-%s", options->role, word);
    const char *delete[] = {"delete", "csr", name, "--ignore-not-found", NULL};
    struct kp_slice none = {0};
    struct kp_err ignored = KP_ERR_INIT;
    int result = ask_for(site, name, options, request, err);
    if (result == 0)
        result = wait_signed(site, name, out, err);
    (void)!kp_kube(site, delete, none, NULL, &ignored);
    return result;
}

static void add_line(struct kp_buf *out, struct kp_slice line, const char *user)
{
    const char *at = memmem(line.ptr, line.len, ADMIN_USER, strlen(ADMIN_USER));
    while (at) {
        size_t before = (size_t)(at - line.ptr);
        kp_buf_addf(out, "%.*s%s", (int)before, line.ptr, user);
        line.ptr = at + strlen(ADMIN_USER);
        line.len -= before + strlen(ADMIN_USER);
        at = memmem(line.ptr, line.len, ADMIN_USER, strlen(ADMIN_USER));
    }
    kp_buf_addf(out, "%.*s\n", (int)line.len, line.ptr);
}

/* The admin's kubeconfig with somebody else in it: the same clusters and contexts. */
static char *kubeconfig_for(struct kp_slice admin, const char *user, const char *certificate,
                            const char *key)
{
    kp_auto_value(kp_buf) out = KP_BUF_SECRET(KUBECONFIG_MAX);
    struct kp_slice line;
    while (kp_slice_line(&admin, &line)) {
        struct kp_slice word = kp_slice_trim(line);
        int indent = (int)(word.ptr - line.ptr);
        if (kp_slice_starts(word, "client-certificate-data:"))
            kp_buf_addf(&out, "%.*sclient-certificate-data: %s\n", indent, line.ptr, certificate);
        else if (kp_slice_starts(word, "client-key-data:"))
            kp_buf_addf(&out, "%.*sclient-key-data: %s\n", indent, line.ptr, key);
        else
            add_line(&out, line, user);
    }
    return kp_buf_steal(&out);
}

static int write_kubeconfig(const struct kp_site *site, const struct options *options,
                            const char *path, const char *certificate, const char *key,
                            struct kp_err *err)
{
    kp_auto_free char *admin_path = kp_path_join(site->state_folder, "kubeconfig");
    char *admin = NULL;
    size_t len;
    if (kp_file_read(admin_path, KUBECONFIG_MAX, &admin, &len, err) < 0)
        return kp_hint(err, "it is written by kinstall at the end of an install");
    char *encoded = kp_base64(key, strlen(key));
    char *text = kubeconfig_for((struct kp_slice){admin, len}, options->user, certificate, encoded);
    int result = kp_file_write_atomic(path, kp_slice_of(text), 0600, err);
    kp_free_secret(text, strlen(text));
    kp_free_secret(encoded, strlen(encoded));
    kp_free_secret(admin, len);
    return result;
}

static int run_kubeconfig(void *user, int argc, char **argv, struct kp_err *err)
{
    (void)argc;
    (void)argv;
    struct options *options = user;
    kp_auto(kp_open_site) open = NULL;
    kp_auto_value(kp_pki_request) request = {0};
    kp_auto_free char *certificate = NULL;
    options->hours = options->hours ? options->hours : HOURS_DEFAULT;
    if (check_options(options, err) < 0)
        return -1;
    kp_auto_free char *path =
        options->output ? kp_strdup(options->output) : kp_asprintf("%s.kubeconfig", options->user);
    kp_auto_free char *group = kp_asprintf("kpack:%s", options->role);
    if (kp_site_open(&open, &options->site, KP_SITE_NO_BUNDLE | KP_SITE_KEPT_FRONT, err) < 0 ||
        kp_site_connect(open, err) < 0 ||
        kp_pki_make_request(&request, options->user, group, err) < 0)
        return -1;
    struct kp_site *site = kp_site_of(open);
    kp_auto_free char *text = kp_asprintf("%s as %s for %llu h", options->user, group,
                                          (unsigned long long)options->hours);
    if (get_certificate(site, options, request.request, &certificate, err) < 0 ||
        write_kubeconfig(site, options, path, certificate, request.key, err) < 0 ||
        kp_audit_log_end(site->audit, NULL, err) < 0)
        return -1;
    kp_journal_note(site->journal, "kubeconfig", NULL, NULL, text);
    if (options->site.json) {
        kp_auto_json out = json_pack("{s:s, s:s, s:s, s:I}", "file", path, "user", options->user,
                                     "group", group, "hours", (json_int_t)options->hours);
        return kp_json_end(out, 0, err);
    }
    printf("wrote     %s   %s\n", path, text);
    return 0;
}

const struct kp_command kp_cmd_kubeconfig = {
    "kubeconfig",
    "",
    0,
    0,
    "makes a kubeconfig for a person, with a role and a short life",
    "The key is made here and never leaves this host but in the file; the cluster's own CA signs "
    "the "
    "certificate. It cannot be called back before it ends: keep --hours short. What a role may do "
    "is "
    "in docs/security.md.",
    option_table,
    sizeof(struct options),
    run_kubeconfig,
};
