/* SPDX-License-Identifier: Apache-2.0 */
#include "install/steps/common.h"

#include "core/text.h"
#include "install/runtime.h"
#include "install/inventory/network.h"

#define OUTPUT_FILE_MAX ((size_t)1 << 20)

static int flags_of(const struct kp_site *site)
{
    return site->dry_run ? KP_DRY_RUN : 0;
}

static void report(struct kp_site *site, struct kp_site_node *node, const char *verb,
                   const char *what, const struct kp_change *change, bool *changed)
{
    kp_auto_free char *text = kp_asprintf("%s %s", verb, what);
    kp_step_changed(site, node, text, change);
    if (changed && change->changed)
        *changed = true;
}

int kp_place(struct kp_site *site, struct kp_site_node *node, const char *path,
             struct kp_slice data, unsigned mode, bool *changed, struct kp_err *err)
{
    kp_auto_value(kp_change) change = {0};
    if (kp_session_put(node->session, path, data, mode, flags_of(site), &change, err) < 0)
        return kp_wrap(err, "write %s", path);
    report(site, node, "write", path, &change, changed);
    return 0;
}

int kp_place_secret(struct kp_site *site, struct kp_site_node *node, const char *path,
                    const char *text, bool *changed, struct kp_err *err)
{
    kp_auto_value(kp_change) change = {0};
    int flags = flags_of(site) | KP_PUT_SECRET;
    if (kp_session_put(node->session, path, kp_slice_of(text), 0600, flags, &change, err) < 0)
        return kp_wrap(err, "write %s", path);
    report(site, node, "write", path, &change, changed);
    return 0;
}

int kp_place_template(struct kp_site *site, struct kp_site_node *node, const char *path,
                      const char *template_name, const struct kp_vars *vars, bool *changed,
                      struct kp_err *err)
{
    kp_auto_free char *text = NULL;
    if (kp_render(&text, template_name, vars, err) < 0)
        return -1;
    return kp_place(site, node, path, kp_slice_of(text), 0644, changed, err);
}

int kp_place_removed(struct kp_site *site, struct kp_site_node *node, const char *path,
                     bool *changed, struct kp_err *err)
{
    kp_auto_value(kp_change) change = {0};
    if (kp_session_remove(node->session, path, flags_of(site), &change, err) < 0)
        return kp_wrap(err, "remove %s", path);
    report(site, node, "remove", path, &change, changed);
    return 0;
}

static int place_signed(struct kp_site *site, struct kp_site_node *node, const struct kp_file *file,
                        bool direct, bool *changed, struct kp_err *err)
{
    kp_auto_value(kp_change) change = {0};
    struct kp_mirrors mirrors = {site->mirror_urls,
                                 kp_slice_of(site->mirror_ca ? site->mirror_ca : "")};
    if (kp_session_fetch(node->session, file, direct ? NULL : &mirrors, flags_of(site), &change,
                         err) < 0)
        return kp_wrap(err, "%s %s", file->name, file->version);
    kp_auto_free char *what = kp_asprintf("%s (%s)", file->target, file->version);
    report(site, node, "place", what, &change, changed);
    return 0;
}

int kp_place_file(struct kp_site *site, struct kp_site_node *node, const char *name, bool direct,
                  bool *changed, struct kp_err *err)
{
    const struct kp_file *file = kp_manifest_file(site->manifest, name, node->arch);
    if (!file)
        return kp_fail_as(err, KP_MISSING, "missing_file", "the bundle has no %s for %s", name,
                          node->arch);
    return place_signed(site, node, file, direct, changed, err);
}

int kp_place_component(struct kp_site *site, struct kp_site_node *node, const char *component,
                       bool *changed, struct kp_err *err)
{
    size_t found = 0;
    for (size_t i = 0; i < site->manifest->file_count; i++) {
        const struct kp_file *file = &site->manifest->files[i];
        if (strcmp(file->component, component) != 0 || strcmp(file->arch, node->arch) != 0 ||
            !(file->roles & node->node->roles) ||
            !kp_runtime_takes(site->inventory, site->manifest, node->node, file))
            continue;
        found++;
        if (place_signed(site, node, file, false, changed, err) < 0)
            return -1;
    }
    return found ? 0
                 : kp_fail_as(err, KP_MISSING, "missing_file", "the bundle has no %s for %s",
                              component, node->arch);
}

int kp_place_unit(struct kp_site *site, struct kp_site_node *node, const char *unit,
                  enum kp_unit_action action, bool *changed, struct kp_err *err)
{
    static const char *const verbs[] = {"start", "restart", "stop", "reload", "mask", "unmask"};
    kp_auto_value(kp_change) change = {0};
    if (kp_session_unit(node->session, unit, action, flags_of(site), &change, err) < 0)
        return kp_wrap(err, "%s %s", verbs[action], unit);
    report(site, node, verbs[action], unit, &change, changed);
    return 0;
}

int kp_place_service(struct kp_site *site, struct kp_site_node *node, const char *unit,
                     bool changed, struct kp_err *err)
{
    if (!changed)
        return kp_place_unit(site, node, unit, KP_UNIT_ENABLE_START, NULL, err);
    if (kp_place_unit(site, node, unit, KP_UNIT_RELOAD_DAEMON, NULL, err) < 0 ||
        kp_place_enabled(site, node, unit, err) < 0)
        return -1;
    return kp_place_unit(site, node, unit, KP_UNIT_RESTART, NULL, err);
}

