#include "plain.h"

#include <stdlib.h>

#include "walk.h"

typedef unsigned char lf_bool; /* 0 or 1 */

/* RESULT for each element, from the operands at at[1], at[2] and at[3]. */
#define LF_EACH_ELEMENT(type_of_result, RESULT)                                                    \
    do {                                                                                           \
        type_of_result *const result = y;                                                          \
        const uint32_t inner = loops->rank - 1;                                                    \
        lf_walk walk = {0};                                                                        \
        do {                                                                                       \
            ptrdiff_t at[LF_MAX_OPERANDS];                                                         \
            for (uint32_t n = 0; n < LF_MAX_OPERANDS; n++)                                         \
                at[n] = walk.at[n];                                                                \
            for (uint32_t j = 0; j < loops->sizes[inner]; j++) {                                   \
                result[at[0]] = (RESULT);                                                          \
                for (uint32_t n = 0; n < LF_MAX_OPERANDS; n++)                                     \
                    at[n] += loops->strides[n][inner];                                             \
            }                                                                                      \
        } while (lf_walk_on(loops, inner, &walk));                                                 \
    } while (0)

/* Three comparisons of two operands of one type. */
#define LF_COMPARE(type)                                                                           \
    do {                                                                                           \
        const type *const a = first, *const b = second;                                            \
        switch (code) {                                                                            \
        case LF_OP_LESS:                                                                           \
            LF_EACH_ELEMENT(lf_bool, a[at[1]] < b[at[2]]);                                         \
            break;                                                                                 \
        case LF_OP_GREATER:                                                                        \
            LF_EACH_ELEMENT(lf_bool, a[at[1]] > b[at[2]]);                                         \
            break;                                                                                 \
        case LF_OP_EQUAL:                                                                          \
            LF_EACH_ELEMENT(lf_bool, a[at[1]] == b[at[2]]);                                        \
            break;                                                                                 \
        default: /* no comparison */                                                               \
            break;                                                                                 \
        }                                                                                          \
    } while (0)

static void compare(lf_operation_code code, lf_kind kind, const lf_loops *loops, void *y,
                    const void *first, const void *second) {
    switch (kind) {
    case LF_KIND_FLOAT32:
        LF_COMPARE(float);
        break;
    case LF_KIND_INT64:
        LF_COMPARE(int64_t);
        break;
    case LF_KIND_BOOL:
        LF_COMPARE(lf_bool);
        break;
    }
}

#define LF_CHOOSE(type)                                                                            \
    do {                                                                                           \
        const type *const a = first, *const b = second;                                            \
        LF_EACH_ELEMENT(type, condition[at[1]] ? a[at[2]] : b[at[3]]);                             \
    } while (0)

static void choose(lf_kind kind, const lf_loops *loops, void *y, const lf_bool *condition,
                   const void *first, const void *second) {
    switch (kind) {
    case LF_KIND_FLOAT32:
        LF_CHOOSE(float);
        break;
    case LF_KIND_INT64:
        LF_CHOOSE(int64_t);
        break;
    case LF_KIND_BOOL:
        LF_CHOOSE(lf_bool);
        break;
    }
}

static int64_t cut_off(float value) {
    return value >= -0x1p63f && value < 0x1p63f ? (int64_t)value : INT64_MIN;
}

static void cast_from_float(lf_kind to, const lf_loops *loops, void *y, const float *x) {
    switch (to) {
    case LF_KIND_FLOAT32:
        lf_copy_loops(loops, sizeof *x, y, x);
        break;
    case LF_KIND_INT64:
        LF_EACH_ELEMENT(int64_t, cut_off(x[at[1]]));
        break;
    case LF_KIND_BOOL:
        LF_EACH_ELEMENT(lf_bool, !(x[at[1]] == 0.0f)); /* NaN is true */
        break;
    }
}

static void cast_from_int(lf_kind to, const lf_loops *loops, void *y, const int64_t *x) {
    switch (to) {
    case LF_KIND_FLOAT32:
        LF_EACH_ELEMENT(float, (float)x[at[1]]);
        break;
    case LF_KIND_INT64:
        lf_copy_loops(loops, sizeof *x, y, x);
        break;
    case LF_KIND_BOOL:
        LF_EACH_ELEMENT(lf_bool, x[at[1]] != 0);
        break;
    }
}

static void cast_from_bool(lf_kind to, const lf_loops *loops, void *y, const lf_bool *x) {
    switch (to) {
    case LF_KIND_FLOAT32:
        LF_EACH_ELEMENT(float, x[at[1]]);
        break;
    case LF_KIND_INT64:
        LF_EACH_ELEMENT(int64_t, x[at[1]]);
        break;
    case LF_KIND_BOOL:
        lf_copy_loops(loops, sizeof *x, y, x);
        break;
    }
}

static void cast(lf_kind from, lf_kind to, const lf_loops *loops, void *y, const void *x) {
    switch (from) {
    case LF_KIND_FLOAT32:
        cast_from_float(to, loops, y, x);
        break;
    case LF_KIND_INT64:
        cast_from_int(to, loops, y, x);
        break;
    case LF_KIND_BOOL:
        cast_from_bool(to, loops, y, x);
        break;
    }
}

static void combine(lf_operation_code code, const lf_loops *loops, void *y, const lf_bool *a,
                    const lf_bool *b) {
    if (code == LF_OP_LOGICAL_AND)
        LF_EACH_ELEMENT(lf_bool, a[at[1]] & b[at[2]]);
    if (code == LF_OP_LOGICAL_OR)
        LF_EACH_ELEMENT(lf_bool, a[at[1]] | b[at[2]]);
}

static void negate(const lf_loops *loops, void *y, const lf_bool *x) {
    LF_EACH_ELEMENT(lf_bool, !x[at[1]]);
}

lf_status lf_run_plain(const lf_plain *plain, void *y, const void *const *inputs) {
    const lf_loops *const loops = &plain->loops;
    const size_t element_bytes = lf_kind_bytes(plain->kind);
    switch (plain->code) {
    case LF_OP_LESS:
    case LF_OP_GREATER:
    case LF_OP_EQUAL:
        compare(plain->code, plain->kind, loops, y, inputs[0], inputs[1]);
        return LF_OK;
    case LF_OP_LOGICAL_AND:
    case LF_OP_LOGICAL_OR:
        combine(plain->code, loops, y, inputs[0], inputs[1]);
        return LF_OK;
    case LF_OP_LOGICAL_NOT:
        negate(loops, y, inputs[0]);
        return LF_OK;
    case LF_OP_WHERE:
        choose(plain->kind, loops, y, inputs[0], inputs[1], inputs[2]);
        return LF_OK;
    case LF_OP_CAST:
        cast(plain->kind, plain->kind_of_result, loops, y, inputs[0]);
        return LF_OK;
    case LF_OP_GATHER:
    case LF_OP_EMBEDDING:
        return lf_gather_rows(&plain->gather, loops, element_bytes, y, inputs[0], inputs[1]);
    case LF_OP_PAD:
        lf_run_pad(plain->pad, y, inputs[0]);
        return LF_OK;
    case LF_OP_CONCAT:
    case LF_OP_SLICE:
    case LF_OP_TRANSPOSE:
    case LF_OP_RESHAPE:
    case LF_OP_EXPAND:
        lf_copy_loops(loops, element_bytes, y, inputs[0]);
        return LF_OK;
    default:
        return LF_ERR_UNSUPPORTED; /* it has kernels of its own */
    }
}

void lf_plain_destroy(lf_plain *plain) {
    free(plain->pad);
    plain->pad = NULL;
}
