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

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

#define differ kp_audit_differ

void kp_audit_differ(json_t *list, const char *what, const char *path, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    json_array_append_new(list,
                          json_pack("{s:s, s:s, s:s}", "what", what, "path", path, "text", text));
}

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

void kp_audit_compare(json_t *list, const json_t *wanted, const struct kp_digest *signed_digest,
                      const json_t *found)
{
    const char *path = text_of(wanted, "path"), *kind = text_of(found, "kind");
    bool secret = json_object_get(wanted, "hmac") != NULL;
    const char *key = secret ? "hmac" : "sha256";
    const struct kp_digest none = {{0}};
    const struct kp_digest_text hex = kp_digest_hex(signed_digest ? signed_digest : &none);
    const char *needed = signed_digest ? hex.hex : text_of(wanted, key);
    const char *have = text_of(found, key);
    if (strcmp(kind, "missing") == 0) {
        differ(list, "missing", path, "is gone");
        return;
    }
    if (strcmp(kind, "file") != 0) {
        differ(list, "changed", path, "is no regular file (%s)", kind);
        return;
    }
    if (strcmp(needed, have) != 0 && secret)
        differ(list, "changed", path, "is not the secret that was placed");
    else if (strcmp(needed, have) != 0)
        differ(list, "changed", path, "has SHA-256 %.12s…, %s %.12s…", have,
               signed_digest ? "signed was" : "placed was", needed);
    if (strcmp(text_of(wanted, "mode"), text_of(found, "mode")) != 0)
        differ(list, "mode", path, "has mode %s, was %s", text_of(found, "mode"),
               text_of(wanted, "mode"));
    json_int_t uid = json_integer_value(json_object_get(found, "uid")),
               gid = json_integer_value(json_object_get(found, "gid"));
    if (uid != json_integer_value(json_object_get(wanted, "uid")) ||
        gid != json_integer_value(json_object_get(wanted, "gid")))
        differ(list, "mode", path, "belongs to %lld:%lld", (long long)uid, (long long)gid);
}

static bool next_word(struct kp_slice *line, struct kp_slice *word)
{
    struct kp_slice rest = kp_slice_trim(*line);
    if (!kp_slice_cut(&rest, ' ', word)) {
        *word = rest;
        rest.len = 0;
    }
    *line = rest;
    return word->len > 0;
}

static void judge_image(json_t *list, const struct kp_manifest *manifest, struct kp_slice reference,
                        const struct kp_digest *digest)
{
    bool known = false;
    kp_auto_free char *name = kp_strndup(reference.ptr, reference.len);
    for (size_t i = 0; i < manifest->image_count; i++) {
        const struct kp_image *image = &manifest->images[i];
        bool same = kp_digest_equal(&image->digest, digest);
        known = known || same;
        if (!same && strcmp(image->reference, name) == 0) {
            differ(list, "image", name, "is %.12s…, signed was %.12s…", kp_digest_hex(digest).hex,
                   kp_digest_hex(&image->digest).hex);
            return;
        }
    }
    if (!known)
        differ(list, "image", name, "did not come from the bundle (%.12s…)",
               kp_digest_hex(digest).hex);
}

