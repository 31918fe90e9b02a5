/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A log that is only ever added to, and shows where it was not: a file of lines, each a JSON object
 * whose first members are "n" (1, 2, …) and "prev", the SHA-256 of the line before without its line
 * end (64 zeros in the first). Whoever changes, drops or inserts a line breaks the chain behind it.
 * What a chain cannot show is that its last lines were cut off: for that its head (the number and
 * the SHA-256 of the last line) has to be known somewhere else.
 *
 * A line is written at once and synced. A last line without an end was being written when the
 * writer died: it is called torn, is no tampering, and is dropped when the log is next added to.
 */
#pragma once

#include "core/json.h"

#define KP_CHAIN_LINE_MAX ((size_t)256 << 10)
#define KP_CHAIN_FILE_MAX ((uint64_t)4 << 30)
#define KP_CHAIN_PROBLEMS_MAX 16 /* that are named; all are counted */

struct kp_chain_head {
    uint64_t count;          /* lines */
    struct kp_digest digest; /* of the last one; zeros where there is none */
};
struct kp_chain_problem {
    uint64_t
        line; /* from 1: the line that was changed, or the one before which lines are missing */
    char text[192];
};
struct kp_chain_state { /* what reading found */
    struct kp_chain_head head;
    struct kp_chain_problem problems[KP_CHAIN_PROBLEMS_MAX];
    size_t problem_count; /* may be more than are named */
    uint64_t torn;        /* bytes behind the last line's end */
};
/* Called with each line that is a JSON object, in order, also behind a problem. line has no end;
 * head is as of this line. */
typedef int kp_chain_take(void *user, const json_t *record, struct kp_slice line,
                          const struct kp_chain_head *head, struct kp_err *err);

/* Reads text as a whole chain, or one that goes on from `after` (NULL: from nothing). take may be
 * NULL. -1 only where take fails. */
KP_CHECK int kp_chain_parse(struct kp_slice text, const struct kp_chain_head *after,
                            kp_chain_take *take, void *user, struct kp_chain_state *out,
                            struct kp_err *err);
/* The same of a file, in bounded memory; one that is not there is an empty chain. Never follows a
 * link. -1 where it cannot be read, is larger than KP_CHAIN_FILE_MAX, or take fails. */
KP_CHECK int kp_chain_read(const char *path, kp_chain_take *take, void *user,
                           struct kp_chain_state *out, struct kp_err *err);
/* "57 9f86d0…": for people and for a file beside the log. Exactly one blank, a line end may follow.
 */
char *kp_chain_head_text(const struct kp_chain_head *head); /* kp_free */
bool kp_chain_head_parse(struct kp_slice text, struct kp_chain_head *out);

struct kp_chain;
/* Opens for adding; made 0600 where missing. Waits for another writer to end. What is there is read
 * as by kp_chain_read; a torn end is cut off. A chain with problems may be added to: they stay
 * named. */
KP_CHECK int kp_chain_open(struct kp_chain **out, const char *path, kp_chain_take *take, void *user,
                           struct kp_chain_state *state, struct kp_err *err);
void kp_chain_free(struct kp_chain *chain);
KP_DEFINE_AUTO(kp_chain);
/* Adds {"n", "prev", members of record…} and syncs. seal (may be NULL) is given the whole line
 * (compact, without end) before it is written and may set one more member at its end: *member is
 * its name (static), *value a new reference. *line, where asked for: what was written, without end;
 * kp_free. Not thread-safe. */
typedef int kp_chain_seal(void *user, struct kp_slice line, const char **member, json_t **value,
                          struct kp_err *err);
KP_CHECK int kp_chain_append(struct kp_chain *chain, const json_t *record, kp_chain_seal *seal,
                             void *user, char **line, struct kp_err *err);
struct kp_chain_head kp_chain_head(const struct kp_chain *chain);
