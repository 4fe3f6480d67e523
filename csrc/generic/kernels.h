/*
 * Everything one ISA does, written once in the vector vocabulary and included once per isa/X.c.
 * What is static here exists once per ISA; LF_KERNELS hands it to the descriptor.
 */
#include "activations.h"
#include "dot.h"
#include "epilogue.h"
#include "probe.h"
#include "quantise.h"

/* The sums of both halves of one panel, as floats or, for int8, as integers. */
typedef union lf_sums {
    float f[LF_GATES * LF_PANEL_VECTORS * LF_LANES];
    int32_t i[LF_GATES * LF_PANEL_VECTORS * LF_LANES];
} lf_sums;

/* The pre-activations of row j of a panel, from the sums of both halves. */
LF_INLINE vf lf_pre_activation(lf_weight_type type, size_t rows, size_t j, const float *header,
                               float x_scale, const lf_sums *input, const float *recurrent) {
    const float *bias = header + j * LF_LANES;
    if (type != LF_INT8)
        return vf_add(vf_load(input->f + j * LF_LANES), vf_load(recurrent + j * LF_LANES));
    const int32_t *recurrent_sums = (const int32_t *)(const void *)recurrent;
    vf scale_ih = vf_mul(vf_load(bias + rows * LF_LANES), vf_set1(x_scale));
    vf scale_hh = vf_load(bias + 2 * rows * LF_LANES);
    vf left = vf_fma(vf_from_int(vi_load(input->i + j * LF_LANES)), scale_ih, vf_load(bias));
    return vf_fma(vf_from_int(vi_load(recurrent_sums + j * LF_LANES)), scale_hh, left);
}

/*
 * One panel of `vectors` vectors of hidden units. Returns its end.
 *
 * Both halves run through one loop body: as two loops, with two sets of load instructions, the same
 * work takes up to twice as long once the weights come from L2.
 */
LF_INLINE const char *lf_panel_pass(lf_weight_type type, size_t vectors, const lf_pass *pass,
                                    const char *panel, size_t unit) {
    static const _Alignas(64) float zeros[LF_GATES * LF_PANEL_VECTORS * LF_LANES];
    const size_t rows = LF_GATES * vectors, row_bytes = LF_LANES * sizeof(float);
    const size_t header_rows = type == LF_INT8 ? LF_INT8_HEADER : LF_FLOAT_HEADER;
    const float *header = (const float *)(const void *)panel;
    const size_t group = type == LF_INT8 ? LF_INT8_GROUP : 1;
    const size_t weight_bytes = type == LF_FLOAT32 ? 4 : type == LF_INT8 ? 1 : 2;
    const size_t k_bytes = rows * LF_LANES * weight_bytes;
    const char *const input_weights = panel + header_rows * rows * row_bytes;
    const char *const recurrent_weights =
        input_weights + (pass->layer->input_size + group - 1) / group * group * k_bytes;
    const char *const end =
        recurrent_weights + (pass->layer->hidden_size + group - 1) / group * group * k_bytes;

    _Alignas(64) lf_sums input_sums;
    float *const recurrent_sums = pass->recurrent + LF_GATES * unit;
    const char *const weights[2] = {input_weights, recurrent_weights};
    float *const sums[2] = {input_sums.f, recurrent_sums};
    const size_t count[2] = {pass->layer->input_size, pass->layer->hidden_size};
    const float *const operand[2] = {pass->x, pass->h};
    const float *const start[2] = {header, zeros};
    for (size_t half = pass->first_half; half < pass->end_half; half++) {
        LF_HIDE_VALUE(half);
        if (type == LF_INT8)
            lf_dot_int8(rows, (const int32_t *)(const void *)header + (3 + half) * rows * LF_LANES,
                        weights[half], (const lf_quant *)pass->quants[half], count[half],
                        (int32_t *)(void *)sums[half]);
        else
            lf_dot_float(type, rows, start[half], weights[half], operand[half], count[half],
                         sums[half]);
    }
    if (pass->first_half == 1) { /* prepare: what the step still has to read comes closer */
        for (const char *p = panel; p < recurrent_weights; p += LF_ALIGNMENT)
            __builtin_prefetch(p, 0, 2);
        return end;
    }
    LF_UNROLL_ALL
    for (size_t v = 0; v < vectors; v++) {
        vf a[LF_GATES];
        LF_UNROLL_ALL
        for (size_t gate = 0; gate < LF_GATES; gate++)
            a[gate] = lf_pre_activation(type, rows, gate * vectors + v, header, pass->x_scale,
                                        &input_sums, recurrent_sums);
        const size_t at = unit + v * LF_LANES;
        lf_epilogue(&lf_plain_cell, a, pass->c + at, pass->h_out + at);
    }
    return end;
}

LF_INLINE void lf_all_panels(lf_weight_type type, const lf_pass *pass) {
    const size_t units = LF_PANEL_VECTORS * LF_LANES;
    const char *panel = pass->layer->panels;
    size_t unit = 0;
    for (; unit + units <= pass->layer->padded_hidden; unit += units)
        panel = lf_panel_pass(type, LF_PANEL_VECTORS, pass, panel, unit);
    for (; unit < pass->layer->padded_hidden; unit += LF_LANES)
        panel = lf_panel_pass(type, 1, pass, panel, unit);
}

static void layer_pass_float32(lf_pass *pass) { lf_all_panels(LF_FLOAT32, pass); }
static void layer_pass_float16(lf_pass *pass) { lf_all_panels(LF_FLOAT16, pass); }

static void layer_pass_int8(lf_pass *pass) {
    const size_t inputs = lf_round_up(pass->layer->input_size, LF_LANES);
    const size_t units = pass->layer->padded_hidden;
    if (pass->first_half == 0) {
        float factor = 127.0f;
        pass->x_scale = 1.0f / 127.0f;
        if (!pass->x_is_hidden) {
            float largest = lf_largest(pass->x, inputs);
            int silent = largest < 0x1p-100f;
            pass->x_scale = silent ? 0.0f : largest / 127.0f;
            factor = silent ? 0.0f : 127.0f / largest;
        }
        lf_quantise((lf_quant *)pass->quants[0], pass->x, inputs, factor);
        /* what is not finite has no 8 bits: it spoils through the scale */
        if (isnan(lf_largest(pass->h, units)) ||
            (pass->x_is_hidden && isnan(lf_largest(pass->x, units))))
            pass->x_scale = NAN;
    }
    if (pass->end_half == 2)
        lf_quantise((lf_quant *)pass->quants[1], pass->h, units, 127.0f);
    lf_all_panels(LF_INT8, pass);
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
    .lanes = LF_LANES, .panel_vectors = LF_PANEL_VECTORS, .int8_group = LF_INT8_GROUP,             \
    .int8_offset = LF_INT8_OFFSET,                                                                 \
    .layer_pass = {[LF_FLOAT32] = layer_pass_float32,                                              \
                   [LF_FLOAT16] = layer_pass_float16,                                              \
                   [LF_INT8] = layer_pass_int8},                                                   \
    .canonicalise_f32 = canonicalise_f32, .activate_f32 = activate_f32, .probe_read = probe_read,  \
    .probe_fma = probe_fma
