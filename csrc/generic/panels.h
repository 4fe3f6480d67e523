/*
 * A step's way through the panels of a layer. Where weights come from L2, a cycle without a load from them
 * is lost, and the CPU takes loads in the order of the program, more or less: whatever is looked up between
 * two panels waits for the weights before it, and those after it wait for that. So a stretch of panels is one
 * loop that knows all its addresses, from the sums to the cell (benchmarks/NOTES.md, "Between two panels").
 */
#ifndef LF_GENERIC_PANELS_H
#define LF_GENERIC_PANELS_H

/* Where the parts of a panel are, and what its sums start from. Index 0: W_ih x, 1: W_hh h. */
typedef struct lf_panel {
    const float *start[2];
    const char *weights[2];
    size_t count[2]; /* of k */
} lf_panel;

static const _Alignas(64) float lf_zeros[LF_GATES * LF_PANEL_VECTORS * LF_LANES];

/* What a panel takes for each of its hidden units, which is the same in all of a layer: with its bias, if that
 * is there. */
LF_INLINE size_t lf_panel_unit_bytes(lf_weight_type type, const lf_layer *layer) {
    const size_t group = type == LF_INT8 ? LF_INT8_GROUP : 1;
    const size_t columns =
        lf_round_up(layer->input_size, group) + lf_round_up(layer->output_size, group);
    const size_t bias_bytes = type == LF_INT8 ? 0 : sizeof(float);
    return LF_GATES * (bias_bytes + columns * lf_weight_bytes(type));
}

/* int8: where the finish rows of the units from `unit` on are; and of them those of a gate of a vector. */
LF_INLINE const float *lf_finish_at(lf_weight_type type, const lf_layer *layer, size_t unit) {
    const char *const end = layer->panels + layer->padded_hidden * lf_panel_unit_bytes(type, layer);
    return (const float *)(const void *)end + unit * LF_GATES * LF_FINISH_ROWS;
}
LF_INLINE const float *lf_finish_rows(const float *finish, size_t vector, size_t gate) {
    return finish + (vector * LF_GATES + gate) * LF_FINISH_ROWS * LF_LANES;
}

LF_INLINE lf_panel lf_panel_at(lf_weight_type type, size_t vectors, const lf_layer *layer,
                               const char *panel) {
    const size_t row_bytes = LF_GATES * vectors * LF_LANES * sizeof(float);
    const size_t group = type == LF_INT8 ? LF_INT8_GROUP : 1;
    const size_t k_bytes = LF_GATES * vectors * LF_LANES * lf_weight_bytes(type);
    const char *const input = panel + (type == LF_INT8 ? 0 : row_bytes);
    const char *const recurrent = input + lf_round_up(layer->input_size, group) * k_bytes;
    lf_panel result = {
        .start = {type == LF_INT8 ? lf_zeros : (const float *)(const void *)panel, lf_zeros},
        .weights = {input, recurrent},
        .count = {layer->input_size, layer->output_size},
    };
    return result;
}

