/*
 * Cells that are not the plain one. The sums are those of every cell; what comes after them is done here
 * in passes over rows of units, with the options read at run time: next to the sums it is little, and
 * the plain cell's kernel stays as it is. The formulas are at lf_cell_options in lstm_fast.h.
 */
#ifndef LF_GENERIC_VARIANT_H
#define LF_GENERIC_VARIANT_H

LF_INLINE vf lf_clip(vf a, float bound) {
    const vf low = vf_set1(-bound), high = vf_set1(bound);
    a = vf_select(vf_less(a, low), low, a); /* a NaN is not less, and stays */
    return vf_select(vf_less(high, a), high, a);
}

LF_INLINE vf lf_hard_sigmoid(vf x, vf alpha, vf beta) {
    const vf zero = vf_set1(0.0f), one = vf_set1(1.0f);
    vf y = vf_fma(alpha, x, beta);
    y = vf_select(vf_less(y, zero), zero, y);
    return vf_select(vf_less(one, y), one, y);
}

/* alpha (exp(x) - 1) below zero; exp as in lf_tanh, and below -20 it is nothing beside 1. The division is
 * by a power of two. */
LF_INLINE vf lf_elu(vf x, vf alpha) {
    const vf zero = vf_set1(0.0f);
    const vf below = vf_select(vf_less(zero, x), zero, x);
    const vf half = vf_set1(0.5f);
    lf_exp parts = lf_exp_parts(vf_mul(half, vf_max(vf_set1(-20.0f), below))); /* max keeps a NaN */
    vf m = vf_div(vf_add(parts.p, vf_sub(half, parts.u)), parts.u);
    return vf_select(vf_less(x, zero), vf_mul(alpha, m), x);
}

/* x / (1 + |x|), whose limits need no infinity: from 2^60 on it is 1. */
LF_INLINE vf lf_softsign(vf x) {
    const vf most = vf_set1(0x1p60f);
    vf m = vf_abs(x);
    m = vf_select(vf_less(most, m), most, m);
    return vf_copysign(vf_div(m, vf_add(vf_set1(1.0f), m)), x);
}

/* values[j] = FORMULA of x = values[j]. */
#define LF_EACH(FORMULA)                                                                           \
    for (size_t j = 0; j < count; j += LF_LANES) {                                                 \
        const vf x = vf_load(values + j);                                                          \
        vf_store(values + j, FORMULA);                                                             \
    }                                                                                              \
    break

static void activate_f32(const lf_function *function, float *values, size_t count) {
    const vf alpha = vf_set1(function->alpha), beta = vf_set1(function->beta);
    const vf zero = vf_set1(0.0f);
    switch (function->name) {
    case LF_SIGMOID:
        LF_EACH(lf_sigmoid(x));
    case LF_TANH:
        LF_EACH(lf_tanh(x));
    case LF_HARD_SIGMOID:
        LF_EACH(lf_hard_sigmoid(x, alpha, beta));
    case LF_RELU:
        LF_EACH(vf_select(vf_less(x, zero), zero, x));
    case LF_AFFINE:
        LF_EACH(vf_fma(alpha, x, beta));
    case LF_LEAKY_RELU:
        LF_EACH(vf_select(vf_less(x, zero), vf_mul(alpha, x), x));
    case LF_THRESHOLDED_RELU:
        LF_EACH(vf_select(vf_less(x, alpha), zero, x));
    case LF_SCALED_TANH:
        LF_EACH(vf_mul(alpha, lf_tanh(vf_mul(beta, x))));
    case LF_ELU:
        LF_EACH(lf_elu(x, alpha));
    case LF_SOFTSIGN:
        LF_EACH(lf_softsign(x));
    }
}
#undef LF_EACH

/* a += p * c */
static void lf_add_peephole(float *a, const float *p, const float *c, size_t count) {
    for (size_t j = 0; j < count; j += LF_LANES)
        vf_store(a + j, vf_fma(vf_load(p + j), vf_load(c + j), vf_load(a + j)));
}

