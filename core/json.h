/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strict JSON over jansson: duplicate keys, trailing bytes, deep nesting and oversized documents
 * are refused. Readers say where: "bundle.json: images[3].digest: …". kp_json_reader walks one
 * object and refuses keys nobody asked for, naming the nearest known one.
 */
#pragma once

#include "core/buf.h"
#include "core/hash.h"

#include <jansson.h>

#define KP_JSON_DEPTH_MAX 64

static inline void kp_json_cleanup_(json_t **p)
{
    json_decref(*p);
}
#define kp_auto_json __attribute__((cleanup(kp_json_cleanup_))) json_t *

/* `what` names the document in errors ("bundle.json"). *out: json_decref. Size is checked first. */
KP_CHECK int kp_json_parse(json_t **out, struct kp_slice text, size_t max, const char *what,
                           struct kp_err *err);
/* Canonical dump: keys in insertion order, compact or indented by 2, a newline at the end. kp_free.
 */
char *kp_json_dump(const json_t *value, bool compact);
/* Whether one of the array's elements is that text; no array (NULL) has none. */
bool kp_json_lists(const json_t *array, const char *text);
/* The text at a key, or at a key of the object at `part`; "" where there is none. Valid as long as
 * the object. For what was checked, or is only looked at. */
const char *kp_json_string(const json_t *object, const char *key);
const char *kp_json_string_in(const json_t *object, const char *part, const char *key);
/* stdout, indented; for --json. */
void kp_json_print(const json_t *value);
/* The one document of a command under --json, whatever its end: `value` (an object, borrowed, added
 * to) to stdout with "ok" and, where result is negative, the code, reason, message and hint of
 * *err, which then counts as reported; err may be NULL where result is 0. Returns result. */
int kp_json_end(json_t *value, int result, struct kp_err *err);

/* One object being read. Copied by value; `path` is what errors begin with. */
struct kp_json_reader {
    const json_t *object;
    const char *path;       /* "bundle.json: images[3]"; lives in the arena */
    struct kp_arena *arena; /* strings handed out live here */
    struct kp_err *err;     /* the first error sticks; later reads do nothing */
    bool failed;
    unsigned char *seen; /* which keys were asked for, by position */
};

/* Begins to read value, which must be an object. On another type the reader is failed at once. */
struct kp_json_reader kp_json_read(const json_t *value, const char *path, struct kp_arena *arena,
                                   struct kp_err *err);
/* Each notes a failure where the key is missing or of the wrong type. Text is in the arena. */
const char *kp_json_text(struct kp_json_reader *r, const char *key, size_t max);
const char *kp_json_text_optional(struct kp_json_reader *r, const char *key, size_t max); /* NULL */
uint64_t kp_json_number(struct kp_json_reader *r, const char *key, uint64_t max);
uint64_t kp_json_number_optional(struct kp_json_reader *r, const char *key, uint64_t max,
                                 uint64_t fallback);
bool kp_json_bool_optional(struct kp_json_reader *r, const char *key, bool fallback);
struct kp_digest kp_json_digest(struct kp_json_reader *r, const char *key); /* hex or sha256:hex */
/* The array's size, at most max; *out is NULL and 0 returned where the key is missing and optional.
 */
size_t kp_json_array(struct kp_json_reader *r, const char *key, size_t max, bool optional,
                     const json_t **out);
/* An array of texts, NULL-terminated, in the arena. */
const char **kp_json_texts(struct kp_json_reader *r, const char *key, size_t max, bool optional,
                           size_t *count);
const json_t *kp_json_object(struct kp_json_reader *r, const char *key, bool optional);
/* A reader for element i of array `key`; its failures are passed on by kp_json_finish_child. */
struct kp_json_reader kp_json_element(struct kp_json_reader *r, const char *key,
                                      const json_t *array, size_t i);
/* Notes a failure at key: "path.key: text". Code KP_USAGE unless the caller changes err->code. */
void kp_json_complain(struct kp_json_reader *r, const char *key, const char *fmt, ...)
    KP_PRINTF(3, 4);
/* Allows unknown keys from here on (foreign documents: OCI manifests, registry answers). */
void kp_json_lenient(struct kp_json_reader *r);
/* 0, or -1 where anything failed or a key was never asked for. */
KP_CHECK int kp_json_finish(struct kp_json_reader *r);
