/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 of RFC 4648 §4: with padding, no line ends, no other bytes. */
#pragma once

#include "core/mem.h"
#include "core/slice.h"

char *kp_base64(const void *data, size_t len); /* kp_free */
/* *out is NUL-terminated beyond *len; kp_free. False for anything but canonical Base64; missing
 * padding too. */
bool kp_base64_parse(struct kp_slice text, char **out, size_t *len);
