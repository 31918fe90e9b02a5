/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packing on all cores while downloads go on: archives are unpacked, installed files compressed,
 * each into the cache. Results are written into the plan's installs.
 */
#pragma once

#include "pack/compress.h"
#include "pack/plan.h"

struct kp_packer;
/* cache and how must outlive it. threads 0: all cores. */
struct kp_packer *kp_packer_new(struct kp_cache *cache, const struct kp_compression *how,
                                unsigned threads);
/* Waits for what runs; what has not begun is dropped. */
void kp_packer_free(struct kp_packer *packer);
KP_DEFINE_AUTO(kp_packer);
/* The file's bytes are in the cache under file->digest; file must stay where it is. */
void kp_packer_add(struct kp_packer *packer, struct kp_plan_file *file);
bool kp_packer_failed(struct kp_packer *packer); /* something failed; kp_packer_finish says what */
/* Waits until everything is packed; the first failure is returned. */
KP_CHECK int kp_packer_finish(struct kp_packer *packer, struct kp_err *err);
