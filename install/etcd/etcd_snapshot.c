/* SPDX-License-Identifier: Apache-2.0 */
#include "install/etcd/etcd_snapshot.h"

#include "core/file.h"
#include "core/text.h"
#include "install/inventory/network.h"
#include "install/pki/pki.h"
#include "install/steps/common.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#define KIND "kpack.etcd-snapshot/v1"
#define CA_FILE "/etc/kubernetes/pki/ca.crt"
#define DOCUMENT_MAX ((size_t)64 << 10)
#define CHUNK ((size_t)8 << 20)
#define LIVE_S 30.0

json_t *kp_etcd_snapshot_json(const struct kp_etcd_snapshot *s)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I}",
                     "kind", KIND, "cluster", s->cluster, "ca", s->ca, "etcd_cluster", s->etcd,
                     "node", s->node, "etcd_version", s->version, "kubernetes", s->kubernetes,
                     "bundle", s->bundle, "time", s->time, "sha256", s->sha256, "size",
                     (json_int_t)s->size, "revision", (json_int_t)s->revision, "keys",
                     (json_int_t)s->keys, "hash", (json_int_t)s->hash);
}

static void keep(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text ? text : "");
}

int kp_etcd_snapshot_read(struct kp_etcd_snapshot *out, const json_t *document, const char *name,
                          struct kp_err *err)
{
    kp_auto(kp_arena) arena = kp_arena_new();
    struct kp_json_reader r = kp_json_read(document, name, arena, err);
    const char *kind = kp_json_text(&r, "kind", 64);
    *out = (struct kp_etcd_snapshot){0};
    keep(out->cluster, sizeof(out->cluster), kp_json_text(&r, "cluster", 63));
    keep(out->ca, sizeof(out->ca), kp_json_text(&r, "ca", 64));
    keep(out->etcd, sizeof(out->etcd), kp_json_text(&r, "etcd_cluster", 23));
    keep(out->node, sizeof(out->node), kp_json_text(&r, "node", 63));
    keep(out->version, sizeof(out->version), kp_json_text(&r, "etcd_version", 31));
    keep(out->kubernetes, sizeof(out->kubernetes), kp_json_text(&r, "kubernetes", 31));
    keep(out->bundle, sizeof(out->bundle), kp_json_text(&r, "bundle", 64));
    keep(out->time, sizeof(out->time), kp_json_text(&r, "time", 31));
    keep(out->sha256, sizeof(out->sha256), kp_json_text(&r, "sha256", 64));
    out->size = kp_json_number(&r, "size", INT64_MAX);
    out->revision = kp_json_number(&r, "revision", INT64_MAX);
    out->keys = kp_json_number(&r, "keys", INT64_MAX);
    out->hash = kp_json_number(&r, "hash", INT64_MAX);
    if (kp_json_finish(&r) < 0)
        return -1;
    if (strcmp(kind, KIND) != 0)
        return kp_fail(err, KP_USAGE, "%s: this is no description of a snapshot (kind %s)", name,
                       kind);
    return 0;
}

int kp_etcd_snapshot_load(struct kp_etcd_snapshot *out, const char *path, bool *found,
                          struct kp_err *err)
{
    kp_auto_free char *name = kp_asprintf("%s.json", path), *text = NULL;
    kp_auto_json document = NULL;
    size_t len;
    *found = kp_file_exists(name);
    if (!*found)
        return 0;
    if (kp_file_read(name, DOCUMENT_MAX, &text, &len, err) < 0 ||
        kp_json_parse(&document, (struct kp_slice){text, len}, DOCUMENT_MAX, name, err) < 0)
        return -1;
    return kp_etcd_snapshot_read(out, document, name, err);
}

int kp_etcd_identity(struct kp_site *site, char out[65], struct kp_err *err)
{
    for (size_t i = 0; i < site->node_count; i++) {
        struct kp_site_node *node = &site->nodes[i];
        kp_auto_value(kp_buf) pem = KP_BUF(KP_PEM_MAX);
        struct kp_digest hash;
        bool found;
        if (node->failed || !kp_is_control_plane(node))
            continue;
        if (kp_session_get(node->session, CA_FILE, &pem, &found, err) < 0)
            return kp_wrap(err, "%s: read " CA_FILE, node->node->name);
        if (!found)
            continue;
        if (kp_pki_spki_hash(&hash, kp_buf_slice(&pem), err) < 0)
            return -1;
        snprintf(out, 65, "%s", kp_digest_hex(&hash).hex);
        return 0;
    }
    if (kp_site_all_asked(site, KP_ROLE_CONTROL_PLANE, NULL, err) < 0)
        return -1;
    return kp_fail_as(err, KP_MISSING, "no_ca", "no control plane has " CA_FILE);
}

