/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands in a cluster manifest: its objects, in order, and the text of each document. So a
 * manifest can be applied in parts, waited for and taken away again.
 */
#pragma once

#include "core/mem.h"
#include "core/slice.h"

#define KP_LISTED_MAX 10000
#define KP_LISTED_NAME_MAX 253
#define KP_LISTED_PROGRAMS_MAX 256

struct kp_listed {
    const char *api_version, *kind; /* "apps/v1", "Deployment" */
    const char *namespace_;         /* "" where none is written */
    const char *name;
    size_t document; /* index into documents */
};
struct kp_listing {
    struct kp_arena *arena;
    struct kp_listed *items;
    size_t count, room;
    struct kp_slice *documents; /* parts of the text that was read: it must outlive the listing */
    size_t document_count;
    const char **programs; /* names of containers and of their images; NULL-terminated */
    size_t program_count;
};
void kp_listing_free(struct kp_listing *listing);
KP_DEFINE_AUTO(kp_listing);
/* Each object of every document; those of a List (`items`) too. A document that has something, but
 * no apiVersion, kind and metadata.name, is KP_USAGE, as is text that is no YAML; `name` stands in
 * errors. */
KP_CHECK int kp_listing_read(struct kp_listing **out, struct kp_slice text, const char *name,
                             struct kp_err *err);
/* Namespaces and CustomResourceDefinitions: what other objects need before they can be made. */
bool kp_listed_comes_first(const struct kp_listed *object);
