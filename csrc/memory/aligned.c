/* Aligned memory, which Windows has under names of its own and gives back by another function than free. */
#include <stdlib.h>
#include <string.h>
#if defined(_WIN32)
#include <malloc.h>
#endif

#include "memory.h"

#if defined(_WIN32)
void *lf_alloc_aligned(size_t alignment, size_t bytes) { return _aligned_malloc(bytes, alignment); }

void lf_free(void *memory) { _aligned_free(memory); }
#else
void *lf_alloc_aligned(size_t alignment, size_t bytes) { return aligned_alloc(alignment, bytes); }

void lf_free(void *memory) { free(memory); }
#endif

void *lf_alloc_zeroed(size_t bytes) {
    bytes = lf_round_up(bytes, LF_ALIGNMENT);
    void *memory = lf_alloc_aligned(LF_ALIGNMENT, bytes);
    if (memory)
        memset(memory, 0, bytes);
    return memory;
}
