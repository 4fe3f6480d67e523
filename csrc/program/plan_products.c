/* Dense layers and convolutions: which rows of input each product has, and where its weights are. */
#include <string.h>

#include "../tuning.h"
#include "planner.h"
#include "signatures.h"

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
    m->columns = (uint32_t)(weights->taps[0] * weights->taps[1] * weights->channels);
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
                                .kernel = {1, 1},
                                .taps = {1, 1}};
    lf_emit_product(planner, op, &run, y.at, x.at, &weights);
}

/* ---- convolutions ---- */

/* Of x, of the kernel and of the result along one axis. */
typedef struct conv_axis {
    size_t stride, dilation, begin, size, kernel, positions;
    size_t first_tap, taps; /* those that meet anything but padding */
    int64_t first, end;     /* of x, that they meet: from before its beginning to behind its end */
} conv_axis;

typedef struct conv {
    size_t groups, channels, rows;
    conv_axis axis[LF_CONV_AXES];
} conv;

static void find_taps(conv_axis *c) {
    size_t end_tap = 0;
    c->first_tap = c->kernel;
    for (size_t tap = 0; tap < c->kernel; tap++) {
        /* the first position at which the tap is not before x, and whether it is within x there */
        const size_t at = tap * c->dilation;
        const size_t position = at >= c->begin ? 0 : (c->begin - at + c->stride - 1) / c->stride;
        if (position >= c->positions || position * c->stride + at - c->begin >= c->size)
            continue;
        if (c->first_tap == c->kernel)
            c->first_tap = tap;
        end_tap = tap + 1;
    }
    if (c->first_tap == c->kernel) /* nothing but padding: one tap of it will do */
        c->first_tap = 0, end_tap = 1;
    c->taps = end_tap - c->first_tap;
    c->first = (int64_t)(c->first_tap * c->dilation) - (int64_t)c->begin;
    c->end = (int64_t)((c->positions - 1) * c->stride + (end_tap - 1) * c->dilation) -
             (int64_t)c->begin + 1;
}

/* How many elements further on the next index of an axis is; 0 where there is none, as a step may be too large then. */
static ptrdiff_t step_of(size_t count, size_t steps, ptrdiff_t stride) {
    return count > 1 ? (ptrdiff_t)steps * stride : 0;
}

/* The parts of an attribute that one in time has for its axis alone. */
static conv conv_of(const lf_planner *planner, const lf_op *op) {
    const lf_shape *const x = &lf_operand_tensor(planner, op, 0)->shape;
    const lf_shape *const weight = &lf_operand_tensor(planner, op, 1)->shape;
    const lf_shape *const y = &lf_result_tensor(planner, op, 0)->shape;
    const lf_attribute *const a = op->attributes;
    const uint32_t axes = x->rank - 1, line_axes = LF_CONV_AXES - axes;
    conv c = {.groups = (size_t)a[LF_CONV_GROUPS].whole,
              .channels = x->sizes[0],
              .rows = weight->sizes[0],
              .axis[0] = {.stride = 1, .dilation = 1, .size = 1, .kernel = 1, .positions = 1}};
    for (uint32_t n = 0; n < axes; n++) {
        conv_axis *const axis = &c.axis[line_axes + n];
        const int is_one = op->code == LF_OP_CONV;
        axis->stride = (size_t)(is_one ? a[LF_CONV_STRIDE].whole : a[LF_CONV2D_STRIDES].several[n]);
        axis->dilation =
            (size_t)(is_one ? a[LF_CONV_DILATION].whole : a[LF_CONV2D_DILATIONS].several[n]);
        axis->begin =
            (size_t)(is_one ? a[LF_CONV_PAD_BEGIN].whole : a[LF_CONV2D_PAD_BEGIN].several[n]);
        axis->size = x->sizes[1 + n];
        axis->kernel = weight->sizes[2 + n];
        axis->positions = y->sizes[1 + n];
    }
    for (uint32_t n = 0; n < LF_CONV_AXES; n++)
        find_taps(&c.axis[n]);
    return c;
}

