/*
 * A packed matrix times one row of input: one chain of sums for each row of the matrix. It knows nothing of gates.
 *
 * `type`, `rows` and `level` are constants wherever these are inlined, so that the sums live in registers
 * and each weight type gets a loop of its own.
 *
 * The loads stay in the order of their addresses: a scheduler that shuffles those of one k among
 * themselves (GCC 12 does) halves the bandwidth from L2 on Zen 5, 120 instead of 225 GB/s. Where one instruction makes
 * several of them (LF_LOADS_AT_ONCE), they stay together.
 */
#ifndef LF_GENERIC_MATVEC_H
#define LF_GENERIC_MATVEC_H

/* What this ISA makes of a matrix of that type. */
#define LF_GEOMETRY(type)                                                                          \
    ((lf_geometry){type, LF_LANES, LF_WIDE_PANEL, (type) == LF_INT8 ? LF_INT8_GROUP : 1})

enum { LF_WIDE_VECTORS = LF_NARROW_VECTORS * LF_WIDE_PANEL };

static const _Alignas(64) float lf_zeros[LF_WIDE_VECTORS * LF_LANES];

/* How weights are read: as is best from L1, or from L2 and from anywhere when nothing is known. */
typedef enum lf_level { LF_FROM_L1, LF_FROM_L2 } lf_level;

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
        sum[j] = vf_fma(lf_load_weights(type, weights + j * bytes), xk, sum[j]);
        if (level != LF_FROM_L1 && (j + 1) % LF_LOADS_AT_ONCE == 0)
            LF_HIDE_VALUE(weights); /* keeps the loads in order */
    }
    return weights + rows * bytes;
}

/* sum[j] += weights[k][j] * x[k] for k = 0 .. count - 1 in this order, fused, one chain for each of the rows.
 * Returns where the weights end. */
LF_INLINE const char *lf_add_products(lf_weight_type type, size_t rows, lf_level level,
                                      const char *weights, const float *x, size_t count, vf *sum) {
    if (level != LF_FROM_L1)
        LF_ALIGN_LOOP();
    LF_UNROLL_NONE
    for (const float *const end = x + count; x != end; x++)
        weights = lf_add_product(type, rows, level, weights, vf_broadcast(x), sum);
    return weights;
}

/* The same in integers, LF_INT8_GROUP values of k at a time: exact, so their order is free. */
LF_INLINE const char *lf_add_products_int8(size_t rows, const char *weights, const lf_quant *x,
                                           size_t count, vi *sum) {
    LF_ALIGN_LOOP();
    LF_UNROLL_NONE
    for (const lf_quant *const end = x + count; x < end; x += LF_INT8_GROUP) {
        const lf_group xk = vi_broadcast(x);
        LF_UNROLL_ALL
        for (size_t j = 0; j < rows; j++) {
            sum[j] = vi_dot(sum[j], weights + j * LF_LANES * LF_INT8_GROUP, xk);
            if ((j + 1) % LF_LOADS_AT_ONCE == 0)
                LF_HIDE_VALUE(weights);
        }
        weights += rows * LF_LANES * LF_INT8_GROUP;
    }
    return weights;
}

/* What becomes of the sums of a panel: `sum` or, for int8, `whole`, vectors of rows from p->row on. */
typedef void (*lf_take_sums)(void *context, lf_weight_type type, size_t vectors, const lf_panel *p,
                             const vf *sum, const vi *whole);

/* One panel times an operand, from `start` on. */
LF_INLINE void lf_matvec_panel(lf_weight_type type, size_t vectors, const lf_panel *p,
                               const lf_segment *operand, size_t segments, const void *start,
                               lf_take_sums take, void *context) {
    const char *weights = p->weights;
    vf sum[LF_WIDE_VECTORS];
    vi whole[LF_WIDE_VECTORS];
    LF_UNROLL_ALL
    for (size_t j = 0; j < vectors; j++) {
        sum[j] = vf_load((const float *)start + j * LF_LANES);
        whole[j] = vi_load((const int32_t *)start + j * LF_LANES);
    }
    LF_UNROLL_NONE
    for (size_t n = 0; n < segments; n++) {
        const void *const values = operand[n].values;
        const size_t count = operand[n].count;
        if (type == LF_INT8)
            weights = lf_add_products_int8(vectors, weights, values, count, whole);
        else
            weights = lf_add_products(type, vectors, LF_FROM_L2, weights, values, count, sum);
    }
    take(context, type, vectors, p, sum, whole);
}

