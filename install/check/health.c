/* SPDX-License-Identifier: Apache-2.0 */
#include "install/check/health.h"

#include "core/file.h"
#include "core/text.h"
#include "install/addons/addons.h"
#include "install/check/health_probe.h"
#include "install/steps/common.h"

#include <time.h>

#define READY_S 180.0
#define PAUSE_NS 300000000L
#define REPORT_MAX ((size_t)4 << 20)
#define REPORT "report.json"

void kp_health_release(struct kp_health *health)
{
    json_decref(health->checks);
    *health = (struct kp_health){0};
}

bool kp_health_tries(size_t i, size_t j, size_t n)
{
    size_t distance = (j + n - i) % n;
    if (i == j)
        return false;
    return n <= KP_HEALTH_ALL_PAIRS || distance <= 2 || distance == n / 2;
}

size_t kp_health_pairs(size_t n)
{
    size_t pairs = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            pairs += kp_health_tries(i, j, n);
    return pairs;
}

void kp_health_note(struct kp_health *health, const char *name, double start, const char *detail,
                    json_t *failures)
{
    bool ok = json_array_size(failures) == 0;
    if (!ok && health->ok) {
        health->ok = false;
        snprintf(health->first_failure, sizeof(health->first_failure), "%s: %s", name,
                 json_string_value(json_array_get(failures, 0)));
    }
    json_array_append_new(health->checks, json_pack("{s:s, s:b, s:f, s:s, s:o}", "name", name, "ok",
                                                    (int)ok, "seconds", kp_now() - start, "detail",
                                                    detail, "failures", failures));
}

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

static const char *name_of(const json_t *object)
{
    const char *name =
        json_string_value(json_object_get(json_object_get(object, "metadata"), "name"));
    return name ? name : "";
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
                                       name_of(node), kinds[i], message_of(found)));
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
            if (strcmp(name_of(item), name) == 0)
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
                                  json_sprintf("%s/%s is not Ready (%s)", namespace_, name_of(item),
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

int kp_health_store(const struct kp_health *health, const struct kp_site *site, bool deep,
                    struct kp_err *err)
{
    kp_auto_free char *path = kp_path_join(site->state_folder, REPORT);
    json_t *names = json_array();
    for (size_t i = 0; i < kp_members(site); i++)
        json_array_append_new(names, json_string(site->nodes[i].node->name));
    kp_auto_json report = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:o, s:O}", "kind", "kpack.report/v1", "cluster",
        site->inventory->cluster, "kubernetes", site->manifest->kubernetes, "bundle",
        kp_digest_hex(&site->manifest->id).hex, "time", kp_text_utc(time(NULL)).s, "ok",
        (int)health->ok, "deep", (int)deep, "nodes", names, "checks", health->checks);
    kp_auto_free char *text = kp_json_dump(report, false);
    return kp_file_write_atomic(path, kp_slice_of(text), 0600, err);
}

static bool lists_all_nodes(const json_t *names, const struct kp_site *site)
{
    if (json_array_size(names) != kp_members(site))
        return false;
    for (size_t i = 0; i < kp_members(site); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        if (!name || strcmp(name, site->nodes[i].node->name) != 0)
            return false;
    }
    return true;
}

static bool was_proven(const struct kp_site *site)
{
    kp_auto_free char *path = kp_path_join(site->state_folder, REPORT), *text = NULL;
    kp_auto_json report = NULL;
    struct kp_err ignored;
    size_t len;
    if (kp_file_read(path, REPORT_MAX, &text, &len, &ignored) < 0 ||
        kp_json_parse(&report, (struct kp_slice){text, len}, REPORT_MAX, REPORT, &ignored) < 0)
        return false;
    const char *bundle = json_string_value(json_object_get(report, "bundle"));
    return bundle && strcmp(bundle, kp_digest_hex(&site->manifest->id).hex) == 0 &&
           json_is_true(json_object_get(report, "ok")) &&
           json_is_true(json_object_get(report, "deep")) &&
           lists_all_nodes(json_object_get(report, "nodes"), site);
}

bool kp_health_still_proven(struct kp_site *site)
{
    size_t changes = 0;
    pthread_mutex_lock(&site->lock);
    for (size_t i = 0; i < site->node_count; i++)
        changes += site->nodes[i].changes;
    pthread_mutex_unlock(&site->lock);
    return changes == 0 && was_proven(site);
}
