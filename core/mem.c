/* SPDX-License-Identifier: Apache-2.0 */
#include "core/mem.h"

#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARENA_CHUNK ((size_t)64 * 1024)
#define ARENA_ALIGN ((size_t)16)

struct chunk {
    struct chunk *next;
    size_t used;
    size_t size;
    alignas(16) unsigned char data[];
};

struct kp_arena {
    struct chunk *head;
};

static void *require(void *p)
{
    if (!p) {
        static const char text[] = "out of memory\n";
        ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);
        (void)ignored;
        abort();
    }
    return p;
}

void *kp_alloc(size_t size)
{
    return require(calloc(1, size ? size : 1));
}

void *kp_alloc_array(size_t count, size_t size)
{
    return require(calloc(count ? count : 1, size ? size : 1));
}

void *kp_realloc_array(void *p, size_t count, size_t size)
{
    return require(reallocarray(p, count ? count : 1, size ? size : 1));
}

char *kp_strdup(const char *s)
{
    return s ? require(strdup(s)) : NULL;
}

char *kp_strndup(const char *s, size_t len)
{
    return require(strndup(s, len));
}

char *kp_asprintf(const char *fmt, ...)
{
    char *out = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&out, fmt, ap);
    va_end(ap);
    return require(n < 0 ? NULL : out);
}

void kp_free(void *p)
{
    free(p);
}

void kp_free_secret(void *p, size_t size)
{
    if (p)
        explicit_bzero(p, size);
    free(p);
}

int kp_steal_fd(int *fd)
{
    int out = *fd;
    *fd = -1;
    return out;
}

void kp_cleanup_free_(void *pp)
{
    free(*(void **)pp);
}

void kp_cleanup_fd_(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

struct kp_arena *kp_arena_new(void)
{
    return kp_alloc(sizeof(struct kp_arena));
}

void kp_arena_free(struct kp_arena *arena)
{
    if (!arena)
        return;
    for (struct chunk *c = arena->head, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(arena);
}

void *kp_arena_alloc(struct kp_arena *arena, size_t size)
{
    if (size > SIZE_MAX - sizeof(struct chunk) - ARENA_ALIGN)
        require(NULL);
    size = (size + ARENA_ALIGN - 1) & ~(ARENA_ALIGN - 1);
    struct chunk *c = arena->head;
    if (!c || c->size - c->used < size) {
        size_t room = size > ARENA_CHUNK ? size : ARENA_CHUNK;
        c = kp_alloc(sizeof(*c) + room);
        c->size = room;
        c->next = arena->head;
        arena->head = c;
    }
    void *p = c->data + c->used;
    c->used += size;
    return p;
}

void *kp_arena_array(struct kp_arena *arena, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        require(NULL);
    return kp_arena_alloc(arena, total);
}

char *kp_arena_strndup(struct kp_arena *arena, const char *s, size_t len)
{
    char *out = kp_arena_alloc(arena, len + 1);
    memcpy(out, s, len);
    return out;
}

char *kp_arena_strdup(struct kp_arena *arena, const char *s)
{
    return s ? kp_arena_strndup(arena, s, strlen(s)) : NULL;
}

char *kp_arena_printf(struct kp_arena *arena, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        require(NULL);
    char *out = kp_arena_alloc(arena, (size_t)n + 1);
    va_start(ap, fmt);
    vsnprintf(out, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return out;
}
