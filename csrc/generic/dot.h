/*
 * The matrix-times-vector core: rows side by side in a panel, one chain of sums per row. It knows
 * nothing of gates, so it can serve any layer whose weights are packed this way.
 *
 * `type`, `rows` and `level` are constants wherever these are inlined, so that the sums live in registers
 * and each weight type gets a loop of its own.
 *
 * The loads stay in the order of their addresses: a scheduler that shuffles those of one k among
 * themselves (GCC 12 does) halves the bandwidth from L2 on Zen 5, 120 instead of 225 GB/s.
 */
#ifndef LF_GENERIC_DOT_H
#define LF_GENERIC_DOT_H

/* How weights are read: as is best from L1; from L2, and from anywhere when nothing is known; from L3, once no
 * pause has emptied the caches. */
typedef enum lf_level { LF_FROM_L1, LF_FROM_L2, LF_FROM_L3 } lf_level;

/*
 * From L3 each line is asked for so many bytes ahead. It is for when what L2 has are lines here and there
 * instead of one half, which others on this core can bring about: the CPU's own prefetchers then do too little,
 * and 256 -> 256 takes 1.3 times as long (benchmarks/NOTES.md, "Lines that L2 keeps here and there"). On the
 * way back through the panels the end of each asks for what was just read; panels are much longer than this.
 */
enum { LF_BYTES_AHEAD = 4096 };

/* Once for each cache line of a row of weights, which begins on one; `at` is a constant. (What it asks for may lie
 * behind all weights, so it is no pointer before it gets there.) */
LF_INLINE void lf_fetch_line(lf_level level, const char *row, size_t at) {
    if (level == LF_FROM_L3 && at % LF_ALIGNMENT == 0)
        __builtin_prefetch((const void *)((uintptr_t)row + at + LF_BYTES_AHEAD), 0, 3);
}

LF_INLINE vf lf_load_weights(lf_weight_type type, const char *p) {
    switch (type) {
    case LF_FLOAT32:
        return vf_load((const float *)(const void *)p);
    case LF_FLOAT16:
        return vf_load_float16((const uint16_t *)(const void *)p);
    case LF_INT8: /* summed in integers: lf_add_products_int8 */
        break;
    }
    return vf_set1(0.0f);
}

/* sum[j] += weights[j] * xk; returns where the weights of the next k are. */
LF_INLINE const char *lf_add_product(lf_weight_type type, size_t rows, lf_level level,
                                     const char *weights, vf xk, vf *sum) {
    const size_t bytes = LF_LANES * lf_weight_bytes(type);
    LF_UNROLL_ALL
    for (size_t j = 0; j < rows; j++) {
        lf_fetch_line(level, weights, j * bytes);
        sum[j] = vf_fma(lf_load_weights(type, weights + j * bytes), xk, sum[j]);
        if (level != LF_FROM_L1)
            LF_HIDE_VALUE(weights); /* keeps the loads in order */
    }
    return weights + rows * bytes;
}

/* sum[j] += weights[k][j] * x[k] for k = 0 .. count - 1 in this order, fused, one chain for each of the rows.
 * x is a row of whole vectors. Returns where the weights end. */
LF_INLINE const char *lf_add_products(lf_weight_type type, size_t rows, lf_level level,
                                      const char *weights, const float *x, size_t count, vf *sum) {
    if (LF_SPREADS_OPERANDS && type == LF_FLOAT32 && level != LF_FROM_L1) {
        /* vf_spread takes it modulo LF_LANES: for the next block it is 0 again */
        vi lane = vi_set1(0);
        for (size_t k = 0; k < count; k += LF_LANES) {
            const vf xs = vf_load(x + k);
            size_t left = count - k < LF_LANES ? count - k : LF_LANES;
            LF_ALIGN_LOOP();
            LF_UNROLL_NONE
            do {
                weights = lf_add_product(type, rows, level, weights, vf_spread(xs, lane), sum);
                lane = vi_add(lane, vi_set1(1));
            } while (--left);
        }
        return weights;
    }
    if (level != LF_FROM_L1)
        LF_ALIGN_LOOP();
    LF_UNROLL_NONE
    for (size_t k = 0; k < count; k++)
        weights = lf_add_product(type, rows, level, weights, vf_set1(x[k]), sum);
    return weights;
}

/* The same in integers, LF_INT8_GROUP values of k at a time: exact, so their order is free. */
LF_INLINE const char *lf_add_products_int8(size_t rows, const char *weights, const lf_quant *x,
                                           size_t count, vi *sum) {
    LF_ALIGN_LOOP();
    LF_UNROLL_NONE
    for (size_t k = 0; k < count; k += LF_INT8_GROUP) {
        const vi xk = vi_broadcast(x + k);
        LF_UNROLL_ALL
        for (size_t j = 0; j < rows; j++) {
            sum[j] = vi_dot(sum[j], weights + j * LF_LANES * LF_INT8_GROUP, xk);
            LF_HIDE_VALUE(weights);
        }
        weights += rows * LF_LANES * LF_INT8_GROUP;
    }
    return weights;
}

#endif
