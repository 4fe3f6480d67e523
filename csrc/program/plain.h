/*
 * What needs no vectors: comparisons, logic, casts, and all that moves elements of any kind. Memory is aligned to its
 * elements; a result shares none with an operand. Nothing here allocates but lf_plan_pad.
 */
#ifndef LF_PLAIN_H
#define LF_PLAIN_H

#include "loops.h"

/* Where rows of x, by their indices, become rows of y: one after the other in both, each gone through by loops. Steps
 * are in elements. */
typedef struct lf_gather {
    size_t count, rows; /* indices; rows of x */
    int32_t y_step, x_step;
} lf_gather;

typedef struct lf_pad lf_pad;

/*
 * One operation. kind: of its operands, with `where` of a and b. loops: operands are the result and the inputs in their
 * order; with gather and embedding they are those of one row.
 *
 *     LF_OP_LESS .. LF_OP_EQUAL, LF_OP_LOGICAL_AND .. LF_OP_WHERE
 *     LF_OP_CAST       from kind to kind_of_result
 *     LF_OP_GATHER, LF_OP_EMBEDDING    the inputs are x and int64 indices, dense, of which negative ones count from the
 *                      end; LF_ERR_INDEX, before anything is written, where one is not within the rows
 *     LF_OP_PAD        see lf_plan_pad
 *     LF_OP_CONCAT, LF_OP_SLICE, LF_OP_TRANSPOSE, LF_OP_RESHAPE, LF_OP_EXPAND    a copy by loops; where the strides of
 *                      x are 0, one value fills the result
 */
typedef struct lf_plain {
    lf_operation_code code;
    lf_kind kind, kind_of_result;
    lf_loops loops;
    lf_gather gather;
    lf_pad *pad; /* its own; null but for LF_OP_PAD */
} lf_plain;

lf_status lf_run_plain(const lf_plain *plain, void *y, const void *const *inputs);
void lf_plain_destroy(lf_plain *plain);

/* copies.c, as is all that follows. Elements of 1, 4 or 8 bytes. */
void lf_copy_loops(const lf_loops *loops, size_t element_bytes, void *y, const void *x);
lf_status lf_gather_rows(const lf_gather *gather, const lf_loops *row, size_t element_bytes,
                         void *y, const void *x, const int64_t *indices);

/*
 * x, of that shape and those strides, with so many values before and after it along each axis: reflected at its edge
 * (fewer then than the axis has), or `value`. y has the strides of its own, which fit any order of its axes. The result
 * is for lf_plain_destroy; LF_ERR_MEMORY.
 */
typedef struct lf_padding {
    const int32_t *before, *after;
    int is_reflected;
    float value; /* canonical */
} lf_padding;
lf_status lf_plan_pad(const lf_padding *padding, const lf_shape *x, const int32_t *x_strides,
                      const int32_t *y_strides, lf_plain *plain);
void lf_run_pad(const lf_pad *pad, float *y, const float *x);

#endif
