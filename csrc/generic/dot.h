/*
 * The matrix-times-vector core: rows side by side in a panel, one chain of fmas per row. It knows
 * nothing of gates, so it can serve any layer whose weights are packed this way.
 */
#ifndef LF_GENERIC_DOT_H
#define LF_GENERIC_DOT_H

/*
 * sums[j] += weights[k][j] * x[k] for k = 0 .. count - 1 in this order; returns the end of the
 * weights. vectors is a constant wherever this is inlined, so that the sums live in registers.
 *
 * The loads stay in the order of their addresses: a scheduler that shuffles those of one k among
 * themselves (GCC 12 does) halves the bandwidth from L2 on Zen 5, 120 instead of 225 GB/s.
 */
LF_INLINE const float *lf_dot_f32(size_t vectors, vf *sums, const float *weights, const float *x,
                                  size_t count) {
    LF_UNROLL_NONE
    for (size_t k = 0; k < count; k++) {
        vf xk = vf_set1(x[k]);
        LF_UNROLL_ALL
        for (size_t j = 0; j < vectors; j++) {
            sums[j] = vf_fma(vf_load(weights + j * LF_LANES), xk, sums[j]);
            LF_HIDE_VALUE(weights); /* keeps the loads in the order of their addresses */
        }
        weights += vectors * LF_LANES;
    }
    return weights;
}

#endif
