/* Counts allocations, and lets them fail: for programs linked with --wrap=malloc and so on. */
#ifndef ALLOCATIONS_H
#define ALLOCATIONS_H

#include <stddef.h>

enum { PLENTY = 1 << 30 };
static int allocations, allowed = PLENTY; /* the one after these fails */

/* Also in threads. */
static inline int is_allowed(void) {
    return __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED) < allowed;
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

void *__wrap_malloc(size_t size) { return is_allowed() ? __real_malloc(size) : NULL; }
void *__wrap_calloc(size_t count, size_t size) {
    return is_allowed() ? __real_calloc(count, size) : NULL;
}
void *__wrap_realloc(void *old, size_t size) {
    return allocations++ < allowed ? __real_realloc(old, size) : NULL;
}
void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    return is_allowed() ? __real_aligned_alloc(alignment, size) : NULL;
}

#endif