/* One position behind the other, line by line, the channels of each side by side. */
static const uint32_t channels_last[LF_MAX_RANK] = {1, 2, 0};
static const uint32_t time_major[LF_MAX_RANK] = {1, 0};

/* (channels, lines, what is in a line) of x, which may have a single line. */
static lf_view in_lines(lf_view x) {
    if (x.shape.rank > LF_CONV_AXES)
        return x;
    x.shape.rank = 1 + LF_CONV_AXES;
    x.shape.sizes[2] = x.shape.sizes[1];
    x.strides[2] = x.strides[1];
    x.shape.sizes[1] = 1;
    x.strides[1] = 0;
    return x;
}

/* What the taps meet along each axis, from its `first` to its `end`: x itself, or a copy with its padding. */
static lf_view padded(lf_planner *planner, lf_view x, const conv *c) {
    int is_padded = 0, is_usable = x.strides[0] == 1 || c->channels == 1, meets = 1;
    int32_t from_start[3] = {0}, to_start[3] = {0};
    const int32_t one[3] = {1, 1, 1};
    lf_shape whole = {3, {(uint32_t)c->channels}}, inside = whole;
    lf_view begin = x;
    int64_t count = (int64_t)c->channels;
    for (int n = 0; n < LF_CONV_AXES; n++) {
        const conv_axis *const axis = &c->axis[n];
        const int64_t size = (int64_t)axis->size, extent = axis->end - axis->first;
        const int64_t first = axis->first > 0 ? axis->first : 0;
        const int64_t end = axis->end < size ? axis->end : size;
        is_padded |= axis->first < 0 || axis->end > size;
        is_usable &= x.strides[1 + n] > 0 || size == 1;
        meets &= first < end;
        begin.at.offset += (ptrdiff_t)axis->first * x.strides[1 + n] * (ptrdiff_t)sizeof(float);
        if (extent > LF_MAX_SIZE / count) {
            lf_fail(planner, LF_ERR_UNSUPPORTED); /* most of it is never looked at */
            return x;
        }
        count *= extent;
        whole.sizes[1 + n] = (uint32_t)extent;
        inside.sizes[1 + n] = (uint32_t)(end - first);
        from_start[1 + n] = (int32_t)first;
        to_start[1 + n] = (int32_t)(first - axis->first);
    }
    if (!is_padded && is_usable)
        return begin;
    const lf_view copy = lf_new_view(planner, x.kind, &whole, channels_last);
    if (is_padded) {
        lf_instruction zero = {.kind = LF_RUN_ZERO, .results = 1};
        zero.y[0] = copy.at;
        zero.zero_bytes = (size_t)count * sizeof(float);
        lf_emit(planner, &zero);
    }
    if (meets) {
        const lf_view from = lf_sliced(&x, from_start, one, &inside);
        const lf_view to = lf_sliced(&copy, to_start, one, &inside);
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
    one.depthwise.weights_step = padded_channels;
    size_t taps = 1;
    for (int n = 0; n < LF_CONV_AXES; n++) {
        const conv_axis *const axis = &c->axis[n];
        const ptrdiff_t stride = x.strides[1 + n];
        taps *= axis->taps;
        one.depthwise.taps[n] = axis->taps;
        one.depthwise.tap_step[n] = (size_t)step_of(axis->taps, axis->dilation, stride);
        one.depthwise.positions[n] = axis->positions;
        one.depthwise.position_step[n] = (size_t)step_of(axis->positions, axis->stride, stride);
    }
    const lf_place at = lf_new_model_place(planner, taps * padded_channels * sizeof(float));
    const lf_place bias = lf_new_model_place(planner, padded_channels * sizeof(float));
    lf_packing *const packing = lf_new_packing(planner, LF_PACK_FILTERS);
    if (!packing)
        return;
    packing->offset = (size_t)at.offset;
    packing->bias_offset = (size_t)bias.offset;
    packing->instruction = planner->plan->instruction_count;
    packing->weight = lf_operand_tensor(planner, op, 1)->constant;
    packing->bias = bias_of(planner, op);
    packing->channels = 1;
    for (int n = 0; n < LF_CONV_AXES; n++) {
        packing->kernel[n] = c->axis[n].kernel;
        packing->first_tap[n] = c->axis[n].first_tap;
        packing->taps[n] = c->axis[n].taps;
    }
    lf_emit(planner, &one);
}

/* The loops over the positions of (y, x); y is dense. */
static lf_loops loops_over_positions(const conv *c, lf_view x) {
    lf_loops loops = {0};
    for (int n = 0; n < LF_CONV_AXES; n++) {
        const conv_axis *const axis = &c->axis[n];
        if (axis->positions == 1 && (n == 0 || loops.rank))
            continue;
        const size_t step = n == 0 ? c->axis[1].positions * c->rows : c->rows;
        loops.sizes[loops.rank] = (uint32_t)axis->positions;
        loops.strides[0][loops.rank] = (int32_t)step;
        loops.strides[1][loops.rank] =
            (int32_t)step_of(axis->positions, axis->stride, x.strides[1 + n]);
        loops.rank++;
    }
    return loops;
}

/* The rows of input of one group. What lies side by side in a window is one part: all of it, a line, or a tap. */
static lf_run_product windows(const conv *c, lf_view x, const lf_product *product) {
    const conv_axis *const lines = &c->axis[0], *const line = &c->axis[1];
    const size_t channels = c->channels / c->groups, line_count = line->taps * channels;
    const ptrdiff_t tap_step = step_of(line->taps, line->dilation, x.strides[2]);
    const ptrdiff_t line_step = step_of(lines->taps, lines->dilation, x.strides[1]);
    lf_run_product run = {.product = *product,
                          .rows = loops_over_positions(c, x),
                          .row_count = lines->positions * line->positions};
    if (line->taps > 1 && tap_step != (ptrdiff_t)channels) {
        run.segments = lines->taps * line->taps;
        run.segment_count = channels;
        run.segment_step = tap_step * (ptrdiff_t)sizeof(float);
        run.line_segments = line->taps;
        run.line_step = (line_step - tap_step * (ptrdiff_t)line->taps) * (ptrdiff_t)sizeof(float);
        return run;
    }
    const int is_one = lines->taps == 1 || line_step == (ptrdiff_t)line_count;
    run.segments = is_one ? 1 : lines->taps;
    run.segment_count = is_one ? lines->taps * line_count : line_count;
    run.segment_step = line_step * (ptrdiff_t)sizeof(float);
    return run;
}

void lf_plan_conv(lf_planner *planner, const lf_op *op) {
    const conv c = conv_of(planner, op);
    const lf_tensor *const weight = lf_operand_tensor(planner, op, 1);
    const lf_view x = padded(planner, in_lines(lf_operand_view(planner, op, 0)), &c);
    lf_product product = {0};
    const lf_op *const whose = finish(planner, op, &product);
    const int has_lines = op->code == LF_OP_CONV2D;
    const lf_view y = lf_new_result(planner, whose, 0, has_lines ? channels_last : time_major);
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
        lf_packing weights = {.weight = weight->constant,
                              .bias = bias_of(planner, op),
                              .first_row = group * rows,
                              .channels = channels};
        for (int n = 0; n < LF_CONV_AXES; n++) {
            weights.kernel[n] = c.axis[n].kernel;
            weights.first_tap[n] = c.axis[n].first_tap;
            weights.taps[n] = c.axis[n].taps;
        }
        lf_emit_product(planner, op, &run, to, from, &weights);
    }
}
