/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A delta and its bases, read as one. A delta's signed manifest lists every blob that it needs and
 * names, by id, the bundle whose file holds those that it does not carry itself. An id is the
 * SHA-256 of a bundle.json, so the delta's signature covers its bases too: who signed a base, and
 * whether that key is trusted today, is not asked. Bases are flat: each holds the blobs named with
 * it in its own file, even where it is a delta itself.
 */
#pragma once

#include "bundle/bundle.h"

/* Opens the file as a base of the bundle, which owns it from then on; kp_bundle_read, _load and
 * _locate of the bundle find its blobs there. Its bytes are not verified (kp_bundle_verify of
 * kp_bundle_base does). Not while others read the bundle. Errors: KP_MISSING "wrong_base" where the
 * bundle does not name it or it is there already, "base_lacks_blob" where a blob is not in the
 * file; KP_DAMAGED "bad_base" where it is not what the delta says of it. */
KP_CHECK int kp_bundle_open_base(struct kp_bundle *bundle, const char *path, struct kp_err *err);
KP_CHECK int kp_bundle_open_bases(struct kp_bundle *bundle, const char *const *paths, size_t count,
                                  struct kp_err *err);
/* The open base i of the manifest's `bases`; NULL where it was not given. Borrowed. */
struct kp_bundle *kp_bundle_base(const struct kp_bundle *bundle, size_t i);
/* The bases that were not opened; how many. */
size_t kp_bundle_missing(const struct kp_bundle *bundle, const struct kp_base *out[KP_BASES_MAX]);
/* KP_MISSING "missing_base" with the list of those that were not opened. */
KP_CHECK int kp_bundle_need_bases(const struct kp_bundle *bundle, struct kp_err *err);
/* The same for any list, always -1. `what` is the delta's path or name. */
int kp_missing_bases(const char *what, const struct kp_base *const *bases, size_t count,
                     struct kp_err *err);
/* "k8s-v1.30.14-flannel-amd64 serial 1764000000 (id 0123456789ab…)" */
#define KP_BASE_TEXT_MAX 256
struct kp_base_text {
    char s[KP_BASE_TEXT_MAX];
};
struct kp_base_text kp_base_text(const struct kp_base *base);
/* [{"id", "name", "serial"}] */
json_t *kp_bases_json(const struct kp_base *bases, size_t count);
