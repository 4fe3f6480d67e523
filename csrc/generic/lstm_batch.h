/* One LSTM layer for several sessions in one pass over its weights. */
#ifndef LF_GENERIC_LSTM_BATCH_H
#define LF_GENERIC_LSTM_BATCH_H

/* Floats (or, for int8, integers) of one session's sums in one panel. */
enum { LF_PANEL_SUMS = LF_WIDE_VECTORS * LF_LANES };

/* int8: corrects the sums of one panel for a later pass, which no longer knows by how much. */
LF_INLINE void lf_correct_sums(float *sums, size_t rows, lf_operand operand) {
    int32_t *const whole = (int32_t *)(void *)sums;
    LF_UNROLL_ALL
    for (size_t j = 0; j < rows; j++)
        vi_store(whole + j * LF_LANES, lf_corrected(vi_load(whole + j * LF_LANES), operand));
}

/* The pre-activations of one gate of a vector of units for session s, from the sums of both halves. rows: for int8, see
 * lf_dequantised. */
LF_INLINE vf lf_batch_gate(lf_weight_type type, int is_plain, const lf_batch *batch, size_t s,
                           const float *rows, const float *input, const float *recurrent) {
    if (type != LF_INT8)
        return vf_add(vf_load(input), vf_load(recurrent));
    const lf_operand x = batch->operands[LF_INPUT][s], h = batch->operands[LF_RECURRENT][s];
    return lf_dequantised(is_plain, rows, x.scale, h.scale,
                          lf_corrected(vi_load((const int32_t *)(const void *)input), x),
                          lf_corrected(vi_load((const int32_t *)(const void *)recurrent), h));
}

/*
 * One panel with `units` vectors of hidden units; next: the weights that are read after it, where those do not come
 * from L2. c_is_noncanonical: of each session, see lf_update_cell. In a pass over both halves the last tiles add them
 * up: they compute while memory has time to spare, and what comes after them finds half as much to read.
 */
LF_INLINE void lf_batch_panel(lf_weight_type type, int is_plain, size_t units,
                              const lf_batch *batch, const lf_matrix m[LF_HALVES], size_t n,
                              const char *next, int *c_is_noncanonical) {
    const lf_geometry g = LF_GEOMETRY(type);
    const size_t vectors = LF_GATES * units, half_sums = batch->sessions * LF_PANEL_SUMS;
    const int adds_up = type != LF_INT8 && batch->end_half - batch->first_half == LF_HALVES;
    const lf_panel panels[LF_HALVES] = {lf_panel_at(&m[LF_INPUT], g, n),
                                        lf_panel_at(&m[LF_RECURRENT], g, n)};
    const size_t row = panels[0].row, unit = row / LF_GATES;
    const float *const biases = (const float *)(const void *)(m[0].panels + row * m[0].stride);
    const float *const starts[LF_HALVES] = {type == LF_INT8 ? lf_zeros : biases, lf_zeros};
    for (size_t half = batch->first_half; half < batch->end_half; half++) {
        const lf_row_segment operand = {batch->rows[half], m[half].columns};
        const int is_last = half + 1 == batch->end_half;
        const lf_matmat_extras extras = {
            .after = next && !is_last ? panels[LF_RECURRENT].weights : next,
            .others = adds_up && half == LF_RECURRENT ? batch->sums : NULL,
        };
        lf_matmat_panel(type, vectors, lf_cuts[type], batch->sessions, panels[half].weights,
                        &operand, 1, starts[half], batch->sums + half * half_sums, LF_PANEL_SUMS,
                        extras);
    }
    const float *const dequantisation =
        type == LF_INT8 ? lf_dequantisation_rows(&m[0], g, LF_HALVES, row) : NULL;
    for (size_t s = 0; s < batch->sessions; s++) {
        const float *input = batch->sums + s * LF_PANEL_SUMS, *recurrent = input + half_sums;
        float *kept = batch->recurrent ? batch->recurrent[s] + row : NULL;
        if (batch->first_half == LF_RECURRENT) {
            memcpy(kept, recurrent, vectors * LF_LANES * sizeof(float));
            if (type == LF_INT8)
                lf_correct_sums(kept, vectors, batch->operands[LF_RECURRENT][s]);
            continue;
        }
        LF_UNROLL_ALL
        for (size_t u = 0; u < units; u++) {
            const size_t at = unit + u * LF_LANES;
            vf a[LF_GATES];
            LF_UNROLL_ALL
            for (size_t gate = 0; gate < LF_GATES; gate++) {
                const size_t j = gate * units + u, sum = j * LF_LANES;
                const float *const rows =
                    dequantisation ? dequantisation + sum * (1 + LF_HALVES) : NULL;
                a[gate] =
                    adds_up
                        ? vf_load(recurrent + sum)
                        : lf_batch_gate(type, is_plain, batch, s, rows, input + sum,
                                        (batch->end_half == LF_RECURRENT ? kept : recurrent) + sum);
            }
            if (is_plain)
                c_is_noncanonical[s] |=
                    lf_update_cell(&lf_plain_cell, a, batch->c[s] + at, batch->o[s] + at);
            else
                lf_store_gates(a, batch->layer->padded_hidden, batch->pre[s] + at);
        }
    }
}

