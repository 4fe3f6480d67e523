/*
 * A packed matrix times rows of input, plus a bias, and then an activation: dense layers, convolutions, and the sums of a
 * GRU. The chain of each sum starts from +0 and the bias comes last, see lf_model_load.
 */
#ifndef LF_GENERIC_PRODUCT_H
#define LF_GENERIC_PRODUCT_H

/* Out of line: a product calls it for few vectors, next to its sums. */
static LF_NOINLINE vf lf_activated(const lf_product *p, vf x) {
    return lf_unary_value(p->activation, p->is_approximate, x, vf_set1(p->alpha), vf_set1(p->beta));
}

/* From the sums of the vector of rows that begins with `row` to where a caller wants its part of y. */
LF_INLINE void lf_finish_product(const lf_product *p, size_t row, vf sum, float *y) {
    if (row >= p->outputs)
        return;
    vf value = vf_add(sum, vf_load(p->bias + row));
    if (vf_any_noncanonical(value))
        value = lf_canonical(value);
    if (p->activation == LF_OP_RELU)
        value = vf_select(vf_less(value, vf_set1(0.0f)), vf_set1(0.0f), value);
    else if (p->activation)
        value = lf_activated(p, value);
    lf_store_most(y + row, value, p->outputs - row);
}

typedef struct lf_product_output {
    const lf_product *product;
    float *y;
} lf_product_output;

LF_INLINE void lf_take_product(void *context, lf_weight_type type, size_t vectors,
                               const lf_panel *p, const vf *sum, const vi *whole) {
    const lf_product_output *const to = context;
    (void)type, (void)whole;
    LF_UNROLL_ALL
    for (size_t j = 0; j < vectors; j++)
        lf_finish_product(to->product, p->row + j * LF_LANES, sum[j], to->y);
}

/* rows->count rows; the sums of a panel stay in L1 until they are finished. */
LF_INLINE void lf_product_of_rows(lf_weight_type type, const lf_product *p,
                                  const lf_product_rows *rows) {
    const lf_geometry g = LF_GEOMETRY(type);
    const size_t panels = lf_panel_count(&p->matrix, g);
    for (size_t n = 0; n < panels; n++) {
        const lf_panel panel = lf_panel_at(&p->matrix, g, n);
        const char *const then =
            n + 1 < panels ? lf_panel_at(&p->matrix, g, n + 1).weights : p->ahead;
        const lf_matmat_extras extras = {p->ahead ? then : NULL, NULL};
        const size_t vectors = panel.rows / LF_LANES;
        const int is_tail = vectors < LF_NARROW_VECTORS;
        lf_matmat_panel(type, vectors, is_tail ? lf_tail_cuts[type][vectors - 1] : lf_cuts[type],
                        rows->count, panel.weights, rows->several, rows->segments, lf_zeros,
                        rows->sums, LF_PANEL_SUMS, extras);
        for (size_t r = 0; r < rows->count; r++)
            for (size_t j = 0; j < panel.rows; j += LF_LANES)
                lf_finish_product(p, panel.row + j, vf_load(rows->sums + r * LF_PANEL_SUMS + j),
                                  rows->y[r]);
    }
}

LF_INLINE void lf_product_pass(lf_weight_type type, const lf_product *p,
                               const lf_product_rows *rows) {
    if (rows->count > 1) {
        lf_product_of_rows(type, p, rows);
        return;
    }
    lf_product_output to = {p, rows->y[0]};
    lf_matvec(type, &p->matrix, rows->single, rows->segments, NULL, 0, lf_take_product, &to);
}

/* int8 is for LSTM layers alone, see lf_model_load_as. */
static void product_pass(const lf_product *p, const lf_product_rows *rows) {
    switch (p->type) {
    case LF_FLOAT32:
        lf_product_pass(LF_FLOAT32, p, rows);
        return;
    case LF_FLOAT16:
        lf_product_pass(LF_FLOAT16, p, rows);
        return;
    case LF_INT8:
        return;
    }
}

/* One position of such a convolution: the chain of each channel, the oldest tap first. */
LF_INLINE void lf_depthwise_position(const lf_depthwise *d, const float *window, float *y) {
    const lf_product *const p = &d->product;
    for (size_t c = 0; c < p->outputs; c += LF_LANES) {
        const size_t rest = p->outputs - c;
        const float *weights = d->weights + c;
        vf sum = vf_set1(0.0f);
        for (size_t line = 0; line < d->taps[0]; line++)
            for (size_t tap = 0; tap < d->taps[1]; tap++, weights += d->weights_step) {
                const float *const from = window + line * d->tap_step[0] + tap * d->tap_step[1] + c;
                sum = vf_fma(vf_load(weights), lf_load_most(from, rest), sum);
            }
        lf_finish_product(p, c, sum, y);
    }
}

/* A convolution whose every channel has a filter of its own. */
static void depthwise_pass(const lf_depthwise *d, const float *x, float *y) {
    for (size_t line = 0; line < d->positions[0]; line++)
        for (size_t at = 0; at < d->positions[1]; at++, y += d->product.outputs)
            lf_depthwise_position(d, x + line * d->position_step[0] + at * d->position_step[1], y);
}

#endif
