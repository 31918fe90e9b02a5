/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strict YAML documents with positions, over libyaml: size <= 1 MiB, depth <= 32, one document, no
 * aliases or tags, duplicate keys refused. Errors are "hosts.yaml:14:7: nodes[2].address: …"
 * (KP_USAGE). The reader half walks one mapping and refuses keys nobody asked for, naming the
 * nearest known.
 */
#pragma once

#include "core/mem.h"
#include "core/slice.h"

#define KP_YAML_MAX ((size_t)1 << 20)
#define KP_YAML_DEPTH_MAX 32

enum kp_yaml_type { KP_YAML_SCALAR, KP_YAML_LIST, KP_YAML_MAP };
struct kp_yaml {
    enum kp_yaml_type type;
    unsigned line, column;      /* from 1 */
    const char *path;           /* "nodes[2].address"; "" for the root */
    const char *text;           /* scalar; never NULL there */
    bool plain;                 /* scalar without quotes: may be a number, bool or null */
    size_t count;               /* of a list or map */
    struct kp_yaml **items;     /* list elements, or map values */
    const char **keys;          /* map keys */
    struct kp_yaml **key_nodes; /* for the position of a key */
    const struct kp_yaml_document *document;
};
struct kp_yaml_document;
/* `name` stands in errors. */
KP_CHECK int kp_yaml_parse(struct kp_yaml_document **out, struct kp_slice text, const char *name,
                           struct kp_err *err);
KP_CHECK int kp_yaml_load(struct kp_yaml_document **out, const char *path, struct kp_err *err);
void kp_yaml_document_free(struct kp_yaml_document *document);
KP_DEFINE_AUTO(kp_yaml_document);
const struct kp_yaml *kp_yaml_root(const struct kp_yaml_document *document);
const char *kp_yaml_name(const struct kp_yaml *at); /* of its document, as given */
struct kp_arena *
kp_yaml_arena(struct kp_yaml_document *document); /* lives as long as the document */

/* The node as JSON: plain scalars that are numbers, true, false or null stay that; kp_free. */
char *kp_yaml_json(const struct kp_yaml *node);
/* Sets "NAME:LINE:COL: path: text" as KP_USAGE; returns -1. */
int kp_yaml_fail(const struct kp_yaml *at, struct kp_err *err, const char *fmt, ...)
    KP_PRINTF(3, 4);
bool kp_yaml_is_null(const struct kp_yaml *node); /* ~, null, nothing */
const struct kp_yaml *kp_yaml_get(const struct kp_yaml *map,
                                  const char *key); /* NULL where missing or null (~) */

/* A mapping being read; the first error sticks, later reads do nothing and give the fallback. */
struct kp_yaml_reader {
    const struct kp_yaml *map;
    struct kp_err *err;
    bool failed;
    const char *known[64]; /* keys asked for, for "nearest" */
    size_t known_count;
};
struct kp_yaml_reader kp_yaml_read(const struct kp_yaml *map,
                                   struct kp_err *err); /* not a mapping: failed */
const struct kp_yaml *kp_yaml_node(struct kp_yaml_reader *r, const char *key, bool required);
const char *kp_yaml_text(struct kp_yaml_reader *r, const char *key,
                         const char *fallback); /* borrowed from the document */
const char *kp_yaml_text_required(struct kp_yaml_reader *r, const char *key);
bool kp_yaml_bool(struct kp_yaml_reader *r, const char *key, bool fallback); /* true/false only */
uint64_t kp_yaml_number(struct kp_yaml_reader *r, const char *key, uint64_t least, uint64_t most,
                        uint64_t fallback);
/* One of the words (NULL-terminated); the index, or fallback where missing. */
int kp_yaml_choice(struct kp_yaml_reader *r, const char *key, const char *const *words,
                   int fallback);
/* A list of texts (a single text counts as a list of one); NULL-terminated, in the document's
 * arena. */
const char **kp_yaml_texts(struct kp_yaml_reader *r, const char *key, size_t max, size_t *count);
const struct kp_yaml *kp_yaml_list(struct kp_yaml_reader *r, const char *key, size_t max,
                                   bool required); /* NULL where missing */
const struct kp_yaml *kp_yaml_map(struct kp_yaml_reader *r, const char *key, bool required);
/* Fails at the value of key (or at the map). */
void kp_yaml_complain(struct kp_yaml_reader *r, const char *key, const char *fmt, ...)
    KP_PRINTF(3, 4);
/* 0, or -1 where anything failed or a key was never asked for (unknown key, nearest named). */
KP_CHECK int kp_yaml_finish(struct kp_yaml_reader *r);
