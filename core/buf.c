/* SPDX-License-Identifier: Apache-2.0 */
#include "core/buf.h"

#include <stdio.h>

void kp_buf_release(struct kp_buf *buf)
{
    if (buf->secret)
        kp_free_secret(buf->data, buf->cap);
    else
        kp_free(buf->data);
    buf->data = NULL;
    buf->len = buf->cap = 0;
    buf->overflow = false;
}

static void grow(struct kp_buf *buf, size_t cap)
{
    char *data = kp_alloc(cap);
    if (buf->len)
        memcpy(data, buf->data, buf->len);
    if (buf->secret)
        kp_free_secret(buf->data, buf->cap);
    else
        kp_free(buf->data);
    buf->data = data;
    buf->cap = cap;
}

char *kp_buf_reserve(struct kp_buf *buf, size_t len)
{
    if (len > buf->max || buf->len > buf->max - len) {
        buf->overflow = true;
        return NULL;
    }
    size_t need = buf->len + len + 1;
    if (need > buf->cap) {
        size_t cap = buf->cap ? buf->cap : 256;
        while (cap < need)
            cap *= 2;
        grow(buf, cap);
    }
    return buf->data + buf->len;
}

bool kp_buf_add(struct kp_buf *buf, const void *data, size_t len)
{
    char *room = kp_buf_reserve(buf, len);
    if (!room)
        return false;
    if (len)
        memcpy(room, data, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
    return true;
}

bool kp_buf_adds(struct kp_buf *buf, const char *s)
{
    return kp_buf_add(buf, s, strlen(s));
}

bool kp_buf_addf(struct kp_buf *buf, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *room = n < 0 ? NULL : kp_buf_reserve(buf, (size_t)n);
    if (!room)
        return false;
    va_start(ap, fmt);
    vsnprintf(room, (size_t)n + 1, fmt, ap);
    va_end(ap);
    buf->len += (size_t)n;
    return true;
}

void kp_buf_consume(struct kp_buf *buf, size_t len)
{
    if (len >= buf->len) {
        kp_buf_clear(buf);
        return;
    }
    memmove(buf->data, buf->data + len, buf->len - len);
    buf->len -= len;
    buf->data[buf->len] = '\0';
}

void kp_buf_clear(struct kp_buf *buf)
{
    buf->len = 0;
    buf->overflow = false;
    if (buf->data)
        buf->data[0] = '\0';
}

char *kp_buf_steal(struct kp_buf *buf)
{
    char *out = buf->data ? buf->data : kp_strdup("");
    buf->data = NULL;
    buf->len = buf->cap = 0;
    return out;
}
