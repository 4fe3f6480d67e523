#ifndef LF_OVERLAP_H
#define LF_OVERLAP_H

#include <stddef.h>
#include <stdint.h>

static inline int lf_overlap(const void *a, size_t a_bytes, const void *b, size_t b_bytes) {
    const uintptr_t p = (uintptr_t)a, q = (uintptr_t)b;
    return p < q + b_bytes && q < p + a_bytes;
}

#endif
