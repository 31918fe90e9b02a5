/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *kp_base64(const void *data, size_t len)
{
    const uint8_t *in = data;
    char *out = kp_alloc((len + 2) / 3 * 4 + 1);
    size_t at = 0;
    for (size_t i = 0; i < len; i += 3) {
        size_t have = len - i < 3 ? len - i : 3;
        uint32_t bits = (uint32_t)in[i] << 16;
        bits |= have > 1 ? (uint32_t)in[i + 1] << 8 : 0;
        bits |= have > 2 ? (uint32_t)in[i + 2] : 0;
        out[at++] = alphabet[bits >> 18];
        out[at++] = alphabet[bits >> 12 & 63];
        out[at++] = have > 1 ? alphabet[bits >> 6 & 63] : '=';
        out[at++] = have > 2 ? alphabet[bits & 63] : '=';
    }
    return out;
}

static bool digit_of(char c, uint32_t *out)
{
    const char *at = c ? strchr(alphabet, c) : NULL;
    if (at)
        *out = (uint32_t)(at - alphabet);
    return at != NULL;
}

/* Four characters give three bytes less `padding`; bits beyond them must be 0. */
static bool parse_group(const char *in, size_t padding, uint8_t *out)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < 4; i++) {
        uint32_t digit = 0;
        if (i < 4 - padding && !digit_of(in[i], &digit))
            return false;
        bits = bits << 6 | digit;
    }
    if (bits & ((1U << (8 * padding)) - 1))
        return false;
    for (size_t i = 0; i < 3 - padding; i++)
        out[i] = (uint8_t)(bits >> (16 - 8 * i));
    return true;
}

bool kp_base64_parse(struct kp_slice text, char **out, size_t *len)
{
    if (text.len % 4)
        return false;
    size_t padding = 0;
    while (padding < 2 && padding < text.len && text.ptr[text.len - 1 - padding] == '=')
        padding++;
    size_t size = text.len / 4 * 3 - padding;
    char *data = kp_alloc(size + 1);
    for (size_t i = 0; i < text.len; i += 4) {
        bool last = i + 4 == text.len;
        if (!parse_group(text.ptr + i, last ? padding : 0, (uint8_t *)data + i / 4 * 3)) {
            kp_free_secret(data, size + 1);
            return false;
        }
    }
    *out = data;
    *len = size;
    return true;
}
