/* SPDX-License-Identifier: Apache-2.0 */
/*
 * knode's inside: one process per connection, one thread per request. It holds no policy and knows
 * nothing of Kubernetes. Operations that change something say whether they did, with a diff, and
 * take "dry_run". Paths of its own state lie beneath `root` ("" on a node, a folder in tests).
 */
#pragma once

#include "bundle/sign.h"
#include "bundle/manifest.h"
#include "install/node/protocol.h"

#include <pthread.h>

struct kp_node_request;
struct kp_node_terms;
void kp_node_terms_free(struct kp_node_terms *terms);
KP_DEFINE_AUTO(kp_node_terms);
struct kp_node_log;

struct kp_node_state {
    const char *root;
    pthread_mutex_t lock;         /* guards all below */
    struct kp_manifest *manifest; /* accepted: signed by a key that this node trusts */
    struct kp_trust *trust;       /* what this node goes by */
    struct kp_node_terms *terms;  /* what kinstall said beside the bundle (accept.c) */
    bool insecure;                /* the site goes on without trust, and said so */
    bool first_contact;           /* no key was kept here before */
    bool committed;               /* trust and serial are on disk */
    int lock_fd;                  /* node lock, -1 while not held */
    char run_id[65];              /* of the run that holds the lock; "" before */
    pthread_mutex_t log_lock;     /* guards the two below; taken before lock */
    struct kp_node_log *log;      /* of what was placed; NULL until it is needed */
    bool log_gone;                /* taken away on this connection, with all of knode's state */
};
#define KP_NODE_STATE(folder)                                                                      \
    ((struct kp_node_state){.root = (folder),                                                      \
                            .lock = PTHREAD_MUTEX_INITIALIZER,                                     \
                            .log_lock = PTHREAD_MUTEX_INITIALIZER,                                 \
                            .lock_fd = -1})
void kp_node_state_release(struct kp_node_state *state);
KP_DEFINE_AUTO_VALUE(kp_node_state);

/* Held by whoever changes this node; its first line says who. */
#define KP_NODE_LOCK "/var/lib/kpack/lock"

/* One operation. args is the request's object; *result is set on success (json_decref by the
 * caller). Runs in its own thread. */
typedef int kp_node_handler(struct kp_node_request *request, const json_t *args, json_t **result,
                            struct kp_err *err);

/* Serves frames from in to out until in ends, the peer falls silent or breaks the protocol.
 * Says hello first. */
KP_CHECK int kp_node_serve(struct kp_node_state *state, int in, int out, const char *nonce,
                           struct kp_err *err);

/* What handlers may use of their request. All block; all fail once the connection is gone. */
struct kp_node_state *kp_node_request_state(const struct kp_node_request *request);
bool kp_node_cancelled(struct kp_node_request *request);
/* Up to size bytes of the request's DATA; *got 0 at its END. */
KP_CHECK int kp_node_read(struct kp_node_request *request, void *out, size_t size, size_t *got,
                          struct kp_err *err);
/* The whole of it, exactly size bytes. */
KP_CHECK int kp_node_read_all(struct kp_node_request *request, struct kp_buf *out, uint64_t size,
                              struct kp_err *err);
/* flags: 0 or KP_FLAG_STDERR. */
KP_CHECK int kp_node_write(struct kp_node_request *request, unsigned flags, const void *data,
                           size_t len, struct kp_err *err);
KP_CHECK int kp_node_note(struct kp_node_request *request, const json_t *note, struct kp_err *err);

/* Reading args: a missing or ill-typed field is KP_USAGE "bad_request", naming it. Borrowed. */
KP_CHECK int kp_node_text(const json_t *args, const char *key, size_t max, const char **out,
                          struct kp_err *err);
KP_CHECK int kp_node_number(const json_t *args, const char *key, uint64_t max, uint64_t *out,
                            struct kp_err *err);
bool kp_node_flag(const json_t *args, const char *key);
/* A NULL-terminated array of texts (kp_free the array only); NULL in *out where missing. */
KP_CHECK int kp_node_texts(const json_t *args, const char *key, size_t max, const char ***out,
                           size_t *count, struct kp_err *err);
/* An absolute path without "." ".." empty parts or control characters. */
KP_CHECK int kp_node_path(const json_t *args, const char *key, const char **out,
                          struct kp_err *err);
bool kp_node_path_is_plain(const char *path);
/* A file of knode's own state: root + path; kp_free. */
char *kp_node_own(const struct kp_node_state *state, const char *path);
/* {"changed": …, "diff": …}; diff may be NULL. Bytes that are not UTF-8 are replaced. */
json_t *kp_node_change(bool changed, const char *diff);
/* A JSON string of any bytes: what is not UTF-8 becomes '?'. */
json_t *kp_node_json_text(struct kp_slice text);

/* Before the first real change on this connection: keeps trust and serial on the node, refuses a
 * rollback. Does nothing in a dry run. */
KP_CHECK int kp_node_commit(struct kp_node_state *state, bool dry_run, struct kp_err *err);
/* Without kinstall: only the keys that are kept here count, and what they revoked. state as behind
 * op bundle. KP_UNTRUSTED. */
KP_CHECK int kp_node_accept_kept(struct kp_node_state *state, struct kp_slice manifest,
                                 struct kp_slice signatures, struct kp_err *err);
/* What was accepted is not older than what this node has seen of that name. */
KP_CHECK int kp_node_check_serial(const struct kp_node_state *state, struct kp_err *err);
/* "no_bundle" before one was accepted. */
KP_CHECK int kp_node_need_bundle(struct kp_node_state *state, struct kp_err *err);

