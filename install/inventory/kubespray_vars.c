/* SPDX-License-Identifier: Apache-2.0 */
#include "install/inventory/kubespray_vars.h"

#include "core/file.h"
#include "install/inventory/inventory.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>

#define FOLDER_DEPTH_MAX 4
#define TEMPLATE_DEPTH_MAX 8
#define NAME_MAX_LEN 253
#define ALL "all" /* the only group of depth 0 */
#define NOTHING SIZE_MAX

struct layers {
    const struct kp_yaml **maps;
    size_t count;
};
struct group {
    const char *name;
    unsigned depth;
    struct layers inner, files; /* `vars:` of the inventory; group_vars */
    bool child[KP_KUBESPRAY_GROUPS_MAX];
    bool host[KP_NODES_MAX]; /* beneath it, at any depth */
};
struct host {
    const char *name;
    struct layers inner, files;
};
struct kp_kubespray {
    struct kp_arena *arena;
    struct group **groups; /* by depth and name once loaded */
    size_t group_count;
    struct host *hosts;
    size_t host_count;
    struct kp_yaml_document *documents[KP_KUBESPRAY_FILES_MAX];
    size_t document_count, file_count;
    const char *vaults[KP_KUBESPRAY_FILES_MAX];
    size_t vault_count;
};

/* --- groups and hosts ------------------------------------------------------------------------- */

static void add_layer(struct layers *layers, const struct kp_yaml *map)
{
    layers->maps = kp_realloc_array(layers->maps, layers->count + 1, sizeof(*layers->maps));
    layers->maps[layers->count++] = map;
}

static size_t find_group(const struct kp_kubespray *k, const char *name)
{
    for (size_t i = 0; i < k->group_count; i++)
        if (strcmp(k->groups[i]->name, name) == 0)
            return i;
    return NOTHING;
}

static size_t find_host(const struct kp_kubespray *k, const char *name)
{
    for (size_t i = 0; i < k->host_count; i++)
        if (strcmp(k->hosts[i].name, name) == 0)
            return i;
    return NOTHING;
}

static int make_group(struct kp_kubespray *k, const struct kp_yaml *key, size_t *out,
                      struct kp_err *err)
{
    *out = find_group(k, key->text);
    if (*out != NOTHING)
        return 0;
    if (k->group_count == KP_KUBESPRAY_GROUPS_MAX)
        return kp_yaml_fail(key, err, "more than %d groups", KP_KUBESPRAY_GROUPS_MAX);
    struct group *group = kp_alloc(sizeof(*group));
    group->name = kp_arena_strdup(k->arena, key->text);
    *out = k->group_count;
    k->groups[k->group_count++] = group;
    return 0;
}

static int make_host(struct kp_kubespray *k, const struct kp_yaml *key, size_t *out,
                     struct kp_err *err)
{
    *out = find_host(k, key->text);
    if (*out != NOTHING)
        return 0;
    if (strpbrk(key->text, "[]:/") || strlen(key->text) > NAME_MAX_LEN)
        return kp_yaml_fail(key, err, "host names are written one by one, without ranges");
    if (k->host_count == KP_NODES_MAX)
        return kp_yaml_fail(key, err, "more than %d hosts", KP_NODES_MAX);
    *out = k->host_count;
    k->hosts[k->host_count++].name = kp_arena_strdup(k->arena, key->text);
    return 0;
}

static int walk_hosts(struct kp_kubespray *k, struct group *group, const struct kp_yaml *hosts,
                      struct kp_err *err)
{
    for (size_t i = 0; hosts && i < hosts->count; i++) {
        size_t host;
        if (make_host(k, hosts->key_nodes[i], &host, err) < 0)
            return -1;
        group->host[host] = true;
        const struct kp_yaml *vars = kp_yaml_get(hosts, hosts->keys[i]);
        if (vars && vars->type != KP_YAML_MAP)
            return kp_yaml_fail(vars, err, "variables of the host (name: value) are needed");
        if (vars)
            add_layer(&k->hosts[host].inner, vars);
    }
    return 0;
}

