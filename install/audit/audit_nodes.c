/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at one node: what was recorded and signed against what is there. */
#include "install/runtime.h"
#include "install/audit/audit.h"

#include "install/audit/audit_acknowledge.h"

#include "core/file.h"
#include "core/pool.h"

#include <stdio.h>

#define KNODE_FOLDER "/usr/local/libexec/kpack"
#define IMAGES_TIMEOUT_S 60

static const struct {
    const char *path;
    unsigned depth;
    bool drop_ins_only; /* a unit of the distribution itself stands behind ours */
} unit_folders[] = {
    {"/etc/systemd/system", 2, false},          {"/run/systemd/system", 2, false},
    {"/etc/systemd/system.control", 2, false},  {"/run/systemd/system.control", 2, false},
    {"/usr/local/lib/systemd/system", 2, true}, {"/usr/lib/systemd/system", 2, true},
};
static const struct {
    const char *path;
    unsigned depth;
} own_folders[] = {
    {"/etc/kubernetes/manifests", 3},
    {"/opt/cni/bin", 2},
    {"/etc/containerd/certs.d", 3},
    {KNODE_FOLDER, 2},
};
static const char *const own_units[] = {"kubelet.service",   "containerd.service",
                                        "kregistry.service", "etcd.service",
                                        "crio.service",      "kpack-"};

static const char *inside(const char *path, const char *folder)
{
    size_t len = strlen(folder);
    return strncmp(path, folder, len) == 0 && path[len] == '/' ? path + len + 1 : NULL;
}

/* name: behind a folder of units. */
static bool is_for_our_units(const char *name, bool drop_ins_only)
{
    const char *slash = strchr(name, '/');
    if (drop_ins_only && !slash)
        return false;
    if (!drop_ins_only && kp_starts_with(name, "service.d/"))
        return true;
    for (size_t i = 0; i < KP_COUNT(own_units); i++) {
        size_t len = strlen(own_units[i]);
        bool prefix = own_units[i][len - 1] == '-';
        if (strncmp(name, own_units[i], len) == 0 &&
            (prefix || name[len] == '\0' || name[len] == '.'))
            return true;
    }
    return false;
}

bool kp_audit_is_watched(const char *path)
{
    for (size_t i = 0; i < KP_COUNT(unit_folders); i++) {
        const char *name = inside(path, unit_folders[i].path);
        if (name)
            return is_for_our_units(name, unit_folders[i].drop_ins_only);
    }
    for (size_t i = 0; i < KP_COUNT(own_folders); i++)
        if (inside(path, own_folders[i].path))
            return true;
    return false;
}

static const char *const made_by_cluster[] = {
    "/etc/kubernetes/manifests/etcd.yaml",
    "/etc/kubernetes/manifests/kube-apiserver.yaml",
    "/etc/kubernetes/manifests/kube-controller-manager.yaml",
    "/etc/kubernetes/manifests/kube-scheduler.yaml",
    "/var/lib/kubelet/config.yaml",
    "/var/lib/kubelet/kubeadm-flags.env",
    "/opt/cni/bin/flannel",
    "/opt/cni/bin/calico",
    "/opt/cni/bin/calico-ipam",
    "/opt/cni/bin/cilium-cni",
    "/opt/cni/bin/multus",
    "/opt/cni/bin/multus-shim",
};

bool kp_audit_is_made_by_cluster(const char *path)
{
    for (size_t i = 0; i < KP_COUNT(made_by_cluster); i++)
        if (strcmp(path, made_by_cluster[i]) == 0)
            return true;
    return false;
}

struct look {
    const struct kp_site *site;
    struct kp_site_node *node;
    const struct kp_audit_book *book;
    const json_t *files, *seen; /* of the book; may be NULL */
    json_t *list;               /* of differences */
    json_t *out;
};

static const struct kp_file *signed_file(const struct look *look, const char *path)
{
    const struct kp_manifest *m = look->site->manifest;
    for (size_t i = 0; i < m->file_count; i++)
        if (strcmp(m->files[i].target, path) == 0 &&
            strcmp(m->files[i].arch, look->node->arch) == 0 &&
            kp_runtime_takes(look->site->inventory, m, look->node->node, &m->files[i]))
            return &m->files[i];
    return NULL;
}