LF_INLINE const void *lf_start_of(const lf_panel *p, const char *start, size_t start_stride) {
    return start ? start + p->row * start_stride : (const void *)lf_zeros;
}

/* All panels but a tail. start: what the first row's sums start from, and start_stride bytes further on the next one's,
 * side by side within a panel; or null for zeros. */
LF_INLINE void lf_matvec_whole(lf_weight_type type, const lf_matrix *m, const lf_segment *operand,
                               size_t segments, const char *start, size_t start_stride,
                               lf_take_sums take, void *context) {
    const lf_geometry g = LF_GEOMETRY(type);
    const size_t panels = lf_whole_panels(m, g);
    for (size_t n = 0; n < panels; n++) {
        const lf_panel p = lf_panel_at(m, g, n);
        const void *const from = lf_start_of(&p, start, start_stride);
        if (n < m->wide_panels)
            lf_matvec_panel(type, LF_WIDE_VECTORS, &p, operand, segments, from, take, context);
        else
            lf_matvec_panel(type, LF_NARROW_VECTORS, &p, operand, segments, from, take, context);
    }
}

_Static_assert(LF_NARROW_VECTORS == 4, "tails have one to three vectors");

/* A tail, where there is one: see lf_matvec_whole. */
LF_INLINE void lf_matvec_tail(lf_weight_type type, const lf_matrix *m, const lf_segment *operand,
                              size_t segments, const char *start, size_t start_stride,
                              lf_take_sums take, void *context) {
    const lf_geometry g = LF_GEOMETRY(type);
    const lf_panel p = lf_panel_at(m, g, lf_whole_panels(m, g));
    const void *const from = lf_start_of(&p, start, start_stride);
    switch (p.rows / LF_LANES) {
    case 1:
        lf_matvec_panel(type, 1, &p, operand, segments, from, take, context);
        return;
    case 2:
        lf_matvec_panel(type, 2, &p, operand, segments, from, take, context);
        return;
    case 3:
        lf_matvec_panel(type, 3, &p, operand, segments, from, take, context);
        return;
    }
}

/* A whole matrix: see lf_matvec_whole. */
LF_INLINE void lf_matvec(lf_weight_type type, const lf_matrix *m, const lf_segment *operand,
                         size_t segments, const char *start, size_t start_stride, lf_take_sums take,
                         void *context) {
    lf_matvec_whole(type, m, operand, segments, start, start_stride, take, context);
    lf_matvec_tail(type, m, operand, segments, start, start_stride, take, context);
}

LF_INLINE void lf_store_sums(void *sums, lf_weight_type type, size_t vectors, const lf_panel *p,
                             const vf *sum, const vi *whole) {
    LF_UNROLL_ALL
    for (size_t j = 0; j < vectors; j++) {
        const size_t row = p->row + j * LF_LANES;
        if (type == LF_INT8)
            vi_store((int32_t *)sums + row, whole[j]);
        else
            vf_store((float *)sums + row, sum[j]);
    }
}

#define LF_MATVEC(type, name, bytes, kind)                                                         \
    static void matvec_##name(const lf_matrix *m, const lf_segment *operand, size_t segments,      \
                              const void *start, void *sums) {                                     \
        lf_matvec(type, m, operand, segments, start, sizeof(float), lf_store_sums, sums);          \
    }
LF_EACH_WEIGHT_TYPE(LF_MATVEC)
#undef LF_MATVEC

#endif
