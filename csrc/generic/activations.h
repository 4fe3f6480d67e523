/*
 * sigmoid and tanh, from fma, compare, integer exponent arithmetic and true division only, so that
 * every ISA gives the same bits.
 *
 * Both start from exp(y) for y <= 0, by y = n ln2 + r with |r| <= ln2 / 2:
 *
 *     exp(y) = 2^n (1 + (exp(r) - 1)),   exp(r) - 1 = r + r^2 Q(r)
 *
 * Q has degree 4 and leaves a relative error of 0.28 x 2^-24 in exp(r) - 1; coefficients and figure
 * come from benchmarks/fit_activations.py. n is rounded by adding a number so large that its unit
 * in the last place is 1; that number also carries the exponent bias, so that the low bits of the
 * sum, shifted up, are 2^n as a float.
 *
 * In a small layer a step is one chain of dependent operations, so what counts is how long these are
 * from x to result: the polynomial in pairs (Estrin) instead of nested, r^2 Q(r) from an r without
 * the low part of n ln2, numerator and denominator side by side. That is 45 and 46 cycles of Zen 5. In a
 * batch it is how many they are, above all of those that fma units do (a division is two of them there).
 *
 * Errors over all 2^32 floats, measured by tests/test_activations.py:
 *     sigmoid  at most 2.41 ULP where the result is at least 2^-126; below that (x < -87.33654) it is
 *              +0, in keeping with the contract's treatment of such values
 *     tanh     at most 1.97 ULP
 * sigmoid stays within [0, 1] and tanh within [-1, 1]; +-inf give the limits, NaN gives NaN.
 */
#ifndef LF_GENERIC_ACTIVATIONS_H
#define LF_GENERIC_ACTIVATIONS_H

/* The parts of exp(y): 2^n, to be shifted into an exponent, and exp(r) - 1. */
typedef struct lf_exp {
    vf shifted;
    vf fraction;
} lf_exp;

/* Of y = t or, where it is twice, t + t, in [-87.68, 0] or NaN; n does not have to wait for that sum. Below
 * that the parts are no numbers of use. */
LF_INLINE lf_exp lf_exp_parts(vf t, int twice) {
    const vf bias = vf_set1(0x1.8000FEp23f); /* 1.5 * 2^23 + 127 */
    const float factor = twice ? 2.0f : 1.0f;
    vf y = twice ? vf_add(t, t) : t;
    vf shifted = vf_fma(t, vf_set1(factor * 0x1.715476p+0f), bias);
    vf n = vf_sub(shifted, bias);
    vf high = vf_fma(n, vf_set1(-0x1.62e43p-1f), y); /* ln2 in two parts */
    vf r = vf_fma(n, vf_set1(0x1.05c61p-29f), high);
    /* r^2 is nothing beside r where it would be subnormal, which is slow on many CPUs; NaN stays */
    vf square = vf_square_where(vf_not_less(vf_set1(-0x1p-60f), t), high);
    vf q01 = vf_fma(high, vf_set1(0x1.5554b0p-3f), vf_set1(0x1.fffffep-2f));
    vf q23 = vf_fma(high, vf_set1(0x1.122768p-7f), vf_set1(0x1.555674p-5f));
    vf q = vf_fma(square, vf_fma(square, vf_set1(0x1.6bec04p-10f), q23), q01);
    lf_exp parts = {shifted, vf_fma(square, q, r)};
    return parts;
}

/* e / (1 + e) for x < 0 and 1 / (1 + e) elsewhere, with e = exp(-|x|): no cancellation in the
 * tails. */
LF_INLINE vf lf_sigmoid(vf x) {
    const vf one = vf_set1(1.0f), zero = vf_set1(0.0f);
    vf y = vf_or(x, vf_set1(-0.0f));
    lf_exp parts = lf_exp_parts(y, 0);
    vm counts = vf_not_less(y, vf_set1(-0x1.5d589ep6f)); /* 126 ln2, rounded towards zero */
    vf scale = vf_exponent_where(counts, parts.shifted);
    vf fraction = vf_keep(counts, parts.fraction);
    vf e = vf_fma(fraction, scale, scale);
    vf whole = vf_fma(fraction, scale, vf_add(one, scale));
    return vf_div(vf_select(vf_less(x, zero), e, one), whole);
}

/* (1 - e) / (1 + e) with e = exp(-2|x|), as a difference that is exact in the limit x -> 0, and the sign
 * of x. */
LF_INLINE vf lf_tanh(vf x) {
    const vf one = vf_set1(1.0f);
    vf t = vf_or(x, vf_set1(-0.0f));
    lf_exp parts = lf_exp_parts(t, 1);
    vf scale = vf_shift_into_exponent(parts.shifted);
    vf less = vf_fma(parts.fraction, scale, vf_sub(scale, one));
    vf whole = vf_fma(parts.fraction, scale, vf_add(scale, one));
    /* tanh(10) rounds to 1; from some way below the parts are no numbers of use */
    vf magnitude = vf_div_where(vf_not_less(t, vf_set1(-10.0f)), less, whole, one);
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
