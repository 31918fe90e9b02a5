/* SPDX-License-Identifier: Apache-2.0 */
#include "install/inventory/custom.h"

#include "core/file.h"
#include "core/text.h"
#include "install/inventory/inventory.h"
#include "install/kernel.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>

#define FIELDS_MAX ((size_t)64 << 10)
#define GATES_KEY "feature-gates"

const char *const kp_mount_types[] = {"DirectoryOrCreate", "Directory", "FileOrCreate", "File",
                                      NULL};

const struct kp_pair *kp_pair_find(const struct kp_pair *pairs, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(pairs[i].key, key) == 0)
            return &pairs[i];
    return NULL;
}

/* --- fields of configurations ----------------------------------------------------------------- */

/* camelCase */
static bool is_field(const char *text)
{
    bool ok = text[0] >= 'a' && text[0] <= 'z' && strlen(text) <= 64;
    for (const char *p = text; *p && ok; p++)
        ok = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9');
    return ok;
}

static int read_field(const struct kp_reading *reading, const struct kp_yaml *map, size_t i,
                      const char *kind, const char *const *own, struct kp_pair *out)
{
    const char *name = map->keys[i];
    for (; *own; own++)
        if (strcmp(*own, name) == 0)
            return kp_yaml_fail(map->key_nodes[i], reading->err, "%s is set by kinstall itself",
                                name);
    if (!is_field(name))
        return kp_yaml_fail(map->key_nodes[i], reading->err, "%s is not a field of %s", name, kind);
    kp_auto_free char *json = kp_yaml_json(map->items[i]);
    size_t len = strlen(json);
    while (len && json[len - 1] == '\n')
        len--;
    *out = (struct kp_pair){kp_arena_strdup(reading->arena, name),
                            kp_arena_strndup(reading->arena, json, len)};
    return len <= FIELDS_MAX
               ? 0
               : kp_yaml_fail(map->items[i], reading->err, "larger than %zu bytes", FIELDS_MAX);
}

static int read_fields(const struct kp_key *key, const struct kp_reading *reading,
                       const struct kp_yaml *value, const char *kind, const char *const *own,
                       void *into)
{
    if (value->type != KP_YAML_MAP)
        return kp_yaml_fail(value, reading->err, "a mapping (key: value) is needed");
    if (value->count > KP_FIELDS_MAX)
        return kp_yaml_fail(value, reading->err, "at most %d are allowed", KP_FIELDS_MAX);
    struct kp_pair *out = kp_arena_array(reading->arena, value->count + 1, sizeof(*out));
    for (size_t i = 0; i < value->count; i++)
        if (read_field(reading, value, i, kind, own, &out[i]) < 0)
            return -1;
    *(struct kp_pair **)((char *)into + key->offset) = out;
    *(size_t *)((char *)into + key->count) = value->count;
    return 0;
}

/* Fields that other keys or kinstall itself decide. */
static const char *const own_kubelet[] = {"apiVersion",
                                          "kind",
                                          "cgroupDriver",
                                          "clusterDomain",
                                          "clusterDNS",
                                          "resolvConf",
                                          "failSwapOn",
                                          "readOnlyPort",
                                          "rotateCertificates",
                                          "serverTLSBootstrap",
                                          "seccompDefault",
                                          "tlsMinVersion",
                                          "tlsCipherSuites",
                                          "authentication",
                                          "authorization",
                                          "protectKernelDefaults",
                                          "enableProfilingHandler",
                                          "containerRuntimeEndpoint",
                                          NULL};

int kp_custom_read_kubelet(const struct kp_key *key, const struct kp_reading *reading,
                           const struct kp_yaml *value, void *into)
{
    return read_fields(key, reading, value, "KubeletConfiguration", own_kubelet, into);
}

bool kp_custom_kubelet_free(const char *field)
{
    for (size_t i = 0; own_kubelet[i]; i++)
        if (strcmp(own_kubelet[i], field) == 0)
            return false;
    return is_field(field);
}

int kp_custom_read_proxy(const struct kp_key *key, const struct kp_reading *reading,
                         const struct kp_yaml *value, void *into)
{
    static const char *const own[] = {
        "apiVersion",       "kind", "mode", "clusterCIDR", "metricsBindAddress",
        "clientConnection", NULL};
    return read_fields(key, reading, value, "KubeProxyConfiguration", own, into);
}

/* --- arguments -------------------------------------------------------------------------------- */

struct decided { /* an argument, or with "-" at its end all that begin so; and what decides it */
    const char *arg, *by;
};

