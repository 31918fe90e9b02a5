/* SPDX-License-Identifier: Apache-2.0 */
#include "install/audit/audit_log.h"

#include "core/file.h"
#include "core/text.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define HOST_MAX 256
#define PASSWD_MAX ((size_t)4 << 20)
#define TRIES 20     /* for a part of a node's log that others do not overtake */
#define SEEN_MAX 200 /* files in one record */

struct kp_audit_log {
    char *folder, *run_id;
    struct kp_chain *chain;
    struct kp_audit_book book; /* kept up to date */
    pthread_mutex_t lock;      /* guards chain and book */
    bool ended;
};

void kp_audit_log_free(struct kp_audit_log *log)
{
    if (!log)
        return;
    kp_chain_free(log->chain);
    kp_audit_book_release(&log->book);
    pthread_mutex_destroy(&log->lock);
    kp_free(log->folder);
    kp_free(log->run_id);
    kp_free(log);
}

static int add(struct kp_audit_log *log, const char *type, json_t *members, struct kp_err *err)
{
    kp_auto_json record = json_pack("{s:s, s:s, s:s}", "time", kp_text_utc(time(NULL)).s, "run",
                                    log->run_id, "type", type);
    json_object_update(record, members);
    json_decref(members);
    if (kp_chain_append(log->chain, record, NULL, NULL, NULL, err) < 0)
        return kp_wrap(err, "audit log");
    struct kp_chain_head head = kp_chain_head(log->chain);
    return kp_audit_book_take(&log->book, record, (struct kp_slice){NULL, 0}, &head, err);
}

int kp_audit_log_add(struct kp_audit_log *log, const char *type, json_t *members,
                     struct kp_err *err)
{
    pthread_mutex_lock(&log->lock);
    int failed = add(log, type, members, err);
    pthread_mutex_unlock(&log->lock);
    return failed;
}

static char *describe_trouble(const struct kp_audit_log *log)
{
    const struct kp_chain_state *chain = &log->book.chain;
    if (chain->problem_count)
        return kp_asprintf("the audit log %s/%s was changed: line %llu %s", log->folder,
                           KP_AUDIT_FILE, (unsigned long long)chain->problems[0].line,
                           chain->problems[0].text);
    if (log->book.cut)
        return kp_asprintf(
            "the audit log %s/%s was cut or replaced: it had %llu lines, it has %llu", log->folder,
            KP_AUDIT_FILE, (unsigned long long)log->book.kept.count,
            (unsigned long long)chain->head.count);
    return NULL;
}

int kp_audit_log_open(struct kp_audit_log **out, const char *state_folder, const char *run_id,
                      char **note, struct kp_err *err)
{
    kp_auto(kp_audit_log) log = kp_alloc(sizeof(*log));
    kp_auto_free char *path = kp_path_join(state_folder, KP_AUDIT_FILE);
    struct kp_chain_state state;
    pthread_mutex_init(&log->lock, NULL);
    log->folder = kp_strdup(state_folder);
    log->run_id = kp_strdup(run_id);
    if (kp_audit_book_read(&log->book, state_folder, false, err) < 0 ||
        kp_chain_open(&log->chain, path, NULL, NULL, &state, err) < 0)
        return -1;
    *note = describe_trouble(log);
    *out = kp_steal(&log);
    return 0;
}

static int bad_line(const char *node, const char *what, struct kp_err *err)
{
    return kp_fail_as(err, KP_UNTRUSTED, "bad_receipt", "node %s: what it says it placed %s", node,
                      what);
}

/* With the lock held: a line that follows from the node's last one, signed by its key. */
static int take_line(struct kp_audit_log *log, const char *node, struct kp_slice line,
                     struct kp_err *err)
{
    const json_t *known = json_object_get(log->book.nodes, node);
    kp_auto_json placed = NULL;
    if (kp_json_parse(&placed, line, KP_CHAIN_LINE_MAX, "placed", err) < 0)
        return kp_wrap(err, "node %s", node);
    const char *prev = kp_json_string(known, "digest");
    struct kp_digest_text none = kp_digest_hex(&(struct kp_digest){{0}});
    json_int_t before = json_integer_value(json_object_get(known, "count"));
    if (json_integer_value(json_object_get(placed, "n")) != before + 1 ||
        strcmp(kp_json_string(placed, "prev"), *prev ? prev : none.hex) != 0)
        return bad_line(node, "does not follow from its line before", err);
    if (!kp_audit_line_is_signed(line, kp_json_string(known, "key")))
        return bad_line(node, "is not signed by its key", err);
    json_t *members =
        json_pack("{s:s, s:o}", "node", node, "placed", json_stringn(line.ptr, line.len));
    return add(log, "placed", members, err);
}

