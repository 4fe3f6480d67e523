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
                               float x_scale, float h_scale, const lf_sums *input,
                               const float *recurrent) {
    const float *bias = header + j * LF_LANES;
    if (type != LF_INT8)
        return vf_add(vf_load(input->f + j * LF_LANES), vf_load(recurrent + j * LF_LANES));
    const int32_t *recurrent_sums = (const int32_t *)(const void *)recurrent;
    vf scale_ih = vf_mul(vf_load(bias + rows * LF_LANES), vf_set1(x_scale));
    vf scale_hh = vf_mul(vf_load(bias + 2 * rows * LF_LANES), vf_set1(h_scale));
    vf left = vf_fma(vf_from_int(vi_load(input->i + j * LF_LANES)), scale_ih, vf_load(bias));
    return vf_fma(vf_from_int(vi_load(recurrent_sums + j * LF_LANES)), scale_hh, left);
}

/*
 * The loops, out of line: in the middle of everything else compilers run out of registers for them,
 * and written out twice, once for each half, the same work takes up to twice as long once the weights
 * come from L2.
 */
#define LF_DOT(name, type, vectors)                                                                \
    static LF_NOINLINE void name(const float *start, const char *weights, const float *x,          \
                                 size_t count, float *sums) {                                      \
        lf_dot_float(type, LF_GATES * (vectors), start, weights, x, count, sums);                  \
    }
#define LF_DOT_INT8(name, vectors)                                                                 \
    static LF_NOINLINE void name(const int32_t *start, const char *weights, const lf_quant *x,     \
                                 size_t count, int32_t *sums) {                                    \
        lf_dot_int8(LF_GATES * (vectors), start, weights, x, count, sums);                         \
    }
LF_DOT(dot_float32, LF_FLOAT32, LF_PANEL_VECTORS)
LF_DOT(dot_float32_single, LF_FLOAT32, 1)
LF_DOT(dot_float16, LF_FLOAT16, LF_PANEL_VECTORS)
LF_DOT(dot_float16_single, LF_FLOAT16, 1)
LF_DOT_INT8(dot_int8, LF_PANEL_VECTORS)
LF_DOT_INT8(dot_int8_single, 1)
#undef LF_DOT
#undef LF_DOT_INT8

LF_INLINE void lf_dot(lf_weight_type type, size_t vectors, const float *start, const char *weights,
                      const float *x, const void *quants, size_t count, float *sums) {
    if (type == LF_INT8)
        (vectors == 1 ? dot_int8_single : dot_int8)((const int32_t *)(const void *)start, weights,
                                                    quants, count, (int32_t *)(void *)sums);
    else if (type == LF_FLOAT16)
        (vectors == 1 ? dot_float16_single : dot_float16)(start, weights, x, count, sums);
    else
        (vectors == 1 ? dot_float32_single : dot_float32)(start, weights, x, count, sums);
}

#include "variant.h"

/* One panel: where its parts are, and what its sums start from. Index 0: W_ih x, 1: W_hh h. */
typedef struct lf_panel {
    const float *header;
    const char *weights[2], *end;
    size_t count[2]; /* of k */
    const float *start[2];
} lf_panel;

static const _Alignas(64) float lf_zeros[LF_GATES * LF_PANEL_VECTORS * LF_LANES];

LF_INLINE lf_panel lf_panel_at(lf_weight_type type, size_t vectors, const lf_layer *layer,
                               const char *panel) {
    const size_t rows = LF_GATES * vectors, row_bytes = LF_LANES * sizeof(float);
    const size_t group = type == LF_INT8 ? LF_INT8_GROUP : 1;
    const size_t k_bytes = rows * LF_LANES * lf_weight_bytes(type);
    const float *header = (const float *)(const void *)panel;
    const char *const input = panel + lf_header_rows(type) * rows * row_bytes;
    const char *const recurrent = input + lf_round_up(layer->input_size, group) * k_bytes;
    lf_panel result = {
        .header = header,
        .weights = {input, recurrent},
        .end = recurrent + lf_round_up(layer->output_size, group) * k_bytes,
        .count = {layer->input_size, layer->output_size},
        .start = {type == LF_INT8 ? header + 3 * rows * LF_LANES : header,
                  type == LF_INT8 ? header + 4 * rows * LF_LANES : lf_zeros},
    };
    return result;
}