static const struct decided of_all[] = {
    {"profiling", "security.profiling"},
    {GATES_KEY, "kubernetes.feature_gates"},
    {"tls-min-version", "security.tls"},
    {"tls-cipher-suites", "security.tls"},
    {"service-cluster-ip-range", "kubernetes.services"},
    {"cluster-cidr", "kubernetes.pods"},
    {NULL, NULL},
};
static const struct decided of_apiserver[] = {
    {"admission-control-config-file", "security.pod_security"},
    {"anonymous-auth", "security.anonymous"},
    {"audit-policy-file", "security.audit"},
    {"audit-log-path", "security.audit"},
    {"encryption-provider-config", "security.encryption"},
    {"advertise-address", "nodes[].address"},
    {"secure-port", "kubeadm"},
    {"etcd-", "etcd"},
    {NULL, NULL},
};
static const struct decided of_etcd[] = {
    {"quota-backend-bytes", "etcd.quota_bytes"},
    {"heartbeat-interval", "etcd.heartbeat_ms"},
    {"election-timeout", "etcd.election_ms"},
    {"name", "kubeadm"},
    {"data-dir", "kubeadm"},
    {"initial-", "kubeadm"},
    {"listen-", "kubeadm"},
    {"advertise-", "kubeadm"},
    {"client-cert-auth", "kubeadm"},
    {"cert-file", "kubeadm"},
    {"key-file", "kubeadm"},
    {"peer-", "kubeadm"},
    {"trusted-ca-file", "kubeadm"},
    {NULL, NULL},
};

static const char *look_in(const struct decided *table, const char *arg)
{
    for (; table->arg; table++) {
        size_t len = strlen(table->arg);
        bool prefix = table->arg[len - 1] == '-';
        if (prefix ? strncmp(arg, table->arg, len) == 0 : strcmp(arg, table->arg) == 0)
            return table->by;
    }
    return NULL;
}

const char *kp_custom_decider(const char *component, const char *arg)
{
    const char *by = look_in(of_all, arg);
    if (!by && strcmp(component, "apiserver") == 0)
        by = look_in(of_apiserver, arg);
    if (!by && strcmp(component, "etcd") == 0)
        by = look_in(of_etcd, arg);
    return by;
}

static int check_args(const struct kp_reading *reading, const struct kp_yaml *map,
                      const char *component)
{
    for (size_t i = 0; map && i < map->count; i++) {
        const char *arg = map->keys[i], *by = kp_custom_decider(component, arg);
        if (by)
            return kp_yaml_fail(map->key_nodes[i], reading->err, "%s is decided by %s", arg, by);
        if (strcmp(arg, "enable-admission-plugins") == 0 &&
            !strstr(map->items[i]->text, "NodeRestriction"))
            return kp_yaml_fail(map->items[i], reading->err,
                                "must have NodeRestriction in it: it stands in the place of "
                                "kubeadm's own list");
    }
    return 0;
}

static int check_components(const struct kp_reading *reading, const struct kp_yaml *root)
{
    static const char *const components[] = {"apiserver", "controller_manager", "scheduler"};
    const struct kp_yaml *kubernetes = kp_yaml_get(root, "kubernetes");
    for (size_t i = 0; i < KP_COUNT(components); i++) {
        const struct kp_yaml *one = kp_yaml_get(kubernetes, components[i]);
        if (check_args(reading, kp_yaml_get(one, "args"), components[i]) < 0)
            return -1;
    }
    const struct kp_yaml *etcd = kp_yaml_get(kp_yaml_get(root, "etcd"), "args");
    if (etcd && reading->inventory->etcd.external)
        return kp_yaml_fail(etcd, reading->err, "is for stacked etcd only");
    return check_args(reading, etcd, "etcd");
}

/* --- patches ---------------------------------------------------------------------------------- */

/* kubeadm: cmd/kubeadm/app/util/patches. target[suffix][+type].yaml|json */
const char *kp_patch_target(const char *name)
{
    static const char *const targets[] = {"kube-apiserver", "kube-controller-manager",
                                          "kube-scheduler", "etcd", "kubeletconfiguration"};
    static const char *const types[] = {"strategic", "merge", "json"};
    const char *dot = strchr(name, '.'), *plus = strchr(name, '+');
    if (!dot || (strcmp(dot, ".yaml") != 0 && strcmp(dot, ".json") != 0) ||
        !kp_text_plain(name, 128) || strpbrk(name, "/ \"'\\"))
        return NULL;
    bool typed = !plus;
    for (size_t i = 0; plus && i < KP_COUNT(types); i++)
        typed = typed || ((size_t)(dot - plus - 1) == strlen(types[i]) &&
                          strncmp(plus + 1, types[i], strlen(types[i])) == 0);
    for (size_t i = 0; typed && i < KP_COUNT(targets); i++)
        if (kp_starts_with(name, targets[i]))
            return targets[i];
    return NULL;
}

