/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service kpack-approve of control planes: one look at the kubelets' requests for serving
 * certificates, by a credential that may only read requests and approve this one signer's. What the
 * rules let through is approved as the very object that was judged: its version goes with the
 * answer, so another request of the same name is a conflict. The rest is left alone and named.
 */
#include "install/node/node.h"

#include "core/file.h"
#include "core/proc.h"
#include "core/text.h"
#include "install/node/approve_rules.h"

#include <stdio.h>
#include <time.h>

#define PAGE_OBJECTS 100
#define PAGE_MAX ((size_t)32 << 20)
#define PAGES_MAX 200
#define NAMED_MAX 100
#define LAST_MAX ((size_t)1 << 20)
#define KUBECTL_S 30
#define SHOWN_MAX 160
#define REQUESTS "/apis/certificates.k8s.io/v1/certificatesigningrequests"
#define QUERY "?fieldSelector=spec.signerName%%3Dkubernetes.io%%2Fkubelet-serving&limit=%d"

struct looking {
    const struct kp_node_approving *how;
    struct kp_approve_list list;
    const json_t *before; /* the refused ones of the look before */
    json_t *approved, *refused;
    size_t unnamed; /* refused beyond NAMED_MAX */
    bool failed;
};

static int kubectl(const struct kp_node_approving *how, const char *verb, const char *path,
                   struct kp_slice input, struct kp_buf *out, struct kp_err *err)
{
    kp_auto_value(kp_buf) errors = KP_BUF(65536);
    const char *argv[] = {"kubectl",
                          "--kubeconfig",
                          how->kubeconfig,
                          "--request-timeout=20s",
                          verb,
                          "--raw",
                          path,
                          NULL,
                          NULL,
                          NULL};
    int status;
    if (input.len) {
        argv[7] = "-f";
        argv[8] = "-";
    }
    if (kp_proc_run(argv, NULL, input, KUBECTL_S, PAGE_MAX, out, &errors, &status, err) < 0)
        return kp_wrap(err, "kubectl %s", verb);
    if (status == 0)
        return 0;
    struct kp_slice said = kp_slice_trim(kp_buf_slice(&errors));
    return kp_fail_as(err, KP_FAILED, "api_unreachable", "kubectl %s: %.*s", verb,
                      (int)(said.len > 300 ? 300 : said.len), said.ptr);
}

static json_t *entry_of(const json_t *csr)
{
    char name[SHOWN_MAX], user[SHOWN_MAX];
    const char *given = kp_json_string_in(csr, "metadata", "name"),
               *who = kp_json_string_in(csr, "spec", "username");
    kp_approve_plain(name, sizeof(name), given, strlen(given));
    kp_approve_plain(user, sizeof(user), who, strlen(who));
    return json_pack("{s:s, s:s}", "name", name, "requester", user);
}

static int approve(const struct kp_node_approving *how, const json_t *csr, struct kp_err *err)
{
    kp_auto_value(kp_buf) out = KP_BUF(PAGE_MAX);
    kp_auto_json answer = json_deep_copy(csr);
    const char *name = kp_json_string_in(csr, "metadata", "name");
    if (!kp_text_dns_name(name, 253) || !kp_json_string_in(csr, "metadata", "resourceVersion")[0])
        return kp_fail(err, KP_FAILED, "a request without name or version");
    json_t *status = json_object_get(answer, "status");
    if (!json_is_object(status)) {
        status = json_object();
        json_object_set_new(answer, "status", status);
    }
    json_object_set_new(status, "conditions",
                        json_pack("[{s:s, s:s, s:s, s:s}]", "type", "Approved", "status", "True",
                                  "reason", "KpackKubeletServing", "message",
                                  "names, addresses, usages and key are those of this node"));
    // Read by themselves they carry neither, inside a list.
    json_object_set_new(answer, "apiVersion", json_string("certificates.k8s.io/v1"));
    json_object_set_new(answer, "kind", json_string("CertificateSigningRequest"));
    kp_auto_free char *path = kp_asprintf(REQUESTS "/%s/approval", name);
    kp_auto_free char *text = kp_json_dump(answer, true);
    return kubectl(how, "replace", path, kp_slice_of(text), &out, err);
}

static bool was_named(const struct looking *looking, const json_t *entry)
{
    size_t i;
    const json_t *old;
    json_array_foreach(looking->before, i, old)
    {
        if (json_equal(old, entry))
            return true;
    }
    return false;
}

