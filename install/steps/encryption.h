/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys by which API servers encrypt Secrets in etcd, and their rotation in the order that
 * Kubernetes' documentation gives for several control planes: every API server can read the new
 * key; every API server writes with it; all Secrets are written again, which is counted in etcd;
 * the old key goes. A rotation has an id that stands in the nodes' records: cut off, the next run
 * goes on with it. What was taken away stays in the state folder (encryption-retired.yaml):
 * snapshots of etcd made before need it.
 */
#pragma once

#include "install/step.h"

#define KP_ENCRYPTION_KEYS_MAX 8

struct kp_encryption_key {
    char *name, *secret; /* "key1"; base64 */
};
struct kp_encryption_keys { /* the first one writes, all of them read */
    struct kp_encryption_key items[KP_ENCRYPTION_KEYS_MAX];
    size_t count;
};
void kp_encryption_keys_release(struct kp_encryption_keys *keys);
KP_DEFINE_AUTO_VALUE(kp_encryption_keys);
/* The file as kinstall writes it; anything else is an error. */
KP_CHECK int kp_encryption_parse(struct kp_encryption_keys *out, struct kp_slice text,
                                 const char *name, struct kp_err *err);
/* *out is secret: wiped by the caller. */
KP_CHECK int kp_encryption_render(char **out, const struct kp_encryption_keys *keys,
                                  struct kp_err *err);
/* A new key behind the others, "key2" after "key1". */
KP_CHECK int kp_encryption_add_key(struct kp_encryption_keys *keys, struct kp_err *err);
/* That key first, or it alone. */
void kp_encryption_put_first(struct kp_encryption_keys *keys, const char *name);
void kp_encryption_keep_only(struct kp_encryption_keys *keys, const char *name);

/* Takes up the rotation that was cut off, or begins one: the new key is in the state folder before
 * any node gets it. */
KP_CHECK int kp_encryption_begin(struct kp_site *site, bool *again, struct kp_err *err);
KP_CHECK int kp_encryption_end(struct kp_site *site, struct kp_err *err);
const struct kp_step *const *kp_encryption_phases(size_t *count);
/* Secrets in etcd, and those of them that this key has encrypted. */
KP_CHECK int kp_encryption_counts(struct kp_site *site, const char *key, uint64_t *all,
                                  uint64_t *with_key, struct kp_err *err);
/* The keys by the state folder. */
KP_CHECK int kp_encryption_load(struct kp_site *site, struct kp_encryption_keys *out,
                                struct kp_err *err);
