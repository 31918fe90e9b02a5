/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kinstall and knode say to each other over the two byte streams of one SSH channel.
 *
 * Placing. The remote command is one fixed shell text (install/session/session_place.c). It prints
 * "kpack-place/1 <nonce> <uname -m> <id -u> <where gzip is>\n", reads "<digest>\n", prints
 * "kpack-have <nonce>\n", or "kpack-need <nonce>\n", reads "<size> <cat|gunzip>\n" and takes <size>
 * bytes of program through that, and runs knode with the nonce.
 *
 * Hello. knode begins with "kpack-knode/1 <nonce>\n": magic, protocol version, and the nonce that
 * kinstall made up for this connection. What login scripts print before that is discarded, at most
 * KP_NOISE_MAX bytes of it. Frames follow.
 *
 * Frame (all numbers big endian):
 *     0  type      1 byte, enum kp_frame_type
 *     1  flags     1 byte, enum kp_frame_flags; unknown bits are refused
 *     2  zero      2 bytes
 *     4  id        4 bytes, of the request; chosen by kinstall, never 0 but in PING and PONG
 *     8  length    4 bytes, at most KP_FRAME_MAX
 *    12  payload
 *
 * A request is one or more REQUEST frames (MORE on all but the last; one JSON object in all, "op"
 * names it), then DATA frames where the operation takes bytes, the last with END. knode answers
 * with any number of NOTE (JSON) and DATA frames and ends by one RESULT or ERROR (MORE as above).
 * CANCEL asks knode to end it soon; it still answers.
 *
 * Credit. Either side may send KP_WINDOW bytes of DATA per request and then as many as the receiver
 * has given back by CREDIT frames (4 bytes). A sender that goes beyond is cut off. So a slow stream
 * holds up neither the others nor memory.
 *
 * PING is answered by PONG. A side that hears nothing for KP_SILENCE_MAX seconds takes the
 * connection for lost; kinstall pings each KP_PING_EVERY seconds.
 */
#pragma once

#include "core/buf.h"
#include "core/json.h"

#include <pthread.h>

#define KP_PROTOCOL_VERSION 1
#define KP_FRAME_HEADER 12
#define KP_FRAME_MAX ((size_t)65536)
#define KP_NOISE_MAX ((size_t)65536)
#define KP_WINDOW ((uint32_t)2 << 20)
#define KP_CREDIT_STEP ((uint32_t)256 << 10) /* given back once so much was consumed */
#define KP_REQUEST_MAX ((size_t)1 << 20)     /* JSON of a request */
#define KP_RESULT_MAX ((size_t)4 << 20)      /* JSON of a result */
#define KP_REQUESTS_MAX 32                   /* at once, on one connection */
#define KP_PUT_MAX ((size_t)16 << 20)
#define KP_INPUT_MAX ((size_t)16 << 20) /* stdin of a command */
#define KP_ARGS_MAX 256
#define KP_SURVEY_FILES_MAX 4096
#define KP_SURVEY_ENTRIES_MAX 16384 /* in all folders of one request */
#define KP_SURVEY_DEPTH_MAX 8
#define KP_SURVEY_BUNDLES_MAX 64
#define KP_PLACED_MAX ((size_t)256 << 20) /* the node's log, as kinstall takes it */
#define KP_NONCE_HEX 32
#define KP_PING_EVERY 15
#define KP_SILENCE_MAX 60

enum kp_frame_type {
    KP_FRAME_REQUEST = 1,
    KP_FRAME_DATA,
    KP_FRAME_CREDIT,
    KP_FRAME_NOTE,
    KP_FRAME_RESULT,
    KP_FRAME_ERROR,
    KP_FRAME_CANCEL,
    KP_FRAME_PING,
    KP_FRAME_PONG,
};
enum kp_frame_flags {
    KP_FLAG_MORE = 1,   /* the document goes on in the next frame of this id */
    KP_FLAG_END = 2,    /* last DATA of this stream */
    KP_FLAG_STDERR = 4, /* DATA of a command's stderr */
};

struct kp_frame {
    enum kp_frame_type type;
    unsigned flags;
    uint32_t id;
    struct kp_slice payload;
};

/* The 12 bytes before a payload of len bytes; len <= KP_FRAME_MAX (asserted). */
void kp_frame_header(uint8_t out[KP_FRAME_HEADER], enum kp_frame_type type, unsigned flags,
                     uint32_t id, size_t len);

/* Writes one frame whole to *fd, which is looked at with lock held (negative: closed by now,
 * EPIPE). What was on the stack is wiped: frames may carry secrets. 0, or the errno. */
KP_CHECK int kp_frame_write(const int *fd, pthread_mutex_t *lock, const struct kp_frame *frame);

/* Takes frames off the front of a byte stream. */
struct kp_decoder {
    struct kp_buf pending;
    size_t used; /* bytes of pending that the last frame took */
};
#define KP_DECODER ((struct kp_decoder){.pending = KP_BUF(4 * (KP_FRAME_MAX + KP_FRAME_HEADER))})
void kp_decoder_release(struct kp_decoder *decoder);
KP_DEFINE_AUTO_VALUE(kp_decoder);
/* Room for len bytes read from the stream; NULL where the frames before were not taken. */
char *kp_decoder_room(struct kp_decoder *decoder, size_t len);
void kp_decoder_added(struct kp_decoder *decoder, size_t len);
/* *found: *out is the next frame; its payload is valid until the next call. KP_FAILED "bad_frame".
 */
KP_CHECK int kp_decoder_next(struct kp_decoder *decoder, struct kp_frame *out, bool *found,
                             struct kp_err *err);

/* "kpack-knode/1 <nonce>\n" */
void kp_hello_format(char *out, size_t size, const char *nonce);
/* Looks for the line "<word> <nonce>[ rest]" in received bytes; *rest (may be NULL) is what follows
 * on the line, *used the bytes up to and with the line's end. False: not there yet. */
bool kp_marker_find(struct kp_slice received, const char *word, const char *nonce,
                    struct kp_slice *rest, size_t *used);

/* Documents over frames: splits text into frames with MORE; sink writes one frame. */
typedef int kp_frame_sink(void *user, enum kp_frame_type type, unsigned flags, uint32_t id,
                          struct kp_slice payload, struct kp_err *err);
KP_CHECK int kp_frames_send_json(kp_frame_sink *sink, void *user, enum kp_frame_type type,
                                 uint32_t id, const json_t *value, struct kp_err *err);
/* An error as it travels: {"code", "sys", "reason", "message", "hint"}, and back. Reasons become
 * static strings again where they are known, else NULL. */
json_t *kp_err_to_json(const struct kp_err *err);
void kp_err_from_json(struct kp_err *err, const json_t *value);
