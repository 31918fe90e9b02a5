/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_driver OPTIONS WORDS…: one session, then the named calls in order, for
 * tests/interop/session.sh. Prints what came of each; an error is "error <reason>: <message>", its
 * hint on the next line, exit 1.
 */
#include "install/session/session.h"

#include "core/cli.h"
#include "core/file.h"
#include "core/interrupt.h"
#include "core/text.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct options {
    const char *bundle, *trust, *address, *user, *key, *host_key, *known_hosts, *password,
        *transport, *jump;
    uint64_t port;
    bool sudo;
};

static int take_line(void *user, struct kp_session *session, const char *path, struct kp_slice line,
                     struct kp_err *err)
{
    (void)user;
    (void)session;
    (void)err;
    printf("placed %s: %.*s\n", path, (int)line.len, line.ptr ? line.ptr : "");
    return 0;
}

static void show(const char *what, const struct kp_change *change)
{
    printf("%s changed=%d\n%s", what, change->changed, change->diff ? change->diff : "");
}

static void print_piece(void *user, const char *data, size_t len)
{
    (void)user;
    fwrite(data, 1, len, stdout);
    fflush(stdout);
}

static int do_run(struct kp_session *s, char **words, const char *unit, struct kp_err *err)
{
    kp_auto_value(kp_run_result) result = {0};
    struct kp_run run = {
        .argv = (const char *const *)words, .timeout = 30, .unit = unit, .output = print_piece};
    if (getenv("DRIVER_INPUT"))
        run.input = kp_slice_of(getenv("DRIVER_INPUT"));
    if (kp_session_run(s, &run, &result, err) < 0)
        return -1;
    printf("status=%d out=%zu err=%zu\n", result.status, result.out.len, result.err_out.len);
    return 0;
}

/* DRIVER_MIRRORS: two URLs parted by a blank, DRIVER_CA: a file; both as the inventory's mirrors
 * would be. */
struct mirror_words {
    char *text, *ca;
    const char *urls[3];
    struct kp_mirrors mirrors;
};

static void mirror_words_release(struct mirror_words *words)
{
    kp_free(words->text);
    kp_free(words->ca);
}
KP_DEFINE_AUTO_VALUE(mirror_words);

static int read_mirrors(struct mirror_words *words, struct kp_err *err)
{
    size_t len = 0;
    *words = (struct mirror_words){.text = kp_strdup(getenv("DRIVER_MIRRORS"))};
    if (!words->text)
        return 0;
    char *blank = strchr(words->text, ' ');
    words->urls[0] = words->text;
    if (blank) {
        *blank = '\0';
        words->urls[1] = blank + 1;
    }
    if (kp_file_read(getenv("DRIVER_CA"), 65536, &words->ca, &len, err) < 0)
        return -1;
    words->mirrors = (struct kp_mirrors){words->urls, {words->ca, len}};
    return 0;
}

static int do_fetch(struct kp_session *s, const struct kp_bundle *b, const char *name, int flags,
                    struct kp_err *err)
{
    const struct kp_file *file = kp_manifest_file(kp_bundle_manifest(b), name, kp_session_arch(s));
    kp_auto_value(kp_change) change = {0};
    kp_auto_value(mirror_words) words = {0};
    if (read_mirrors(&words, err) < 0 ||
        kp_session_fetch(s, file, words.text ? &words.mirrors : NULL, flags, &change, err) < 0)
        return -1;
    show("fetch", &change);
    return 0;
}

static void print_progress(void *user, uint64_t done, uint64_t total)
{
    (void)user;
    fprintf(stderr, "progress %llu of %llu\n", (unsigned long long)done, (unsigned long long)total);
}

static int do_send(struct kp_session *s, const char *path, struct kp_err *err)
{
    kp_auto_value(kp_change) change = {0};
    kp_auto_value(mirror_words) words = {0};
    double began = kp_now();
    if (read_mirrors(&words, err) < 0 ||
        kp_session_send_bundle(s, path, words.text ? &words.mirrors : NULL, print_progress, NULL,
                               &change, err) < 0)
        return -1;
    show("send", &change);
    fprintf(stderr, "seconds=%.3f\n", kp_now() - began);
    return 0;
}

static int do_json(int failed, json_t *value)
{
    if (failed == 0)
        kp_json_print(value);
    json_decref(value);
    return failed;
}

static int do_get(struct kp_session *s, const char *path, struct kp_err *err)
{
    kp_auto_value(kp_buf) text = KP_BUF((size_t)1 << 20);
    bool found;
    if (kp_session_get(s, path, &text, &found, err) < 0)
        return -1;
    printf("found=%d\n%.*s", found, (int)text.len, text.len ? text.data : "");
    struct kp_err gone = KP_ERR_INIT;
    if (!found && kp_session_get(s, path, &text, NULL, &gone) == 0)
        return kp_fail(err, KP_FAILED, "%s has to be there, and is not: no error", path);
    if (!found)
        printf("%s: %s\n", gone.reason, gone.message);
    return 0;
}

struct worker {
    struct kp_session *session;
    int number, failed;
};

