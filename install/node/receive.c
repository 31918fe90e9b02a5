/* SPDX-License-Identifier: Apache-2.0 */
/* Op receive, and what a mirror fetches by itself: a whole bundle to a path, resumed where it was
 * cut off, verified before rename. */
#include "install/node/fetch.h"

#include "bundle/bundle.h"
#include "core/file.h"
#include "core/interrupt.h"
#include "core/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOTE_EVERY 0.25 /* seconds between two words on progress */
#define RECEIPT_MAX ((size_t)4096)

struct receiving {
    const struct kp_node_arriving *how;
    char *real, *partial, *receipt;
    int fd;
    uint64_t have, front; /* front: bytes of bundle.json and bundle.sig; 0: not known yet */
    bool judged;
    double noted;
};

static void receiving_release(struct receiving *r)
{
    if (r->fd >= 0)
        close(r->fd);
    kp_free(r->real);
    kp_free(r->partial);
    kp_free(r->receipt);
}
KP_DEFINE_AUTO_VALUE(receiving);

static struct receiving receiving_of(const struct kp_node_arriving *how)
{
    struct receiving r = {.how = how, .fd = -1};
    r.real = kp_node_own(how->state, how->path);
    r.partial = kp_asprintf("%s.partial", r.real);
    r.receipt = kp_asprintf("%s.verified", r.real);
    return r;
}

static int note_progress(struct receiving *r, struct kp_err *err)
{
    double now = kp_now();
    if (!r->how->request || (now - r->noted < NOTE_EVERY && r->have < r->how->size))
        return 0;
    r->noted = now;
    kp_auto_json note = json_pack("{s:I}", "done", (json_int_t)r->have);
    return kp_node_note(r->how->request, note, err);
}

static bool given_up(const struct receiving *r)
{
    return r->how->request ? kp_node_cancelled(r->how->request) : kp_interrupted();
}

/* What is there is of no use for resuming. */
static int drop(struct receiving *r)
{
    (void)unlink(r->partial);
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
    r->front = 0;
    return -1;
}

static int measure_front(struct receiving *r, struct kp_err *err)
{
    uint8_t head[KP_BUNDLE_HEAD];
    if (kp_pread_full(r->fd, head, sizeof(head), 0, err) < 0)
        return -1;
    return kp_bundle_front_size(head, &r->front)
               ? 0
               : kp_fail_as(err, KP_DAMAGED, "damaged", "it does not begin as a bundle does");
}

/* Signed by whom, and may it come here: known before the rest of it comes. */
static int judge_front(struct receiving *r, const char *path, struct kp_err *err)
{
    kp_auto(kp_bundle) front = NULL;
    if (kp_bundle_open_front(&front, path, NULL, err) < 0)
        return -1;
    struct kp_digest_text id = kp_digest_hex(&kp_bundle_manifest(front)->id);
    if (strcmp(id.hex, r->how->id) != 0)
        return kp_fail_as(err, KP_DAMAGED, "damaged", "bundle %s came instead of %s", id.hex,
                          r->how->id);
    if (kp_bundle_size(front) != r->how->size)
        return kp_fail_as(err, KP_DAMAGED, "damaged", "it has %llu bytes, %llu were announced",
                          (unsigned long long)kp_bundle_size(front),
                          (unsigned long long)r->how->size);
    if (r->how->judge && r->how->judge(r->how->user, front, err) < 0)
        return -1;
    r->judged = true;
    return 0;
}

static int look_at_front(struct receiving *r, struct kp_err *err)
{
    if (!r->how->look_first || r->judged || r->have < KP_BUNDLE_HEAD)
        return 0;
    if ((!r->front && measure_front(r, err) < 0) ||
        (r->have >= r->front && judge_front(r, r->partial, err) < 0))
        return drop(r);
    return 0;
}

static int take(void *user, const void *data, size_t len, struct kp_err *err)
{
    struct receiving *r = user;
    if (r->have + len > r->how->size)
        return kp_fail_as(err, KP_DAMAGED, "too_large", "more than the announced %llu bytes",
                          (unsigned long long)r->how->size);
    if (given_up(r))
        return kp_fail_as(err, KP_FAILED, "interrupted", "given up");
    if (kp_pwrite_full(r->fd, data, len, r->have, err) < 0)
        return kp_wrap(err, "%s", r->how->path);
    r->have += len;
    return look_at_front(r, err) < 0 ? -1 : note_progress(r, err);
}

