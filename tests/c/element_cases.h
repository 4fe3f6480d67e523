/* Values, loops and comparisons for the tests of what goes element by element. */
#ifndef ELEMENT_CASES_H
#define ELEMENT_CASES_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernel.h"
#include "pseudo_random.h"

enum {
    MOST_ELEMENTS = 4096,
    MARGIN = 3
}; /* of an operand; floats by which it is off every alignment */

static const float special_values[] = {0.0f,       -0.0f,       1.0f,
                                       -1.0f,      2.0f,        -2.0f,
                                       0.5f,       -0.5f,       3.0f,
                                       -3.0f,      1.5f,        -2.5f,
                                       7.0f,       INFINITY,    -INFINITY,
                                       NAN,        0x1p-126f,   -0x1p-126f,
                                       3e38f,      -3e38f,      88.7f,
                                       89.5f,      -87.4f,      -104.0f,
                                       0x1p23f,    16777215.0f, -8388607.0f,
                                       0.9999f,    0.99999994f, 1.0000001f,
                                       4.1f,       -3.9f,       0x1.fffffep127f,
                                       4194303.5f, 1e-20f};
enum { SPECIAL_VALUES = sizeof special_values / sizeof *special_values };

static inline uint32_t below(uint32_t *state, uint32_t count) {
    return (uint32_t)((pseudo_random(state) + 0.5f) * (float)count);
}

/* One of the special values, something of a usual size, or anything that is canonical. */
static inline float next_value(uint32_t *state) {
    const uint32_t bits = (below(state, 65536) << 16) | below(state, 65536);
    float value;
    switch (below(state, 3)) {
    case 0:
        return special_values[below(state, SPECIAL_VALUES)];
    case 1:
        return pseudo_random(state) * 20.0f;
    }
    memcpy(&value, &bits, sizeof value);
    return isnan(value) ? NAN : fabsf(value) < 0x1p-126f ? copysignf(0.0f, value) : value;
}

static inline int same_bits(const void *a, const void *b, size_t bytes) {
    return memcmp(a, b, bytes) == 0;
}

/* Strides over memory in a random order of axes, with gaps, backwards, or, but for the result, repeated; and the offset
 * of the first element. */
static inline ptrdiff_t random_strides(uint32_t *state, const lf_loops *loops, int may_repeat,
                                       int32_t *strides) {
    uint32_t left[LF_MAX_RANK];
    ptrdiff_t offset = 0;
    int32_t stride = 1 + (int32_t)(below(state, 4) == 0);
    for (uint32_t axis = 0; axis < loops->rank; axis++)
        left[axis] = axis;
    for (uint32_t n = loops->rank; n > 0; n--) {
        const uint32_t pick = below(state, 3) == 0 ? below(state, n) : n - 1, axis = left[pick];
        left[pick] = left[n - 1];
        strides[axis] = stride;
        if (may_repeat && below(state, 4) == 0)
            strides[axis] = 0;
        if (below(state, 8) == 0)
            strides[axis] = -strides[axis];
        if (strides[axis] < 0)
            offset -= (ptrdiff_t)strides[axis] * ((ptrdiff_t)loops->sizes[axis] - 1);
        stride *= (int32_t)loops->sizes[axis];
    }
    return offset;
}

/* Where the elements of operand n are that the loops come to, in their order; returns how many. */
static inline size_t list_elements(const lf_loops *loops, uint32_t n, ptrdiff_t *at) {
    size_t count = 1, all = 1;
    at[0] = 0;
    for (uint32_t axis = 0; axis < loops->rank; axis++)
        all *= loops->sizes[axis];
    for (count = 0; count < all; count++) {
        size_t rest = count;
        at[count] = 0;
        for (uint32_t axis = loops->rank; axis-- > 0;) {
            at[count] += (ptrdiff_t)(rest % loops->sizes[axis]) * loops->strides[n][axis];
            rest /= loops->sizes[axis];
        }
    }
    return count;
}

/* Of few elements mostly, or of a long innermost axis. */
static inline void random_sizes(uint32_t *state, uint32_t most_rank, uint32_t most,
                                lf_loops *loops) {
    memset(loops, 0, sizeof *loops);
    loops->rank = 1 + below(state, most_rank);
    for (uint32_t axis = 0; axis < loops->rank; axis++)
        loops->sizes[axis] = 1 + below(state, 4);
    loops->sizes[loops->rank - 1] = 1 + below(state, most);
}

#endif
