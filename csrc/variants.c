/* Cells that are not the plain one: whether their options make sense. */
#include <math.h>

#include "anywhere.h"
#include "model.h"

static const lf_cell_options plain_cell = {
    .gate = {.name = LF_SIGMOID}, .input = {.name = LF_TANH}, .output = {.name = LF_TANH}};

const lf_cell_options *lf_options_of(const lf_layer_weights *weights) {
    return weights->cell ? weights->cell : &plain_cell;
}

int lf_is_plain(const lf_layer_weights *weights) {
    const lf_cell_options *cell = lf_options_of(weights);
    return !weights->weight_hr && !weights->peephole && !weights->layer_norm &&
           cell->gate.name == LF_SIGMOID && cell->input.name == LF_TANH &&
           cell->output.name == LF_TANH && cell->clip == 0 && cell->cell_clip == 0 &&
           cell->coupling == LF_UNCOUPLED;
}

static int is_bounded(lf_function function) {
    return function.name == LF_SIGMOID || function.name == LF_TANH ||
           function.name == LF_HARD_SIGMOID || function.name == LF_SOFTSIGN;
}

int lf_is_bounded(const lf_layer_weights *weights) {
    const lf_cell_options *cell = lf_options_of(weights);
    return !weights->weight_hr && is_bounded(cell->gate) && is_bounded(cell->output);
}

static int is_function(lf_function function) {
    return function.name >= LF_SIGMOID && function.name <= LF_SOFTSIGN &&
           isfinite(function.alpha) && isfinite(function.beta);
}

static int is_bound(float clip) { return isfinite(clip) && clip >= 0; }

static int is_finite(const float *values, size_t count) {
    for (size_t j = 0; values && j < count; j++)
        if (!isfinite(lf_float_at(values, j)))
            return 0;
    return 1;
}

lf_status lf_check_variant(const lf_layer_weights *weights, size_t hidden_size, size_t proj_size) {
    const lf_cell_options *cell = lf_options_of(weights);
    const size_t outputs = proj_size ? proj_size : hidden_size;
    if (!weights->weight_hr != !proj_size || (weights->bias_hr && !proj_size) ||
        (cell->proj_clip > 0 && !proj_size))
        return LF_ERR_ARGUMENT;
    if (!is_function(cell->gate) || !is_function(cell->input) || !is_function(cell->output) ||
        !is_bound(cell->clip) || !is_bound(cell->cell_clip) || !is_bound(cell->proj_clip) ||
        cell->coupling < LF_UNCOUPLED || cell->coupling > LF_INPUT_FROM_FORGET ||
        (weights->layer_norm &&
         !(isfinite(cell->layer_norm_epsilon) && cell->layer_norm_epsilon > 0)))
        return LF_ERR_ARGUMENT;
    return is_finite(weights->weight_hr, proj_size * hidden_size) &&
                   is_finite(weights->bias_hr, proj_size) &&
                   is_finite(weights->peephole, 3 * hidden_size) &&
                   is_finite(weights->layer_norm, LF_GATES * hidden_size) &&
                   is_finite(weights->h_0, outputs) && is_finite(weights->c_0, hidden_size)
               ? LF_OK
               : LF_ERR_NONFINITE;
}
