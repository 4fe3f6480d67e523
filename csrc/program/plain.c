#include "plain.h"

#include <string.h>

#include "walk.h"

/* ---- copies ---- */

/* count elements of a constant size, a stride apart on both sides, at any alignment. */
static inline void copy_strided(size_t bytes, size_t count, char *to, ptrdiff_t to_step,
                                const char *from, ptrdiff_t from_step) {
    for (size_t n = 0; n < count; n++)
        memcpy(to + (ptrdiff_t)(n * bytes) * to_step, from + (ptrdiff_t)(n * bytes) * from_step,
               bytes);
}

static void copy_axis(size_t bytes, size_t count, char *to, ptrdiff_t to_step, const char *from,
                      ptrdiff_t from_step) {
    if (to_step == 1 && from_step == 1) {
        memcpy(to, from, count * bytes);
        return;
    }
    switch (bytes) {
    case 1:
        copy_strided(1, count, to, to_step, from, from_step);
        return;
    case 4:
        copy_strided(4, count, to, to_step, from, from_step);
        return;
    case 8:
        copy_strided(8, count, to, to_step, from, from_step);
        return;
    default: /* there is no kind of another size */
        return;
    }
}

static void copy(const lf_loops *loops, size_t bytes, char *y, uint32_t operand, const char *x) {
    const uint32_t last = loops->rank - 1;
    lf_walk w = {{0}, {0}};
    do
        copy_axis(bytes, loops->sizes[last], y + w.at[0] * (ptrdiff_t)bytes,
                  loops->strides[0][last], x + w.at[operand] * (ptrdiff_t)bytes,
                  loops->strides[operand][last]);
    while (lf_walk_on(loops, last, &w));
}

void lf_copy_loops(const lf_loops *loops, size_t element_bytes, void *y, const void *x) {
    copy(loops, element_bytes, y, 1, x);
}

static void fill(const lf_plain *p, float *y) {
    const uint32_t last = p->loops.rank - 1;
    lf_walk w = {{0}, {0}};
    do
        for (uint32_t n = 0; n < p->loops.sizes[last]; n++)
            y[w.at[0] + (ptrdiff_t)n * p->loops.strides[0][last]] = p->value;
    while (lf_walk_on(&p->loops, last, &w));
}

/* ---- logic ---- */

/* FORMULA of elements a and b, and c where there are three. */
#define LF_LOGIC_OF(type, result_type, FORMULA)                                                    \
    do {                                                                                           \
        for (uint32_t n = 0; n < size; n++) {                                                      \
            const type a = ((const type *)x[0])[at[1] + (ptrdiff_t)n * step[1]];                   \
            const type b = ((const type *)x[1])[at[2] + (ptrdiff_t)n * step[2]];                   \
            ((result_type *)y)[at[0] + (ptrdiff_t)n * step[0]] = (result_type)(FORMULA);           \
        }                                                                                          \
    } while (0)

#define LF_COMPARE(FORMULA)                                                                        \
    switch (p->from) {                                                                             \
    case LF_KIND_FLOAT32:                                                                          \
        LF_LOGIC_OF(float, uint8_t, FORMULA);                                                      \
        return;                                                                                    \
    case LF_KIND_INT64:                                                                            \
        LF_LOGIC_OF(int64_t, uint8_t, FORMULA);                                                    \
        return;                                                                                    \
    case LF_KIND_BOOL:                                                                             \
        LF_LOGIC_OF(uint8_t, uint8_t, FORMULA);                                                    \
        return;                                                                                    \
    }                                                                                              \
    return

#define LF_CHOOSE(type)                                                                            \
    do {                                                                                           \
        for (uint32_t n = 0; n < size; n++) {                                                      \
            const ptrdiff_t i = (ptrdiff_t)n;                                                      \
            const int holds = ((const uint8_t *)x[0])[at[1] + i * step[1]];                        \
            ((type *)y)[at[0] + i * step[0]] = holds ? ((const type *)x[1])[at[2] + i * step[2]]   \
                                                     : ((const type *)x[2])[at[3] + i * step[3]];  \
        }                                                                                          \
    } while (0)

static void logic_axis(const lf_plain *p, uint32_t size, void *y, const void *const *x,
                       const ptrdiff_t *at, const ptrdiff_t *step) {
    switch (p->code) {
    case LF_OP_LESS:
        LF_COMPARE(a < b);
    case LF_OP_GREATER:
        LF_COMPARE(a > b);
    case LF_OP_EQUAL:
        LF_COMPARE(a == b);
    case LF_OP_LOGICAL_AND:
        LF_COMPARE(a != 0 && b != 0);
    case LF_OP_LOGICAL_OR:
        LF_COMPARE(a != 0 || b != 0);
    case LF_OP_LOGICAL_NOT:
        for (uint32_t n = 0; n < size; n++)
            ((uint8_t *)y)[at[0] + (ptrdiff_t)n * step[0]] =
                !((const uint8_t *)x[0])[at[1] + (ptrdiff_t)n * step[1]];
        return;
    case LF_OP_WHERE:
        if (p->element_bytes == 1)
            LF_CHOOSE(uint8_t);
        else if (p->element_bytes == 4)
            LF_CHOOSE(uint32_t);
        else
            LF_CHOOSE(uint64_t);
        return;
    default: /* the planner makes no others */
        return;
    }
}

