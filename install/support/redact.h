/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes secrets out of text that leaves the site (kinstall support): those that are known, wherever
 * they stand, and what has the look of one: private keys (PEM), JWTs, bootstrap tokens, values of
 * keys and options such as password, token or client-key-data, credentials in URLs and headers. It
 * errs on the side of taking out. Pure.
 */
#pragma once

#include "core/mem.h"
#include "core/slice.h"

#define KP_SECRET_LEAST 8 /* bytes; shorter ones would take ordinary words out */
#define KP_REDACTED "<removed>"

struct kp_redactor;
struct kp_redactor *kp_redactor_new(void);
void kp_redactor_free(struct kp_redactor *redactor); /* wipes what it knew */
KP_DEFINE_AUTO(kp_redactor);
/* Each line of the text that is long enough is a secret. */
void kp_redactor_know(struct kp_redactor *redactor, struct kp_slice text);
/* A file with secrets in it (a PEM key, a kubeconfig, an encryption configuration): what would be
 * taken out of it is known from here on. */
void kp_redactor_know_document(struct kp_redactor *redactor, struct kp_slice text);
/* The text without them; *len its length, *removed (added to) how many were taken out. kp_free. */
char *kp_redact(const struct kp_redactor *redactor, struct kp_slice text, size_t *len,
                size_t *removed);
