/* SPDX-License-Identifier: Apache-2.0 */
#include "node_peer.h"

#include "core/file.h"
#include "core/text.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

static json_t *simple(struct peer *p, const char *op)
{
    return peer_call(p, json_pack("{s:s}", "op", op), (struct kp_slice){0});
}

Test(node_serve, nothing_before_a_bundle)
{
    struct peer p;
    peer_open(&p, false);
    static const char *const ops[] = {"facts",   "put",   "remove", "get",     "fetch",
                                      "receive", "unit",  "sysctl", "modules", "run",
                                      "ran",     "probe", "record", "mark",    "lock"};
    for (size_t i = 0; i < KP_COUNT(ops); i++) {
        kp_auto_json answer = simple(&p, ops[i]);
        cr_assert_str_eq(peer_reason(answer), "no_bundle", "%s", ops[i]);
    }
    peer_close(&p);
    cr_assert_eq(p.served, 0);
}

Test(node_serve, bad_requests_are_answered)
{
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "{}",
        "{\"op\": 5}",
        "{\"op\": \"nonsense\"}",
        "{\"op\": \"run\"}",
        "{\"op\": \"run\", \"argv\": [], \"timeout\": 1, \"size\": 0}",
        "{\"op\": \"run\", \"argv\": [\"true\"], \"timeout\": -1, \"size\": 0}",
        "{\"op\": \"run\", \"argv\": [\"true\"], \"timeout\": 1, \"size\": 99999999}",
        "{\"op\": \"run\", \"argv\": [\"true\"], \"timeout\": 1, \"size\": 0, \"unit\": \"sshd\"}",
        "{\"op\": \"get\", \"path\": 7, \"max\": 1}",
        "{\"op\": \"op\", \"op\": \"op\"}"};
    struct peer p;
    peer_open(&p, true);
    for (size_t i = 0; i < KP_COUNT(texts); i++) {
        struct kp_frame frame;
        peer_send(&p, KP_FRAME_REQUEST, 0, 1000 + (uint32_t)i, kp_slice_of(texts[i]));
        cr_assert(peer_receive(&p, &frame), "%s", texts[i]);
        cr_assert_eq(frame.type, KP_FRAME_ERROR, "%s", texts[i]);
        cr_assert_eq(frame.id, 1000 + i);
    }
    peer_close(&p);
    cr_assert_eq(p.served, 0);
}

static void send_raw(struct peer *p, const uint8_t *raw, size_t len)
{
    cr_assert_eq(write(p->to, raw, len), (ssize_t)len);
}

Test(node_serve, broken_frames_end_it)
{
    static const uint8_t frames[][KP_FRAME_HEADER] = {
        {0},
        {2, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0},
        {KP_FRAME_RESULT, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0},
    };
    for (size_t i = 0; i < KP_COUNT(frames); i++) {
        struct peer p;
        struct kp_frame frame;
        peer_open(&p, true);
        send_raw(&p, frames[i], KP_FRAME_HEADER);
        cr_assert(!peer_receive(&p, &frame));
        peer_close(&p);
        cr_assert_lt(p.served, 0);
        cr_assert_str_eq(p.why.reason, "bad_frame");
    }
}

Test(node_serve, more_than_the_credit_ends_it)
{
    struct peer p;
    struct kp_frame frame;
    static char block[KP_FRAME_MAX];
    peer_open(&p, true);
    // "ran" takes no data, so nothing is ever given back; the request that waits is a run with
    // input.
    kp_auto_free char *run =
        kp_asprintf("{\"op\": \"bundle\", \"manifest\": %zu, \"trust\": []}", KP_MANIFEST_MAX);
    peer_send(&p, KP_FRAME_REQUEST, KP_FLAG_MORE, 5, kp_slice_of(run));
    for (size_t sent = 0; sent <= KP_WINDOW; sent += sizeof(block))
        peer_send(&p, KP_FRAME_DATA, 0, 5, (struct kp_slice){block, sizeof(block)});
    cr_assert(!peer_receive(&p, &frame));
    peer_close(&p);
    cr_assert_str_eq(p.why.reason, "bad_frame");
}

Test(node_serve, too_many_requests_end_it)
{
    struct peer p;
    struct kp_frame frame;
    peer_open(&p, true);
    for (uint32_t i = 0; i <= KP_REQUESTS_MAX; i++)
        peer_send(&p, KP_FRAME_REQUEST, KP_FLAG_MORE, 100 + i, kp_slice_of("{"));
    cr_assert(!peer_receive(&p, &frame));
    peer_close(&p);
    cr_assert_str_eq(p.why.reason, "bad_frame");
}

static json_t *run(struct peer *p, const char *script, int timeout, const char *input)
{
    return peer_call(p,
                     json_pack("{s:s, s:[s, s, s], s:[s], s:i, s:i}", "op", "run", "argv", "sh",
                               "-c", script, "env", "GREETING=hi", "timeout", timeout, "size",
                               (int)strlen(input)),
                     kp_slice_of(input));
}

Test(node_serve, run)
{
    struct peer p;
    peer_open(&p, true);
    kp_auto_json plain = run(&p, "cat; echo $GREETING; exit 3", 10, "in ");
    cr_assert_eq(json_integer_value(json_object_get(plain, "status")), 3);
    cr_assert(kp_slice_equal(kp_buf_slice(&p.data), "in hi\n"));
    kp_auto_json killed = run(&p, "kill -9 $$", 10, "");
    cr_assert_eq(json_integer_value(json_object_get(killed, "status")), 137);
    double began = kp_now();
    kp_auto_json late = run(&p, "sleep 60 & wait", 1, "");
    cr_assert_str_eq(peer_reason(late), "timeout");
    cr_assert_lt(kp_now() - began, 10);
    began = kp_now();
    kp_auto_json daemon = run(&p, "sleep 5 & exit 0", 10, "");
    cr_assert_eq(json_integer_value(json_object_get(daemon, "status")), 0);
    cr_assert_lt(kp_now() - began, 4);
    peer_close(&p);
}

