/* Packs an LSTM layer: two matrices in one block of panels, and behind them what a variant has. */
#include "anywhere.h"
#include "matrix.h"
#include "model.h"
#include "tuning.h"

float lf_bias(const lf_layer_weights *layer, size_t row) {
    return (layer->bias_ih ? lf_float_at(layer->bias_ih, row) : 0.0f) +
           (layer->bias_hh ? lf_float_at(layer->bias_hh, row) : 0.0f);
}

/*
 * As many as there are, unless L1 keeps a panel for the next pass only where it is a narrow one: then the pass begins
 * with weights from L1, and four chains are as fast as the rest comes from L2.
 */
uint32_t lf_wide_panels(const lf_isa *isa, lf_weight_type type, const lf_layer *layer) {
    const lf_geometry g = lf_geometry_of(isa, type);
    const lf_matrix m = lf_layer_matrix(layer, g, LF_INPUT);
    const size_t narrow_bytes = lf_narrow_rows(g) * m.stride;
    const int narrow = isa->has_narrow_panels && type == LF_FLOAT32 &&
                       narrow_bytes * g.wide > LF_L1_KEEPS && narrow_bytes <= LF_L1_KEEPS;
    return narrow ? 0 : (uint32_t)(layer->padded_hidden / (g.wide * g.lanes));
}

/* W_hr [P][H], alone in its panels. */
static lf_matrix projection_of(lf_geometry g, const lf_layer *layer) {
    const lf_matrix m = {
        .rows = (uint32_t)lf_round_up(layer->output_size, lf_narrow_rows(g)),
        .columns = (uint32_t)layer->hidden_size,
        .offset = (uint32_t)lf_bias_bytes(g),
        .stride = (uint32_t)(lf_bias_bytes(g) + lf_row_bytes(g, layer->hidden_size)),
    };
    return m;
}

static size_t rows_bytes(size_t rows, const lf_layer *layer) {
    return lf_round_up(rows * layer->padded_hidden * sizeof(float), LF_ALIGNMENT);
}

static size_t variant_bytes(lf_geometry g, const lf_layer *layer, const lf_layer_weights *weights) {
    const lf_matrix projection = projection_of(g, layer);
    return (weights->peephole ? rows_bytes(3, layer) : 0) +
           (weights->layer_norm ? 2 * rows_bytes(LF_GATES, layer) : 0) +
           (weights->weight_hr ? lf_round_up(lf_block_bytes(&projection, g, 1), LF_ALIGNMENT) : 0);
}

size_t lf_layer_bytes(const lf_isa *isa, lf_weight_type type, const lf_layer *layer,
                      const lf_layer_weights *weights) {
    const lf_geometry g = lf_geometry_of(isa, type);
    const lf_matrix m = lf_layer_matrix(layer, g, LF_INPUT);
    return lf_block_bytes(&m, g, LF_HALVES) + variant_bytes(g, layer, weights);
}

/* Where a gate of a unit is among the rows of its panel, [LF_GATES][units], and of the matrix. */
static size_t packed_row(const lf_matrix *m, lf_geometry g, size_t gate, size_t unit) {
    const lf_panel p = lf_panel_at(m, g, lf_panel_of_row(m, g, LF_GATES * unit));
    return p.row + gate * (p.rows / LF_GATES) + (unit - p.row / LF_GATES);
}

static void pack_panels(const lf_isa *isa, lf_geometry g, const lf_layer *layer,
                        const lf_layer_weights *weights) {
    const lf_matrix input = lf_layer_matrix(layer, g, LF_INPUT);
    const lf_matrix recurrent = lf_layer_matrix(layer, g, LF_RECURRENT);
    const size_t H = layer->hidden_size;
    for (size_t row = 0; row < LF_GATES * H; row++) {
        const size_t to = packed_row(&input, g, row / H, row % H);
        /* layer normalisation adds the bias behind the sums */
        const float bias = weights->layer_norm ? 0.0f : lf_bias(weights, row);
        const float scales[LF_HALVES] = {
            lf_pack_row(&input, g, isa->int8_offset, to, weights->weight_ih + row * input.columns),
            lf_pack_row(&recurrent, g, isa->int8_offset, to,
                        weights->weight_hh + row * recurrent.columns) *
                (layer->h_is_bounded ? 1.0f / 127.0f : 1.0f)};
        lf_pack_bias(&input, g, LF_HALVES, to, bias, scales);
    }
}

static void pack_projection(const lf_isa *isa, lf_geometry g, const lf_matrix *m,
                            const lf_layer *layer, const lf_layer_weights *weights) {
    for (size_t row = 0; row < layer->output_size; row++) {
        const float scale =
            lf_pack_row(m, g, isa->int8_offset, row, weights->weight_hr + row * m->columns);
        const float bias = weights->bias_hr ? lf_float_at(weights->bias_hr, row) : 0.0f;
        lf_pack_bias(m, g, 1, row, bias, &scale);
    }
}

/* [rows][H] to [rows][padded_hidden]. */
static void copy_rows(float *out, const float *values, size_t rows, const lf_layer *layer) {
    for (size_t row = 0; row < rows; row++)
        lf_copy_floats(out + row * layer->padded_hidden, values + row * layer->hidden_size,
                       layer->hidden_size);
}

static void pack_variant(char *out, const lf_isa *isa, lf_geometry g, const lf_layer *layer,
                         const lf_layer_weights *weights, lf_variant *variant) {
    variant->cell = *lf_options_of(weights);
    if (weights->peephole) {
        float *const peephole = (float *)(void *)out;
        copy_rows(peephole, weights->peephole, 3, layer);
        variant->peephole = peephole;
        out += rows_bytes(3, layer);
    }
    if (weights->layer_norm) {
        float *const scale = (float *)(void *)out;
        float *const bias = (float *)(void *)(out + rows_bytes(LF_GATES, layer));
        const size_t H = layer->hidden_size;
        copy_rows(scale, weights->layer_norm, LF_GATES, layer);
        for (size_t row = 0; row < LF_GATES * H; row++)
            bias[row / H * layer->padded_hidden + row % H] = lf_bias(weights, row);
        variant->layer_norm = scale;
        variant->bias = bias;
        out += 2 * rows_bytes(LF_GATES, layer);
    }
    if (weights->weight_hr) {
        variant->projection = projection_of(g, layer);
        variant->projection.panels = out;
        pack_projection(isa, g, &variant->projection, layer, weights);
    }
}

char *lf_pack_layer(char *out, const lf_isa *isa, lf_weight_type type, lf_layer *layer,
                    const lf_layer_weights *weights, lf_variant *variant) {
    const lf_geometry g = lf_geometry_of(isa, type);
    char *const end = out + lf_layer_bytes(isa, type, layer, weights);
    layer->panels = out;
    pack_panels(isa, g, layer, weights);
    if (!lf_is_plain(weights)) {
        pack_variant(end - variant_bytes(g, layer, weights), isa, g, layer, weights, variant);
        layer->variant = variant;
    }
    return end;
}