int kp_etcd_snapshot_judge(struct kp_site *site, struct kp_site_node *node, const char *path,
                           struct kp_etcd_snapshot *out, struct kp_err *err)
{
    const char *status[] = {KP_ETCDUTL, "snapshot", "status", path, "-w", "json", NULL};
    const char *sum[] = {"sha256sum", path, NULL};
    kp_auto_free char *said = NULL, *line = NULL;
    kp_auto_json answer = NULL;
    if (kp_ask(site, node, status, KP_ETCD_SNAPSHOT_S, NULL, &said, err) < 0 ||
        kp_etcd_parse(&answer, kp_slice_of(said), err) < 0 ||
        kp_ask(site, node, sum, KP_ETCD_SNAPSHOT_S, NULL, &line, err) < 0)
        return -1;
    struct kp_digest digest;
    if (strlen(line) < KP_SHA256_HEX ||
        !kp_digest_parse((struct kp_slice){line, KP_SHA256_HEX}, &digest))
        return kp_fail_as(err, KP_FAILED, "bad_reply", "sha256sum's answer is not understood");
    keep(out->sha256, sizeof(out->sha256), kp_digest_hex(&digest).hex);
    out->hash = (uint64_t)json_integer_value(json_object_get(answer, "hash"));
    out->revision = (uint64_t)json_integer_value(json_object_get(answer, "revision"));
    out->keys = (uint64_t)json_integer_value(json_object_get(answer, "totalKey"));
    if (out->revision == 0)
        return kp_fail_as(err, KP_DAMAGED, "damaged", "%s holds no revision", path);
    return 0;
}

/* The leader has everything that was ever acknowledged. */
static int find_leader(struct kp_site *site, struct kp_site_node **out,
                       struct kp_etcd_status *status, struct kp_err *err)
{
    if (kp_etcd_need_hand(site, NULL, LIVE_S, out, err) < 0)
        return -1;
    for (size_t i = 0; i < site->node_count; i++) {
        struct kp_site_node *node = &site->nodes[i];
        struct kp_err ignored = KP_ERR_INIT;
        if (node->failed || !kp_etcd_carries(site->inventory, node->node) ||
            kp_etcd_ask_status(site, node, status, &ignored) < 0)
            continue;
        if (strcmp(status->leader, status->member) == 0) {
            *out = node;
            return 0;
        }
    }
    return kp_etcd_ask_status(site, *out, status, err);
}

struct copying {
    int fd;
    struct kp_hash *hash;
    uint64_t size;
    struct kp_err err;
    bool failed;
};

static void take_piece(void *user, const char *data, size_t len)
{
    struct copying *c = user;
    if (c->failed)
        return;
    c->failed = kp_write_full(c->fd, data, len, &c->err) < 0;
    kp_hash_update(c->hash, data, len);
    c->size += len;
}

static int copy_here(struct kp_site_node *node, const char *from, const char *partial,
                     const char *sha256, uint64_t *size, struct kp_err *err)
{
    static const char *const env[] = {KP_PATH_ENV, NULL};
    const char *argv[] = {"cat", from, NULL};
    kp_auto_fd int fd = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    kp_auto(kp_hash) hash = kp_hash_new();
    kp_auto_value(kp_run_result) result = {0};
    struct copying copying = {.fd = fd, .hash = hash, .err = KP_ERR_INIT};
    const struct kp_run run = {.argv = argv,
                               .env = env,
                               .timeout = KP_ETCD_SNAPSHOT_S,
                               .output = take_piece,
                               .user = &copying};
    struct kp_digest digest;
    if (fd < 0)
        return kp_fail_sys(err, errno, "open %s", partial);
    if (kp_session_run(node->session, &run, &result, err) < 0)
        return -1;
    if (copying.failed) {
        *err = copying.err;
        return kp_wrap(err, "write %s", partial);
    }
    kp_hash_finish(hash, &digest);
    if (result.status != 0 || strcmp(kp_digest_hex(&digest).hex, sha256) != 0)
        return kp_fail_as(err, KP_DAMAGED, "damaged",
                          "%s: the copy is not what the node has (SHA-256 differs)", partial);
    *size = copying.size;
    return fsync(fd) < 0 ? kp_fail_sys(err, errno, "fsync %s", partial) : 0;
}

static int store(const struct kp_etcd_snapshot *snapshot, const char *partial, const char *path,
                 struct kp_err *err)
{
    kp_auto_free char *name = kp_asprintf("%s.json", path);
    kp_auto_json document = kp_etcd_snapshot_json(snapshot);
    kp_auto_free char *text = kp_json_dump(document, false);
    // The description first: a snapshot that has its name has it too.
    if (kp_file_write_atomic(name, kp_slice_of(text), 0600, err) < 0)
        return -1;
    if (rename(partial, path) < 0)
        return kp_fail_sys(err, errno, "rename %s", partial);
    return kp_sync_parent(path, err);
}

