/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mirror that was away, and two others that serve: real kregistries on loopback, the node's files
 * beneath a temporary folder. What it takes, and all that it does not.
 */
#include "bundle_fixture.h"

#include "bundle/policy.h"
#include "core/file.h"
#include "core/text.h"
#include "install/node/catch_up.h"
#include "registry/serve.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FOLDER "/var/lib/kpack/bundles"
#define UNIT "/etc/systemd/system/kregistry.service"
#define NAME "k8s-v1.30.14-flannel-amd64"

struct mirror {
    char *folder; /* of its bundles */
    struct kp_served_list serves;
    struct kp_bundle *bundles[KP_SERVED_MAX];
    struct kp_registry *registry;
    struct kp_http_server *server; /* the registry's, or its own */
    const char *says;              /* then: what it answers to /bundles */
    struct kp_slice gives;         /* … and to anything else */
    pthread_t thread;
    uint16_t port;
    bool running;
};

static struct fixture f;
static char *root;
static struct mirror mirrors[2], own;
static struct kp_node_state state;
static struct kp_node_catching how;
static struct kp_digest a, b, delta;
static char *stock; /* all bundles that were made */
static unsigned restarts, refusals;

static char *at(const char *path)
{
    return kp_asprintf("%s%s", root, path);
}

static char *file_in(const char *folder, const struct kp_digest *id)
{
    return kp_asprintf("%s/%s.tar.zst", folder, kp_digest_hex(id).hex);
}

static void copy(const char *from, const char *to)
{
    struct kp_err err = KP_ERR_INIT;
    kp_auto_free char *data = NULL, *folder = kp_path_dir(to);
    size_t len;
    cr_assert_eq(kp_file_read(from, (size_t)64 << 20, &data, &len, &err), 0, "%s", err.message);
    cr_assert_eq(kp_mkdirs(folder, 0755, &err), 0);
    cr_assert_eq(kp_file_write_atomic(to, (struct kp_slice){data, len}, 0644, &err), 0);
}

/* Writes the fixture's manifest as it is now into the stock. */
static struct kp_digest make(void)
{
    struct kp_err err = KP_ERR_INIT;
    kp_auto(kp_bundle) bundle = NULL;
    fixture_write(&f);
    cr_assert_eq(kp_bundle_open(&bundle, f.bundle, NULL, NULL, &err), 0, "%s", err.message);
    struct kp_digest id = kp_bundle_manifest(bundle)->id;
    kp_auto_free char *path = file_in(stock, &id);
    copy(f.bundle, path);
    return id;
}

static void *run(void *user)
{
    struct mirror *m = user;
    struct kp_err err;
    if (m->registry)
        (void)!kp_registry_run(m->registry, &err);
    else
        (void)!kp_http_server_run(m->server, &err);
    return NULL;
}

static bool answer(void *user, const struct kp_http_request *request, struct kp_http_response *out)
{
    const struct mirror *m = user;
    bool list = kp_slice_equal(request->head->path, "/bundles");
    struct kp_slice text = list ? kp_slice_of(m->says) : m->gives;
    out->status = text.len ? 200 : 404;
    kp_buf_add(&out->text, text.ptr, text.len);
    return true;
}

static struct kp_http_server_settings plain(uint16_t port)
{
    struct kp_http_server_settings http = {.listen_count = 1, .workers = 1};
    cr_assert(kp_net_parse_ip("127.0.0.1", &http.listen[0].address));
    kp_net_set_port(&http.listen[0].address, port);
    return http;
}

static void begin(struct mirror *m)
{
    m->port = kp_net_port(kp_http_server_address(m->server, 0));
    m->running = true;
    pthread_create(&m->thread, NULL, run, m);
}

/* A kregistry with these, out of folder. -1 where one cannot be opened. */
static int start(struct mirror *m, const char *folder, const struct kp_served_list *ids,
                 struct kp_err *err)
{
    struct kp_registry_settings settings = {.access_log = -1,
                                            .error_log = -1,
                                            .checkers = 1,
                                            .bundle_count = ids->count,
                                            .accepted = ids->accepted};
    m->serves = *ids;
    for (size_t i = 0; i < ids->count; i++) {
        kp_auto_free char *path = file_in(folder, &ids->items[i].id);
        if (kp_bundle_open_id(&m->bundles[i], path, &ids->items[i].id, err) < 0)
            return -1;
    }
    settings.bundles = m->bundles;
    settings.http = plain(m->port);
    if (kp_registry_new(&m->registry, &settings, err) < 0)
        return -1;
    m->server = kp_registry_server(m->registry);
    begin(m);
    return 0;
}