/* Pre-activations of a variant to where lf_variant_cell wants them; at: of the first unit. */
LF_INLINE void lf_store_gates(const lf_layer *layer, const vf a[LF_GATES], float *pre, size_t at) {
    LF_UNROLL_ALL
    for (size_t gate = 0; gate < LF_GATES; gate++)
        vf_store(pre + gate * layer->padded_hidden + at, a[gate]);
}

/* One panel of `vectors` vectors of hidden units. Returns its end. */
LF_INLINE const char *lf_panel_pass(lf_weight_type type, int is_plain, size_t vectors,
                                    const lf_pass *pass, const char *panel, size_t unit) {
    const size_t rows = LF_GATES * vectors;
    const lf_panel p = lf_panel_at(type, vectors, pass->layer, panel);
    _Alignas(64) lf_sums input_sums;
    float *const recurrent_sums = pass->recurrent + LF_GATES * unit;
    float *const sums[2] = {input_sums.f, recurrent_sums};
    const float *const operand[2] = {pass->x, pass->h};
    for (size_t half = pass->first_half; half < pass->end_half; half++)
        lf_dot(type, vectors, p.start[half], p.weights[half], operand[half], pass->quants[half],
               p.count[half], sums[half]);
    if (pass->first_half == 1) { /* prepare: what the step still has to read comes closer */
        for (const char *line = panel; line < p.weights[1]; line += LF_ALIGNMENT)
            __builtin_prefetch(line, 0, 2);
        return p.end;
    }
    LF_UNROLL_ALL
    for (size_t v = 0; v < vectors; v++) {
        vf a[LF_GATES];
        LF_UNROLL_ALL
        for (size_t gate = 0; gate < LF_GATES; gate++)
            a[gate] =
                lf_pre_activation(type, rows, gate * vectors + v, p.header, pass->x_scale,
                                  is_plain ? 1.0f : pass->h_scale, &input_sums, recurrent_sums);
        const size_t at = unit + v * LF_LANES;
        if (is_plain)
            lf_update_cell(&lf_plain_cell, a, pass->c + at, pass->h_out + at);
        else
            lf_store_gates(pass->layer, a, pass->pre, at);
    }
    return p.end;
}

LF_INLINE void lf_each_panel(lf_weight_type type, int is_plain, const lf_pass *pass) {
    const size_t units = LF_PANEL_VECTORS * LF_LANES;
    const char *panel = pass->layer->panels;
    size_t unit = 0;
    for (; unit + units <= pass->layer->padded_hidden; unit += units)
        panel = lf_panel_pass(type, is_plain, LF_PANEL_VECTORS, pass, panel, unit);
    for (; unit < pass->layer->padded_hidden; unit += LF_LANES)
        panel = lf_panel_pass(type, is_plain, 1, pass, panel, unit);
    if (pass->first_half == 1)
        return;
    if (is_plain)
        lf_output(&lf_plain_cell, pass->c, pass->h_out, pass->layer->padded_hidden);
    else
        lf_variant_output(type, pass);
}

/* Out of line, so that the plain way is as short as if there were no other. */
static LF_NOINLINE void variant_pass_float32(const lf_pass *pass) {
    lf_each_panel(LF_FLOAT32, 0, pass);
}
static LF_NOINLINE void variant_pass_float16(const lf_pass *pass) {
    lf_each_panel(LF_FLOAT16, 0, pass);
}
static LF_NOINLINE void variant_pass_int8(const lf_pass *pass) { lf_each_panel(LF_INT8, 0, pass); }

static void layer_pass_float32(lf_pass *pass) {
    if (pass->layer->variant)
        variant_pass_float32(pass);
    else
        lf_each_panel(LF_FLOAT32, 1, pass);
}