static int take_lines(struct kp_audit_log *log, const char *node, struct kp_slice lines,
                      struct kp_err *err)
{
    struct kp_slice line;
    while (kp_slice_line(&lines, &line))
        if (take_line(log, node, line, err) < 0)
            return -1;
    return 0;
}

/* With the lock held. A node of which nothing is known yet has its key in its first answer. */
static int meet_node(struct kp_audit_log *log, const char *node, const char *key, const char *was,
                     struct kp_err *err)
{
    return add(log, "node", json_pack("{s:s, s:s, s:s*}", "node", node, "key", key, "was", was),
               err);
}

static struct kp_chain_head known_head(const struct kp_audit_log *log, const char *node)
{
    const json_t *known = json_object_get(log->book.nodes, node);
    struct kp_chain_head head = {.count =
                                     (uint64_t)json_integer_value(json_object_get(known, "count"))};
    if (!kp_digest_parse(kp_slice_of(kp_json_string(known, "digest")), &head.digest))
        head.count = 0;
    return head;
}

static bool same_head(const struct kp_chain_head *a, const struct kp_chain_head *b)
{
    return a->count == b->count && kp_digest_equal(&a->digest, &b->digest);
}

/* With the lock held: why the node is not the one that we know; NULL where it is. */
static const char *changed_past(const struct kp_audit_log *log, const char *node,
                                const struct kp_node_log_part *part)
{
    struct kp_chain_head known = known_head(log, node);
    const char *key = kp_json_string(json_object_get(log->book.nodes, node), "key");
    struct kp_chain_state found;
    if (!*key)
        return NULL;
    if (!part->key || strcmp(key, part->key) != 0)
        return "the node has another key than before: it was made anew, or is another one";
    if (part->head.count < known.count)
        return "the node's log is shorter than it was";
    // The lines that came must lead from what we know to what the node says.
    if (kp_chain_parse(kp_buf_slice(&part->lines), &known, NULL, NULL, &found, NULL) < 0 ||
        found.problem_count || found.torn || !same_head(&found.head, &part->head))
        return "the node's log is not the one that it was";
    return NULL;
}

/* *known: what we had when we asked. */
static int ask(struct kp_audit_log *log, struct kp_session *session,
               const struct kp_chain_head *witness, struct kp_chain_head *known,
               struct kp_node_log_part *part, struct kp_err *err)
{
    pthread_mutex_lock(&log->lock);
    *known = known_head(log, kp_session_node(session));
    pthread_mutex_unlock(&log->lock);
    kp_node_log_part_release(part);
    return kp_session_placed(session, known->count, witness, part, err);
}

/* With the lock held. *again: ask once more, from where we are now. */
static int take_part(struct kp_audit_log *log, const char *node, const struct kp_chain_head *asked,
                     const struct kp_node_log_part *part, bool *again, struct kp_err *err)
{
    struct kp_chain_head known = known_head(log, node);
    *again = !same_head(&known, asked); // another thread of this node went ahead
    if (*again)
        return 0;
    const char *was = changed_past(log, node, part);
    bool unknown = !*kp_json_string(json_object_get(log->book.nodes, node), "key");
    if (part->key && (was || unknown) && meet_node(log, node, part->key, was, err) < 0)
        return -1;
    *again = was && part->key;
    return was ? 0 : take_lines(log, node, kp_buf_slice(&part->lines), err);
}

static int catch_up(struct kp_audit_log *log, struct kp_session *session,
                    const struct kp_chain_head *witness, struct kp_err *err)
{
    kp_auto_value(kp_node_log_part) part = {0};
    struct kp_chain_head asked;
    bool again = true;
    for (int i = 0; again && i < TRIES; i++) {
        if (ask(log, session, i == 0 ? witness : NULL, &asked, &part, err) < 0)
            return -1;
        pthread_mutex_lock(&log->lock);
        int failed = take_part(log, kp_session_node(session), &asked, &part, &again, err);
        pthread_mutex_unlock(&log->lock);
        if (failed < 0)
            return -1;
    }
    return again ? bad_line(kp_session_node(session), "never comes to an end", err) : 0;
}

int kp_audit_log_catch_up(struct kp_audit_log *log, struct kp_session *session, struct kp_err *err)
{
    return catch_up(log, session, NULL, err);
}

int kp_audit_log_tell(struct kp_audit_log *log, struct kp_session *session, struct kp_err *err)
{
    struct kp_chain_head head = kp_audit_log_head(log);
    return catch_up(log, session, &head, err);
}

