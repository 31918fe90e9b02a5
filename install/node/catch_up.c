/* SPDX-License-Identifier: Apache-2.0 */
#include "install/node/catch_up.h"

#include "bundle/policy.h"
#include "core/file.h"
#include "core/interrupt.h"
#include "core/text.h"
#include "install/node/fetch.h"

#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define UNIT "kregistry.service"
#define UNIT_FILE "/etc/systemd/system/" UNIT
#define RESERVE ((uint64_t)256 << 20) /* bytes that stay free beside a bundle */
#define CONNECT_S 5.0
#define CLOCK_S 86400 /* that another mirror's time may be ahead */
#define SERVE_S 30.0
#define PAUSE_NS 200000000L

struct catching {
    struct kp_node_state *state;
    const struct kp_node_catching *how;
    char *unit, *ca;
    size_t unit_len, ca_len;
    struct kp_served_list own;   /* of kregistry.service: accepted here; sizes are not known */
    struct kp_served_list *said; /* of each mirror, as in how->mirrors; count 0: no answer */
    uint64_t serial;             /* of what is served first here; 0: not known */
    bool lost, stale; /* files are gone; kregistry serves other ones than its unit says */
};

static void catching_release(struct catching *c)
{
    kp_free(c->unit);
    kp_free(c->ca);
    kp_free(c->said);
}
KP_DEFINE_AUTO_VALUE(catching);

static char *path_of(const struct catching *c, const struct kp_digest *id)
{
    return kp_asprintf("%s/%s.tar.zst", c->how->folder, kp_digest_hex(id).hex);
}

/* --- looking --- */

static int ask(const struct catching *c, const char *url, struct kp_served_list *out,
               struct kp_err *err)
{
    kp_auto(kp_http_client) client = NULL;
    kp_auto_free char *whole = kp_asprintf("%s/bundles", url), *text = NULL;
    struct kp_http_settings settings = {
        .ca = {c->ca, c->ca_len}, .connect_timeout = CONNECT_S, .stall_seconds = CONNECT_S};
    size_t len;
    out->count = 0;
    if (kp_http_client_new(&client, &settings, err) < 0 ||
        kp_http_get_text(client, whole, KP_SERVED_TEXT_MAX, &text, &len, err) < 0)
        return -1;
    if (kp_served_parse(out, (struct kp_slice){text, len}, url, err) == 0)
        return 0;
    out->count = 0;
    return -1;
}

static bool same_ids(const struct kp_served_list *a, const struct kp_served_list *b)
{
    for (size_t i = 0; i < a->count && i < b->count; i++)
        if (!kp_digest_equal(&a->items[i].id, &b->items[i].id))
            return false;
    return a->count == b->count;
}

static bool is_there(const struct catching *c, const struct kp_digest *id)
{
    struct kp_digest_text hex = kp_digest_hex(id);
    kp_auto_free char *path = path_of(c, id);
    struct kp_node_arriving how = {.state = c->state, .path = path, .id = hex.hex};
    return kp_node_bundle_is_there(&how);
}

static uint64_t serial_of(const struct catching *c, const struct kp_digest *id)
{
    kp_auto_free char *path = path_of(c, id), *real = kp_node_own(c->state, path);
    kp_auto(kp_bundle) bundle = NULL;
    struct kp_err ignored;
    return kp_bundle_open_id(&bundle, real, id, &ignored) < 0 ? 0
                                                              : kp_bundle_manifest(bundle)->serial;
}

/* *mirror false: kregistry, or the CA of its mirrors, was not placed here yet. */
static int read_unit(struct catching *c, bool *mirror, struct kp_err *err)
{
    kp_auto_free char *path = kp_node_own(c->state, UNIT_FILE);
    *mirror = kp_file_exists(path) && (!c->how->ca[0] || kp_file_exists(c->how->ca));
    if (!*mirror)
        return 0;
    if (kp_file_read(path, KP_CATCH_UP_UNIT_MAX, &c->unit, &c->unit_len, err) < 0 ||
        kp_catch_up_read_unit(&c->own, (struct kp_slice){c->unit, c->unit_len}, c->how->folder,
                              err) < 0)
        return -1;
    return c->how->ca[0] ? kp_file_read(c->how->ca, KP_CA_MAX, &c->ca, &c->ca_len, err) : 0;
}

