/*
 * The matrix-times-vector core: rows side by side in a panel, one chain of sums per row. It knows
 * nothing of gates, so it can serve any layer whose weights are packed this way.
 *
 * `type` and `rows` are constants wherever these are inlined, so that the sums live in registers
 * and each weight type gets a loop of its own.
 *
 * The loads stay in the order of their addresses: a scheduler that shuffles those of one k among
 * themselves (GCC 12 does) halves the bandwidth from L2 on Zen 5, 120 instead of 225 GB/s.
 */
#ifndef LF_GENERIC_DOT_H
#define LF_GENERIC_DOT_H

LF_INLINE vf lf_load_weights(lf_weight_type type, const char *p) {
    if (type == LF_FLOAT16)
        return vf_load_float16((const uint16_t *)(const void *)p);
    return vf_load((const float *)(const void *)p);
}

/* A part of a row of weights times an operand: sums[j] = start[j] + weights[k][j] * x[k] for
 * k = 0 .. count - 1 in this order, fused. For int8 in integers, from 0, LF_INT8_GROUP values of k at a
 * time: exact, so their order is free. */
typedef struct lf_part {
    const float *start; /* [rows][LF_LANES]; unused for int8 */
    const char *weights;
    const void *x; /* floats, or lf_quant */
    size_t count;
    void *sums; /* [rows][LF_LANES] */
} lf_part;

/* Parts that follow each other in memory go through one loop, in one call: see benchmarks/NOTES.md. */
LF_INLINE void lf_dot_float(lf_weight_type type, size_t rows, const lf_part *part,
                            const lf_part *end) {
    const size_t bytes = LF_LANES * lf_weight_bytes(type);
    for (; part < end; part++) {
        const float *start = part->start, *x = part->x;
        float *sums = part->sums;
        const char *weights = part->weights;
        vf sum[LF_GATES * LF_PANEL_VECTORS];
        LF_UNROLL_ALL
        for (size_t j = 0; j < rows; j++)
            sum[j] = vf_load(start + j * LF_LANES);
        LF_ALIGN_LOOP();
        LF_UNROLL_NONE
        for (size_t k = 0; k < part->count; k++) {
            vf xk = vf_set1(x[k]);
            LF_UNROLL_ALL
            for (size_t j = 0; j < rows; j++) {
                sum[j] = vf_fma(lf_load_weights(type, weights + j * bytes), xk, sum[j]);
                LF_HIDE_VALUE(weights); /* keeps the loads in order */
            }
            weights += rows * bytes;
        }
        LF_UNROLL_ALL
        for (size_t j = 0; j < rows; j++)
            vf_store(sums + j * LF_LANES, sum[j]);
        LF_HIDE_VALUE(part); /* one loop for all parts, not one for each */
    }
}

LF_INLINE void lf_dot_int8(size_t rows, const lf_part *part, const lf_part *end) {
    for (; part < end; part++) {
        const lf_quant *x = part->x;
        int32_t *sums = part->sums;
        const char *weights = part->weights;
        vi sum[LF_GATES * LF_PANEL_VECTORS];
        LF_UNROLL_ALL
        for (size_t j = 0; j < rows; j++)
            sum[j] = vi_set1(0);
        LF_ALIGN_LOOP();
        LF_UNROLL_NONE
        for (size_t k = 0; k < part->count; k += LF_INT8_GROUP) {
            vi xk = vi_broadcast(x + k);
            LF_UNROLL_ALL
            for (size_t j = 0; j < rows; j++) {
                const char *w = weights + j * LF_LANES * LF_INT8_GROUP;
                sum[j] = vi_dot(sum[j], w, xk);
                LF_HIDE_VALUE(weights);
            }
            weights += rows * LF_LANES * LF_INT8_GROUP;
        }
        LF_UNROLL_ALL
        for (size_t j = 0; j < rows; j++)
            vi_store(sums + j * LF_LANES, sum[j]);
        LF_HIDE_VALUE(part);
    }
}

#endif