static int walk_group(struct kp_kubespray *k, const struct kp_yaml *key, const struct kp_yaml *body,
                      size_t parent, unsigned depth, struct kp_err *err)
{
    size_t at;
    if (make_group(k, key, &at, err) < 0)
        return -1;
    struct group *group = k->groups[at];
    if (strcmp(group->name, ALL) != 0 && depth > group->depth)
        group->depth = depth;
    if (parent != NOTHING)
        k->groups[parent]->child[at] = true;
    if (!body)
        return 0;
    struct kp_yaml_reader r = kp_yaml_read(body, err);
    const struct kp_yaml *hosts = kp_yaml_map(&r, "hosts", false);
    const struct kp_yaml *children = kp_yaml_map(&r, "children", false);
    const struct kp_yaml *vars = kp_yaml_map(&r, "vars", false);
    if (kp_yaml_finish(&r) < 0 || walk_hosts(k, group, hosts, err) < 0)
        return -1;
    if (vars)
        add_layer(&group->inner, vars);
    for (size_t i = 0; children && i < children->count; i++)
        if (walk_group(k, children->key_nodes[i], kp_yaml_get(children, children->keys[i]), at,
                       depth + 1, err) < 0)
            return -1;
    return 0;
}

/* Hosts of children are hosts of their parents. */
static bool inherit_hosts(struct kp_kubespray *k, struct group *parent)
{
    bool changed = false;
    for (size_t c = 0; c < k->group_count; c++) {
        for (size_t h = 0; parent->child[c] && h < k->host_count; h++) {
            changed = changed || (k->groups[c]->host[h] && !parent->host[h]);
            parent->host[h] = parent->host[h] || k->groups[c]->host[h];
        }
    }
    return changed;
}

static int compare_groups(const void *a, const void *b)
{
    const struct group *const *x = a, *const *y = b;
    if ((*x)->depth != (*y)->depth)
        return (*x)->depth < (*y)->depth ? -1 : 1;
    return strcmp((*x)->name, (*y)->name);
}

static void settle_groups(struct kp_kubespray *k)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t g = 0; g < k->group_count; g++)
            changed = inherit_hosts(k, k->groups[g]) || changed;
    }
    qsort(k->groups, k->group_count, sizeof(struct group *), compare_groups);
    for (size_t h = 0; h < k->host_count; h++)
        k->groups[0]->host[h] = true;
}

static int read_groups(struct kp_kubespray *k, const struct kp_yaml *root, struct kp_err *err)
{
    for (size_t i = 0; i < root->count; i++)
        if (walk_group(k, root->key_nodes[i], kp_yaml_get(root, root->keys[i]), NOTHING, 1, err) <
            0)
            return -1;
    settle_groups(k);
    return 0;
}

/* --- files of variables ----------------------------------------------------------------------- */

/* Files that hold nothing but comments are common in Kubespray's sample. */
static bool says_nothing(struct kp_slice text)
{
    struct kp_slice line;
    while (kp_slice_line(&text, &line)) {
        line = kp_slice_trim(line);
        if (line.len && line.ptr[0] != '#' && !kp_slice_equal(line, "---") &&
            !kp_slice_equal(line, "..."))
            return false;
    }
    return true;
}

static int read_file(struct kp_kubespray *k, const char *path, struct layers *layers,
                     struct kp_err *err)
{
    kp_auto_free char *text = NULL;
    kp_auto(kp_yaml_document) document = NULL;
    size_t len;
    if (k->file_count++ == KP_KUBESPRAY_FILES_MAX)
        return kp_fail(err, KP_USAGE, "%s: more than %d files of variables", path,
                       KP_KUBESPRAY_FILES_MAX);
    if (kp_file_read(path, KP_YAML_MAX, &text, &len, err) < 0)
        return -1;
    if (kp_starts_with(text, "$ANSIBLE_VAULT")) {
        k->vaults[k->vault_count++] = kp_arena_strdup(k->arena, path);
        return 0;
    }
    if (says_nothing((struct kp_slice){text, len}))
        return 0;
    if (kp_yaml_parse(&document, (struct kp_slice){text, len}, path, err) < 0)
        return kp_hint(err, "values of ansible-vault and other tags: move them to a file that is "
                            "encrypted whole, or out of group_vars");
    const struct kp_yaml *root = kp_yaml_root(document);
    if (root->type != KP_YAML_MAP)
        return kp_yaml_fail(root, err, "variables (name: value) are needed");
    add_layer(layers, root);
    k->documents[k->document_count++] = kp_steal(&document);
    return 0;
}

static int not_hidden(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return entry->d_name[0] != '.' && entry->d_name[len - 1] != '~';
}

