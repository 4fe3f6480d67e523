/* The rules of lstm_fast/_program_shapes.py, in their order. */
#include <string.h>

#include "shapes.h"
#include "signatures.h"

/* ---- what the rules have in common ---- */

static int is_axis(const lf_tensor *x, int32_t axis) {
    return axis >= 0 && (uint32_t)axis < x->shape.rank;
}

/* Whether an attribute has a number for each axis. */
static int is_for_each_axis(const lf_call *c, size_t n, const lf_tensor *x) {
    return attribute(c, n)->count == x->shape.rank;
}

static int make_like(lf_tensor *result, const lf_tensor *x) {
    *result = *x;
    result->constant = NULL;
    return 1;
}

/* The size of an axis that is so far from the last; 1 in front of the first. */
static int64_t size_from_end(const lf_shape *shape, uint32_t from_end) {
    return from_end < shape->rank ? shape->sizes[shape->rank - 1 - from_end] : 1;
}

/* All inputs broadcast to one shape, as NumPy does it. */
static int broadcast(const lf_call *c, lf_kind kind, lf_tensor *result) {
    int64_t sizes[LF_MAX_RANK];
    uint32_t rank = 0;
    for (uint32_t n = 0; n < c->op->input_count; n++)
        rank = input(c, n)->shape.rank > rank ? input(c, n)->shape.rank : rank;
    for (uint32_t from_end = 0; from_end < rank; from_end++) {
        int64_t size = 1;
        for (uint32_t n = 0; n < c->op->input_count; n++) {
            const int64_t other = size_from_end(&input(c, n)->shape, from_end);
            if (size != 1 && other != 1 && other != size)
                return 0;
            size = other != 1 ? other : size;
        }
        sizes[rank - 1 - from_end] = size;
    }
    return lf_set_tensor(result, kind, rank, sizes);
}

/* ---- element by element, and along axes ---- */

static int infer_same(const lf_call *c, lf_tensor *result) {
    return are_floats(c) && make_like(result, input(c, 0));
}

static int infer_clip(const lf_call *c, lf_tensor *result) {
    return attribute(c, LF_CLIP_MIN)->real <= attribute(c, LF_CLIP_MAX)->real &&
           infer_same(c, result);
}

static int infer_binary(const lf_call *c, lf_tensor *result) {
    return are_floats(c) && broadcast(c, LF_KIND_FLOAT32, result);
}

static int infer_equal(const lf_call *c, lf_tensor *result) {
    return input(c, 0)->kind == input(c, 1)->kind && broadcast(c, LF_KIND_BOOL, result);
}

static int infer_order(const lf_call *c, lf_tensor *result) {
    return input(c, 0)->kind != LF_KIND_BOOL && infer_equal(c, result);
}

static int infer_logical(const lf_call *c, lf_tensor *result) {
    for (uint32_t n = 0; n < c->op->input_count; n++)
        if (input(c, n)->kind != LF_KIND_BOOL)
            return 0;
    return broadcast(c, LF_KIND_BOOL, result);
}

static int infer_where(const lf_call *c, lf_tensor *result) {
    const lf_tensor *a = input(c, 1), *b = input(c, 2);
    return input(c, 0)->kind == LF_KIND_BOOL && a->kind == b->kind && broadcast(c, a->kind, result);
}

static int infer_softmax(const lf_call *c, lf_tensor *result) {
    return is_axis(input(c, 0), attribute(c, 0)->whole) && infer_same(c, result);
}

static int infer_layer_norm(const lf_call *c, lf_tensor *result) {
    const lf_shape *x = &input(c, 0)->shape;
    return x->rank && attribute(c, 0)->real >= 0 && fits_vector(c, 1, x->sizes[x->rank - 1]) &&
           fits_vector(c, 2, x->sizes[x->rank - 1]) && infer_same(c, result);
}

static int infer_reduce(const lf_call *c, lf_tensor *result) {
    const lf_tensor *x = input(c, 0);
    const lf_attribute *axes = attribute(c, LF_REDUCE_AXES);
    const int keeps = attribute(c, LF_REDUCE_KEEPDIMS)->whole;
    int64_t sizes[LF_MAX_RANK];
    uint32_t next = 0, rank = 0;
    for (uint32_t n = 0; n < axes->count; n++)
        if (!is_axis(x, axes->several[n]) || (n && axes->several[n] <= axes->several[n - 1]))
            return 0;
    for (uint32_t axis = 0; axis < x->shape.rank; axis++) {
        const int is_reduced = next < axes->count && (uint32_t)axes->several[next] == axis;
        next += (uint32_t)is_reduced;
        if (!is_reduced || keeps)
            sizes[rank++] = is_reduced ? 1 : x->shape.sizes[axis];
    }
    return axes->count && are_floats(c) && lf_set_tensor(result, LF_KIND_FLOAT32, rank, sizes);
}

/* ---- movement ---- */

