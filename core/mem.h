/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory. Allocation failure aborts (there is nothing sensible to do). Cleanup is by attribute
 * only: `kp_auto_free char *s`, `kp_auto_fd int fd = -1`, `kp_auto(kp_bundle) b = …` for a type
 * `struct kp_bundle` with `void kp_bundle_free(struct kp_bundle *)` announced by
 * KP_DEFINE_AUTO(kp_bundle). Ownership leaves a variable by kp_steal(&v).
 */
#pragma once

#include "core/err.h"

#include <stddef.h>
#include <stdint.h>

#define kp_auto_free __attribute__((cleanup(kp_cleanup_free_)))
#define kp_auto_fd __attribute__((cleanup(kp_cleanup_fd_)))
#define kp_auto(type) __attribute__((cleanup(type##_cleanup_))) struct type *
#define kp_auto_value(type) __attribute__((cleanup(type##_release_))) struct type

/* For a type that is a pointer to a struct, freed by NAME_free(); kp_auto(NAME) variable = NULL. */
#define KP_DEFINE_AUTO(type)                                                                       \
    static inline void type##_cleanup_(struct type **p)                                            \
    {                                                                                              \
        type##_free(*p);                                                                           \
    }                                                                                              \
    struct type
/* For a struct that lives by value, emptied by NAME_release(); kp_auto_value(NAME) variable = {0}.
 */
#define KP_DEFINE_AUTO_VALUE(type)                                                                 \
    static inline void type##_release_(struct type *p)                                             \
    {                                                                                              \
        type##_release(p);                                                                         \
    }                                                                                              \
    struct type

/* Moves a pointer out of an automatically freed variable. */
#define kp_steal(pp)                                                                               \
    __extension__({                                                                                \
        __typeof__(*(pp)) stolen_ = *(pp);                                                         \
        *(pp) = NULL;                                                                              \
        stolen_;                                                                                   \
    })

#define KP_COUNT(array) (sizeof(array) / sizeof((array)[0]))

void *kp_alloc(size_t size);                                /* zeroed */
void *kp_alloc_array(size_t count, size_t size);            /* zeroed; overflow aborts */
void *kp_realloc_array(void *p, size_t count, size_t size); /* new part is not zeroed */
char *kp_strdup(const char *s);                             /* NULL gives NULL */
char *kp_strndup(const char *s, size_t len);
char *kp_asprintf(const char *fmt, ...) KP_PRINTF(1, 2);
void kp_free(void *p);
/* Overwrites, then frees; for secrets. */
void kp_free_secret(void *p, size_t size);
int kp_steal_fd(int *fd); /* returns *fd, leaves -1 */

void kp_cleanup_free_(void *pp);
void kp_cleanup_fd_(int *fd);

/*
 * A document's arena: everything in it is freed at once. Used by parsed documents, whose strings
 * and arrays all live as long as the document.
 */
struct kp_arena;
struct kp_arena *kp_arena_new(void);
void kp_arena_free(struct kp_arena *arena);
KP_DEFINE_AUTO(kp_arena);
void *kp_arena_alloc(struct kp_arena *arena, size_t size); /* zeroed, aligned to 16 */
void *kp_arena_array(struct kp_arena *arena, size_t count, size_t size);
char *kp_arena_strdup(struct kp_arena *arena, const char *s); /* NULL gives NULL */
char *kp_arena_strndup(struct kp_arena *arena, const char *s, size_t len);
char *kp_arena_printf(struct kp_arena *arena, const char *fmt, ...) KP_PRINTF(2, 3);
