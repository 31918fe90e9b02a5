/* SPDX-License-Identifier: Apache-2.0 */
/* kubectl on the first control plane. */
#include "install/steps/common.h"

#include "core/interrupt.h"
#include "core/text.h"

#include <time.h>

#define PATIENCE_S 30.0
#define ARGV_MAX 64
#define PAUSE_NS 300000000L

static bool says(const struct kp_run_result *result, const char *text)
{
    return result->err_out.len && strstr(result->err_out.data, text);
}

static bool is_unreachable(const struct kp_run_result *result)
{
    static const char *const signs[] = {
        "connection refused",
        "was refused - did you",
        "no route to host",
        "i/o timeout",
        "TLS handshake timeout",
        "Client.Timeout exceeded",
        "unexpected EOF",
        "connection reset",
        "etcdserver: request timed out",
        "etcdserver: leader changed",
        "apiserver not ready",
        "the server is currently unable",
        "context deadline exceeded",
        "http2: client connection lost",
        // An API server that has just started has not read its roles yet.
        "User \"kubernetes-admin\" cannot",
    };
    for (size_t i = 0; i < KP_COUNT(signs); i++)
        if (says(result, signs[i]))
            return true;
    return false;
}

static bool is_not_found(const struct kp_run_result *result)
{
    return says(result, "(NotFound)") || says(result, "not found");
}

/* Runs kubectl; waits for an API server that restarts; the status is the caller's to judge. */
static int run_kubectl(struct kp_site *site, const char *const *args, struct kp_slice input,
                       unsigned timeout, struct kp_run_result *out, struct kp_err *err)
{
    // kubectl's cache is to lie where a reset takes it away
    static const char *const env[] = {KP_PATH_ENV, "KUBECONFIG=" KP_ADMIN_CONF,
                                      "KUBECTL_EXTERNAL_DIFF=diff -u -N", "HOME=/var/lib/kpack",
                                      NULL};
    const char *argv[ARGV_MAX] = {KP_KUBECTL};
    for (size_t i = 0; args[i] && i + 2 < ARGV_MAX; i++)
        argv[i + 1] = args[i];
    const struct kp_run run = {.argv = argv, .env = env, .input = input, .timeout = timeout};
    double start = kp_now();
    if (!kp_first(site)->session) { // never reached: the verb goes on with the other nodes
        *err = kp_first(site)->failure;
        return kp_wrap(err, "%s", kp_first(site)->node->name);
    }
    for (;;) {
        kp_run_result_release(out);
        if (kp_session_run(kp_first(site)->session, &run, out, err) < 0)
            return kp_wrap(err, "kubectl %s", args[0]);
        if (out->status == 0 || !is_unreachable(out))
            return 0;
        if (kp_now() - start > PATIENCE_S)
            break;
        struct timespec pause = {.tv_nsec = PAUSE_NS};
        nanosleep(&pause, NULL);
    }
    kp_fail_as(err, KP_FAILED, "api_unreachable", "the API server does not answer: %.300s",
               out->err_out.data);
    return kp_hint(err, "on %s: crictl ps -a; journalctl -u kubelet", kp_first(site)->node->name);
}

static int fail_kubectl(const char *const *args, const struct kp_run_result *result,
                        struct kp_err *err)
{
    struct kp_slice said = kp_slice_trim(kp_buf_slice(&result->err_out));
    if (said.len > 600)
        said = (struct kp_slice){said.ptr + said.len - 600, 600};
    return kp_fail_as(err, KP_FAILED, "command_failed", "kubectl %s failed (exit %d): %.*s",
                      args[0], result->status, (int)said.len, said.ptr);
}

int kp_kube(struct kp_site *site, const char *const *argv, struct kp_slice input, char **out,
            struct kp_err *err)
{
    return kp_kube_long(site, argv, input, KP_KUBECTL_TIMEOUT, out, err);
}

int kp_kube_long(struct kp_site *site, const char *const *argv, struct kp_slice input,
                 unsigned timeout, char **out, struct kp_err *err)
{
    kp_auto_value(kp_run_result) result = {0};
    if (run_kubectl(site, argv, input, timeout, &result, err) < 0)
        return -1;
    if (result.status != 0)
        return fail_kubectl(argv, &result, err);
    if (out)
        *out = kp_buf_steal(&result.out);
    return 0;
}

int kp_kube_partly(struct kp_site *site, const char *const *argv, struct kp_slice input, char **out,
                   struct kp_err *err)
{
    kp_auto_value(kp_run_result) result = {0};
    if (run_kubectl(site, argv, input, KP_KUBECTL_TIMEOUT, &result, err) < 0)
        return -1;
    if (result.status != 0 && !result.out.len)
        return fail_kubectl(argv, &result, err);
    *out = kp_buf_steal(&result.out);
    return 0;
}

int kp_kube_json(struct kp_site *site, json_t **out, bool *found, const char *const *argv,
                 struct kp_err *err)
{
    kp_auto_value(kp_run_result) result = {0};
    struct kp_slice none = {0};
    if (run_kubectl(site, argv, none, KP_KUBECTL_TIMEOUT, &result, err) < 0)
        return -1;
    bool there = result.status == 0;
    if (!there && (!found || !is_not_found(&result)))
        return fail_kubectl(argv, &result, err);
    if (found)
        *found = there;
    if (!there)
        return 0;
    return kp_json_parse(out, kp_buf_slice(&result.out), KP_KUBECTL_OUTPUT_MAX, "kubectl's answer",
                         err);
}

