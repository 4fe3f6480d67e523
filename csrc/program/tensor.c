#include <string.h>

#include "tensor.h"

int lf_set_tensor(lf_tensor *tensor, lf_kind kind, size_t rank, const int64_t *sizes) {
    if (rank > LF_MAX_RANK)
        return 0;
    *tensor = (lf_tensor){.kind = kind, .shape.rank = (uint32_t)rank, .count = 1};
    for (size_t axis = 0; axis < rank; axis++) {
        /* so that the product never exceeds the limit, and nothing overflows */
        if (sizes[axis] < 1 || sizes[axis] > LF_MAX_SIZE / (int64_t)tensor->count)
            return 0;
        tensor->shape.sizes[axis] = (uint32_t)sizes[axis];
        tensor->count *= (size_t)sizes[axis];
    }
    return 1;
}

int lf_is_same_shape(const lf_shape *a, const lf_shape *b) {
    return a->rank == b->rank && memcmp(a->sizes, b->sizes, a->rank * sizeof *a->sizes) == 0;
}
