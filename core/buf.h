/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing byte buffer with a named maximum. Lives by value: kp_auto_value(kp_buf) b =
 * KP_BUF(LIMIT). The first failure (too long) sticks in `overflow`, so that a chain of appends
 * needs one check at its end. Data is always NUL-terminated beyond len.
 */
#pragma once

#include "core/mem.h"
#include "core/slice.h"

struct kp_buf {
    char *data; /* NULL while empty */
    size_t len;
    size_t cap;
    size_t max;
    bool overflow;
    bool secret; /* wiped when released or moved */
};

#define KP_BUF(limit) ((struct kp_buf){.max = (limit)})
#define KP_BUF_SECRET(limit) ((struct kp_buf){.max = (limit), .secret = true})

void kp_buf_release(struct kp_buf *buf); /* frees and empties; the limit stays */
KP_DEFINE_AUTO_VALUE(kp_buf);
/* Each returns false, and sets overflow, where the limit would be passed; nothing is added then. */
bool kp_buf_add(struct kp_buf *buf, const void *data, size_t len);
bool kp_buf_adds(struct kp_buf *buf, const char *s);
bool kp_buf_addf(struct kp_buf *buf, const char *fmt, ...) KP_PRINTF(2, 3);
/* Room for len more bytes; NULL past the limit. The caller adds to buf->len what it used. */
char *kp_buf_reserve(struct kp_buf *buf, size_t len);
void kp_buf_consume(struct kp_buf *buf, size_t len); /* drops len bytes at the front */
void kp_buf_clear(struct kp_buf *buf);
/* Hands the bytes to the caller (kp_free); "" where empty. */
char *kp_buf_steal(struct kp_buf *buf);

static inline struct kp_slice kp_buf_slice(const struct kp_buf *buf)
{
    return (struct kp_slice){buf->data ? buf->data : "", buf->len};
}
