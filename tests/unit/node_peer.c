/* SPDX-License-Identifier: Apache-2.0 */
#include "node_peer.h"

#include "core/file.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define NONCE "0123456789abcdef0123456789abcdef"

struct serving {
    struct peer *peer;
    int in, out;
};

static void *serve(void *user)
{
    struct serving *s = user;
    s->peer->served = kp_node_serve(&s->peer->state, s->in, s->out, NONCE, &s->peer->why);
    close(s->in);
    close(s->out);
    kp_free(s);
    return NULL;
}

static void begin(struct peer *p)
{
    int up[2], down[2];
    struct serving *s = kp_alloc(sizeof(*s));
    if (pipe2(up, O_CLOEXEC) < 0 || pipe2(down, O_CLOEXEC) < 0)
        abort();
    *s = (struct serving){p, up[0], down[1]};
    p->to = up[1];
    p->from = down[0];
    p->state = KP_NODE_STATE(p->root);
    p->decoder = KP_DECODER;
    p->next_id = 1;
    p->data = KP_BUF((size_t)32 << 20);
    pthread_create(&p->thread, NULL, serve, s);
    char hello[128], got[128];
    kp_hello_format(hello, sizeof(hello), NONCE);
    size_t len = strlen(hello);
    for (size_t n = 0; n < len;) {
        ssize_t more = read(p->from, got + n, len - n);
        if (more <= 0)
            abort();
        n += (size_t)more;
    }
    if (memcmp(hello, got, len) != 0)
        abort();
}

static void end(struct peer *p)
{
    if (p->to >= 0)
        close(p->to);
    pthread_join(p->thread, NULL);
    close(p->from);
    kp_node_state_release(&p->state);
    kp_decoder_release(&p->decoder);
    kp_buf_release(&p->data);
}

void peer_open(struct peer *p, bool accept)
{
    char folder[] = "/tmp/kpack-node-XXXXXX";
    signal(SIGPIPE, SIG_IGN);
    *p = (struct peer){.root = kp_strdup(mkdtemp(folder))};
    fixture_open(&p->fixture);
    fixture_write(&p->fixture);
    begin(p);
    if (accept)
        json_decref(peer_hand_over(p));
}

void peer_close(struct peer *p)
{
    end(p);
    fixture_close(&p->fixture);
    (void)!kp_remove_tree(p->root, NULL);
    kp_free(p->root);
    kp_free(p->stream);
}

void peer_again(struct peer *p)
{
    end(p);
    begin(p);
}

void peer_send(struct peer *p, enum kp_frame_type type, unsigned flags, uint32_t id,
               struct kp_slice payload)
{
    uint8_t header[KP_FRAME_HEADER];
    kp_frame_header(header, type, flags, id, payload.len);
    // The other side may have hung up already: what it says is looked at afterwards.
    (void)!kp_write_full(p->to, header, sizeof(header), NULL);
    (void)!kp_write_full(p->to, payload.ptr, payload.len, NULL);
}

bool peer_receive(struct peer *p, struct kp_frame *frame)
{
    bool found = false;
    for (;;) {
        if (kp_decoder_next(&p->decoder, frame, &found, NULL) < 0)
            return false;
        if (found)
            return true;
        char *room = kp_decoder_room(&p->decoder, 65536);
        ssize_t n = read(p->from, room, 65536);
        if (n <= 0)
            return false;
        kp_decoder_added(&p->decoder, (size_t)n);
    }
}

static int send_json(void *user, enum kp_frame_type type, unsigned flags, uint32_t id,
                     struct kp_slice payload, struct kp_err *err)
{
    (void)err;
    peer_send(user, type, flags, id, payload);
    return 0;
}

/* Waits until the node gives back credit; notes that come meanwhile are passed over. */
static uint32_t wait_credit(struct peer *p)
{
    struct kp_frame frame;
    while (peer_receive(p, &frame)) {
        if (frame.type == KP_FRAME_RESULT || frame.type == KP_FRAME_ERROR)
            abort(); // no test ends a request amid its data
        const uint8_t *raw = (const uint8_t *)frame.payload.ptr;
        if (frame.type == KP_FRAME_CREDIT && frame.payload.len == 4)
            return (uint32_t)raw[0] << 24 | (uint32_t)raw[1] << 16 | (uint32_t)raw[2] << 8 | raw[3];
    }
    return 0;
}