/* *differs, and how (kp_free). Objects in a namespace that is not there yet differ, of course. */
static int diff(struct kp_site *site, struct kp_slice yaml, bool *differs, char **text,
                struct kp_err *err)
{
    static const char *const args[] = {
        "diff", "--server-side", "--force-conflicts", "--field-manager=kpack", "-f", "-", NULL};
    kp_auto_value(kp_run_result) result = {0};
    if (run_kubectl(site, args, yaml, 2 * KP_KUBECTL_TIMEOUT, &result, err) < 0)
        return -1;
    *differs = result.status != 0;
    if (result.status > 1 && !is_not_found(&result) && !says(&result, "no matches for kind"))
        return fail_kubectl(args, &result, err);
    if (result.status == 1)
        *text = kp_buf_steal(&result.out);
    return 0;
}

int kp_kube_apply(struct kp_site *site, const char *what, struct kp_slice yaml, bool *changed,
                  struct kp_err *err)
{
    static const char *const args[] = {
        "apply", "--server-side", "--force-conflicts", "--field-manager=kpack", "-f", "-", NULL};
    kp_auto_value(kp_change) change = {0};
    kp_auto_free char *text = kp_asprintf("apply %s", what);
    bool made;
    if (kp_cluster_made(site, &made, err) < 0)
        return -1;
    change.changed = !made || site->made_now;
    if (!change.changed && diff(site, yaml, &change.changed, &change.diff, err) < 0)
        return kp_wrap(err, "%s", what);
    if (!change.changed)
        return 0;
    if (!site->dry_run && kp_kube(site, args, yaml, NULL, err) < 0)
        return kp_wrap(err, "%s", what);
    kp_step_changed(site, kp_first(site), text, &change);
    if (changed)
        *changed = true;
    return 0;
}

static int await_crd(struct kp_site *site, const char *name, unsigned timeout, struct kp_err *err)
{
    kp_auto_free char *object = kp_asprintf("crd/%s", name);
    kp_auto_free char *limit = kp_asprintf("--timeout=%us", timeout);
    const char *args[] = {"wait", "--for=condition=Established", object, limit, NULL};
    return kp_kube_long(site, args, (struct kp_slice){0}, timeout + 30, NULL, err);
}

static bool has_condition(const json_t *object, const char *type)
{
    size_t i;
    const json_t *item;
    json_array_foreach(json_object_get(json_object_get(object, "status"), "conditions"), i, item)
    {
        const char *have = json_string_value(json_object_get(item, "type"));
        const char *status = json_string_value(json_object_get(item, "status"));
        if (have && strcmp(have, type) == 0 && status && strcmp(status, "True") == 0)
            return true;
    }
    return false;
}

static int await_job(struct kp_site *site, const char *namespace_, const char *name,
                     unsigned timeout, struct kp_err *err)
{
    const char *args[] = {"get", "job", name, "-n", namespace_, "-o", "json", NULL};
    double until = kp_now() + timeout;
    for (;;) {
        kp_auto_json job = NULL;
        bool found;
        if (kp_interrupt_check(err) < 0 || kp_kube_json(site, &job, &found, args, err) < 0)
            return -1;
        // one that is done may have been taken away by its own time to live
        if (!found || has_condition(job, "Complete"))
            return 0;
        bool failed = has_condition(job, "Failed");
        if (failed || kp_now() > until) {
            kp_fail_as(err, KP_FAILED, "not_ready", "job %s in %s %s", name, namespace_,
                       failed ? "failed" : "is not complete in time");
            return kp_hint(err, "kubectl -n %s logs job/%s", namespace_, name);
        }
        struct timespec pause = {.tv_nsec = PAUSE_NS};
        nanosleep(&pause, NULL);
    }
}

int kp_kube_wait(struct kp_site *site, const char *kind, const char *namespace_, const char *name,
                 unsigned timeout, struct kp_err *err)
{
    kp_auto_free char *object = kp_asprintf("%s/%s", kind, name);
    kp_auto_free char *limit = kp_asprintf("--timeout=%us", timeout);
    const char *args[] = {"rollout", "status", "-n", namespace_, object, limit, NULL};
    kp_auto_value(kp_run_result) result = {0};
    struct kp_slice none = {0};
    // It has a pod on each node, also on one whose line has stopped: that is what is reported.
    if (strcmp(kind, "daemonset") == 0 && kp_site_failed(site) > 0)
        return 0;
    kp_step_note(site, NULL, "waiting for %s", object);
    if (strcmp(kind, "crd") == 0)
        return await_crd(site, name, timeout, err);
    if (strcmp(kind, "job") == 0)
        return await_job(site, namespace_, name, timeout, err);
    if (run_kubectl(site, args, none, timeout + 30, &result, err) < 0)
        return -1;
    // with OnDelete nothing rolls out by itself
    if (result.status == 0 || says(&result, "only available for"))
        return 0;
    kp_fail_as(err, KP_FAILED, "not_ready", "%s in %s is not ready after %u s: %.300s", object,
               namespace_, timeout, result.err_out.data ? result.err_out.data : "");
    return kp_hint(err, "kubectl -n %s describe %s; kubectl -n %s get pods -o wide", namespace_,
                   object, namespace_);
}

int kp_cluster_made(struct kp_site *site, bool *made, struct kp_err *err)
{
    return kp_joined(site, kp_first(site), made, err);
}
