/* a to the power of b: in lstm_fast.h are the formulas, what follows C's pow, and the error. */
#ifndef LF_GENERIC_POWER_H
#define LF_GENERIC_POWER_H

/* Of a finite number that is not subnormal. */
LF_INLINE vm lf_equals(vf a, float number) {
    return vf_less(vf_abs(vf_sub(a, vf_set1(number))), vf_set1(0x1p-126f));
}

/* How far it is to the nearest integer; infinities and NaN count as integers. */
LF_INLINE vf lf_fraction(vf a) {
    const vf whole = vf_set1(0x1p23f), magnitude = vf_abs(a);
    const vf nearest = vf_sub(vf_add(magnitude, whole), whole);
    return vf_keep(vf_less(magnitude, whole), vf_abs(vf_sub(nearest, magnitude)));
}

/* high + low = log2(m); m is zero, positive or NaN, and where it is no positive number, high alone is. */
typedef struct lf_log2 {
    vf high, low;
} lf_log2;

LF_INLINE lf_log2 lf_exact_log2(vf m) {
    const vf two = vf_set1(2.0f), twice = vf_set1(0x1.715476p+1f);
    const lf_parts parts = lf_take_apart(m, LF_FROM_ROOT_HALF);
    /* s + s_rest = f / (2 + f), and the logarithm of 1 + f is that of (1 + s) / (1 - s) */
    const vf t = vf_add(two, parts.f), t_rest = vf_sub(parts.f, vf_sub(t, two));
    const vf s = vf_div(parts.f, t), minus_s = vf_mul(s, vf_set1(-1.0f));
    const vf s_rest = vf_div(vf_fma(minus_s, t_rest, vf_fma(minus_s, t, parts.f)), t);
    const vf square = vf_mul(s, s);
    vf q = vf_fma(square, vf_set1(0x1.58b61ep-2f), vf_set1(0x1.a5ceb2p-2f));
    q = vf_fma(square, q, vf_set1(0x1.2776e2p-1f));
    q = vf_fma(square, q, vf_set1(0x1.ec709ep-1f));
    const vf cubic = vf_mul(vf_mul(square, s), q);
    const vf h = vf_mul(s, twice);
    const vf small = vf_fma(s, vf_set1(0x1.4ae0cp-25f), vf_fma(s_rest, twice, cubic));
    const vf h_rest = vf_add(vf_fma(s, twice, vf_mul(h, vf_set1(-1.0f))), small);
    const vf sum = vf_add(parts.n, h);
    const vf rest = vf_add(vf_sub(h, vf_sub(sum, parts.n)), h_rest);
    const vf high = vf_add(sum, rest);
    lf_log2 result = {high, vf_sub(rest, vf_sub(high, sum))};
    result.high = vf_select(vf_less(m, vf_set1(0x1p-126f)), vf_set1(-INFINITY), result.high);
    result.high = vf_select(vf_not_less(m, vf_set1(INFINITY)), m, result.high);
    return result;
}

/* 2^(p + rest) */
LF_INLINE vf lf_exp2(vf p, vf rest) {
    const vf most = vf_set1(128.25f), bias = vf_set1(lf_power_bias); /* rounds to 128 at most */
    const vf low = vf_keep(vf_less(vf_abs(p), vf_set1(150.0f)), rest);
    const vf bounded = vf_max(vf_set1(-150.0f), vf_min(most, p)); /* both keep a NaN */
    const vf shifted = vf_add(bounded, bias);
    const vf r = vf_add(vf_sub(bounded, vf_sub(shifted, bias)), low);
    vf q = vf_fma(r, vf_set1(0x1.417aacp-13f), vf_set1(0x1.5f094ap-10f));
    q = vf_fma(r, q, vf_set1(0x1.3b2dd2p-7f));
    q = vf_fma(r, q, vf_set1(0x1.c6af7ap-5f));
    q = vf_fma(r, q, vf_set1(0x1.ebfbdcp-3f));
    q = vf_fma(r, q, vf_set1(0x1.62e43p-1f));
    return lf_times_power(vf_mul(r, q), shifted);
}

/* The exponents whose powers are a few exact operations. */
static const float lf_exact_exponents[] = {0.0f, 1.0f, 2.0f, 3.0f, 0.5f, -1.0f, -0.5f, -2.0f};
enum { LF_EXACT_EXPONENTS = sizeof lf_exact_exponents / sizeof *lf_exact_exponents };

LF_INLINE vf lf_exact_power(vf a, size_t exponent) {
    const vf one = vf_set1(1.0f), most = vf_set1(0x1.fffffep+127f);
    const vf minus_most = vf_mul(most, vf_set1(-1.0f));
    const vf root =
        vf_sqrt(vf_select(vf_less(a, minus_most), vf_set1(INFINITY), vf_add(a, vf_set1(0.0f))));
    switch (exponent) {
    case 0:
        return one;
    case 1:
        return a;
    case 2:
        return vf_mul(a, a);
    case 3:
        return vf_mul(vf_mul(a, a), a);
    case 4:
        return root;
    case 5:
        return vf_div(one, a);
    case 6:
        return vf_div(one, root);
    case 7:
        return vf_div(one, vf_mul(a, a));
    }
    return vf_set1(NAN);
}

LF_INLINE vf lf_power(vf a, vf b) {
    const vf zero = vf_set1(0.0f), one = vf_set1(1.0f), m = vf_abs(a);
    const lf_log2 log = lf_exact_log2(m);
    const vf p = vf_mul(b, log.high);
    const vf p_rest = vf_fma(b, log.high, vf_mul(p, vf_set1(-1.0f)));
    vf y = lf_exp2(p, vf_fma(b, log.low, p_rest));
    y = vf_select(lf_equals(m, 1.0f), vf_select(vf_is_nan(b), b, one), y);
    const vm is_odd = vf_not_less(lf_fraction(vf_mul(b, vf_set1(0.5f))), vf_set1(0.5f));
    y = vf_select(is_odd, vf_copysign(y, a), y);
    const vf negative = vf_select(vf_less(zero, lf_fraction(b)), vf_set1(NAN), y);
    const vf finite = vf_select(vf_less(a, zero), negative, y);
    y = vf_select(vf_less(m, vf_set1(INFINITY)), finite, y);
    y = vf_select(lf_equals(a, 1.0f), one, y);
    for (size_t j = 0; j < LF_EXACT_EXPONENTS; j++)
        y = vf_select(lf_equals(b, lf_exact_exponents[j]), lf_exact_power(a, j), y);
    return y;
}

#endif