/* What the node is asked: recorded files, files of the bundle, and what the cluster made. */
static json_t *questions(const struct look *look)
{
    json_t *files = json_array(), *secrets = json_array(), *folders = json_array();
    json_t *bundles = json_array(), *item;
    const char *path;
    json_object_foreach((json_t *)(uintptr_t)look->files, path, item)
    {
        if (strcmp(kp_json_string(item, "op"), "receive") == 0)
            json_array_append_new(bundles, json_string(path));
        else
            json_array_append_new(json_object_get(item, "hmac") ? secrets : files,
                                  json_string(path));
    }
    json_object_foreach((json_t *)(uintptr_t)look->seen, path, item)
        json_array_append_new(files, json_string(path));
    const struct kp_manifest *m = look->site->manifest;
    for (size_t i = 0; i < m->file_count; i++)
        if (strcmp(m->files[i].arch, look->node->arch) == 0 && m->files[i].target[0] == '/' &&
            kp_runtime_takes(look->site->inventory, m, look->node->node, &m->files[i]) &&
            !json_object_get(look->files, m->files[i].target))
            json_array_append_new(files, json_string(m->files[i].target));
    for (size_t i = 0; i < KP_COUNT(unit_folders); i++)
        json_array_append_new(folders, json_pack("{s:s, s:i}", "path", unit_folders[i].path,
                                                 "depth", (int)unit_folders[i].depth));
    for (size_t i = 0; i < KP_COUNT(own_folders); i++)
        json_array_append_new(folders, json_pack("{s:s, s:i}", "path", own_folders[i].path, "depth",
                                                 (int)own_folders[i].depth));
    json_array_append_new(folders, json_pack("{s:s, s:i}", "path", KP_AUDIT_TRUST, "depth", 1));
    json_array_append_new(
        folders, json_pack("{s:s, s:i}", "path", look->site->inventory->mirror.folder, "depth", 1));
    return json_pack("{s:o, s:o, s:o, s:o}", "files", files, "secrets", secrets, "folders", folders,
                     "bundles", bundles);
}

static void judge_file(const struct look *look, const json_t *found)
{
    const char *path = kp_json_string(found, "path");
    const json_t *placed = json_object_get(look->files, path);
    const json_t *seen = json_object_get(look->seen, path);
    const struct kp_file *file = signed_file(look, path);
    if (placed) {
        bool fetched = strcmp(kp_json_string(placed, "op"), "fetch") == 0;
        kp_audit_compare(look->list, placed, file && fetched ? &file->sha256 : NULL, found);
    } else if (file && strcmp(kp_json_string(found, "kind"), "missing") != 0) {
        char mode[8];
        snprintf(mode, sizeof(mode), "%04o", file->mode & 0777);
        kp_auto_json wanted =
            json_pack("{s:s, s:s, s:i, s:i}", "path", path, "mode", mode, "uid", 0, "gid", 0);
        kp_audit_compare(look->list, wanted, &file->sha256, found);
    } else if (seen) {
        kp_audit_compare(look->list, seen, NULL, found);
    }
}

/* knode's own programs are named by their digest. */
static int judge_knodes(const struct look *look, const json_t *paths, struct kp_err *err)
{
    kp_auto_json question = json_pack("{s:O}", "files", paths);
    kp_auto_json answer = NULL;
    size_t i;
    const json_t *found;
    if (!json_array_size(paths))
        return 0;
    if (kp_session_survey(look->node->session, question, &answer, err) < 0)
        return -1;
    json_array_foreach(json_object_get(answer, "files"), i, found)
    {
        const char *path = kp_json_string(found, "path"), *name = kp_path_base(path);
        if (strcmp(name + strlen("knode-"), kp_json_string(found, "sha256")) != 0)
            kp_audit_differ(look->list, "changed", path, "is not the program that its name says");
    }
    return 0;
}

static int judge_entries(const struct look *look, const json_t *entries, struct kp_err *err)
{
    kp_auto_json knodes = json_array();
    size_t i;
    const json_t *entry;
    json_array_foreach(entries, i, entry)
    {
        const char *path = kp_json_string(entry, "path"), *kind = kp_json_string(entry, "kind");
        const char *name = inside(path, KNODE_FOLDER);
        if (strcmp(kind, "folder") == 0 || !kp_audit_is_watched(path) ||
            json_object_get(look->files, path) || json_object_get(look->seen, path) ||
            signed_file(look, path))
            continue;
        if (name && kp_starts_with(name, "knode-") && strcmp(kind, "file") == 0)
            json_array_append_new(knodes, json_string(path));
        else if (json_object_get(entry, "link"))
            kp_audit_differ(look->list, "extra", path,
                            "is a link to %s that kinstall did not place",
                            kp_json_string(entry, "link"));
        else
            kp_audit_differ(look->list, "extra", path, "was not placed by kinstall");
    }
    return judge_knodes(look, knodes, err);
}

/* Whom the node trusts: their digests are asked for by a survey of their own. */
static int judge_keys(const struct look *look, const json_t *entries, struct kp_err *err)
{
    kp_auto_json paths = json_array();
    kp_auto_json question = json_pack("{s:O}", "files", paths);
    kp_auto_json answer = NULL;
    size_t i;
    const json_t *entry;
    json_array_foreach(entries, i, entry)
    {
        const char *path = kp_json_string(entry, "path");
        if (inside(path, KP_AUDIT_TRUST))
            json_array_append_new(paths, json_string(path));
    }
    if (!json_array_size(paths))
        return 0;
    if (kp_session_survey(look->node->session, question, &answer, err) < 0)
        return -1;
    return kp_audit_keys(look->list, look->site->trust, json_object_get(answer, "files"), err);
}

