#include <stdlib.h>
#include <string.h>

#include "plain.h"
#include "walk.h"

/* Elements of one size, which is a constant here: a memcpy of it is a load and a store. */
#define LF_COPY_RUN(bytes)                                                                         \
    for (size_t j = 0; j < count; j++, y += y_step * (bytes), x += x_step * (bytes))               \
        memcpy(y, x, bytes);                                                                       \
    break

static void copy_run(size_t count, size_t element_bytes, char *y, ptrdiff_t y_step, const char *x,
                     ptrdiff_t x_step) {
    switch (element_bytes) {
    case 1:
        LF_COPY_RUN(1);
    case 4:
        LF_COPY_RUN(4);
    case 8:
        LF_COPY_RUN(8);
    }
}

void lf_copy_loops(const lf_loops *loops, size_t element_bytes, void *y, const void *x) {
    const uint32_t inner = loops->rank - 1;
    const size_t count = loops->sizes[inner];
    const int32_t y_step = loops->strides[0][inner], x_step = loops->strides[1][inner];
    const ptrdiff_t bytes = (ptrdiff_t)element_bytes;
    lf_walk walk = {0};
    do {
        char *const to = (char *)y + walk.at[0] * bytes;
        const char *const from = (const char *)x + walk.at[1] * bytes;
        if (y_step == 1 && x_step == 1)
            memcpy(to, from, count * element_bytes);
        else
            copy_run(count, element_bytes, to, y_step, from, x_step);
    } while (lf_walk_on(loops, inner, &walk));
}

lf_status lf_gather_rows(const lf_gather *gather, const lf_loops *row, size_t element_bytes,
                         void *y, const void *x, const int64_t *indices) {
    const int64_t rows = (int64_t)gather->rows;
    const ptrdiff_t bytes = (ptrdiff_t)element_bytes;
    for (size_t n = 0; n < gather->count; n++)
        if (indices[n] < -rows || indices[n] >= rows)
            return LF_ERR_INDEX;
    for (size_t n = 0; n < gather->count; n++) {
        const ptrdiff_t index = (ptrdiff_t)(indices[n] < 0 ? indices[n] + rows : indices[n]);
        lf_copy_loops(row, element_bytes, (char *)y + (ptrdiff_t)n * gather->y_step * bytes,
                      (const char *)x + index * gather->x_step * bytes);
    }
    return LF_OK;
}

/* ---- pad: x to its place in y, and then along one axis after the other what is missing ---- */

typedef enum lf_source { LF_FROM_X, LF_FROM_VALUE, LF_FROM_RESULT } lf_source;

typedef struct lf_pad_copy {
    lf_source source;
    ptrdiff_t to, from;
    lf_loops loops;
} lf_pad_copy;

enum { LF_PAD_COPIES = 1 + 2 * LF_MAX_RANK };

struct lf_pad {
    float value;
    size_t count;
    lf_pad_copy copies[LF_PAD_COPIES];
};

/* `count` values along an axis from the index `first` on. `done`: the part of y, at `begin`, that has values. */
static void add_side(lf_pad *pad, const lf_padding *padding, const lf_pad_copy *done,
                     ptrdiff_t begin, uint32_t axis, int32_t count, int32_t first) {
    if (count == 0)
        return;
    lf_pad_copy *const copy = &pad->copies[pad->count++];
    const ptrdiff_t stride = done->loops.strides[0][axis];
    *copy = *done;
    copy->loops.sizes[axis] = (uint32_t)count;
    copy->to = begin + first * stride;
    copy->source = padding->is_reflected ? LF_FROM_RESULT : LF_FROM_VALUE;
    memset(copy->loops.strides[1], 0, sizeof copy->loops.strides[1]);
    copy->from = 0;
    if (!padding->is_reflected)
        return;
    const int32_t before = padding->before[axis], size = (int32_t)done->loops.sizes[axis];
    const int32_t edge = first < before ? before : before + size - 1;
    copy->from = begin + (2 * edge - first) * stride;
    memcpy(copy->loops.strides[1], done->loops.strides[0], sizeof copy->loops.strides[1]);
    copy->loops.strides[1][axis] = -done->loops.strides[0][axis];
}

lf_status lf_plan_pad(const lf_padding *padding, const lf_shape *x, const int32_t *x_strides,
                      const int32_t *y_strides, lf_plain *plain) {
    lf_pad *const pad = calloc(1, sizeof *pad);
    if (!pad)
        return LF_ERR_MEMORY;
    lf_pad_copy done = {.loops = {.rank = x->rank ? x->rank : 1, .sizes = {1}}};
    for (uint32_t axis = 0; axis < x->rank; axis++) {
        done.loops.sizes[axis] = x->sizes[axis];
        done.loops.strides[0][axis] = y_strides[axis];
        done.loops.strides[1][axis] = x_strides[axis];
        done.to += (ptrdiff_t)padding->before[axis] * y_strides[axis];
    }
    pad->value = padding->value;
    pad->copies[pad->count++] = done;
    for (uint32_t axis = 0; axis < x->rank; axis++) {
        const int32_t before = padding->before[axis], after = padding->after[axis];
        const int32_t size = (int32_t)x->sizes[axis];
        const ptrdiff_t begin = done.to - (ptrdiff_t)before * y_strides[axis];
        add_side(pad, padding, &done, begin, axis, before, 0);
        add_side(pad, padding, &done, begin, axis, after, before + size);
        done.loops.sizes[axis] = (uint32_t)(before + size + after);
        done.to = begin;
    }
    *plain = (lf_plain){.code = LF_OP_PAD, .kind = LF_KIND_FLOAT32, .pad = pad};
    return LF_OK;
}

void lf_run_pad(const lf_pad *pad, float *y, const float *x) {
    for (size_t n = 0; n < pad->count; n++) {
        const lf_pad_copy *const copy = &pad->copies[n];
        switch (copy->source) {
        case LF_FROM_X:
            lf_copy_loops(&copy->loops, sizeof *y, y + copy->to, x);
            break;
        case LF_FROM_VALUE:
            lf_copy_loops(&copy->loops, sizeof *y, y + copy->to, &pad->value);
            break;
        case LF_FROM_RESULT:
            lf_copy_loops(&copy->loops, sizeof *y, y + copy->to, y + copy->from);
            break;
        }
    }
}
