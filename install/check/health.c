/* SPDX-License-Identifier: Apache-2.0 */
#include "install/check/health.h"

#include "core/text.h"
#include "install/addons/addons.h"
#include "install/check/health_probe.h"
#include "install/steps/common.h"

#include <time.h>

#define READY_S 180.0
#define PAUSE_NS 300000000L

static const json_t *condition(const json_t *object, const char *type)
{
    size_t i;
    const json_t *item;
    json_array_foreach(json_object_get(json_object_get(object, "status"), "conditions"), i, item)
    {
        const char *have = json_string_value(json_object_get(item, "type"));
        if (have && strcmp(have, type) == 0)
            return item;
    }
    return NULL;
}

static bool is_true(const json_t *found)
{
    const char *status = json_string_value(json_object_get(found, "status"));
    return status && strcmp(status, "True") == 0;
}

static const char *message_of(const json_t *found)
{
    const char *message = json_string_value(json_object_get(found, "message"));
    return message ? message : "no word from its kubelet";
}

/* A node under pressure is Ready, and yet throws out pods and images. */
static void judge_pressure(const json_t *node, json_t *failures)
{
    static const char *const kinds[] = {"DiskPressure", "MemoryPressure", "PIDPressure"};
    for (size_t i = 0; i < KP_COUNT(kinds); i++) {
        const json_t *found = condition(node, kinds[i]);
        if (is_true(found))
            json_array_append_new(
                failures, json_sprintf("%s has %s (%s): its kubelet throws out pods and images",
                                       kp_json_string_in(node, "metadata", "name"), kinds[i],
                                       message_of(found)));
    }
}

/* Ready, and said by the kubelet that runs now: one that was restarted may not have spoken yet. */
static bool is_ready(const struct kp_site_node *node, const json_t *found)
{
    const json_t *ready = condition(found, "Ready");
    const char *heard = json_string_value(json_object_get(ready, "lastHeartbeatTime"));
    time_t when;
    return is_true(ready) && (!node->kubelet_since ||
                              (heard && kp_parse_utc(heard, &when) && when >= node->kubelet_since));
}

static json_t *judge_nodes(const struct kp_site *site, const json_t *list)
{
    json_t *failures = json_array();
    for (size_t i = 0; i < kp_members(site); i++) {
        const char *name = site->nodes[i].node->name;
        const json_t *found = NULL, *item;
        size_t j;
        json_array_foreach(json_object_get(list, "items"), j, item)
        {
            if (strcmp(kp_json_string_in(item, "metadata", "name"), name) == 0)
                found = item;
        }
        if (!found)
            json_array_append_new(failures, json_sprintf("%s is not a member", name));
        else if (!is_ready(&site->nodes[i], found))
            json_array_append_new(failures, json_sprintf("%s is not Ready: %s", name,
                                                         message_of(condition(found, "Ready"))));
        else
            judge_pressure(found, failures);
    }
    return failures;
}

static bool is_ours(const struct kp_site *site, const char *namespace_)
{
    if (strcmp(namespace_, "kube-system") == 0)
        return true;
    for (size_t i = 0; i < site->manifest->manifest_count; i++)
        for (size_t j = 0; j < site->manifest->manifests[i].wait_count; j++)
            if (strcmp(site->manifest->manifests[i].wait[j].namespace_, namespace_) == 0)
                return true;
    return false;
}

static json_t *judge_pods(const struct kp_site *site, const json_t *list)
{
    json_t *failures = json_array();
    size_t i;
    const json_t *item;
    json_array_foreach(json_object_get(list, "items"), i, item)
    {
        const char *namespace_ =
            json_string_value(json_object_get(json_object_get(item, "metadata"), "namespace"));
        const char *phase =
            json_string_value(json_object_get(json_object_get(item, "status"), "phase"));
        bool leaving =
            json_object_get(json_object_get(item, "metadata"), "deletionTimestamp") != NULL;
        if (!namespace_ || !is_ours(site, namespace_) || leaving ||
            (phase && strcmp(phase, "Succeeded") == 0))
            continue;
        if (!is_true(condition(item, "Ready")))
            json_array_append_new(failures,
                                  json_sprintf("%s/%s is not Ready (%s)", namespace_,
                                               kp_json_string_in(item, "metadata", "name"),
                                               phase ? phase : "no phase"));
    }
    return failures;
}

/* Asks until nothing is wrong any more or the time is over. */
static int wait_until(struct kp_health *health, struct kp_site *site, const char *name,
                      const char *const *argv,
                      json_t *(*judge)(const struct kp_site *, const json_t *), double *until,
                      struct kp_err *err)
{
    double start = kp_now();
    for (;;) {
        kp_auto_json list = NULL;
        if (kp_kube_json(site, &list, NULL, argv, err) < 0)
            return -1;
        json_t *failures = judge(site, list);
        size_t wrong = json_array_size(failures),
               all = json_array_size(json_object_get(list, "items"));
        if (wrong == 0 || kp_now() > *until) {
            kp_auto_free char *detail = kp_asprintf("%zu Ready", all > wrong ? all - wrong : 0);
            kp_health_note(health, name, start, detail, failures);
            return 0;
        }
        kp_step_note(site, NULL, "%s: %s", name, json_string_value(json_array_get(failures, 0)));
        json_decref(failures);
        struct timespec pause = {.tv_nsec = PAUSE_NS};
        nanosleep(&pause, NULL);
    }
}

int kp_health_check(struct kp_health *out, struct kp_site *site, bool deep, struct kp_err *err)
{
    static const char *const nodes[] = {"get", "nodes", "-o", "json", NULL};
    static const char *const pods[] = {"get", "pods", "-A", "-o", "json", NULL};
    double until = kp_now() + READY_S;
    out->checks = json_array();
    out->ok = true;
    if (wait_until(out, site, "nodes", nodes, judge_nodes, &until, err) < 0 ||
        wait_until(out, site, "system pods", pods, judge_pods, &until, err) < 0 ||
        kp_health_endpoint(out, site, err) < 0)
        return -1;
    // Pods on nodes that are not Ready would only be waited for in vain.
    if (deep && out->ok && kp_health_probe(out, site, err) < 0)
        return -1;
    return out->ok ? kp_addons_check(out, site, deep, err) : 0;
}