/* In sixteen chains whatever the vectors are, so that every ISA adds in the same order. */
enum { LF_NORM_CHAINS = 16 };

static float lf_chain_total(const float *chains) {
    float total = chains[0];
    for (size_t r = 1; r < LF_NORM_CHAINS; r++)
        total += chains[r];
    return total;
}

static void lf_normalise(float *a, const float *scale, const float *bias, size_t units,
                         size_t padded, float epsilon) {
    float sums[LF_NORM_CHAINS] = {0}, squares[LF_NORM_CHAINS] = {0};
    for (size_t j = 0; j < units; j++)
        sums[j % LF_NORM_CHAINS] += a[j];
    const float mean = lf_chain_total(sums) / (float)units;
    for (size_t j = 0; j < units; j++) {
        const float d = a[j] - mean;
        squares[j % LF_NORM_CHAINS] = fmaf(d, d, squares[j % LF_NORM_CHAINS]);
    }
    const float variance = lf_chain_total(squares) / (float)units;
    const vf m = vf_set1(mean), inverse = vf_set1(1.0f / sqrtf(variance + epsilon));
    for (size_t j = 0; j < padded; j += LF_LANES) {
        const vf d = vf_mul(vf_sub(vf_load(a + j), m), inverse);
        vf_store(a + j, vf_fma(vf_load(scale + j), d, vf_load(bias + j)));
    }
}

/* From a gate's sums to the gate: normalised, clipped, activated. */
static void lf_activate_gate(const lf_layer *layer, size_t gate, const lf_function *function,
                             float *a) {
    const lf_variant *variant = layer->variant;
    const size_t padded = layer->padded_hidden;
    if (variant->layer_norm)
        lf_normalise(a, variant->layer_norm + gate * padded, variant->bias + gate * padded,
                     layer->hidden_size, padded, variant->cell.layer_norm_epsilon);
    if (variant->cell.clip > 0)
        for (size_t j = 0; j < padded; j += LF_LANES)
            vf_store(a + j, lf_clip(vf_load(a + j), variant->cell.clip));
    activate_f32(function, a, padded);
}

static void lf_one_minus(float *to, const float *from, size_t count) {
    for (size_t j = 0; j < count; j += LF_LANES)
        vf_store(to + j, vf_sub(vf_set1(1.0f), vf_load(from + j)));
}

/* What a padding unit makes of its zero weights may be anything, and int8 looks at all of a row. */
static void lf_zero_tail(float *values, size_t count, size_t padded) {
    for (size_t j = count; j < padded; j++)
        values[j] = 0.0f;
}

/* From the pre-activations `pre` [LF_GATES][padded_hidden] to the new c, and to r, in place of h. */
static LF_NOINLINE void lf_variant_cell(const lf_layer *layer, float *pre, float *c, float *r) {
    const lf_variant *variant = layer->variant;
    const lf_cell_options *cell = &variant->cell;
    const size_t padded = layer->padded_hidden;
    float *const i = pre, *const f = i + padded, *const g = f + padded, *const o = g + padded;
    if (variant->peephole) {
        lf_add_peephole(i, variant->peephole, c, padded);
        lf_add_peephole(f, variant->peephole + padded, c, padded);
    }
    lf_activate_gate(layer, 0, &cell->gate, i);
    lf_activate_gate(layer, 1, &cell->gate, f);
    lf_activate_gate(layer, 2, &cell->input, g);
    if (cell->coupling == LF_FORGET_FROM_INPUT)
        lf_one_minus(f, i, padded);
    if (cell->coupling == LF_INPUT_FROM_FORGET)
        lf_one_minus(i, f, padded);
    for (size_t j = 0; j < padded; j += LF_LANES) {
        vf next = vf_fma(vf_load(f + j), vf_load(c + j), vf_mul(vf_load(i + j), vf_load(g + j)));
        if (cell->cell_clip > 0)
            next = lf_clip(next, cell->cell_clip);
        vf_store(c + j, lf_canonical(next));
    }
    lf_zero_tail(c, layer->hidden_size, padded);
    if (variant->peephole)
        lf_add_peephole(o, variant->peephole + 2 * padded, c, padded);
    lf_activate_gate(layer, 3, &cell->gate, o);
    for (size_t j = 0; j < padded; j += LF_LANES)
        vf_store(r + j, vf_load(c + j));
    activate_f32(&cell->output, r, padded);
    for (size_t j = 0; j < padded; j += LF_LANES)
        vf_store(r + j, lf_canonical(vf_mul(vf_load(o + j), vf_load(r + j))));
    lf_zero_tail(r, layer->hidden_size, padded);
}

