/*
 * One LSTM layer for one session: the sums of each panel and then, with these still in registers, its cells. Where
 * weights come from L2, a cycle without a load from them is lost, and the CPU takes loads in the order of the program,
 * more or less: an address that has to be looked up between two panels waits for the weights before it, and those
 * after it wait for that. So the panels of one width are one loop that knows all its addresses (benchmarks/NOTES.md,
 * "Between two panels").
 */
#ifndef LF_GENERIC_LSTM_H
#define LF_GENERIC_LSTM_H

/* prepare: the weights that the step still has to read come closer, and those that it begins with come
 * last, into L1. */
LF_INLINE void lf_prefetch_inputs(lf_weight_type type, const lf_layer *layer) {
    const lf_geometry g = LF_GEOMETRY(type);
    const lf_matrix m = lf_layer_matrix(layer, g, LF_RECURRENT); /* the inputs stand in front */
    for (size_t n = lf_panel_count(&m, g); n-- > 0;) {
        const lf_panel p = lf_panel_at(&m, g, n);
        const char *const begin = m.panels + p.row * m.stride;
        const size_t before = p.row * m.offset; /* in the step's order */
        const size_t bytes = p.rows * m.offset;
        size_t near = before < LF_L1_KEEPS ? LF_L1_KEEPS - before : 0;
        near = near < bytes ? near : bytes;
        for (size_t at = near; at < bytes; at += LF_ALIGNMENT)
            __builtin_prefetch(begin + at, 0, 2);
        for (size_t at = 0; at < near; at += LF_ALIGNMENT) /* backwards, for where L1 is smaller */
            __builtin_prefetch(begin + near - 1 - at, 0, 3);
    }
}

/* What a pass multiplies with: x and h, or no k of a half that it leaves out. */
typedef struct lf_vectors {
    const void *x, *h;
    size_t inputs, outputs;
} lf_vectors;

/*
 * Both halves of the sums of one panel, one of which may have no k: the first to `input`, the second, from
 * `kept` or else from 0 on, to `sum`. One loop: written out twice, once for each half, it takes up to twice as
 * long once the weights come from L2. (Copies are unrolled by themselves: clang first makes them a memcpy, and
 * then complains of a loop that it can't find.)
 */
LF_INLINE void lf_sum_float(lf_weight_type type, size_t rows, const float *start,
                            const char *weights, lf_vectors v, const float *kept, vf *input,
                            vf *sum) {
    LF_UNROLL_ALL
    for (size_t j = 0; j < rows; j++) {
        input[j] = sum[j] = vf_load(start + j * LF_LANES);
        LF_HIDE_VALUE(start);
    }
    for (int half = 0;; half = 1) {
        weights = lf_add_products(type, rows, LF_FROM_L2, weights, v.x, v.inputs, sum);
        LF_HIDE_VALUE(half);
        if (half)
            return;
        for (size_t j = 0; j < rows; j++) {
            input[j] = sum[j];
            sum[j] = kept ? vf_load(kept + j * LF_LANES) : vf_set1(0.0f);
        }
        v.x = v.h;
        v.inputs = v.outputs;
    }
}

/* The same for int8: what starts from the operands' corrections is correct in the end. (What is between may have
 * passed 2^31 and wrapped, as vectors do; where there is an offset, there are vectors.) */
LF_INLINE void lf_sum_int8(size_t rows, const char *weights, lf_vectors v, int32_t correction,
                           int32_t next, const int32_t *kept, vi *input, vi *sum) {
    LF_UNROLL_ALL
    for (size_t j = 0; j < rows; j++)
        input[j] = sum[j] = vi_set1(correction);
    for (int half = 0;; half = 1) {
        weights = lf_add_products_int8(rows, weights, v.x, v.inputs, sum);
        LF_HIDE_VALUE(half);
        if (half)
            return;
        for (size_t j = 0; j < rows; j++) {
            input[j] = sum[j];
            sum[j] = kept ? vi_load(kept + j * LF_LANES) : vi_set1(next);
        }
        v.x = v.h;
        v.inputs = v.outputs;
    }
}

/* int8: the pre-activations of one gate of a vector of units, from its dequantisation rows and the correct sums of both
 * halves. The scale of a plain cell's h, which is bounded, is that of its rows already. */
