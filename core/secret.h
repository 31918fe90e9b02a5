/* SPDX-License-Identifier: Apache-2.0 */
/* Passwords, passphrases and PINs: from a descriptor or a terminal, never from argv. */
#pragma once

#include "core/mem.h"

#define KP_PASSPHRASE_MAX 1024

struct kp_secret_question {
    const char *what;   /* "the sudo password": in errors */
    const char *prompt; /* "sudo password: " */
    const char *option; /* "--sudo-password-fd": what the hint names where there is no terminal */
};
/* One line from the descriptor (fd >= 0; what stands behind the line is left there), else from
 * /dev/tty without echo. *out: kp_secret_free. An empty one, or no terminal, is KP_USAGE. */
KP_CHECK int kp_secret_read(char **out, int fd, const struct kp_secret_question *question,
                            struct kp_err *err);
/* A new one: on a terminal it is asked for twice and both must be alike; at least `least` bytes. */
KP_CHECK int kp_secret_new(char **out, int fd, const struct kp_secret_question *question,
                           size_t least, struct kp_err *err);
void kp_secret_free(char *secret); /* overwrites first; NULL is fine */
/* The number of a --…-fd option: NULL gives -1; not a number of an open descriptor is KP_USAGE. */
KP_CHECK int kp_secret_fd(const char *text, const char *option, int *fd, struct kp_err *err);
