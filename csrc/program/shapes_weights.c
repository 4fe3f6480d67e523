/* The shapes of what dense, conv, lstm and gru compute, as _program_shapes.py and cell.py have them. */
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

int lf_infer_conv(const lf_call *c, lf_tensor *result) {
    const lf_tensor *x = input(c, 0), *weight = input(c, 1);
    if (!are_floats(c) || !is_rank(x, 2) || !is_rank(weight, 3))
        return 0;
    const int64_t channels = x->shape.sizes[0], steps = x->shape.sizes[1];
    const int64_t rows = weight->shape.sizes[0], taps = weight->shape.sizes[2];
    const int64_t stride = attribute(c, LF_CONV_STRIDE)->whole;
    const int64_t dilation = attribute(c, LF_CONV_DILATION)->whole;
    const int64_t groups = attribute(c, LF_CONV_GROUPS)->whole;
    const int64_t begin = attribute(c, LF_CONV_PAD_BEGIN)->whole;
    const int64_t end = attribute(c, LF_CONV_PAD_END)->whole;
    if (stride < 1 || dilation < 1 || groups < 1 || begin < 0 || end < 0)
        return 0;
    if (channels % groups || rows % groups || weight->shape.sizes[1] != channels / groups)
        return 0;
    const int64_t padded = steps + begin + end, window = dilation * (taps - 1) + 1;
    if (!fits_vector(c, 2, rows) || window > padded)
        return 0;
    const int64_t sizes[] = {rows, (padded - window) / stride + 1};
    return lf_set_tensor(result, LF_KIND_FLOAT32, 2, sizes);
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
