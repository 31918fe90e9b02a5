/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/policy.h"
#include "bundle/reader.h"
#include "bundle/writer.h"

#include "core/file.h"
#include "core/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

void kp_bundle_free(struct kp_bundle *bundle)
{
    if (!bundle)
        return;
    kp_medium_free(bundle->medium);
    for (size_t i = 0; i < KP_BASES_MAX; i++)
        kp_bundle_free(bundle->bases[i]);
    kp_manifest_free(bundle->manifest);
    kp_free(bundle->path);
    kp_free(bundle->text);
    kp_free(bundle->signatures);
    kp_free(bundle->offsets);
    kp_free(bundle->first_leaf);
    kp_free(bundle->first_part);
    kp_free(bundle);
}

static int damaged(struct kp_err *err, const char *entry, uint64_t at, uint64_t len)
{
    return kp_fail_as(err, KP_DAMAGED, "damaged",
                      "%s, bytes %s – %s of the file: not as a bundle has them", entry,
                      kp_text_grouped(at).s, kp_text_grouped(at + len - 1).s);
}

static int ends_early(const struct kp_bundle *b, const char *entry, struct kp_err *err)
{
    return kp_fail_as(err, KP_DAMAGED, "truncated", "%s: the file ends inside it, after %s bytes",
                      entry, kp_text_grouped(b->size).s);
}

struct filling {
    char *at;
};

static void take_content(void *user, const uint8_t *content, size_t len)
{
    struct filling *filling = user;
    memcpy(filling->at, content, len);
    filling->at += len;
}

/* The header frame at `offset`: the size that it claims, all else as it must be. */
static int read_head(const struct kp_bundle *b, const char *path, uint64_t offset, size_t max,
                     uint64_t *size, struct kp_err *err)
{
    uint8_t stored[KP_ENTRY_HEAD_MAX], needed[KP_ENTRY_HEAD_MAX];
    if (b->size - offset < KP_ENTRY_HEAD_MAX)
        return ends_early(b, path, err);
    if (kp_medium_read(b->medium, stored, sizeof(stored), offset, err) < 0)
        return kp_wrap(err, "%s", path);
    if (!kp_layout_claimed_size(stored, size) || !*size || *size > max ||
        kp_layout_entry_head(needed, path, *size) != sizeof(needed) ||
        memcmp(stored, needed, sizeof(needed)) != 0)
        return damaged(err, path, offset, sizeof(stored));
    return 0;
}

/* One of the two entries that stand before what the manifest describes. */
static int read_front_entry(const struct kp_bundle *b, const char *path, uint64_t offset,
                            size_t max, char **out, size_t *len, struct kp_err *err)
{
    uint64_t size;
    if (read_head(b, path, offset, max, &size, err) < 0)
        return -1;
    uint64_t stored_len = kp_layout_entry_size(size) - KP_ENTRY_HEAD_MAX;
    if (b->size - offset - KP_ENTRY_HEAD_MAX < stored_len) // before memory is taken for it
        return ends_early(b, path, err);
    kp_auto_free uint8_t *stored = kp_alloc(stored_len);
    kp_auto_free char *content = kp_alloc(size + 1);
    struct filling filling = {content};
    if (kp_medium_read(b->medium, stored, stored_len, offset + KP_ENTRY_HEAD_MAX, err) < 0)
        return kp_wrap(err, "%s", path);
    if (!kp_layout_blocks_read(stored, size, 0, kp_layout_blocks(size), take_content, &filling))
        return damaged(err, path, offset + KP_ENTRY_HEAD_MAX, stored_len);
    *out = kp_steal(&content);
    *len = size;
    return 0;
}

int kp_reader_front(struct kp_bundle **out, const char *path, int flags, struct kp_err *err)
{
    kp_auto(kp_bundle) b = kp_alloc(sizeof(*b));
    size_t len;
    b->path = kp_strdup(path);
    if (kp_medium_open(&b->medium, path, flags, err) < 0)
        return -1;
    b->size = kp_medium_size(b->medium);
    if (read_front_entry(b, KP_PATH_MANIFEST, 0, KP_MANIFEST_MAX, &b->text, &b->text_len, err) < 0)
        return -1;
    b->signatures_at = kp_layout_entry_size(b->text_len);
    if (read_front_entry(b, KP_PATH_SIGNATURES, b->signatures_at, KP_SIG_SIZE, &b->signatures, &len,
                         err) < 0)
        return -1;
    if (len != KP_SIG_SIZE)
        return damaged(err, KP_PATH_SIGNATURES, b->signatures_at, KP_HEADER_FRAME);
    *out = kp_steal(&b);
    return 0;
}