/* What kubeadm would stumble on amid the change of a node. */
static int check_patch(const char *path, const char *name, struct kp_slice text, struct kp_err *err)
{
    kp_auto(kp_yaml_document) document = NULL;
    if (kp_yaml_parse(&document, text, path, err) < 0)
        return -1;
    const struct kp_yaml *root = kp_yaml_root(document);
    if (!strstr(name, "+json."))
        return root->type == KP_YAML_MAP
                   ? 0
                   : kp_yaml_fail(root, err, "a patch of this kind is a mapping (key: value)");
    if (root->type != KP_YAML_LIST)
        return kp_yaml_fail(root, err, "a JSON patch is a list of operations");
    for (size_t i = 0; i < root->count; i++)
        if (!kp_yaml_get(root->items[i], "op") || !kp_yaml_get(root->items[i], "path"))
            return kp_yaml_fail(root->items[i], err, "an operation (op, path, value) is needed");
    return 0;
}

static int read_patch(const struct kp_reading *reading, const char *name, struct kp_err *err)
{
    struct kp_inventory *v = reading->inventory;
    kp_auto_free char *path = kp_path_join(v->kubernetes.patch_folder, name), *text = NULL;
    size_t len;
    if (!kp_patch_target(name)) {
        kp_fail(err, KP_USAGE, "%s: not a name that kubeadm knows", path);
        return kp_hint(err, "TARGET[SUFFIX][+strategic|+merge|+json].yaml or .json; TARGET: "
                            "kube-apiserver, kube-controller-manager, kube-scheduler, etcd, "
                            "kubeletconfiguration");
    }
    if (v->kubernetes.patch_count == KP_PATCHES_MAX)
        return kp_fail(err, KP_USAGE, "%s: more than %d patches", v->kubernetes.patch_folder,
                       KP_PATCHES_MAX);
    if (kp_file_read(path, KP_PATCH_MAX, &text, &len, err) < 0 ||
        check_patch(path, name, (struct kp_slice){text, len}, err) < 0)
        return -1;
    v->kubernetes.patches[v->kubernetes.patch_count++] = (struct kp_patch){
        kp_arena_strdup(reading->arena, name), kp_arena_strndup(reading->arena, text, len)};
    return 0;
}

static int compare_patches(const void *a, const void *b)
{
    return strcmp(((const struct kp_patch *)a)->name, ((const struct kp_patch *)b)->name);
}

static void close_folder(DIR **folder)
{
    if (*folder)
        closedir(*folder);
}

static int read_patches(const struct kp_reading *reading, const struct kp_yaml *root)
{
    struct kp_inventory *v = reading->inventory;
    const struct kp_yaml *at = kp_yaml_get(kp_yaml_get(root, "kubernetes"), "patches");
    const struct dirent *entry;
    if (!v->kubernetes.patch_folder)
        return 0;
    __attribute__((cleanup(close_folder))) DIR *folder = opendir(v->kubernetes.patch_folder);
    if (!folder)
        return kp_yaml_fail(at, reading->err, "%s: %s", v->kubernetes.patch_folder,
                            strerror(errno));
    v->kubernetes.patches =
        kp_arena_array(reading->arena, KP_PATCHES_MAX, sizeof(*v->kubernetes.patches));
    while ((entry = readdir(folder)))
        if (entry->d_name[0] != '.' && read_patch(reading, entry->d_name, reading->err) < 0)
            return -1;
    if (!v->kubernetes.patch_count)
        return kp_yaml_fail(at, reading->err, "%s has no patches", v->kubernetes.patch_folder);
    qsort(v->kubernetes.patches, v->kubernetes.patch_count, sizeof(*v->kubernetes.patches),
          compare_patches);
    return 0;
}

/* --- groups ----------------------------------------------------------------------------------- */

void kp_custom_begin_group(const struct kp_reading *reading, const char *name,
                           const struct kp_yaml *map, void *into)
{
    (void)reading;
    (void)map;
    ((struct kp_group *)into)->name = name;
}

struct layer {
    const struct kp_pair *pairs;
    size_t count;
};

