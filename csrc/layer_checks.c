/* Whether the weights of an LSTM layer make sense, and fit their type. */
#include <math.h>

#include "anywhere.h"
#include "matrix.h"
#include "model.h"

static int all_finite(const float *values, size_t count) {
    for (size_t j = 0; j < count; j++)
        if (!isfinite(lf_float_at(values, j)))
            return 0;
    return 1;
}

static lf_status check_layer(const lf_layer_weights *layer, size_t input_size, size_t hidden_size,
                             size_t proj_size) {
    const size_t outputs = proj_size ? proj_size : hidden_size;
    const size_t rows = LF_GATES * hidden_size;
    if (!layer->weight_ih || !layer->weight_hh)
        return LF_ERR_ARGUMENT;
    if (!all_finite(layer->weight_ih, rows * input_size) ||
        !all_finite(layer->weight_hh, rows * outputs))
        return LF_ERR_NONFINITE;
    for (size_t row = 0; row < rows; row++)
        if (!isfinite(lf_bias(layer, row)))
            return LF_ERR_NONFINITE;
    return lf_check_variant(layer, hidden_size, proj_size);
}

static int all_fit_float16(const float *values, size_t count) {
    for (size_t j = 0; j < count; j++)
        if (!lf_fits_float16(lf_float_at(values, j)))
            return 0;
    return 1;
}

/* float16 must be able to hold every weight, and 32 bits the sum of a row of 8-bit products. */
static lf_status check_type(const lf_layer_weights *layer, size_t input_size, size_t hidden_size,
                            size_t proj_size, lf_weight_type type) {
    const size_t outputs = proj_size ? proj_size : hidden_size;
    const size_t largest_sum = (size_t)INT32_MAX / (127 * (127 + 128));
    if (type == LF_INT8 && (input_size > largest_sum || outputs > largest_sum ||
                            (proj_size && hidden_size > largest_sum)))
        return LF_ERR_SHAPE;
    if (type != LF_FLOAT16)
        return LF_OK;
    const size_t rows = LF_GATES * hidden_size;
    return all_fit_float16(layer->weight_ih, rows * input_size) &&
                   all_fit_float16(layer->weight_hh, rows * outputs) &&
                   all_fit_float16(layer->weight_hr, proj_size * hidden_size)
               ? LF_OK
               : LF_ERR_RANGE;
}

lf_status lf_check_layer(const lf_layer_weights *layer, size_t input_size, size_t hidden_size,
                         size_t proj_size, lf_weight_type type) {
    const lf_status status = check_layer(layer, input_size, hidden_size, proj_size);
    return status == LF_OK ? check_type(layer, input_size, hidden_size, proj_size, type) : status;
}
