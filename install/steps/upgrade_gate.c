/* SPDX-License-Identifier: Apache-2.0 */
/* A node is emptied before it is changed, and must be well before the next one is begun. */
#include "install/steps/common.h"
#include "install/steps/upgrade.h"

#include "core/interrupt.h"
#include "core/text.h"

#include <time.h>

#define PAUSE_NS 500000000L
#define ONE_TRY_S 60
#define CALM_S                                                                                     \
    8.0 /* a kubelet of another minor makes containers anew some seconds after its start */

static int get_node(struct kp_site *site, const struct kp_site_node *node, json_t **out,
                    struct kp_err *err)
{
    const char *argv[] = {"get", "node", node->node->name, "-o", "json", NULL};
    bool found;
    if (kp_kube_json(site, out, &found, argv, err) < 0)
        return -1;
    return found ? 0
                 : kp_fail_as(err, KP_FAILED, "not_member", "%s is not in the cluster any more",
                              node->node->name);
}

static bool has_condition(const json_t *object, const char *name)
{
    const json_t *list = json_object_get(json_object_get(object, "status"), "conditions");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        const char *type = json_string_value(json_object_get(one, "type"));
        const char *status = json_string_value(json_object_get(one, "status"));
        if (type && status && strcmp(type, name) == 0)
            return strcmp(status, "True") == 0;
    }
    return false;
}

static const char *owner_kind(const json_t *pod)
{
    const json_t *owners = json_object_get(json_object_get(pod, "metadata"), "ownerReferences");
    return kp_json_string(json_array_get(owners, 0), "kind");
}

/* Static pods that have the version of Kubernetes; etcd, haproxy and kube-vip have their own. */
static bool is_of_kubernetes(const char *pod)
{
    return kp_starts_with(pod, "kube-apiserver-") ||
           kp_starts_with(pod, "kube-controller-manager-") ||
           kp_starts_with(pod, "kube-scheduler-");
}

static bool has_version(const json_t *pod, const char *version)
{
    const json_t *containers = json_object_get(json_object_get(pod, "spec"), "containers");
    const char *image = json_string_value(json_object_get(json_array_get(containers, 0), "image"));
    const char *colon = image ? strrchr(image, ':') : NULL;
    return !is_of_kubernetes(kp_json_string_in(pod, "metadata", "name")) ||
           (colon && strcmp(colon + 1, version) == 0);
}

void kp_upgrade_pods_lack(char *out, size_t size, const json_t *pods, const char *version)
{
    size_t i;
    json_t *pod;
    *out = '\0';
    json_array_foreach(json_object_get(pods, "items"), i, pod)
    {
        const char *name = kp_json_string_in(pod, "metadata", "name"), *kind = owner_kind(pod);
        bool fixed = strcmp(kind, "Node") == 0; // a static pod
        if (!fixed && strcmp(kind, "DaemonSet") != 0)
            continue;
        if (json_object_get(json_object_get(pod, "metadata"), "deletionTimestamp"))
            snprintf(out, size, "pod %s is being replaced", name);
        else if (fixed && !has_version(pod, version))
            snprintf(out, size, "pod %s is not of %s yet", name, version);
        else if (!has_condition(pod, "Ready"))
            snprintf(out, size, "pod %s is not Ready", name);
        else
            continue;
        return;
    }
}

/* lack: "" where all is well. */
static int look(struct kp_site *site, struct kp_site_node *node, const char *version, char *lack,
                size_t size, struct kp_err *err)
{
    kp_auto_free char *on = kp_asprintf("--field-selector=spec.nodeName=%s", node->node->name);
    const char *argv[] = {"get", "pods", "--all-namespaces", on, "-o", "json", NULL};
    kp_auto_json object = NULL;
    kp_auto_json pods = NULL;
    if (get_node(site, node, &object, err) < 0)
        return -1;
    const char *have =
        kp_json_string_in(json_object_get(object, "status"), "nodeInfo", "kubeletVersion");
    if (strcmp(have, version) != 0) {
        snprintf(lack, size, "its kubelet still reports %s", have);
        return 0;
    }
    if (!has_condition(object, "Ready")) {
        snprintf(lack, size, "the node is not Ready");
        return 0;
    }
    if (kp_kube_json(site, &pods, NULL, argv, err) < 0)
        return -1;
    kp_upgrade_pods_lack(lack, size, pods, version);
    return 0;
}

