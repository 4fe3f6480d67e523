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
#endif