static int lay_out(struct kp_bundle *b, struct kp_err *err)
{
    uint64_t at = b->signatures_at + kp_layout_entry_size(KP_SIG_SIZE), leaf = 0, part = 0;
    struct kp_slice text = {b->text, b->text_len};
    if (kp_manifest_parse(&b->manifest, text, err) < 0)
        return -1;
    size_t n = b->manifest->entry_count;
    b->offsets = kp_alloc_array(n, sizeof(*b->offsets));
    b->first_leaf = kp_alloc_array(n, sizeof(*b->first_leaf));
    b->first_part = kp_alloc_array(n, sizeof(*b->first_part));
    for (size_t i = 0; i < n; i++) {
        b->offsets[i] = at;
        b->first_leaf[i] = leaf;
        at += kp_reader_entry_size(b, i);
        b->first_part[i] = part;
        uint64_t leaves = i ? kp_layout_leaves(b->manifest->entries[i].size) : 0;
        leaf += leaves;
        part += leaves ? leaves : 1; // bundle.leaves is one, and an empty entry has a header
    }
    return 0;
}

int kp_reader_parse(struct kp_bundle *b, struct kp_err *err)
{
    if (lay_out(b, err) < 0)
        return -1;
    int result = kp_medium_check_size(b->medium, b->offsets[0] + b->manifest->tail_length, err);
    b->size = kp_medium_size(b->medium);
    return result;
}

uint64_t kp_reader_entry_size(const struct kp_bundle *b, size_t entry)
{
    return kp_layout_entry_size(b->manifest->entries[entry].size);
}

/* A block that `kpack sign` did not get to the end of is worth a hint. */
static int explain_signatures(const struct kp_bundle *b, struct kp_err *err)
{
    kp_auto_free char *beside = kp_asprintf("%s" KP_SIGN_SUFFIX, b->path);
    if (kp_file_exists(beside))
        kp_hint(err, "an interrupted kpack sign left %s; run kpack sign again to finish it",
                beside);
    return -1;
}

static int check_signatures(const struct kp_bundle *b, const struct kp_trust *trust,
                            struct kp_signers *signers, struct kp_err *err)
{
    kp_auto_free struct kp_signature_set *set = kp_alloc(sizeof(*set));
    struct kp_slice text = {b->text, b->text_len};
    if (kp_signatures_parse(set, b->signatures, err) < 0)
        return explain_signatures(b, err);
    if (trust && kp_signatures_verify(set, trust, text, signers, err) < 0)
        return explain_signatures(b, err);
    return 0;
}

/* What needs the manifest: keys' times, and the revocations that it carries. */
static int judge(const struct kp_bundle *b, const struct kp_trust *trust,
                 struct kp_signers *signers, struct kp_err *err)
{
    kp_auto_free struct kp_signature_set *set = kp_alloc(sizeof(*set));
    struct kp_slice text = {b->text, b->text_len};
    if (kp_signatures_parse(set, b->signatures, err) < 0)
        return -1;
    return kp_policy_judge(b->manifest, set, text, trust, signers, err);
}

static int open_checked(struct kp_bundle **out, const char *path, const struct kp_trust *trust,
                        const struct kp_digest *id, struct kp_signers *signers, struct kp_err *err)
{
    kp_auto(kp_bundle) b = NULL;
    struct kp_digest seen;
    if (kp_reader_front(&b, path, O_RDONLY, err) < 0 ||
        check_signatures(b, trust, signers, err) < 0)
        return -1;
    kp_sha256(b->text, b->text_len, &seen);
    if (id && !kp_digest_equal(&seen, id))
        return kp_fail_as(err, KP_UNTRUSTED, "wrong_id",
                          "bundle.json: this is bundle %s, not the accepted %s",
                          kp_digest_hex(&seen).hex, kp_digest_hex(id).hex);
    if (kp_reader_parse(b, err) < 0 || (trust && judge(b, trust, signers, err) < 0))
        return -1;
    *out = kp_steal(&b);
    return 0;
}