static void stop(struct mirror *m)
{
    if (m->running) {
        kp_http_server_stop(m->server);
        pthread_join(m->thread, NULL);
    }
    if (!m->registry)
        kp_http_server_free(m->server);
    kp_registry_free(m->registry);
    for (size_t i = 0; i < KP_SERVED_MAX; i++)
        kp_bundle_free(m->bundles[i]);
    uint16_t port = m->port;
    *m = (struct mirror){.port = port};
}

/* a was accepted first, all others later. */
static struct kp_served_list list_of(size_t n, const struct kp_digest *const *ids)
{
    struct kp_served_list out = {.count = n, .accepted = ids[0] == &a ? 1000 : 2000};
    for (size_t i = 0; i < n; i++)
        out.items[i].id = *ids[i];
    return out;
}
#define LIST(...)                                                                                  \
    list_of(sizeof((const struct kp_digest *[]){__VA_ARGS__}) / sizeof(void *),                    \
            (const struct kp_digest *[]){__VA_ARGS__})

static void serve(size_t i, struct kp_served_list ids)
{
    struct kp_err err = KP_ERR_INIT;
    stop(&mirrors[i]);
    mirrors[i].port = 0;
    cr_assert_eq(start(&mirrors[i], stock, &ids, &err), 0, "%s", err.message);
}

/* A mirror that says and gives what it likes. */
static void lie(size_t i, const char *says, struct kp_slice gives)
{
    struct kp_err err = KP_ERR_INIT;
    struct kp_http_server_settings http = plain(0);
    stop(&mirrors[i]);
    http.handle = answer;
    http.user = &mirrors[i];
    mirrors[i].says = says;
    mirrors[i].gives = gives;
    cr_assert_eq(kp_http_server_new(&mirrors[i].server, &http, &err), 0, "%s", err.message);
    begin(&mirrors[i]);
}

static char *said(const struct kp_digest *id, unsigned serial, size_t size)
{
    return kp_asprintf("{\"kind\":\"" KP_SERVED_KIND
                       "\",\"accepted\":2000,\"bundles\":[{\"id\":\"%s\",\"serial\":%u,"
                       "\"size\":%zu}]}",
                       kp_digest_hex(id).hex, serial, size);
}

static char *unit_of(const struct kp_served_list *ids)
{
    kp_auto_value(kp_buf) out = KP_BUF(65536);
    kp_buf_adds(&out, "# written by kinstall\n[Service]\nExecStart=/usr/local/bin/kregistry ");
    for (size_t i = 0; i < ids->count; i++) {
        struct kp_digest_text id = kp_digest_hex(&ids->items[i].id);
        kp_buf_addf(&out, "--bundle " FOLDER "/%s.tar.zst --id %s ", id.hex, id.hex);
    }
    kp_buf_addf(&out, "--accepted %llu ", (unsigned long long)ids->accepted);
    kp_buf_adds(&out, "--listen 10.77.0.12:5000 --tls-key /etc/x\nRestart=always\n");
    return kp_buf_steal(&out);
}

static char *read_unit(void)
{
    kp_auto_free char *path = at(UNIT);
    char *text = NULL;
    size_t len;
    cr_assert_eq(kp_file_read(path, 65536, &text, &len, NULL), 0);
    return text;
}

/* As systemd would: what the unit says now. */
static int restart(void *user, struct kp_err *err)
{
    struct kp_served_list ids;
    kp_auto_free char *folder = at(FOLDER), *text = read_unit();
    (void)user;
    restarts++;
    if (refusals && refusals--)
        return kp_fail(err, KP_FAILED, "it does not start");
    stop(&own);
    cr_assert_eq(kp_catch_up_read_unit(&ids, kp_slice_of(text), FOLDER, err), 0);
    return start(&own, folder, &ids, err);
}

