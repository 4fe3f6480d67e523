/* Dense layers and convolutions: which rows of input each product has, and where its weights are. */
#include <string.h>

#include "../tuning.h"
#include "planner.h"

void lf_emit_product(lf_planner *planner, const lf_op *op, const lf_run_product *run, lf_place y,
                     lf_place x, const lf_packing *weights) {
    const lf_weight_type type = lf_type_of(planner, op);
    if (type == LF_INT8) {
        lf_fail(planner, LF_ERR_UNSUPPORTED);
        return;
    }
    const lf_geometry g = lf_geometry_of(planner->isa, type);
    lf_instruction one = {.kind = LF_RUN_PRODUCT, .results = 1, .places = 1};
    one.y[0] = y;
    one.x[0] = x;
    one.product = *run;
    one.product.product.type = type;
    lf_matrix *const m = &one.product.product.matrix;
    m->rows = (uint32_t)lf_round_up(run->product.outputs, g.lanes);
    m->wide_panels = (uint32_t)(m->rows / (lf_narrow_rows(g) * g.wide));
    m->columns = (uint32_t)(weights->taps * weights->channels);
    m->stride = (uint32_t)lf_row_bytes(g, m->columns);
    const lf_place at = lf_new_model_place(planner, (size_t)m->rows * m->stride);
    const lf_place bias = lf_new_model_place(planner, m->rows * sizeof(float));
    lf_packing *const packing = lf_new_packing(planner, LF_PACK_MATRIX);
    if (!packing)
        return;
    *packing = *weights;
    packing->kind = LF_PACK_MATRIX;
    packing->offset = (size_t)at.offset;
    packing->bias_offset = (size_t)bias.offset;
    packing->instruction = planner->plan->instruction_count;
    if (run->segments > planner->plan->most_segments)
        planner->plan->most_segments = run->segments;
    lf_emit(planner, &one);
}

/* The bias, and the activation that a product does along with it; returns whose result that is. */
static const lf_op *finish(lf_planner *planner, const lf_op *op, lf_product *product) {
    const lf_op *const activation = lf_take_activation(planner, op);
    if (!activation)
        return op;
    const lf_elementwise how = lf_elementwise_of(activation);
    product->activation = how.code;
    product->is_approximate = how.is_approximate;
    product->alpha = how.alpha;
    product->beta = how.beta;
    return activation;
}

static const float *bias_of(const lf_planner *planner, const lf_op *op) {
    const lf_tensor *const bias = lf_operand_tensor(planner, op, 2);
    return bias ? bias->constant : NULL;
}

/* The loops over all but the last axis of (y, x). */
static lf_loops loops_over_rows(lf_view y, lf_view x) {
    y.shape.rank--;
    x.shape.rank--;
    const lf_view *const views[2] = {&y, &x};
    return lf_loops_over(views, 2);
}

void lf_plan_dense(lf_planner *planner, const lf_op *op) {
    const lf_tensor *const weight = lf_operand_tensor(planner, op, 1);
    lf_view x = lf_operand_view(planner, op, 0);
    const uint32_t last = x.shape.rank - 1;
    if (x.shape.sizes[last] > 1 && x.strides[last] != 1)
        x = lf_dense_operand(planner, x);
    lf_run_product run = {.product = {.outputs = weight->shape.sizes[0]},
                          .row_count = lf_shape_count(&x.shape) / x.shape.sizes[last],
                          .segments = 1,
                          .segment_count = weight->shape.sizes[1]};
    const lf_op *const whose = finish(planner, op, &run.product);
    const lf_view y = lf_new_result(planner, whose, 0, NULL);
    run.rows = loops_over_rows(y, x);
    const lf_packing weights = {.weight = weight->constant,
                                .bias = bias_of(planner, op),
                                .channels = weight->shape.sizes[1],
                                .kernel = 1,
                                .taps = 1};
    lf_emit_product(planner, op, &run, y.at, x.at, &weights);
}

/* ---- convolutions ---- */

