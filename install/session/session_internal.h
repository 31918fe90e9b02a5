/* SPDX-License-Identifier: Apache-2.0 */
/* kp_session's inside: the connection's thread, pending requests, the handshake. */
#pragma once

#include "install/node/protocol.h"
#include "install/session/transport.h"

#include <pthread.h>

enum kp_session_phase { KP_SESSION_CONNECTING, KP_SESSION_READY, KP_SESSION_LOST };

struct kp_pending { /* one request; lives on its caller's stack */
    uint32_t id;
    struct kp_buf document; /* RESULT or ERROR so far */
    struct kp_buf note;     /* NOTE frames so far; a whole one waits here until it is taken */
    bool note_whole;
    struct kp_buf data[2]; /* stdout, stderr: received and not yet taken */
    uint64_t credit;       /* bytes that we may still send */
    uint32_t window;       /* bytes that the node may still send */
    bool done, failed;
    uint64_t taken; /* bytes of DATA so far */
    struct kp_pending *next;
};

struct kp_session {
    struct kp_ssh_target target; /* strings are the caller's */
    struct kp_session_bundle bundle;
    char arch[32];
    kp_session_witness *witness; /* set before the first request that changes anything */
    void *witness_user;
    pthread_t thread;
    bool thread_started;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t change;
    enum kp_session_phase phase;
    bool closing;
    bool beginning; /* again: nobody but beginner may ask anything */
    pthread_t beginner;
    size_t begun;          /* how often it has been tried to begin again */
    struct kp_err failure; /* why it was lost, or never stood */
    uint32_t next_id;
    struct kp_pending *pending;
    char *lock_run, *lock_who;  /* the node lock, taken again after a reconnect */
    pthread_mutex_t write_lock; /* guards transport.in */
    pthread_mutex_t begin_lock; /* held while it begins again; taken before lock */
    struct kp_transport transport;
    struct kp_buf said;        /* the end of what came on stderr; connection's thread only */
    struct kp_decoder decoder; /* the same */
};

/* Connects, places knode, waits for its hello; afterwards frames can flow. Connection's thread
 * only. */
KP_CHECK int kp_session_shake_hands(struct kp_session *session, struct kp_err *err);
/* Reads once from out (into *buf) or stderr (into said) of the transport, waiting until the
 * deadline (kp_now). *end: out has ended. */
KP_CHECK int kp_session_receive(struct kp_session *session, char *buf, size_t size, double deadline,
                                size_t *got, bool *end, struct kp_err *err);

/* What a call does besides question and answer; all members optional. */
struct kp_call {
    struct kp_slice input; /* sent at once as DATA, ended */
    bool has_input;
    /* Called with each note, by the caller's thread. */
    int (*note)(struct kp_session *session, struct kp_pending *pending, void *user,
                const json_t *note, struct kp_err *err);
    void (*data)(void *user, bool error, const char *bytes, size_t len);
    uint64_t data_max; /* bytes that the node may send in all; 0: no limit but the time */
    unsigned timeout;  /* seconds for the whole call; 0: as long as the node is heard */
    void *user;
};
KP_CHECK int kp_session_call(struct kp_session *session, const json_t *request,
                             const struct kp_call *call, json_t **result, struct kp_err *err);
/* DATA of a call's stream, within credit; *stopped: the node has answered already and wants no
 * more. */
KP_CHECK int kp_session_send(struct kp_session *session, struct kp_pending *pending,
                             const void *data, size_t len, bool end, bool *stopped,
                             struct kp_err *err);
