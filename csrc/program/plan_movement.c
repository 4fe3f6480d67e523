/* What moves values, compares them or makes another kind of them: a view where one will do, else a copy. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "planner.h"

/* less, where and so on, and cast: operands broadcast to the result. */
void lf_plan_logic(lf_planner *planner, const lf_op *op) {
    lf_view x[LF_MAX_OPERANDS - 1];
    const lf_view *operands[LF_MAX_OPERANDS - 1], *views[LF_MAX_OPERANDS];
    const lf_view y = lf_new_result(planner, op, 0, NULL);
    views[0] = &y;
    for (uint32_t n = 0; n < op->input_count; n++) {
        const lf_view view = lf_operand_view(planner, op, n);
        x[n] = lf_broadcast(&view, &y.shape);
        operands[n] = views[1 + n] = &x[n];
    }
    const lf_plain plain = {.kind = op->code == LF_OP_CAST ? LF_PLAIN_CAST : LF_PLAIN_LOGIC,
                            .code = op->code,
                            .from = x[0].kind,
                            .to = y.kind,
                            .element_bytes = lf_kind_bytes(y.kind),
                            .loops = lf_loops_over(views, 1 + op->input_count)};
    lf_emit_plain(planner, &plain, &y, operands, op->input_count);
}

/* The part of a view that begins at `start` of an axis and has the sizes of `like`. */
static lf_view part_of(const lf_view *whole, uint32_t axis, int32_t start, const lf_shape *like) {
    int32_t starts[LF_MAX_RANK] = {0}, steps[LF_MAX_RANK];
    for (uint32_t n = 0; n < LF_MAX_RANK; n++)
        steps[n] = 1;
    starts[axis] = start;
    return lf_sliced(whole, starts, steps, like);
}

/* In the order of the first input, as most often all have it. */
static void plan_concat(lf_planner *planner, const lf_op *op) {
    const uint32_t axis = (uint32_t)op->attributes[0].whole;
    const lf_view first = lf_operand_view(planner, op, 0);
    uint32_t order[LF_MAX_RANK];
    lf_order_of(&first, order);
    const lf_view y = lf_new_result(planner, op, 0, order);
    int32_t start = 0;
    for (uint32_t n = 0; n < op->input_count; n++) {
        const lf_view x = lf_operand_view(planner, op, n);
        const lf_view to = part_of(&y, axis, start, &x.shape);
        lf_emit_copy(planner, &to, &x);
        start += (int32_t)x.shape.sizes[axis];
    }
}

static void plan_reshape(lf_planner *planner, const lf_op *op) {
    const lf_shape *const shape = &lf_result_tensor(planner, op, 0)->shape;
    lf_view x = lf_operand_view(planner, op, 0), y = x;
    if (!lf_reshape(&x, shape, &y)) {
        x = lf_dense_operand(planner, x);
        (void)lf_reshape(&x, shape, &y); /* what is dense takes any shape */
    }
    lf_set_result(planner, op, 0, y);
}

/* ---- rows by their indices ---- */

/* y[..., i, ...] = x[..., indices[i], ...]: the axes of the indices stand in y for the axis of x. */
static void plan_rows(lf_planner *planner, const lf_op *op, lf_view x, lf_view indices,
                      uint32_t axis, int is_checked) {
    const lf_view y = lf_new_result(planner, op, 0, NULL);
    const uint32_t more = indices.shape.rank;
    lf_view to = {.kind = y.kind}, at = to, row = to, inner_to = to, inner_from = to;
    to.shape = indices.shape;
    at = indices;
    row.shape = indices.shape; /* x stands still: an index says how far it is to its row */
    for (uint32_t n = 0; n < more; n++)
        to.strides[n] = y.strides[axis + n];
    for (uint32_t n = 0, rank = 0; n < x.shape.rank; n++) {
        if (n == axis)
            continue;
        inner_from.shape.sizes[rank] = x.shape.sizes[n];
        inner_from.strides[rank] = x.strides[n];
        inner_to.strides[rank] = y.strides[n < axis ? n : n + more - 1];
        inner_from.shape.rank = ++rank;
    }
    inner_to.shape = inner_from.shape;
    const lf_view *const outer[3] = {&to, &at, &row}, *const inner[2] = {&inner_to, &inner_from};
    const lf_view *const operands[2] = {&x, &indices};
    const lf_plain plain = {.kind = LF_PLAIN_ROWS,
                            .element_bytes = lf_kind_bytes(y.kind),
                            .loops = lf_loops_over(outer, 3),
                            .inner = lf_loops_over(inner, 2),
                            .rows = x.shape.sizes[axis],
                            .row_step = x.strides[axis],
                            .is_checked = is_checked};
    lf_emit_plain(planner, &plain, &y, operands, 2);
}

