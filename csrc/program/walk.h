/* From one run along the innermost axis of loops to the next. */
#ifndef LF_WALK_H
#define LF_WALK_H

#include "loops.h"

/* at: how many elements each operand is from its beginning. It starts from zeros. */
typedef struct lf_walk {
    uint32_t index[LF_MAX_RANK];
    ptrdiff_t at[LF_MAX_OPERANDS];
} lf_walk;

/* The next index of the first `axes` axes in C's order, and 0 where there is none. */
static inline int lf_walk_on(const lf_loops *loops, uint32_t axes, lf_walk *walk) {
    for (uint32_t axis = axes; axis-- > 0;) {
        const int is_last = ++walk->index[axis] == loops->sizes[axis];
        const ptrdiff_t steps = is_last ? 1 - (ptrdiff_t)loops->sizes[axis] : 1;
        for (uint32_t n = 0; n < LF_MAX_OPERANDS; n++)
            walk->at[n] += steps * loops->strides[n][axis];
        if (!is_last)
            return 1;
        walk->index[axis] = 0;
    }
    return 0;
}

#endif