LF_INLINE vf lf_dequantised(int is_plain, const float *rows, float x_scale, float h_scale, vi input,
                            vi recurrent) {
    const vf bias = vf_load(rows), scale_ih = vf_load(rows + LF_LANES);
    const vf scale_hh = vf_load(rows + 2 * LF_LANES);
    const vf left = vf_fma(vf_from_int(input), vf_mul(scale_ih, vf_set1(x_scale)), bias);
    return vf_fma(vf_from_int(recurrent), is_plain ? scale_hh : vf_mul(scale_hh, vf_set1(h_scale)),
                  left);
}

/* Pre-activations of a variant to where lf_variant_cell wants them: `pre` of the first unit. */
LF_INLINE void lf_store_gates(const vf a[LF_GATES], size_t padded_hidden, float *pre) {
    LF_UNROLL_ALL
    for (size_t gate = 0; gate < LF_GATES; gate++)
        vf_store(pre + gate * padded_hidden, a[gate]);
}

/* Panels of one width that lie side by side: `count` of them, at least one, the first unit of which is `unit`. */
typedef struct lf_panel_range {
    size_t unit, count;
} lf_panel_range;

/*
 * The sums of each, and then its cell or, for a variant, its pre-activations. units: vectors of them in a panel.
 * is_usual: both halves of plain cells, known where it is compiled. What the loop
 * needs is looked up before it: it stores, and what it would look up through the pass might have changed.
 */
LF_INLINE void lf_pass_over_range(lf_weight_type type, int is_usual, size_t units,
                                  const lf_pass *pass, lf_panel_range range) {
    const size_t vectors = LF_GATES * units, rows = vectors * LF_LANES;
    const lf_layer *const layer = pass->layer;
    const size_t padded_hidden = layer->padded_hidden;
    const int is_plain = is_usual || !layer->variant;
    const int is_second = !is_usual && pass->first_half == LF_RECURRENT;
    const int is_first = !is_usual && pass->end_half == LF_RECURRENT;
    const lf_operand x = pass->operands[LF_INPUT], h = pass->operands[LF_RECURRENT];
    const lf_vectors v = {
        .x = type == LF_INT8 ? pass->quants[LF_INPUT] : pass->x,
        .h = type == LF_INT8 ? pass->quants[LF_RECURRENT] : pass->h,
        .inputs = is_second ? 0 : layer->input_size,
        .outputs = is_first ? 0 : layer->output_size,
    };
    const lf_geometry g = LF_GEOMETRY(type);
    const lf_matrix m = lf_layer_matrix(layer, g, is_second ? LF_RECURRENT : LF_INPUT);
    const size_t unit = range.unit + (pass->descending ? (range.count - 1) * units * LF_LANES : 0);
    const ptrdiff_t step = (ptrdiff_t)(units * LF_LANES) * (pass->descending ? -1 : 1);
    const ptrdiff_t panel_step = step * (ptrdiff_t)(LF_GATES * (size_t)m.stride);
    const char *panel = m.panels + LF_GATES * unit * m.stride;
    const size_t weights_at = rows * m.offset;
    const float *dequantisation =
        type == LF_INT8 ? lf_dequantisation_rows(&m, g, LF_HALVES, LF_GATES * unit) : NULL;
    float *c = pass->c + unit, *out = (is_plain ? pass->h_out : pass->pre) + unit;
    /* between a second half and the first */
    float *kept = is_first || is_second ? pass->recurrent + LF_GATES * unit : NULL;
    for (size_t n = range.count;; n--) {
        vf input[LF_WIDE_VECTORS], sum[LF_WIDE_VECTORS];
        vi whole_input[LF_WIDE_VECTORS], whole[LF_WIDE_VECTORS];
        if (type == LF_INT8)
            lf_sum_int8(vectors, panel + weights_at, v, x.correction, h.correction,
                        is_first ? (const int32_t *)(const void *)kept : NULL, whole_input, whole);
        else
            lf_sum_float(type, vectors, (const float *)(const void *)panel, panel + weights_at, v,
                         is_first ? kept : NULL, input, sum);
        if (is_second) {
            LF_UNROLL_ALL
            for (size_t j = 0; j < vectors; j++) {
                if (type == LF_INT8)
                    vi_store((int32_t *)(void *)kept + j * LF_LANES, whole[j]);
                else
                    vf_store(kept + j * LF_LANES, sum[j]);
            }
        } else {
            LF_UNROLL_ALL
            for (size_t u = 0; u < units; u++) {
                vf a[LF_GATES];
                LF_UNROLL_ALL
                for (size_t gate = 0; gate < LF_GATES; gate++) {
                    const size_t j = gate * units + u;
                    a[gate] = type == LF_INT8
                                  ? lf_dequantised(is_plain,
                                                   dequantisation + j * (1 + LF_HALVES) * LF_LANES,
                                                   x.scale, h.scale, whole_input[j], whole[j])
                                  : vf_add(input[j], sum[j]);
                }
                if (is_plain)
                    (void)lf_update_cell(&lf_plain_cell, a, c + u * LF_LANES, out + u * LF_LANES);
                else
                    lf_store_gates(a, padded_hidden, out + u * LF_LANES);
            }
        }
        if (n == 1)
            return;
        panel += panel_step;
        if (type == LF_INT8)
            dequantisation += step * LF_GATES * (1 + LF_HALVES);
        if (kept)
            kept += step * LF_GATES;
        c += step;
        out += step;
    }
}