static void *work(void *user)
{
    struct worker *w = user;
    struct kp_err err = KP_ERR_INIT;
    for (int i = 0; i < 20 && !w->failed; i++) {
        kp_auto_value(kp_run_result) result = {0};
        kp_auto_free char *text = kp_asprintf("%d-%d", w->number, i);
        const char *argv[] = {"sh", "-c", "cat; head -c 300000 /dev/zero", NULL};
        struct kp_run run = {.argv = argv, .timeout = 30, .input = kp_slice_of(text)};
        w->failed = kp_session_run(w->session, &run, &result, &err) < 0 || result.status != 0 ||
                    result.out.len != 300000 + strlen(text) ||
                    memcmp(result.out.data, text, strlen(text)) != 0;
    }
    if (w->failed)
        printf("worker %d: %s\n", w->number, err.message);
    return NULL;
}

/* Many requests on one connection at once, their streams must not mix. */
static int do_parallel(struct kp_session *s)
{
    struct worker workers[8];
    pthread_t threads[8];
    int failed = 0;
    for (int i = 0; i < 8; i++) {
        workers[i] = (struct worker){s, i, 0};
        pthread_create(&threads[i], NULL, work, &workers[i]);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        failed += workers[i].failed;
    }
    printf("parallel failed=%d\n", failed);
    return 0;
}

static int do_put(struct kp_session *s, char **w, int flags, struct kp_err *err)
{
    kp_auto_value(kp_change) change = {0};
    uint64_t mode = 0644;
    kp_parse_octal(kp_slice_of(w[3]), 07777, &mode);
    if (kp_session_put(s, w[1], kp_slice_of(w[2]), (unsigned)mode, flags, &change, err) < 0)
        return -1;
    show("put", &change);
    return 0;
}

static int do_kernel(struct kp_session *s, const char *what, char **items, int flags,
                     struct kp_err *err)
{
    kp_auto_value(kp_change) change = {0};
    size_t n = 0;
    while (items[n])
        n++;
    const char *const *list = (const char *const *)items;
    int failed = what[0] == 's' ? kp_session_sysctl(s, list, n, flags, &change, err)
                                : kp_session_modules(s, list, n, flags, &change, err);
    if (failed == 0)
        show(what, &change);
    return failed;
}

static int do_unit(struct kp_session *s, const char *action, const char *unit, int flags,
                   struct kp_err *err)
{
    static const char *const names[] = {"enable-start",  "restart", "stop-disable",
                                        "reload-daemon", "mask",    "unmask"};
    kp_auto_value(kp_change) change = {0};
    size_t i = 0;
    while (i < KP_COUNT(names) - 1 && strcmp(names[i], action) != 0)
        i++;
    if (kp_session_unit(s, unit, (enum kp_unit_action)i, flags, &change, err) < 0)
        return -1;
    show("unit", &change);
    return 0;
}

static int do_probe(struct kp_session *s, const char *text, struct kp_err *err)
{
    kp_auto_json question = NULL;
    json_t *answer = NULL;
    if (kp_json_parse(&question, kp_slice_of(text), 65536, "question", err) < 0)
        return -1;
    int failed = kp_session_probe(s, question, &answer, err);
    return do_json(failed, answer);
}

/* One group of words; returns how many it took, or -1. Groups are parted by "+". */
static int do_words(struct kp_session *s, const struct kp_bundle *b, char **w, struct kp_err *err)
{
    kp_auto_value(kp_change) change = {0};
    json_t *json = NULL;
    int dry = getenv("DRIVER_DRY_RUN") ? KP_DRY_RUN : 0;
    const char *what = w[0];
    if (strcmp(what, "facts") == 0) {
        int failed = kp_session_facts(s, NULL, &json, err);
        return do_json(failed, json);
    }
    if (strcmp(what, "put") == 0)
        return do_put(s, w, dry, err);
    if (strcmp(what, "put-secret") == 0)
        return do_put(s, w, dry | KP_PUT_SECRET, err);
    if (strcmp(what, "put-once") == 0)
        return do_put(s, w, dry | KP_PUT_ONCE, err);
    if (strcmp(what, "get") == 0)
        return do_get(s, w[1], err);
    if (strcmp(what, "remove") == 0) {
        if (kp_session_remove(s, w[1], dry, &change, err) < 0)
            return -1;
        show("remove", &change);
        return 0;
    }
    if (strcmp(what, "run") == 0)
        return do_run(s, w + 1, NULL, err);
    if (strcmp(what, "run-unit") == 0)
        return do_run(s, w + 2, w[1], err);
    if (strcmp(what, "fetch") == 0)
        return do_fetch(s, b, w[1], dry, err);
    if (strcmp(what, "send") == 0)
        return do_send(s, w[1], err);
    if (strcmp(what, "sysctl") == 0 || strcmp(what, "modules") == 0)
        return do_kernel(s, what, w + 1, dry, err);
    if (strcmp(what, "unit") == 0)
        return do_unit(s, w[1], w[2], dry, err);
    if (strcmp(what, "probe") == 0)
        return do_probe(s, w[1], err);
    if (strcmp(what, "lock") == 0)
        return kp_session_lock(s, w[1], w[2], err);
    if (strcmp(what, "mark") == 0)
        return kp_session_mark(s, w[1], w[2], strcmp(w[3], "finished") == 0, w[4], err);
    if (strcmp(what, "record") == 0) {
        int failed = kp_session_record(s, &json, err);
        return do_json(failed, json);
    }
    if (strcmp(what, "parallel") == 0)
        return do_parallel(s);
    if (strcmp(what, "reconnect") == 0)
        return kp_session_reconnect(s, err);
    if (strcmp(what, "sleep") == 0)
        return usleep(2000000);
    return kp_fail(err, KP_USAGE, "unknown word %s", what);
}