typedef struct conv {
    size_t stride, dilation, groups, begin;
    size_t channels, steps, rows, kernel, positions;
    size_t first_tap, taps; /* those that meet anything but padding */
    int64_t first_step,
        end_step; /* of x, that they meet: from before its beginning to behind its end */
} conv;

static conv conv_of(const lf_planner *planner, const lf_op *op) {
    const lf_tensor *const x = lf_operand_tensor(planner, op, 0);
    const lf_tensor *const weight = lf_operand_tensor(planner, op, 1);
    conv c = {.stride = (size_t)op->attributes[0].whole,
              .dilation = (size_t)op->attributes[1].whole,
              .groups = (size_t)op->attributes[2].whole,
              .begin = (size_t)op->attributes[3].whole,
              .channels = x->shape.sizes[0],
              .steps = x->shape.sizes[1],
              .rows = weight->shape.sizes[0],
              .kernel = weight->shape.sizes[2],
              .positions = lf_result_tensor(planner, op, 0)->shape.sizes[1]};
    size_t end_tap = 0;
    c.first_tap = c.kernel;
    for (size_t tap = 0; tap < c.kernel; tap++) {
        /* the first position at which the tap is not before x, and whether it is within x there */
        const size_t at = tap * c.dilation;
        const size_t position = at >= c.begin ? 0 : (c.begin - at + c.stride - 1) / c.stride;
        if (position >= c.positions || position * c.stride + at - c.begin >= c.steps)
            continue;
        if (c.first_tap == c.kernel)
            c.first_tap = tap;
        end_tap = tap + 1;
    }
    if (c.first_tap == c.kernel) /* nothing but padding: one tap of it will do */
        c.first_tap = 0, end_tap = 1;
    c.taps = end_tap - c.first_tap;
    c.first_step = (int64_t)(c.first_tap * c.dilation) - (int64_t)c.begin;
    c.end_step =
        (int64_t)((c.positions - 1) * c.stride + (end_tap - 1) * c.dilation) - (int64_t)c.begin + 1;
    return c;
}

/* One step of time behind the other, the channels of each side by side. */
static const uint32_t time_major[LF_MAX_RANK] = {1, 0};

/* What the taps meet, from c->first_step to c->end_step: x itself, or a copy with its padding. */
static lf_view padded(lf_planner *planner, lf_view x, const conv *c) {
    const int is_padded = c->first_step < 0 || c->end_step > (int64_t)c->steps;
    const int is_usable =
        (x.strides[0] == 1 || c->channels == 1) && (x.strides[1] > 0 || c->steps == 1);
    if (!is_padded && is_usable) {
        x.at.offset += (ptrdiff_t)c->first_step * x.strides[1] * (ptrdiff_t)sizeof(float);
        return x;
    }
    const uint64_t steps = (uint64_t)(c->end_step - c->first_step);
    if (steps * c->channels > LF_MAX_SIZE) { /* of which most is never looked at */
        lf_fail(planner, LF_ERR_UNSUPPORTED);
        return x;
    }
    lf_shape shape = {2, {(uint32_t)c->channels, (uint32_t)steps}};
    const lf_view copy = lf_new_view(planner, x.kind, &shape, time_major);
    if (is_padded) {
        lf_instruction zero = {.kind = LF_RUN_ZERO, .results = 1};
        zero.y[0] = copy.at;
        zero.zero_bytes = (size_t)steps * c->channels * sizeof(float);
        lf_emit(planner, &zero);
    }
    const int64_t first = c->first_step > 0 ? c->first_step : 0;
    const int64_t end = c->end_step < (int64_t)c->steps ? c->end_step : (int64_t)c->steps;
    if (first < end) {
        const int32_t one[2] = {1, 1};
        const int32_t from_start[2] = {0, (int32_t)first};
        const int32_t to_start[2] = {0, (int32_t)(first - c->first_step)};
        shape.sizes[1] = (uint32_t)(end - first);
        const lf_view from = lf_sliced(&x, from_start, one, &shape);
        const lf_view to = lf_sliced(&copy, to_start, one, &shape);
        lf_emit_copy(planner, &to, &from);
    }
    return copy;
}

