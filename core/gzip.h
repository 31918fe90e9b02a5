/* SPDX-License-Identifier: Apache-2.0 */
/* gzip (RFC 1952), which every node can unpack. */
#pragma once

#include "core/buf.h"
#include "core/err.h"

/* The bytes as one gzip member, added to *out. KP_FAILED "too_large" past out's limit. */
KP_CHECK int kp_gzip(struct kp_slice plain, struct kp_buf *out, struct kp_err *err);
