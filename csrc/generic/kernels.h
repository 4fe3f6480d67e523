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

/* int8: sums without what the offset of the weights has added. */
LF_INLINE vf lf_corrected(const int32_t *sums, lf_operand operand) {
    const vi whole = vi_load(sums);
    return vf_from_int(LF_INT8_OFFSET ? vi_add(whole, vi_set1(operand.correction)) : whole);
}

/* The pre-activations of row j of a panel, from the sums of both halves. */
LF_INLINE vf lf_pre_activation(lf_weight_type type, size_t rows, size_t j, const float *finish,
                               lf_operand x, lf_operand h, const lf_sums *input,
                               const float *recurrent) {
    if (type != LF_INT8)
        return vf_add(vf_load(input->f + j * LF_LANES), vf_load(recurrent + j * LF_LANES));
    const float *bias = finish + j * LF_LANES;
    const int32_t *recurrent_sums = (const int32_t *)(const void *)recurrent;
    vf scale_ih = vf_mul(vf_load(bias + rows * LF_LANES), vf_set1(x.scale));
    vf scale_hh = vf_mul(vf_load(bias + 2 * rows * LF_LANES), vf_set1(h.scale));
    vf left = vf_fma(lf_corrected(input->i + j * LF_LANES, x), scale_ih, vf_load(bias));
    return vf_fma(lf_corrected(recurrent_sums + j * LF_LANES, h), scale_hh, left);
}

/*
 * The loops, out of line: in the middle of everything else compilers run out of registers for them,
 * and written out twice, once for each half, the same work takes up to twice as long once the weights
 * come from L2.
 */
#define LF_DOT(name, type, vectors)                                                                \
    static LF_NOINLINE void name(const lf_part *part, const lf_part *end) {                        \
        lf_dot_float(type, LF_GATES * (vectors), part, end);                                       \
    }
#define LF_DOT_INT8(name, vectors)                                                                 \
    static LF_NOINLINE void name(const lf_part *part, const lf_part *end) {                        \
        lf_dot_int8(LF_GATES * (vectors), part, end);                                              \
    }
LF_DOT(dot_float32, LF_FLOAT32, LF_PANEL_VECTORS)
LF_DOT(dot_float32_single, LF_FLOAT32, 1)
LF_DOT(dot_float16, LF_FLOAT16, LF_PANEL_VECTORS)
LF_DOT(dot_float16_single, LF_FLOAT16, 1)
LF_DOT_INT8(dot_int8, LF_PANEL_VECTORS)
LF_DOT_INT8(dot_int8_single, 1)
#undef LF_DOT
#undef LF_DOT_INT8

LF_INLINE void lf_dot(lf_weight_type type, size_t vectors, const lf_part *part,
                      const lf_part *end) {
    if (type == LF_INT8)
        (vectors == 1 ? dot_int8_single : dot_int8)(part, end);
    else if (type == LF_FLOAT16)
        (vectors == 1 ? dot_float16_single : dot_float16)(part, end);
    else
        (vectors == 1 ? dot_float32_single : dot_float32)(part, end);
}

static const _Alignas(64) float lf_zeros[LF_GATES * LF_PANEL_VECTORS * LF_LANES];

#include "variant.h"

/* One panel: where its parts are, and what its sums start from. Index 0: W_ih x, 1: W_hh h. */
typedef struct lf_panel {
    const float *start[2], *finish;
    const char *weights[2];
    size_t count[2]; /* of k */
} lf_panel;

/* What a panel takes for each of its hidden units, which is the same in all of a layer. */
LF_INLINE size_t lf_unit_bytes(lf_weight_type type, const lf_layer *layer) {
    const size_t group = type == LF_INT8 ? LF_INT8_GROUP : 1;
    const size_t columns =
        lf_round_up(layer->input_size, group) + lf_round_up(layer->output_size, group);
    return LF_GATES * (lf_extra_rows(type) * sizeof(float) + columns * lf_weight_bytes(type));
}

LF_INLINE lf_panel lf_panel_at(lf_weight_type type, size_t vectors, const lf_layer *layer,
                               const char *panel) {
    const size_t row_bytes = LF_GATES * vectors * LF_LANES * sizeof(float);
    const size_t group = type == LF_INT8 ? LF_INT8_GROUP : 1;
    const size_t k_bytes = LF_GATES * vectors * LF_LANES * lf_weight_bytes(type);
    const char *const input = panel + (type == LF_INT8 ? 0 : row_bytes);
    const char *const recurrent = input + lf_round_up(layer->input_size, group) * k_bytes;
    const char *const end = recurrent + lf_round_up(layer->output_size, group) * k_bytes;
    lf_panel result = {
        .start = {type == LF_INT8 ? lf_zeros : (const float *)(const void *)panel, lf_zeros},
        .finish = (const float *)(const void *)end,
        .weights = {input, recurrent},
        .count = {layer->input_size, layer->output_size},
    };
    return result;
}