/* As kinstall leaves it: the file, and knode's receipt of it. */
static void hold(const struct kp_digest *id)
{
    struct kp_digest_text hex = kp_digest_hex(id);
    kp_auto_free char *from = file_in(stock, id), *path = file_in(FOLDER, id), *to = at(path);
    struct stat st;
    copy(from, to);
    cr_assert_eq(stat(to, &st), 0);
    kp_auto_free char *mark = kp_asprintf("%s.verified", to);
    kp_auto_free char *text =
        kp_asprintf("{\"id\":\"%s\",\"size\":%lld,\"inode\":%lld,\"seconds\":%lld,\"nanoseconds\":"
                    "%lld}\n",
                    hex.hex, (long long)st.st_size, (long long)st.st_ino,
                    (long long)st.st_mtim.tv_sec, (long long)st.st_mtim.tv_nsec);
    cr_assert_eq(kp_file_write_atomic(mark, kp_slice_of(text), 0600, NULL), 0);
}

static void write_unit(const char *text)
{
    kp_auto_free char *path = at(UNIT), *folder = kp_path_dir(path);
    cr_assert_eq(kp_mkdirs(folder, 0755, NULL), 0);
    cr_assert_eq(kp_file_write_atomic(path, kp_slice_of(text), 0644, NULL), 0);
}

static void keep_key(void)
{
    kp_auto_free char *folder = at("/etc/kpack/trusted.d"),
                      *path = at("/etc/kpack/trusted.d/x.pub");
    cr_assert_eq(kp_mkdirs(folder, 0755, NULL), 0);
    copy(f.public_key, path);
}

static void keep_serial(uint64_t serial)
{
    kp_auto_free char *path = at("/var/lib/kpack/bundles.json");
    cr_assert_eq(kp_serials_raise(path, NAME, serial, NULL), 0);
}

static uint64_t kept_serial(void)
{
    kp_auto_free char *path = at("/var/lib/kpack/bundles.json");
    uint64_t out;
    cr_assert_eq(kp_serials_highest(path, NAME, &out, NULL), 0);
    return out;
}

/* The node serves a (serial 5); the others serve b (serial 6) and a. */
static void setup(void)
{
    static struct kp_base listed;
    char folder[] = "/tmp/kpack-catch-XXXXXX";
    struct kp_err err = KP_ERR_INIT;
    kp_net_init();
    fixture_open(&f);
    root = kp_strdup(mkdtemp(folder));
    stock = kp_path_join(f.dir, "stock");
    f.manifest->name = NAME;
    f.manifest->serial = 5;
    a = make();
    f.manifest->serial = 6;
    b = make();
    listed = (struct kp_base){b, NAME, 6};
    f.manifest->serial = 7;
    f.manifest->bases = &listed;
    f.manifest->base_count = 1;
    f.manifest->blobs[0].base = &listed.id;
    delta = make();
    f.manifest->base_count = 0;
    f.manifest->blobs[0].base = NULL;
    state = KP_NODE_STATE(root);
    keep_key();
    keep_serial(5);
    hold(&a);
    struct kp_served_list ids = LIST(&a);
    kp_auto_free char *unit = unit_of(&ids), *here = at(FOLDER);
    write_unit(unit);
    cr_assert_eq(start(&own, here, &ids, &err), 0, "%s", err.message);
    serve(0, LIST(&b, &a));
    serve(1, LIST(&b, &a));
}

static void teardown(void)
{
    stop(&own);
    stop(&mirrors[0]);
    stop(&mirrors[1]);
    kp_node_state_release(&state);
    fixture_close(&f);
    (void)!kp_remove_tree(root, NULL);
    kp_free(root);
    kp_free(stock);
}

TestSuite(catch_up, .init = setup, .fini = teardown);

static enum kp_caught_up look(int *failed, struct kp_err *err)
{
    enum kp_caught_up result = KP_CAUGHT_UP_NOTHING;
    char *owned[3];
    for (size_t i = 0; i < 3; i++)
        owned[i] = kp_asprintf("http://127.0.0.1:%u", i < 2 ? mirrors[i].port : own.port);
    how =
        (struct kp_node_catching){.folder = FOLDER, .own = owned[2], .ca = "", .restart = restart};
    how.mirrors.items[how.mirrors.count++] = owned[0];
    how.mirrors.items[how.mirrors.count++] = owned[1];
    kp_node_state_release(&state); // as another process would find it
    *err = KP_ERR_INIT;
    *failed = kp_node_catch_up(&state, &how, &result, err);
    for (size_t i = 0; i < 3; i++)
        kp_free(owned[i]);
    return result;
}

static void expect_done(void)
{
    struct kp_err err;
    int failed;
    cr_expect_eq(look(&failed, &err), KP_CAUGHT_UP_DONE, "%s", err.message);
    cr_assert_eq(failed, 0, "%s", err.message);
    cr_expect_eq(look(&failed, &err), KP_CAUGHT_UP_NOTHING, "and once more: %s", err.message);
}