/* What a variant does after all sums of a layer. A projection is a matrix like any other. */
LF_INLINE void lf_batch_variant_output(lf_weight_type type, const lf_batch *batch) {
    const lf_layer *layer = batch->layer;
    const lf_matrix *const m = &layer->variant->projection;
    const lf_geometry g = LF_GEOMETRY(type);
    const size_t r_at = LF_GATES * layer->padded_hidden;
    const void *rows[LF_BATCH_SESSIONS];
    lf_operand operands[LF_BATCH_SESSIONS] = {{0}};
    for (size_t s = 0; s < batch->sessions; s++) {
        float *const r = m->panels ? batch->pre[s] + r_at : batch->h[s];
        lf_variant_cell(layer, batch->pre[s], batch->c[s], r);
        rows[s] = type == LF_INT8 ? batch->quants[LF_RECURRENT][s] : r;
        if (type == LF_INT8 && m->panels)
            operands[s] =
                lf_quantise_frame(batch->quants[LF_RECURRENT][s], r, layer->padded_hidden);
    }
    const lf_row_segment operand = {rows, layer->hidden_size};
    const lf_matmat_extras none = {NULL, NULL};
    const size_t panels = m->panels ? lf_panel_count(m, g) : 0;
    for (size_t n = 0; n < panels; n++) {
        const lf_panel p = lf_panel_at(m, g, n);
        lf_matmat_panel(type, LF_NARROW_VECTORS, lf_cuts[type], batch->sessions, p.weights,
                        &operand, 1, lf_projection_start(type, m, &p), batch->sums, LF_PANEL_SUMS,
                        none);
        for (size_t s = 0; s < batch->sessions; s++) {
            const float *const sums = batch->sums + s * LF_PANEL_SUMS;
            vf sum[LF_NARROW_VECTORS];
            vi whole[LF_NARROW_VECTORS];
            LF_UNROLL_ALL
            for (size_t j = 0; j < LF_NARROW_VECTORS; j++) {
                sum[j] = vf_load(sums + j * LF_LANES);
                whole[j] = vi_load((const int32_t *)(const void *)sums + j * LF_LANES);
            }
            lf_projected projected = {layer, operands[s], batch->h[s]};
            lf_take_projection(&projected, type, LF_NARROW_VECTORS, &p, sum, whole);
        }
    }
    for (size_t s = 0; panels && s < batch->sessions; s++)
        lf_zero_tail(batch->h[s], layer->output_size, layer->padded_output);
}

LF_INLINE void lf_batch_over_panels(lf_weight_type type, int is_plain, const lf_batch *batch) {
    const lf_layer *layer = batch->layer;
    const lf_geometry g = LF_GEOMETRY(type);
    const lf_matrix m[LF_HALVES] = {lf_layer_matrix(layer, g, LF_INPUT),
                                    lf_layer_matrix(layer, g, LF_RECURRENT)};
    const lf_matrix *const first = &m[batch->first_half];
    int c_is_noncanonical[LF_BATCH_SESSIONS] = {0};
    const size_t panels = lf_panel_count(first, g);
    for (size_t turn = 0; turn < panels; turn++) {
        const size_t n = batch->descending ? panels - 1 - turn : turn;
        /* after the last any will do */
        const size_t then = turn + 1 == panels ? n : batch->descending ? n - 1 : n + 1;
        const lf_panel after = lf_panel_at(first, g, then);
        const char *const next =
            batch->prefetches
                ? after.weights - after.rows * first->offset * (batch->first_half == LF_INPUT)
                : NULL;
        if (n < layer->wide_panels)
            lf_batch_panel(type, is_plain, LF_WIDE_PANEL, batch, m, n, next, c_is_noncanonical);
        else
            lf_batch_panel(type, is_plain, 1, batch, m, n, next, c_is_noncanonical);
    }
    if (batch->first_half == LF_RECURRENT)
        return;
    if (!is_plain)
        lf_batch_variant_output(type, batch);
    for (size_t s = 0; s < batch->sessions; s++) {
        float *const h = batch->h[s];
        if (is_plain)
            lf_output(&lf_plain_cell, batch->c[s], batch->o[s], h, layer->padded_hidden,
                      c_is_noncanonical[s]);
        if (batch->y) /* while h is in L1 */
            give_output_f32(batch->y[s], h, layer->output_size);
    }
}

/* int8: the operands of each session, scaled by themselves. */
LF_INLINE void lf_quantise_batch(lf_batch *batch) {
    for (size_t s = 0; s < batch->sessions; s++) {
        lf_pass pass = {
            .layer = batch->layer,
            .first_half = batch->first_half,
            .end_half = batch->end_half,
            .x = batch->x ? batch->x[s] : NULL,
            .h = batch->h[s],
            .quants = {batch->quants[LF_INPUT][s], batch->quants[LF_RECURRENT][s]},
        };
        lf_quantise_operands(&pass);
        batch->operands[LF_INPUT][s] = pass.operands[LF_INPUT];
        batch->operands[LF_RECURRENT][s] = pass.operands[LF_RECURRENT];
    }
}

#define LF_BATCH_PASS(type, name, bytes, sums)                                                     \
    static LF_NOINLINE void batch_variants_##name(const lf_batch *batch) {                         \
        lf_batch_over_panels(type, 0, batch);                                                      \
    }                                                                                              \
    static void batch_pass_##name(lf_batch *batch) {                                               \
        const int is_int8 = type == LF_INT8;                                                       \
        batch->rows[LF_INPUT] =                                                                    \
            (const void *const *)(is_int8 ? (const void *)batch->quants[LF_INPUT]                  \
                                          : (const void *)batch->x);                               \
        batch->rows[LF_RECURRENT] =                                                                \
            (const void *const *)(is_int8 ? (const void *)batch->quants[LF_RECURRENT]              \
                                          : (const void *)batch->h);                               \
        if (is_int8)                                                                               \
            lf_quantise_batch(batch);                                                              \
        if (batch->layer->variant)                                                                 \
            batch_variants_##name(batch);                                                          \
        else                                                                                       \
            lf_batch_over_panels(type, 1, batch);                                                  \
    }
LF_EACH_WEIGHT_TYPE(LF_BATCH_PASS)
#undef LF_BATCH_PASS

#endif
