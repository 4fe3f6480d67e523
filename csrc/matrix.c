#include "matrix.h"

#include <math.h>
#include <string.h>

#include "anywhere.h"

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

static float int8_scale(const float *row, size_t columns) {
    float largest = 0;
    for (size_t k = 0; k < columns; k++)
        largest = fmaxf(largest, fabsf(lf_float_at(row, k)));
    return largest < 0x1p-100f ? 0 : largest / 127.0f;
}

float lf_pack_row(const lf_matrix *m, lf_geometry g, int offset, size_t row, const float *values) {
    const lf_panel p = lf_panel_at(m, g, lf_panel_of_row(m, g, row));
    const size_t rows = p.rows, at = row - p.row;
    char *const out = (char *)p.weights;
    switch (g.type) {
    case LF_FLOAT32:
        for (size_t k = 0; k < m->columns; k++)
            lf_copy_floats(out + (k * rows + at) * sizeof(float), values + k, 1);
        return 1;
    case LF_FLOAT16:
        for (size_t k = 0; k < m->columns; k++) {
            const uint16_t half = to_float16(lf_float_at(values, k));
            memcpy(out + (k * rows + at) * sizeof half, &half, sizeof half);
        }
        return 1;
    case LF_INT8: {
        const float scale = int8_scale(values, m->columns);
        for (size_t k = 0; k < m->columns; k++) {
            const int quant = scale > 0 ? (int)nearbyintf(lf_float_at(values, k) / scale) : 0;
            out[(k / g.group * rows + at) * g.group + k % g.group] = (char)(quant + offset);
        }
        return scale;
    }
    }
    return 0; /* no type has this value */
}

void lf_pack_bias(const lf_matrix *m, lf_geometry g, size_t matrices, size_t row, float bias,
                  const float *scales) {
    const lf_panel p = lf_panel_at(m, g, lf_panel_of_row(m, g, row));
    if (lf_bias_bytes(g)) {
        float *const biases = (float *)(void *)(m->panels + p.row * m->stride);
        biases[row - p.row] = bias;
        return;
    }
    const size_t lane = row % g.lanes;
    float *const set = (float *)lf_dequantisation_rows(m, g, matrices, row - lane);
    set[lane] = bias;
    for (size_t n = 0; n < matrices; n++)
        set[(1 + n) * g.lanes + lane] = scales[n];
}
