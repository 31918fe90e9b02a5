/* SPDX-License-Identifier: Apache-2.0 */
#include "install/check/cis_ask.h"

#include "install/etcd/etcd.h"
#include "install/steps/common.h"
#include "install/steps/encryption.h"
#include "install/steps/proxy.h"
#include "install/steps/secure.h"

#include <ctype.h>

#define STAT_MAX 64

/* --- nodes ----------------------------------------------------------------------------------- */

/* Lines of "PATH MODE OWNER". */
static void add_files(json_t *out, const char *text)
{
    struct kp_slice rest = kp_slice_of(text), line, path;
    while (kp_slice_line(&rest, &line)) {
        if (!kp_slice_cut(&line, ' ', &path))
            continue;
        kp_auto_free char *key = kp_strndup(path.ptr, path.len);
        json_object_set_new(out, key, json_stringn(line.ptr, line.len));
    }
}

/* Files that are named, and all beneath the folders of keys. */
static int ask_files(struct kp_site *site, struct kp_site_node *node, json_t *out,
                     struct kp_err *err)
{
    static const char *const find[] = {
        "find", "/etc/kubernetes/pki", KP_ETCD_FOLDER, "-type", "f", "-printf", "%p %m %u:%g\\n",
        NULL};
    const char *argv[STAT_MAX + 4] = {"stat", "-c", "%n %a %U:%G"};
    size_t n = 3;
    int status;
    kp_auto_free char *named = NULL, *found = NULL;
    for (const struct kp_cis_check *c = kp_cis_checks; c->id && n < STAT_MAX + 3; c++)
        if (c->on == KP_CIS_FILE && !strchr(c->subject, '*'))
            argv[n++] = c->subject;
    // those that are not there make its status 1
    if (kp_ask(site, node, argv, 30, &status, &named, err) < 0 ||
        kp_ask(site, node, find, 30, &status, &found, err) < 0)
        return -1;
    add_files(out, named);
    add_files(out, found);
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

/* "ETCD_CLIENT_CERT_AUTH=true" is what "--client-cert-auth=true" is. */
static json_t *parse_env(const char *text)
{
    static const char prefix[] = "ETCD_";
    json_t *out = json_object();
    struct kp_slice rest = kp_slice_of(text), line, name;
    while (kp_slice_line(&rest, &line)) {
        if (!kp_slice_starts(line, prefix) || !kp_slice_cut(&line, '=', &name))
            continue;
        kp_auto_free char *arg = kp_strndup(name.ptr + strlen(prefix), name.len - strlen(prefix));
        for (char *p = arg; *p; p++)
            *p = *p == '_' ? '-' : (char)tolower((unsigned char)*p);
        json_object_set_new(out, arg, json_stringn(line.ptr, line.len));
    }
    return out;
}

/* External etcd's settings, under the key that a pod's arguments have. */
static int ask_etcd(struct kp_site *site, struct kp_site_node *node, json_t *kept,
                    struct kp_err *err)
{
    static const char *const argv[] = {"cat", KP_ETCD_FOLDER "/etcd.env", NULL};
    int status;
    kp_auto_free char *text = NULL;
    if (!(node->node->roles & KP_ROLE_ETCD))
        return 0;
    if (kp_ask(site, node, argv, 30, &status, &text, err) < 0)
        return -1;
    if (status == 0)
        json_object_set_new(kept, "etcd", parse_env(text));
    return 0;
}

/* What the file of keys writes Secrets with; never the keys. */
static int ask_provider(struct kp_site *site, struct kp_site_node *node, json_t *args,
                        struct kp_err *err)
{
    static const char *const argv[] = {
        "sed", "-n", "/providers:/{n;s/^[- ]*\\([a-z]*\\):.*/\\1/p;q;}", KP_ENCRYPTION_FILE, NULL};
    int status;
    kp_auto_free char *text = NULL;
    if (!args)
        return 0;
    if (kp_ask(site, node, argv, 30, &status, &text, err) < 0)
        return -1;
    struct kp_slice word = kp_slice_trim(kp_slice_of(text));
    if (status == 0 && word.len)
        json_object_set_new(args, KP_CIS_PROVIDER, json_stringn(word.ptr, word.len));
    return 0;
}

/* --- all of it -------------------------------------------------------------------------------- */

static int ask_node(struct kp_site *site, struct kp_site_node *node, json_t *kept, json_t *api,
                    struct kp_err *err)
{
    kp_auto_json kubelet = NULL;
    json_t *files = json_object();
    json_object_set_new(kept, "files", files);
    if (ask_files(site, node, files, err) < 0 || ask_etcd(site, node, kept, err) < 0 ||
        ask_provider(site, node, api, err) < 0)
        return kp_wrap(err, "%s", node->node->name);
    if (!(node->node->roles & (KP_ROLE_CONTROL_PLANE | KP_ROLE_WORKER)))
        return 0;
    if (ask_kubelet(site, node->node->name, &kubelet, err) < 0)
        return kp_wrap(err, "%s", node->node->name);
    json_object_set(kept, "kubelet", kubelet);
    return 0;
}

static json_t *of_pod(json_t *pods, const struct kp_site_node *node, int on)
{
    kp_auto_free char *key = kp_asprintf("%s/%d", node->node->name, on);
    return json_object_get(pods, key);
}

static int ask_cluster(struct kp_site *site, json_t *store, struct kp_cis_node *out,
                       struct kp_err *err)
{
    json_t *pods = NULL, *proxy = NULL, *tried = json_object();
    json_object_set_new(store, "tried", tried);
    if (ask_pods(site, &pods, err) < 0)
        return -1;
    json_object_set_new(store, "pods", pods);
    if (kp_proxy_config(site, &proxy, err) < 0)
        return -1;
    if (proxy)
        json_object_set_new(store, "proxy", proxy);
    if (kp_cis_try(tried, site, err) < 0)
        return -1;
    *out = (struct kp_cis_node){.name = "cluster"};
    out->objects[KP_CIS_PROXY] = proxy;
    out->objects[KP_CIS_TRIED] = tried;
    return 0;
}

int kp_cis_ask(json_t **evidence, struct kp_cis_node *nodes, size_t *count, struct kp_site *site,
               struct kp_err *err)
{
    kp_auto_json store = json_object();
    if (ask_cluster(site, store, &nodes[site->node_count], err) < 0)
        return -1;
    json_t *pods = json_object_get(store, "pods");
    for (size_t i = 0; i < site->node_count; i++) {
        struct kp_site_node *node = &site->nodes[i];
        json_t *kept = json_object();
        json_object_set_new(store, node->node->name, kept);
        if (ask_node(site, node, kept, of_pod(pods, node, KP_CIS_API), err) < 0)
            return -1;
        nodes[i] =
            (struct kp_cis_node){.name = node->node->name, .files = json_object_get(kept, "files")};
        for (int on = KP_CIS_API; on <= KP_CIS_ETCD; on++)
            nodes[i].objects[on] = of_pod(pods, node, on);
        nodes[i].objects[KP_CIS_KUBELET] = json_object_get(kept, "kubelet");
        if (json_object_get(kept, "etcd"))
            nodes[i].objects[KP_CIS_ETCD] = json_object_get(kept, "etcd");
    }
    *count = site->node_count + 1;
    *evidence = kp_steal(&store);
    return 0;
}