int kp_audit_log_witness(void *user, struct kp_session *session, const char *path,
                         struct kp_slice line, struct kp_err *err)
{
    struct kp_audit_log *log = user;
    const char *node = kp_session_node(session);
    if (!line.ptr)
        return kp_audit_log_add(log, "removed", json_pack("{s:s, s:s}", "node", node, "path", path),
                                err);
    pthread_mutex_lock(&log->lock);
    bool unknown = !*kp_json_string(json_object_get(log->book.nodes, node), "key");
    // The first line of a node that made its key for it, or of threads that overtook each other.
    int failed = unknown ? -1 : take_line(log, node, line, err);
    pthread_mutex_unlock(&log->lock);
    return failed < 0 ? kp_audit_log_catch_up(log, session, err) : 0;
}

static bool is_known(const json_t *seen, const json_t *file)
{
    static const char *const keys[] = {"kind", "sha256", "mode", "uid", "gid"};
    const json_t *known = json_object_get(seen, kp_json_string(file, "path"));
    for (size_t i = 0; known && i < KP_COUNT(keys); i++)
        if (!json_equal(json_object_get(known, keys[i]), json_object_get(file, keys[i])))
            return false;
    return known != NULL;
}

int kp_audit_log_seen(struct kp_audit_log *log, const char *node, const json_t *files,
                      struct kp_err *err)
{
    kp_auto_json fresh = json_array();
    size_t i;
    json_t *file;
    pthread_mutex_lock(&log->lock);
    const json_t *seen = json_object_get(json_object_get(log->book.nodes, node), "seen");
    json_array_foreach(files, i, file)
    {
        if (!is_known(seen, file) && json_array_size(fresh) < SEEN_MAX)
            json_array_append(fresh, file);
    }
    int failed = 0;
    if (json_array_size(fresh))
        failed = add(log, "seen", json_pack("{s:s, s:O}", "node", node, "files", fresh), err);
    pthread_mutex_unlock(&log->lock);
    return failed;
}

struct kp_chain_head kp_audit_log_head(struct kp_audit_log *log)
{
    pthread_mutex_lock(&log->lock);
    struct kp_chain_head head = kp_chain_head(log->chain);
    pthread_mutex_unlock(&log->lock);
    return head;
}

int kp_audit_log_keep_head(struct kp_audit_log *log, struct kp_err *err)
{
    struct kp_chain_head head = kp_audit_log_head(log);
    kp_auto_free char *path = kp_path_join(log->folder, KP_AUDIT_HEAD_FILE);
    kp_auto_free char *words = kp_chain_head_text(&head);
    kp_auto_free char *text = kp_asprintf("%s\n", words);
    return kp_file_write_atomic(path, kp_slice_of(text), 0600, err);
}

int kp_audit_log_end(struct kp_audit_log *log, const char *failed, struct kp_err *err)
{
    if (log->ended)
        return 0;
    log->ended = true;
    json_t *members =
        json_pack("{s:s, s:s*}", "result", failed ? "stopped" : "done", "text", failed);
    if (!members) // a command's words that are not UTF-8
        members = json_pack("{s:s}", "result", "stopped");
    return kp_audit_log_add(log, "end", members, err) < 0 ? -1 : kp_audit_log_keep_head(log, err);
}

/* A static program cannot ask NSS: the local accounts have to do. */
static char *user_name(void)
{
    kp_auto_free char *text = NULL;
    size_t len;
    struct kp_err ignored;
    kp_auto_free char *id = kp_asprintf("%u", (unsigned)getuid());
    if (kp_file_read("/etc/passwd", PASSWD_MAX, &text, &len, &ignored) == 0) {
        struct kp_slice rest = {text, len}, line, name, word;
        while (kp_slice_line(&rest, &line))
            if (kp_slice_cut(&line, ':', &name) && kp_slice_cut(&line, ':', &word) &&
                kp_slice_cut(&line, ':', &word) && kp_slice_equal(word, id))
                return kp_strndup(name.ptr, name.len);
    }
    return kp_asprintf("uid %s", id);
}

char *kp_audit_who(void)
{
    char host[HOST_MAX] = "";
    kp_auto_free char *name = user_name();
    const char *sudo = getenv("SUDO_USER");
    gethostname(host, sizeof(host) - 1);
    bool plain = sudo && *sudo && kp_text_plain(sudo, 64);
    return kp_asprintf("%s@%s%s%s%s", name, host, plain ? " (sudo of " : "", plain ? sudo : "",
                       plain ? ")" : "");
}
