/* Writes weights as panels; see lf_layer in internal.h for the layout. */
#include <math.h>
#include <string.h>

#include "internal.h"

float lf_bias(const lf_layer_weights *layer, size_t row) {
    return (layer->bias_ih ? layer->bias_ih[row] : 0.0f) +
           (layer->bias_hh ? layer->bias_hh[row] : 0.0f);
}

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* To the nearest, ties to even, as a cast in NumPy does; too large becomes infinite. */
static uint16_t to_float16(float value) {
    const uint32_t sign = bits_of(value) >> 16 & 0x8000u;
    /* In units of the last place that float16 has there; below 2^-14 that stays 2^-24. */
    const float magnitude = fabsf(value);
    int exponent;
    if (magnitude == 0)
        return (uint16_t)sign;
    (void)frexpf(magnitude, &exponent);
    const int shift = exponent > -13 ? 11 - exponent : 24;
    const uint32_t units = (uint32_t)nearbyintf(ldexpf(magnitude, shift));
    if (exponent > 16)
        return (uint16_t)(sign | 0x7C00u);
    /* A mantissa that rounds up to the next power of two carries into the exponent by itself. */
    return (uint16_t)(sign |
                      (exponent > -13 ? (((uint32_t)(exponent + 13) << 10) + units) : units));
}

int lf_fits_float16(float value) { return (to_float16(value) & 0x7C00u) != 0x7C00u; }

/* One half of the weights of a layer: a matrix, its width, and its place in the panels. */
typedef struct lf_half {
    const float *weight; /* [4H][columns] */
    size_t columns;
    float operand_scale; /* int8: of the operand where it is fixed, else 1 */
} lf_half;

static size_t padded_columns(const lf_isa *isa, lf_weight_type type, size_t columns) {
    return type == LF_INT8 ? lf_round_up(columns, isa->int8_group) : columns;
}

size_t lf_packed_unit_bytes(const lf_isa *isa, lf_weight_type type, const lf_layer *layer) {
    const size_t columns = padded_columns(isa, type, layer->input_size) +
                           padded_columns(isa, type, layer->output_size);
    const size_t float_rows = type == LF_INT8 ? LF_FINISH_ROWS : 1; /* or the bias alone */
    return LF_GATES * (float_rows * sizeof(float) + columns * lf_weight_bytes(type));
}

/*
 * As many as there are, unless L1 keeps a panel for the next pass only where it is of one vector: then the
 * pass begins with weights from L1, and four chains are as fast as the rest comes from L2.
 */
size_t lf_wide_panels(const lf_isa *isa, lf_weight_type type, const lf_layer *layer) {
    const size_t units = isa->panel_vectors * isa->lanes;
    const size_t unit_bytes = lf_packed_unit_bytes(isa, type, layer);
    const int narrow = isa->has_narrow_panels && type == LF_FLOAT32 &&
                       unit_bytes * units > LF_L1_KEEPS && unit_bytes * isa->lanes <= LF_L1_KEEPS;
    return narrow ? 0 : layer->padded_hidden / units;
}

/* The scale of a row: its largest magnitude is 127 units; 0 for a row of (almost) zeros. */
float lf_row_scale(const float *row, size_t columns) {
    float largest = 0;
    for (size_t k = 0; k < columns; k++)
        largest = fmaxf(largest, fabsf(row[k]));
    return largest < 0x1p-100f ? 0 : largest / 127.0f;
}

/* One row of one half into its places, `stride` weights apart from group to group. */
void lf_pack_row(char *out, const lf_isa *isa, lf_weight_type type, const float *row,
                 size_t columns, size_t stride, float scale) {
    for (size_t k = 0; k < columns; k++)
        switch (type) {
        case LF_FLOAT32:
            memcpy(out + k * stride * sizeof(float), &row[k], sizeof(float));
            break;
        case LF_FLOAT16: {
            const uint16_t half = to_float16(row[k]);
            memcpy(out + k * stride * sizeof half, &half, sizeof half);
            break;
        }
        case LF_INT8: {
            const size_t group = isa->int8_group;
            const int quant = scale > 0 ? (int)nearbyintf(row[k] / scale) : 0;
            out[k / group * group * stride + k % group] = (char)(quant + isa->int8_offset);
            break;
        }
        }
}

/* One panel, and for int8 its part of the finish rows; returns its end. */
static char *pack_panel(char *out, float *finish, const lf_isa *isa, lf_weight_type type,
                        const lf_layer *layer, const lf_layer_weights *source,
                        const lf_half halves[2], size_t first, size_t units) {
    const size_t stride = LF_GATES * units; /* weights, or values of a header row, of one k */
    const size_t row_bytes = stride * sizeof(float);
    const size_t k_bytes = stride * lf_weight_bytes(type);
    char *weights[2], *end;
    weights[0] = out + (type == LF_INT8 ? 0 : row_bytes);
    weights[1] = weights[0] + padded_columns(isa, type, halves[0].columns) * k_bytes;
    end = weights[1] + padded_columns(isa, type, halves[1].columns) * k_bytes;
    for (size_t half = 0; half < 2; half++) {
        const size_t columns = halves[half].columns;
        for (size_t gate = 0; gate < LF_GATES; gate++)
            for (size_t u = 0; u < units && first + u < layer->hidden_size; u++) {
                const size_t row = gate * layer->hidden_size + first + u, at = gate * units + u;
                const float *values = halves[half].weight + row * columns;
                const float scale = type == LF_INT8 ? lf_row_scale(values, columns) : 0;
                const size_t group = type == LF_INT8 ? isa->int8_group : 1;
                const size_t vector = (first + u) / isa->lanes, lane = (first + u) % isa->lanes;
                /* the layer normalisation adds it behind the sums */
                const float bias = source->layer_norm ? 0.0f : lf_bias(source, row);
                lf_pack_row(weights[half] + at * group * lf_weight_bytes(type), isa, type, values,
                            columns, stride, scale);
                if (type == LF_INT8) {
                    float *const rows =
                        finish + (vector * LF_GATES + gate) * LF_FINISH_ROWS * isa->lanes + lane;
                    rows[0] = bias;
                    rows[(1 + half) * isa->lanes] = scale * halves[half].operand_scale;
                } else {
                    ((float *)(void *)out)[at] = bias;
                }
            }
    }
    return end;
}

char *lf_pack_layer(char *out, const lf_isa *isa, lf_weight_type type, const lf_layer *layer,
                    const lf_layer_weights *source) {
    const lf_half halves[2] = {
        {source->weight_ih, layer->input_size, 1.0f},
        {source->weight_hh, layer->output_size, layer->h_is_bounded ? 1.0f / 127.0f : 1.0f}};
    const size_t finish_bytes =
        type == LF_INT8 ? layer->padded_hidden * LF_GATES * LF_FINISH_ROWS * sizeof(float) : 0;
    char *const end = out + layer->padded_hidden * lf_packed_unit_bytes(isa, type, layer);
    float *const finish = (float *)(void *)(end - finish_bytes);
    size_t units;
    for (size_t first = 0; first < layer->padded_hidden; first += units) {
        units = isa->lanes;
        if (first < layer->wide_panels * isa->panel_vectors * isa->lanes)
            units = isa->panel_vectors * isa->lanes;
        out = pack_panel(out, finish, isa, type, layer, source, halves, first, units);
    }
    return end;
}