static int do_all(struct kp_session *s, const struct kp_bundle *b, int argc, char **argv,
                  struct kp_err *err)
{
    for (int i = 0; i < argc;) {
        char *group[64] = {NULL};
        int n = 0;
        while (i < argc && strcmp(argv[i], "+") != 0 && n < 63)
            group[n++] = argv[i++];
        i++;
        int failed = do_words(s, b, group, err);
        fflush(stdout);
        if (failed < 0 && err->reason && strcmp(err->reason, "connection_lost") == 0 &&
            getenv("DRIVER_RECONNECT")) {
            printf("lost: %s\n", err->message);
            failed = kp_session_reconnect(s, err);
        }
        if (failed < 0)
            return -1;
    }
    return 0;
}

static int drive(void *user, int argc, char **argv, struct kp_err *err)
{
    struct options *o = user;
    kp_auto(kp_trust) trust = kp_trust_new();
    kp_auto(kp_bundle) bundle = NULL;
    kp_auto(kp_session) session = NULL;
    if (kp_trust_add_file(trust, o->trust, err) < 0 ||
        kp_bundle_open(&bundle, o->bundle, trust, NULL, err) < 0)
        return -1;
    struct kp_ssh_target target = {.node = "n1",
                                   .address = o->address ? o->address : "127.0.0.1",
                                   .port = o->port ? (unsigned)o->port : 22,
                                   .user = o->user ? o->user : "root",
                                   .key = o->key,
                                   .host_key = o->host_key,
                                   .known_hosts = o->known_hosts,
                                   .jump = o->jump,
                                   .sudo = o->sudo,
                                   .sudo_password = o->password,
                                   .connect_timeout = 5};
    if (o->transport)
        target.transport =
            strcmp(o->transport, "libssh2") == 0 ? KP_TRANSPORT_LIBSSH2 : KP_TRANSPORT_OPENSSH;
    // So that a test can end this very process.
    kp_auto_free char *pid = kp_asprintf("%d\n", (int)getpid());
    if (getenv("DRIVER_PID") &&
        kp_file_write_atomic(getenv("DRIVER_PID"), kp_slice_of(pid), 0644, err) < 0)
        return -1;
    struct kp_session_bundle handed = {bundle, trust, NULL};
    if (kp_session_open(&session, &target, &handed, err) < 0)
        return -1;
    if (getenv("DRIVER_WITNESS"))
        kp_session_set_witness(session, take_line, NULL);
    printf("open %s %s\n", kp_session_node(session), kp_session_arch(session));
    return do_all(session, bundle, argc, argv, err);
}

static int run(void *user, int argc, char **argv, struct kp_err *err)
{
    if (drive(user, argc, argv, err) == 0)
        return 0;
    printf("error %s: %s\n", err->reason ? err->reason : "-", err->message);
    if (err->hint[0])
        printf("hint: %s\n", err->hint);
    return -1;
}

#define TEXT(member, word)                                                                         \
    {                                                                                              \
        .name = word, .type = KP_OPT_TEXT, .offset = offsetof(struct options, member),             \
        .value = "X", .help = word                                                                 \
    }
static const struct kp_option table[] = {
    TEXT(bundle, "bundle"),
    TEXT(trust, "trust"),
    TEXT(address, "address"),
    TEXT(user, "user"),
    TEXT(key, "key"),
    TEXT(host_key, "host-key"),
    TEXT(known_hosts, "known-hosts"),
    TEXT(password, "test-password"),
    TEXT(transport, "transport"),
    TEXT(jump, "jump"),
    {.name = "port",
     .type = KP_OPT_NUMBER,
     .offset = offsetof(struct options, port),
     .value = "N",
     .help = "port"},
    {.name = "sudo", .type = KP_OPT_FLAG, .offset = offsetof(struct options, sudo), .help = "sudo"},
    {.name = NULL},
};
static const struct kp_command commands[] = {
    {.name = "",
     .arguments = "WORDS",
     .most = 200,
     .summary = "drive",
     .options = table,
     .size = sizeof(struct options),
     .run = run},
    {.name = NULL},
};

int main(int argc, char **argv)
{
    const struct kp_program program = {
        .name = "session_driver", .summary = "tests a session", .commands = commands};
    kp_interrupt_catch();
    return kp_cli_main(&program, argc, argv);
}