static void expect_unit(struct kp_served_list ids)
{
    kp_auto_free char *wanted = unit_of(&ids), *text = read_unit();
    cr_expect_str_eq(text, wanted);
    cr_expect_eq(own.serves.count, ids.count);
}

static void expect_same_file(const struct kp_digest *id)
{
    struct kp_digest one, other;
    uint64_t size;
    kp_auto_free char *from = file_in(stock, id), *path = file_in(FOLDER, id), *to = at(path);
    cr_assert_eq(kp_sha256_file(from, &one, &size, NULL), 0);
    cr_assert_eq(kp_sha256_file(to, &other, &size, NULL), 0);
    cr_expect(kp_digest_equal(&one, &other));
}

/* Nothing of it came, nothing of it is remembered, and what was served is served. */
static void expect_refused(const struct kp_digest *id, uint64_t serial, const char *reason)
{
    struct kp_err err;
    int failed;
    kp_auto_free char *before = read_unit(), *path = file_in(FOLDER, id), *real = at(path);
    kp_auto_free char *partial = kp_asprintf("%s.partial", real);
    cr_expect_eq(look(&failed, &err), KP_CAUGHT_UP_NOTHING);
    kp_auto_free char *after = read_unit();
    cr_expect_eq(failed, -1);
    cr_expect_str_eq(kp_err_reason(&err), reason, "%s", err.message);
    cr_expect_str_eq(before, after);
    cr_expect(!kp_file_exists(real) && !kp_file_exists(partial));
    cr_expect_eq(kept_serial(), serial);
    cr_expect_eq(restarts, 0);
}

Test(catch_up, what_the_others_have_comes_and_is_served)
{
    expect_done();
    expect_unit(LIST(&b, &a));
    expect_same_file(&b);
    cr_expect_eq(kept_serial(), 6);
    cr_expect_eq(restarts, 1);
}

Test(catch_up, nobody_answers_or_nobody_has_more)
{
    struct kp_err err;
    int failed;
    serve(0, LIST(&a));
    stop(&mirrors[1]);
    cr_expect_eq(look(&failed, &err), KP_CAUGHT_UP_NOTHING);
    stop(&mirrors[0]);
    cr_expect_eq(look(&failed, &err), KP_CAUGHT_UP_NOTHING);
    cr_expect_eq(failed, 0);
    cr_expect_eq(restarts, 0);
}

/* Where it was cut off: good bytes, and some of another's making. */
Test(catch_up, what_came_before_is_gone_on_from)
{
    kp_auto_free char *from = file_in(stock, &b), *path = file_in(FOLDER, &b), *real = at(path);
    kp_auto_free char *partial = kp_asprintf("%s.partial", real);
    kp_auto_free char *data = NULL;
    size_t len;
    cr_assert_eq(kp_file_read(from, (size_t)64 << 20, &data, &len, NULL), 0);
    for (size_t i = 0; i < 3; i++) {
        static const size_t parts[] = {700, 60000, 0};
        size_t part = parts[i] ? parts[i] : len - 5;
        kp_auto_free char *bytes = kp_alloc(part);
        memcpy(bytes, data, part);
        bytes[i == 2 ? part - 1 : 0] ^= (char)(i ? 1 : 0); // the first is as it was
        cr_assert_eq(kp_file_write_atomic(partial, (struct kp_slice){bytes, part}, 0600, NULL), 0);
        expect_done();
        expect_same_file(&b);
        cr_assert_eq(unlink(real), 0);
    }
}

Test(catch_up, a_delta_comes_with_its_base)
{
    serve(0, LIST(&delta, &b, &a));
    expect_done();
    expect_unit(LIST(&delta, &b, &a));
    expect_same_file(&b);
    expect_same_file(&delta);
}

Test(catch_up, a_delta_whose_base_nobody_serves_is_not_served)
{
    struct kp_err err;
    int failed;
    struct kp_served_list ids = LIST(&a);
    kp_auto_free char *from = file_in(stock, &delta), *data = NULL;
    kp_auto_free char *says = NULL;
    size_t len;
    cr_assert_eq(kp_file_read(from, (size_t)64 << 20, &data, &len, NULL), 0);
    says = said(&delta, 7, len);
    serve(0, ids);
    lie(1, says, (struct kp_slice){data, len});
    cr_expect_eq(look(&failed, &err), KP_CAUGHT_UP_NOTHING);
    cr_expect_str_eq(kp_err_reason(&err), "no_source", "%s", err.message);
    expect_unit(ids);
    cr_expect_eq(kept_serial(), 5);
}

