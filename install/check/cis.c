/* SPDX-License-Identifier: Apache-2.0 */
#include "install/check/cis.h"

#include "core/slice.h"
#include "install/steps/common.h"
#include "manifests/yaml.h"

#define STAT_MAX 64

/* --- judging ---------------------------------------------------------------------------------- */

/* A name may have dots itself. */
static const json_t *walk(const json_t *object, const char *path)
{
    const json_t *at = json_object_get(object, path);
    const char *dot = strchr(path, '.');
    if (at || !dot)
        return at;
    kp_auto_free char *key = kp_strndup(path, (size_t)(dot - path));
    return walk(json_object_get(object, key), dot + 1);
}

/* The text of an argument, or of a field given by its path. */
static char *look_up(const json_t *object, const char *path)
{
    const json_t *at = walk(object, path);
    if (json_is_string(at))
        return kp_strdup(json_string_value(at));
    if (json_is_integer(at))
        return kp_asprintf("%lld", (long long)json_integer_value(at));
    if (json_is_boolean(at))
        return kp_strdup(json_is_true(at) ? "true" : "false");
    return NULL;
}

static bool list_has(const char *list, const char *wanted)
{
    struct kp_slice rest = kp_slice_of(list), word;
    while (kp_slice_cut(&rest, ',', &word))
        if (kp_slice_equal(word, wanted))
            return true;
    return kp_slice_equal(rest, wanted);
}

static bool is_at_least(const char *text, const char *least)
{
    uint64_t have, need;
    return text && kp_parse_u64(kp_slice_of(text), UINT32_MAX, &have) &&
           kp_parse_u64(kp_slice_of(least), UINT32_MAX, &need) && have >= need;
}

static bool judge_value(const struct kp_cis_check *check, const char *value)
{
    const char *effective = value ? value : check->fallback;
    switch (check->rule) {
    case KP_CIS_EQUALS:
        return effective && strcmp(effective, check->value) == 0;
    case KP_CIS_NOT:
        return !value || strcmp(value, check->value) != 0;
    case KP_CIS_SET:
        return value && *value;
    case KP_CIS_UNSET:
        return !value;
    case KP_CIS_HAS:
        return value && list_has(value, check->value);
    case KP_CIS_HAS_NOT:
        return !value || !list_has(value, check->value);
    case KP_CIS_LEAST:
        return is_at_least(value, check->value);
    case KP_CIS_MODE:
    case KP_CIS_OWNER:
        break;
    }
    return false;
}

/* "600 root:root" */
static bool judge_file(const struct kp_cis_check *check, const char *state)
{
    struct kp_slice owner = kp_slice_of(state), mode;
    uint64_t have, most;
    if (!kp_slice_cut(&owner, ' ', &mode) || !kp_parse_octal(mode, 07777, &have))
        return false;
    if (check->rule == KP_CIS_OWNER)
        return kp_slice_equal(owner, check->value);
    return kp_parse_octal(kp_slice_of(check->value), 07777, &most) && (have & ~most & 0777) == 0;
}

bool kp_cis_judge(const struct kp_cis_check *check, const struct kp_cis_node *node, bool *applies,
                  char **found)
{
    if (check->on == KP_CIS_FILE) {
        const char *state = json_string_value(json_object_get(node->files, check->subject));
        *applies = state != NULL;
        *found = kp_strdup(state ? state : "");
        return !state || judge_file(check, state);
    }
    const json_t *object = check->on == KP_CIS_KUBELET ? node->kubelet : node->args[check->on];
    kp_auto_free char *value = look_up(object, check->subject);
    *applies = object != NULL;
    *found = kp_strdup(value ? value : "not set");
    return !object || judge_value(check, value);
}

/* --- asking ----------------------------------------------------------------------------------- */