static int look(struct catching *c, bool *mirror, struct kp_err *err)
{
    struct kp_served_list now;
    struct kp_err ignored;
    catching_release(c);
    *c = (struct catching){.state = c->state, .how = c->how};
    if (read_unit(c, mirror, err) < 0)
        return -1;
    c->said = kp_alloc_array(c->how->mirrors.count + 1, sizeof(*c->said));
    if (!*mirror)
        return 0;
    for (size_t i = 0; i < c->how->mirrors.count && !kp_interrupted(); i++)
        (void)!ask(c, c->how->mirrors.items[i], &c->said[i], &ignored); // off, or of an older kind
    c->serial = serial_of(c, &c->own.items[0].id);
    for (size_t i = 0; i < c->own.count; i++)
        c->lost = c->lost || !is_there(c, &c->own.items[i].id);
    c->stale = ask(c, c->how->own, &now, &ignored) == 0 && !same_ids(&now, &c->own);
    return kp_interrupt_check(err);
}

static bool is_newer(const struct catching *c, size_t mirror)
{
    const struct kp_served_list *said = &c->said[mirror];
    // One that the site went back from has the higher serial, and was accepted before.
    return said->count && said->accepted > c->own.accepted &&
           said->accepted <= (uint64_t)time(NULL) + CLOCK_S &&
           !kp_served_find(&c->own, &said->items[0].id) && said->items[0].serial > c->serial;
}

static bool has_something(const struct catching *c)
{
    bool found = c->stale;
    for (size_t i = 0; i < c->how->mirrors.count; i++) {
        found = found || is_newer(c, i);
        for (size_t k = 0; k < c->own.count && c->lost; k++)
            found = found || (kp_served_find(&c->said[i], &c->own.items[k].id) &&
                              !is_there(c, &c->own.items[k].id));
    }
    return found;
}

/* --- fetching --- */

static int check_space(const struct catching *c, const char *path, uint64_t size,
                       struct kp_err *err)
{
    kp_auto_free char *real = kp_node_own(c->state, path), *folder = kp_path_dir(real);
    kp_auto_free char *partial = kp_asprintf("%s.partial", real);
    struct stat st;
    uint64_t left, have = stat(partial, &st) == 0 ? (uint64_t)st.st_size : 0;
    if (kp_mkdirs(folder, 0755, err) < 0 || kp_disk_free(folder, &left, err) < 0)
        return -1;
    if (left >= RESERVE && left - RESERVE >= (size > have ? size - have : 0))
        return 0;
    return kp_fail_as(err, KP_FAILED, "disk_full",
                      "%s: %s are free, %s are needed, and %s to spare", c->how->folder,
                      kp_text_bytes(left).s, kp_text_bytes(size).s, kp_text_bytes(RESERVE).s);
}

/* Bytes of another mirror may have been gone on from: then once more, from the beginning. */
static int fetch_from(const struct catching *c, const char *url, struct kp_node_arriving *how,
                      struct kp_err *err)
{
    const char *urls[] = {url, NULL};
    struct kp_node_mirrors one = {.urls = urls, .count = 1, .ca = {c->ca, c->ca_len}};
    double start = kp_now();
    if (check_space(c, how->path, how->size, err) < 0)
        return -1;
    int failed = kp_node_bundle_arrive(how, &one, err);
    if (failed < 0 && err->code == KP_DAMAGED)
        failed = kp_node_bundle_arrive(how, &one, err);
    if (failed < 0)
        return -1;
    double seconds = kp_now() - start;
    fprintf(stderr, "bundle %.12s came from %s: %s in %s, every byte verified\n", how->id, url,
            kp_text_bytes(how->size).s, kp_text_seconds(seconds).s);
    return 0;
}

static size_t turn(const struct catching *c, size_t i)
{
    // Not always the same one first: it may be the one that gives nothing of use.
    return (i + (size_t)(time(NULL) / 60)) % c->how->mirrors.count;
}

static int note_arrived(const struct kp_node_arriving *how, struct kp_err *err)
{
    kp_auto_json line = json_object();
    return kp_node_note_arrived(how, true, line, err);
}

/* From any mirror that serves it. judge NULL: its id stands in what was accepted. */
static int fetch(struct catching *c, const struct kp_digest *id,
                 int (*judge)(void *, const struct kp_bundle *, struct kp_err *),
                 struct kp_err *err)
{
    struct kp_digest_text hex = kp_digest_hex(id);
    kp_auto_free char *path = path_of(c, id);
    struct kp_node_arriving how = {.state = c->state,
                                   .path = path,
                                   .id = hex.hex,
                                   .pinned = judge == NULL,
                                   .look_first = true,
                                   .judge = judge,
                                   .user = c};
    kp_fail_as(err, KP_MISSING, "no_source", "bundle %.12s: no other mirror serves it", hex.hex);
    for (size_t i = 0; i < c->how->mirrors.count; i++) {
        size_t k = turn(c, i);
        const struct kp_served *served = kp_served_find(&c->said[k], id);
        if (!served)
            continue;
        how.size = served->size;
        *err = KP_ERR_INIT;
        if (fetch_from(c, c->how->mirrors.items[k], &how, err) == 0)
            return note_arrived(&how, err);
        if (kp_interrupted())
            return -1;
    }
    return -1;
}

