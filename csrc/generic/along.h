/*
 * The operations of whole models that go along axes. A row, wherever its elements are, is copied to scratch of whole
 * blocks first: padded so that the sixteen sums of lstm_fast.h, a block at a time, are those of the row alone.
 */
#ifndef LF_GENERIC_ALONG_H
#define LF_GENERIC_ALONG_H

/* A row of `count` values, `padded` of them in whole blocks of LF_NORM_CHAINS. */
typedef struct lf_row {
    float *values;
    size_t count, padded;
} lf_row;

static void lf_pad_row(const lf_row *row, float value) {
    for (size_t j = row->count; j < row->padded; j++)
        row->values[j] = value;
}

static void lf_take_row(const lf_loops *inner, const float *x, float *row) {
    const lf_run run = lf_innermost(inner);
    lf_walk walk = {0};
    do {
        const float *const from = x + walk.at[1];
        if (run.a == 1)
            memcpy(row, from, run.count * sizeof *row);
        for (size_t j = 0; run.a != 1 && j < run.count; j++)
            row[j] = from[(ptrdiff_t)j * run.a];
        row += run.count;
    } while (lf_walk_on(inner, inner->rank - 1, &walk));
}

static void lf_give_row(const lf_loops *inner, float *y, const float *row) {
    const lf_run run = lf_innermost(inner);
    lf_walk walk = {0};
    do {
        lf_spread_part(y + walk.at[0], run.y, run.count, row);
        row += run.count;
    } while (lf_walk_on(inner, inner->rank - 1, &walk));
}

/* ---- what a row comes to ---- */

enum { LF_CHAIN_VECTORS = LF_NORM_CHAINS / LF_LANES };

/* Of the values, or of their squares. The padding is zeros. */
LF_INLINE float lf_row_total(const lf_row *row, int is_of_squares) {
    _Alignas(64) float sums[LF_NORM_CHAINS];
    vf chains[LF_CHAIN_VECTORS];
    for (size_t r = 0; r < LF_CHAIN_VECTORS; r++)
        chains[r] = vf_set1(0.0f);
    for (size_t j = 0; j < row->padded; j += LF_NORM_CHAINS)
        for (size_t r = 0; r < LF_CHAIN_VECTORS; r++) {
            const vf x = vf_load(row->values + j + r * LF_LANES);
            chains[r] = is_of_squares ? vf_fma(x, x, chains[r]) : vf_add(chains[r], x);
        }
    for (size_t r = 0; r < LF_CHAIN_VECTORS; r++)
        vf_store(sums + r * LF_LANES, chains[r]);
    return lf_chain_total(sums);
}

/* No order changes it. The padding is the first value, or nothing beside any. */
LF_INLINE float lf_row_extreme(const lf_row *row, int is_most) {
    _Alignas(64) float lanes[LF_LANES];
    vf most = vf_load(row->values);
    for (size_t j = LF_LANES; j < row->padded; j += LF_LANES) {
        const vf x = vf_load(row->values + j);
        most = is_most ? lf_maximum(most, x) : lf_minimum(most, x);
    }
    vf_store(lanes, most);
    for (size_t j = 0; j < LF_LANES; j++) {
        const vf x = vf_set1(lanes[j]);
        most = is_most ? lf_maximum(most, x) : lf_minimum(most, x);
    }
    vf_store(lanes, most);
    return lanes[0];
}

static float lf_reduced(lf_reduction_kind kind, const lf_row *row) {
    const int is_extreme = kind == LF_MAX || kind == LF_MIN;
    lf_pad_row(row, is_extreme ? row->values[0] : 0.0f);
    switch (kind) {
    case LF_MEAN:
        return lf_row_total(row, 0) / (float)row->count;
    case LF_SUM:
        return lf_row_total(row, 0);
    case LF_MAX:
        return lf_row_extreme(row, 1);
    case LF_MIN:
        return lf_row_extreme(row, 0);
    case LF_L2:
        return sqrtf(lf_row_total(row, 1));
    }
    return NAN;
}