static void refuse(struct looking *looking, const json_t *csr, const char *why)
{
    json_t *entry = entry_of(csr);
    json_object_set_new(entry, "why", json_string(why));
    if (!was_named(looking, entry))
        fprintf(stderr, "left alone: %s of %s: %s\n",
                json_string_value(json_object_get(entry, "name")),
                json_string_value(json_object_get(entry, "requester")), why);
    if (json_array_size(looking->refused) < NAMED_MAX) {
        json_array_append_new(looking->refused, entry);
    } else {
        looking->unnamed++;
        json_decref(entry);
    }
}

static void look_at(struct looking *looking, const json_t *csr)
{
    char why[KP_APPROVE_WHY_MAX];
    struct kp_err err = KP_ERR_INIT;
    switch (kp_approve_judge(&looking->list, csr, why)) {
    case KP_APPROVE_SETTLED:
        return;
    case KP_APPROVE_REFUSED:
        refuse(looking, csr, why);
        return;
    case KP_APPROVE_GOOD:
        break;
    }
    json_t *entry = entry_of(csr);
    const char *name = json_string_value(json_object_get(entry, "name"));
    if (approve(looking->how, csr, &err) < 0) {
        fprintf(stderr, "%s: %s\n", name, err.message);
        // Another control plane was faster, or somebody took it away.
        looking->failed = looking->failed ||
                          (!strstr(err.message, "Conflict") && !strstr(err.message, "NotFound"));
        json_decref(entry);
        return;
    }
    fprintf(stderr, "approved: %s of %s\n", name,
            json_string_value(json_object_get(entry, "requester")));
    json_array_append_new(looking->approved, entry);
}

static bool is_token(const char *text)
{
    return strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=") ==
           strlen(text);
}

static int look_at_page(struct looking *looking, char **next, struct kp_err *err)
{
    kp_auto_value(kp_buf) text = KP_BUF(PAGE_MAX);
    kp_auto_json page = NULL;
    kp_auto_free char *path = kp_asprintf(REQUESTS QUERY "%s%s", PAGE_OBJECTS,
                                          *next ? "&continue=" : "", *next ? *next : "");
    struct kp_slice none = {"", 0};
    size_t i;
    const json_t *csr;
    if (kubectl(looking->how, "get", path, none, &text, err) < 0 ||
        kp_json_parse(&page, kp_buf_slice(&text), PAGE_MAX, "the API server's answer", err) < 0)
        return -1;
    json_array_foreach(json_object_get(page, "items"), i, csr)
    {
        look_at(looking, csr);
    }
    const char *more = kp_json_string_in(page, "metadata", "continue");
    kp_free(*next);
    *next = *more && is_token(more) ? kp_strdup(more) : NULL;
    return 0;
}

static int look_at_all(struct looking *looking, struct kp_err *err)
{
    char *next = NULL;
    int result = 0;
    for (size_t i = 0; i < PAGES_MAX; i++) {
        result = look_at_page(looking, &next, err);
        if (result < 0 || !next)
            break;
    }
    kp_free(next);
    return result;
}

static int keep(const struct looking *looking, struct kp_err *err)
{
    kp_auto_json last =
        json_pack("{s:s, s:s, s:O, s:O, s:I}", "kind", KP_NODE_APPROVALS_KIND, "time",
                  kp_text_utc(time(NULL)).s, "approved", looking->approved, "refused",
                  looking->refused, "more_refused", (json_int_t)looking->unnamed);
    kp_auto_free char *text = kp_json_dump(last, true);
    return kp_file_write_atomic(looking->how->result, kp_slice_of(text), 0644, err);
}

/* What was said before is not said again; nothing of it is needed otherwise. */
static json_t *read_before(const char *path)
{
    kp_auto_free char *text = NULL;
    kp_auto_json last = NULL;
    struct kp_err ignored;
    size_t len;
    if (kp_file_read(path, LAST_MAX, &text, &len, &ignored) < 0 ||
        kp_json_parse(&last, (struct kp_slice){text, len}, LAST_MAX, path, &ignored) < 0)
        return NULL;
    return json_incref(json_object_get(last, "refused"));
}

int kp_node_approve(const struct kp_node_approving *how, struct kp_err *err)
{
    kp_auto(kp_arena) arena = kp_arena_new();
    kp_auto_free char *text = NULL;
    kp_auto_json before = read_before(how->result);
    kp_auto_json approved = json_array();
    kp_auto_json refused = json_array();
    struct looking looking = {
        .how = how, .before = before, .approved = approved, .refused = refused};
    size_t len;
    if (kp_file_read(how->nodes, KP_APPROVE_LIST_MAX, &text, &len, err) < 0 ||
        kp_approve_list_read(&looking.list, (struct kp_slice){text, len}, arena, err) < 0 ||
        look_at_all(&looking, err) < 0 || keep(&looking, err) < 0)
        return -1;
    return looking.failed ? kp_fail(err, KP_FAILED, "not all of them could be approved") : 0;
}
