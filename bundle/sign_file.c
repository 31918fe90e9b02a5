/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Adding a signature in place. The new block goes to BUNDLE.sign beside the file first, with the
 * bundle's id, and is durable before one byte of the bundle changes; where the power fails in
 * between, the next call finds it there and finishes.
 */
#include "bundle/reader.h"
#include "bundle/slices.h"
#include "bundle/writer.h"
#include "core/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#define ID_LINE (KP_SHA256_HEX + 1)
#define BESIDE_SIZE (ID_LINE + KP_SIG_SIZE)

static int write_beside(const char *path, const struct kp_digest *id, const char *block,
                        struct kp_err *err)
{
    kp_auto_free char *data = kp_alloc(BESIDE_SIZE);
    memcpy(data, kp_digest_hex(id).hex, KP_SHA256_HEX);
    data[KP_SHA256_HEX] = '\n';
    memcpy(data + ID_LINE, block, KP_SIG_SIZE);
    return kp_file_write_atomic(path, (struct kp_slice){data, BESIDE_SIZE}, 0644, err);
}

/* The block that an earlier call left for this very bundle; false where there is none. */
static bool read_beside(const char *path, const struct kp_digest *id, struct kp_signature_set *set)
{
    kp_auto_free char *data = NULL;
    size_t len = 0;
    return kp_file_read(path, BESIDE_SIZE, &data, &len, NULL) == 0 && len == BESIDE_SIZE &&
           memcmp(data, kp_digest_hex(id).hex, KP_SHA256_HEX) == 0 &&
           kp_signatures_parse(set, data + ID_LINE, NULL) == 0;
}

static int place_block(const struct kp_bundle *b, const char *block, struct kp_err *err)
{
    size_t len = kp_layout_entry_size(KP_SIG_SIZE);
    kp_auto_free uint8_t *stored = kp_alloc(len);
    kp_layout_entry_write(stored, KP_PATH_SIGNATURES, block, KP_SIG_SIZE);
    if (kp_medium_write(b->medium, stored, len, b->signatures_at, err) < 0)
        return -1;
    return kp_medium_sync(b->medium, err);
}

/* Held while the block is read, extended and replaced. */
static int lock_file(const char *path, int *out, struct kp_err *err)
{
    kp_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return kp_fail_sys(err, errno, "open");
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        *out = kp_steal_fd(&fd);
        return 0;
    }
    if (errno == EWOULDBLOCK)
        return kp_fail(err, KP_FAILED, "somebody else is signing it");
    return kp_fail_sys(err, errno, "lock");
}

/* A slice is checked alone by the same keys as the bundle. */
static int sign_list(const struct kp_medium *medium, const struct kp_key *key, struct kp_err *err)
{
    const char *first = kp_medium_file(medium, 0, NULL, NULL);
    size_t stem;
    unsigned number;
    if (!kp_slice_name(first, &stem, &number))
        return 0;
    kp_auto_free char *name = kp_strndup(first, stem);
    return kp_slices_sign(name, key, err);
}

/* Makes the signature to be added to an open bundle. */
struct adding {
    const struct kp_key *key;             /* signs here; or */
    const struct kp_signature *signature; /* made elsewhere */
    const struct kp_digest *id;           /* … for this bundle */
};

static int make_signature(const struct kp_bundle *b, const struct adding *adding,
                          struct kp_signature *out, struct kp_err *err)
{
    if (adding->key)
        return kp_sign(adding->key, (struct kp_slice){b->text, b->text_len}, out, err);
    assert(adding->signature && adding->id);
    *out = *adding->signature;
    if (kp_digest_equal(adding->id, &b->manifest->id))
        return 0;
    return kp_fail_as(err, KP_UNTRUSTED, "wrong_id", "this is bundle %s, not %s",
                      kp_digest_hex(&b->manifest->id).hex, kp_digest_hex(adding->id).hex);
}

static int add_to_bundle(struct kp_bundle *b, const struct adding *adding, struct kp_err *err)
{
    kp_auto_free char *beside = kp_asprintf("%s" KP_SIGN_SUFFIX, b->path);
    kp_auto_free struct kp_signature_set *set = kp_alloc(sizeof(*set));
    kp_auto_free char *block = kp_alloc(KP_SIG_SIZE);
    struct kp_signature signature;
    if (kp_reader_parse(b, err) < 0)
        return -1;
    if (!read_beside(beside, &b->manifest->id, set) &&
        kp_signatures_parse(set, b->signatures, err) < 0)
        return -1;
    if (make_signature(b, adding, &signature, err) < 0 ||
        kp_signature_add(set, &signature, err) < 0)
        return -1;
    kp_signatures_format(set, block);
    if (write_beside(beside, &b->manifest->id, block, err) < 0 || place_block(b, block, err) < 0)
        return -1;
    if (unlink(beside) < 0)
        return kp_fail_sys(err, errno, "remove %s", beside);
    if (kp_sync_parent(b->path, err) < 0)
        return -1;
    return adding->key ? sign_list(b->medium, adding->key, err) : 0;
}

/* Of slices the first one, which has the signatures, stands for all. */
static int lock_bundle(const char *path, int *lock, struct kp_err *err)
{
    kp_auto(kp_medium) medium = NULL;
    if (kp_medium_open(&medium, path, O_RDONLY, err) < 0)
        return -1;
    return lock_file(kp_medium_file(medium, 0, NULL, NULL), lock, err);
}

static int add_to_file(const char *path, const struct adding *adding, struct kp_err *err)
{
    kp_auto(kp_bundle) b = NULL;
    kp_auto_fd int lock = -1;
    if (lock_bundle(path, &lock, err) < 0 || kp_reader_front(&b, path, O_RDWR, err) < 0 ||
        add_to_bundle(b, adding, err) < 0)
        return kp_wrap(err, "sign %s", path);
    return 0;
}

int kp_bundle_sign_file(const char *path, const struct kp_key *key, struct kp_err *err)
{
    struct adding adding = {.key = key};
    return add_to_file(path, &adding, err);
}

int kp_bundle_attach(const char *path, const struct kp_signature *signature,
                     const struct kp_digest *id, struct kp_err *err)
{
    struct adding adding = {.signature = signature, .id = id};
    return add_to_file(path, &adding, err);
}

int kp_bundle_front(const char *path, char **text, size_t *len, struct kp_signature_set *set,
                    struct kp_err *err)
{
    kp_auto(kp_bundle) b = NULL;
    if (kp_reader_front(&b, path, O_RDONLY, err) < 0 ||
        kp_signatures_parse(set, b->signatures, err) < 0)
        return kp_wrap(err, "%s", path);
    *len = b->text_len;
    *text = kp_steal(&b->text);
    return 0;
}
