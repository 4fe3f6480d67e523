/*
 * Float values to the 8-bit operands of the int8 dot. The formula is part of the contract and written
 * down at LF_INT8 in lstm_fast.h.
 */
#ifndef LF_GENERIC_QUANTISE_H
#define LF_GENERIC_QUANTISE_H

/* What is 0 at first is NaN once a value was not finite. */
LF_INLINE vf lf_mark_nonfinite(vf mark, vf value) { return vf_fma(value, vf_set1(0.0f), mark); }

/* Whether some value is not finite. count: whole vectors, here and below. */
static int lf_any_nonfinite(const float *values, size_t count) {
    vf mark = vf_set1(0.0f);
    for (size_t j = 0; j < count; j += LF_LANES)
        mark = lf_mark_nonfinite(mark, vf_load(values + j));
    return vf_any_nonfinite(mark);
}

/* quants[j] = values[j] * factor, rounded to the nearest even and kept within +-127. Returns the correction,
 * see lf_operand. */
LF_INLINE int32_t lf_quantise(lf_quant *quants, const float *values, size_t count, float factor,
                              vf *mark) {
    const vf lowest = vf_set1(-127.0f), highest = vf_set1(127.0f), f = vf_set1(factor);
    vi total = vi_set1(0);
    for (size_t j = 0; j < count; j += LF_LANES) {
        const vf value = vf_load(values + j);
        const vf a = vf_max(vf_mul(value, f), lowest); /* NaN becomes lowest */
        const vi quant = vi_from_float(vf_min(a, highest));
        vi_store_quant(quants + j, quant);
        total = vi_add(total, quant);
        if (mark)
            *mark = lf_mark_nonfinite(*mark, value);
    }
    return LF_INT8_OFFSET ? -LF_INT8_OFFSET * vi_total(total) : 0;
}

/* Of values in [-1, 1], which have a fixed scale. */
static lf_operand lf_quantise_bounded(lf_quant *quants, const float *values, size_t count) {
    vf mark = vf_set1(0.0f);
    lf_operand operand = {1.0f / 127.0f, 0};
    operand.correction = lf_quantise(quants, values, count, 127.0f, &mark);
    if (vf_any_nonfinite(mark))
        operand.scale = NAN;
    return operand;
}

/* Of a frame, or what else has no fixed scale. magnitude: the bits of the largest. */
static lf_operand lf_quantise_scaled(lf_quant *quants, const float *values, size_t count,
                                     int32_t magnitude) {
    const int32_t infinity = 0x7F800000;
    float largest;
    memcpy(&largest, &magnitude, sizeof largest);
    const int silent = largest < 0x1p-100f;
    lf_operand operand = {silent ? 0.0f : largest / 127.0f, 0};
    operand.correction = lf_quantise(quants, values, count, silent ? 0.0f : 127.0f / largest, NULL);
    if (magnitude >= infinity)
        operand.scale = NAN;
    return operand;
}

/* The same, with a look for it. */
static lf_operand lf_quantise_frame(lf_quant *quants, const float *values, size_t count) {
    vi each = vi_set1(0);
    for (size_t j = 0; j < count; j += LF_LANES)
        each = vi_max(each, vi_magnitude(vf_load(values + j)));
    return lf_quantise_scaled(quants, values, count, vi_largest(each));
}

/* int8: sums without what the offset of the weights has added. */
LF_INLINE vi lf_corrected(vi sums, lf_operand operand) {
    return LF_INT8_OFFSET ? vi_add(sums, vi_set1(operand.correction)) : sums;
}

#endif