static void send_data(struct peer *p, uint32_t id, struct kp_slice data)
{
    uint32_t credit = KP_WINDOW;
    do {
        size_t n = data.len < KP_FRAME_MAX ? data.len : KP_FRAME_MAX;
        for (uint32_t more = 1; credit < n && more; credit += more)
            more = wait_credit(p);
        credit -= (uint32_t)n;
        peer_send(p, KP_FRAME_DATA, n == data.len ? KP_FLAG_END : 0, id,
                  (struct kp_slice){data.ptr, n});
        data.ptr += n;
        data.len -= n;
    } while (data.len);
}

static json_t *parse(struct kp_slice text)
{
    json_t *value = NULL;
    return kp_json_parse(&value, text, KP_RESULT_MAX, "answer", NULL) < 0 ? NULL : value;
}

static bool asks_for_it(struct kp_slice note)
{
    kp_auto_json parsed = parse(note);
    return json_is_true(json_object_get(parsed, "need"));
}

json_t *peer_call(struct peer *p, json_t *request, struct kp_slice data)
{
    uint32_t id = p->next_id++;
    struct kp_frame frame;
    kp_buf_clear(&p->data);
    (void)!kp_frames_send_json(send_json, p, KP_FRAME_REQUEST, id, request, NULL);
    json_decref(request);
    if (data.ptr)
        send_data(p, id, data);
    while (peer_receive(p, &frame)) {
        if (frame.type == KP_FRAME_DATA)
            kp_buf_add(&p->data, frame.payload.ptr, frame.payload.len);
        if (frame.type == KP_FRAME_NOTE && p->stream && asks_for_it(frame.payload))
            send_data(p, id, (struct kp_slice){p->stream, p->stream_len});
        if (frame.type == KP_FRAME_RESULT)
            return parse(frame.payload);
        if (frame.type == KP_FRAME_ERROR)
            return json_pack("{s:o}", "error", parse(frame.payload));
    }
    return NULL;
}

json_t *peer_bundle(struct peer *p, struct kp_slice manifest, struct kp_slice signatures,
                    const struct kp_trust *trust)
{
    json_t *list = json_array();
    kp_auto_value(kp_buf) data = KP_BUF(KP_MANIFEST_MAX);
    kp_buf_add(&data, manifest.ptr, manifest.len);
    kp_buf_add(&data, signatures.ptr, signatures.len);
    for (size_t i = 0; i < kp_trust_count(trust); i++) {
        kp_auto_free char *pem = kp_trust_pem(trust, i);
        json_array_append_new(list, json_pack("{s:s, s:s}", "name", "test", "pem", pem));
    }
    return peer_call(p,
                     json_pack("{s:s, s:I, s:o}", "op", "bundle", "manifest",
                               (json_int_t)manifest.len, "trust", list),
                     kp_buf_slice(&data));
}

json_t *peer_hand_over(struct peer *p)
{
    struct kp_err err;
    kp_auto(kp_bundle) bundle = NULL;
    if (kp_bundle_open(&bundle, p->fixture.bundle, p->fixture.trust, NULL, &err) < 0)
        abort();
    return peer_bundle(p, kp_bundle_manifest_bytes(bundle), kp_bundle_signature_block(bundle),
                       p->fixture.trust);
}

const char *peer_reason(const json_t *answer)
{
    const char *reason =
        json_string_value(json_object_get(json_object_get(answer, "error"), "reason"));
    return reason ? reason : "";
}

char *peer_path(const struct peer *p, const char *path)
{
    return kp_asprintf("%s%s", p->root, path);
}

char *peer_read(const struct peer *p, const char *path)
{
    char *text = NULL;
    size_t len;
    kp_auto_free char *real = peer_path(p, path);
    return kp_file_read(real, (size_t)1 << 24, &text, &len, NULL) < 0 ? NULL : text;
}
