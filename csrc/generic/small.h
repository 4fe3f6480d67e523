/*
 * A layer of a single panel whose weights are in L1: a step of it takes as long as its longest chain of
 * dependent operations, h to h, and each value that goes through memory makes that 11 cycles (Zen 5)
 * longer. So everything stays in registers, in two copies of the loop, which costs nothing from L1.
 * The arithmetic is that of any other layer. int8 has nothing to gain where there is so little to read.
 */
#ifndef LF_GENERIC_SMALL_H
#define LF_GENERIC_SMALL_H

enum { LF_SMALL_BYTES = 24 << 10 }; /* of weights; leaves room in the smallest L1 */

LF_INLINE int lf_is_small(lf_weight_type type, const lf_layer *layer) {
    return type != LF_INT8 && layer->padded_hidden <= LF_PANEL_VECTORS * LF_LANES &&
           lf_panel_unit_bytes(type, layer) * layer->padded_hidden <= LF_SMALL_BYTES;
}

/* A whole step of the plain cell. */
LF_INLINE void lf_small_pass(lf_weight_type type, size_t vectors, const lf_pass *pass) {
    enum { ROWS = LF_GATES * LF_PANEL_VECTORS };
    const size_t rows = LF_GATES * vectors;
    const lf_panel p = lf_panel_at(type, vectors, pass->layer, pass->layer->panels);
    vf a[ROWS], recurrent[ROWS];
    LF_UNROLL_ALL
    for (size_t j = 0; j < rows; j++) {
        a[j] = vf_load(p.start[0] + j * LF_LANES);
        recurrent[j] = vf_set1(0.0f);
    }
    (void)lf_add_products(type, rows, LF_FROM_L1, p.weights[0], pass->x, p.count[0], a);
    (void)lf_add_products(type, rows, LF_FROM_L1, p.weights[1], pass->h, p.count[1], recurrent);
    LF_UNROLL_ALL
    for (size_t j = 0; j < rows; j++)
        a[j] = vf_add(a[j], recurrent[j]);
    LF_UNROLL_ALL
    for (size_t v = 0; v < vectors; v++) {
        vf o, c = vf_load(pass->c + v * LF_LANES);
        const vf gates[LF_GATES] = {a[v], a[vectors + v], a[2 * vectors + v], a[3 * vectors + v]};
        lf_next_cell(&lf_plain_cell, gates, &c, &o);
        /* of c as it comes: tanh of a subnormal is that subnormal, and o times it becomes the same zero */
        const vf h = vf_mul(o, lf_plain_cell.output(c));
        vf_store(pass->c + v * LF_LANES, vf_any_odd(c) ? lf_canonical(c) : c);
        vf_store(pass->h_out + v * LF_LANES, vf_any_odd(h) ? lf_canonical(h) : h);
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
            lf_small_pass(LF_FLOAT32, LF_PANEL_VECTORS, pass);
        return;
    case LF_FLOAT16:
        if (is_single)
            lf_small_pass(LF_FLOAT16, 1, pass);
        else
            lf_small_pass(LF_FLOAT16, LF_PANEL_VECTORS, pass);
        return;
    case LF_INT8: /* never small */
        return;
    }
}

#endif
