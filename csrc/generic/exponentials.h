/*
 * exp, log, erf and pow, in the same few operations as sigmoid and tanh, so that every ISA gives the same bits. The
 * formulas, and their errors, are in lstm_fast.h; the coefficients come from benchmarks/fit_exponentials.py. Arguments
 * are canonical; results may have to be made so.
 */
#ifndef LF_GENERIC_EXPONENTIALS_H
#define LF_GENERIC_EXPONENTIALS_H

static const float lf_power_bias =
    0x1.8000FEp23f; /* 1.5 * 2^23 + 127: rounds, and is an exponent */

/* (1 + w) 2^n, shifted being n + lf_power_bias. Zero below n = -126; n is 128 at most. */
LF_INLINE vf lf_times_power(vf w, vf shifted) {
    const vf bias = vf_set1(lf_power_bias), most = vf_set1(127.0f);
    const vf n = vf_sub(shifted, bias);
    const vf u = vf_shift_into_exponent(vf_min(vf_add(bias, most), shifted));
    vf y = vf_fma(w, u, u);
    y = vf_select(vf_less(most, n), vf_add(y, y), y); /* 2^128 is no float, but y may be one */
    return vf_keep(vf_not_less(n, vf_set1(-126.0f)), y);
}

LF_INLINE vf lf_exponential(vf x) {
    const vf bias = vf_set1(lf_power_bias);
    const vf bounded = vf_min(vf_set1(89.0f), x); /* min keeps a NaN */
    const vf shifted = vf_fma(bounded, vf_set1(0x1.715476p+0f), bias);
    const vf n = vf_sub(shifted, bias);
    vf r = vf_fma(n, vf_set1(-0x1.62e43p-1f), bounded);
    r = vf_fma(n, vf_set1(0x1.05c61p-29f), r);
    const vf square = vf_fma(r, r, vf_set1(0x1p-100f)); /* nothing beside 1, and never subnormal */
    const vf q01 = vf_fma(r, vf_set1(0x1.555492p-3f), vf_set1(0x1.fffffcp-2f));
    const vf q23 = vf_fma(r, vf_set1(0x1.12397cp-7f), vf_set1(0x1.5558acp-5f));
    const vf q = vf_fma(square, vf_fma(square, vf_set1(0x1.6a5198p-10f), q23), q01);
    return lf_times_power(vf_fma(square, q, r), shifted);
}

/* A positive normal number as 2^n (1 + f), where 1 + f is at least a number below 1 and less than twice that. */
typedef struct lf_parts {
    vf n, f;
} lf_parts;

enum { LF_FROM_THREE_QUARTERS = 0x3F400000, LF_FROM_ROOT_HALF = 0x3F3504F3 }; /* that one's bits */

LF_INLINE lf_parts lf_take_apart(vf x, int32_t from) {
    const vi n = vi_shift_from_exponent(vi_sub(vi_bits(x), vi_set1(from)));
    const vi m = vi_sub(vi_bits(x), vi_bits(vf_shift_into_exponent(vf_of_bits(n))));
    const lf_parts parts = {vf_from_int(n), vf_sub(vf_of_bits(m), vf_set1(1.0f))};
    return parts;
}

/* log(2^n (1 + f)), -1/4 <= f < 1/2 */
LF_INLINE vf lf_log_of_parts(vf n, vf f) {
    /* f^2 is nothing beside f where f^4 would be subnormal */
    const vf square = vf_square_where(vf_not_less(vf_abs(f), vf_set1(0x1p-30f)), f);
    const vf fourth = vf_mul(square, square);
    const vf q01 = vf_fma(f, vf_set1(0x1.5555a4p-2f), vf_set1(-0.5f));
    const vf q23 = vf_fma(f, vf_set1(0x1.99697ap-3f), vf_set1(-0x1.000046p-2f));
    const vf q45 = vf_fma(f, vf_set1(0x1.2883bep-3f), vf_set1(-0x1.54ee28p-3f));
    const vf q67 = vf_fma(f, vf_set1(0x1.acd728p-4f), vf_set1(-0x1.0d9942p-3f));
    const vf upper = vf_fma(square, q67, q45), lower = vf_fma(square, q23, q01);
    const vf q = vf_fma(fourth, vf_fma(fourth, vf_set1(-0x1.71a206p-5f), upper), lower);
    const vf rest = vf_fma(square, q, vf_mul(n, vf_set1(0x1.7f7d1cp-20f)));
    return vf_add(vf_fma(n, vf_set1(0x1.62e4p-1f), f), rest);
}

LF_INLINE vf lf_logarithm(vf x) {
    const lf_parts parts = lf_take_apart(x, LF_FROM_THREE_QUARTERS);
    vf y = lf_log_of_parts(parts.n, parts.f);
    const vf below = vf_select(vf_less(x, vf_set1(0.0f)), vf_set1(NAN), vf_set1(-INFINITY));
    y = vf_select(vf_less(x, vf_set1(0x1p-126f)), below, y);
    return vf_select(vf_not_less(x, vf_set1(INFINITY)), x, y);
}

/* max(x, 0) + log(1 + exp(-|x|)); from 1/2 on the logarithm is that of half its argument, and log(2). */
LF_INLINE vf lf_softplus(vf x) {
    const vf zero = vf_set1(0.0f), half = vf_set1(0.5f), one = vf_set1(1.0f);
    const vf e = lf_exponential(vf_mul(vf_abs(x), vf_set1(-1.0f)));
    const vm is_small = vf_less(e, half);
    const vf f = vf_select(is_small, e, vf_mul(half, vf_sub(e, one)));
    const vf log = lf_log_of_parts(vf_select(is_small, zero, one), f);
    return vf_add(vf_select(vf_less(x, zero), zero, x), log);
}

LF_INLINE vf lf_erf(vf x) {
    const vf one = vf_set1(1.0f), a = vf_abs(x);
    const vf s = vf_fma(x, x, vf_set1(0x1p-100f)); /* never subnormal */
    vf p = vf_set1(0x1.4771fcp-14f);
    p = vf_fma(s, p, vf_set1(-0x1.a3515ep-11f));
    p = vf_fma(s, p, vf_set1(0x1.53f224p-8f));
    p = vf_fma(s, p, vf_set1(-0x1.b7f71ap-6f));
    p = vf_fma(s, p, vf_set1(0x1.ce2ce6p-4f));
    p = vf_fma(s, p, vf_set1(-0x1.81273ep-2f));
    p = vf_fma(s, p, vf_set1(0x1.06eba8p-3f));
    const vf near = vf_fma(x, p, x);
    const vf bounded = vf_min(vf_set1(4.0f), a); /* where it rounds to 1 */
    vf t = vf_set1(-0x1.86debep-13f);
    t = vf_fma(bounded, t, vf_set1(0x1.825bcap-9f));
    t = vf_fma(bounded, t, vf_set1(-0x1.65cbdcp-6f));
    t = vf_fma(bounded, t, vf_set1(0x1.a65372p-4f));
    t = vf_fma(bounded, t, vf_set1(0x1.46bae6p-1f));
    t = vf_fma(bounded, t, vf_set1(0x1.2088ecp+0f));
    t = vf_fma(bounded, t, vf_set1(0x1.661a16p-12f)); /* -log(1 - erf(a)) */
    const vf far = vf_sub(one, lf_exponential(vf_mul(t, vf_set1(-1.0f))));
    return vf_select(vf_less(a, one), near, vf_copysign(far, x));
}

#endif
