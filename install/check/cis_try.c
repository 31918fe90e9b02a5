/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that change nothing: may those who are let in do this, is such a pod taken? */
#include "install/check/cis_ask.h"

#include "core/slice.h"
#include "install/steps/common.h"

#define TEXT_MAX ((size_t)64 << 10)
#define POD_PREFIX "pod/kpack-cis-"
#define PLAIN "plain"
#define CLUSTER_ADMIN "cluster-admin"

/* --- rights ----------------------------------------------------------------------------------- */

/* Of system:authenticated, and of the group for auditors. */
static const struct right {
    const char *name, *verb, *group, *resource, *subresource;
} rights[] = {
    {"get secrets", "get", "", "secrets", ""},
    {"list secrets", "list", "", "secrets", ""},
    {"watch secrets", "watch", "", "secrets", ""},
    {"create pods", "create", "", "pods", ""},
    {"impersonate users", "impersonate", "", "users", ""},
    {"bind clusterroles", "bind", "rbac.authorization.k8s.io", "clusterroles", ""},
    {"escalate clusterroles", "escalate", "rbac.authorization.k8s.io", "clusterroles", ""},
    {"create persistentvolumes", "create", "", "persistentvolumes", ""},
    {"get nodes/proxy", "get", "", "nodes", "proxy"},
    {"update certificatesigningrequests/approval", "update", "certificates.k8s.io",
     "certificatesigningrequests", "approval"},
    {"update validatingwebhookconfigurations", "update", "admissionregistration.k8s.io",
     "validatingwebhookconfigurations", ""},
    {"update mutatingwebhookconfigurations", "update", "admissionregistration.k8s.io",
     "mutatingwebhookconfigurations", ""},
    {"create serviceaccounts/token", "create", "", "serviceaccounts", "token"},
};

static json_t *review_of(const struct right *right, size_t i)
{
    kp_auto_free char *user = kp_asprintf("kpack-cis-%zu", i);
    return json_pack("{s:s, s:s, s:{s:s, s:[s, s], s:{s:s, s:s, s:s, s:s}}}", "apiVersion",
                     "authorization.k8s.io/v1", "kind", "SubjectAccessReview", "spec", "user", user,
                     "groups", "system:authenticated", "kpack:auditor", "resourceAttributes",
                     "verb", right->verb, "group", right->group, "resource", right->resource,
                     "subresource", right->subresource);
}

static char *list_of(json_t *items)
{
    kp_auto_json list =
        json_pack("{s:s, s:s, s:o}", "apiVersion", "v1", "kind", "List", "items", items);
    return kp_json_dump(list, true);
}

/* Lines of "kpack-cis-3 false". */
static void add_rights(json_t *out, const char *answer)
{
    struct kp_slice rest = kp_slice_of(answer), line, user;
    while (kp_slice_line(&rest, &line)) {
        uint64_t i;
        if (!kp_slice_cut(&line, ' ', &user) || !kp_slice_starts(user, "kpack-cis-"))
            continue;
        size_t skip = strlen("kpack-cis-");
        if (kp_parse_u64((struct kp_slice){user.ptr + skip, user.len - skip}, KP_COUNT(rights) - 1,
                         &i))
            json_object_set_new(out, rights[i].name,
                                json_string(kp_slice_equal(line, "false") ? "refused" : "allowed"));
    }
}

static int try_rights(json_t *out, struct kp_site *site, struct kp_err *err)
{
    static const char *const argv[] = {
        "create", "-f", "-", "-o", "jsonpath={.spec.user} {.status.allowed}{\"\\n\"}", NULL};
    json_t *items = json_array();
    kp_auto_free char *answer = NULL;
    for (size_t i = 0; i < KP_COUNT(rights); i++)
        json_array_append_new(items, review_of(&rights[i], i));
    kp_auto_free char *text = list_of(items);
    if (kp_kube(site, argv, kp_slice_of(text), &answer, err) < 0)
        return -1;
    add_rights(out, answer);
    return 0;
}