static int infer_concat(const lf_call *c, lf_tensor *result) {
    const lf_tensor *first = input(c, 0);
    int64_t sizes[LF_MAX_RANK], size = 0;
    if (!is_axis(first, attribute(c, 0)->whole))
        return 0;
    const uint32_t along = (uint32_t)attribute(c, 0)->whole;
    for (uint32_t n = 0; n < c->op->input_count; n++) {
        lf_shape shape = input(c, n)->shape;
        if (shape.rank != first->shape.rank || input(c, n)->kind != first->kind)
            return 0;
        size += shape.sizes[along];
        shape.sizes[along] = first->shape.sizes[along];
        if (!lf_is_same_shape(&shape, &first->shape))
            return 0;
    }
    append(sizes, &first->shape, 0, first->shape.rank);
    sizes[along] = size;
    return lf_set_tensor(result, first->kind, first->shape.rank, sizes);
}

/* How many values start:end:step has of an axis; 0 where it is no slice of it. */
static int64_t slice_size(int64_t size, int64_t start, int64_t end, int64_t step) {
    if (start < 0 || start >= size || end < -1 || end > size)
        return 0;
    if (step > 0 && start < end)
        return (end - start - 1) / step + 1;
    return step < 0 && end < start ? (start - end - 1) / -step + 1 : 0;
}

static int infer_slice(const lf_call *c, lf_tensor *result) {
    const lf_tensor *x = input(c, 0);
    int64_t sizes[LF_MAX_RANK];
    for (size_t n = LF_SLICE_STARTS; n <= LF_SLICE_STEPS; n++)
        if (!is_for_each_axis(c, n, x))
            return 0;
    for (uint32_t axis = 0; axis < x->shape.rank; axis++)
        sizes[axis] = slice_size(x->shape.sizes[axis], attribute(c, LF_SLICE_STARTS)->several[axis],
                                 attribute(c, LF_SLICE_ENDS)->several[axis],
                                 attribute(c, LF_SLICE_STEPS)->several[axis]);
    return lf_set_tensor(result, x->kind, x->shape.rank, sizes);
}

static int infer_gather(const lf_call *c, lf_tensor *result) {
    const lf_tensor *x = input(c, 0), *indices = input(c, 1);
    int64_t sizes[2 * LF_MAX_RANK];
    if (!is_axis(x, attribute(c, 0)->whole) || indices->kind != LF_KIND_INT64)
        return 0;
    const uint32_t axis = (uint32_t)attribute(c, 0)->whole;
    int64_t *end = append(sizes, &x->shape, 0, axis);
    end = append(end, &indices->shape, 0, indices->shape.rank);
    end = append(end, &x->shape, axis + 1, x->shape.rank);
    return lf_set_tensor(result, x->kind, (size_t)(end - sizes), sizes);
}

static int infer_embedding(const lf_call *c, lf_tensor *result) {
    const lf_tensor *table = input(c, 0), *indices = input(c, 1);
    int64_t sizes[2 * LF_MAX_RANK];
    if (indices->kind != LF_KIND_INT64 || is_rank(table, 0))
        return 0;
    int64_t *end = append(sizes, &indices->shape, 0, indices->shape.rank);
    end = append(end, &table->shape, 1, table->shape.rank);
    return lf_set_tensor(result, table->kind, (size_t)(end - sizes), sizes);
}

static int infer_transpose(const lf_call *c, lf_tensor *result) {
    const lf_tensor *x = input(c, 0);
    const lf_attribute *order = attribute(c, 0);
    int64_t sizes[LF_MAX_RANK];
    unsigned seen = 0;
    if (!is_for_each_axis(c, 0, x))
        return 0;
    for (uint32_t n = 0; n < order->count; n++) {
        if (!is_axis(x, order->several[n]) || seen >> order->several[n] & 1u)
            return 0;
        seen |= 1u << order->several[n];
        sizes[n] = x->shape.sizes[order->several[n]];
    }
    return lf_set_tensor(result, x->kind, x->shape.rank, sizes);
}

/* Sets a tensor of the shape that the attribute gives. */
static int make_as_given(const lf_call *c, lf_kind kind, lf_tensor *result) {
    const lf_attribute *shape = attribute(c, 0);
    int64_t sizes[LF_MAX_RANK];
    for (uint32_t axis = 0; axis < shape->count && axis < LF_MAX_RANK; axis++)
        sizes[axis] = shape->several[axis];
    return lf_set_tensor(result, kind, shape->count, sizes);
}

static int infer_reshape(const lf_call *c, lf_tensor *result) {
    const lf_tensor *x = input(c, 0);
    return make_as_given(c, x->kind, result) && result->count == x->count;
}

static int infer_expand(const lf_call *c, lf_tensor *result) {
    const lf_tensor *x = input(c, 0);
    if (!make_as_given(c, x->kind, result) || x->shape.rank > result->shape.rank)
        return 0;
    for (uint32_t from_end = 0; from_end < x->shape.rank; from_end++) {
        const int64_t size = size_from_end(&x->shape, from_end);
        if (size != 1 && size != size_from_end(&result->shape, from_end))
            return 0;
    }
    return 1;
}