/* One file that was placed, found to be there as asked, or removed, for the node's own log: kind
 * kpack.placed/v1, docs/security.md. Not in dry runs. The new line goes into result as "placed";
 * none where the log says the same already. */
struct kp_node_placed {
    const char *op; /* static: "put" "fetch" "receive" "remove" … */
    const char *path;
    unsigned mode, uid, gid;
    uint64_t size;
    struct kp_digest sha256;      /* of the content; or another digest, whose name is digest_name */
    const char *digest_name;      /* NULL: "sha256" */
    const struct kp_digest *blob; /* that it was made of, or NULL */
    bool secret;                  /* only a keyed digest may be kept */
    bool changed;
};
#define KP_NODE_PLACED_KIND "kpack.placed/v1"
KP_CHECK int kp_node_note_placed(struct kp_node_state *state, const struct kp_node_placed *placed,
                                 json_t *result, struct kp_err *err);
void kp_node_log_free(struct kp_node_log *log);
/* The keyed digest of a secret's SHA-256, under a key that never leaves this node. */
KP_CHECK int kp_node_secret_digest(const struct kp_node_state *state,
                                   const struct kp_digest *sha256, struct kp_digest *out,
                                   struct kp_err *err);

kp_node_handler kp_node_op_placed, kp_node_op_survey, kp_node_op_bundles;
kp_node_handler kp_node_op_bundle, kp_node_op_facts, kp_node_op_put, kp_node_op_remove,
    kp_node_op_get, kp_node_op_fetch, kp_node_op_receive, kp_node_op_unit, kp_node_op_sysctl,
    kp_node_op_modules, kp_node_op_run, kp_node_op_ran, kp_node_op_probe, kp_node_op_record,
    kp_node_op_mark, kp_node_op_lock, kp_node_op_clock;

/* A unified diff of two texts with three lines around each change, at most KP_DIFF_MAX bytes (then
 * cut, and said so); NULL where they are equal. Not for secrets. kp_free. */
#define KP_DIFF_MAX ((size_t)32768)
char *kp_diff(const char *path, struct kp_slice before, struct kp_slice after);

/* Program run by a transient unit: runs what folder/command.json says, keeps output and result
 * there. */
KP_CHECK int kp_node_task_main(const char *folder, struct kp_err *err);
/* Inside pods of the final verification. */
KP_CHECK int kp_node_probe_server(uint16_t port, struct kp_err *err);
/* A file is written there, read back and taken away again. */
KP_CHECK int kp_node_probe_volume(const char *folder, struct kp_err *err);
KP_CHECK int kp_node_probe_client(const char *const *names, const char *const *urls, bool *all_well,
                                  struct kp_err *err);

/* "loaded", "builtin", "available" (modprobe may load it) or "missing"; static. */
const char *kp_node_module_state(const char *name);
/* A short program's output, trimmed; "" where it is missing, fails to start or takes over 10 s.
 * *status may be NULL. kp_free. */
char *kp_node_output(const char *const *argv, int *status);
bool kp_node_has_systemd(void);
/* systemctl VERB [OPTION] [UNIT], up to three minutes; why it failed, with the end of the unit's
 * journal. */
KP_CHECK int kp_node_systemctl(const char *verb, const char *option, const char *unit,
                               struct kp_err *err);
/* One signal to a process group that we started, then a hard one where it has not ended in 5 s. */
struct kp_proc;
void kp_node_end_process(struct kp_proc *proc);
/* Parts of op facts; each adds keys to out. */
void kp_facts_system(json_t *out, const json_t *args);
void kp_facts_kernel(json_t *out, const json_t *args);
void kp_facts_network(json_t *out, const json_t *args);
void kp_facts_leftovers(json_t *out, const json_t *args);
/* A file of /proc, /sys or /etc as text; NULL where it is not there. kp_free. */
char *kp_facts_file(const char *path);
/* The value of KEY=value or "Key: value" lines, quotes taken off; NULL where missing. kp_free. */
char *kp_facts_value(const char *text, const char *key, char separator);
/* Where a program is: our PATH, then the usual folders; NULL. kp_free. */
char *kp_facts_program(const char *name);
/* The trimmed text as JSON, or null for NULL; takes text. */
json_t *kp_facts_text(char *text);
/* The next word off the front of a line. */
bool kp_facts_word(struct kp_slice *line, struct kp_slice *word);

/* mirrors.c: the URLs of a hosts.toml that kinstall placed, in the order in which they are tried;
 * they lie in text. */
#define KP_NODE_MIRRORS_MAX 64
size_t kp_node_mirrors_read(struct kp_slice text, struct kp_slice *urls, size_t max);
/* The same file with the mirrors in another order; n as read. kp_free. */
char *kp_node_mirrors_write(struct kp_slice text, const struct kp_slice *order, size_t n);
/* Those that answer first, each part in its old order; whether that is another. n at most
 * KP_NODE_MIRRORS_MAX. */
bool kp_node_mirrors_sort(struct kp_slice *urls, const bool *answers, size_t n);
/* Until it is interrupted. */
KP_CHECK int kp_node_mirrors_watch(struct kp_err *err);

/* approve.c: one look at the kubelets' requests for serving certificates (approve_rules.h), written
 * to result: {"kind", "time", "approved": [{"name", "requester"}], "refused": [… "why"],
 * "more_refused"}. */
#define KP_NODE_APPROVALS_KIND "kpack.approvals/v1"
struct kp_node_approving {
    const char *kubeconfig, *nodes, *result;
};
KP_CHECK int kp_node_approve(const struct kp_node_approving *how, struct kp_err *err);