/* Later layers are above earlier ones. */
static struct kp_pair *merge(struct kp_arena *arena, const struct layer *layers, size_t n,
                             size_t *count)
{
    size_t most = 0, out_count = 0;
    for (size_t i = 0; i < n; i++)
        most += layers[i].count;
    struct kp_pair *out = kp_arena_array(arena, most + 1, sizeof(*out));
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < layers[i].count; j++) {
            size_t at = 0;
            while (at < out_count && strcmp(out[at].key, layers[i].pairs[j].key) != 0)
                at++;
            out[at] = layers[i].pairs[j];
            out_count += at == out_count;
        }
    }
    *count = out_count;
    return out;
}

static const struct kp_group *find_group(const struct kp_inventory *v, const char *name)
{
    for (size_t i = 0; i < v->group_count; i++)
        if (strcmp(v->groups[i].name, name) == 0)
            return &v->groups[i];
    return NULL;
}

static int refuse_group(const struct kp_reading *reading, const struct kp_node *node, size_t at)
{
    const struct kp_inventory *v = reading->inventory;
    const char *names[KP_GROUPS_MAX];
    for (size_t i = 0; i < v->group_count; i++)
        names[i] = v->groups[i].name;
    const char *near = kp_nearest(node->groups[at], names, v->group_count);
    return kp_fail(reading->err, KP_USAGE, "%s:%u: %s: the inventory has no group %s%s%s%s",
                   v->path, node->line, node->name, node->groups[at],
                   near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int check_room(const struct kp_reading *reading, const struct kp_node *node,
                      const char *what, size_t count, size_t most)
{
    if (count <= most)
        return 0;
    return kp_fail(reading->err, KP_USAGE, "%s:%u: %s: more than %zu %s, its groups' among them",
                   reading->inventory->path, node->line, node->name, most, what);
}

static int settle_node(const struct kp_reading *reading, struct kp_node *node)
{
    const struct kp_inventory *v = reading->inventory;
    struct layer labels[KP_GROUPS_MAX + 2] = {{0}}, notes[KP_GROUPS_MAX + 2] = {{0}},
                                        sysctls[KP_GROUPS_MAX + 2] = {{0}},
                                        kubelet[KP_GROUPS_MAX + 2] = {{0}};
    size_t n = 0;
    sysctls[n++] = (struct layer){v->sysctls, v->sysctl_count};
    for (size_t i = 0; i < node->group_count; i++, n++) {
        const struct kp_group *group = find_group(v, node->groups[i]);
        if (!group)
            return refuse_group(reading, node, i);
        labels[n] = (struct layer){group->labels, group->label_count};
        notes[n] = (struct layer){group->annotations, group->annotation_count};
        sysctls[n] = (struct layer){group->sysctls, group->sysctl_count};
        kubelet[n] = (struct layer){group->kubelet, group->kubelet_count};
    }
    labels[n] = (struct layer){node->labels, node->label_count};
    notes[n] = (struct layer){node->annotations, node->annotation_count};
    sysctls[n] = (struct layer){node->sysctls, node->sysctl_count};
    kubelet[n] = (struct layer){node->kubelet, node->kubelet_count};
    n++;
    node->labels = merge(reading->arena, labels, n, &node->label_count);
    node->annotations = merge(reading->arena, notes, n, &node->annotation_count);
    node->sysctls = merge(reading->arena, sysctls, n, &node->sysctl_count);
    node->kubelet = merge(reading->arena, kubelet, n, &node->kubelet_count);
    for (size_t i = 0; i < node->sysctl_count; i++)
        if (kp_kernel_is_decided(node->sysctls[i].key))
            return kp_fail(reading->err, KP_USAGE,
                           "%s:%u: %s: sysctls: %s is set by kinstall itself", v->path, node->line,
                           node->name, node->sysctls[i].key);
    if (check_room(reading, node, "labels", node->label_count, KP_LABELS_MAX) < 0 ||
        check_room(reading, node, "annotations", node->annotation_count, KP_LABELS_MAX) < 0)
        return -1;
    return check_room(reading, node, "sysctls", node->sysctl_count, KP_SYSCTLS_MAX);
}

int kp_custom_settle(const struct kp_reading *reading, const struct kp_yaml *root)
{
    struct kp_inventory *v = reading->inventory;
    for (size_t i = 0; i < v->node_count; i++)
        if (settle_node(reading, &v->nodes[i]) < 0)
            return -1;
    return check_components(reading, root) < 0 ? -1 : read_patches(reading, root);
}
