/* SPDX-License-Identifier: Apache-2.0 */
/* The typed requests of session.h. */
#include "bundle/medium.h"
#include "install/session/session_internal.h"

#include "core/file.h"
#include "core/text.h"

#include <time.h>
#include <unistd.h>

#define BLOCK ((size_t)262144)
#define RUN_GRACE_S 60 /* beyond a command's own time, in which the node has to end it */

void kp_change_release(struct kp_change *change)
{
    kp_free(change->diff);
    *change = (struct kp_change){0};
}

void kp_run_result_release(struct kp_run_result *result)
{
    kp_buf_release(&result->out);
    kp_buf_release(&result->err_out);
}

static int bad_answer(const struct kp_session *s, struct kp_err *err)
{
    return kp_fail_as(err, KP_FAILED, "bad_reply", "node %s: knode's answer is not understood",
                      s->target.node);
}

/* What the node must say that it placed, where it changed something. */
struct expected {
    const char *path;
    const struct kp_digest *sha256; /* NULL: any, or a secret's */
    bool needed;
};

/* The node's word is held against what it was told to do. */
static int take_placed(struct kp_session *s, const json_t *result, const struct expected *expected,
                       bool changed, struct kp_err *err)
{
    const json_t *text = json_object_get(result, "placed");
    kp_auto_json placed = NULL;
    if (!s->witness || (!text && !(changed && expected->needed)))
        return 0;
    if (!json_is_string(text))
        return bad_answer(s, err);
    struct kp_slice line = {json_string_value(text), json_string_length(text)};
    if (kp_json_parse(&placed, line, KP_CHAIN_LINE_MAX, "placed", err) < 0)
        return kp_wrap(err, "node %s", s->target.node);
    const char *path = json_string_value(json_object_get(placed, "path"));
    const char *sum = json_string_value(json_object_get(placed, "sha256"));
    if (!path || strcmp(path, expected->path) != 0)
        return kp_fail_as(err, KP_FAILED, "bad_reply", "node %s: was told to place %s, placed %s",
                          s->target.node, expected->path, path ? path : "nothing");
    if (expected->sha256 && (!sum || strcmp(sum, kp_digest_hex(expected->sha256).hex) != 0))
        return kp_fail_as(err, KP_DAMAGED, "damaged",
                          "node %s: placed %s with SHA-256 %s, not what it was told to",
                          s->target.node, path, sum ? sum : "(none)");
    return s->witness(s->witness_user, s, path, line, err);
}

/* A call whose answer is {"changed", "diff", "placed"}. Takes the request given. */
static int placing_call(struct kp_session *s, json_t *given, int flags, const struct kp_call *call,
                        const struct expected *expected, struct kp_change *out, struct kp_err *err)
{
    kp_auto_json request = given;
    kp_auto_json result = NULL;
    if (!request)
        return kp_fail(err, KP_USAGE, "node %s: a path or value is not UTF-8", s->target.node);
    json_object_set_new(request, "dry_run", json_boolean(flags & KP_DRY_RUN));
    if (kp_session_call(s, request, call, &result, err) < 0)
        return -1;
    const json_t *changed = json_object_get(result, "changed");
    if (!json_is_boolean(changed))
        return bad_answer(s, err);
    if (expected && !(flags & KP_DRY_RUN) &&
        take_placed(s, result, expected, json_is_true(changed), err) < 0)
        return -1;
    if (out)
        *out = (struct kp_change){json_is_true(changed),
                                  kp_strdup(json_string_value(json_object_get(result, "diff")))};
    return 0;
}

static int change_call(struct kp_session *s, json_t *given, int flags, const struct kp_call *call,
                       struct kp_change *out, struct kp_err *err)
{
    return placing_call(s, given, flags, call, NULL, out, err);
}

static json_t *texts(const char *const *items, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_string(items[i]));
    return list;
}

static size_t count(const char *const *items)
{
    size_t n = 0;
    while (items && items[n])
        n++;
    return n;
}

