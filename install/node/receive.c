/* SPDX-License-Identifier: Apache-2.0 */
/* Op receive: the whole bundle to a path, resumed where it was cut off, verified before rename. */
#include "install/node/fetch.h"

#include "bundle/bundle.h"
#include "core/file.h"
#include "core/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOTE_EVERY 0.25 /* seconds between two words on progress */
#define RECEIPT_MAX ((size_t)4096)

struct receiving {
    struct kp_node_request *request;
    const char *path; /* as asked */
    char *real, *partial, *receipt;
    int fd;
    uint64_t size, have;
    double noted;
    const char *id; /* hex */
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

static int note_progress(struct receiving *r, struct kp_err *err)
{
    double now = kp_now();
    if (now - r->noted < NOTE_EVERY && r->have < r->size)
        return 0;
    r->noted = now;
    kp_auto_json note = json_pack("{s:I}", "done", (json_int_t)r->have);
    return kp_node_note(r->request, note, err);
}

static int take(void *user, const void *data, size_t len, struct kp_err *err)
{
    struct receiving *r = user;
    if (r->have + len > r->size)
        return kp_fail_as(err, KP_DAMAGED, "too_large", "more than the announced %llu bytes",
                          (unsigned long long)r->size);
    if (kp_node_cancelled(r->request))
        return kp_fail_as(err, KP_FAILED, "interrupted", "given up by kinstall");
    if (kp_pwrite_full(r->fd, data, len, r->have, err) < 0)
        return kp_wrap(err, "%s", r->path);
    r->have += len;
    return note_progress(r, err);
}

static int begin(void *user, uint64_t *offset, struct kp_err *err)
{
    struct receiving *r = user;
    struct stat st;
    if (r->fd < 0)
        r->fd = open(r->partial, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (r->fd < 0 || fstat(r->fd, &st) < 0)
        return kp_fail_sys(err, errno, "create %s", r->partial);
    r->have = (uint64_t)st.st_size <= r->size ? (uint64_t)st.st_size : 0;
    if (ftruncate(r->fd, (off_t)r->have) < 0)
        return kp_fail_sys(err, errno, "shorten %s", r->partial);
    *offset = r->have;
    return 0;
}

static json_t *receipt_json(const struct receiving *r)
{
    struct stat st;
    if (stat(r->real, &st) < 0 || (uint64_t)st.st_size != r->size)
        return NULL;
    return json_pack("{s:s, s:I, s:I, s:I, s:I}", "id", r->id, "size", (json_int_t)st.st_size,
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

/* A base of the accepted delta: its id stands in what was signed, so no key is asked for. */
static bool is_base(const struct receiving *r, struct kp_digest *id)
{
    const struct kp_manifest *m = kp_node_request_state(r->request)->manifest;
    if (!kp_digest_parse(kp_slice_of(r->id), id))
        return false;
    for (size_t i = 0; i < m->base_count; i++)
        if (kp_digest_equal(&m->bases[i].id, id))
            return true;
    return false;
}

static int verify(struct receiving *r, struct kp_err *err)
{
    struct kp_node_state *state = kp_node_request_state(r->request);
    kp_auto(kp_bundle) bundle = NULL;
    struct kp_digest base;
    if (is_base(r, &base))
        return kp_bundle_open_id(&bundle, r->partial, &base, err) < 0
                   ? -1
                   : kp_bundle_verify(bundle, NULL, NULL, err);
    if (kp_bundle_open(&bundle, r->partial, state->insecure ? NULL : state->trust, NULL, err) < 0)
        return -1;
    struct kp_digest_text id = kp_digest_hex(&kp_bundle_manifest(bundle)->id);
    if (strcmp(id.hex, r->id) != 0)
        return kp_fail_as(err, KP_DAMAGED, "damaged", "received bundle %s instead of %s", id.hex,
                          r->id);
    return kp_bundle_verify(bundle, NULL, NULL, err);
}

static int transfer(struct receiving *r, const struct kp_node_mirrors *mirrors, struct kp_err *err)
{
    uint64_t offset;
    if (mirrors->urls) {
        kp_auto_free char *path = kp_asprintf("/bundle/%s", r->id);
        struct kp_node_source source = {path, r->size, begin, take, r};
        return kp_node_from_mirrors(mirrors, &source, err);
    }
    if (begin(r, &offset, err) < 0)
        return -1;
    kp_auto_json note = json_pack("{s:b, s:I}", "need", 1, "offset", (json_int_t)offset);
    if (kp_node_note(r->request, note, err) < 0)
        return -1;
    return kp_node_from_connection(r->request, take, r, err);
}

static int finish(struct receiving *r, struct kp_err *err)
{
    if (r->have != r->size)
        return kp_fail_as(err, KP_DAMAGED, "truncated", "%llu bytes of %llu came",
                          (unsigned long long)r->have, (unsigned long long)r->size);
    if (fsync(r->fd) < 0)
        return kp_fail_sys(err, errno, "write %s", r->partial);
    if (verify(r, err) < 0) {
        // What is there is of no use for resuming.
        (void)unlink(r->partial);
        return -1;
    }
    if (fchmod(r->fd, 0644) < 0 || rename(r->partial, r->real) < 0)
        return kp_fail_sys(err, errno, "rename %s", r->partial);
    kp_auto_json receipt = receipt_json(r);
    kp_auto_free char *text = kp_json_dump(receipt, true);
    if (kp_sync_parent(r->real, err) < 0)
        return -1;
    return kp_file_write_atomic(r->receipt, kp_slice_of(text), 0600, err);
}

/* A bundle is known by its id: its file may get further signatures. */
static int note_received(const struct receiving *r, bool dry_run, json_t *result,
                         struct kp_err *err)
{
    struct kp_node_placed placed = {.op = "receive",
                                    .path = r->path,
                                    .mode = 0644,
                                    .size = r->size,
                                    .digest_name = "id",
                                    .changed = json_is_true(json_object_get(result, "changed"))};
    if (dry_run || !kp_digest_parse(kp_slice_of(r->id), &placed.sha256))
        return 0;
    return kp_node_note_placed(kp_node_request_state(r->request), &placed, result, err);
}

static int receive(struct receiving *r, const struct kp_node_mirrors *mirrors, bool dry_run,
                   json_t **result, struct kp_err *err)
{
    kp_auto_free char *folder = kp_path_dir(r->real);
    if (is_there(r)) {
        *result = kp_node_change(false, NULL);
        return note_received(r, dry_run, *result, err);
    }
    if (kp_node_commit(kp_node_request_state(r->request), dry_run, err) < 0)
        return -1;
    if (!dry_run &&
        (kp_mkdirs(folder, 0755, err) < 0 || transfer(r, mirrors, err) < 0 || finish(r, err) < 0))
        return -1;
    kp_auto_free char *diff =
        kp_asprintf("bundle %.12s to %s (%s)\n", r->id, r->path, kp_text_bytes(r->size).s);
    *result = kp_node_change(true, diff);
    return note_received(r, dry_run, *result, err);
}

int kp_node_op_receive(struct kp_node_request *request, const json_t *args, json_t **result,
                       struct kp_err *err)
{
    struct kp_node_state *state = kp_node_request_state(request);
    kp_auto_value(receiving) r = {.request = request, .fd = -1};
    kp_auto_value(kp_node_mirrors) mirrors = {0};
    struct kp_digest_text id = kp_digest_hex(&state->manifest->id);
    struct kp_digest base;
    if (kp_node_path(args, "path", &r.path, err) < 0 ||
        kp_node_number(args, "size", INT64_MAX, &r.size, err) < 0 ||
        kp_node_text(args, "id", KP_SHA256_HEX, &r.id, err) < 0)
        return -1;
    if (strcmp(r.id, id.hex) != 0 && !is_base(&r, &base))
        return kp_fail_as(err, KP_UNTRUSTED, "not_listed",
                          "bundle %s was not accepted on this connection", r.id);
    r.real = kp_node_own(state, r.path);
    r.partial = kp_asprintf("%s.partial", r.real);
    r.receipt = kp_asprintf("%s.verified", r.real);
    if (kp_node_read_mirrors(args, &mirrors, err) < 0 ||
        receive(&r, &mirrors, kp_node_flag(args, "dry_run"), result, err) < 0)
        return kp_wrap(err, "bundle to %s", r.path);
    return 0;
}