/* Bindings to cluster-admin beside Kubernetes' own, kubeadm's and that of kpack:admin. */
static int try_bindings(json_t *out, struct kp_site *site, struct kp_err *err)
{
    static const char *const argv[] = {"get", "clusterrolebindings", "-o", "json", NULL};
    static const char *const known[] = {CLUSTER_ADMIN, "kubeadm:cluster-admins", "kpack:admin"};
    kp_auto_json answer = NULL;
    kp_auto_value(kp_buf) others = KP_BUF(TEXT_MAX);
    size_t i;
    json_t *binding;
    if (kp_kube_json(site, &answer, NULL, argv, err) < 0)
        return -1;
    json_array_foreach(json_object_get(answer, "items"), i, binding)
    {
        const json_t *metadata = json_object_get(binding, "metadata");
        const char *name = json_string_value(json_object_get(metadata, "name"));
        const char *role =
            json_string_value(json_object_get(json_object_get(binding, "roleRef"), "name"));
        bool expected = !name || !role || strcmp(role, CLUSTER_ADMIN) != 0;
        for (size_t k = 0; !expected && k < KP_COUNT(known); k++)
            expected = strcmp(name, known[k]) == 0;
        if (!expected)
            kp_buf_addf(&others, "%s%s", others.len ? "," : "", name);
    }
    json_object_set_new(out, "bindings to " CLUSTER_ADMIN,
                        json_string(others.len ? kp_buf_slice(&others).ptr : "none"));
    return 0;
}

/* --- pods ------------------------------------------------------------------------------------- */

/* Into a namespace that says nothing itself. The plain one is the proof that the others are refused
 * for what they ask. */
static const struct pod {
    const char *name, *spec, *container; /* members of either */
} pods[] = {
    {PLAIN, "", ""},
    {"privileged", "", "\"securityContext\": {\"privileged\": true}"},
    {"hostpid", "\"hostPID\": true", ""},
    {"hostipc", "\"hostIPC\": true", ""},
    {"hostnetwork", "\"hostNetwork\": true", ""},
    {"capabilities", "",
     "\"securityContext\": {\"capabilities\": {\"add\": [\"SYS_ADMIN\", \"NET_RAW\"]}}"},
    {"hostprocess",
     "\"hostNetwork\": true, \"securityContext\": {\"windowsOptions\": {\"hostProcess\": true}}",
     ""},
    {"hostpath", "\"volumes\": [{\"name\": \"a\", \"hostPath\": {\"path\": \"/\"}}]", ""},
    {"hostport", "", "\"ports\": [{\"containerPort\": 80, \"hostPort\": 80}]"},
};

static void add_pod(struct kp_buf *out, const struct pod *pod)
{
    kp_buf_addf(out,
                "%s{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": "
                "\"kpack-cis-%s\", \"namespace\": \"default\"}, \"spec\": {\"containers\": "
                "[{\"name\": \"a\", \"image\": \"kpack.internal/none:1\"%s%s}]%s%s}}",
                out->len ? ",\n" : "", pod->name, *pod->container ? ", " : "", pod->container,
                *pod->spec ? ", " : "", pod->spec);
}

/* Lines of "pod/kpack-cis-plain": those that were taken. */
static bool is_taken(const char *answer, const char *name)
{
    kp_auto_free char *wanted = kp_asprintf(POD_PREFIX "%s", name);
    struct kp_slice rest = kp_slice_of(answer), line;
    while (kp_slice_line(&rest, &line))
        if (kp_slice_equal(kp_slice_trim(line), wanted))
            return true;
    return false;
}

static int try_pods(json_t *out, struct kp_site *site, struct kp_err *err)
{
    static const char *const argv[] = {"create", "--dry-run=server", "-o", "name", "-f", "-", NULL};
    kp_auto_value(kp_buf) all = KP_BUF(TEXT_MAX);
    kp_auto_free char *answer = NULL;
    for (size_t i = 0; i < KP_COUNT(pods); i++)
        add_pod(&all, &pods[i]);
    kp_auto_free char *list = kp_asprintf(
        "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [%s]}", kp_buf_slice(&all).ptr);
    if (kp_kube_partly(site, argv, kp_slice_of(list), &answer, err) < 0)
        return -1;
    if (!is_taken(answer, PLAIN))
        return kp_fail_as(err, KP_FAILED, "command_failed",
                          "a pod without any rights is not taken into the namespace default, not "
                          "even as a trial: kubectl run --dry-run=server says why");
    for (size_t i = 1; i < KP_COUNT(pods); i++)
        json_object_set_new(out, pods[i].name,
                            json_string(is_taken(answer, pods[i].name) ? "taken" : "refused"));
    return 0;
}

int kp_cis_try(json_t *out, struct kp_site *site, struct kp_err *err)
{
    return try_bindings(out, site, err) < 0 || try_rights(out, site, err) < 0
               ? -1
               : try_pods(out, site, err);
}
