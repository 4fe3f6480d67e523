/*
 * sigmoid and tanh, from fma, compare, integer exponent arithmetic and true division only, so that
 * every ISA gives the same bits. Coefficients, tables and the errors of both polynomials come from
 * benchmarks/fit_activations.py.
 *
 * Both take an argument apart, into a whole number n of steps and a rest r: exp of the steps is looked
 * up or moved into an exponent, exp of the rest is a polynomial. n is rounded by adding a number so
 * large that its unit in the last place is 1; that number also carries the exponent bias, so that the
 * low bits of the sum become the power as a float.
 *
 *     sigmoid   x = n ln2/8 + r:   u / (u + exp(-r)),    u = 2^(n/8)
 *               No cancellation on either side, so no absolute value. Steps this small leave a
 *               polynomial of degree 3, whose error is 0.43 x 2^-24.
 *     tanh      -|x| = n ln2/2 + r:   (p + (1/2 - u)) / (p + (1/2 + u)),    u = 2^-n / 2,
 *               p = (exp(2 r) - 1) / 2,  and the sign of x. For x -> 0, where n is 0, that is p / (p + 1),
 *               and p has an error of 0.28 x 2^-24 of itself. (The halves save the sum r + r.)
 *
 * In a small layer a step is one chain of dependent operations, so what counts is how long these are
 * from x to result: polynomials in pairs (Estrin) instead of nested, r^2 from an r without the low part of
 * n ln2, powers beside the polynomial. That is 35 and 46 cycles of Zen 5. In a batch it is how many they
 * are, above all of those that fma units do (a division is two of them there): hence u in numerator and
 * denominator, where it is added, rather than exp(x), into which it would be multiplied twice.
 *
 * Errors over all 2^32 floats, measured by tests/test_activations.py:
 *     sigmoid  at most 2.70 ULP where the result is at least 2^-126; below that (x < -87.33654) it is
 *              +0, in keeping with the contract's treatment of such values
 *     tanh     at most 1.97 ULP
 * sigmoid stays within [0, 1] and tanh within [-1, 1]; +-inf give the limits, NaN gives NaN.
 */
#ifndef LF_GENERIC_ACTIVATIONS_H
#define LF_GENERIC_ACTIVATIONS_H

/*
 * What they calculate with. With registers for all of it (LF_KEEPS_CONSTANTS) these are literals to the
 * compiler; otherwise it would make 32-byte copies of them, a dozen cache lines that the weights push
 * out of L1 again and again, so there it reads them from here.
 */
typedef struct lf_constants {
    float one, half, minus_zero;
    float sigmoid_most, sigmoid_least, sigmoid_bias, eighths_per_unit, eighth, eighth_rest, tiny;
    float sigmoid_q0, sigmoid_q1;
    float tanh_least, tanh_bias, halves_per_unit, half_step, square_least;
    float tanh_q0, tanh_q1, tanh_q2, tanh_q3, tanh_q4;
} lf_constants;

static const _Alignas(64) lf_constants lf_numbers = {
    .one = 1.0f,
    .half = 0.5f,
    .minus_zero = -0.0f,
    .sigmoid_most = 64.0f,              /* from 18 on it is 1 */
    .sigmoid_least = -0x1.5d589ep6f,    /* 126 ln2, rounded towards zero */
    .sigmoid_bias = 0x1.8007Fp23f,      /* 1.5 * 2^23 + 8 * 127 */
    .eighths_per_unit = 0x1.715476p+3f, /* 8 / ln2 */
    .eighth = -0x1.62e43p-4f,           /* -ln2 / 8 in two parts */
    .eighth_rest = 0x1.05c61p-32f,
    .tiny = 0x1p-100f,
    .sigmoid_q0 = -0x1.000876p-1f,
    .sigmoid_q1 = 0x1.5556f8p-3f,
    .tanh_least = -10.0f,               /* of which it rounds to -1 */
    .tanh_bias = 0x1.8000FCp23f,        /* 1.5 * 2^23 + 126 */
    .halves_per_unit = -0x1.715476p+1f, /* -2 / ln2 */
    .half_step = -0x1.62e43p-2f,        /* -ln2 / 2 */
    .square_least = -0x1p-60f,
    .tanh_q0 = 0x1.fffffep-1f,
    .tanh_q1 = 0x1.5554b0p-1f,
    .tanh_q2 = 0x1.555674p-2f,
    .tanh_q3 = 0x1.122768p-3f,
    .tanh_q4 = 0x1.6bec04p-5f,
};

