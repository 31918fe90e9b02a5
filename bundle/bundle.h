/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a bundle file. kp_bundle_open reads two bounded frames, checks the signatures, parses the
 * manifest, checks the length; kp_bundle_verify checks every remaining byte (headers, padding,
 * frames, leaves, digests) on all cores. No path in the file is ever used to create a file. The
 * file is opened once; the same descriptor serves everything. Readers are thread-safe after open.
 */
#pragma once

#include "bundle/manifest.h"
#include "bundle/sign.h"

#define KP_LEAF_SIZE ((uint64_t)1 << 20)

struct kp_bundle;
/* trust NULL: signatures are not checked (kregistry given an accepted id; use kp_bundle_open_id).
 * *signers may be NULL. */
KP_CHECK int kp_bundle_open(struct kp_bundle **out, const char *path, const struct kp_trust *trust,
                            struct kp_signers *signers, struct kp_err *err);
/* Opens a bundle whose id was accepted before: the manifest's SHA-256 must be `id`; no trust store
 * is needed. */
KP_CHECK int kp_bundle_open_id(struct kp_bundle **out, const char *path, const struct kp_digest *id,
                               struct kp_err *err);
/* Writes the file's front, bundle.json and bundle.sig, to path (0600): by it a site knows what was
 * installed long after the bundle is gone. */
KP_CHECK int kp_bundle_keep_front(const struct kp_bundle *bundle, const char *path,
                                  struct kp_err *err);
/* Opens a file that has the front at least. Signatures and manifest are checked as always (trust
 * NULL: signatures are not), the length is not, and reading contents fails. */
KP_CHECK int kp_bundle_open_front(struct kp_bundle **out, const char *path,
                                  const struct kp_trust *trust, struct kp_err *err);
/* How many bytes the front takes, as the first KP_BUNDLE_HEAD bytes of a file claim; false where no
 * bundle begins so. */
#define KP_BUNDLE_HEAD ((size_t)1024)
bool kp_bundle_front_size(const uint8_t head[KP_BUNDLE_HEAD], uint64_t *size);
void kp_bundle_free(struct kp_bundle *bundle);
KP_DEFINE_AUTO(kp_bundle);

const struct kp_manifest *kp_bundle_manifest(const struct kp_bundle *bundle);
const char *kp_bundle_path(const struct kp_bundle *bundle);
uint64_t kp_bundle_size(const struct kp_bundle *bundle); /* of the whole file */
struct kp_medium;
/* After a stick was pulled out and is back, or the file was replaced: opens the same path anew. It
 * must be the same bundle, byte for byte in its manifest (KP_UNTRUSTED "wrong_id"); what follows is
 * to be verified again. Errors leave the old in place. */
KP_CHECK int kp_bundle_reopen(struct kp_bundle *bundle, struct kp_err *err);
/* The file or slices behind it, borrowed (bundle/medium.h). */
const struct kp_medium *kp_bundle_medium(const struct kp_bundle *bundle);
/* The exact stored bytes, borrowed, as long as the bundle. */
struct kp_slice kp_bundle_manifest_bytes(const struct kp_bundle *bundle);
struct kp_slice kp_bundle_signature_block(const struct kp_bundle *bundle);

/* Called now and then from verifying threads, serialised: bytes done of total. May be NULL. */
typedef void kp_bundle_progress(void *user, uint64_t done, uint64_t total);
struct kp_verify_options {
    unsigned threads; /* 0: all cores */
    kp_bundle_progress *progress;
    void *user;
    bool all; /* go on after the first damage and count them */
    /* Each damaged place, in any order, serialised: bytes first … last of the file; entry is
     * entry_count for the end of the archive. May be NULL. */
    void (*damaged)(void *user, size_t entry, uint64_t first, uint64_t last);
};
struct kp_damage { /* where the first damage is; for messages and --json */
    char path[KP_PATH_MAX];
    char what[256];       /* "kubelet v1.30.14, amd64" or the image's reference; "" where none */
    uint64_t first, last; /* byte range of the file, inclusive */
};
/* Every byte. KP_DAMAGED names entry, meaning and the 1 MiB range. damage may be NULL. */
KP_CHECK int kp_bundle_verify(struct kp_bundle *bundle, const struct kp_verify_options *options,
                              struct kp_damage *damage, struct kp_err *err);

/* Where a blob's content byte `offset` lies in the file is arithmetic. Reads exactly len bytes of
 * the blob's content at offset, skipping the block headers, without verifying (verify ran before).
 * A delta's blob is read from its base (bundle/set.h). KP_MISSING where the blob is in no file that
 * is open. */
KP_CHECK int kp_bundle_read(const struct kp_bundle *bundle, const struct kp_digest *blob,
                            uint64_t offset, void *out, size_t len, struct kp_err *err);
/* The same by entry index, for iteration. */
KP_CHECK int kp_bundle_read_entry(const struct kp_bundle *bundle, size_t entry, uint64_t offset,
                                  void *out, size_t len, struct kp_err *err);
/* Finds the entry that holds the blob; false where it is in a base. */
bool kp_bundle_find(const struct kp_bundle *bundle, const struct kp_digest *blob, size_t *entry,
                    uint64_t *size);
/* The same over a delta and those of its bases that are open: *holder is the bundle whose file has
 * it, entry counts there. */
bool kp_bundle_locate(const struct kp_bundle *bundle, const struct kp_digest *blob,
                      const struct kp_bundle **holder, size_t *entry, uint64_t *size);
/* A whole small blob (at most max), its digest checked, out of a base too; kp_free. */
KP_CHECK int kp_bundle_load(const struct kp_bundle *bundle, const struct kp_digest *blob,
                            size_t max, char **out, size_t *len, struct kp_err *err);
