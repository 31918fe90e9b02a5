/* SPDX-License-Identifier: Apache-2.0 */
#include "install/node/protocol.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static void put32(uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (24 - 8 * i));
}

static uint32_t get32(const char *in)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++)
        value = value << 8 | (uint8_t)in[i];
    return value;
}

void kp_frame_header(uint8_t out[KP_FRAME_HEADER], enum kp_frame_type type, unsigned flags,
                     uint32_t id, size_t len)
{
    assert(len <= KP_FRAME_MAX);
    out[0] = (uint8_t)type;
    out[1] = (uint8_t)flags;
    out[2] = out[3] = 0;
    put32(out + 4, id);
    put32(out + 8, (uint32_t)len);
}

void kp_decoder_release(struct kp_decoder *decoder)
{
    kp_buf_release(&decoder->pending);
    decoder->used = 0;
}

static void drop_used(struct kp_decoder *decoder)
{
    if (decoder->used)
        kp_buf_consume(&decoder->pending, decoder->used);
    decoder->used = 0;
}

char *kp_decoder_room(struct kp_decoder *decoder, size_t len)
{
    drop_used(decoder);
    return kp_buf_reserve(&decoder->pending, len);
}

void kp_decoder_added(struct kp_decoder *decoder, size_t len)
{
    decoder->pending.len += len;
}

static int check_header(const struct kp_frame *frame, const char *raw, size_t len,
                        struct kp_err *err)
{
    const unsigned known = KP_FLAG_MORE | KP_FLAG_END | KP_FLAG_STDERR;
    bool idle = frame->type == KP_FRAME_PING || frame->type == KP_FRAME_PONG;
    if (frame->type < KP_FRAME_REQUEST || frame->type > KP_FRAME_PONG)
        return kp_fail_as(err, KP_FAILED, "bad_frame", "frame of unknown type %d",
                          (int)frame->type);
    if ((frame->flags & ~known) || raw[2] || raw[3])
        return kp_fail_as(err, KP_FAILED, "bad_frame", "frame with unknown flags");
    if (len > KP_FRAME_MAX)
        return kp_fail_as(err, KP_FAILED, "bad_frame", "frame of %zu bytes, at most %zu", len,
                          KP_FRAME_MAX);
    if (idle != (frame->id == 0))
        return kp_fail_as(err, KP_FAILED, "bad_frame", "frame with request id %u", frame->id);
    if ((frame->type == KP_FRAME_CREDIT && len != 4) ||
        (frame->type >= KP_FRAME_CANCEL && len != 0))
        return kp_fail_as(err, KP_FAILED, "bad_frame", "frame of type %d with %zu bytes",
                          (int)frame->type, len);
    return 0;
}

int kp_decoder_next(struct kp_decoder *decoder, struct kp_frame *out, bool *found,
                    struct kp_err *err)
{
    struct kp_slice rest = kp_buf_slice(&decoder->pending);
    rest.ptr += decoder->used;
    rest.len -= decoder->used;
    *found = false;
    if (rest.len < KP_FRAME_HEADER)
        return 0;
    struct kp_frame frame = {
        .type = (enum kp_frame_type)(uint8_t)rest.ptr[0],
        .flags = (uint8_t)rest.ptr[1],
        .id = get32(rest.ptr + 4),
    };
    size_t len = get32(rest.ptr + 8);
    if (check_header(&frame, rest.ptr, len, err) < 0)
        return -1;
    if (rest.len - KP_FRAME_HEADER < len)
        return 0;
    frame.payload = (struct kp_slice){rest.ptr + KP_FRAME_HEADER, len};
    decoder->used += KP_FRAME_HEADER + len;
    *out = frame;
    *found = true;
    return 0;
}

int kp_frame_write(const int *fd, pthread_mutex_t *lock, const struct kp_frame *frame)
{
    uint8_t bytes[KP_FRAME_HEADER + KP_FRAME_MAX];
    size_t len = KP_FRAME_HEADER + frame->payload.len, done = 0;
    int failed = 0;
    kp_frame_header(bytes, frame->type, frame->flags, frame->id, frame->payload.len);
    if (frame->payload.len)
        memcpy(bytes + KP_FRAME_HEADER, frame->payload.ptr, frame->payload.len);
    pthread_mutex_lock(lock);
    while (done < len && !failed) {
        ssize_t n = *fd >= 0 ? write(*fd, bytes + done, len - done) : -1;
        if (n >= 0)
            done += (size_t)n;
        else if (*fd < 0)
            failed = EPIPE;
        else if (errno != EINTR)
            failed = errno;
    }
    pthread_mutex_unlock(lock);
    explicit_bzero(bytes, len);
    return failed;
}

