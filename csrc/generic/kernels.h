/*
 * Everything one ISA does, written once in the vector vocabulary and included once per isa/X.c.
 * What is static here exists once per ISA; LF_KERNELS hands it to the descriptor.
 */
#include "activations.h"
#include "dot.h"
#include "epilogue.h"

/*
 * One panel of `vectors` vectors of hidden units: both halves of the sum, then the epilogue.
 * Returns the end of the panel.
 *
 * Both halves run through one loop body: as two loops, with two sets of load instructions, the same
 * work takes up to twice as long once the weights come from L2.
 */
LF_INLINE const float *lf_panel_step_f32(size_t vectors, const lf_layer *layer, const float *panel,
                                         const float *x, const float *h, float *c, float *h_out) {
    static const _Alignas(64) float zeros[LF_GATES * LF_PANEL_VECTORS * LF_LANES];
    const size_t rows = LF_GATES * vectors;
    const float *const operand[2] = {x, h}, *const start[2] = {panel, zeros};
    const size_t count[2] = {layer->input_size, layer->hidden_size};
    const float *weights = panel + rows * LF_LANES;
    vf sums[2][LF_GATES * LF_PANEL_VECTORS];

    for (size_t half = 0; half < 2; half++) {
        LF_HIDE_VALUE(half);
        vf sum[LF_GATES * LF_PANEL_VECTORS];
        LF_UNROLL_ALL
        for (size_t j = 0; j < rows; j++)
            sum[j] = vf_load(start[half] + j * LF_LANES);
        weights = lf_dot_f32(rows, sum, weights, operand[half], count[half]);
        LF_UNROLL_ALL
        for (size_t j = 0; j < rows; j++)
            sums[half][j] = sum[j];
    }
    LF_UNROLL_ALL
    for (size_t v = 0; v < vectors; v++) {
        vf a[LF_GATES];
        LF_UNROLL_ALL
        for (size_t gate = 0; gate < LF_GATES; gate++)
            a[gate] = vf_add(sums[0][gate * vectors + v], sums[1][gate * vectors + v]);
        lf_epilogue(&lf_plain_cell, a, c + v * LF_LANES, h_out + v * LF_LANES);
    }
    return weights;
}

static void layer_step_f32(const lf_layer *layer, const float *x, const float *h, float *c,
                           float *h_out) {
    const size_t units = LF_PANEL_VECTORS * LF_LANES;
    const float *panel = layer->panels;
    size_t unit = 0;
    for (; unit + units <= layer->padded_hidden; unit += units)
        panel = lf_panel_step_f32(LF_PANEL_VECTORS, layer, panel, x, h, c + unit, h_out + unit);
    for (; unit < layer->padded_hidden; unit += LF_LANES)
        panel = lf_panel_step_f32(1, layer, panel, x, h, c + unit, h_out + unit);
}

static void canonicalise_f32(float *values, size_t count) {
    for (size_t j = 0; j < count; j += LF_LANES)
        vf_store(values + j, lf_canonical(vf_load(values + j)));
}

static void activate_f32(lf_activation function, const float *x, float *y, size_t count) {
    for (size_t j = 0; j < count; j += LF_LANES) {
        vf a = vf_load(x + j);
        vf_store(y + j, function == LF_SIGMOID ? lf_sigmoid(a) : lf_tanh(a));
    }
}

#define LF_KERNELS                                                                                 \
    .lanes = LF_LANES, .panel_vectors = LF_PANEL_VECTORS, .layer_step_f32 = layer_step_f32,        \
    .canonicalise_f32 = canonicalise_f32, .activate_f32 = activate_f32