static void judge_bundles(const struct look *look, const json_t *bundles)
{
    size_t i;
    const json_t *bundle;
    json_array_foreach(bundles, i, bundle)
    {
        if (!json_is_true(json_object_get(bundle, "ok")))
            kp_audit_differ(look->list, "bundle", kp_json_string(bundle, "path"), "%s: %s",
                            kp_json_string(bundle, "reason"), kp_json_string(bundle, "message"));
    }
}

static int judge_images(const struct look *look, struct kp_err *err)
{
    static const char *const argv[] = {"/usr/local/bin/ctr", "-n", "k8s.io", "images", "ls", NULL};
    const struct kp_run run = {.argv = argv, .timeout = IMAGES_TIMEOUT_S};
    kp_auto_value(kp_run_result) result = {0};
    if (!signed_file(look, argv[0]))
        return 0; // a bundle without containerd
    if (kp_session_run(look->node->session, &run, &result, err) < 0)
        return -1;
    if (result.status != 0)
        kp_audit_differ(look->list, "image", "k8s.io", "ctr images ls failed (exit %d)",
                        result.status);
    size_t n = kp_audit_images(look->list, look->site->manifest, kp_buf_slice(&result.out));
    json_object_set_new(look->out, "images", json_integer((json_int_t)n));
    return 0;
}

static int judge_log(const struct look *look, struct kp_err *err)
{
    kp_auto_value(kp_node_log_part) part = {0};
    if (kp_session_placed(look->node->session, 0, NULL, &part, err) < 0)
        return -1;
    kp_audit_compare_log(look->list, look->book, look->node->node->name, &part);
    return 0;
}

static int judge_files(const struct look *look, struct kp_err *err)
{
    kp_auto_json question = questions(look);
    kp_auto_json answer = NULL;
    size_t i;
    const json_t *found;
    if (kp_session_survey(look->node->session, question, &answer, err) < 0)
        return -1;
    const json_t *files = json_object_get(answer, "files");
    json_array_foreach(files, i, found) judge_file(look, found);
    json_object_set_new(look->out, "files", json_integer((json_int_t)json_array_size(files)));
    const json_t *entries = json_object_get(answer, "entries");
    judge_bundles(look, json_object_get(answer, "bundles"));
    kp_audit_stray_bundles(look->list, look->site->inventory->mirror.folder, look->files, entries);
    return judge_entries(look, entries, err) < 0 ? -1 : judge_keys(look, entries, err);
}

int kp_audit_node(const struct kp_site *site, struct kp_site_node *node,
                  const struct kp_audit_book *book, json_t **out, struct kp_err *err)
{
    const json_t *known = json_object_get(book->nodes, node->node->name);
    kp_auto_json list = json_array();
    kp_auto_json result = json_pack("{s:s, s:b, s:O}", "name", node->node->name, "reached",
                                    !node->failed, "differences", list);
    struct look look = {.site = site,
                        .node = node,
                        .book = book,
                        .files = json_object_get(known, "files"),
                        .seen = json_object_get(known, "seen"),
                        .list = list,
                        .out = result};
    if (node->failed)
        kp_audit_differ(list, "unreachable", "", "%s", node->failure.message);
    else if (!json_object_size((json_t *)(uintptr_t)look.files))
        kp_audit_differ(list, "log", KP_AUDIT_FILE, "says nothing of what was placed on this node");
    if (!node->failed &&
        (judge_files(&look, err) < 0 || judge_images(&look, err) < 0 || judge_log(&look, err) < 0))
        return kp_wrap(err, "%s", node->node->name);
    size_t forgiven = kp_audit_forgive(book, node->node->name, list);
    json_object_set_new(result, "acknowledged", json_integer((json_int_t)forgiven));
    *out = kp_steal(&result);
    return 0;
}

static int observe(void *user, size_t item, unsigned worker, struct kp_err *err)
{
    struct kp_site *site = user;
    struct kp_site_node *node = &site->nodes[item];
    kp_auto_json files = json_array();
    kp_auto_json made = json_array();
    kp_auto_json answer = NULL;
    size_t i;
    json_t *found;
    (void)worker;
    if (node->failed || !node->session)
        return 0;
    for (i = 0; i < KP_COUNT(made_by_cluster); i++)
        json_array_append_new(files, json_string(made_by_cluster[i]));
    kp_auto_json question = json_pack("{s:O}", "files", files);
    if (kp_session_survey(node->session, question, &answer, err) < 0)
        return -1;
    json_array_foreach(json_object_get(answer, "files"), i, found)
    {
        if (strcmp(kp_json_string(found, "kind"), "file") == 0)
            json_array_append(made, found);
    }
    if (kp_audit_log_seen(site->audit, node->node->name, made, err) < 0)
        return -1;
    return kp_audit_log_tell(site->audit, node->session, err);
}

int kp_audit_end(struct kp_site *site, const char *failed, struct kp_err *err)
{
    if (kp_audit_log_end(site->audit, failed, err) < 0)
        return -1;
    if (failed) // the nodes may be in any state: the log of this side is kept, they hear it next
                // time
        return 0;
    if (kp_parallel(site->inventory->parallel, site->node_count, observe, site, err) < 0)
        return kp_wrap(err, "audit log");
    return kp_audit_log_keep_head(site->audit, err);
}