LF_INLINE size_t lf_panel_count(const lf_layer *layer) {
    const size_t vectors = layer->padded_hidden / LF_LANES;
    return vectors - layer->wide_panels * (LF_PANEL_VECTORS - 1);
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

LF_INLINE lf_place lf_place_of(lf_weight_type type, const lf_layer *layer, size_t n,
                               int descending) {
    const size_t units = LF_PANEL_VECTORS * LF_LANES, wide = layer->wide_panels;
    const size_t at = descending ? lf_panel_count(layer) - 1 - n : n;
    const size_t unit = at < wide ? at * units : wide * units + (at - wide) * LF_LANES;
    lf_place place = {layer->panels + unit * lf_panel_unit_bytes(type, layer), unit, at < wide};
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
LF_INLINE void lf_sum_float(lf_weight_type type, size_t rows, lf_level level, const float *start,
                            const char *weights, lf_vectors v, const float *kept, vf *input,
                            vf *sum) {
    LF_UNROLL_ALL
    for (size_t j = 0; j < rows; j++) {
        input[j] = sum[j] = vf_load(start + j * LF_LANES);
        LF_HIDE_VALUE(start);
    }
    for (int half = 0;; half = 1) {
        weights = lf_add_products(type, rows, level, weights, v.x, v.inputs, sum);
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

/* int8: the pre-activations of one gate of a vector of units, from its finish rows and the correct sums of both
 * halves. The scale of a plain cell's h, which is bounded, is that of its rows already. */
LF_INLINE vf lf_scaled(int is_plain, const float *finish, float x_scale, float h_scale, vi input,
                       vi recurrent) {
    const vf bias = vf_load(finish), scale_ih = vf_load(finish + LF_LANES);
    const vf scale_hh = vf_load(finish + 2 * LF_LANES);
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
typedef struct lf_stretch {
    size_t unit, count;
} lf_stretch;

/*
 * The sums of each, and then its cell or, for a variant, its pre-activations. is_usual: both halves of plain
 * cells, known where it is compiled, and so is where weights come from. What the loop needs is looked up before
 * it: it stores, and what it would look up through the pass might have changed.
 */
LF_INLINE void lf_stretch_pass(lf_weight_type type, int is_usual, lf_level level, size_t vectors,
                               const lf_pass *pass, lf_stretch stretch) {
    enum { ROWS = LF_GATES * LF_PANEL_VECTORS };
    const size_t rows = LF_GATES * vectors, units = vectors * LF_LANES;
    const lf_layer *const layer = pass->layer;
    const size_t padded_hidden = layer->padded_hidden;
    const int is_plain = is_usual || !layer->variant;
    const int is_second = !is_usual && pass->first_half == 1;
    const int is_first = !is_usual && pass->end_half == 1;
    const lf_operand x = pass->operands[0], h = pass->operands[1];
    const lf_vectors v = {
        .x = type == LF_INT8 ? pass->quants[0] : pass->x,
        .h = type == LF_INT8 ? pass->quants[1] : pass->h,
        .inputs = is_second ? 0 : layer->input_size,
        .outputs = is_first ? 0 : layer->output_size,
    };
    const size_t unit_bytes = lf_panel_unit_bytes(type, layer);
    const size_t unit = stretch.unit + (pass->descending ? (stretch.count - 1) * units : 0);
    const ptrdiff_t step = (ptrdiff_t)units * (pass->descending ? -1 : 1);
    const char *panel = layer->panels + unit * unit_bytes;
    const lf_panel p = lf_panel_at(type, vectors, layer, panel);
    const ptrdiff_t weights_at = p.weights[is_second] - panel;
    const float *finish = type == LF_INT8 ? lf_finish_at(type, layer, unit) : NULL;
    float *c = pass->c + unit, *out = (is_plain ? pass->h_out : pass->pre) + unit;
    /* between a second half and the first */
    float *kept = is_first || is_second ? pass->recurrent + LF_GATES * unit : NULL;
    for (size_t n = stretch.count;; n--) {
        vf input[ROWS], sum[ROWS];
        vi whole_input[ROWS], whole[ROWS];
        if (type == LF_INT8)
            lf_sum_int8(rows, panel + weights_at, v, x.correction, h.correction,
                        is_first ? (const int32_t *)(const void *)kept : NULL, whole_input, whole);
        else
            lf_sum_float(type, rows, level, (const float *)(const void *)panel, panel + weights_at,
                         v, is_first ? kept : NULL, input, sum);
        if (is_second) {
            LF_UNROLL_ALL
            for (size_t j = 0; j < rows; j++) {
                if (type == LF_INT8)
                    vi_store((int32_t *)(void *)kept + j * LF_LANES, whole[j]);
                else
                    vf_store(kept + j * LF_LANES, sum[j]);
            }
        } else {
            LF_UNROLL_ALL
            for (size_t u = 0; u < vectors; u++) {
                vf a[LF_GATES];
                LF_UNROLL_ALL
                for (size_t gate = 0; gate < LF_GATES; gate++) {
                    const size_t j = gate * vectors + u;
                    a[gate] = type == LF_INT8
                                  ? lf_scaled(is_plain, lf_finish_rows(finish, u, gate), x.scale,
                                              h.scale, whole_input[j], whole[j])
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
        panel += step * (ptrdiff_t)unit_bytes;
        if (type == LF_INT8)
            finish += step * LF_GATES * LF_FINISH_ROWS;
        if (kept)
            kept += step * LF_GATES;
        c += step;
        out += step;
    }
}

/*
 * Usual passes, the same from L3, and any: halves and variants, which look at the pass to see what they are. Each
 * is out of line: in the middle of everything else compilers run out of registers.
 */
enum { LF_STRETCH_USUAL, LF_STRETCH_FROM_L3, LF_STRETCH_ANY, LF_STRETCH_KINDS };

#define LF_STRETCH(name, type, is_usual, level, vectors)                                           \
    static LF_NOINLINE void name(const lf_pass *pass, lf_stretch stretch) {                        \
        lf_stretch_pass(type, is_usual, level, vectors, pass, stretch);                            \
    }
#define LF_STRETCH_WIDTHS(name, type, is_usual, level)                                             \
    LF_STRETCH(name##_narrow, type, is_usual, level, 1)                                            \
    LF_STRETCH(name##_wide, type, is_usual, level, LF_PANEL_VECTORS)
/* int8 gains nothing from asking for lines of L3. */
#define LF_STRETCHES_FLOAT(type, name)                                                             \
    LF_STRETCH_WIDTHS(name, type, 1, LF_FROM_L2)                                                   \
    LF_STRETCH_WIDTHS(name##_from_l3, type, 1, LF_FROM_L3)                                         \
    LF_STRETCH_WIDTHS(name##_any, type, 0, LF_FROM_L2)
#define LF_STRETCHES_INT8(type, name)                                                              \
    LF_STRETCH_WIDTHS(name, type, 1, LF_FROM_L2)                                                   \
    LF_STRETCH_WIDTHS(name##_any, type, 0, LF_FROM_L2)
#define LF_STRETCHES(type, name, bytes, sums) LF_STRETCHES_##sums(type, name)
LF_EACH_WEIGHT_TYPE(LF_STRETCHES)
#undef LF_STRETCH_WIDTHS
#undef LF_STRETCH

typedef void (*lf_stretch_function)(const lf_pass *pass, lf_stretch stretch);
#define LF_FROM_L3_FLOAT(name) {name##_from_l3_narrow, name##_from_l3_wide}
#define LF_FROM_L3_INT8(name) {name##_narrow, name##_wide}
#define LF_ENTRY_OF_STRETCHES(type, name, bytes, sums)                                             \
    [type] = {[LF_STRETCH_USUAL] = {name##_narrow, name##_wide},                                   \
              [LF_STRETCH_FROM_L3] = LF_FROM_L3_##sums(name),                                      \
              [LF_STRETCH_ANY] = {name##_any_narrow, name##_any_wide}},
static const lf_stretch_function lf_stretches[LF_WEIGHT_TYPES][LF_STRETCH_KINDS][2] = {
    LF_EACH_WEIGHT_TYPE(LF_ENTRY_OF_STRETCHES)};

/* All panels of a layer: the wide ones come first in memory. */
LF_INLINE void lf_panels_pass(lf_weight_type type, const lf_pass *pass) {
    const lf_layer *layer = pass->layer;
    const int is_usual = !layer->variant && pass->end_half - pass->first_half == 2;
    const int kind = !is_usual             ? LF_STRETCH_ANY
                     : pass->fetches_ahead ? LF_STRETCH_FROM_L3
                                           : LF_STRETCH_USUAL;
    const size_t units = layer->wide_panels * LF_PANEL_VECTORS * LF_LANES;
    const lf_stretch narrow = {units, (layer->padded_hidden - units) / LF_LANES};
    const lf_stretch wide = {0, layer->wide_panels};
    for (int turn = 0; turn < 2; turn++) {
        const int is_wide = turn == !!pass->descending;
        const lf_stretch stretch = is_wide ? wide : narrow;
        if (stretch.count)
            lf_stretches[type][kind][is_wide](pass, stretch);
    }
}

#endif
