/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state folder beside the inventory (0700, with a .gitignore of "*"): journal.jsonl is the
 * history of all runs, append-only and fsynced; log/<node>.log has the output of commands; lock
 * says who runs. The journal is never asked what is so: the node decides.
 */
#pragma once

#include "core/json.h"

struct kp_journal;
/* Makes the folder where missing, takes the run lock: held by another run is KP_FAILED "locked" and
 * says who. *out: kp_journal_free (releases the lock). */
KP_CHECK int kp_journal_open(struct kp_journal **out, const char *state_folder, const char *run_id,
                             struct kp_err *err);
void kp_journal_free(struct kp_journal *journal);
KP_DEFINE_AUTO(kp_journal);
/* One line {time, after, run, event, node, step, text}; after: seconds since the run began, NULL
 * members are left out. Thread-safe. A journal that cannot be written is remembered and reported by
 * kp_journal_check: it must not stop a step halfway. */
void kp_journal_note(struct kp_journal *journal, const char *event, const char *node,
                     const char *step, const char *text);
KP_CHECK int kp_journal_check(struct kp_journal *journal, struct kp_err *err);
/* Appends to log/<node>.log. */
void kp_journal_log(struct kp_journal *journal, const char *node, const char *data, size_t len);
/* "<state>/log/<node>.log"; kp_free. */
char *kp_journal_log_path(const struct kp_journal *journal, const char *node);
