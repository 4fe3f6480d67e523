/* What the rules of shapes have in common; each says whether an operation fits, and sets its outputs. */
#ifndef LF_SHAPES_H
#define LF_SHAPES_H

#include "tensor.h"

typedef struct lf_call {
    const lf_op *op;
    const lf_tensor *tensors;
} lf_call;

/* Null for an input that is left out. */
static inline const lf_tensor *input(const lf_call *c, uint32_t n) {
    const int is_there = n < c->op->input_count && c->op->inputs[n] != LF_NO_TENSOR;
    return is_there ? c->tensors + c->op->inputs[n] : NULL;
}

static inline const lf_attribute *attribute(const lf_call *c, size_t n) {
    return c->op->attributes + n;
}

static inline int are_floats(const lf_call *c) {
    for (uint32_t n = 0; n < c->op->input_count; n++)
        if (input(c, n) && input(c, n)->kind != LF_KIND_FLOAT32)
            return 0;
    return 1;
}

static inline int is_rank(const lf_tensor *tensor, uint32_t rank) {
    return tensor->shape.rank == rank;
}

/* Whether an input is left out or a vector of that size. */
static inline int fits_vector(const lf_call *c, uint32_t n, int64_t size) {
    const lf_tensor *tensor = input(c, n);
    return !tensor || (is_rank(tensor, 1) && tensor->shape.sizes[0] == size);
}

/* Writes some of a shape's sizes one after the other; returns the end. */
static inline int64_t *append(int64_t *at, const lf_shape *shape, uint32_t begin, uint32_t end) {
    for (uint32_t axis = begin; axis < end; axis++)
        *at++ = shape->sizes[axis];
    return at;
}

/* shapes_weights.c: of the operations that multiply with weights */
int lf_infer_dense(const lf_call *c, lf_tensor *result);
int lf_infer_conv(const lf_call *c, lf_tensor *result);
int lf_infer_conv2d(const lf_call *c, lf_tensor *result);
int lf_infer_lstm(const lf_call *c, lf_tensor *outputs);
int lf_infer_gru(const lf_call *c, lf_tensor *outputs);

#endif