/* ---- padding ---- */

static float canonical(float value) {
    return fabsf(value) < FLT_MIN ? copysignf(0.0f, value) : value;
}

/* Copies x to the middle of y, which is filled before, and has its order. */
static lf_view pad_by_constant(lf_planner *planner, const lf_op *op, const lf_view *x) {
    uint32_t order[LF_MAX_RANK];
    lf_order_of(x, order);
    const lf_view y = lf_new_result(planner, op, 0, order);
    const lf_view *const alone[1] = {&y};
    const lf_plain plain = {.kind = LF_PLAIN_FILL,
                            .value = canonical(op->attributes[3].real),
                            .loops = lf_loops_over(alone, 1)};
    lf_view middle = y;
    for (uint32_t axis = 0; axis < x->shape.rank; axis++) {
        lf_shape shape = middle.shape;
        shape.sizes[axis] = x->shape.sizes[axis];
        middle = part_of(&middle, axis, op->attributes[0].several[axis], &shape);
    }
    lf_emit_plain(planner, &plain, &y, NULL, 0);
    lf_emit_copy(planner, &middle, x);
    return y;
}

/* `count` values of an axis, the nth being that at start + n * step. */
static lf_view along(const lf_view *view, uint32_t axis, int32_t start, int32_t step,
                     uint32_t count) {
    int32_t starts[LF_MAX_RANK] = {0}, steps[LF_MAX_RANK];
    lf_shape shape = view->shape;
    for (uint32_t n = 0; n < LF_MAX_RANK; n++)
        steps[n] = 1;
    starts[axis] = start;
    steps[axis] = step;
    shape.sizes[axis] = count;
    return lf_sliced(view, starts, steps, &shape);
}

static void copy_along(lf_planner *planner, const lf_view *y, int32_t y_start, const lf_view *x,
                       int32_t x_start, int32_t step, uint32_t axis, uint32_t count) {
    if (!count)
        return;
    const lf_view to = along(y, axis, y_start, 1, count);
    const lf_view from = along(x, axis, x_start, step, count);
    lf_emit_copy(planner, &to, &from);
}

/* One axis after the other; the edge itself is not repeated. */
static lf_view pad_by_reflection(lf_planner *planner, const lf_op *op, lf_view x) {
    for (uint32_t axis = 0; axis < x.shape.rank; axis++) {
        const int32_t before = op->attributes[0].several[axis];
        const int32_t after = op->attributes[1].several[axis];
        const int32_t size = (int32_t)x.shape.sizes[axis];
        if (!before && !after)
            continue;
        lf_shape shape = x.shape;
        shape.sizes[axis] = (uint32_t)(before + size + after);
        const lf_view y = lf_new_view(planner, x.kind, &shape, NULL);
        copy_along(planner, &y, 0, &x, before, -1, axis, (uint32_t)before);
        copy_along(planner, &y, before, &x, 0, 1, axis, (uint32_t)size);
        copy_along(planner, &y, before + size, &x, size - 2, -1, axis, (uint32_t)after);
        x = y;
    }
    return x;
}

static lf_view plan_pad(lf_planner *planner, const lf_op *op) {
    enum { CONSTANT, REFLECT };
    const lf_view x = lf_operand_view(planner, op, 0);
    return op->attributes[2].whole == REFLECT ? pad_by_reflection(planner, op, x)
                                              : pad_by_constant(planner, op, &x);
}

void lf_plan_movement(lf_planner *planner, const lf_op *op) {
    const lf_attribute *const a = op->attributes;
    const lf_shape *const shape = &lf_result_tensor(planner, op, 0)->shape;
    lf_view x = lf_operand_view(planner, op, 0);
    switch (op->code) {
    case LF_OP_CONCAT:
        plan_concat(planner, op);
        return;
    case LF_OP_SLICE:
        lf_set_result(planner, op, 0, lf_sliced(&x, a[0].several, a[2].several, shape));
        return;
    case LF_OP_GATHER:
        plan_rows(planner, op, x, lf_operand_view(planner, op, 1), (uint32_t)a[0].whole, 1);
        return;
    case LF_OP_EMBEDDING:
        planner->plan->can_fail = 1;
        plan_rows(planner, op, x, lf_operand_view(planner, op, 1), 0, 0);
        return;
    case LF_OP_TRANSPOSE:
        lf_set_result(planner, op, 0, lf_transposed(&x, a[0].several));
        return;
    case LF_OP_RESHAPE:
        plan_reshape(planner, op);
        return;
    case LF_OP_EXPAND:
        lf_set_result(planner, op, 0, lf_broadcast(&x, shape));
        return;
    case LF_OP_PAD:
        lf_set_result(planner, op, 0, plan_pad(planner, op));
        return;
    default: /* plan.c sends no others */
        return;
    }
}