void kp_hello_format(char *out, size_t size, const char *nonce)
{
    snprintf(out, size, "kpack-knode/%d %s\n", KP_PROTOCOL_VERSION, nonce);
}

bool kp_marker_find(struct kp_slice received, const char *word, const char *nonce,
                    struct kp_slice *rest, size_t *used)
{
    kp_auto_free char *marker = kp_asprintf("%s %s", word, nonce);
    size_t len = strlen(marker);
    // Noise may lack an end of line, so the marker counts wherever it stands.
    const char *at = memmem(received.ptr, received.len, marker, len);
    if (!at)
        return false;
    const char *from = at + len;
    size_t left = received.len - (size_t)(from - received.ptr);
    const char *end = memchr(from, '\n', left);
    if (!end)
        return false;
    if (rest)
        *rest = kp_slice_trim((struct kp_slice){from, (size_t)(end - from)});
    *used = (size_t)(end + 1 - received.ptr);
    return true;
}

int kp_frames_send_json(kp_frame_sink *sink, void *user, enum kp_frame_type type, uint32_t id,
                        const json_t *value, struct kp_err *err)
{
    kp_auto_free char *text = kp_json_dump(value, true);
    struct kp_slice left = kp_slice_of(text);
    size_t max = type == KP_FRAME_REQUEST ? KP_REQUEST_MAX : KP_RESULT_MAX;
    if (left.len > max)
        return kp_fail_as(err, KP_FAILED, "too_large", "message of %zu bytes, at most %zu",
                          left.len, max);
    do {
        size_t n = left.len < KP_FRAME_MAX ? left.len : KP_FRAME_MAX;
        unsigned flags = n < left.len ? KP_FLAG_MORE : 0;
        if (sink(user, type, flags, id, (struct kp_slice){left.ptr, n}, err) < 0)
            return -1;
        left.ptr += n;
        left.len -= n;
    } while (left.len);
    return 0;
}

/* Reasons that callers compare with; struct kp_err holds static strings only. */
static const char *const known_reasons[] = {
    "bad_signature",
    "bad_signature_block",
    "unknown_key",
    "unsigned",
    "no_trusted_keys",
    "rollback",
    "bad_manifest",
    "damaged",
    "truncated",
    "too_large",
    "disk_full",
    "io_error",
    "medium_gone",
    "timeout",
    "held",
    "not_listed",
    "refused",
    "unreachable",
    "unknown_host",
    "tls",
    "closed",
    "bad_reply",
    "no_range",
    "http_status",
    "interrupted",
    "bad_request",
    "no_bundle",
    "not_found",
    "bad_document",
    "no_source",
    "bad_frame",
    "bad_json",
    "no_systemd",
    "unit_failed",
    "revoked",
    "threshold",
    "bad_chain",
    "missing_list",
    "expired",
    "ended",
};

json_t *kp_err_to_json(const struct kp_err *err)
{
    json_t *out = json_pack("{s:i, s:i, s:s}", "code", (int)err->code, "sys", err->sys, "message",
                            err->message);
    // A message may hold bytes of a foreign program that are not UTF-8.
    if (!out)
        out = json_pack("{s:i, s:i, s:s}", "code", (int)err->code, "sys", err->sys, "message",
                        "an error whose text is not UTF-8");
    if (err->reason)
        json_object_set_new(out, "reason", json_string(err->reason));
    if (err->hint[0])
        json_object_set_new(out, "hint", json_string(err->hint));
    return out;
}

void kp_err_from_json(struct kp_err *err, const json_t *value)
{
    json_int_t code = json_integer_value(json_object_get(value, "code"));
    const char *message = json_string_value(json_object_get(value, "message"));
    const char *reason = json_string_value(json_object_get(value, "reason"));
    const char *hint = json_string_value(json_object_get(value, "hint"));
    bool sane = code >= KP_FAILED && code <= KP_MISSING;
    kp_fail(err, sane ? (enum kp_code)code : KP_FAILED, "%s", message ? message : "unknown error");
    err->sys = (int)json_integer_value(json_object_get(value, "sys"));
    for (size_t i = 0; reason && i < KP_COUNT(known_reasons); i++)
        if (strcmp(reason, known_reasons[i]) == 0)
            err->reason = known_reasons[i];
    if (hint)
        kp_hint(err, "%s", hint);
}