static bool is_vars_file(const char *name)
{
    const char *dot = strrchr(name, '.');
    return !dot || strcmp(dot, ".yml") == 0 || strcmp(dot, ".yaml") == 0 ||
           strcmp(dot, ".json") == 0;
}

/* A folder's files in the order of their names, folders within it too; none is fine. */
static int read_folder(struct kp_kubespray *k, const char *path, unsigned depth,
                       struct layers *layers, struct kp_err *err)
{
    struct dirent **entries = NULL;
    int n = scandir(path, &entries, not_hidden, alphasort), result = 0;
    if (n < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : kp_fail_sys(err, errno, "%s", path);
    for (int i = 0; i < n; i++) {
        kp_auto_free char *inner = kp_path_join(path, entries[i]->d_name);
        if (result == 0 && entries[i]->d_type == DT_DIR)
            result = depth ? read_folder(k, inner, depth - 1, layers, err)
                           : kp_fail(err, KP_USAGE, "%s: nested too deeply", inner);
        else if (result == 0 && is_vars_file(entries[i]->d_name))
            result = read_file(k, inner, layers, err);
        free(entries[i]);
    }
    free(entries);
    return result;
}

/* NAME, NAME.yml, NAME.yaml, NAME.json in the folder, and the folder NAME. */
static int read_named(struct kp_kubespray *k, const char *folder, const char *name,
                      struct layers *layers, struct kp_err *err)
{
    static const char *const endings[] = {"", ".yml", ".yaml", ".json"};
    for (size_t i = 0; i < KP_COUNT(endings); i++) {
        kp_auto_free char *file = kp_asprintf("%s/%s%s", folder, name, endings[i]);
        DIR *dir = opendir(file);
        if (dir) {
            closedir(dir);
            if (read_folder(k, file, FOLDER_DEPTH_MAX, layers, err) < 0)
                return -1;
        } else if (kp_file_exists(file) && read_file(k, file, layers, err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int read_vars(struct kp_kubespray *k, const char *path, struct kp_err *err)
{
    kp_auto_free char *folder = kp_path_dir(path);
    kp_auto_free char *group_vars = kp_path_join(folder, "group_vars");
    kp_auto_free char *host_vars = kp_path_join(folder, "host_vars");
    for (size_t i = 0; i < k->group_count; i++)
        if (strcmp(k->groups[i]->name, "..") != 0 && !strchr(k->groups[i]->name, '/') &&
            read_named(k, group_vars, k->groups[i]->name, &k->groups[i]->files, err) < 0)
            return -1;
    for (size_t i = 0; i < k->host_count; i++)
        if (read_named(k, host_vars, k->hosts[i].name, &k->hosts[i].files, err) < 0)
            return -1;
    return 0;
}

/* --- looking up ------------------------------------------------------------------------------- */

static const struct kp_yaml *find_in(const struct layers *layers, const char *name)
{
    for (size_t i = layers->count; i-- > 0;) {
        const struct kp_yaml *map = layers->maps[i];
        for (size_t j = 0; j < map->count; j++)
            if (strcmp(map->keys[j], name) == 0)
                return map->items[j];
    }
    return NULL;
}

static const struct kp_yaml *find_plain(const struct kp_kubespray *k, size_t host, const char *name)
{
    const struct kp_yaml *value = find_in(&k->hosts[host].files, name);
    if (!value)
        value = find_in(&k->hosts[host].inner, name);
    for (size_t i = k->group_count; !value && i-- > 0;)
        if (k->groups[i]->host[host])
            value = find_in(&k->groups[i]->files, name);
    for (size_t i = k->group_count; !value && i-- > 0;)
        if (k->groups[i]->host[host])
            value = find_in(&k->groups[i]->inner, name);
    return value;
}

bool kp_kubespray_template(const struct kp_yaml *value)
{
    return value->type == KP_YAML_SCALAR &&
           (strstr(value->text, "{{") || strstr(value->text, "{%"));
}

/* The name in "{{ name }}"; NULL for any other text. */
static char *name_in(const struct kp_yaml *value)
{
    struct kp_slice text = kp_slice_trim(kp_slice_of(value->text));
    if (!kp_slice_starts(text, "{{") || text.len < 4 || text.ptr[text.len - 1] != '}')
        return NULL;
    text = kp_slice_trim((struct kp_slice){text.ptr + 2, text.len - 4});
    for (size_t i = 0; i < text.len; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", text.ptr[i]))
            return NULL;
    return kp_strndup(text.ptr, text.len);
}

const struct kp_yaml *kp_kubespray_find(const struct kp_kubespray *k, size_t host, const char *name)
{
    const struct kp_yaml *value = find_plain(k, host, name);
    for (unsigned i = 0; value && kp_kubespray_template(value) && i < TEMPLATE_DEPTH_MAX; i++) {
        kp_auto_free char *inner = name_in(value);
        const struct kp_yaml *next = inner ? find_plain(k, host, inner) : NULL;
        if (!next)
            break;
        value = next;
    }
    bool null =
        value && value->type == KP_YAML_SCALAR && value->plain &&
        (!*value->text || strcmp(value->text, "~") == 0 || strcmp(value->text, "null") == 0);
    return null ? NULL : value;
}

bool kp_kubespray_in(const struct kp_kubespray *k, size_t host, const char *group)
{
    size_t at = find_group(k, group);
    return at != NOTHING && k->groups[at]->host[host];
}

size_t kp_kubespray_host_count(const struct kp_kubespray *k)
{
    return k->host_count;
}

const char *kp_kubespray_host(const struct kp_kubespray *k, size_t host)
{
    return k->hosts[host].name;
}

size_t kp_kubespray_vault_count(const struct kp_kubespray *k)
{
    return k->vault_count;
}

const char *kp_kubespray_vault(const struct kp_kubespray *k, size_t i)
{
    return k->vaults[i];
}

/* --- all of them ------------------------------------------------------------------------------ */

struct seen {
    const char **names;
    size_t count;
};

static bool see(struct seen *seen, const char *name)
{
    for (size_t i = 0; i < seen->count; i++)
        if (strcmp(seen->names[i], name) == 0)
            return false;
    seen->names = kp_realloc_array(seen->names, seen->count + 1, sizeof(*seen->names));
    seen->names[seen->count++] = name;
    return true;
}

static void visit_layers(const struct layers *layers, struct seen *seen, kp_kubespray_visit *visit,
                         void *user)
{
    for (size_t i = 0; i < layers->count; i++) {
        const struct kp_yaml *map = layers->maps[i];
        for (size_t j = 0; j < map->count; j++)
            if (see(seen, map->keys[j]))
                visit(user, map->keys[j], map->key_nodes[j], map->items[j]);
    }
}

void kp_kubespray_each(const struct kp_kubespray *k, kp_kubespray_visit *visit, void *user)
{
    struct seen seen = {0};
    for (size_t i = 0; i < k->group_count; i++)
        visit_layers(&k->groups[i]->inner, &seen, visit, user);
    for (size_t i = 0; i < k->group_count; i++)
        visit_layers(&k->groups[i]->files, &seen, visit, user);
    for (size_t i = 0; i < k->host_count; i++)
        visit_layers(&k->hosts[i].inner, &seen, visit, user);
    for (size_t i = 0; i < k->host_count; i++)
        visit_layers(&k->hosts[i].files, &seen, visit, user);
    kp_free(seen.names);
}

int kp_kubespray_load(struct kp_kubespray **out, const char *path, const struct kp_yaml *root,
                      struct kp_err *err)
{
    kp_auto(kp_kubespray) k = kp_alloc(sizeof(*k));
    k->arena = kp_arena_new();
    k->groups = kp_alloc_array(KP_KUBESPRAY_GROUPS_MAX, sizeof(struct group *));
    k->hosts = kp_alloc_array(KP_NODES_MAX, sizeof(struct host));
    if (read_groups(k, root, err) < 0 || read_vars(k, path, err) < 0)
        return -1;
    *out = kp_steal(&k);
    return 0;
}

void kp_kubespray_free(struct kp_kubespray *k)
{
    if (!k)
        return;
    for (size_t i = 0; i < k->group_count; i++) {
        kp_free(k->groups[i]->inner.maps);
        kp_free(k->groups[i]->files.maps);
        kp_free(k->groups[i]);
    }
    for (size_t i = 0; i < k->host_count; i++) {
        kp_free(k->hosts[i].inner.maps);
        kp_free(k->hosts[i].files.maps);
    }
    for (size_t i = 0; i < k->document_count; i++)
        kp_yaml_document_free(k->documents[i]);
    kp_free(k->groups);
    kp_free(k->hosts);
    kp_arena_free(k->arena);
    kp_free(k);
}