size_t kp_audit_images(json_t *list, const struct kp_manifest *manifest, struct kp_slice listing)
{
    struct kp_slice line, reference, type, text;
    struct kp_digest digest;
    size_t n = 0;
    while (kp_slice_line(&listing, &line)) {
        if (!next_word(&line, &reference) || !next_word(&line, &type) || !next_word(&line, &text) ||
            !kp_digest_parse(text, &digest))
            continue;
        n++;
        judge_image(list, manifest, reference, &digest);
    }
    return n;
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
        if (strcmp(text_of(item, "op"), "receive") == 0)
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
    const char *path = text_of(found, "path");
    const json_t *placed = json_object_get(look->files, path);
    const json_t *seen = json_object_get(look->seen, path);
    const struct kp_file *file = signed_file(look, path);
    if (placed) {
        bool fetched = strcmp(text_of(placed, "op"), "fetch") == 0;
        kp_audit_compare(look->list, placed, file && fetched ? &file->sha256 : NULL, found);
    } else if (file && strcmp(text_of(found, "kind"), "missing") != 0) {
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
        const char *path = text_of(found, "path"), *name = kp_path_base(path);
        if (strcmp(name + strlen("knode-"), text_of(found, "sha256")) != 0)
            differ(look->list, "changed", path, "is not the program that its name says");
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
        const char *path = text_of(entry, "path"), *kind = text_of(entry, "kind");
        const char *name = inside(path, KNODE_FOLDER);
        if (strcmp(kind, "folder") == 0 || !kp_audit_is_watched(path) ||
            json_object_get(look->files, path) || json_object_get(look->seen, path) ||
            signed_file(look, path))
            continue;
        if (name && kp_starts_with(name, "knode-") && strcmp(kind, "file") == 0)
            json_array_append_new(knodes, json_string(path));
        else if (json_object_get(entry, "link"))
            differ(look->list, "extra", path, "is a link to %s that kinstall did not place",
                   text_of(entry, "link"));
        else
            differ(look->list, "extra", path, "was not placed by kinstall");
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
        const char *path = text_of(entry, "path");
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
            differ(look->list, "bundle", text_of(bundle, "path"), "%s: %s",
                   text_of(bundle, "reason"), text_of(bundle, "message"));
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
        differ(look->list, "image", "k8s.io", "ctr images ls failed (exit %d)", result.status);
    size_t n = kp_audit_images(look->list, look->site->manifest, kp_buf_slice(&result.out));
    json_object_set_new(look->out, "images", json_integer((json_int_t)n));
    return 0;
}

struct witnesses {
    json_t *list;
    const struct kp_audit_book *book;
    const char *key;
};

static int judge_line(void *user, const json_t *record, struct kp_slice line,
                      const struct kp_chain_head *head, struct kp_err *err)
{
    struct witnesses *w = user;
    const struct kp_audit_book *book = w->book;
    struct kp_digest digest;
    (void)err;
    if (!kp_audit_line_is_signed(line, w->key))
        differ(w->list, "log", "/var/lib/kpack/placed.jsonl",
               "line %llu is not signed by the node's key", (unsigned long long)head->count);
    if (strcmp(text_of(record, "op"), "witness") != 0)
        return 0;
    uint64_t count = (uint64_t)json_integer_value(json_object_get(record, "site_count"));
    bool known = kp_digest_parse(kp_slice_of(text_of(record, "site_digest")), &digest) &&
                 count >= 1 && count <= book->digest_count &&
                 kp_digest_equal(&book->digests[count - 1], &digest);
    if (known)
        return 0;
    differ(w->list, "log", KP_AUDIT_FILE,
           "the node was told of line %llu (%.12s…) of the site's log on %s: it is not there",
           (unsigned long long)count, text_of(record, "site_digest"), text_of(record, "time"));
    json_object_set(json_array_get(w->list, json_array_size(w->list) - 1), "digest",
                    json_object_get(record, "site_digest"));
    return 0;
}

void kp_audit_compare_log(json_t *list, const struct kp_audit_book *book, const char *node,
                          const struct kp_node_log_part *part)
{
    const json_t *known = json_object_get(book->nodes, node);
    const char *key = text_of(known, "key");
    struct witnesses w = {list, book, part->key};
    struct kp_chain_state chain;
    struct kp_err ignored;
    uint64_t count = (uint64_t)json_integer_value(json_object_get(known, "count"));
    if (*key && (!part->key || strcmp(part->key, key) != 0))
        differ(list, "log", "/var/lib/kpack/node.key", "the node has another key than before");
    if (kp_chain_parse(kp_buf_slice(&part->lines), NULL, judge_line, &w, &chain, &ignored) < 0)
        return;
    for (size_t i = 0; i < chain.problem_count && i < KP_CHAIN_PROBLEMS_MAX; i++)
        differ(list, "log", "/var/lib/kpack/placed.jsonl", "line %llu %s",
               (unsigned long long)chain.problems[i].line, chain.problems[i].text);
    if (chain.head.count < count)
        differ(list, "log", "/var/lib/kpack/placed.jsonl",
               "was cut: it had %llu lines, it has %llu", (unsigned long long)count,
               (unsigned long long)chain.head.count);
    else if (chain.head.count == count && count &&
             strcmp(text_of(known, "digest"), kp_digest_hex(&chain.head.digest).hex) != 0)
        differ(list, "log", "/var/lib/kpack/placed.jsonl", "its last line was changed");
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
        differ(list, "unreachable", "", "%s", node->failure.message);
    else if (!json_object_size((json_t *)(uintptr_t)look.files))
        differ(list, "log", KP_AUDIT_FILE, "says nothing of what was placed on this node");
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
        if (strcmp(text_of(found, "kind"), "file") == 0)
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