int kp_upgrade_gate(struct kp_site *site, struct kp_site_node *node, const char *version,
                    struct kp_err *err)
{
    double start = kp_now(), well_since = 0;
    char lack[256] = "";
    for (;;) {
        struct kp_err asked = KP_ERR_INIT;
        if (look(site, node, version, lack, sizeof(lack), &asked) < 0) {
            // The API server of this very node may be the one that starts.
            if (!asked.reason || strcmp(asked.reason, "api_unreachable") != 0) {
                *err = asked;
                return -1;
            }
            snprintf(lack, sizeof(lack), "%.200s", asked.message);
        }
        if (lack[0])
            well_since = 0;
        else if (well_since == 0)
            well_since = kp_now();
        else if (kp_now() - well_since >= CALM_S)
            return 0;
        if (kp_interrupt_check(err) < 0)
            return -1;
        if (lack[0] && kp_now() - start > site->upgrade.gate_seconds)
            break;
        kp_step_note(site, node, "%s%s", lack[0] ? "waiting: " : "well; staying so?", lack);
        struct timespec pause = {.tv_nsec = PAUSE_NS};
        nanosleep(&pause, NULL);
    }
    kp_fail_as(err, KP_FAILED, "not_ready", "not well with %s after %.0f s: %s", version,
               site->upgrade.gate_seconds, lack);
    return kp_hint(err,
                   "on %s: journalctl -u kubelet; to have it back as it was: kinstall rollback %s "
                   "-i %s",
                   node->node->name, node->node->name, site->inventory->path);
}

static int annotate(struct kp_site *site, const struct kp_site_node *node, const char *word,
                    struct kp_err *err)
{
    const char *argv[] = {"annotate", "node", node->node->name, "--overwrite", word, NULL};
    return kp_kube(site, argv, (struct kp_slice){"", 0}, NULL, err);
}

static int cordon(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    const char *argv[] = {"cordon", node->node->name, NULL};
    kp_auto_json object = NULL;
    if (get_node(site, node, &object, err) < 0)
        return -1;
    const json_t *spec = json_object_get(object, "spec");
    if (json_is_true(json_object_get(spec, "unschedulable")))
        return 0; // by us, or by somebody who wants it so: the annotation tells
    if (annotate(site, node, KP_CORDONED_BY "=kinstall-upgrade", err) < 0)
        return -1;
    return kp_kube(site, argv, (struct kp_slice){"", 0}, NULL, err);
}

static int fail_drain(struct kp_site *site, const struct kp_site_node *node, const char *said,
                      struct kp_err *err)
{
    struct kp_slice text = kp_slice_trim(kp_slice_of(said ? said : ""));
    if (text.len > 400)
        text = (struct kp_slice){text.ptr + text.len - 400, 400};
    kp_fail_as(err, KP_FAILED, "drain", "%s could not be emptied in %llu s: %.*s", node->node->name,
               (unsigned long long)site->upgrade.drain_seconds, (int)text.len, text.ptr);
    return kp_hint(err, "a disruption budget that is never met stops it (kubectl get pdb -A), and "
                        "so do pods of no controller (--force-drain deletes them); then run the "
                        "same command again");
}

int kp_upgrade_drain(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const env[] = {KP_PATH_ENV, "KUBECONFIG=" KP_ADMIN_CONF,
                                      "HOME=/var/lib/kpack", NULL};
    kp_auto_free char *limit =
        kp_asprintf("--timeout=%llus", (unsigned long long)site->upgrade.drain_seconds);
    const char *argv[] = {KP_KUBECTL,
                          "drain",
                          node->node->name,
                          "--ignore-daemonsets",
                          "--delete-emptydir-data",
                          limit,
                          site->upgrade.force_drain ? "--force" : NULL,
                          NULL};
    const struct kp_run run = {
        .argv = argv, .env = env, .timeout = (unsigned)site->upgrade.drain_seconds + ONE_TRY_S};
    kp_auto_value(kp_run_result) result = {0};
    if (cordon(site, node, err) < 0)
        return kp_wrap(err, "cordon");
    kp_step_note(site, node, "moving its pods elsewhere");
    if (kp_session_run(kp_first(site)->session, &run, &result, err) < 0)
        return kp_wrap(err, "drain");
    return result.status == 0 ? 0 : fail_drain(site, node, result.err_out.data, err);
}

int kp_upgrade_drain_ready(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const active[] = {"systemctl", "is-active", "--quiet", "kubelet.service",
                                         NULL};
    int status;
    kp_auto_json object = NULL;
    struct kp_err asked = KP_ERR_INIT;
    if (get_node(site, node, &object, &asked) < 0) {
        if (asked.reason && strcmp(asked.reason, "api_unreachable") == 0)
            return 0; // it is the API that is to come back by this
        *err = asked;
        return -1;
    }
    if (!has_condition(object, "Ready"))
        return cordon(site, node, err);
    // The API server takes a kubelet that has died for Ready for another 40 s.
    if (kp_ask(site, node, active, 30, &status, NULL, err) < 0)
        return -1;
    return status == 0 ? kp_upgrade_drain(site, node, err) : cordon(site, node, err);
}

int kp_upgrade_uncordon(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    const char *argv[] = {"uncordon", node->node->name, NULL};
    kp_auto_json object = NULL;
    if (get_node(site, node, &object, err) < 0)
        return -1;
    const json_t *notes = json_object_get(json_object_get(object, "metadata"), "annotations");
    if (!json_object_get(notes, KP_CORDONED_BY))
        return 0;
    if (kp_kube(site, argv, (struct kp_slice){"", 0}, NULL, err) < 0)
        return -1;
    return annotate(site, node, KP_CORDONED_BY "-", err);
}