static int ask_files(struct kp_site *site, struct kp_site_node *node, json_t *out,
                     struct kp_err *err)
{
    const char *argv[STAT_MAX + 4] = {"stat", "-c", "%n %a %U:%G"};
    size_t n = 3;
    int status;
    kp_auto_free char *text = NULL;
    for (const struct kp_cis_check *c = kp_cis_checks; c->id && n < STAT_MAX + 3; c++)
        if (c->on == KP_CIS_FILE)
            argv[n++] = c->subject;
    // those that are not there make its status 1
    if (kp_ask(site, node, argv, 30, &status, &text, err) < 0)
        return -1;
    struct kp_slice rest = kp_slice_of(text), line, path;
    while (kp_slice_line(&rest, &line)) {
        if (!kp_slice_cut(&line, ' ', &path))
            continue;
        kp_auto_free char *key = kp_strndup(path.ptr, path.len);
        json_object_set_new(out, key, json_stringn(line.ptr, line.len));
    }
    return 0;
}

/* ["kube-apiserver", "--profiling=false", …] */
static json_t *parse_args(const json_t *command)
{
    json_t *out = json_object(), *word;
    size_t i;
    json_array_foreach(command, i, word)
    {
        const char *text = json_string_value(word);
        if (!text || !kp_starts_with(text, "--"))
            continue;
        const char *equals = strchr(text, '=');
        kp_auto_free char *name =
            equals ? kp_strndup(text + 2, (size_t)(equals - text - 2)) : kp_strdup(text + 2);
        json_object_set_new(out, name, json_string(equals ? equals + 1 : "true"));
    }
    return out;
}

static enum kp_cis_on kind_of(const json_t *pod)
{
    static const struct {
        const char *component;
        enum kp_cis_on on;
    } kinds[] = {{"kube-apiserver", KP_CIS_API},
                 {"kube-controller-manager", KP_CIS_CONTROLLER},
                 {"kube-scheduler", KP_CIS_SCHEDULER},
                 {"etcd", KP_CIS_ETCD}};
    const char *component = json_string_value(
        json_object_get(json_object_get(json_object_get(pod, "metadata"), "labels"), "component"));
    for (size_t i = 0; component && i < KP_COUNT(kinds); i++)
        if (strcmp(kinds[i].component, component) == 0)
            return kinds[i].on;
    return KP_CIS_FILE;
}

/* {"cp1": [null, {api server's}, …]} */
static int ask_pods(struct kp_site *site, json_t **out, struct kp_err *err)
{
    static const char *const argv[] = {
        "get", "pods", "-n", "kube-system", "-l", "tier=control-plane", "-o", "json", NULL};
    kp_auto_json pods = NULL;
    size_t i;
    json_t *pod;
    if (kp_kube_json(site, &pods, NULL, argv, err) < 0)
        return -1;
    *out = json_object();
    json_array_foreach(json_object_get(pods, "items"), i, pod)
    {
        json_t *spec = json_object_get(pod, "spec");
        json_t *container = json_array_get(json_object_get(spec, "containers"), 0);
        const char *node = json_string_value(json_object_get(spec, "nodeName"));
        enum kp_cis_on on = kind_of(pod);
        if (!node || on == KP_CIS_FILE)
            continue;
        kp_auto_free char *key = kp_asprintf("%s/%d", node, (int)on);
        json_object_set_new(*out, key, parse_args(json_object_get(container, "command")));
    }
    return 0;
}

static int ask_kubelet(struct kp_site *site, const char *node, json_t **out, struct kp_err *err)
{
    kp_auto_free char *path = kp_asprintf("/api/v1/nodes/%s/proxy/configz", node);
    const char *argv[] = {"get", "--raw", path, NULL};
    kp_auto_json answer = NULL;
    if (kp_kube_json(site, &answer, NULL, argv, err) < 0)
        return -1;
    *out = json_incref(json_object_get(answer, "kubeletconfig"));
    return 0;
}

