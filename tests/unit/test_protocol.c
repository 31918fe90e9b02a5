/* SPDX-License-Identifier: Apache-2.0 */
#include "install/node/protocol.h"

#include <criterion/criterion.h>
#include <stdio.h>

static void add(struct kp_decoder *d, const void *data, size_t len)
{
    memcpy(kp_decoder_room(d, len), data, len);
    kp_decoder_added(d, len);
}

Test(protocol, frames_survive_any_cut)
{
    uint8_t stream[3 * KP_FRAME_HEADER + 5 + 300];
    size_t len = 0;
    kp_frame_header(stream, KP_FRAME_REQUEST, KP_FLAG_MORE, 7, 5);
    memcpy(stream + KP_FRAME_HEADER, "hello", 5);
    len = KP_FRAME_HEADER + 5;
    kp_frame_header(stream + len, KP_FRAME_DATA, KP_FLAG_END | KP_FLAG_STDERR, 0x01020304, 300);
    memset(stream + len + KP_FRAME_HEADER, 'x', 300);
    len += KP_FRAME_HEADER + 300;
    kp_frame_header(stream + len, KP_FRAME_PING, 0, 0, 0);
    len += KP_FRAME_HEADER;
    for (size_t cut = 1; cut <= len; cut++) {
        kp_auto_value(kp_decoder) d = KP_DECODER;
        struct kp_frame got[3] = {{0}};
        size_t n = 0, sizes[3] = {0};
        for (size_t at = 0; at < len; at += cut) {
            add(&d, stream + at, len - at < cut ? len - at : cut);
            for (bool found = true; found;) {
                struct kp_frame frame;
                cr_assert_eq(kp_decoder_next(&d, &frame, &found, NULL), 0);
                if (found) {
                    sizes[n] = frame.payload.len;
                    got[n++] = frame;
                }
            }
        }
        cr_assert_eq(n, 3, "cut %zu", cut);
        cr_assert(got[0].type == KP_FRAME_REQUEST && got[0].flags == KP_FLAG_MORE &&
                  got[0].id == 7 && sizes[0] == 5);
        cr_assert(got[1].id == 0x01020304 && sizes[1] == 300 &&
                  got[1].flags == (KP_FLAG_END | KP_FLAG_STDERR));
        cr_assert(got[2].type == KP_FRAME_PING);
    }
}

Test(protocol, bad_frames)
{
    static const struct {
        const char *what;
        uint8_t header[KP_FRAME_HEADER];
    } table[] = {
        {"type 0", {0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0}},
        {"unknown type", {10, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0}},
        {"unknown flag", {2, 8, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0}},
        {"filler", {2, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0}},
        {"too long", {2, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1}},
        {"far too long", {2, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff}},
        {"request 0", {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
        {"ping with id", {8, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0}},
        {"credit of 5 bytes", {3, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 5}},
        {"cancel with bytes", {7, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1}},
    };
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        kp_auto_value(kp_decoder) d = KP_DECODER;
        struct kp_frame frame;
        struct kp_err err = KP_ERR_INIT;
        bool found;
        add(&d, table[i].header, KP_FRAME_HEADER);
        cr_assert_lt(kp_decoder_next(&d, &frame, &found, &err), 0, "%s", table[i].what);
        cr_assert_str_eq(err.reason, "bad_frame");
    }
}

Test(protocol, the_largest_frame_fits)
{
    kp_auto_value(kp_decoder) d = KP_DECODER;
    static uint8_t raw[KP_FRAME_HEADER + KP_FRAME_MAX];
    struct kp_frame frame;
    bool found;
    kp_frame_header(raw, KP_FRAME_DATA, 0, 1, KP_FRAME_MAX);
    for (int i = 0; i < 5; i++) {
        add(&d, raw, 100);
        add(&d, raw + 100, KP_FRAME_MAX - 100);
        cr_assert_eq(kp_decoder_next(&d, &frame, &found, NULL), 0);
        cr_assert(!found);
        add(&d, raw + KP_FRAME_MAX, KP_FRAME_HEADER);
        cr_assert_eq(kp_decoder_next(&d, &frame, &found, NULL), 0);
        cr_assert(found && frame.payload.len == KP_FRAME_MAX);
    }
}

Test(protocol, markers_in_noise)
{
    static const struct {
        const char *text, *rest;
        bool found;
        size_t left;
    } table[] = {
        {"word abc\n", "", true, 0},
        {"noise\nword abc x86_64 0\nmore", "x86_64 0", true, 4},
        {"noise without an end word abc 1\r\n", "1", true, 0},
        {"word abc", NULL, false, 0},
        {"word ab\nword abd\n", NULL, false, 0},
        {"", NULL, false, 0},
    };
    for (size_t i = 0; i < KP_COUNT(table); i++) {
        struct kp_slice rest;
        size_t used = 0;
        bool found = kp_marker_find(kp_slice_of(table[i].text), "word", "abc", &rest, &used);
        cr_assert_eq(found, table[i].found, "%zu", i);
        if (found) {
            cr_assert(kp_slice_equal(rest, table[i].rest), "%zu", i);
            cr_assert_eq(strlen(table[i].text) - used, table[i].left, "%zu", i);
        }
    }
}

static int count_frames(void *user, enum kp_frame_type type, unsigned flags, uint32_t id,
                        struct kp_slice payload, struct kp_err *err)
{
    int *counts = user;
    (void)err;
    counts[0]++;
    counts[1] += flags == KP_FLAG_MORE;
    counts[2] += (int)payload.len;
    return type == KP_FRAME_RESULT && id == 3 ? 0 : -1;
}

Test(protocol, long_documents_are_cut)
{
    static char text[150001];
    int counts[3] = {0};
    memset(text, 'a', sizeof(text) - 1);
    kp_auto_json value = json_string(text);
    cr_assert_eq(kp_frames_send_json(count_frames, counts, KP_FRAME_RESULT, 3, value, NULL), 0);
    cr_assert(counts[0] == 3 && counts[1] == 2 && counts[2] == 150003);
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *huge = kp_alloc(KP_RESULT_MAX + 1);
    memset(huge, 'a', KP_RESULT_MAX);
    kp_auto_json large = json_string(huge);
    cr_assert_lt(kp_frames_send_json(count_frames, counts, KP_FRAME_RESULT, 3, large, &err), 0);
    cr_assert_str_eq(err.reason, "too_large");
}

Test(protocol, errors_travel)
{
    struct kp_err err = KP_ERR_INIT, back = KP_ERR_INIT;
    kp_fail_as(&err, KP_UNTRUSTED, "rollback", "serial %d", 7);
    kp_hint(&err, "use the newest");
    kp_auto_json value = kp_err_to_json(&err);
    kp_err_from_json(&back, value);
    cr_assert_eq(back.code, KP_UNTRUSTED);
    cr_assert_str_eq(back.reason, "rollback");
    cr_assert_str_eq(back.message, "serial 7");
    cr_assert_str_eq(back.hint, "use the newest");
    kp_auto_json odd =
        json_pack("{s:i, s:s, s:s}", "code", 99, "reason", "no such reason", "message", "x");
    kp_err_from_json(&back, odd);
    cr_assert_eq(back.code, KP_FAILED);
    cr_assert_null(back.reason);
}
