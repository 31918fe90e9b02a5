/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The slice list, x.tar.zst.slices: which bytes x.tar.zst.002 and the following have, so that one
 * of them can be checked alone. x.tar.zst.001 ends after bundle.sig and is checked by the
 * signatures in it. A small .tar.zst of two entries: slices.json (kind kpack.slices/v1) and
 * slices.sig, the same signature block as a bundle's. It is no authority over the bundle: whoever
 * reads the slices together checks every byte by the bundle's own signature.
 */
#pragma once

#include "bundle/medium.h"
#include "bundle/sign.h"

#define KP_SLICES_KIND "kpack.slices/v1"
#define KP_SLICES_SUFFIX ".slices"
#define KP_PATH_SLICES "slices.json"
#define KP_PATH_SLICES_SIG "slices.sig"
#define KP_SLICES_TEXT_MAX ((size_t)64 << 20)

struct kp_slice_sum { /* of one slice after the first */
    uint64_t size;
    struct kp_digest sha256;
    struct kp_digest *leaves; /* of each MiB of the slice */
};
struct kp_slices {
    struct kp_digest bundle; /* id */
    uint64_t front;          /* bytes of the first slice */
    struct kp_slice_sum *items;
    size_t count; /* without the first */
    char *text;   /* slices.json as signed */
    size_t text_len;
};
void kp_slices_release(struct kp_slices *slices);
KP_DEFINE_AUTO_VALUE(kp_slices);

/* The sizes of the slices of a bundle of `size` bytes: the front, then `split` bytes each; *sizes:
 * kp_free. KP_USAGE where that makes more than KP_SLICES_MAX or one only. */
KP_CHECK int kp_split_plan(uint64_t front, uint64_t size, uint64_t split, uint64_t **sizes,
                           size_t *count, struct kp_err *err);
/* One pass over the medium: the SHA-256 of the whole and, where list is not NULL, all of the list
 * but its bundle. */
KP_CHECK int kp_slices_hash(const struct kp_medium *medium, struct kp_slices *list,
                            struct kp_digest *whole, struct kp_err *err);
/* STEM.slices, signed by the keys. */
KP_CHECK int kp_slices_write(struct kp_slices *list, const char *stem, const struct kp_digest *id,
                             const struct kp_key *const *keys, size_t key_count,
                             struct kp_err *err);
/* Strict; KP_DAMAGED "bad_slice_list". */
KP_CHECK int kp_slices_parse(struct kp_slices *out, struct kp_slice text, struct kp_err *err);
/* The list of that file: signature first, then its kind. Errors: KP_MISSING "no_slice_list", those
 * of kp_signatures_verify, KP_DAMAGED. */
KP_CHECK int kp_slices_open(struct kp_slices *out, const char *path, const struct kp_trust *trust,
                            struct kp_signers *signers, struct kp_err *err);
/* Adds the key's signature, where there is a list beside the slices; safe against a power cut. */
KP_CHECK int kp_slices_sign(const char *stem, const struct kp_key *key, struct kp_err *err);
/* Every byte of slice `number` (from 2), which is the whole of `file`: KP_DAMAGED with the first
 * damaged MiB; where it is another slice of this bundle or of none that is said. */
KP_CHECK int kp_slices_verify_one(const struct kp_slices *list, unsigned number,
                                  const struct kp_medium *file, struct kp_err *err);