int kp_restart_kubelet(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const argv[] = {"date", "-u", "+%Y-%m-%dT%H:%M:%SZ", NULL};
    kp_auto_free char *now = NULL;
    if (!site->dry_run) {
        if (kp_ask(site, node, argv, 30, NULL, &now, err) < 0)
            return -1;
        now[strcspn(now, "\n")] = '\0';
        if (!kp_parse_utc(now, &node->kubelet_since))
            return kp_fail_as(err, KP_FAILED, "bad_time", "%s: date says \"%.40s\"",
                              node->node->name, now);
    }
    return kp_place_unit(site, node, "kubelet.service", KP_UNIT_RESTART, NULL, err);
}

char *kp_hand_path(const struct kp_site *site, const struct kp_site_node *node)
{
    const struct kp_file *hand = kp_manifest_file(site->manifest, "knode", node->arch);
    return hand ? kp_asprintf(KP_HANDS "/knode-%s", kp_digest_hex(&hand->sha256).hex) : NULL;
}

int kp_place_enabled(struct kp_site *site, struct kp_site_node *node, const char *unit,
                     struct kp_err *err)
{
    const char *ask[] = {"systemctl", "is-enabled", "--quiet", unit, NULL};
    const char *enable[] = {"systemctl", "enable", "--quiet", unit, NULL};
    struct kp_change change = {.changed = true};
    int status;
    if (kp_ask(site, node, ask, 30, &status, NULL, err) < 0)
        return -1;
    if (status == 0)
        return 0;
    if (!site->dry_run && kp_ask(site, node, enable, 30, NULL, NULL, err) < 0)
        return -1;
    report(site, node, "enable", unit, &change, NULL);
    return 0;
}

int kp_ask(struct kp_site *site, struct kp_site_node *node, const char *const *argv,
           unsigned timeout, int *status, char **out, struct kp_err *err)
{
    static const char *const env[] = {KP_PATH_ENV, NULL};
    const struct kp_run run = {.argv = argv, .env = env, .timeout = timeout};
    kp_auto_value(kp_run_result) result = {0};
    int failed = status ? kp_session_run(node->session, &run, &result, err)
                        : kp_step_run(site, node, &run, &result, err);
    if (failed < 0)
        return -1;
    if (status)
        *status = result.status;
    if (out)
        *out = kp_buf_steal(&result.out);
    return 0;
}

int kp_have_file(struct kp_site_node *node, const char *path, bool *found, struct kp_err *err)
{
    const char *argv[] = {"test", "-e", path, NULL};
    int status;
    if (kp_ask(NULL, node, argv, 30, &status, NULL, err) < 0)
        return -1;
    *found = status == 0;
    return 0;
}

static const json_t *fact(const struct kp_site_node *node, const char *part, const char *key)
{
    return json_object_get(json_object_get(node->facts, part), key);
}

bool kp_fact_true(const struct kp_site_node *node, const char *part, const char *key)
{
    return json_is_true(fact(node, part, key));
}

bool kp_fact_writable(const struct kp_site_node *node, const char *sysctl)
{
    const json_t *all = fact(node, "kernel", "sysctl");
    return !json_is_false(json_object_get(json_object_get(all, sysctl), "writable"));
}

struct kp_site_node *kp_first(struct kp_site *site)
{
    return &site->nodes[0];
}

size_t kp_control_planes(const struct kp_site *site)
{
    return site->inventory->control_plane_count;
}

size_t kp_members(const struct kp_site *site)
{
    return kp_inventory_members(site->inventory);
}

bool kp_is_control_plane(const struct kp_site_node *node)
{
    return (node->node->roles & KP_ROLE_CONTROL_PLANE) != 0;
}

int kp_recorded(struct kp_site *site, struct kp_site_node *node, const char *step, bool *begun,
                bool *finished, struct kp_err *err)
{
    kp_auto_json record = NULL;
    if (kp_session_record(node->session, &record, err) < 0)
        return kp_wrap(err, "read the node's record");
    const char *cluster = json_string_value(json_object_get(record, "cluster"));
    if (cluster && strcmp(cluster, site->inventory->cluster) != 0) {
        kp_fail_as(err, KP_FAILED, "other_cluster", "this node belongs to the cluster %s", cluster);
        return kp_hint(err, "take it out there first, or: kinstall reset with that inventory");
    }
    pthread_mutex_lock(&site->lock);
    json_decref(node->record);
    node->record = kp_steal(&record);
    *finished = json_object_get(json_object_get(node->record, "finished"), step) != NULL;
    *begun = kp_json_lists(json_object_get(node->record, "begun"), step);
    pthread_mutex_unlock(&site->lock);
    return 0;
}

int kp_joined(struct kp_site *site, struct kp_site_node *node, bool *joined, struct kp_err *err)
{
    bool begun, made;
    if (kp_recorded(site, node, "kubeadm-init", &begun, &made, err) < 0 ||
        kp_recorded(site, node, "kubeadm-join", &begun, joined, err) < 0)
        return -1;
    *joined = *joined || made;
    return 0;
}

bool kp_was_begun(const struct kp_site_node *node, const char *step)
{
    return kp_json_lists(json_object_get(node->record, "begun"), step);
}

char *kp_endpoint(const struct kp_site *site)
{
    return kp_endpoint_text(site->inventory);
}

unsigned kp_minor(const struct kp_site *site)
{
    struct kp_slice rest = kp_slice_of(site->manifest->kubernetes), part;
    uint64_t major = 0, minor = 0;
    if (kp_slice_starts(rest, "v")) {
        rest.ptr++;
        rest.len--;
    }
    if (kp_slice_cut(&rest, '.', &part) && kp_parse_u64(part, 9, &major) &&
        kp_slice_cut(&rest, '.', &part) && kp_parse_u64(part, 99, &minor))
        return (unsigned)(major * 100 + minor);
    return 0;
}
