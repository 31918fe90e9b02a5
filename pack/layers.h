/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the layers of an image say of the packages in it. Layers are read straight out of the
 * bundle, each MiB checked against the signed leaves before it is parsed, from the lowest up;
 * whiteouts and replaced folders take away what lies below. Nothing is written to disk.
 */
#pragma once

#include "bundle/bundle.h"
#include "pack/dpkg.h"

#define KP_LAYERS_TEXT_MAX ((size_t)16 << 20)  /* one database file */
#define KP_LAYERS_TOTAL_MAX ((size_t)64 << 20) /* all of one image */
#define KP_LAYERS_FILES_MAX 10000

struct kp_layers;
/* One image for one of its arches. KP_MISSING "missing_base" where a layer lies in a base that is
 * not open; KP_DAMAGED where it is not what was signed; KP_FAILED "bad_archive", "too_large" where
 * a layer cannot be read. */
KP_CHECK int kp_layers_read(struct kp_layers **out, const struct kp_bundle *bundle,
                            const struct kp_image *image, const char *arch, struct kp_err *err);
void kp_layers_free(struct kp_layers *layers);
KP_DEFINE_AUTO(kp_layers);
/* Is there a dpkg database? */
bool kp_layers_has_dpkg(const struct kp_layers *layers);
/* Every installed package of it (kp_dpkg_parse). */
size_t kp_layers_packages(const struct kp_layers *layers, kp_dpkg_each *each, void *user);
/* A field of os-release ("ID"), empty where it is not there. */
struct kp_slice kp_layers_os(const struct kp_layers *layers, const char *key);

/* The files kept so far; for tests. Entries of one layer at a time, in the archive's order. */
struct kp_layers *kp_layers_new(void);
void kp_layers_next(struct kp_layers *layers); /* begins a layer */
bool kp_layers_wants(const char *name);
KP_CHECK int kp_layers_take(struct kp_layers *layers, const char *name, struct kp_slice content,
                            struct kp_err *err);