Test(catch_up, a_file_that_is_gone_comes_by_its_id)
{
    kp_auto_free char *path = file_in(FOLDER, &a), *real = at(path);
    struct kp_served_list ids = LIST(&a);
    serve(0, ids);
    serve(1, ids);
    cr_assert_eq(unlink(real), 0);
    expect_done();
    expect_same_file(&a);
    expect_unit(ids);
    cr_expect_eq(restarts, 1);
}

/* The power went between the unit and kregistry's start. */
Test(catch_up, a_registry_that_serves_other_ones_than_its_unit_says)
{
    struct kp_served_list ids = LIST(&b, &a);
    kp_auto_free char *unit = unit_of(&ids);
    hold(&b);
    write_unit(unit);
    expect_done();
    cr_expect_eq(own.serves.count, 2);
    cr_expect_eq(restarts, 1);
}

Test(catch_up, it_was_whole_already_and_is_judged_all_the_same)
{
    hold(&b);
    keep_serial(9);
    struct kp_err err;
    int failed;
    look(&failed, &err);
    cr_expect_str_eq(kp_err_reason(&err), "rollback", "%s", err.message);
    expect_unit(LIST(&a));
}

Test(catch_up, what_was_served_before_stays_only_where_it_is_here)
{
    struct kp_digest c;
    f.manifest->serial = 4;
    c = make();
    serve(0, LIST(&b, &c));
    stop(&mirrors[1]);
    expect_done();
    expect_unit(LIST(&b)); // c was never accepted here
    cr_expect_eq(own.serves.count, 1);
}

/* Away was the one that serves the higher serial: the site went back from it since. */
Test(catch_up, what_the_site_went_back_from_is_not_taken)
{
    struct kp_err err;
    int failed;
    struct kp_served_list ids = LIST(&a), later = LIST(&b, &a);
    kp_auto_free char *unit = NULL;
    ids.accepted = 3000;
    unit = unit_of(&ids);
    write_unit(unit);
    cr_assert_eq(restart(NULL, &err), 0);
    cr_expect_eq(look(&failed, &err), KP_CAUGHT_UP_NOTHING);
    cr_expect_eq(failed, 0, "%s", err.message);
    later.accepted = (uint64_t)time(NULL) + 172800; // no time at all
    serve(0, later);
    stop(&mirrors[1]);
    cr_expect_eq(look(&failed, &err), KP_CAUGHT_UP_NOTHING);
    expect_unit(ids);
}

Test(catch_up, another_key_signed_it)
{
    struct kp_key *right = f.key;
    struct kp_err err;
    struct kp_digest id, key;
    kp_auto_free char *folder = kp_path_join(f.dir, "other"), *path = NULL;
    cr_assert_eq(kp_key_generate(folder, "other", &key, &err), 0, "%s", err.message);
    path = kp_path_join(folder, "other.key");
    cr_assert_eq(kp_key_load(&f.key, path, NULL, &err), 0, "%s", err.message);
    f.manifest->serial = 8;
    id = make();
    kp_key_free(f.key);
    f.key = right;
    serve(0, LIST(&id, &a));
    stop(&mirrors[1]);
    expect_refused(&id, 5, "unknown_key");
    // What one cannot prove does not keep the other's from being taken.
    serve(1, LIST(&b, &a));
    expect_done();
    expect_unit(LIST(&b, &a));
}

Test(catch_up, no_key_is_kept_here)
{
    kp_auto_free char *path = at("/etc/kpack/trusted.d/x.pub");
    cr_assert_eq(unlink(path), 0);
    expect_refused(&b, 5, "no_trusted_keys");
}

Test(catch_up, it_was_revoked)
{
    kp_auto(kp_revoked) set = kp_revoked_new();
    kp_auto_free char *folder = at("/etc/kpack/trusted.d");
    cr_assert_eq(kp_revoked_add(set, KP_REVOKED_BUNDLE, &b, "bad", NULL), 0);
    cr_assert_eq(kp_revoked_keep(set, folder, NULL, NULL), 0);
    expect_refused(&b, 5, "revoked");
}

Test(catch_up, it_is_older_than_what_this_node_has_seen)
{
    keep_serial(7);
    expect_refused(&b, 7, "rollback");
}