static double utc_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The node's clock against ours, by a round trip: known to half of its length. */
static int add_clock(struct kp_session *s, json_t *facts, struct kp_err *err)
{
    kp_auto_json request = json_pack("{s:s}", "op", "clock");
    kp_auto_json result = NULL;
    double before = utc_seconds(), began = kp_now();
    if (kp_session_call(s, request, NULL, &result, err) < 0)
        return -1;
    double round_trip = kp_now() - began;
    double node = (double)json_integer_value(json_object_get(result, "utc_ns")) / 1e9;
    json_t *system = json_object_get(facts, "system");
    if (!json_is_object(system) || !json_is_integer(json_object_get(result, "utc_ns")))
        return bad_answer(s, err);
    json_object_set_new(system, "clock_difference", json_real(node - before - round_trip / 2));
    json_object_set_new(system, "clock_uncertainty", json_real(round_trip / 2));
    return 0;
}

int kp_session_facts(struct kp_session *s, const json_t *settings, json_t **out, struct kp_err *err)
{
    static const char *const programs[] = {
        "conntrack", "socat",      "ebtables",  "ethtool",     "iptables",    "ip6tables",
        "nft",       "ipset",      "ip",        "tc",          "modprobe",    "mount",
        "nsenter",   "losetup",    "systemctl", "systemd-run", "journalctl",  "sha256sum",
        "tar",       "crictl",     "ctr",       "containerd",  "runc",        "kubelet",
        "kubeadm",   "kubectl",    "docker",    "chronyc",     "timedatectl", "getenforce",
        "ipvsadm",   "restorecon", "crio",      "crun"};
    static const char *const modules[] = {
        "overlay",    "br_netfilter", "nf_conntrack",   "vxlan",     "ip_tables",
        "ip6_tables", "iptable_nat",  "iptable_filter", "nf_tables", "nft_chain_nat",
        "xt_comment", "xt_conntrack", "xt_MASQUERADE",  "ip_vs",     "ip_vs_rr",
        "ip_vs_wrr",  "ip_vs_sh"};
    static const char *const sysctls[] = {"net.ipv4.ip_forward",
                                          "net.ipv6.conf.all.forwarding",
                                          "net.bridge.bridge-nf-call-iptables",
                                          "net.bridge.bridge-nf-call-ip6tables",
                                          "net.netfilter.nf_conntrack_max",
                                          "vm.overcommit_memory",
                                          "kernel.panic",
                                          "kernel.panic_on_oops",
                                          "vm.panic_on_oom",
                                          "kernel.keys.root_maxkeys",
                                          "kernel.keys.root_maxbytes",
                                          "net.ipv4.ip_local_reserved_ports",
                                          "fs.inotify.max_user_instances",
                                          "fs.inotify.max_user_watches",
                                          "vm.swappiness",
                                          "net.ipv4.conf.all.rp_filter",
                                          "net.ipv6.conf.all.disable_ipv6",
                                          "user.max_user_namespaces"};
    static const char *const paths[] = {"/",
                                        "/var",
                                        "/var/lib",
                                        "/var/lib/containerd",
                                        "/var/lib/kubelet",
                                        "/var/lib/etcd",
                                        "/var/lib/kpack",
                                        "/var/log",
                                        "/usr/local",
                                        "/opt",
                                        "/etc",
                                        "/tmp"};
    json_t *asked = texts(programs, KP_COUNT(programs));
    const char **more = kp_bundle_manifest(s->bundle.bundle)->programs;
    for (size_t i = 0; more && more[i]; i++)
        json_array_append_new(asked, json_string(more[i]));
    json_t *parameters = texts(sysctls, KP_COUNT(sysctls));
    for (size_t i = 0; i < json_array_size(settings); i++)
        json_array_append(parameters, json_array_get(settings, i));
    kp_auto_json request = json_pack("{s:s, s:o, s:o, s:o, s:o}", "op", "facts", "programs", asked,
                                     "modules", texts(modules, KP_COUNT(modules)), "sysctls",
                                     parameters, "paths", texts(paths, KP_COUNT(paths)));
    kp_auto_json result = NULL;
    if (kp_session_call(s, request, NULL, &result, err) < 0 || add_clock(s, result, err) < 0)
        return -1;
    *out = kp_steal(&result);
    return 0;
}