/* Pre-activations of a variant to where lf_variant_cell wants them; at: of the first unit. */
LF_INLINE void lf_store_gates(const lf_layer *layer, const vf a[LF_GATES], float *pre, size_t at) {
    LF_UNROLL_ALL
    for (size_t gate = 0; gate < LF_GATES; gate++)
        vf_store(pre + gate * layer->padded_hidden + at, a[gate]);
}

/* int8: corrects the sums of one panel for a later pass, which no longer knows by how much. */
LF_INLINE void lf_correct_sums(float *sums, size_t rows, int32_t correction) {
    int32_t *const whole = (int32_t *)(void *)sums;
    LF_UNROLL_ALL
    for (size_t j = 0; j < rows; j++)
        vi_store(whole + j * LF_LANES, vi_add(vi_load(whole + j * LF_LANES), vi_set1(correction)));
}

/* One panel of `vectors` vectors of hidden units. */
LF_INLINE void lf_panel_pass(lf_weight_type type, int is_plain, size_t vectors, const lf_pass *pass,
                             const char *panel, size_t unit) {
    const size_t rows = LF_GATES * vectors;
    const lf_panel p = lf_panel_at(type, vectors, pass->layer, panel);
    _Alignas(64) lf_sums input_sums, own_sums;
    const int is_whole = pass->end_half - pass->first_half == 2;
    /* the fewer lines are written, the fewer have to leave L1 for the weights */
    float *const recurrent_sums = is_whole ? own_sums.f : pass->recurrent + LF_GATES * unit;
    const void *const x = type == LF_INT8 ? pass->quants[0] : pass->x;
    const void *const h = type == LF_INT8 ? pass->quants[1] : pass->h;
    const lf_part halves[2] = {{p.start[0], p.weights[0], x, p.count[0], input_sums.f},
                               {p.start[1], p.weights[1], h, p.count[1], recurrent_sums}};
    lf_dot(type, vectors, halves + pass->first_half, halves + pass->end_half);
    if (pass->first_half == 1) {
        if (type == LF_INT8)
            lf_correct_sums(recurrent_sums, rows, pass->operands[1].correction);
        return;
    }
    LF_UNROLL_ALL
    for (size_t v = 0; v < vectors; v++) {
        vf a[LF_GATES];
        LF_UNROLL_ALL
        for (size_t gate = 0; gate < LF_GATES; gate++)
            a[gate] = lf_pre_activation(type, rows, gate * vectors + v, p.finish, pass->operands[0],
                                        pass->operands[1], &input_sums, recurrent_sums);
        const size_t at = unit + v * LF_LANES;
        if (is_plain)
            (void)lf_update_cell(&lf_plain_cell, a, pass->c + at, pass->h_out + at);
        else
            lf_store_gates(pass->layer, a, pass->pre, at);
    }
}

/*
 * Where the nth panel of a pass is. Every other pass goes from the last panel to the first, so that it
 * begins with the weights that the pass before has left in the caches: where they don't all fit, it
 * would otherwise find none of them, each having been evicted by those that came after.
 */
typedef struct lf_place {
    const char *panel;
    size_t unit; /* its first */
    int is_wide; /* LF_PANEL_VECTORS, not one */
} lf_place;

LF_INLINE size_t lf_panel_count(const lf_layer *layer) {
    const size_t vectors = layer->padded_hidden / LF_LANES;
    return vectors - layer->wide_panels * (LF_PANEL_VECTORS - 1);
}

LF_INLINE lf_place lf_place_of(lf_weight_type type, const lf_layer *layer, size_t n,
                               int descending) {
    const size_t units = LF_PANEL_VECTORS * LF_LANES, wide = layer->wide_panels;
    const size_t at = descending ? lf_panel_count(layer) - 1 - n : n;
    const size_t unit = at < wide ? at * units : wide * units + (at - wide) * LF_LANES;
    lf_place place = {layer->panels + unit * lf_unit_bytes(type, layer), unit, at < wide};
    return place;
}

/* prepare: the weights that the step still has to read come closer, and those that it begins with come
 * last, into L1. */