/* All that stands between what a mirror says and what is served here. */
static int judge(void *user, const struct kp_bundle *front, struct kp_err *err)
{
    const struct catching *c = user;
    const struct kp_manifest *m = kp_bundle_manifest(front);
    const struct kp_policy_allow nothing = {.downgrade = NULL};
    if (kp_node_accept_kept(c->state, kp_bundle_manifest_bytes(front),
                            kp_bundle_signature_block(front), err) < 0 ||
        kp_node_check_serial(c->state, err) < 0 ||
        kp_policy_expiry(m, time(NULL), &nothing, NULL, err) < 0)
        return -1;
    if (m->serial > c->serial)
        return 0;
    return kp_fail_as(err, KP_UNTRUSTED, "rollback", "serial %llu is not newer than %llu",
                      (unsigned long long)m->serial, (unsigned long long)c->serial);
}

/* One that came whole before the power went is judged as one that comes. */
static int judge_there(struct catching *c, const struct kp_digest *id, struct kp_err *err)
{
    kp_auto_free char *path = path_of(c, id), *real = kp_node_own(c->state, path);
    kp_auto(kp_bundle) front = NULL;
    return kp_bundle_open_front(&front, real, NULL, err) < 0 ? -1 : judge(c, front, err);
}

static int bring(struct catching *c, const struct kp_digest *id, struct kp_err *err)
{
    if (is_there(c, id) ? judge_there(c, id, err) < 0 : fetch(c, id, judge, err) < 0)
        return -1;
    const struct kp_manifest *m = c->state->manifest;
    for (size_t i = 0; i < m->base_count; i++)
        if (!is_there(c, &m->bases[i].id) && fetch(c, &m->bases[i].id, NULL, err) < 0)
            return kp_wrap(err, "a base of %.12s", kp_digest_hex(id).hex);
    return 0;
}

/* --- serving --- */

static int restart(const struct catching *c, struct kp_err *err)
{
    if (c->how->restart)
        return c->how->restart(c->how->user, err);
    if (kp_node_systemctl("daemon-reload", NULL, NULL, err) < 0)
        return -1;
    return kp_node_systemctl("restart", NULL, UNIT, err);
}

static int await(const struct catching *c, const struct kp_served_list *wanted, struct kp_err *err)
{
    struct kp_served_list now;
    struct timespec pause = {.tv_nsec = PAUSE_NS};
    for (double start = kp_now(); kp_now() - start < SERVE_S; nanosleep(&pause, NULL))
        if (ask(c, c->how->own, &now, err) == 0 && same_ids(&now, wanted))
            return 0;
    return kp_wrap(err, "kregistry does not serve what it shall after %.0f s", SERVE_S);
}

static int write_unit(const struct catching *c, const char *text, struct kp_err *err)
{
    kp_auto_free char *path = kp_node_own(c->state, UNIT_FILE);
    kp_auto_json line = json_object();
    struct kp_node_placed placed = {
        .op = "put", .path = UNIT_FILE, .mode = 0644, .size = strlen(text), .changed = true};
    kp_sha256(text, strlen(text), &placed.sha256);
    if (kp_file_write_atomic(path, kp_slice_of(text), 0644, err) < 0)
        return -1;
    return kp_node_note_placed(c->state, &placed, line, err);
}

/* Where kregistry does not take it the unit of before comes back. */
static int serve(struct catching *c, const struct kp_served_list *wanted, struct kp_err *err)
{
    struct kp_slice unit = {c->unit, c->unit_len};
    kp_auto_free char *text = kp_catch_up_write_unit(unit, c->how->folder, wanted);
    struct kp_err ignored;
    if (!text)
        return kp_fail_as(err, KP_FAILED, "foreign_unit", UNIT " would become too long");
    if (kp_node_commit(c->state, false, err) < 0 || write_unit(c, text, err) < 0)
        return -1;
    if (restart(c, err) == 0 && await(c, wanted, err) == 0)
        return 0;
    if (write_unit(c, c->unit, &ignored) < 0 || restart(c, &ignored) < 0)
        return kp_wrap(err, "and " UNIT " is not as before: %.300s", ignored.message);
    return -1;
}

/* What of its own list is there: a kregistry that lacks one does not start. */
static struct kp_served_list held(const struct catching *c)
{
    struct kp_served_list out = {.count = 0};
    for (size_t i = 0; i < c->own.count; i++)
        if (is_there(c, &c->own.items[i].id))
            out.items[out.count++] = c->own.items[i];
    return out;
}