/* What the sums of a projection become: h, by the scale of the int8 operand r. */
typedef struct lf_projected {
    const lf_layer *layer;
    lf_operand r;
    float *h_out;
} lf_projected;

/* Its sums start from the bias; those of int8 get it when they are made floats. */
LF_INLINE const float *lf_projection_start(lf_weight_type type, const lf_matrix *m,
                                           const lf_panel *p) {
    return type == LF_INT8 ? lf_zeros
                           : (const float *)(const void *)(m->panels + p->row * m->stride);
}

LF_INLINE void lf_take_projection(void *context, lf_weight_type type, size_t vectors,
                                  const lf_panel *p, const vf *sum, const vi *whole) {
    const lf_projected *const to = context;
    const lf_variant *const variant = to->layer->variant;
    const float bound = variant->cell.proj_clip;
    const float *const dequantisation =
        type == LF_INT8 ? lf_dequantisation_rows(&variant->projection, LF_GEOMETRY(type), 1, p->row)
                        : NULL;
    LF_UNROLL_ALL
    for (size_t j = 0; j < vectors; j++) {
        const size_t row = p->row + j * LF_LANES;
        vf h = sum[j];
        if (type == LF_INT8) {
            const float *const bias = dequantisation + 2 * j * LF_LANES, *scale = bias + LF_LANES;
            h = vf_fma(vf_from_int(lf_corrected(whole[j], to->r)),
                       vf_mul(vf_load(scale), vf_set1(to->r.scale)), vf_load(bias));
        }
        if (bound > 0)
            h = lf_clip(h, bound);
        if (row < to->layer->padded_output) /* the last panel may have more rows */
            vf_store(to->h_out + row, lf_canonical(h));
    }
}

/* h = W_hr r + b_hr for one session. */
LF_INLINE void lf_project(lf_weight_type type, const lf_layer *layer, const float *r, void *quants,
                          float *h_out) {
    const lf_matrix *const m = &layer->variant->projection;
    lf_projected to = {.layer = layer, .h_out = h_out};
    if (type == LF_INT8)
        to.r = lf_quantise_frame(quants, r, layer->padded_hidden);
    const lf_segment operand = {type == LF_INT8 ? quants : r, layer->hidden_size};
    lf_matvec_whole(type, m, &operand, 1, type == LF_INT8 ? NULL : m->panels, m->stride,
                    lf_take_projection, &to);
    lf_zero_tail(h_out, layer->output_size, layer->padded_output);
}

/* What a variant does after all sums of a layer: one session. */
LF_INLINE void lf_variant_output(lf_weight_type type, const lf_pass *pass) {
    const lf_layer *layer = pass->layer;
    if (!layer->variant->projection.panels) {
        lf_variant_cell(layer, pass->pre, pass->c, pass->h_out);
        return;
    }
    float *const r = pass->pre + LF_GATES * layer->padded_hidden;
    lf_variant_cell(layer, pass->pre, pass->c, r);
    lf_project(type, layer, r, pass->quants[LF_RECURRENT], pass->h_out);
}

#endif
