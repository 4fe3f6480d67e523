/* Large pages, from the system itself. */
#define _DEFAULT_SOURCE /* madvise, MAP_ANONYMOUS */
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "memory.h"

#if defined(__linux__)
/*
 * Not from the heap: what it gives out may have been in use before, in small pages, and on the first touch the
 * system makes a large page only where there is none yet. The heap serves even large requests once a program
 * has given back something larger.
 */
void *lf_alloc_large(size_t bytes) {
    /* so much that a large page begins in it, and as much as is asked for follows */
    const size_t whole = bytes + LF_LARGE_PAGE;
    char *const memory =
        mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if ((void *)memory == MAP_FAILED)
        return NULL;
    char *const start = memory + (size_t)(-(uintptr_t)memory % LF_LARGE_PAGE);
    const size_t before = (size_t)(start - memory);
    if (before)
        (void)munmap(memory, before);
    (void)munmap(start + bytes, whole - bytes - before); /* at least a small page */
#if defined(MADV_HUGEPAGE)
    (void)madvise(start, bytes, MADV_HUGEPAGE); /* before the first touch; may be refused */
#endif
    return start;
}

void lf_free_large(void *memory, size_t bytes) {
    /* a process with too many mappings can't have a hole in one: then what it holds goes at least */
    if (munmap(memory, bytes))
        (void)madvise(memory, bytes, MADV_DONTNEED);
}
#else
void *lf_alloc_large(size_t bytes) { return lf_alloc_aligned(LF_LARGE_PAGE, bytes); }

void lf_free_large(void *memory, size_t bytes) {
    (void)bytes;
    lf_free(memory);
}
#endif