int kp_session_put_owned(struct kp_session *s, const char *path, struct kp_slice data,
                         unsigned mode, unsigned uid, unsigned gid, int flags,
                         struct kp_change *out, struct kp_err *err)
{
    struct kp_call call = {.input = data, .has_input = true};
    json_t *request = json_pack("{s:s, s:s, s:i, s:I, s:I, s:I, s:b, s:b}", "op", "put", "path",
                                path, "mode", (int)mode, "uid", (json_int_t)uid, "gid",
                                (json_int_t)gid, "size", (json_int_t)data.len, "secret",
                                flags & KP_PUT_SECRET, "once", flags & KP_PUT_ONCE);
    if (data.len > KP_PUT_MAX) {
        json_decref(request);
        return kp_fail_as(err, KP_USAGE, "too_large", "node %s: %s: %zu bytes, at most %zu",
                          s->target.node, path, data.len, KP_PUT_MAX);
    }
    struct kp_digest digest;
    kp_sha256(data.ptr, data.len, &digest);
    bool plain = !(flags & KP_PUT_SECRET);
    const struct expected expected = {path, plain ? &digest : NULL, true};
    return placing_call(s, request, flags, &call, &expected, out, err);
}

int kp_session_put(struct kp_session *s, const char *path, struct kp_slice data, unsigned mode,
                   int flags, struct kp_change *out, struct kp_err *err)
{
    return kp_session_put_owned(s, path, data, mode, 0, 0, flags, out, err);
}

int kp_session_remove(struct kp_session *s, const char *path, int flags, struct kp_change *out,
                      struct kp_err *err)
{
    const struct expected expected = {.path = path};
    struct kp_change change = {0};
    json_t *request = json_pack("{s:s, s:s}", "op", "remove", "path", path);
    if (placing_call(s, request, flags, NULL, &expected, &change, err) < 0)
        return -1;
    size_t len = strlen(path);
    // With knode's own folder its log is gone too: that it was there is for us to write down.
    bool own = strncmp("/var/lib/kpack/", path, len) == 0;
    int failed = 0;
    if (own && change.changed && !(flags & KP_DRY_RUN) && s->witness)
        failed = s->witness(s->witness_user, s, path, (struct kp_slice){NULL, 0}, err);
    if (out && failed == 0)
        *out = change;
    else
        kp_change_release(&change);
    return failed;
}

struct collecting {
    struct kp_buf *out;
};

static void collect(void *user, bool error, const char *bytes, size_t len)
{
    struct collecting *c = user;
    if (!error)
        kp_buf_add(c->out, bytes, len);
}

int kp_session_get(struct kp_session *s, const char *path, struct kp_buf *out, bool *found,
                   struct kp_err *err)
{
    size_t max = out->max < KP_PUT_MAX ? out->max : KP_PUT_MAX;
    struct collecting c = {out};
    struct kp_call call = {.data = collect, .user = &c, .data_max = max ? max : 1};
    kp_auto_json request =
        json_pack("{s:s, s:s, s:I}", "op", "get", "path", path, "max", (json_int_t)max);
    kp_auto_json result = NULL;
    size_t before = out->len;
    if (kp_session_call(s, request, &call, &result, err) < 0)
        return -1;
    bool there = json_is_true(json_object_get(result, "found"));
    if (there &&
        (json_int_t)(out->len - before) != json_integer_value(json_object_get(result, "size")))
        return bad_answer(s, err);
    if (!there && !found)
        return kp_fail_as(err, KP_MISSING, "no_file", "node %s: %s is gone", s->target.node, path);
    if (found)
        *found = there;
    return 0;
}

/* Streaming a blob or the bundle's file to the node, from where the node says. */
struct sending {
    const struct kp_bundle *bundle;
    const struct kp_digest *blob; /* NULL: the bundle's own file */
    uint64_t size;
    kp_bundle_progress *progress;
    void *user;
};

static int read_piece(const struct sending *sending, uint64_t offset, void *out, size_t len,
                      struct kp_err *err)
{
    if (!sending->bundle)
        return kp_fail_as(err, KP_MISSING, "missing_base", "its file is not on this host");
    if (sending->blob)
        return kp_bundle_read(sending->bundle, sending->blob, offset, out, len, err);
    return kp_medium_read(kp_bundle_medium(sending->bundle), out, len, offset, err);
}