/* ---- what becomes of a row, in place ---- */

static void lf_softmax(const lf_row *row) {
    float *const values = row->values;
    lf_pad_row(row, -INFINITY);
    const vf most = vf_set1(lf_row_extreme(row, 1));
    for (size_t j = 0; j < row->padded; j += LF_LANES)
        vf_store(values + j, lf_exponential(vf_sub(vf_load(values + j), most)));
    const vf total = vf_set1(lf_row_total(row, 0));
    for (size_t j = 0; j < row->padded; j += LF_LANES)
        vf_store(values + j, lf_canonical(vf_div(vf_load(values + j), total)));
}

static void lf_log_softmax(const lf_row *row) {
    float *const values = row->values;
    _Alignas(64) float sums[LF_NORM_CHAINS] = {0};
    lf_pad_row(row, -INFINITY);
    const vf most = vf_set1(lf_row_extreme(row, 1));
    for (size_t j = 0; j < row->padded; j += LF_LANES) {
        const vf shifted = vf_sub(vf_load(values + j), most);
        float *const chains = sums + j % LF_NORM_CHAINS;
        vf_store(values + j, shifted);
        vf_store(chains, vf_add(vf_load(chains), lf_exponential(shifted)));
    }
    const vf log = lf_logarithm(vf_set1(lf_chain_total(sums)));
    for (size_t j = 0; j < row->padded; j += LF_LANES)
        vf_store(values + j, lf_canonical(vf_sub(vf_load(values + j), log)));
}

static void lf_layer_norm(const lf_along *op, const lf_row *row) {
    float *const values = row->values;
    const float count = (float)row->count;
    lf_pad_row(row, 0.0f);
    const vf mean = vf_set1(lf_row_total(row, 0) / count);
    for (size_t j = 0; j < row->padded; j += LF_LANES)
        vf_store(values + j, vf_sub(vf_load(values + j), mean));
    lf_pad_row(row, 0.0f);
    const float variance = lf_row_total(row, 1) / count;
    const vf inverse = vf_set1(1.0f / sqrtf(variance + op->epsilon));
    for (size_t j = 0; j < row->count; j += LF_LANES) {
        vf y = vf_mul(vf_load(values + j), inverse);
        if (op->scale)
            y = vf_mul(y, lf_load_most(op->scale + j, row->count - j));
        if (op->bias)
            y = vf_add(y, lf_load_most(op->bias + j, row->count - j));
        vf_store(values + j, lf_canonical(y));
    }
}

static void lf_along_row(const lf_along *op, const lf_row *row) {
    switch (op->code) {
    case LF_OP_SOFTMAX:
        lf_softmax(row);
        break;
    case LF_OP_LOG_SOFTMAX:
        lf_log_softmax(row);
        break;
    case LF_OP_LAYER_NORM:
        lf_layer_norm(op, row);
        break;
    default: /* no operation that leaves a row */
        break;
    }
}

static float lf_canonical_value(float value) {
    _Alignas(64) float lanes[LF_LANES];
    vf_store(lanes, lf_canonical(vf_set1(value)));
    return lanes[0];
}

static void along(const lf_along *op, float *y, const float *x, float *row) {
    const lf_row all = {row, op->inner_count, lf_round_up(op->inner_count, LF_NORM_CHAINS)};
    lf_walk walk = {0};
    do {
        lf_take_row(&op->inner, x + walk.at[1], row);
        if (op->code == LF_OP_REDUCE) {
            y[walk.at[0]] = lf_canonical_value(lf_reduced(op->kind, &all));
        } else {
            lf_along_row(op, &all);
            lf_give_row(&op->inner, y + walk.at[0], row);
        }
    } while (lf_walk_on(&op->outer, op->outer.rank, &walk));
}

#endif
