/* Cells that are not the plain one: whether their options make sense, and how they are packed. */
#include <math.h>
#include <string.h>

#include "internal.h"

static const lf_cell_options plain_cell = {
    .gate = {.name = LF_SIGMOID}, .input = {.name = LF_TANH}, .output = {.name = LF_TANH}};

static const lf_cell_options *options_of(const lf_layer_weights *weights) {
    return weights->cell ? weights->cell : &plain_cell;
}

int lf_is_plain(const lf_layer_weights *weights) {
    const lf_cell_options *cell = options_of(weights);
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
    const lf_cell_options *cell = options_of(weights);
    return !weights->weight_hr && is_bounded(cell->gate) && is_bounded(cell->output);
}

static int is_function(lf_function function) {
    return function.name >= LF_SIGMOID && function.name <= LF_SOFTSIGN &&
           isfinite(function.alpha) && isfinite(function.beta);
}

static int is_bound(float clip) { return isfinite(clip) && clip >= 0; }

static int is_finite(const float *values, size_t count) {
    for (size_t j = 0; values && j < count; j++)
        if (!isfinite(values[j]))
            return 0;
    return 1;
}

lf_status lf_check_variant(const lf_layer_weights *weights, size_t hidden_size, size_t proj_size) {
    const lf_cell_options *cell = options_of(weights);
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

/* ---- packing ---- */

static size_t rows_bytes(size_t rows, const lf_layer *layer) {
    return lf_round_up(rows * layer->padded_hidden * sizeof(float), LF_ALIGNMENT);
}

static size_t strip_outputs(const lf_isa *isa) { return LF_GATES * isa->lanes; }

static size_t strip_bytes(const lf_isa *isa, lf_weight_type type, const lf_layer *layer) {
    const size_t group = type == LF_INT8 ? isa->int8_group : 1;
    return strip_outputs(isa) * (lf_strip_header_rows(type) * sizeof(float) +
                                 lf_round_up(layer->hidden_size, group) * lf_weight_bytes(type));
}

size_t lf_variant_bytes(const lf_isa *isa, lf_weight_type type, const lf_layer *layer,
                        const lf_layer_weights *weights) {
    if (lf_is_plain(weights))
        return 0;
    size_t bytes = 0;
    if (weights->peephole)
        bytes += rows_bytes(3, layer);
    if (weights->layer_norm)
        bytes += 2 * rows_bytes(LF_GATES, layer);
    if (weights->weight_hr) {
        const size_t per = strip_outputs(isa), strips = (layer->output_size + per - 1) / per;
        bytes += lf_round_up(strips * strip_bytes(isa, type, layer), LF_ALIGNMENT);
    }
    return bytes;
}

/* [rows][H] to [rows][padded_hidden]; returns the end. */
static char *copy_rows(char *out, const float *values, size_t rows, const lf_layer *layer) {
    for (size_t row = 0; row < rows; row++)
        memcpy(out + row * layer->padded_hidden * sizeof(float), values + row * layer->hidden_size,
               layer->hidden_size * sizeof(float));
    return out + rows_bytes(rows, layer);
}

static char *pack_strip(char *out, const lf_isa *isa, lf_weight_type type, const lf_layer *layer,
                        const lf_layer_weights *weights, size_t first) {
    const size_t outputs = strip_outputs(isa), H = layer->hidden_size;
    const size_t group = type == LF_INT8 ? isa->int8_group : 1;
    float *const header = (float *)(void *)out;
    char *const at = out + lf_strip_header_rows(type) * outputs * sizeof(float);
    for (size_t j = 0; j < outputs && first + j < layer->output_size; j++) {
        const float *row = weights->weight_hr + (first + j) * H;
        const float scale = type == LF_INT8 ? lf_row_scale(row, H) : 0;
        lf_pack_row(at + j * group * lf_weight_bytes(type), isa, type, row, H, outputs, scale);
        header[j] = weights->bias_hr ? weights->bias_hr[first + j] : 0.0f;
        if (type == LF_INT8)
            header[outputs + j] = scale;
    }
    return out + strip_bytes(isa, type, layer);
}

char *lf_pack_variant(char *out, const lf_isa *isa, lf_weight_type type, const lf_layer *layer,
                      const lf_layer_weights *weights, lf_variant *variant) {
    char *const end = out + lf_variant_bytes(isa, type, layer, weights);
    variant->cell = *options_of(weights);
    if (weights->peephole) {
        variant->peephole = (float *)(void *)out;
        out = copy_rows(out, weights->peephole, 3, layer);
    }
    if (weights->layer_norm) {
        variant->layer_norm = (float *)(void *)out;
        out = copy_rows(out, weights->layer_norm, LF_GATES, layer);
        float *const bias = (float *)(void *)out;
        for (size_t row = 0; row < LF_GATES * layer->hidden_size; row++)
            bias[row / layer->hidden_size * layer->padded_hidden + row % layer->hidden_size] =
                lf_bias(weights, row);
        variant->bias = bias;
        out += rows_bytes(LF_GATES, layer);
    }
    if (weights->weight_hr) {
        variant->projection = out;
        for (size_t first = 0; first < layer->output_size; first += strip_outputs(isa))
            out = pack_strip(out, isa, type, layer, weights, first);
    }
    return end;
}