static int stream(struct kp_session *s, struct kp_pending *p, void *user, const json_t *note,
                  struct kp_err *err)
{
    struct sending *sending = user;
    const json_t *done = json_object_get(note, "done");
    if (json_is_integer(done) && sending->progress)
        sending->progress(sending->user, (uint64_t)json_integer_value(done), sending->size);
    if (!json_is_true(json_object_get(note, "need")))
        return 0;
    uint64_t offset = (uint64_t)json_integer_value(json_object_get(note, "offset"));
    kp_auto_free char *block = kp_alloc(BLOCK);
    bool stopped = false;
    if (offset > sending->size)
        return bad_answer(s, err);
    while (offset < sending->size && !stopped) {
        size_t len = sending->size - offset < BLOCK ? (size_t)(sending->size - offset) : BLOCK;
        if (read_piece(sending, offset, block, len, err) < 0 ||
            kp_session_send(s, p, block, len, false, &stopped, err) < 0)
            return -1;
        offset += len;
        if (sending->progress)
            sending->progress(sending->user, offset, sending->size);
    }
    return stopped ? 0 : kp_session_send(s, p, "", 0, true, &stopped, err);
}

static void add_mirrors(json_t *request, const struct kp_mirrors *mirrors)
{
    if (!mirrors || !mirrors->urls || !mirrors->urls[0])
        return;
    json_object_set_new(request, "urls", texts(mirrors->urls, count(mirrors->urls)));
    json_object_set_new(request, "ca",
                        json_stringn(mirrors->ca.ptr ? mirrors->ca.ptr : "", mirrors->ca.len));
}

int kp_session_fetch(struct kp_session *s, const struct kp_file *file,
                     const struct kp_mirrors *mirrors, int flags, struct kp_change *out,
                     struct kp_err *err)
{
    struct sending sending = {
        .bundle = s->bundle.bundle, .blob = &file->blob, .size = file->blob_size};
    struct kp_call call = {.note = stream, .user = &sending};
    json_t *request = json_pack("{s:s, s:s, s:s}", "op", "fetch", "blob",
                                kp_digest_hex(&file->blob).hex, "target", file->target);
    add_mirrors(request, mirrors);
    const struct expected expected = {file->target, &file->sha256, true};
    return placing_call(s, request, flags, &call, &expected, out, err);
}

int kp_session_send_bundle(struct kp_session *s, const char *path, const struct kp_mirrors *mirrors,
                           kp_bundle_progress *progress, void *user, struct kp_change *out,
                           struct kp_err *err)
{
    return kp_session_send_bundle_flags(s, path, mirrors, 0, progress, user, out, err);
}

int kp_session_send_bundle_flags(struct kp_session *s, const char *path,
                                 const struct kp_mirrors *mirrors, int flags,
                                 kp_bundle_progress *progress, void *user, struct kp_change *out,
                                 struct kp_err *err)
{
    const struct kp_bundle *bundle = s->bundle.bundle;
    const struct kp_parcel parcel = {bundle, kp_bundle_manifest(bundle)->id,
                                     kp_bundle_size(bundle)};
    return kp_session_send_parcel(s, &parcel, path, mirrors, flags, progress, user, out, err);
}

int kp_session_send_parcel(struct kp_session *s, const struct kp_parcel *parcel, const char *path,
                           const struct kp_mirrors *mirrors, int flags,
                           kp_bundle_progress *progress, void *user, struct kp_change *out,
                           struct kp_err *err)
{
    struct sending sending = {
        .bundle = parcel->file, .size = parcel->size, .progress = progress, .user = user};
    struct kp_call call = {.note = stream, .user = &sending};
    json_t *request = json_pack("{s:s, s:s, s:s, s:I}", "op", "receive", "path", path, "id",
                                kp_digest_hex(&parcel->id).hex, "size", (json_int_t)parcel->size);
    add_mirrors(request, mirrors);
    return change_call(s, request, flags, &call, out, err);
}

int kp_session_bundles(struct kp_session *s, const char *folder, json_t **out, struct kp_err *err)
{
    kp_auto_json request = json_pack("{s:s, s:s}", "op", "bundles", "folder", folder);
    kp_auto_json result = NULL;
    if (kp_session_call(s, request, NULL, &result, err) < 0)
        return -1;
    json_t *list = json_object_get(result, "bundles");
    if (!json_is_array(list))
        return bad_answer(s, err);
    *out = json_incref(list);
    return 0;
}

