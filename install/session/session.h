/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One node, as kinstall sees it: a connection over a transport (libssh2 or the system's ssh), knode
 * placed and started through sudo, and typed requests. Calls block the calling thread; several
 * threads may use one session at once (requests are multiplexed). A lost connection fails every
 * pending call with reason "connection_lost", the node's name, and err->about the session;
 * kp_session_reconnect starts again.
 */
#pragma once

#include "bundle/bundle.h"
#include "core/chain.h"
#include "core/json.h"

#define KP_RUN_OUTPUT_MAX ((size_t)1 << 20)
#define KP_SECRET_MAX 4096

enum kp_transport_kind { KP_TRANSPORT_AUTO, KP_TRANSPORT_LIBSSH2, KP_TRANSPORT_OPENSSH };
struct kp_ssh_target {   /* from the inventory; strings are borrowed and outlive the session */
    const char *node;    /* name, for messages */
    const char *address; /* IPv4, IPv6 or host name */
    unsigned port;       /* 22 */
    const char *user;
    const char *key;           /* private key file, or NULL: agent and default keys */
    const char *host_key;      /* "ssh-ed25519 AAAA…" or NULL: known_hosts */
    const char *known_hosts;   /* file, or NULL: ~/.ssh/known_hosts */
    const char *jump;          /* or NULL; openssh transport only */
    const char *config;        /* ssh config file named by the inventory, or NULL */
    bool sudo;                 /* user is not root */
    const char *sudo_password; /* or NULL: sudo -n; never logged */
    enum kp_transport_kind transport;
    unsigned connect_timeout; /* seconds */
};

struct kp_session;
/* What knode is and may do: the static binaries by arch come out of the bundle. trust: handed to
 * the node, which checks bundle.json and bundle.sig itself. kind of path: a local file to send. */
struct kp_session_bundle {
    const struct kp_bundle *bundle; /* NULL: the knode that is there, for questions only */
    const struct kp_trust *trust;
    const json_t *terms; /* members of the request beside it: lists, revoked, allow_downgrade,
                            insecure (install/audit/policy.h); or NULL */
};
/* Connects, checks the host key, finds the arch (uname -m), places
 * /usr/local/libexec/kpack/knode-<digest> if it is not there, starts it through sudo, exchanges
 * hello, hands over manifest, signatures and trust. */
KP_CHECK int kp_session_open(struct kp_session **out, const struct kp_ssh_target *target,
                             const struct kp_session_bundle *bundle, struct kp_err *err);
void kp_session_free(struct kp_session *session);
KP_DEFINE_AUTO(kp_session);
const char *kp_session_node(const struct kp_session *session);
const char *kp_session_arch(const struct kp_session *session); /* "amd64" */
bool kp_session_lost(const struct kp_session *session);
/* The error is that of a connection that was lost: to ask again by it is in vain. */
bool kp_session_lost_by(const struct kp_err *err);
/* Of one that is lost: the error that its calls end with. Returns -1. */
int kp_session_why_lost(struct kp_session *session, struct kp_err *err);
/* Begins again where it is lost, once nobody is left in a call on it. Any thread: of several that
 * come at once one connects, the others get what came of it. The node lock is taken again. */
KP_CHECK int kp_session_reconnect(struct kp_session *session, struct kp_err *err);

/* Facts as JSON (install/node/facts.c documents them). settings: more kernel parameters to look at,
 * an array of texts, or NULL. json_decref. */
KP_CHECK int kp_session_facts(struct kp_session *session, const json_t *settings, json_t **out,
                              struct kp_err *err);

enum {
    KP_PUT_SECRET = 1 /* no diff, never logged */,
    KP_PUT_ONCE = 2 /* keep what is there */,
    KP_DRY_RUN = 4
};
/* A line of the node's own log (docs/security.md), as the node sent it with its answer; line.ptr is
 * NULL where the node's log itself was taken away with path. Called by the thread that asked, with
 * nothing locked; -1 fails its call. */
typedef int kp_session_witness(void *user, struct kp_session *session, const char *path,
                               struct kp_slice line, struct kp_err *err);
void kp_session_set_witness(struct kp_session *session, kp_session_witness *witness, void *user);
/* The node's log behind line number `after`. */
struct kp_node_log_part {
    struct kp_buf lines;       /* whole lines */
    struct kp_chain_head head; /* of the whole log, as the node says */
    char *key;                 /* PEM of the node's key; NULL: it has none yet */
};
void kp_node_log_part_release(struct kp_node_log_part *part);
KP_DEFINE_AUTO_VALUE(kp_node_log_part);
/* witness (may be NULL): the head of the site's log, which the node writes into its own first. */
KP_CHECK int kp_session_placed(struct kp_session *session, uint64_t after,
                               const struct kp_chain_head *witness, struct kp_node_log_part *out,
                               struct kp_err *err);
/* Files, folders and bundles as they are on the node (install/node/survey.c). Changes nothing. */
KP_CHECK int kp_session_survey(struct kp_session *session, const json_t *question, json_t **answer,
                               struct kp_err *err);

struct kp_change { /* what a request did, or would do in a dry run */
    bool changed;
    char *diff; /* unified diff or one line; NULL for secrets and where nothing changed; kp_free */
};
void kp_change_release(struct kp_change *change);
KP_DEFINE_AUTO_VALUE(kp_change);
/* Atomic file with mode, owner root (0:0) unless uid/gid are given. Parent folders are made 0755.
 */
KP_CHECK int kp_session_put(struct kp_session *session, const char *path, struct kp_slice data,
                            unsigned mode, int flags, struct kp_change *out, struct kp_err *err);
/* The same for another numeric owner. */
KP_CHECK int kp_session_put_owned(struct kp_session *session, const char *path,
                                  struct kp_slice data, unsigned mode, unsigned uid, unsigned gid,
                                  int flags, struct kp_change *out, struct kp_err *err);
KP_CHECK int kp_session_remove(struct kp_session *session, const char *path, int flags,
                               struct kp_change *out, struct kp_err *err);
/* Reads a file of at most max bytes; *found false where it is not there. found NULL: it has to be
 * there, else that is the error ("no_file"). */
KP_CHECK int kp_session_get(struct kp_session *session, const char *path, struct kp_buf *out,
                            bool *found, struct kp_err *err);
/* Places a signed file of the manifest. From the mirrors (https URLs, ca) when given, else sent
 * over this connection. The node decompresses to its place and checks both digests. */
struct kp_mirrors {
    const char *const *urls; /* "https://10.77.0.11:5000"; NULL-terminated; node tries in order */
    struct kp_slice ca;      /* PEM */
};
KP_CHECK int kp_session_fetch(struct kp_session *session, const struct kp_file *file,
                              const struct kp_mirrors *mirrors, int flags, struct kp_change *out,
                              struct kp_err *err);
/* The whole bundle to a path on the node: resumable by offset, verified there before rename. With
 * mirrors: copied from them (GET /bundle/<id>), not sent. progress may be NULL. */
KP_CHECK int kp_session_send_bundle(struct kp_session *session, const char *path,
                                    const struct kp_mirrors *mirrors, kp_bundle_progress *progress,
                                    void *user, struct kp_change *out, struct kp_err *err);
/* The same with KP_DRY_RUN. */
KP_CHECK int kp_session_send_bundle_flags(struct kp_session *session, const char *path,
                                          const struct kp_mirrors *mirrors, int flags,
                                          kp_bundle_progress *progress, void *user,
                                          struct kp_change *out, struct kp_err *err);
/* Another bundle by its id: a base of the one that was handed over. file NULL: only from mirrors.
 */
struct kp_parcel {
    const struct kp_bundle *file;
    struct kp_digest id;
    uint64_t size;
};
KP_CHECK int kp_session_send_parcel(struct kp_session *session, const struct kp_parcel *parcel,
                                    const char *path, const struct kp_mirrors *mirrors, int flags,
                                    kp_bundle_progress *progress, void *user, struct kp_change *out,
                                    struct kp_err *err);
/* The verified bundles in a folder of the node: [{"id", "name", "serial", "size"}]. */
KP_CHECK int kp_session_bundles(struct kp_session *session, const char *folder, json_t **out,
                                struct kp_err *err);
/* The bundle.json of one of them; the caller compares it with the id. */
KP_CHECK int kp_session_manifest(struct kp_session *session, const char *folder, const char *id,
                                 struct kp_buf *out, struct kp_err *err);
enum kp_unit_action {
    KP_UNIT_ENABLE_START,
    KP_UNIT_RESTART,
    KP_UNIT_STOP_DISABLE,
    KP_UNIT_RELOAD_DAEMON,
    KP_UNIT_MASK,
    KP_UNIT_UNMASK
};
KP_CHECK int kp_session_unit(struct kp_session *session, const char *unit,
                             enum kp_unit_action action, int flags, struct kp_change *out,
                             struct kp_err *err);
/* key=value now and in /etc/sysctl.d/90-kpack.conf (the whole set is given at once). */
KP_CHECK int kp_session_sysctl(struct kp_session *session, const char *const *settings, size_t n,
                               int flags, struct kp_change *out, struct kp_err *err);
/* Loads modules (built-in ones are fine) and writes /etc/modules-load.d/kpack.conf. */
KP_CHECK int kp_session_modules(struct kp_session *session, const char *const *names, size_t n,
                                int flags, struct kp_change *out, struct kp_err *err);
struct kp_run {
    const char *const *argv;
    const char *const *env; /* extra, or NULL */
    struct kp_slice input;  /* stdin; a secret may come this way */
    unsigned timeout;       /* seconds */
    const char *unit; /* "kpack-init": as a transient systemd unit under the node lock: attached to
                         or awaited where it runs already, its result kept on the node till read;
                         NULL: plain child */
    void (*output)(void *user, const char *data, size_t len); /* streamed as it comes; or NULL */
    void *user;
};
struct kp_run_result {
    int status; /* exit code, 128 + signal */
    struct kp_buf out, err_out;
};
void kp_run_result_release(struct kp_run_result *result);
KP_DEFINE_AUTO_VALUE(kp_run_result);
/* -1 only where it could not be run or timed out; a non-zero status is the caller's to judge. */
KP_CHECK int kp_session_run(struct kp_session *session, const struct kp_run *run,
                            struct kp_run_result *out, struct kp_err *err);
/* Network probes from the node: {"tcp": "host:port"}, {"https": url, "ca": pem}, {"listen": port},
 * {"dns": name} … */
KP_CHECK int kp_session_probe(struct kp_session *session, const json_t *question, json_t **answer,
                              struct kp_err *err);
/* /var/lib/kpack/cluster: the node's own record {cluster, run, begun: [...], finished: {step:
 * digest}}; read and updated atomically. */
KP_CHECK int kp_session_record(struct kp_session *session, json_t **out, struct kp_err *err);
KP_CHECK int kp_session_mark(struct kp_session *session, const char *cluster, const char *step,
                             bool finished, const char *digest, struct kp_err *err);
/* Takes the node lock for this run; refused with the holder's words while another run holds it. */
KP_CHECK int kp_session_lock(struct kp_session *session, const char *run_id, const char *who,
                             struct kp_err *err);
