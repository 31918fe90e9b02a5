/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the reader share: the open bundle and its first two entries. */
#pragma once

#include "bundle/layout.h"
#include "bundle/medium.h"

struct kp_bundle {
    char *path;
    struct kp_medium *medium;
    uint64_t size; /* of the file, or of all slices, when they were opened */
    char *text;    /* bundle.json, the exact bytes */
    size_t text_len;
    char *signatures;       /* bundle.sig's content, KP_SIG_SIZE bytes */
    uint64_t signatures_at; /* where bundle.sig's entry begins */
    struct kp_manifest *manifest;
    uint64_t *offsets;                     /* of each entry of the manifest, in the file */
    uint64_t *first_leaf;                  /* of each entry, in bundle.leaves */
    uint64_t *first_part;                  /* of each entry, counted in stretches (stretch.h) */
    struct kp_bundle *bases[KP_BASES_MAX]; /* as the manifest's; owned; NULL: not opened (set.h) */
};

/* Opens the file and reads bundle.json and bundle.sig: headers, frames and padding are checked, no
 * signature is, nothing is parsed. flags: O_RDONLY or O_RDWR. */
KP_CHECK int kp_reader_front(struct kp_bundle **out, const char *path, int flags,
                             struct kp_err *err);
/* Parses the manifest, checks the file's length, lays out the entries. Only after the signatures.
 */
KP_CHECK int kp_reader_parse(struct kp_bundle *bundle, struct kp_err *err);
/* The front alone is checked and laid out, whatever the file's length is; for repair. */
KP_CHECK int kp_reader_open_front(struct kp_bundle **out, const char *path,
                                  const struct kp_trust *trust, struct kp_err *err);
/* Bytes of the file that the entry takes. */
uint64_t kp_reader_entry_size(const struct kp_bundle *bundle, size_t entry);
/* What the blob of an entry is for people: "kubelet v1.30.14, amd64"; "" where unknown. */
void kp_reader_describe(const struct kp_bundle *bundle, size_t entry, char *out, size_t len);
