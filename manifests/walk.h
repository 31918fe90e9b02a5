/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Foreign YAML (cluster manifests of any number of documents, anchors and tags allowed), read as a
 * stream of its scalar values with their places; nothing is built, so aliases cost nothing.
 */
#pragma once

#include "core/mem.h"
#include "core/slice.h"

#define KP_WALK_MAX ((size_t)16 << 20)
#define KP_WALK_DEPTH_MAX 100
#define KP_WALK_PATH_MAX 512

struct kp_walk_scalar {
    unsigned line, column; /* from 1; of the value's first character */
    const char
        *path; /* "spec.template.spec.containers[0].image"; cut where longer than the maximum */
    const char *key; /* the nearest mapping key above it, "" where none */
    struct kp_slice text;
    unsigned document;      /* from 1: which of the stream's documents */
    unsigned document_line; /* from 1: where that begins, with its "---" where it has one */
    bool block;             /* a literal or folded block: lines of the text follow the key's line */
};
/* Calls each for every value (not for keys) in order. `name` stands in errors (KP_USAGE). -1 from
 * each stops. */
KP_CHECK int kp_yaml_walk(struct kp_slice text, const char *name,
                          int (*each)(void *user, const struct kp_walk_scalar *scalar,
                                      struct kp_err *err),
                          void *user, struct kp_err *err);
