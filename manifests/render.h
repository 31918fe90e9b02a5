/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is written to nodes comes from templates/, which are built into the program. A template
 * knows three things:
 *
 *     {{name}}                      a value; nobody gave it: error
 *     {{#name}}...{{/name}}         only where the value is given and not empty; a list: once per
 *                                   item, {{.}} is the item, {{.key}} its key where it is a pair
 *     {{^name}}...{{/name}}         only where it is not given or empty
 *
 * A line that holds nothing but a section's tag leaves no line behind. Values stand inside quotes
 * or as plain words in YAML, TOML and unit files, so quotes, backslashes, line ends and other
 * control characters are refused; there is no escaping.
 */
#pragma once

#include "core/buf.h"

#define KP_RENDER_MAX ((size_t)1 << 20)
#define KP_RENDER_DEPTH_MAX 4

struct kp_embedded {  /* made by cmake/embed.cmake */
    const char *name; /* "kubelet.service" */
    const char *data;
    size_t size;
};
extern const struct kp_embedded kp_templates[]; /* ended by .name = NULL */

struct kp_vars;
struct kp_vars *kp_vars_new(void);
void kp_vars_free(struct kp_vars *vars);
KP_DEFINE_AUTO(kp_vars);
/* Sets or replaces a value. */
void kp_vars_set(struct kp_vars *vars, const char *key, const char *value);
void kp_vars_setf(struct kp_vars *vars, const char *key, const char *fmt, ...) KP_PRINTF(3, 4);
/* "true", or empty. */
void kp_vars_flag(struct kp_vars *vars, const char *key, bool on);
/* Adds an item to a list; the first call makes it. */
void kp_vars_add(struct kp_vars *vars, const char *key, const char *fmt, ...) KP_PRINTF(3, 4);
/* Adds a pair to a list. */
void kp_vars_add_pair(struct kp_vars *vars, const char *list, const char *key, const char *value);

/* Renders the built-in template; *out: kp_free. */
KP_CHECK int kp_render(char **out, const char *name, const struct kp_vars *vars,
                       struct kp_err *err);
/* The same for any text; `name` stands in errors. */
KP_CHECK int kp_render_text(char **out, const char *name, struct kp_slice text,
                            const struct kp_vars *vars, struct kp_err *err);
