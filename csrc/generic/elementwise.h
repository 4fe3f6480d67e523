/*
 * The operations of whole models that go element by element. Their formulas stand in lstm_fast.h. Inputs are canonical,
 * and so is what is stored.
 */
#ifndef LF_GENERIC_ELEMENTWISE_H
#define LF_GENERIC_ELEMENTWISE_H

LF_INLINE vf lf_negative(vf x) { return vf_mul(x, vf_set1(-1.0f)); }

/* NaN where one is: the bits of NaN and any others are NaN, too. Of two zeros it is -0 unless both are +0. */
LF_INLINE vf lf_minimum(vf a, vf b) {
    return vf_select(vf_less(a, b), a, vf_select(vf_less(b, a), b, vf_or(a, b)));
}

LF_INLINE vf lf_maximum(vf a, vf b) {
    return lf_negative(lf_minimum(lf_negative(a), lf_negative(b)));
}

LF_INLINE vf lf_clip_between(vf x, vf low, vf high) {
    x = vf_select(vf_less(x, low), low, x); /* a NaN is not less, and stays */
    return vf_select(vf_less(high, x), high, x);
}

LF_INLINE vf lf_gelu(vf x, int is_approximate) {
    const vf half = vf_mul(x, vf_set1(0.5f));
    if (!is_approximate)
        return vf_fma(half, lf_erf(vf_mul(x, vf_set1(0x1.6a09e6p-1f))), half);
    const vf square = vf_fma(x, x, vf_set1(0x1p-100f)); /* never subnormal */
    const vf slope = vf_fma(square, vf_set1(0x1.2444f2p-5f), vf_set1(0x1.988454p-1f));
    return vf_fma(half, lf_tanh(vf_mul(x, slope)), half);
}

/* One of LF_OP_RELU .. LF_OP_CLIP, of lanes that are canonical. Where the code is no constant, a caller has all of them
 * in its loop. */
LF_INLINE vf lf_unary_formula(lf_operation_code code, int is_approximate, vf x, vf alpha, vf beta) {
    const vf zero = vf_set1(0.0f);
    switch (code) {
    case LF_OP_RELU:
        return vf_select(vf_less(x, zero), zero, x);
    case LF_OP_SIGMOID:
        return lf_sigmoid(x);
    case LF_OP_TANH:
        return lf_tanh(x);
    case LF_OP_EXP:
        return lf_exponential(x);
    case LF_OP_LOG:
        return lf_logarithm(x);
    case LF_OP_ABS:
        return vf_abs(x);
    case LF_OP_NEG:
        return lf_negative(x);
    case LF_OP_SQRT:
        return vf_sqrt(x);
    case LF_OP_RECIPROCAL:
        return vf_div(vf_set1(1.0f), x);
    case LF_OP_ERF:
        return lf_erf(x);
    case LF_OP_SOFTPLUS:
        return lf_softplus(x);
    case LF_OP_SOFTSIGN:
        return lf_softsign(x);
    case LF_OP_HARD_SWISH:
        return vf_mul(x, lf_hard_sigmoid(x, vf_set1(0x1.555556p-3f), vf_set1(0.5f)));
    case LF_OP_SQUARE:
        return vf_mul(x, x);
    case LF_OP_HARD_SIGMOID:
        return lf_hard_sigmoid(x, alpha, beta);
    case LF_OP_ELU:
        return lf_elu(x, alpha);
    case LF_OP_LEAKY_RELU:
        return vf_select(vf_less(x, zero), vf_mul(alpha, x), x);
    case LF_OP_GELU:
        return lf_gelu(x, is_approximate);
    case LF_OP_CLIP:
        return lf_clip_between(x, alpha, beta);
    default:
        return vf_set1(NAN); /* no operation of one input */
    }
}

LF_INLINE vf lf_unary_value(lf_operation_code code, int is_approximate, vf x, vf alpha, vf beta) {
    return lf_canonical(lf_unary_formula(code, is_approximate, x, alpha, beta));
}

/* One of LF_OP_ADD .. LF_OP_PRELU, likewise. */
LF_INLINE vf lf_binary_value(lf_operation_code code, vf a, vf b) {
    switch (code) {
    case LF_OP_ADD:
        return lf_canonical(vf_add(a, b));
    case LF_OP_SUB:
        return lf_canonical(vf_sub(a, b));
    case LF_OP_MUL:
        return lf_canonical(vf_mul(a, b));
    case LF_OP_DIV:
        return lf_canonical(vf_div(a, b));
    case LF_OP_MINIMUM:
        return lf_canonical(lf_minimum(a, b));
    case LF_OP_MAXIMUM:
        return lf_canonical(lf_maximum(a, b));
    case LF_OP_POW:
        return lf_canonical(lf_power(a, b));
    case LF_OP_PRELU:
        return lf_canonical(vf_select(vf_less(a, vf_set1(0.0f)), vf_mul(b, a), a));
    default:
        return vf_set1(NAN); /* no operation of two inputs */
    }
}