Test(node_serve, output_waits_for_credit)
{
    struct peer p;
    struct kp_frame frame;
    peer_open(&p, true);
    const char *text = "{\"op\": \"run\", \"argv\": [\"head\", \"-c\", \"5000000\", "
                       "\"/dev/zero\"], \"timeout\": 20, \"size\": 0}";
    uint8_t credit[4] = {0, 0x10, 0, 0}; // 1 MiB
    size_t got = 0, granted = KP_WINDOW;
    peer_send(&p, KP_FRAME_REQUEST, 0, 9, kp_slice_of(text));
    peer_send(&p, KP_FRAME_DATA, KP_FLAG_END, 9, kp_slice_of(""));
    while (peer_receive(&p, &frame) && frame.type != KP_FRAME_RESULT) {
        got += frame.payload.len;
        cr_assert_leq(got, granted);
        if (got == granted) {
            peer_send(&p, KP_FRAME_CREDIT, 0, 9, (struct kp_slice){(const char *)credit, 4});
            granted += (size_t)1 << 20;
        }
    }
    cr_assert_eq(got, 5000000);
    peer_close(&p);
}

Test(node_serve, cancel_ends_a_command)
{
    struct peer p;
    struct kp_frame frame;
    peer_open(&p, true);
    double began = kp_now();
    peer_send(
        &p, KP_FRAME_REQUEST, 0, 9,
        kp_slice_of(
            "{\"op\": \"run\", \"argv\": [\"sleep\", \"60\"], \"timeout\": 70, \"size\": 0}"));
    peer_send(&p, KP_FRAME_DATA, KP_FLAG_END, 9, kp_slice_of(""));
    peer_send(&p, KP_FRAME_PING, 0, 0, kp_slice_of(""));
    cr_assert(peer_receive(&p, &frame) && frame.type == KP_FRAME_PONG);
    peer_send(&p, KP_FRAME_CANCEL, 0, 9, kp_slice_of(""));
    cr_assert(peer_receive(&p, &frame) && frame.type == KP_FRAME_ERROR);
    cr_assert_lt(kp_now() - began, 10);
    peer_close(&p);
}

Test(node_serve, commands_end_with_the_connection)
{
    struct peer p;
    peer_open(&p, true);
    kp_auto_free char *path = peer_path(&p, "/pid");
    kp_auto_free char *text = kp_asprintf("{\"op\": \"run\", \"argv\": [\"sh\", \"-c\", \"echo $$ "
                                          ">%s; sleep 60; true\"], \"timeout\": 70, \"size\": 0}",
                                          path);
    peer_send(&p, KP_FRAME_REQUEST, 0, 9, kp_slice_of(text));
    peer_send(&p, KP_FRAME_DATA, KP_FLAG_END, 9, kp_slice_of(""));
    kp_auto_free char *pid = NULL;
    for (int i = 0; i < 100 && (!pid || !strchr(pid, '\n')); i++) {
        usleep(50000);
        kp_free(kp_steal(&pid));
        pid = peer_read(&p, "/pid");
    }
    cr_assert_not_null(pid);
    pid[strcspn(pid, "\n")] = '\0';
    kp_auto_free char *proc = kp_asprintf("/proc/%s/cmdline", pid);
    peer_again(&p);
    kp_auto_free char *left = NULL;
    size_t len = 0;
    bool gone = kp_file_read(proc, 4096, &left, &len, NULL) < 0 || len == 0;
    cr_assert(gone);
    peer_close(&p);
}

Test(node_serve, facts_are_an_object_each)
{
    struct peer p;
    peer_open(&p, true);
    json_t *request = json_pack("{s:s, s:[s, s], s:[s], s:[s], s:[s]}", "op", "facts", "programs",
                                "sh", "no-such-program", "modules", "no_such_module", "sysctls",
                                "kernel.ostype", "paths", "/tmp/not/there");
    kp_auto_json facts = peer_call(&p, request, (struct kp_slice){0});
    const json_t *system = json_object_get(facts, "system"),
                 *programs = json_object_get(system, "programs");
    cr_assert(json_is_string(json_object_get(programs, "sh")) &&
              json_is_null(json_object_get(programs, "no-such-program")));
    cr_assert_gt(json_integer_value(json_object_get(
                     json_object_get(json_object_get(system, "disks"), "/tmp/not/there"), "size")),
                 0);
    const json_t *kernel = json_object_get(facts, "kernel");
    cr_assert_str_eq(
        json_string_value(json_object_get(json_object_get(kernel, "modules"), "no_such_module")),
        "missing");
    const json_t *ostype = json_object_get(json_object_get(kernel, "sysctl"), "kernel.ostype");
    cr_assert_str_eq(json_string_value(json_object_get(ostype, "value")), "Linux");
    cr_assert(json_is_false(json_object_get(ostype, "writable")));
    cr_assert(json_is_array(json_object_get(json_object_get(facts, "network"), "listening")));
    cr_assert(json_is_object(json_object_get(json_object_get(facts, "leftovers"), "runtimes")));
    peer_close(&p);
}
