/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Image references as people write them ("nginx", "quay.io/x/y:1", "a:5000/b@sha256:…") and in
 * the one full form that everything of ours compares by. Grammar: distribution/reference and the
 * OCI distribution spec (facts/registry.md §3.1). No Docker-only short names except
 * docker.io/library.
 */
#pragma once

#include "core/hash.h"

#define KP_REFERENCE_MAX 512
#define KP_REPOSITORY_MAX 255
#define KP_TAG_MAX 128
#define KP_DOCKER_HUB "docker.io"

struct kp_reference {
    const char *registry;   /* "docker.io", "registry.localhost:15000"; lower case */
    const char *repository; /* "library/nginx" */
    const char *tag; /* "1.27"; "latest" where neither tag nor digest was written; NULL with a
                        digest alone */
    bool has_digest;
    struct kp_digest digest;
};

/* Strings live in the arena. Errors are KP_USAGE and quote the text. */
KP_CHECK int kp_reference_parse(struct kp_reference *out, struct kp_arena *arena, const char *text,
                                struct kp_err *err);
/* "docker.io/library/nginx:1.27", with "@sha256:…" where it has a digest; kp_free. */
char *kp_reference_text(const struct kp_reference *reference);
/* "docker.io/library/nginx"; kp_free. */
char *kp_reference_name(const struct kp_reference *reference);
/* True for text that is host[:port] as it may stand in a reference. */
bool kp_reference_is_registry(const char *text);
/* True for a repository path of the spec's grammar, at most KP_REPOSITORY_MAX. */
bool kp_reference_is_repository(const char *text);
bool kp_reference_is_tag(const char *text);
