/* SPDX-License-Identifier: Apache-2.0 */
#include "install/check/health_report.h"

#include "core/file.h"
#include "core/text.h"
#include "install/steps/common.h"

#include <time.h>

#define REPORT_MAX ((size_t)4 << 20)
#define REPORT "report.json"

void kp_health_release(struct kp_health *health)
{
    json_decref(health->checks);
    *health = (struct kp_health){0};
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
