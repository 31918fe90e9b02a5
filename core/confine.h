/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fences for a program that is started for its output alone: no sockets of any kind (seccomp, which
 * needs no privilege), no io_uring beside it, no core file, bounded processor time and file sizes.
 */
#pragma once

#include <stdbool.h>

#define KP_CONFINED_CPU_S 120
#define KP_CONFINED_FILE_MAX (64UL << 20) /* a file that it writes */

/* Between fork and exec (async-signal-safe); what is started inherits it and cannot undo it. False
 * where the kernel does not do it, errno says why. */
bool kp_confine(void);
