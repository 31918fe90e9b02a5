/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An operation that takes several runs where it is cut off (certs renew, encryption rotate): a
 * document in the state folder says that it has begun and by which id; each node's record says
 * which of its steps were finished by that id. It is over when the document is gone.
 */
#pragma once

#include "install/step.h"

/* The document of an operation that was begun and not ended; *out NULL where there is none.
 * json_decref. name: of the file in the state folder. */
KP_CHECK int kp_resumable_read(json_t **out, const struct kp_site *site, const char *name,
                               struct kp_err *err);
/* A text of the document, without its end shorter than size; false where it has none. */
bool kp_resumable_text(const json_t *document, const char *key, char *out, size_t size);
KP_CHECK int kp_resumable_keep(const struct kp_site *site, const char *name, const json_t *document,
                               struct kp_err *err);
KP_CHECK int kp_resumable_end(const struct kp_site *site, const char *name, struct kp_err *err);

/* Whether the node has finished this step in the operation of that id. */
KP_CHECK int kp_resumable_done(struct kp_site *site, struct kp_site_node *node, const char *step,
                               const char *id, bool *done, struct kp_err *err);
/* Writes to the node's record that the step begins, or is finished by this id. */
KP_CHECK int kp_resumable_mark(struct kp_site *site, struct kp_site_node *node, const char *step,
                               const char *id, bool finished, struct kp_err *err);