static int infer_pad(const lf_call *c, lf_tensor *result) {
    const lf_tensor *x = input(c, 0);
    const int reflects = attribute(c, LF_PAD_MODE)->whole == LF_PAD_REFLECT;
    int64_t sizes[LF_MAX_RANK];
    if (!are_floats(c) || !is_for_each_axis(c, LF_PAD_BEFORE, x) ||
        !is_for_each_axis(c, LF_PAD_AFTER, x))
        return 0;
    for (uint32_t axis = 0; axis < x->shape.rank; axis++) {
        const int64_t size = x->shape.sizes[axis];
        const int64_t before = attribute(c, LF_PAD_BEFORE)->several[axis];
        const int64_t after = attribute(c, LF_PAD_AFTER)->several[axis];
        if (before < 0 || after < 0 || (reflects && (before >= size || after >= size)))
            return 0;
        sizes[axis] = size + before + after;
    }
    return lf_set_tensor(result, LF_KIND_FLOAT32, x->shape.rank, sizes);
}

static int infer_cast(const lf_call *c, lf_tensor *result) {
    make_like(result, input(c, 0));
    result->kind = (lf_kind)attribute(c, 0)->whole;
    return 1;
}

/* ---- all of them ---- */

static int has_its_inputs(const lf_call *c, const lf_signature *signature) {
    if (signature->inputs[0][0] == '*') {
        for (uint32_t n = 0; n < c->op->input_count; n++)
            if (!input(c, n))
                return 0;
        return c->op->input_count >= 1;
    }
    uint32_t most = 0;
    for (; most < LF_MAX_INPUTS && signature->inputs[most]; most++)
        if (!strchr(signature->inputs[most], '?') && !input(c, most))
            return 0;
    return c->op->input_count <= most;
}

static int infer(const lf_call *c, lf_tensor *outputs) {
    switch (c->op->code) {
    case LF_OP_DENSE:
        return lf_infer_dense(c, outputs);
    case LF_OP_CONV:
        return lf_infer_conv(c, outputs);
    case LF_OP_LSTM:
        return lf_infer_lstm(c, outputs);
    case LF_OP_GRU:
        return lf_infer_gru(c, outputs);
    case LF_OP_CONV2D:
        return lf_infer_conv2d(c, outputs);
    case LF_OP_RELU:
    case LF_OP_SIGMOID:
    case LF_OP_TANH:
    case LF_OP_EXP:
    case LF_OP_LOG:
    case LF_OP_ABS:
    case LF_OP_NEG:
    case LF_OP_SQRT:
    case LF_OP_RECIPROCAL:
    case LF_OP_ERF:
    case LF_OP_SOFTPLUS:
    case LF_OP_SOFTSIGN:
    case LF_OP_HARD_SWISH:
    case LF_OP_SQUARE:
    case LF_OP_HARD_SIGMOID:
    case LF_OP_ELU:
    case LF_OP_LEAKY_RELU:
    case LF_OP_GELU:
        return infer_same(c, outputs);
    case LF_OP_CLIP:
        return infer_clip(c, outputs);
    case LF_OP_ADD:
    case LF_OP_SUB:
    case LF_OP_MUL:
    case LF_OP_DIV:
    case LF_OP_MINIMUM:
    case LF_OP_MAXIMUM:
    case LF_OP_POW:
    case LF_OP_PRELU:
        return infer_binary(c, outputs);
    case LF_OP_LESS:
    case LF_OP_GREATER:
        return infer_order(c, outputs);
    case LF_OP_EQUAL:
        return infer_equal(c, outputs);
    case LF_OP_LOGICAL_AND:
    case LF_OP_LOGICAL_OR:
    case LF_OP_LOGICAL_NOT:
        return infer_logical(c, outputs);
    case LF_OP_WHERE:
        return infer_where(c, outputs);
    case LF_OP_SOFTMAX:
    case LF_OP_LOG_SOFTMAX:
        return infer_softmax(c, outputs);
    case LF_OP_LAYER_NORM:
        return infer_layer_norm(c, outputs);
    case LF_OP_REDUCE:
        return infer_reduce(c, outputs);
    case LF_OP_CONCAT:
        return infer_concat(c, outputs);
    case LF_OP_SLICE:
        return infer_slice(c, outputs);
    case LF_OP_GATHER:
        return infer_gather(c, outputs);
    case LF_OP_EMBEDDING:
        return infer_embedding(c, outputs);
    case LF_OP_TRANSPOSE:
        return infer_transpose(c, outputs);
    case LF_OP_RESHAPE:
        return infer_reshape(c, outputs);
    case LF_OP_EXPAND:
        return infer_expand(c, outputs);
    case LF_OP_PAD:
        return infer_pad(c, outputs);
    case LF_OP_CAST:
        return infer_cast(c, outputs);
    }
    return 0;
}

lf_status lf_infer(const lf_op *op, const lf_tensor *tensors, lf_tensor *outputs) {
    const lf_call c = {op, tensors};
    const lf_signature *signature = lf_signature_of(op->code);
    if (!signature)
        return LF_ERR_VERSION;
    const int fits = op->output_count == signature->outputs && has_its_inputs(&c, signature);
    return fits && infer(&c, outputs) ? LF_OK : LF_ERR_PROGRAM;
}