/* Behind bring: what that mirror serves is served here. */
static int serve_as(struct catching *c, size_t mirror, struct kp_err *err)
{
    const struct kp_manifest *m = c->state->manifest;
    struct kp_served_list wanted, own = held(c);
    if (kp_catch_up_plan(&wanted, m, &c->said[mirror], &own, err) < 0 || serve(c, &wanted, err) < 0)
        return -1;
    fprintf(stderr, "%s serial %llu (%.12s) is served now, as by %s\n", m->name,
            (unsigned long long)m->serial, kp_digest_hex(&m->id).hex,
            c->how->mirrors.items[mirror]);
    return 0;
}

/* Of the mirrors that were not tried: the one whose first is the newest, and which serves most. */
static bool next_mirror(const struct catching *c, const bool *tried, size_t *out)
{
    bool found = false;
    for (size_t i = 0; i < c->how->mirrors.count; i++) {
        size_t k = turn(c, i);
        if (tried[k] || !is_newer(c, k))
            continue;
        const struct kp_served_list *a = &c->said[k], *b = &c->said[*out];
        bool better = !found || a->items[0].serial > b->items[0].serial ||
                      (a->items[0].serial == b->items[0].serial && a->count > b->count);
        *out = better ? k : *out;
        found = true;
    }
    return found;
}

/* What one mirror says and cannot prove does not keep the others' from being taken. */
static int take_newest(struct catching *c, bool *done, struct kp_err *err)
{
    bool tried[KP_LIST_MAX] = {false};
    size_t mirror = 0;
    int failed = 0;
    while (next_mirror(c, tried, &mirror)) {
        const struct kp_digest *id = &c->said[mirror].items[0].id;
        *err = KP_ERR_INIT;
        if (bring(c, id, err) == 0) {
            *done = true;
            return serve_as(c, mirror, err);
        }
        failed = -1;
        if (kp_interrupted())
            return -1;
        fprintf(stderr, "not taken: %s\n", err->message);
        for (size_t i = 0; i < c->how->mirrors.count; i++) // all that have it were asked
            tried[i] = tried[i] || i == mirror ||
                       (c->said[i].count && kp_digest_equal(&c->said[i].items[0].id, id));
    }
    return failed;
}

static int restore_lost(struct catching *c, bool *came, struct kp_err *err)
{
    int failed = 0;
    for (size_t i = 0; i < c->own.count && c->lost; i++) {
        const struct kp_digest *id = &c->own.items[i].id;
        if (is_there(c, id))
            continue;
        if (fetch(c, id, NULL, err) < 0)
            failed = -1;
        else
            *came = true;
        if (kp_interrupted())
            return -1;
    }
    // Known only now, where the first of them was gone.
    c->serial = serial_of(c, &c->own.items[0].id);
    return failed;
}

static int act(struct catching *c, bool *done, struct kp_err *err)
{
    struct kp_err lost = KP_ERR_INIT;
    bool came = false;
    int missing = restore_lost(c, &came, &lost);
    if (kp_interrupt_check(err) < 0 || take_newest(c, done, err) < 0)
        return -1;
    if (missing < 0 && !*done) {
        *err = lost;
        return -1;
    }
    if (*done || !(came || c->stale))
        return 0;
    *done = true;
    return restart(c, err) < 0 ? -1 : await(c, &c->own, err);
}

static int take_lock(struct kp_node_state *state, int *fd, bool *held_by_other, struct kp_err *err)
{
    kp_auto_free char *path = kp_node_own(state, KP_NODE_LOCK), *holder = NULL;
    static const char who[] = KP_CATCH_UP_HOLDER "\n";
    if (kp_file_lock(path, fd, held_by_other, &holder, err) < 0 || *held_by_other)
        return *held_by_other ? 0 : -1;
    if (ftruncate(*fd, 0) < 0)
        return kp_fail_sys(err, 0, "write %s", KP_NODE_LOCK);
    return kp_pwrite_full(*fd, who, strlen(who), 0, err);
}

int kp_node_catch_up(struct kp_node_state *state, const struct kp_node_catching *how,
                     enum kp_caught_up *result, struct kp_err *err)
{
    kp_auto_value(catching) c = {.state = state, .how = how};
    kp_auto_fd int lock = -1;
    bool mirror, busy = false, done = false;
    *result = KP_CAUGHT_UP_NOTHING;
    if (look(&c, &mirror, err) < 0)
        return -1;
    if (!mirror || !how->mirrors.count || !has_something(&c))
        return 0;
    if (take_lock(state, &lock, &busy, err) < 0)
        return -1;
    if (busy) {
        *result = KP_CAUGHT_UP_BUSY;
        return 0;
    }
    snprintf(state->run_id, sizeof(state->run_id), "catch-up");
    // Whoever held it may have brought it.
    if (look(&c, &mirror, err) < 0 || (mirror && act(&c, &done, err) < 0))
        return -1;
    *result = done ? KP_CAUGHT_UP_DONE : KP_CAUGHT_UP_NOTHING;
    return 0;
}
