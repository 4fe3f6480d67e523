/*
 * From the pre-activations of one vector of hidden units to their new c and h, in registers.
 */
#ifndef LF_GENERIC_CELL_H
#define LF_GENERIC_CELL_H

/* What is applied where; the plain cell is lf_plain_cell. */
typedef struct lf_cell {
    vf (*gate)(vf);   /* i, f, o */
    vf (*input)(vf);  /* g */
    vf (*output)(vf); /* of c', before the output gate */
} lf_cell;

static const lf_cell lf_plain_cell = {lf_sigmoid, lf_tanh, lf_tanh};

/* From pre-activations of the gates, in the order i, f, g, o, to the next c, as it comes, and to o. */
LF_INLINE void lf_next_cell(const lf_cell *cell, const vf a[LF_GATES], vf *c, vf *o) {
    vf g = cell->input(a[2]);
    vf i = cell->gate(a[0]);
    vf f = cell->gate(a[1]);
    *c = vf_fma(f, *c, vf_mul(i, g));
    *o = cell->gate(a[3]);
}

/*
 * In two parts, since each is one long chain of dependent operations: the second is done for all units
 * of a layer in one loop, where the CPU overlaps one vector's chain with those of the next. What is
 * made canonical is looked at beside that chain instead of within it: next to always there is nothing
 * to do.
 *
 * Updates c and stores o. Returns whether c is still to be made canonical.
 */
LF_INLINE int lf_update_cell(const lf_cell *cell, const vf a[LF_GATES], float *c, float *o_out) {
    vf o, next = vf_load(c);
    lf_next_cell(cell, a, &next, &o);
    vf_store(c, next);
    vf_store(o_out, o);
    return vf_any_noncanonical(next);
}

/* Whether any of them is still to be made canonical: for a single step it is quicker to look once, in the
 * end; for a batch, whose c has left L1 by then, at once. */
LF_INLINE int lf_any_noncanonical(const float *values, size_t count) {
    int result = 0;
    LF_UNROLL_NONE
    for (size_t j = 0; j < count; j += LF_LANES)
        result |= vf_any_noncanonical(vf_load(values + j));
    return result;
}

/* From c and o to h, which may be where o is; count units, whole vectors. c_is_noncanonical: some c is still to be made
 * canonical. */
LF_INLINE void lf_output(const lf_cell *cell, float *c, const float *o, float *h, size_t count,
                         int c_is_noncanonical) {
    int h_is_noncanonical = 0;
    if (c_is_noncanonical)
        canonicalise_f32(c, count);
    LF_UNROLL_NONE
    for (size_t j = 0; j < count; j += LF_LANES) {
        vf next = vf_mul(vf_load(o + j), cell->output(vf_load(c + j)));
        vf_store(h + j, next);
        h_is_noncanonical |= vf_any_noncanonical(next);
    }
    if (h_is_noncanonical)
        canonicalise_f32(h, count);
}

#endif