static void layer_pass_float16(lf_pass *pass) {
    if (pass->layer->variant)
        variant_pass_float16(pass);
    else
        lf_each_panel(LF_FLOAT16, 1, pass);
}

/* int8: fills pass->quants for its halves, and sets the scales. */
static void lf_quantise_operands(lf_pass *pass) {
    const lf_layer *layer = pass->layer;
    const size_t inputs = lf_round_up(layer->input_size, LF_LANES), outputs = layer->padded_output;
    if (pass->first_half == 0) {
        if (layer->x_is_bounded) {
            lf_quantise((lf_quant *)pass->quants[0], pass->x, inputs, 127.0f);
            /* what is not finite has no 8 bits: it spoils through the scale */
            pass->x_scale = isnan(lf_largest(pass->x, inputs)) ? NAN : 1.0f / 127.0f;
        } else {
            pass->x_scale = lf_quantise_frame((lf_quant *)pass->quants[0], pass->x, inputs);
        }
        if (layer->h_is_bounded && isnan(lf_largest(pass->h, outputs)))
            pass->x_scale = NAN;
    }
    if (layer->h_is_bounded) { /* its scale is in the panels */
        pass->h_scale = 1.0f;
        if (pass->end_half == 2)
            lf_quantise((lf_quant *)pass->quants[1], pass->h, outputs, 127.0f);
    } else { /* a step that was prepared needs the scale again */
        pass->h_scale = lf_quantise_frame((lf_quant *)pass->quants[1], pass->h, outputs);
    }
}

static void layer_pass_int8(lf_pass *pass) {
    lf_quantise_operands(pass);
    if (pass->layer->variant)
        variant_pass_int8(pass);
    else
        lf_each_panel(LF_INT8, 1, pass);
}

#include "batch.h"

static void canonicalise_f32(float *values, size_t count) {
    for (size_t j = 0; j < count; j += LF_LANES)
        vf_store(values + j, lf_canonical(vf_load(values + j)));
}

/*
 * A frame in, an output out: instead of memcpy, whose code and whose place in the linker's tables are
 * two more pages to be found when the caches are cold. Rows of ours are padded to whole vectors; the
 * caller's end at count, so what is past the last whole vector goes one by one, hidden from compilers
 * that would make a memcpy of it.
 */
static void take_frame_f32(float *x, const float *frame, size_t count) {
    size_t j = 0;
    for (; j + LF_LANES <= count; j += LF_LANES)
        vf_store(x + j, lf_canonical(vf_load_any(frame + j)));
    if (j == count)
        return;
    float *const rest = x + j;
    for (; j < count; j++) {
        memcpy(x + j, frame + j, sizeof *x);
        LF_HIDE_VALUE(j);
    }
    vf_store(rest, lf_canonical(vf_load(rest)));
}

static void give_output_f32(float *y, const float *h, size_t count) {
    size_t j = 0;
    for (; j + LF_LANES <= count; j += LF_LANES)
        vf_store_any(y + j, vf_load(h + j));
    for (; j < count; j++) {
        memcpy(y + j, h + j, sizeof *y);
        LF_HIDE_VALUE(j);
    }
}

#define LF_KERNELS                                                                                 \
    .lanes = LF_LANES, .panel_vectors = LF_PANEL_VECTORS, .int8_group = LF_INT8_GROUP,             \
    .int8_offset = LF_INT8_OFFSET,                                                                 \
    .layer_pass = {[LF_FLOAT32] = layer_pass_float32,                                              \
                   [LF_FLOAT16] = layer_pass_float16,                                              \
                   [LF_INT8] = layer_pass_int8},                                                   \
    .batch_pass = {[LF_FLOAT32] = batch_pass_float32,                                              \
                   [LF_FLOAT16] = batch_pass_float16,                                              \
                   [LF_INT8] = batch_pass_int8},                                                   \
    .canonicalise_f32 = canonicalise_f32, .take_frame_f32 = take_frame_f32,                        \
    .give_output_f32 = give_output_f32, .activate_f32 = activate_f32, .probe_read = probe_read,    \
    .probe_fma = probe_fma