/* KubeProxyConfiguration out of its ConfigMap; nothing where another part does its work. */
static int ask_proxy(struct kp_site *site, json_t **out, struct kp_err *err)
{
    static const char *const argv[] = {"get",         "configmap", "kube-proxy", "-n",
                                       "kube-system", "-o",        "json",       NULL};
    kp_auto_json map = NULL;
    kp_auto(kp_yaml_document) document = NULL;
    bool found;
    if (kp_kube_json(site, &map, &found, argv, err) < 0)
        return -1;
    const char *text =
        json_string_value(json_object_get(json_object_get(map, "data"), "config.conf"));
    if (!text)
        return 0;
    if (kp_yaml_parse(&document, kp_slice_of(text), "kube-proxy's config.conf", err) < 0)
        return -1;
    kp_auto_free char *json = kp_yaml_json(kp_yaml_root(document));
    return kp_json_parse(out, kp_slice_of(json), KP_YAML_MAX, "kube-proxy's config.conf", err);
}

/* --- the report ------------------------------------------------------------------------------- */

static json_t *judge_all(const struct kp_cis_node *nodes, size_t count, size_t *failed)
{
    json_t *out = json_array();
    for (const struct kp_cis_check *check = kp_cis_checks; check->id; check++) {
        json_t *failures = json_array();
        size_t looked = 0;
        for (size_t i = 0; i < count; i++) {
            bool applies;
            kp_auto_free char *found = NULL;
            bool ok = kp_cis_judge(check, &nodes[i], &applies, &found);
            looked += applies;
            if (!ok)
                json_array_append_new(failures, json_pack("{s:s, s:s, s:s, s:s?}", "node",
                                                          nodes[i].name, "subject", check->subject,
                                                          "found", found, "wanted", check->value));
        }
        bool ok = json_array_size(failures) == 0;
        *failed += !ok;
        json_array_append_new(out, json_pack("{s:s, s:s, s:b, s:I, s:o}", "id", check->id, "title",
                                             check->title, "ok", ok, "nodes", (json_int_t)looked,
                                             "failures", failures));
    }
    return out;
}

static json_t *gaps(void)
{
    json_t *out = json_array();
    for (const struct kp_cis_gap *gap = kp_cis_gaps; gap->ids; gap++)
        json_array_append_new(out, json_pack("{s:s, s:s}", "ids", gap->ids, "why", gap->why));
    return out;
}

static int ask_node(struct kp_site *site, struct kp_site_node *node, json_t *store,
                    struct kp_err *err)
{
    kp_auto_json kubelet = NULL;
    json_t *files = json_object();
    json_object_set_new(store, "files", files);
    if (ask_files(site, node, files, err) < 0 ||
        ask_kubelet(site, node->node->name, &kubelet, err) < 0)
        return kp_wrap(err, "%s", node->node->name);
    json_object_set(store, "kubelet", kubelet);
    return 0;
}

int kp_cis_report(json_t **out, struct kp_site *site, struct kp_err *err)
{
    kp_auto_free struct kp_cis_node *nodes = kp_alloc_array(site->node_count, sizeof(*nodes));
    kp_auto_json store = json_array();
    kp_auto_json pods = NULL;
    kp_auto_json proxy = NULL;
    size_t failed = 0;
    if (ask_pods(site, &pods, err) < 0 || ask_proxy(site, &proxy, err) < 0)
        return -1;
    for (size_t i = 0; i < site->node_count; i++) {
        struct kp_site_node *node = &site->nodes[i];
        json_t *kept = json_object();
        json_array_append_new(store, kept);
        if (ask_node(site, node, kept, err) < 0)
            return -1;
        nodes[i] = (struct kp_cis_node){.name = node->node->name,
                                        .files = json_object_get(kept, "files"),
                                        .kubelet = json_object_get(kept, "kubelet")};
        for (int on = KP_CIS_API; on <= KP_CIS_ETCD; on++) {
            kp_auto_free char *key = kp_asprintf("%s/%d", node->node->name, on);
            nodes[i].args[on] = json_object_get(pods, key);
        }
        nodes[i].args[KP_CIS_PROXY] = i == 0 ? proxy : NULL;
    }
    json_t *checks = judge_all(nodes, site->node_count, &failed);
    *out = json_pack("{s:s, s:o, s:o, s:I}", "benchmark", "CIS Kubernetes 1.9", "checks", checks,
                     "not_covered", gaps(), "failed", (json_int_t)failed);
    return 0;
}