static void logic(const lf_plain *p, void *y, const void *const *x) {
    const uint32_t last = p->loops.rank - 1;
    ptrdiff_t step[LF_MAX_OPERANDS];
    for (int n = 0; n < LF_MAX_OPERANDS; n++)
        step[n] = p->loops.strides[n][last];
    lf_walk w = {{0}, {0}};
    do
        logic_axis(p, p->loops.sizes[last], y, x, w.at, step);
    while (lf_walk_on(&p->loops, last, &w));
}

/* ---- kinds ---- */

/* Towards zero; INT64_MIN where there is no such integer. */
static int64_t to_int(float value) {
    return value >= -0x1p63f && value < 0x1p63f ? (int64_t)value : INT64_MIN;
}

/* y = FORMULA of x, by the kinds of both. */
#define LF_CAST(from_type, to_type, FORMULA)                                                       \
    for (uint32_t n = 0; n < size; n++) {                                                          \
        const from_type a = ((const from_type *)x)[from + (ptrdiff_t)n * from_step];               \
        ((to_type *)y)[to + (ptrdiff_t)n * to_step] = (to_type)(FORMULA);                          \
    }                                                                                              \
    return

static void cast_axis(const lf_plain *p, uint32_t size, void *y, ptrdiff_t to, ptrdiff_t to_step,
                      const void *x, ptrdiff_t from, ptrdiff_t from_step) {
    enum { KINDS = LF_KIND_BOOL + 1 };
    switch (p->from * KINDS + p->to) {
    case LF_KIND_FLOAT32 *KINDS + LF_KIND_FLOAT32:
        LF_CAST(float, float, a);
    case LF_KIND_FLOAT32 *KINDS + LF_KIND_INT64:
        LF_CAST(float, int64_t, to_int(a));
    case LF_KIND_FLOAT32 *KINDS + LF_KIND_BOOL:
        LF_CAST(float, uint8_t, a != 0);
    case LF_KIND_INT64 *KINDS + LF_KIND_FLOAT32:
        LF_CAST(int64_t, float, a);
    case LF_KIND_INT64 *KINDS + LF_KIND_INT64:
        LF_CAST(int64_t, int64_t, a);
    case LF_KIND_INT64 *KINDS + LF_KIND_BOOL:
        LF_CAST(int64_t, uint8_t, a != 0);
    case LF_KIND_BOOL *KINDS + LF_KIND_FLOAT32:
        LF_CAST(uint8_t, float, a);
    case LF_KIND_BOOL *KINDS + LF_KIND_INT64:
        LF_CAST(uint8_t, int64_t, a);
    case LF_KIND_BOOL *KINDS + LF_KIND_BOOL:
        LF_CAST(uint8_t, uint8_t, a);
    default: /* there is no other kind */
        return;
    }
}

static void cast(const lf_plain *p, void *y, const void *x) {
    const uint32_t last = p->loops.rank - 1;
    lf_walk w = {{0}, {0}};
    do
        cast_axis(p, p->loops.sizes[last], y, w.at[0], p->loops.strides[0][last], x, w.at[1],
                  p->loops.strides[1][last]);
    while (lf_walk_on(&p->loops, last, &w));
}

/* ---- rows by their indices ---- */

static int all_are_within(const lf_plain *p, const int64_t *indices) {
    const uint32_t last = p->loops.rank - 1;
    lf_walk w = {{0}, {0}};
    do
        for (uint32_t n = 0; n < p->loops.sizes[last]; n++) {
            const int64_t index = indices[w.at[1] + (ptrdiff_t)n * p->loops.strides[1][last]];
            if (index < -p->rows || index >= p->rows)
                return 0;
        }
    while (lf_walk_on(&p->loops, last, &w));
    return 1;
}

static lf_status take_rows(const lf_plain *p, char *y, const char *x, const int64_t *indices) {
    const uint32_t last = p->loops.rank - 1;
    const ptrdiff_t bytes = (ptrdiff_t)p->element_bytes;
    if (!p->is_checked && !all_are_within(p, indices))
        return LF_ERR_INDEX;
    lf_walk w = {{0}, {0}};
    do
        for (uint32_t n = 0; n < p->loops.sizes[last]; n++) {
            const ptrdiff_t i = (ptrdiff_t)n;
            const int64_t index = indices[w.at[1] + i * p->loops.strides[1][last]];
            const ptrdiff_t row = (ptrdiff_t)(index < 0 ? index + p->rows : index);
            const ptrdiff_t to = w.at[0] + i * p->loops.strides[0][last];
            const ptrdiff_t from = w.at[2] + i * p->loops.strides[2][last] + row * p->row_step;
            copy(&p->inner, p->element_bytes, y + to * bytes, 1, x + from * bytes);
        }
    while (lf_walk_on(&p->loops, last, &w));
    return LF_OK;
}

lf_status lf_run_plain(const lf_plain *p, void *y, const void *const *x) {
    switch (p->kind) {
    case LF_PLAIN_COPY:
        copy(&p->loops, p->element_bytes, y, 1, x[0]);
        return LF_OK;
    case LF_PLAIN_FILL:
        fill(p, y);
        return LF_OK;
    case LF_PLAIN_LOGIC:
        logic(p, y, x);
        return LF_OK;
    case LF_PLAIN_CAST:
        cast(p, y, x[0]);
        return LF_OK;
    case LF_PLAIN_ROWS:
        return take_rows(p, y, x[0], x[1]);
    }
    return LF_OK;
}