/* ---- runs of dense floats, of any alignment ---- */

/* As many lanes as there are. */
LF_INLINE vf lf_load_most(const float *p, size_t count) {
    return count < LF_LANES ? vf_load_some(p, count) : vf_load_any(p);
}

LF_INLINE void lf_store_most(float *p, vf a, size_t count) {
    if (count < LF_LANES)
        vf_store_some(p, a, count);
    else
        vf_store_any(p, a);
}

/* y[j] = FORMULA of x = from[j] and, where there is one, of second = other[j]. */
#define LF_EACH_LANE(FORMULA)                                                                      \
    for (size_t j = 0; j < count; j += LF_LANES) {                                                 \
        const vf x = lf_load_most(from + j, count - j);                                            \
        const vf second = lf_load_most(other + j, count - j);                                      \
        (void)second;                                                                              \
        lf_store_most(y + j, FORMULA, count - j);                                                  \
    }

/* The code is a constant in each loop. */
#define LF_UNARY_CASE(CODE)                                                                        \
    case CODE:                                                                                     \
        LF_EACH_LANE(lf_unary_value(CODE, op->is_approximate, x, alpha, beta))                     \
        break
#define LF_BINARY_CASE(CODE)                                                                       \
    case CODE:                                                                                     \
        LF_EACH_LANE(lf_binary_value(CODE, x, second))                                             \
        break

static void lf_unary_run(const lf_elementwise *op, float *y, const float *from, size_t count) {
    const float *const other = from; /* of which nothing is used */
    const vf alpha = vf_set1(op->alpha), beta = vf_set1(op->beta);
    switch (op->code) {
        LF_UNARY_CASE(LF_OP_RELU);
        LF_UNARY_CASE(LF_OP_SIGMOID);
        LF_UNARY_CASE(LF_OP_TANH);
        LF_UNARY_CASE(LF_OP_EXP);
        LF_UNARY_CASE(LF_OP_LOG);
        LF_UNARY_CASE(LF_OP_ABS);
        LF_UNARY_CASE(LF_OP_NEG);
        LF_UNARY_CASE(LF_OP_SQRT);
        LF_UNARY_CASE(LF_OP_RECIPROCAL);
        LF_UNARY_CASE(LF_OP_ERF);
        LF_UNARY_CASE(LF_OP_SOFTPLUS);
        LF_UNARY_CASE(LF_OP_SOFTSIGN);
        LF_UNARY_CASE(LF_OP_HARD_SWISH);
        LF_UNARY_CASE(LF_OP_SQUARE);
        LF_UNARY_CASE(LF_OP_HARD_SIGMOID);
        LF_UNARY_CASE(LF_OP_ELU);
        LF_UNARY_CASE(LF_OP_LEAKY_RELU);
        LF_UNARY_CASE(LF_OP_GELU);
        LF_UNARY_CASE(LF_OP_CLIP);
    default: /* no operation of one input */
        break;
    }
}

static void lf_binary_run(lf_operation_code code, float *y, const float *from, const float *other,
                          size_t count) {
    switch (code) {
        LF_BINARY_CASE(LF_OP_ADD);
        LF_BINARY_CASE(LF_OP_SUB);
        LF_BINARY_CASE(LF_OP_MUL);
        LF_BINARY_CASE(LF_OP_DIV);
        LF_BINARY_CASE(LF_OP_MINIMUM);
        LF_BINARY_CASE(LF_OP_MAXIMUM);
        LF_BINARY_CASE(LF_OP_POW);
        LF_BINARY_CASE(LF_OP_PRELU);
    default: /* no operation of two inputs */
        break;
    }
}

static void lf_exact_power_run(size_t exponent, float *y, const float *from, size_t count) {
    const float *const other = from; /* of which nothing is used */
    LF_EACH_LANE(lf_canonical(lf_exact_power(x, exponent)))
}
#undef LF_UNARY_CASE
#undef LF_BINARY_CASE
#undef LF_EACH_LANE

/* ---- runs of any strides, which pass through dense buffers ---- */

