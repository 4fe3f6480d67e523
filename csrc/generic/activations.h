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
 * Errors over all 2^32 floats, measured by tests/test_activations.py:
 *     sigmoid  at most 2.41 ULP where the result is at least 2^-126; below that (x < -87.33654) it is
 *              +0, in keeping with the contract's treatment of such values
 *     tanh     at most 2.50 ULP
 * sigmoid stays within [0, 1] and tanh within [-1, 1]; +-inf give the limits, NaN gives NaN.
 */
#ifndef LF_GENERIC_ACTIVATIONS_H
#define LF_GENERIC_ACTIVATIONS_H

/* The parts of exp(y): 2^n and exp(r) - 1. */
typedef struct lf_exp {
    vf scale;
    vf fraction;
} lf_exp;

/* y in [-87.34, 0] or NaN. */
LF_INLINE lf_exp lf_exp_parts(vf y) {
    const vf bias = vf_set1(0x1.8000FEp23f); /* 1.5 * 2^23 + 127 */
    vf shifted = vf_fma(y, vf_set1(0x1.715476p+0f), bias);
    vf n = vf_sub(shifted, bias);
    vf r = vf_fma(n, vf_set1(-0x1.62e43p-1f), y); /* ln2 in two parts */
    r = vf_fma(n, vf_set1(0x1.05c61p-29f), r);
    vf q = vf_set1(0x1.6bec04p-10f);
    q = vf_fma(r, q, vf_set1(0x1.122768p-7f));
    q = vf_fma(r, q, vf_set1(0x1.555674p-5f));
    q = vf_fma(r, q, vf_set1(0x1.5554b0p-3f));
    q = vf_fma(r, q, vf_set1(0x1.fffffep-2f));
    /* r + r (r Q) rather than r (1 + r Q): the same two operations, and only one of them rounds at
     * full weight */
    lf_exp parts = {vf_shift_into_exponent(shifted), vf_fma(r, vf_mul(r, q), r)};
    return parts;
}

/* e / (1 + e) for x < 0 and 1 / (1 + e) elsewhere, with e = exp(-|x|): no cancellation in the
 * tails. */
LF_INLINE vf lf_sigmoid(vf x) {
    const vf one = vf_set1(1.0f), zero = vf_set1(0.0f);
    const vf lowest = vf_set1(-0x1.5d589ep6f); /* 126 ln2, rounded towards zero */
    vf y = vf_or(x, vf_set1(-0.0f));
    lf_exp parts = lf_exp_parts(vf_max(lowest, y)); /* max keeps a NaN that comes second */
    vf e = vf_fma(parts.fraction, parts.scale, parts.scale);
    e = vf_select(vf_less(y, lowest), zero, e);
    return vf_div(vf_select(vf_less(x, zero), e, one), vf_add(one, e));
}

/* -m / (2 + m) with m = exp(-2|x|) - 1 in (-1, 0], and the sign of x: relative accuracy at x -> 0.
 */
LF_INLINE vf lf_tanh(vf x) {
    const vf lowest = vf_set1(-20.0f); /* tanh(10) rounds to 1, and so does what is computed here */
    vf y = vf_max(lowest, vf_mul(vf_abs(x), vf_set1(-2.0f)));
    lf_exp parts = lf_exp_parts(y);
    vf m = vf_fma(parts.fraction, parts.scale, vf_sub(parts.scale, vf_set1(1.0f)));
    vf magnitude = vf_div(m, vf_sub(vf_set1(-2.0f), m));
    return vf_or(vf_abs(magnitude), vf_sign(x));
}

/* The canonical form of a state value or an input: see lstm_fast.h. */
LF_INLINE vf lf_canonical(vf a) {
    vf flushed = vf_select(vf_less(vf_abs(a), vf_set1(0x1p-126f)), vf_sign(a), a);
    return vf_select(vf_is_nan(a), vf_set1(NAN), flushed);
}

#endif
