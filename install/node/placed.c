/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's own log of what was placed on it: /var/lib/kpack/placed.jsonl, a chain (core/chain.h)
 * whose lines are signed by a key that was made on this node and never leaves it. kinstall takes
 * each line into the site's audit log, so that neither side can lose or change one unseen.
 */
#include "install/node/node.h"

#include "core/chain.h"
#include "core/file.h"
#include "core/text.h"

#include <stdio.h>
#include <time.h>

#define STATE_FOLDER "/var/lib/kpack"
#define LOG_FILE STATE_FOLDER "/placed.jsonl"
#define KEY_NAME "node"
#define KEY_FILE STATE_FOLDER "/" KEY_NAME ".key"

struct kp_node_log {
    struct kp_chain *chain;
    struct kp_key *key;
    json_t *latest; /* path -> {"sha256" or another digest, "mode", "uid", "gid"} */
};

void kp_node_log_free(struct kp_node_log *log)
{
    if (!log)
        return;
    kp_chain_free(log->chain);
    kp_key_free(log->key);
    json_decref(log->latest);
    kp_free(log);
}

static bool is_beneath(const char *path, const char *folder)
{
    size_t len = strlen(folder);
    return strncmp(path, folder, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

static void forget(json_t *latest, const char *folder)
{
    const char *path;
    json_t *value;
    void *next;
    json_object_foreach_safe(latest, next, path, value)
    {
        if (is_beneath(path, folder))
            json_object_del(latest, path);
    }
}

/* What of a record says whether another one would say something new. */
static json_t *essence(const json_t *record)
{
    static const char *const keys[] = {"sha256", "hmac", "id", "mode", "uid", "gid"};
    json_t *out = json_object();
    for (size_t i = 0; i < KP_COUNT(keys); i++)
        if (json_object_get(record, keys[i]))
            json_object_set(out, keys[i], json_object_get(record, keys[i]));
    return out;
}

static int remember(void *user, const json_t *record, struct kp_slice line,
                    const struct kp_chain_head *head, struct kp_err *err)
{
    struct kp_node_log *log = user;
    const char *path = json_string_value(json_object_get(record, "path"));
    const char *op = json_string_value(json_object_get(record, "op"));
    (void)line;
    (void)head;
    (void)err;
    if (!path || !op)
        return 0;
    if (strcmp(op, "remove") == 0)
        forget(log->latest, path);
    else
        json_object_set_new(log->latest, path, essence(record));
    return 0;
}

static int load_key(struct kp_node_state *state, struct kp_node_log *log, struct kp_err *err)
{
    kp_auto_free char *path = kp_node_own(state, KEY_FILE);
    kp_auto_free char *folder = kp_node_own(state, STATE_FOLDER);
    struct kp_digest id;
    if (!kp_file_exists(path) && kp_key_generate(folder, KEY_NAME, &id, err) < 0)
        return kp_wrap(err, "make this node's key");
    return kp_key_load(&log->key, path, NULL, err) < 0 ? kp_wrap(err, "this node's key") : 0;
}

/* With state->log_lock held. */
static int open_log(struct kp_node_state *state, struct kp_err *err)
{
    kp_auto_free char *path = kp_node_own(state, LOG_FILE);
    kp_auto_free char *folder = kp_node_own(state, STATE_FOLDER);
    struct kp_chain_state found;
    if (state->log)
        return 0;
    struct kp_node_log *log = kp_alloc(sizeof(*log));
    log->latest = json_object();
    if (kp_mkdirs(folder, 0700, err) < 0 || load_key(state, log, err) < 0 ||
        kp_chain_open(&log->chain, path, remember, log, &found, err) < 0) {
        kp_node_log_free(log);
        return -1;
    }
    state->log = log;
    return 0;
}

static int sign_line(void *user, struct kp_slice line, const char **member, json_t **value,
                     struct kp_err *err)
{
    const struct kp_node_log *log = user;
    struct kp_signature signature;
    char hex[2 * KP_ED25519_SIGNATURE + 1];
    if (kp_sign(log->key, line, &signature, err) < 0)
        return -1;
    kp_hex(hex, signature.bytes, sizeof(signature.bytes));
    *member = "signature";
    *value = json_string(hex);
    return 0;
}

/* Without it there is none to compare with: the file counts as never placed. */
static int secret_digest(const struct kp_node_state *state, const struct kp_digest *sha256,
                         struct kp_digest *out, struct kp_err *err)
{
    kp_auto_free char *path = kp_node_own(state, KEY_FILE);
    char *text = NULL;
    size_t len;
    struct kp_digest key;
    if (kp_file_read(path, KP_KEY_FILE_MAX, &text, &len, err) < 0)
        return -1;
    kp_sha256(text, len, &key);
    kp_free_secret(text, len);
    kp_hmac_sha256((struct kp_slice){(const char *)key.bytes, KP_SHA256_LEN},
                   (struct kp_slice){(const char *)sha256->bytes, KP_SHA256_LEN}, out);
    explicit_bzero(&key, sizeof(key));
    return 0;
}

int kp_node_secret_digest(const struct kp_node_state *state, const struct kp_digest *sha256,
                          struct kp_digest *out, struct kp_err *err)
{
    return secret_digest(state, sha256, out, err);
}

static int add_digest(const struct kp_node_state *state, const struct kp_node_placed *placed,
                      json_t *record, struct kp_err *err)
{
    struct kp_digest digest = placed->sha256;
    const char *name = placed->digest_name ? placed->digest_name : "sha256";
    if (strcmp(placed->op, "remove") == 0)
        return 0;
    // The digest of a short secret would give it away to whoever reads the log.
    if (placed->secret && secret_digest(state, &placed->sha256, &digest, err) < 0)
        return -1;
    char mode[8];
    snprintf(mode, sizeof(mode), "%04o", placed->mode);
    json_object_set_new(record, placed->secret ? "hmac" : name,
                        json_string(kp_digest_hex(&digest).hex));
    json_object_set_new(record, "size", json_integer((json_int_t)placed->size));
    json_object_set_new(record, "mode", json_string(mode));
    json_object_set_new(record, "uid", json_integer(placed->uid));
    json_object_set_new(record, "gid", json_integer(placed->gid));
    if (placed->blob)
        json_object_set_new(record, "blob", json_string(kp_digest_hex(placed->blob).hex));
    return 0;
}

static json_t *new_record(const struct kp_node_state *state, const char *op)
{
    struct kp_digest_text bundle = {.hex = ""};
    if (state->manifest)
        bundle = kp_digest_hex(&state->manifest->id);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "kind", KP_NODE_PLACED_KIND, "time",
                     kp_text_utc(time(NULL)).s, "knode", KP_VERSION, "run", state->run_id, "bundle",
                     bundle.hex, "op", op);
}

static int append(struct kp_node_state *state, const json_t *record, char **line,
                  struct kp_err *err)
{
    if (kp_chain_append(state->log->chain, record, sign_line, state->log, line, err) < 0)
        return kp_wrap(err, "this node's log");
    return remember(state->log, record, (struct kp_slice){NULL, 0}, NULL, err);
}

static int note_placed(struct kp_node_state *state, const struct kp_node_placed *placed,
                       json_t *result, struct kp_err *err)
{
    if (open_log(state, err) < 0)
        return -1;
    kp_auto_json record = new_record(state, placed->op);
    json_object_set_new(record, "path", json_string(placed->path));
    json_object_set_new(record, "changed", json_boolean(placed->changed));
    if (add_digest(state, placed, record, err) < 0)
        return -1;
    kp_auto_json now = essence(record);
    const json_t *known = json_object_get(state->log->latest, placed->path);
    // A run that finds all as it is leaves no line.
    if (!placed->changed && known && json_equal(now, known))
        return 0;
    kp_auto_free char *line = NULL;
    if (append(state, record, &line, err) < 0)
        return -1;
    json_object_set_new(result, "placed", json_string(line));
    return 0;
}

int kp_node_note_placed(struct kp_node_state *state, const struct kp_node_placed *placed,
                        json_t *result, struct kp_err *err)
{
    pthread_mutex_lock(&state->log_lock);
    // Where our own folder was taken away (reset), the log went with it and is not begun again.
    bool own = is_beneath(STATE_FOLDER, placed->path) && strcmp(placed->op, "remove") == 0;
    if (own) {
        kp_node_log_free(state->log);
        state->log = NULL;
        state->log_gone = true;
    }
    int failed = state->log_gone ? 0 : note_placed(state, placed, result, err);
    pthread_mutex_unlock(&state->log_lock);
    return failed;
}

static int add_witness(struct kp_node_state *state, const json_t *witness, struct kp_err *err)
{
    uint64_t count;
    const char *hex;
    struct kp_digest digest;
    if (kp_node_number(witness, "count", INT64_MAX, &count, err) < 0 ||
        kp_node_text(witness, "digest", KP_SHA256_HEX, &hex, err) < 0)
        return -1;
    if (!kp_digest_parse(kp_slice_of(hex), &digest))
        return kp_fail_as(err, KP_USAGE, "bad_request", "request field \"digest\" is no digest");
    if (kp_node_commit(state, false, err) < 0 || open_log(state, err) < 0)
        return -1;
    kp_auto_json record = new_record(state, "witness");
    json_object_set_new(record, "site_count", json_integer((json_int_t)count));
    json_object_set_new(record, "site_digest", json_string(hex));
    kp_auto_free char *line = NULL;
    return append(state, record, &line, err);
}

struct telling {
    struct kp_node_request *request;
    uint64_t after;
};

static int tell_line(void *user, const json_t *record, struct kp_slice line,
                     const struct kp_chain_head *head, struct kp_err *err)
{
    const struct telling *telling = user;
    (void)record;
    if (head->count <= telling->after)
        return 0;
    if (kp_node_write(telling->request, 0, line.ptr, line.len, err) < 0)
        return -1;
    return kp_node_write(telling->request, 0, "\n", 1, err);
}

static char *public_key(const struct kp_node_state *state)
{
    kp_auto_free char *path = kp_node_own(state, KEY_FILE);
    kp_auto(kp_key) key = NULL;
    struct kp_err ignored;
    if (kp_key_load(&key, path, NULL, &ignored) < 0)
        return NULL;
    return kp_key_public_pem(key);
}

/* {"after": n, "witness": {"count", "digest"}}: lines behind number n as DATA; *result: {"count",
 * "digest"} of the last one and the node's "key" (PEM). With a witness the head of the site's own
 * log is written down first, else nothing is changed. */
int kp_node_op_placed(struct kp_node_request *request, const json_t *args, json_t **result,
                      struct kp_err *err)
{
    struct kp_node_state *state = kp_node_request_state(request);
    struct telling telling = {.request = request};
    const json_t *witness = json_object_get(args, "witness");
    kp_auto_free char *path = kp_node_own(state, LOG_FILE);
    struct kp_chain_state found;
    if (kp_node_number(args, "after", INT64_MAX, &telling.after, err) < 0)
        return -1;
    pthread_mutex_lock(&state->log_lock);
    int failed = witness && !state->log_gone ? add_witness(state, witness, err) : 0;
    pthread_mutex_unlock(&state->log_lock);
    if (failed < 0 || kp_chain_read(path, tell_line, &telling, &found, err) < 0)
        return -1;
    kp_auto_free char *pem = public_key(state);
    *result = json_pack("{s:I, s:s, s:s*}", "count", (json_int_t)found.head.count, "digest",
                        kp_digest_hex(&found.head.digest).hex, "key", pem);
    return 0;
}