LF_INLINE const lf_constants *lf_constants_here(void) {
    const lf_constants *k = &lf_numbers;
    if (!LF_KEEPS_CONSTANTS)
        __asm__("" : "+r"(k));
    return k;
}

LF_INLINE vf lf_sigmoid(vf x) {
    const lf_constants *k = lf_constants_here();
    vf y = vf_min(vf_set1(k->sigmoid_most), x); /* min keeps a NaN */
    vf shifted = vf_fma(y, vf_set1(k->eighths_per_unit), vf_set1(k->sigmoid_bias));
    vf n = vf_sub(shifted, vf_set1(k->sigmoid_bias));
    vf high = vf_fma(n, vf_set1(k->eighth), y);
    vf r = vf_fma(n, vf_set1(k->eighth_rest), high);
    /* beside 1 that is nothing, and no square is subnormal, which is slow on many CPUs */
    vf square = vf_fma(high, high, vf_set1(k->tiny));
    vf p = vf_fma(square, vf_fma(high, vf_set1(k->sigmoid_q1), vf_set1(k->sigmoid_q0)), r);
    vm counts = vf_not_less(x, vf_set1(k->sigmoid_least));
    vf u = vf_eighths_where(counts, shifted);
    vf whole = vf_sub(vf_add(u, vf_set1(k->one)), p); /* p is 1 - exp(-r) */
    return vf_div_where(counts, u, whole, vf_set1(0.0f));
}

/* exp(2 t) as (p + 1/2) / u, with p = (exp(2 r) - 1) / 2 and u = 2^-n / 2. */
typedef struct lf_exp {
    vf p;
    vf u;
} lf_exp;

/* Of t <= 0 or NaN. Below -43 the parts are no numbers of use. */
LF_INLINE lf_exp lf_exp_parts(vf t) {
    const lf_constants *k = lf_constants_here();
    vf shifted = vf_fma(t, vf_set1(k->halves_per_unit), vf_set1(k->tanh_bias));
    vf n = vf_sub(vf_set1(k->tanh_bias), shifted);
    vf r = vf_fma(n, vf_set1(k->half_step), t);
    /* r^2 is nothing beside r where it would be subnormal; NaN stays */
    vf square = vf_square_where(vf_not_less(vf_set1(k->square_least), t), r);
    vf q01 = vf_fma(r, vf_set1(k->tanh_q1), vf_set1(k->tanh_q0));
    vf q23 = vf_fma(r, vf_set1(k->tanh_q3), vf_set1(k->tanh_q2));
    vf q = vf_fma(square, vf_fma(square, vf_set1(k->tanh_q4), q23), q01);
    lf_exp parts = {vf_fma(square, q, r), vf_shift_into_exponent(shifted)};
    return parts;
}

LF_INLINE vf lf_tanh(vf x) {
    const lf_constants *k = lf_constants_here();
    vf t = vf_or(x, vf_set1(k->minus_zero));
    lf_exp parts = lf_exp_parts(t);
    vf less = vf_add(parts.p, vf_sub(vf_set1(k->half), parts.u));
    vf whole = vf_add(parts.p, vf_add(vf_set1(k->half), parts.u));
    vm counts = vf_not_less(t, vf_set1(k->tanh_least));
    vf magnitude = vf_div_where(counts, less, whole, vf_set1(k->one));
    return vf_copysign(magnitude, x);
}

/* The canonical form of a state value or an input: see lstm_fast.h. */
LF_INLINE vf lf_canonical(vf a) {
    vf flushed = vf_select(vf_less(vf_abs(a), vf_set1(0x1p-126f)), vf_sign(a), a);
    return vf_select(vf_is_nan(a), vf_set1(NAN), flushed);
}

/* In place; count is a multiple of LF_LANES. */
static void canonicalise_f32(float *values, size_t count) {
    for (size_t j = 0; j < count; j += LF_LANES)
        vf_store(values + j, lf_canonical(vf_load(values + j)));
}

#endif