static int begin(void *user, uint64_t *offset, struct kp_err *err)
{
    struct receiving *r = user;
    struct stat st;
    if (r->fd < 0)
        r->fd = open(r->partial, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (r->fd < 0 || fstat(r->fd, &st) < 0)
        return kp_fail_sys(err, errno, "create %s", r->partial);
    r->have = (uint64_t)st.st_size <= r->how->size ? (uint64_t)st.st_size : 0;
    if (ftruncate(r->fd, (off_t)r->have) < 0)
        return kp_fail_sys(err, errno, "shorten %s", r->partial);
    *offset = r->have;
    return look_at_front(r, err);
}

static json_t *receipt_json(const struct receiving *r)
{
    struct stat st;
    if (stat(r->real, &st) < 0 || (r->how->size && (uint64_t)st.st_size != r->how->size))
        return NULL;
    return json_pack("{s:s, s:I, s:I, s:I, s:I}", "id", r->how->id, "size", (json_int_t)st.st_size,
                     "inode", (json_int_t)st.st_ino, "seconds", (json_int_t)st.st_mtim.tv_sec,
                     "nanoseconds", (json_int_t)st.st_mtim.tv_nsec);
}

// Verified once and not touched since: a second hash pass would tell nothing new.
static bool is_there(const struct receiving *r)
{
    struct kp_err ignored;
    kp_auto_json now = receipt_json(r);
    kp_auto_json then = NULL;
    kp_auto_free char *text = NULL;
    size_t len;
    return now && kp_file_exists(r->receipt) &&
           kp_file_read(r->receipt, RECEIPT_MAX, &text, &len, &ignored) == 0 &&
           kp_json_parse(&then, (struct kp_slice){text, len}, RECEIPT_MAX, "receipt", &ignored) ==
               0 &&
           json_equal(now, then);
}

static int verify(struct receiving *r, struct kp_err *err)
{
    struct kp_node_state *state = r->how->state;
    kp_auto(kp_bundle) bundle = NULL;
    struct kp_digest pinned;
    if (r->how->pinned && !kp_digest_parse(kp_slice_of(r->how->id), &pinned))
        return kp_fail_as(err, KP_USAGE, "bad_request", "\"%s\" is no id", r->how->id);
    if (r->how->pinned)
        return kp_bundle_open_id(&bundle, r->partial, &pinned, err) < 0
                   ? -1
                   : kp_bundle_verify(bundle, NULL, NULL, err);
    if (kp_bundle_open(&bundle, r->partial, state->insecure ? NULL : state->trust, NULL, err) < 0)
        return -1;
    struct kp_digest_text id = kp_digest_hex(&kp_bundle_manifest(bundle)->id);
    if (strcmp(id.hex, r->how->id) != 0)
        return kp_fail_as(err, KP_DAMAGED, "damaged", "received bundle %s instead of %s", id.hex,
                          r->how->id);
    return kp_bundle_verify(bundle, NULL, NULL, err);
}

static int transfer(struct receiving *r, const struct kp_node_mirrors *mirrors, struct kp_err *err)
{
    uint64_t offset;
    if (mirrors->urls) {
        kp_auto_free char *path = kp_asprintf("/bundle/%s", r->how->id);
        struct kp_node_source source = {path, r->how->size, begin, take, r};
        return kp_node_from_mirrors(mirrors, &source, err);
    }
    if (begin(r, &offset, err) < 0)
        return -1;
    kp_auto_json note = json_pack("{s:b, s:I}", "need", 1, "offset", (json_int_t)offset);
    if (kp_node_note(r->how->request, note, err) < 0)
        return -1;
    return kp_node_from_connection(r->how->request, take, r, err);
}

static int finish(struct receiving *r, struct kp_err *err)
{
    if (r->have != r->how->size)
        return kp_fail_as(err, KP_DAMAGED, "truncated", "%llu bytes of %llu came",
                          (unsigned long long)r->have, (unsigned long long)r->how->size);
    if (fsync(r->fd) < 0)
        return kp_fail_sys(err, errno, "write %s", r->partial);
    if (verify(r, err) < 0)
        return drop(r);
    if (fchmod(r->fd, 0644) < 0 || rename(r->partial, r->real) < 0)
        return kp_fail_sys(err, errno, "rename %s", r->partial);
    kp_auto_json receipt = receipt_json(r);
    kp_auto_free char *text = kp_json_dump(receipt, true);
    if (kp_sync_parent(r->real, err) < 0)
        return -1;
    return kp_file_write_atomic(r->receipt, kp_slice_of(text), 0600, err);
}

int kp_node_bundle_arrive(const struct kp_node_arriving *how, const struct kp_node_mirrors *mirrors,
                          struct kp_err *err)
{
    kp_auto_value(receiving) r = receiving_of(how);
    kp_auto_free char *folder = kp_path_dir(r.real);
    if (kp_mkdirs(folder, 0755, err) < 0 || transfer(&r, mirrors, err) < 0 || finish(&r, err) < 0)
        return -1;
    return 0;
}

bool kp_node_bundle_is_there(const struct kp_node_arriving *how)
{
    kp_auto_value(receiving) r = receiving_of(how);
    return is_there(&r);
}

/* A bundle is known by its id: its file may get further signatures. */
int kp_node_note_arrived(const struct kp_node_arriving *how, bool changed, json_t *result,
                         struct kp_err *err)
{
    struct kp_node_placed placed = {.op = "receive",
                                    .path = how->path,
                                    .mode = 0644,
                                    .size = how->size,
                                    .digest_name = "id",
                                    .changed = changed};
    if (!kp_digest_parse(kp_slice_of(how->id), &placed.sha256))
        return 0;
    return kp_node_note_placed(how->state, &placed, result, err);
}

static int receive(const struct kp_node_arriving *how, const struct kp_node_mirrors *mirrors,
                   bool dry_run, json_t **result, struct kp_err *err)
{
    bool there = kp_node_bundle_is_there(how);
    if (!there && kp_node_commit(how->state, dry_run, err) < 0)
        return -1;
    if (!there && !dry_run && kp_node_bundle_arrive(how, mirrors, err) < 0)
        return -1;
    kp_auto_free char *diff =
        kp_asprintf("bundle %.12s to %s (%s)\n", how->id, how->path, kp_text_bytes(how->size).s);
    *result = kp_node_change(!there, there ? NULL : diff);
    return dry_run ? 0 : kp_node_note_arrived(how, !there, *result, err);
}

/* A base of the accepted delta: its id stands in what was signed, so no key is asked for. */
static bool is_base(const struct kp_manifest *m, const char *text)
{
    struct kp_digest id;
    if (!kp_digest_parse(kp_slice_of(text), &id))
        return false;
    for (size_t i = 0; i < m->base_count; i++)
        if (kp_digest_equal(&m->bases[i].id, &id))
            return true;
    return false;
}

int kp_node_op_receive(struct kp_node_request *request, const json_t *args, json_t **result,
                       struct kp_err *err)
{
    struct kp_node_state *state = kp_node_request_state(request);
    struct kp_node_arriving how = {.state = state, .request = request};
    kp_auto_value(kp_node_mirrors) mirrors = {0};
    struct kp_digest_text id = kp_digest_hex(&state->manifest->id);
    if (kp_node_path(args, "path", &how.path, err) < 0 ||
        kp_node_number(args, "size", INT64_MAX, &how.size, err) < 0 ||
        kp_node_text(args, "id", KP_SHA256_HEX, &how.id, err) < 0)
        return -1;
    how.pinned = is_base(state->manifest, how.id);
    if (strcmp(how.id, id.hex) != 0 && !how.pinned)
        return kp_fail_as(err, KP_UNTRUSTED, "not_listed",
                          "bundle %s was not accepted on this connection", how.id);
    if (kp_node_read_mirrors(args, &mirrors, err) < 0 ||
        receive(&how, &mirrors, kp_node_flag(args, "dry_run"), result, err) < 0)
        return kp_wrap(err, "bundle to %s", how.path);
    return 0;
}