Test(catch_up, it_has_expired)
{
    struct kp_digest id;
    f.manifest->serial = 8;
    f.manifest->expires = "2025-01-01T00:00:00Z";
    id = make();
    serve(0, LIST(&id));
    serve(1, LIST(&id));
    expect_refused(&id, 5, "expired");
}

/* Its serial is what a mirror says, until the bundle itself says otherwise. */
Test(catch_up, an_older_one_under_a_high_number)
{
    struct kp_digest id;
    kp_auto_free char *data = NULL, *path = NULL, *says = NULL;
    size_t len;
    f.manifest->serial = 5;
    f.manifest->name = "another";
    id = make();
    path = file_in(stock, &id);
    cr_assert_eq(kp_file_read(path, (size_t)64 << 20, &data, &len, NULL), 0);
    says = said(&id, 99, len);
    stop(&mirrors[1]);
    lie(0, says, (struct kp_slice){data, len});
    expect_refused(&id, 5, "rollback");
}

Test(catch_up, what_is_given_is_not_what_was_said)
{
    kp_auto_free char *from = file_in(stock, &b), *data = NULL;
    kp_auto_free char *junk = fixture_bytes(100000, 3);
    size_t len;
    cr_assert_eq(kp_file_read(from, (size_t)64 << 20, &data, &len, NULL), 0);
    serve(1, LIST(&a));
    for (int other_size = 0; other_size < 2; other_size++) {
        kp_auto_free char *says = said(&b, 9, other_size ? 10 * len : len);
        lie(0, says, other_size ? (struct kp_slice){data, len} : (struct kp_slice){junk, 100000});
        expect_refused(&b, 5, "damaged");
    }
}

Test(catch_up, nonsense_is_passed_over)
{
    static const char *const says[] = {
        "",
        "[]",
        "{}",
        "{\"kind\":\"kpack.served/v1\"}",
        "{\"kind\":\"x\",\"bundles\":[]}",
        "{\"kind\":\"kpack.served/v1\",\"accepted\":2000,\"bundles\":[{\"id\":\"../"
        "x\",\"serial\":9,\"size\":9}]}",
        "{\"kind\":\"kpack.served/"
        "v1\",\"accepted\":2000,\"bundles\":[{\"id\":1,\"serial\":-9,\"size\":9}]}"};
    struct kp_err err;
    int failed;
    serve(1, LIST(&a));
    for (size_t i = 0; i < KP_COUNT(says); i++) {
        lie(0, says[i], (struct kp_slice){NULL, 0});
        cr_expect_eq(look(&failed, &err), KP_CAUGHT_UP_NOTHING, "%zu", i);
        cr_expect_eq(failed, 0, "%zu: %s", i, err.message);
    }
}

Test(catch_up, a_run_of_kinstall_goes_first)
{
    struct kp_err err;
    int failed;
    kp_auto_free char *path = at(KP_NODE_LOCK), *holder = NULL;
    kp_auto_fd int fd = -1;
    bool held;
    cr_assert_eq(kp_file_lock(path, &fd, &held, &holder, &err), 0);
    cr_expect_eq(look(&failed, &err), KP_CAUGHT_UP_BUSY);
    expect_unit(LIST(&a));
    close(fd);
    fd = -1;
    expect_done();
}

Test(catch_up, a_registry_that_does_not_take_it_serves_as_before)
{
    struct kp_err err;
    int failed;
    refusals = 1;
    look(&failed, &err);
    cr_expect_eq(failed, -1);
    cr_expect_eq(restarts, 2);
    expect_unit(LIST(&a));
    expect_done(); // with the next look
    expect_unit(LIST(&b, &a));
}

Test(catch_up, a_unit_of_somebody_else_is_left_alone)
{
    static const char *const texts[] = {
        "[Service]\n", "ExecStart=/usr/local/bin/kregistry --listen x\n",
        "ExecStart=/bin/kregistry --bundle /else/x.tar.zst --id x --listen x\n",
        "ExecStart=a b\nExecStart=c d\n"};
    struct kp_err err;
    int failed;
    for (size_t i = 0; i < KP_COUNT(texts); i++) {
        write_unit(texts[i]);
        cr_expect_eq(look(&failed, &err), KP_CAUGHT_UP_NOTHING);
        cr_expect_str_eq(kp_err_reason(&err), "foreign_unit", "%zu", i);
        kp_auto_free char *text = read_unit();
        cr_expect_str_eq(text, texts[i]);
    }
}