int kp_session_manifest(struct kp_session *s, const char *folder, const char *id,
                        struct kp_buf *out, struct kp_err *err)
{
    struct collecting c = {out};
    struct kp_call call = {.data = collect, .user = &c};
    kp_auto_json request =
        json_pack("{s:s, s:s, s:s}", "op", "bundles", "folder", folder, "id", id);
    kp_auto_json result = NULL;
    return kp_session_call(s, request, &call, &result, err);
}

int kp_session_unit(struct kp_session *s, const char *unit, enum kp_unit_action action, int flags,
                    struct kp_change *out, struct kp_err *err)
{
    static const char *const words[] = {[KP_UNIT_ENABLE_START] = "enable-start",
                                        [KP_UNIT_RESTART] = "restart",
                                        [KP_UNIT_STOP_DISABLE] = "stop-disable",
                                        [KP_UNIT_RELOAD_DAEMON] = "reload-daemon",
                                        [KP_UNIT_MASK] = "mask",
                                        [KP_UNIT_UNMASK] = "unmask"};
    json_t *request = json_pack("{s:s, s:s, s:s}", "op", "unit", "unit", unit ? unit : "", "action",
                                words[action]);
    return change_call(s, request, flags, NULL, out, err);
}

int kp_session_sysctl(struct kp_session *s, const char *const *settings, size_t n, int flags,
                      struct kp_change *out, struct kp_err *err)
{
    static const struct expected expected = {.path = "/etc/sysctl.d/90-kpack.conf"};
    return placing_call(s, json_pack("{s:s, s:o}", "op", "sysctl", "settings", texts(settings, n)),
                        flags, NULL, &expected, out, err);
}

int kp_session_modules(struct kp_session *s, const char *const *names, size_t n, int flags,
                       struct kp_change *out, struct kp_err *err)
{
    static const struct expected expected = {.path = "/etc/modules-load.d/kpack.conf"};
    return placing_call(s, json_pack("{s:s, s:o}", "op", "modules", "names", texts(names, n)),
                        flags, NULL, &expected, out, err);
}

struct running {
    const struct kp_run *run;
    struct kp_run_result *result;
};

// The end of a long output says more than its beginning.
static void keep_end(struct kp_buf *buf, const char *bytes, size_t len)
{
    if (len > buf->max) {
        bytes += len - buf->max;
        len = buf->max;
    }
    if (buf->len + len > buf->max)
        kp_buf_consume(buf, buf->len + len - buf->max);
    kp_buf_add(buf, bytes, len);
}

static void take_output(void *user, bool error, const char *bytes, size_t len)
{
    struct running *r = user;
    keep_end(error ? &r->result->err_out : &r->result->out, bytes, len);
    if (r->run->output)
        r->run->output(r->run->user, bytes, len);
}

static void forget_result(struct kp_session *s, const char *unit)
{
    struct kp_err ignored;
    kp_auto_json request = json_pack("{s:s, s:s}", "op", "ran", "unit", unit);
    kp_auto_json result = NULL;
    // Where this fails the result stays on the node, and the next run reads it once more.
    (void)!kp_session_call(s, request, NULL, &result, &ignored);
}

int kp_session_run(struct kp_session *s, const struct kp_run *run, struct kp_run_result *out,
                   struct kp_err *err)
{
    kp_auto_value(kp_run_result)
        result = {.out = KP_BUF(KP_RUN_OUTPUT_MAX), .err_out = KP_BUF(KP_RUN_OUTPUT_MAX)};
    struct running running = {run, &result};
    struct kp_call call = {
        .input = run->input, .has_input = true, .data = take_output, .user = &running};
    if (run->timeout)
        call.timeout = run->timeout + RUN_GRACE_S;
    if (!run->input.ptr)
        call.input = (struct kp_slice){"", 0};
    kp_auto_json request = json_pack(
        "{s:s, s:o, s:o, s:I, s:I, s:s*}", "op", "run", "argv", texts(run->argv, count(run->argv)),
        "env", texts(run->env, count(run->env)), "timeout", (json_int_t)run->timeout, "size",
        (json_int_t)call.input.len, "unit", run->unit);
    kp_auto_json answer = NULL;
    if (!request)
        return kp_fail(err, KP_USAGE, "node %s: a command is not UTF-8", s->target.node);
    if (kp_session_call(s, request, &call, &answer, err) < 0)
        return -1;
    const json_t *status = json_object_get(answer, "status");
    if (!json_is_integer(status))
        return bad_answer(s, err);
    if (run->unit)
        forget_result(s, run->unit);
    *out = result;
    out->status = (int)json_integer_value(status);
    result.out = result.err_out = KP_BUF(0);
    return 0;
}