int kp_reader_open_front(struct kp_bundle **out, const char *path, const struct kp_trust *trust,
                         struct kp_err *err)
{
    kp_auto(kp_bundle) b = NULL;
    kp_auto_free struct kp_signers *signers = kp_alloc(sizeof(*signers));
    if (kp_reader_front(&b, path, O_RDONLY, err) < 0 ||
        check_signatures(b, trust, signers, err) < 0 || lay_out(b, err) < 0 ||
        (trust && judge(b, trust, signers, err) < 0))
        return kp_wrap(err, "%s", path);
    *out = kp_steal(&b);
    return 0;
}

int kp_bundle_open(struct kp_bundle **out, const char *path, const struct kp_trust *trust,
                   struct kp_signers *signers, struct kp_err *err)
{
    if (signers)
        *signers = (struct kp_signers){.count = 0};
    if (open_checked(out, path, trust, NULL, signers, err) < 0)
        return kp_wrap(err, "%s", path);
    return 0;
}

int kp_bundle_open_id(struct kp_bundle **out, const char *path, const struct kp_digest *id,
                      struct kp_err *err)
{
    if (open_checked(out, path, NULL, id, NULL, err) < 0)
        return kp_wrap(err, "%s", path);
    return 0;
}

int kp_bundle_keep_front(const struct kp_bundle *b, const char *path, struct kp_err *err)
{
    uint64_t size = b->signatures_at + kp_layout_entry_size(KP_SIG_SIZE);
    kp_auto_free char *front = kp_alloc(size);
    if (kp_medium_read(b->medium, front, size, 0, err) < 0)
        return kp_wrap(err, "%s", b->path);
    return kp_file_write_atomic(path, (struct kp_slice){front, size}, 0600, err);
}

int kp_bundle_open_front(struct kp_bundle **out, const char *path, const struct kp_trust *trust,
                         struct kp_err *err)
{
    if (kp_reader_open_front(out, path, trust, err) < 0)
        return -1;
    (*out)->size = (*out)->offsets[0] + (*out)->manifest->tail_length; // as the bundle has it
    return 0;
}

bool kp_bundle_front_size(const uint8_t head[KP_BUNDLE_HEAD], uint64_t *size)
{
    uint64_t manifest;
    if (!kp_layout_claimed_size(head, &manifest) || !manifest || manifest > KP_MANIFEST_MAX)
        return false;
    *size = kp_layout_entry_size(manifest) + kp_layout_entry_size(KP_SIG_SIZE);
    return true;
}

const struct kp_manifest *kp_bundle_manifest(const struct kp_bundle *bundle)
{
    return bundle->manifest;
}

const char *kp_bundle_path(const struct kp_bundle *bundle)
{
    return bundle->path;
}

uint64_t kp_bundle_size(const struct kp_bundle *bundle)
{
    return bundle->size;
}

static int is_same(void *user, const struct kp_medium *fresh, struct kp_err *err)
{
    const struct kp_bundle *b = user;
    uint64_t len = b->signatures_at;
    kp_auto_free uint8_t *stored = kp_alloc(len);
    kp_auto_free uint8_t *needed = kp_alloc(len);
    if (kp_medium_read(fresh, stored, len, 0, err) < 0)
        return -1;
    kp_layout_entry_write(needed, KP_PATH_MANIFEST, b->text, b->text_len);
    if (memcmp(stored, needed, len) != 0 || kp_medium_size(fresh) != b->size)
        return kp_fail_as(err, KP_UNTRUSTED, "wrong_id",
                          "another file is there now, or another size; not bundle %s as before",
                          kp_digest_hex(&b->manifest->id).hex);
    return 0;
}

int kp_bundle_reopen(struct kp_bundle *bundle, struct kp_err *err)
{
    if (kp_medium_reopen(bundle->medium, is_same, bundle, err) < 0)
        return kp_wrap(err, "%s", bundle->path);
    return 0;
}

const struct kp_medium *kp_bundle_medium(const struct kp_bundle *bundle)
{
    return bundle->medium;
}

struct kp_slice kp_bundle_manifest_bytes(const struct kp_bundle *bundle)
{
    return (struct kp_slice){bundle->text, bundle->text_len};
}

struct kp_slice kp_bundle_signature_block(const struct kp_bundle *bundle)
{
    return (struct kp_slice){bundle->signatures, KP_SIG_SIZE};
}
