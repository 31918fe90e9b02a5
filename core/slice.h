/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Borrowed bytes that are consumed from the front, and the only place where text becomes numbers.
 * A slice never owns; it is valid as long as what it was made from.
 */
#pragma once

#include "core/err.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct kp_slice {
    const char *ptr;
    size_t len;
};

static inline struct kp_slice kp_slice_of(const char *s)
{
    return (struct kp_slice){s, s ? strlen(s) : 0};
}

bool kp_slice_equal(struct kp_slice a, const char *b);
bool kp_slice_starts(struct kp_slice s, const char *prefix);
/* Takes the bytes before `separator` off the front, and the separator. False where it is not there;
 * nothing is consumed then. */
bool kp_slice_cut(struct kp_slice *s, char separator, struct kp_slice *before);
/* The next line without its end (LF or CRLF); false at the end. */
bool kp_slice_line(struct kp_slice *s, struct kp_slice *line);
struct kp_slice kp_slice_trim(struct kp_slice s); /* blanks, tabs, CR, LF at both ends */

/* Whole text is a decimal number: no sign, blank or leading zero ("0" itself is fine), no overflow.
 */
bool kp_parse_u64(struct kp_slice s, uint64_t max, uint64_t *out);
bool kp_parse_i64(struct kp_slice s, int64_t *out);
/* Octal digits, as in a tar header or a mode ("0755"). */
bool kp_parse_octal(struct kp_slice s, uint64_t max, uint64_t *out);
/* "64MiB", "1.5G", "700M", "4096": bytes; K, M, G, T are powers of 1000, Ki, Mi … of 1024. */
bool kp_parse_size(struct kp_slice s, uint64_t *out);
/* Exactly 2*len lower-case hex digits. */
bool kp_parse_hex(struct kp_slice s, uint8_t *out, size_t len);
void kp_hex(char *out, const uint8_t *in, size_t len); /* writes 2*len digits and a NUL */

static inline bool kp_ends_with(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

static inline bool kp_starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}