enum { LF_PART = 64 }; /* floats of such a buffer */

/* The address itself where a run is dense, or that of a copy. */
LF_INLINE const float *lf_dense_part(const float *x, ptrdiff_t step, size_t count, float *buffer) {
    if (step == 1)
        return x;
    if (step == 0)
        for (size_t j = 0; j < LF_PART; j += LF_LANES)
            vf_store(buffer + j, vf_set1(*x));
    else
        for (size_t j = 0; j < count; j++)
            buffer[j] = x[(ptrdiff_t)j * step];
    return buffer;
}

LF_INLINE void lf_spread_part(float *y, ptrdiff_t step, size_t count, const float *buffer) {
    for (size_t j = 0; j < count; j++)
        y[(ptrdiff_t)j * step] = buffer[j];
}

LF_INLINE size_t lf_at_most(size_t count, size_t most) { return count < most ? count : most; }

/* The innermost axis of loops. */
typedef struct lf_run {
    size_t count;
    ptrdiff_t y, a, b; /* steps */
} lf_run;

LF_INLINE lf_run lf_innermost(const lf_loops *loops) {
    const uint32_t inner = loops->rank - 1;
    const lf_run run = {loops->sizes[inner], loops->strides[0][inner], loops->strides[1][inner],
                        loops->strides[2][inner]};
    return run;
}

static void lf_unary_steps(const lf_elementwise *op, const lf_run *run, float *y, const float *x) {
    _Alignas(64) float from[LF_PART], to[LF_PART];
    for (size_t first = 0; first < run->count; first += LF_PART) {
        const size_t count = lf_at_most(run->count - first, LF_PART);
        float *const part = y + (ptrdiff_t)first * run->y;
        lf_unary_run(op, run->y == 1 ? part : to,
                     lf_dense_part(x + (ptrdiff_t)first * run->a, run->a, count, from), count);
        if (run->y != 1)
            lf_spread_part(part, run->y, count, to);
    }
}

static void unary(const lf_elementwise *op, float *y, const float *x) {
    const lf_run run = lf_innermost(&op->loops);
    lf_walk walk = {0};
    do {
        if (run.y == 1 && run.a == 1)
            lf_unary_run(op, y + walk.at[0], x + walk.at[1], run.count);
        else
            lf_unary_steps(op, &run, y + walk.at[0], x + walk.at[1]);
    } while (lf_walk_on(&op->loops, op->loops.rank - 1, &walk));
}

/* Which exact power it is throughout; LF_EXACT_EXPONENTS where it is none. */
static size_t lf_exponent_of(const lf_elementwise *op, const lf_run *run, const float *b) {
    size_t exponent = 0;
    if (op->code != LF_OP_POW || run->b != 0)
        return LF_EXACT_EXPONENTS;
    while (exponent < LF_EXACT_EXPONENTS && !(lf_exact_exponents[exponent] == *b))
        exponent++;
    return exponent;
}

static void lf_binary_steps(const lf_elementwise *op, const lf_run *run, float *y, const float *a,
                            const float *b) {
    _Alignas(64) float from[LF_PART], other[LF_PART], to[LF_PART];
    const size_t exponent = lf_exponent_of(op, run, b);
    for (size_t first = 0; first < run->count; first += LF_PART) {
        const size_t count = lf_at_most(run->count - first, LF_PART);
        const ptrdiff_t at = (ptrdiff_t)first;
        float *const part = y + at * run->y, *const result = run->y == 1 ? part : to;
        const float *const x = lf_dense_part(a + at * run->a, run->a, count, from);
        if (exponent < LF_EXACT_EXPONENTS)
            lf_exact_power_run(exponent, result, x, count);
        else
            lf_binary_run(op->code, result, x, lf_dense_part(b + at * run->b, run->b, count, other),
                          count);
        if (run->y != 1)
            lf_spread_part(part, run->y, count, to);
    }
}

static void binary(const lf_elementwise *op, float *y, const float *a, const float *b) {
    const lf_run run = lf_innermost(&op->loops);
    lf_walk walk = {0};
    do {
        float *const to = y + walk.at[0];
        if (run.y == 1 && run.a == 1 && run.b == 1)
            lf_binary_run(op->code, to, a + walk.at[1], b + walk.at[2], run.count);
        else
            lf_binary_steps(op, &run, to, a + walk.at[1], b + walk.at[2]);
    } while (lf_walk_on(&op->loops, op->loops.rank - 1, &walk));
}

#endif
