/*
 * Everything one ISA does, written once in the vector vocabulary and included once per isa/X.c.
 * What is static here exists once per ISA; LF_KERNELS hands it to the descriptor.
 */
#include "activations.h"
#include "dot.h"
#include "epilogue.h"
#include "probe.h"
#include "quantise.h"

#include "panels.h"
#include "small.h"
#include "variant.h"

LF_INLINE void lf_layer_pass(lf_weight_type type, int is_plain, const lf_pass *pass) {
    const lf_layer *layer = pass->layer;
    if (is_plain && lf_is_small(type, layer) && pass->end_half - pass->first_half == 2) {
        small_pass(type, pass);
        return;
    }
    lf_panels_pass(type, pass);
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

/* int8: fills pass->quants for its halves, and sets the operands. */
static void lf_quantise_operands(lf_pass *pass) {
    const lf_layer *layer = pass->layer;
    const size_t inputs = lf_round_up(layer->input_size, LF_LANES), outputs = layer->padded_output;
    lf_operand *const x = &pass->operands[0], *const h = &pass->operands[1];
    if (pass->first_half == 0)
        *x = layer->x_is_bounded ? lf_quantise_bounded(pass->quants[0], pass->x, inputs)
             : pass->x_magnitude
                 ? lf_quantise_scaled(pass->quants[0], pass->x, inputs, pass->x_magnitude)
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

/* Variants out of line, so that the plain way is as short as if there were no other. */
#define LF_LAYER_PASS(type, name, bytes, sums)                                                     \
    static LF_NOINLINE void variant_pass_##name(const lf_pass *pass) {                             \
        lf_layer_pass(type, 0, pass);                                                              \
    }                                                                                              \
    static void layer_pass_##name(lf_pass *pass) {                                                 \
        if (type == LF_INT8)                                                                       \
            lf_quantise_operands(pass);                                                            \
        if (pass->layer->variant)                                                                  \
            variant_pass_##name(pass);                                                             \
        else                                                                                       \
            lf_layer_pass(type, 1, pass);                                                          \
    }
LF_EACH_WEIGHT_TYPE(LF_LAYER_PASS)
#undef LF_LAYER_PASS

/*
 * A frame in, an output out: instead of memcpy, whose code and whose place in the linker's tables are
 * two more pages to be found when the caches are cold. Rows of ours are padded to whole vectors; the
 * caller's end at count. No lane is stored alone and then loaded with others: such a load waits until
 * the store has reached the cache, which is after the step before has ended.
 */
LF_INLINE int32_t lf_take_frame(int measures, float *x, const float *frame, size_t count) {
    size_t j = 0;
    vi each = vi_set1(0);
    int x_is_odd = 0;
    for (; j + LF_LANES <= count; j += LF_LANES) {
        const vf values = vf_load_any(frame + j);
        vf_store(x + j, values);
        x_is_odd |= vf_any_odd(values);
        if (measures)
            each = vi_max(each, vi_magnitude(values));
    }
    if (j < count) {
        const vf values = vf_load_some(frame + j, count - j);
        vf_store(x + j, values);
        x_is_odd |= vf_any_odd(values);
        if (measures)
            each = vi_max(each, vi_magnitude(values));
    }
    if (x_is_odd)
        canonicalise_f32(x, lf_round_up(count, LF_LANES));
    return measures ? vi_largest(each) : 0;
}

static int32_t take_frame_f32(float *x, const float *frame, size_t count) {
    return lf_take_frame(0, x, frame, count);
}
static int32_t measure_frame_f32(float *x, const float *frame, size_t count) {
    return lf_take_frame(1, x, frame, count);
}

static void give_output_f32(float *y, const float *h, size_t count) {
    size_t j = 0;
    for (; j + LF_LANES <= count; j += LF_LANES)
        vf_store_any(y + j, vf_load(h + j));
    if (j < count)
        vf_store_some(y + j, vf_load(h + j), count - j);
}

/* A multiplication that feeds an addition, in vectors and in plain C; never part of any result. */
static LF_NOINLINE float canary(const float *v) {
    _Alignas(64) float lanes[LF_LANES];
    vf_store(lanes, vf_add(vf_mul(vf_set1(v[0]), vf_set1(v[1])), vf_set1(v[2])));
    const float plain = v[0] * v[1] + v[2];
    return plain == lanes[0] ? plain : NAN;
}

#include "batch.h"

#define LF_ENTRY_OF_LAYER_PASS(type, name, bytes, sums) [type] = layer_pass_##name,
#define LF_ENTRY_OF_BATCH_PASS(type, name, bytes, sums) [type] = batch_pass_##name,
#define LF_KERNELS                                                                                 \
    .lanes = LF_LANES, .panel_vectors = LF_PANEL_VECTORS,                                          \
    .has_narrow_panels = LF_HAS_NARROW_PANELS, .int8_group = LF_INT8_GROUP,                        \
    .int8_offset = LF_INT8_OFFSET, .layer_pass = {LF_EACH_WEIGHT_TYPE(LF_ENTRY_OF_LAYER_PASS)},    \
    .batch_pass = {LF_EACH_WEIGHT_TYPE(LF_ENTRY_OF_BATCH_PASS)},                                   \
    .canonicalise_f32 = canonicalise_f32, .take_frame_f32 = take_frame_f32,                        \
    .measure_frame_f32 = measure_frame_f32, .give_output_f32 = give_output_f32,                    \
    .activate_f32 = activate_f32, .canary = canary, .probe_read = probe_read,                      \
    .probe_fma = probe_fma
