/* SPDX-License-Identifier: Apache-2.0 */
#include "core/slice.h"

#include <ctype.h>

bool kp_slice_equal(struct kp_slice a, const char *b)
{
    return a.len == strlen(b) && memcmp(a.ptr, b, a.len) == 0;
}

bool kp_slice_starts(struct kp_slice s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.len >= n && memcmp(s.ptr, prefix, n) == 0;
}

bool kp_slice_cut(struct kp_slice *s, char separator, struct kp_slice *before)
{
    const char *at = s->len ? memchr(s->ptr, separator, s->len) : NULL;
    if (!at)
        return false;
    size_t n = (size_t)(at - s->ptr);
    *before = (struct kp_slice){s->ptr, n};
    s->ptr += n + 1;
    s->len -= n + 1;
    return true;
}

bool kp_slice_line(struct kp_slice *s, struct kp_slice *line)
{
    if (!s->len)
        return false;
    if (!kp_slice_cut(s, '\n', line)) {
        *line = *s;
        s->ptr += s->len;
        s->len = 0;
    }
    if (line->len && line->ptr[line->len - 1] == '\r')
        line->len--;
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct kp_slice kp_slice_trim(struct kp_slice s)
{
    while (s.len && is_blank(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len && is_blank(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

static bool parse_digits(struct kp_slice s, unsigned base, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    if (!s.len)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        unsigned digit = (unsigned)(unsigned char)s.ptr[i] - '0';
        if (digit >= base || __builtin_mul_overflow(v, base, &v) ||
            __builtin_add_overflow(v, digit, &v) || v > max)
            return false;
    }
    *out = v;
    return true;
}

bool kp_parse_u64(struct kp_slice s, uint64_t max, uint64_t *out)
{
    if (s.len > 1 && s.ptr[0] == '0')
        return false;
    return parse_digits(s, 10, max, out);
}

bool kp_parse_i64(struct kp_slice s, int64_t *out)
{
    bool negative = s.len && s.ptr[0] == '-';
    uint64_t v;
    if (negative) {
        s.ptr++;
        s.len--;
    }
    if (!kp_parse_u64(s, INT64_MAX, &v))
        return false;
    *out = negative ? -(int64_t)v : (int64_t)v;
    return true;
}

bool kp_parse_octal(struct kp_slice s, uint64_t max, uint64_t *out)
{
    return parse_digits(s, 8, max, out);
}

static bool parse_unit(struct kp_slice unit, uint64_t *factor)
{
    static const char letters[] = "KMGT";
    *factor = 1;
    if (unit.len && unit.ptr[unit.len - 1] == 'B')
        unit.len--;
    if (!unit.len)
        return true;
    const char *at = memchr(letters, toupper((unsigned char)unit.ptr[0]), sizeof(letters) - 1);
    bool binary = unit.len == 2 && unit.ptr[1] == 'i';
    if (!at || (unit.len != 1 && !binary))
        return false;
    for (const char *p = letters; p <= at; p++)
        *factor *= binary ? 1024 : 1000;
    return true;
}

bool kp_parse_size(struct kp_slice s, uint64_t *out)
{
    size_t digits = 0, fraction = 0;
    while (digits < s.len && isdigit((unsigned char)s.ptr[digits]))
        digits++;
    size_t end = digits;
    if (end < s.len && s.ptr[end] == '.') {
        while (end + 1 + fraction < s.len && isdigit((unsigned char)s.ptr[end + 1 + fraction]))
            fraction++;
        if (!fraction || fraction > 6)
            return false;
        end += 1 + fraction;
    }
    uint64_t whole, part = 0, factor, scale = 1;
    if (!kp_parse_u64((struct kp_slice){s.ptr, digits}, UINT64_MAX, &whole) ||
        !parse_unit((struct kp_slice){s.ptr + end, s.len - end}, &factor))
        return false;
    if (fraction &&
        !parse_digits((struct kp_slice){s.ptr + digits + 1, fraction}, 10, 999999, &part))
        return false;
    for (size_t i = 0; i < fraction; i++)
        scale *= 10;
    if (__builtin_mul_overflow(whole, factor, &whole) ||
        __builtin_mul_overflow(part, factor, &part))
        return false;
    return !__builtin_add_overflow(whole, part / scale, out);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool kp_parse_hex(struct kp_slice s, uint8_t *out, size_t len)
{
    if (s.len != 2 * len)
        return false;
    for (size_t i = 0; i < len; i++) {
        int high = hex_value(s.ptr[2 * i]), low = hex_value(s.ptr[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

void kp_hex(char *out, const uint8_t *in, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[in[i] >> 4];
        out[2 * i + 1] = digits[in[i] & 15];
    }
    out[2 * len] = '\0';
}