static int save_there(struct kp_site *site, struct kp_site_node *node, const char *path,
                      struct kp_err *err)
{
    static const char *const folder[] = {"install", "-d", "-m", "0700", KP_ETCD_BACKUPS, NULL};
    const char *save[] = {"snapshot", "save", path, NULL};
    if (kp_ask(site, node, folder, 30, NULL, NULL, err) < 0)
        return -1;
    return kp_etcd_ctl(site, node, save, KP_ETCD_SNAPSHOT_S, NULL, NULL, err);
}

int kp_etcd_snapshot_take(struct kp_site *site, const char *path, struct kp_etcd_snapshot *out,
                          struct kp_err *err)
{
    struct kp_site_node *node = NULL;
    struct kp_etcd_status status;
    struct kp_err ignored;
    *out = (struct kp_etcd_snapshot){0};
    if (kp_etcd_identity(site, out->ca, err) < 0 || find_leader(site, &node, &status, err) < 0)
        return -1;
    kp_auto_free char *there = kp_asprintf(KP_ETCD_BACKUPS "/run-%s.db", site->run_id);
    kp_auto_free char *partial = kp_asprintf("%s.partial", path);
    keep(out->cluster, sizeof(out->cluster), site->inventory->cluster);
    keep(out->etcd, sizeof(out->etcd), status.cluster);
    keep(out->version, sizeof(out->version), status.version);
    keep(out->node, sizeof(out->node), node->node->name);
    keep(out->bundle, sizeof(out->bundle), kp_digest_hex(&site->manifest->id).hex);
    keep(out->kubernetes, sizeof(out->kubernetes), site->manifest->kubernetes);
    keep(out->time, sizeof(out->time), kp_text_utc(time(NULL)).s);
    int result = save_there(site, node, there, err);
    if (result == 0)
        result = kp_etcd_snapshot_judge(site, node, there, out, err);
    if (result == 0)
        result = copy_here(node, there, partial, out->sha256, &out->size, err);
    if (result == 0)
        result = store(out, partial, path, err);
    if (result < 0)
        (void)unlink(partial);
    if (kp_session_remove(node->session, there, 0, NULL, result < 0 ? &ignored : err) < 0)
        return -1;
    return result < 0 ? kp_wrap(err, "%s", node->node->name) : 0;
}

static int is_there(struct kp_site *site, struct kp_site_node *node, const char *path,
                    const char *sha256, bool *same, struct kp_err *err)
{
    const char *sum[] = {"sha256sum", path, NULL};
    kp_auto_free char *line = NULL;
    int status;
    if (kp_ask(site, node, sum, KP_ETCD_SNAPSHOT_S, &status, &line, err) < 0)
        return -1;
    *same = status == 0 && strncmp(line, sha256, KP_SHA256_HEX) == 0;
    return 0;
}

static int send_piece(struct kp_site_node *node, const char *path, struct kp_slice piece,
                      struct kp_err *err)
{
    static const char *const env[] = {KP_PATH_ENV, NULL};
    const char *argv[] = {"/bin/sh", "-c", "umask 077; cat >>\"$1\"", "sh", path, NULL};
    const struct kp_run run = {.argv = argv, .env = env, .input = piece, .timeout = 120};
    kp_auto_value(kp_run_result) result = {0};
    if (kp_session_run(node->session, &run, &result, err) < 0)
        return -1;
    return result.status == 0 ? 0
                              : kp_fail_as(err, KP_FAILED, "command_failed", "write %s: %.200s",
                                           path, result.err_out.data ? result.err_out.data : "");
}

int kp_etcd_snapshot_send(struct kp_site *site, struct kp_site_node *node, const char *file,
                          const char *path, const char *sha256, struct kp_err *err)
{
    static const char *const folder[] = {"install", "-d", "-m", "0700", KP_ETCD_BACKUPS, NULL};
    kp_auto_fd int fd = open(file, O_RDONLY | O_CLOEXEC);
    kp_auto_free char *block = kp_alloc(CHUNK);
    bool same;
    if (fd < 0)
        return kp_fail_sys(err, errno, "open %s", file);
    if (kp_ask(site, node, folder, 30, NULL, NULL, err) < 0 ||
        is_there(site, node, path, sha256, &same, err) < 0)
        return -1;
    if (same)
        return 0;
    if (kp_session_remove(node->session, path, 0, NULL, err) < 0)
        return -1;
    for (;;) {
        ssize_t n = read(fd, block, CHUNK);
        if (n < 0)
            return kp_fail_sys(err, errno, "read %s", file);
        if (n == 0)
            break;
        if (send_piece(node, path, (struct kp_slice){block, (size_t)n}, err) < 0)
            return -1;
    }
    if (is_there(site, node, path, sha256, &same, err) < 0)
        return -1;
    return same ? 0
                : kp_fail_as(err, KP_DAMAGED, "damaged", "%s did not arrive whole on %s", file,
                             node->node->name);
}
