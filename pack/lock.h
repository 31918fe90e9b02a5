/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lock files (kind kpack.lock/v1, docs/releases.md): a plan in which every source has its original
 * URL (never a mirror, credential, query or redirect target) and digest. The same lock gives the
 * same bundle, byte for byte.
 */
#pragma once

#include "core/cli.h"
#include "pack/plan.h"

#define KP_LOCK_MAX ((size_t)16 << 20)

/* The lock's text; kp_free. Every source must be known. */
char *kp_lock_dump(const struct kp_plan *plan);
/* Strict inverse. Sources that were local files have `local` NULL. Errors KP_USAGE "bad_lock". */
KP_CHECK int kp_lock_parse(struct kp_plan **out, struct kp_slice text, const char *name,
                           struct kp_err *err);
KP_CHECK int kp_lock_load(struct kp_plan **out, const char *path, struct kp_err *err);
