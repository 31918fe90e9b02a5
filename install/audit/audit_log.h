/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The site's audit log: <state>/audit.jsonl, a chain (core/chain.h) of what kinstall did and of
 * what each node says was placed on it. docs/security.md describes its records: "run" and "end"
 * (who, when, which bundle, accepted by which keys under which policy), "node" (its key), "placed"
 * (the signed line of the node's own log, exactly as it came), "seen" (files that the cluster's own
 * programs made), "removed", "acknowledged" (what somebody owned up to: audit_acknowledge.c).
 *
 * The chain shows an edited line; a log that was cut short is shown by audit.head beside it and by
 * the nodes, which write its head into their own logs at the end of each run.
 */
#pragma once

#include "core/chain.h"
#include "install/session/session.h"

#define KP_AUDIT_FILE "audit.jsonl"
#define KP_AUDIT_HEAD_FILE "audit.head"

/* What the log says, all of it read. */
struct kp_audit_book {
    struct kp_chain_state chain;
    struct kp_digest *digests; /* of line 1, 2, … */
    size_t digest_count;
    json_t *runs;  /* [the "run" records, each with its "end" and "line"] */
    json_t *nodes; /* name -> {"key", "count", "digest", "files": {path: placed + "line"}, "seen":
                      {path: {sha256, mode, …, "line", "was"}}} */
    json_t *problems;          /* [{"line", "text"}]: signatures, gaps in a node's lines */
    json_t *acknowledged;      /* [the "acknowledged" records, each with its "line"] */
    bool check;                /* signatures are to be verified */
    struct kp_chain_head kept; /* of audit.head; count 0 where it is not there */
    bool cut;                  /* audit.head knows of lines that are not there, or others */
};
/* check: verify every line's signature too. One that is not there is empty. kp_audit_book_release.
 */
KP_CHECK int kp_audit_book_read(struct kp_audit_book *out, const char *state_folder, bool check,
                                struct kp_err *err);
void kp_audit_book_release(struct kp_audit_book *book);
KP_DEFINE_AUTO_VALUE(kp_audit_book);
/* One record of the log taken into the book; for kp_audit_book_read and tests. */
KP_CHECK int kp_audit_book_take(void *book, const json_t *record, struct kp_slice line,
                                const struct kp_chain_head *head, struct kp_err *err);
/* A line of a node's log without its last member, as it was signed by the key (PEM). */
bool kp_audit_line_is_signed(struct kp_slice line, const char *key_pem);

struct kp_audit_log;
/* For a run: under the state folder's lock. Said in *note (kp_free; NULL: nothing): what was found
 * wrong with the log, for the screen. */
KP_CHECK int kp_audit_log_open(struct kp_audit_log **out, const char *state_folder,
                               const char *run_id, char **note, struct kp_err *err);
void kp_audit_log_free(struct kp_audit_log *log);
KP_DEFINE_AUTO(kp_audit_log);
/* Adds {"time", "run", "type", members…}; takes members. Thread-safe. */
KP_CHECK int kp_audit_log_add(struct kp_audit_log *log, const char *type, json_t *members,
                              struct kp_err *err);
/* kp_session_witness: user is the log. A line that does not follow from the node's last one, or is
 * not signed by its key, is an error that names the node. */
kp_session_witness kp_audit_log_witness;
/* Takes the lines that the node wrote and we have not; pins its key at the first contact. A node
 * with another key or another past is noted ("node" record, "was") and begun anew. */
KP_CHECK int kp_audit_log_catch_up(struct kp_audit_log *log, struct kp_session *session,
                                   struct kp_err *err);
/* The nodes write down our head; their lines come back into the log. */
KP_CHECK int kp_audit_log_tell(struct kp_audit_log *log, struct kp_session *session,
                               struct kp_err *err);
/* Files that were found ({"path", "sha256", "mode", …}) where the last such record says otherwise.
 */
KP_CHECK int kp_audit_log_seen(struct kp_audit_log *log, const char *node, const json_t *files,
                               struct kp_err *err);
/* The "end" of this run, and audit.head; the first word of its end stands. failed: why it stopped,
 * or NULL. */
KP_CHECK int kp_audit_log_end(struct kp_audit_log *log, const char *failed, struct kp_err *err);
/* audit.head. */
KP_CHECK int kp_audit_log_keep_head(struct kp_audit_log *log, struct kp_err *err);
struct kp_chain_head kp_audit_log_head(struct kp_audit_log *log);

/* "ann@admin1", or "root@admin1 (sudo of ann)"; by /etc/passwd, not by what the environment says.
 * kp_free. */
char *kp_audit_who(void);
