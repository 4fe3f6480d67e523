/* The shapes of what dense, conv, conv2d, lstm and gru compute, as _program_shapes.py and cell.py have them. */
#include <math.h>

#include "shapes.h"
#include "signatures.h"

/* Whether an input is left out or a matrix of these sizes. */
static int fits_matrix(const lf_call *c, uint32_t n, int64_t rows, int64_t columns) {
    const lf_tensor *tensor = input(c, n);
    return !tensor || (is_rank(tensor, 2) && tensor->shape.sizes[0] == rows &&
                       tensor->shape.sizes[1] == columns);
}

static int make_vector(lf_tensor *result, int64_t size) {
    return lf_set_tensor(result, LF_KIND_FLOAT32, 1, &size);
}

int lf_infer_dense(const lf_call *c, lf_tensor *result) {
    const lf_tensor *x = input(c, 0), *weight = input(c, 1);
    if (!are_floats(c) || !is_rank(weight, 2) || is_rank(x, 0))
        return 0;
    const uint32_t rows = weight->shape.sizes[0], last = x->shape.rank - 1;
    int64_t sizes[LF_MAX_RANK];
    if (x->shape.sizes[last] != weight->shape.sizes[1] || !fits_vector(c, 2, rows))
        return 0;
    *append(sizes, &x->shape, 0, last) = rows;
    return lf_set_tensor(result, LF_KIND_FLOAT32, x->shape.rank, sizes);
}

/* Along one axis: its size and that of the kernel, and what the attributes say. */
typedef struct window {
    int64_t size, taps, stride, dilation, begin, end;
} window;

/* How many positions it has; 0 where it does not fit. */
static int64_t positions_of(const window *w) {
    if (w->stride < 1 || w->dilation < 1 || w->begin < 0 || w->end < 0)
        return 0;
    const int64_t padded = w->size + w->begin + w->end, span = w->dilation * (w->taps - 1) + 1;
    return span > padded ? 0 : (padded - span) / w->stride + 1;
}

/* Whether channels, weights and bias go together; weights (rows, channels of a group, kernel). */
static int fits_groups(const lf_call *c, int64_t groups) {
    const lf_tensor *x = input(c, 0), *weight = input(c, 1);
    const int64_t channels = x->shape.sizes[0], rows = weight->shape.sizes[0];
    return groups >= 1 && channels % groups == 0 && rows % groups == 0 &&
           weight->shape.sizes[1] == channels / groups && fits_vector(c, 2, rows);
}

int lf_infer_conv(const lf_call *c, lf_tensor *result) {
    const lf_tensor *x = input(c, 0), *weight = input(c, 1);
    if (!are_floats(c) || !is_rank(x, 2) || !is_rank(weight, 3))
        return 0;
    const window along = {.size = x->shape.sizes[1],
                          .taps = weight->shape.sizes[2],
                          .stride = attribute(c, LF_CONV_STRIDE)->whole,
                          .dilation = attribute(c, LF_CONV_DILATION)->whole,
                          .begin = attribute(c, LF_CONV_PAD_BEGIN)->whole,
                          .end = attribute(c, LF_CONV_PAD_END)->whole};
    const int64_t sizes[] = {weight->shape.sizes[0], positions_of(&along)};
    return fits_groups(c, attribute(c, LF_CONV_GROUPS)->whole) &&
           lf_set_tensor(result, LF_KIND_FLOAT32, 2, sizes);
}

int lf_infer_conv2d(const lf_call *c, lf_tensor *result) {
    enum { AXES = 2 };
    const lf_tensor *x = input(c, 0), *weight = input(c, 1);
    if (!are_floats(c) || !is_rank(x, 3) || !is_rank(weight, 4))
        return 0;
    for (size_t n = LF_CONV2D_STRIDES; n <= LF_CONV2D_PAD_END; n++)
        if (n != LF_CONV2D_GROUPS && attribute(c, n)->count != AXES)
            return 0;
    int64_t sizes[] = {weight->shape.sizes[0], 0, 0}, padded[] = {x->shape.sizes[0], 0, 0};
    for (size_t axis = 0; axis < AXES; axis++) {
        const window along = {.size = x->shape.sizes[1 + axis],
                              .taps = weight->shape.sizes[2 + axis],
                              .stride = attribute(c, LF_CONV2D_STRIDES)->several[axis],
                              .dilation = attribute(c, LF_CONV2D_DILATIONS)->several[axis],
                              .begin = attribute(c, LF_CONV2D_PAD_BEGIN)->several[axis],
                              .end = attribute(c, LF_CONV2D_PAD_END)->several[axis]};
        sizes[1 + axis] = positions_of(&along);
        padded[1 + axis] = along.size + along.begin + along.end;
    }
    return fits_groups(c, attribute(c, LF_CONV2D_GROUPS)->whole) &&
           lf_set_tensor(result, LF_KIND_FLOAT32, 3, padded) &&
           lf_set_tensor(result, LF_KIND_FLOAT32, 3, sizes);
}

