/* SPDX-License-Identifier: Apache-2.0 */
/* A secret from a person or a descriptor; never from argv or the environment. */
#pragma once

#include "core/mem.h"

/* fd >= 0: one line is read from it; else from the terminal, without echo. *out: kp_free_secret. */
KP_CHECK int kp_password_read(char **out, int fd, const char *prompt, struct kp_err *err);