static void plan_depthwise(lf_planner *planner, const lf_op *op, const conv *c, lf_view x,
                           lf_view y, const lf_product *product) {
    const size_t padded_channels = lf_round_up(c->channels, planner->isa->lanes);
    lf_instruction one = {.kind = LF_RUN_DEPTHWISE, .results = 1, .places = 1};
    one.y[0] = y.at;
    one.x[0] = x.at;
    one.depthwise.product = *product;
    one.depthwise.product.outputs = c->rows;
    one.depthwise.taps = c->taps;
    one.depthwise.positions = c->positions;
    one.depthwise.weights_step = padded_channels;
    one.depthwise.tap_step = c->dilation * (size_t)x.strides[1];
    one.depthwise.position_step = c->stride * (size_t)x.strides[1];
    const lf_place at = lf_new_model_place(planner, c->taps * padded_channels * sizeof(float));
    const lf_place bias = lf_new_model_place(planner, padded_channels * sizeof(float));
    lf_packing *const packing = lf_new_packing(planner, LF_PACK_FILTERS);
    if (!packing)
        return;
    packing->offset = (size_t)at.offset;
    packing->bias_offset = (size_t)bias.offset;
    packing->instruction = planner->plan->instruction_count;
    packing->weight = lf_operand_tensor(planner, op, 1)->constant;
    packing->bias = bias_of(planner, op);
    packing->channels = c->channels;
    packing->kernel = c->kernel;
    packing->first_tap = c->first_tap;
    packing->taps = c->taps;
    lf_emit(planner, &one);
}

/* The rows of input of one group: a window is one part where its taps lie side by side, else each tap is one. */
static lf_run_product windows(const conv *c, lf_view x, const lf_product *product) {
    const size_t channels = c->channels / c->groups, tap_step = c->dilation * (size_t)x.strides[1];
    const int is_one = c->taps == 1 || tap_step == channels;
    const lf_run_product run = {
        .product = *product,
        .rows = {.rank = 1,
                 .sizes = {(uint32_t)c->positions},
                 .strides = {{(int32_t)c->rows}, {(int32_t)(c->stride * (size_t)x.strides[1])}}},
        .row_count = c->positions,
        .segments = is_one ? 1 : c->taps,
        .segment_count = is_one ? c->taps * channels : channels,
        .segment_step = (ptrdiff_t)(tap_step * sizeof(float)),
    };
    return run;
}

void lf_plan_conv(lf_planner *planner, const lf_op *op) {
    const conv c = conv_of(planner, op);
    const lf_tensor *const weight = lf_operand_tensor(planner, op, 1);
    const lf_view x = padded(planner, lf_operand_view(planner, op, 0), &c);
    lf_product product = {0};
    const lf_op *const whose = finish(planner, op, &product);
    const lf_view y = lf_new_result(planner, whose, 0, time_major);
    if (planner->status != LF_OK)
        return;
    const size_t channels = c.channels / c.groups, rows = c.rows / c.groups;
    product.outputs = rows;
    if (channels == 1 && rows == 1 && c.groups > 1 && lf_type_of(planner, op) == LF_FLOAT32) {
        plan_depthwise(planner, op, &c, x, y, &product);
        return;
    }
    for (size_t group = 0; group < c.groups && planner->status == LF_OK; group++) {
        const lf_run_product run = windows(&c, x, &product);
        lf_place from = x.at, to = y.at;
        from.offset += (ptrdiff_t)(group * channels * sizeof(float));
        to.offset += (ptrdiff_t)(group * rows * sizeof(float));
        const lf_packing weights = {.weight = weight->constant,
                                    .bias = bias_of(planner, op),
                                    .first_row = group * rows,
                                    .channels = channels,
                                    .kernel = c.kernel,
                                    .first_tap = c.first_tap,
                                    .taps = c.taps};
        lf_emit_product(planner, op, &run, to, from, &weights);
    }
}