/*
 * Usual passes, and any: halves and variants, which look at the pass to see what they are. Each is out of line: in the
 * middle of everything else compilers run out of registers.
 */
#define LF_RANGE(name, type, is_usual, units)                                                      \
    static LF_NOINLINE void name(const lf_pass *pass, lf_panel_range range) {                      \
        lf_pass_over_range(type, is_usual, units, pass, range);                                    \
    }
#define LF_RANGES(type, name, bytes, sums)                                                         \
    LF_RANGE(name##_narrow, type, 1, 1)                                                            \
    LF_RANGE(name##_wide, type, 1, LF_WIDE_PANEL)                                                  \
    LF_RANGE(name##_any_narrow, type, 0, 1)                                                        \
    LF_RANGE(name##_any_wide, type, 0, LF_WIDE_PANEL)
LF_EACH_WEIGHT_TYPE(LF_RANGES)
#undef LF_RANGES
#undef LF_RANGE

/* [type][is_usual][is_wide] */
#define LF_ENTRY_OF_RANGES(type, name, bytes, sums)                                                \
    [type] = {{name##_any_narrow, name##_any_wide}, {name##_narrow, name##_wide}},
static void (*const lf_ranges[LF_WEIGHT_TYPES][2][2])(const lf_pass *pass, lf_panel_range range) = {
    LF_EACH_WEIGHT_TYPE(LF_ENTRY_OF_RANGES)};

/* All panels of a layer: the wide ones come first in memory. */
LF_INLINE void lf_pass_over_panels(lf_weight_type type, const lf_pass *pass) {
    const lf_layer *layer = pass->layer;
    const int is_usual = !layer->variant && pass->end_half - pass->first_half == LF_HALVES;
    const size_t units = layer->wide_panels * LF_WIDE_PANEL * LF_LANES;
    const lf_panel_range narrow = {units, (layer->padded_hidden - units) / LF_LANES};
    const lf_panel_range wide = {0, layer->wide_panels};
    for (int turn = 0; turn < 2; turn++) {
        const int is_wide = turn == !!pass->descending;
        const lf_panel_range range = is_wide ? wide : narrow;
        if (range.count)
            lf_ranges[type][is_usual][is_wide](pass, range);
    }
}

/* int8: fills pass->quants for its halves, and sets the operands. */
static void lf_quantise_operands(lf_pass *pass) {
    const lf_layer *layer = pass->layer;
    const size_t inputs = lf_round_up(layer->input_size, LF_LANES), outputs = layer->padded_output;
    lf_operand *const x = &pass->operands[0], *const h = &pass->operands[1];
    if (pass->first_half == LF_INPUT)
        *x = layer->x_is_bounded ? lf_quantise_bounded(pass->quants[0], pass->x, inputs)
             : pass->x_magnitude
                 ? lf_quantise_scaled(pass->quants[0], pass->x, inputs, pass->x_magnitude)
                 : lf_quantise_frame(pass->quants[0], pass->x, inputs);
    if (!layer->h_is_bounded)
        *h = lf_quantise_frame(pass->quants[1], pass->h, outputs);
    else if (pass->end_half == LF_HALVES)
        *h = lf_quantise_bounded(pass->quants[1], pass->h, outputs);
    else /* prepared: the sums are there */
        h->scale = lf_any_nonfinite(pass->h, outputs) ? NAN : 1.0f;
    if (pass->end_half == LF_RECURRENT)
        h->correction = 0; /* prepare has corrected its sums */
    if (layer->h_is_bounded) {
        /* what is not finite has no 8 bits: it counts through the scale */
        if (h->scale != h->scale)
            x->scale = NAN;
        h->scale = 1.0f; /* what it is where it is in the panels */
    }
}

#endif
