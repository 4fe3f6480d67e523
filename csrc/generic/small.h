/*
 * A layer of a single panel whose weights are in L1: a step of it takes as long as its longest chain of
 * dependent operations, h to h, and each value that goes through memory makes that 11 cycles (Zen 5)
 * longer. So everything stays in registers, in two copies of the loop, which costs nothing from L1.
 * The arithmetic is that of any other layer. int8 has nothing to gain where there is so little to read.
 */
#ifndef LF_GENERIC_SMALL_H
#define LF_GENERIC_SMALL_H

LF_INLINE int lf_is_small(lf_weight_type type, const lf_layer *layer) {
    const lf_matrix m = lf_layer_matrix(layer, LF_GEOMETRY(type), LF_INPUT);
    return type != LF_INT8 && lf_panel_count(&m, LF_GEOMETRY(type)) == 1 &&
           (size_t)m.stride * m.rows <= LF_SMALL_BYTES;
}

/* A whole step of the plain cell. units: vectors of them. */
LF_INLINE void lf_small_pass(lf_weight_type type, size_t units, const lf_pass *pass) {
    const size_t vectors = LF_GATES * units;
    const lf_layer *const layer = pass->layer;
    const lf_matrix m = lf_layer_matrix(layer, LF_GEOMETRY(type), LF_INPUT);
    const float *const biases = (const float *)(const void *)m.panels;
    const char *weights = m.panels + vectors * LF_LANES * m.offset;
    vf a[LF_WIDE_VECTORS], recurrent[LF_WIDE_VECTORS];
    LF_UNROLL_ALL
    for (size_t j = 0; j < vectors; j++) {
        a[j] = vf_load(biases + j * LF_LANES);
        recurrent[j] = vf_set1(0.0f);
    }
    weights = lf_add_products(type, vectors, LF_FROM_L1, weights, pass->x, layer->input_size, a);
    (void)lf_add_products(type, vectors, LF_FROM_L1, weights, pass->h, layer->output_size,
                          recurrent);
    LF_UNROLL_ALL
    for (size_t j = 0; j < vectors; j++)
        a[j] = vf_add(a[j], recurrent[j]);
    LF_UNROLL_ALL
    for (size_t u = 0; u < units; u++) {
        vf o, c = vf_load(pass->c + u * LF_LANES);
        const vf gates[LF_GATES] = {a[u], a[units + u], a[2 * units + u], a[3 * units + u]};
        lf_next_cell(&lf_plain_cell, gates, &c, &o);
        /* of c as it comes: tanh of a subnormal is that subnormal, and o times it becomes the same zero */
        const vf h = vf_mul(o, lf_plain_cell.output(c));
        vf_store(pass->c + u * LF_LANES, vf_any_noncanonical(c) ? lf_canonical(c) : c);
        vf_store(pass->h_out + u * LF_LANES, vf_any_noncanonical(h) ? lf_canonical(h) : h);
    }
}

/* Out of line, so that other layers find their code in fewer pages. */
static LF_NOINLINE void small_pass(lf_weight_type type, const lf_pass *pass) {
    const int is_single = pass->layer->padded_hidden == LF_LANES;
    switch (type) {
    case LF_FLOAT32:
        if (is_single)
            lf_small_pass(LF_FLOAT32, 1, pass);
        else
            lf_small_pass(LF_FLOAT32, LF_WIDE_PANEL, pass);
        return;
    case LF_FLOAT16:
        if (is_single)
            lf_small_pass(LF_FLOAT16, 1, pass);
        else
            lf_small_pass(LF_FLOAT16, LF_WIDE_PANEL, pass);
        return;
    case LF_INT8: /* never small */
        return;
    }
}

#endif
