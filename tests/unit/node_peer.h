/* SPDX-License-Identifier: Apache-2.0 */
/* knode served in a thread of the test, its files beneath a temporary folder; the test is kinstall.
 */
#pragma once

#include "bundle_fixture.h"
#include "install/node/node.h"

struct peer {
    struct fixture fixture; /* a signed bundle */
    char *root;
    struct kp_node_state state;
    struct kp_decoder decoder;
    pthread_t thread;
    int to, from; /* our ends */
    int served;   /* what kp_node_serve returned, after peer_close */
    struct kp_err why;
    uint32_t next_id;
    struct kp_buf data; /* DATA of the last call */
    char *stream;       /* sent where a note says "need" */
    size_t stream_len;
};

void peer_open(struct peer *p, bool accept); /* accept: the fixture's bundle is handed over */
void peer_close(struct peer *p);
/* Ends the connection and begins another one to the same root. */
void peer_again(struct peer *p);
/* One request with its data; the answer, or {"error": {…}}; NULL where the connection ended. Takes
 * request. */
json_t *peer_call(struct peer *p, json_t *request, struct kp_slice data);
json_t *peer_bundle(struct peer *p, struct kp_slice manifest, struct kp_slice signatures,
                    const struct kp_trust *trust);
json_t *peer_hand_over(struct peer *p);        /* the fixture's own bundle */
const char *peer_reason(const json_t *answer); /* of the error, or "" */
void peer_send(struct peer *p, enum kp_frame_type type, unsigned flags, uint32_t id,
               struct kp_slice payload);
/* The next frame; false at the end. */
bool peer_receive(struct peer *p, struct kp_frame *frame);
char *peer_path(const struct peer *p, const char *path); /* root + path, kp_free */
char *peer_read(const struct peer *p, const char *path); /* the file's text or NULL, kp_free */