void kp_session_set_witness(struct kp_session *s, kp_session_witness *witness, void *user)
{
    s->witness = witness;
    s->witness_user = user;
}

void kp_node_log_part_release(struct kp_node_log_part *part)
{
    kp_buf_release(&part->lines);
    kp_free(part->key);
    *part = (struct kp_node_log_part){0};
}

int kp_session_placed(struct kp_session *s, uint64_t after, const struct kp_chain_head *witness,
                      struct kp_node_log_part *out, struct kp_err *err)
{
    kp_auto_value(kp_node_log_part) part = {.lines = KP_BUF(KP_PLACED_MAX)};
    struct collecting c = {&part.lines};
    struct kp_call call = {.data = collect, .user = &c, .data_max = KP_PLACED_MAX};
    kp_auto_json request = json_pack("{s:s, s:I}", "op", "placed", "after", (json_int_t)after);
    kp_auto_json result = NULL;
    if (witness)
        json_object_set_new(request, "witness",
                            json_pack("{s:I, s:s}", "count", (json_int_t)witness->count, "digest",
                                      kp_digest_hex(&witness->digest).hex));
    if (kp_session_call(s, request, &call, &result, err) < 0)
        return -1;
    const json_t *count_now = json_object_get(result, "count");
    const char *hex = json_string_value(json_object_get(result, "digest"));
    if (!json_is_integer(count_now) || json_integer_value(count_now) < 0 || part.lines.overflow ||
        !kp_digest_parse(kp_slice_of(hex), &part.head.digest))
        return bad_answer(s, err);
    part.head.count = (uint64_t)json_integer_value(count_now);
    part.key = kp_strdup(json_string_value(json_object_get(result, "key")));
    *out = part;
    part.lines = KP_BUF(0);
    part.key = NULL;
    return 0;
}

int kp_session_survey(struct kp_session *s, const json_t *question, json_t **answer,
                      struct kp_err *err)
{
    kp_auto_json request = json_copy((json_t *)(uintptr_t)question);
    kp_auto_json result = NULL;
    json_object_set_new(request, "op", json_string("survey"));
    if (kp_session_call(s, request, NULL, &result, err) < 0)
        return -1;
    if (!json_is_array(json_object_get(result, "files")) ||
        !json_is_array(json_object_get(result, "entries")) ||
        !json_is_array(json_object_get(result, "bundles")))
        return bad_answer(s, err);
    *answer = kp_steal(&result);
    return 0;
}

int kp_session_probe(struct kp_session *s, const json_t *question, json_t **answer,
                     struct kp_err *err)
{
    kp_auto_json request = json_pack("{s:s, s:O}", "op", "probe", "question", question);
    return kp_session_call(s, request, NULL, answer, err);
}

int kp_session_record(struct kp_session *s, json_t **out, struct kp_err *err)
{
    kp_auto_json request = json_pack("{s:s}", "op", "record");
    return kp_session_call(s, request, NULL, out, err);
}

int kp_session_mark(struct kp_session *s, const char *cluster, const char *step, bool finished,
                    const char *digest, struct kp_err *err)
{
    kp_auto_json request =
        json_pack("{s:s, s:s, s:s, s:b, s:s}", "op", "mark", "cluster", cluster, "step", step,
                  "finished", (int)finished, "digest", digest ? digest : "");
    kp_auto_json result = NULL;
    return kp_session_call(s, request, NULL, &result, err);
}

int kp_session_lock(struct kp_session *s, const char *run_id, const char *who, struct kp_err *err)
{
    kp_auto_json request = json_pack("{s:s, s:s, s:s}", "op", "lock", "run", run_id, "who", who);
    kp_auto_json result = NULL;
    if (kp_session_call(s, request, NULL, &result, err) < 0)
        return -1;
    if (s->lock_run != run_id) {
        kp_free(s->lock_run);
        kp_free(s->lock_who);
        s->lock_run = kp_strdup(run_id);
        s->lock_who = kp_strdup(who);
    }
    return 0;
}
