/* What goes element by element, and along an axis. */
#include <string.h>

#include "planner.h"

lf_elementwise lf_elementwise_of(const lf_op *op) {
    lf_elementwise e = {.code = op->code};
    switch (op->code) {
    case LF_OP_HARD_SIGMOID:
    case LF_OP_CLIP:
        e.alpha = op->attributes[0].real;
        e.beta = op->attributes[1].real;
        break;
    case LF_OP_ELU:
    case LF_OP_LEAKY_RELU:
        e.alpha = op->attributes[0].real;
        break;
    case LF_OP_GELU:
        e.is_approximate = op->attributes[0].whole;
        break;
    default: /* the others have no attributes */
        break;
    }
    return e;
}

/* In the order of the largest operand, so that most often all are dense. */
static lf_view new_like(lf_planner *planner, const lf_op *op, const lf_view *like) {
    const lf_tensor *const tensor = lf_result_tensor(planner, op, 0);
    uint32_t order[LF_MAX_RANK];
    lf_c_order(tensor->shape.rank, order);
    if (like->shape.rank == tensor->shape.rank && lf_shape_count(&like->shape) == tensor->count)
        lf_order_of(like, order);
    return lf_new_result(planner, op, 0, order);
}

/* The operands of an operation, broadcast to its result, and that. */
typedef struct elements {
    lf_view y, x[LF_MAX_OPERANDS - 1];
    lf_loops loops;
} elements;

static elements elements_of(lf_planner *planner, const lf_op *op) {
    elements e;
    uint32_t largest = 0;
    for (uint32_t n = 0; n < op->input_count; n++) {
        e.x[n] = lf_operand_view(planner, op, n);
        if (lf_shape_count(&e.x[n].shape) > lf_shape_count(&e.x[largest].shape))
            largest = n;
    }
    e.y = new_like(planner, op, &e.x[largest]);
    const lf_view *views[LF_MAX_OPERANDS] = {&e.y};
    for (uint32_t n = 0; n < op->input_count; n++) {
        e.x[n] = lf_broadcast(&e.x[n], &e.y.shape);
        views[1 + n] = &e.x[n];
    }
    e.loops = lf_loops_over(views, 1 + op->input_count);
    return e;
}

void lf_plan_elementwise(lf_planner *planner, const lf_op *op) {
    const elements e = elements_of(planner, op);
    lf_instruction one = {.kind = op->input_count == 1 ? LF_RUN_UNARY : LF_RUN_BINARY,
                          .results = 1,
                          .places = op->input_count};
    one.y[0] = e.y.at;
    for (uint32_t n = 0; n < op->input_count; n++)
        one.x[n] = e.x[n].at;
    one.elementwise = lf_elementwise_of(op);
    one.elementwise.loops = e.loops;
    lf_emit(planner, &one);
}

/* ---- along an axis ---- */

/* The loops over some axes of (y, x), the others standing still. is_inner: over those of the operation. */
static lf_loops loops_over_axes(const lf_view *y, const lf_view *x, const char *along,
                                int is_inner) {
    lf_view views[2] = {*y, *x};
    uint32_t rank = 0;
    for (uint32_t axis = 0; axis < x->shape.rank; axis++) {
        if (along[axis] != is_inner)
            continue;
        for (int n = 0; n < 2; n++) {
            const lf_view *const from = n ? x : y;
            views[n].shape.sizes[rank] = x->shape.sizes[axis];
            views[n].strides[rank] = from->strides[axis];
        }
        rank++;
    }
    views[0].shape.rank = views[1].shape.rank = rank;
    const lf_view *const both[2] = {&views[0], &views[1]};
    /* the inner axes keep their order, in which sums are added */
    return is_inner ? lf_loops_in_order(both, 2) : lf_loops_over(both, 2);
}

/* As x, where a reduction has removed axes: with a size of 1 again, and standing still along them. */
static lf_view reduced(const lf_view *y, const lf_view *x, const char *along, int keeps) {
    lf_view view = *y;
    uint32_t from = 0;
    for (uint32_t axis = 0; axis < x->shape.rank; axis++) {
        view.strides[axis] = along[axis] ? 0 : y->strides[keeps ? axis : from];
        from += !along[axis];
    }
    view.shape = x->shape;
    return view;
}

/* The place of a constant that may be left out. What is returned says that it is there; lf_pack_plan says where. */
static const float *optional(lf_planner *planner, const lf_op *op, uint32_t n, lf_place *place) {
    if (!lf_has_operand(op, n))
        return NULL;
    *place = lf_operand_view(planner, op, n).at;
    return lf_operand_tensor(planner, op, n)->constant;
}

void lf_plan_along(lf_planner *planner, const lf_op *op) {
    const lf_view x = lf_operand_view(planner, op, 0);
    const lf_attribute *const a = op->attributes;
    char along[LF_MAX_RANK] = {0};
    lf_instruction one = {.kind = LF_RUN_ALONG, .results = 1, .places = 4};
    lf_along *const how = &one.along;
    one.x[2].room = one.x[3].room = LF_IN_MODEL;
    how->code = op->code;
    lf_view y = new_like(planner, op, &x), spread = y;
    switch (op->code) {
    case LF_OP_REDUCE:
        how->kind = (lf_reduction_kind)a[0].whole;
        for (uint32_t n = 0; n < a[1].count; n++)
            along[a[1].several[n]] = 1;
        spread = reduced(&y, &x, along, a[2].whole);
        break;
    case LF_OP_LAYER_NORM:
        how->epsilon = a[0].real;
        along[x.shape.rank - 1] = 1;
        how->scale = optional(planner, op, 1, &one.x[2]);
        how->bias = optional(planner, op, 2, &one.x[3]);
        break;
    default: /* softmax and log_softmax */
        along[a[0].whole] = 1;
        break;
    }
    how->outer = loops_over_axes(&spread, &x, along, 0);
    how->inner = loops_over_axes(&spread, &x, along, 1);
    how->inner_count = 1;
    for (uint32_t axis = 0; axis < x.shape.rank; axis++)
        how->inner_count *= along[axis] ? x.shape.sizes[axis] : 1;
    one.y[0] = y.at;
    one.x[0] = x.at;
    one.x[1] = lf_new_buffer(planner, how->inner_count * sizeof(float));
    lf_emit(planner, &one);
}