LF_INLINE void lf_fetch_inputs(lf_weight_type type, const lf_layer *layer) {
    for (size_t n = lf_panel_count(layer); n-- > 0;) {
        const lf_place place = lf_place_of(type, layer, n, 0);
        const size_t vectors = place.is_wide ? LF_PANEL_VECTORS : 1;
        const lf_panel p = lf_panel_at(type, vectors, layer, place.panel);
        const size_t bytes = (size_t)(p.weights[1] - place.panel);
        const size_t before = bytes / (vectors * LF_LANES) * place.unit; /* in the step's order */
        size_t near = before < LF_L1_KEEPS ? LF_L1_KEEPS - before : 0;
        near = near < bytes ? near : bytes;
        for (size_t at = near; at < bytes; at += LF_ALIGNMENT)
            __builtin_prefetch(place.panel + at, 0, 2);
        for (size_t at = 0; at < near; at += LF_ALIGNMENT) /* backwards, for where L1 is smaller */
            __builtin_prefetch(place.panel + near - 1 - at, 0, 3);
    }
}

#include "small.h"

LF_INLINE void lf_each_panel(lf_weight_type type, int is_plain, const lf_pass *pass) {
    const lf_layer *layer = pass->layer;
    if (is_plain && lf_is_small(type, layer) && pass->end_half - pass->first_half == 2) {
        small_pass(type, pass);
        return;
    }
    for (size_t n = 0; n < lf_panel_count(layer); n++) {
        const lf_place place = lf_place_of(type, layer, n, pass->descending);
        if (place.is_wide)
            lf_panel_pass(type, is_plain, LF_PANEL_VECTORS, pass, place.panel, place.unit);
        else
            lf_panel_pass(type, is_plain, 1, pass, place.panel, place.unit);
    }
    if (pass->first_half == 1) {
        lf_fetch_inputs(type, layer);
        return;
    }
    if (is_plain)
        lf_output(&lf_plain_cell, pass->c, pass->h_out, pass->h_out, layer->padded_hidden,
                  lf_any_odd(pass->c, layer->padded_hidden));
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

/* int8: fills pass->quants for its halves, and sets the operands. */
static void lf_quantise_operands(lf_pass *pass) {
    const lf_layer *layer = pass->layer;
    const size_t inputs = lf_round_up(layer->input_size, LF_LANES), outputs = layer->padded_output;
    lf_operand *const x = &pass->operands[0], *const h = &pass->operands[1];
    if (pass->first_half == 0)
        *x = layer->x_is_bounded ? lf_quantise_bounded(pass->quants[0], pass->x, inputs)
                                 : lf_quantise_frame(pass->quants[0], pass->x, inputs);
    if (!layer->h_is_bounded)
        *h = lf_quantise_frame(pass->quants[1], pass->h, outputs);
    else if (pass->end_half == 2)
        *h = lf_quantise_bounded(pass->quants[1], pass->h, outputs);
    else /* prepared: the sums are there */
        h->scale = lf_any_spoiled(pass->h, outputs) ? NAN : 1.0f;
    if (pass->end_half == 1)
        h->correction = 0; /* prepare has corrected its sums */
    if (layer->h_is_bounded) {
        /* what is not finite has no 8 bits: it spoils through the scale */
        if (h->scale != h->scale)
            x->scale = NAN;
        h->scale = 1.0f; /* what it is where it is in the panels */
    }
}

static void layer_pass_int8(lf_pass *pass) {
    lf_quantise_operands(pass);
    if (pass->layer->variant)
        variant_pass_int8(pass);
    else
        lf_each_panel(LF_INT8, 1, pass);
}

/*
 * A frame in, an output out: instead of memcpy, whose code and whose place in the linker's tables are
 * two more pages to be found when the caches are cold. Rows of ours are padded to whole vectors; the
 * caller's end at count. No lane is stored alone and then loaded with others: such a load waits until
 * the store has reached the cache, which is after the step before has ended.
 */
static void take_frame_f32(float *x, const float *frame, size_t count) {
    size_t j = 0;
    int x_is_odd = 0;
    for (; j + LF_LANES <= count; j += LF_LANES) {
        const vf values = vf_load_any(frame + j);
        vf_store(x + j, values);
        x_is_odd |= vf_any_odd(values);
    }
    if (j < count) {
        const vf values = vf_load_some(frame + j, count - j);
        vf_store(x + j, values);
        x_is_odd |= vf_any_odd(values);
    }
    if (x_is_odd)
        canonicalise_f32(x, lf_round_up(count, LF_LANES));
}

static void give_output_f32(float *y, const float *h, size_t count) {
    size_t j = 0;
    for (; j + LF_LANES <= count; j += LF_LANES)
        vf_store_any(y + j, vf_load(h + j));
    if (j < count)
        vf_store_some(y + j, vf_load(h + j), count - j);
}

#include "batch.h"

#define LF_KERNELS                                                                                 \
    .lanes = LF_LANES, .panel_vectors = LF_PANEL_VECTORS,                                          \
    .has_narrow_panels = LF_HAS_NARROW_PANELS, .int8_group = LF_INT8_GROUP,                        \
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