/* Which of alpha and beta an activation has, in the order of cell.py; those that it has not may be anything. */
enum { NEITHER, ALPHA, BOTH };
static const int parameters[] = {NEITHER, NEITHER, BOTH,  NEITHER, BOTH,   ALPHA,
                                 ALPHA,   BOTH,    ALPHA, NEITHER, NEITHER};

static int is_activation(const lf_attribute *name) {
    const int has = parameters[name->whole];
    return (has == NEITHER || isfinite(name[1].real)) && (has != BOTH || isfinite(name[2].real));
}

static int is_cell(const lf_call *c) {
    for (size_t clip = LF_LSTM_CLIP; clip <= LF_LSTM_PROJ_CLIP; clip++)
        if (!(attribute(c, clip)->real >= 0 && isfinite(attribute(c, clip)->real)))
            return 0;
    const float epsilon = attribute(c, LF_LSTM_EPSILON)->real;
    return is_activation(attribute(c, LF_LSTM_GATE)) &&
           is_activation(attribute(c, LF_LSTM_INPUT)) &&
           is_activation(attribute(c, LF_LSTM_OUTPUT)) && epsilon > 0 && isfinite(epsilon);
}

int lf_infer_lstm(const lf_call *c, lf_tensor *outputs) {
    const lf_tensor *x = input(c, LF_LSTM_X), *h = input(c, LF_LSTM_H), *c_0 = input(c, LF_LSTM_C);
    if (!are_floats(c) || !is_rank(x, 1) || !is_rank(h, 1) || !is_rank(c_0, 1))
        return 0;
    const int64_t width = x->shape.sizes[0], projected = h->shape.sizes[0];
    const int64_t hidden = c_0->shape.sizes[0];
    if (!fits_matrix(c, LF_LSTM_WEIGHT_IH, 4 * hidden, width) ||
        !fits_matrix(c, LF_LSTM_WEIGHT_HH, 4 * hidden, projected) ||
        !fits_vector(c, LF_LSTM_BIAS, 4 * hidden) ||
        !fits_matrix(c, LF_LSTM_WEIGHT_HR, projected, hidden) ||
        !fits_vector(c, LF_LSTM_PEEPHOLE, 3 * hidden) ||
        !fits_vector(c, LF_LSTM_LAYER_NORM, 4 * hidden) ||
        !fits_vector(c, LF_LSTM_BIAS_HR, projected))
        return 0;
    if (!input(c, LF_LSTM_WEIGHT_HR) && (projected != hidden || input(c, LF_LSTM_BIAS_HR)))
        return 0;
    return is_cell(c) && make_vector(outputs, projected) && make_vector(outputs + 1, projected) &&
           make_vector(outputs + 2, hidden);
}

int lf_infer_gru(const lf_call *c, lf_tensor *outputs) {
    const lf_tensor *x = input(c, LF_GRU_X), *h = input(c, LF_GRU_H);
    if (!are_floats(c) || !is_rank(x, 1) || !is_rank(h, 1))
        return 0;
    const int64_t width = x->shape.sizes[0], hidden = h->shape.sizes[0], rows = 3 * hidden;
    return fits_matrix(c, LF_GRU_WEIGHT_IH, rows, width) &&
           fits_matrix(c, LF_GRU_WEIGHT_HH, rows, hidden) && fits_vector(c, LF_GRU_BIAS_IH, rows) &&
           fits_vector(c, LF_GRU_BIAS_HH, rows) && make_vector(outputs, hidden) &&
           make_vector(outputs + 1, hidden);
}
