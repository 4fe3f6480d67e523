/*
 * Float values to the 8-bit operands of the int8 dot. The formula is part of the contract and written
 * down at LF_INT8 in lstm_fast.h.
 */
#ifndef LF_GENERIC_QUANTISE_H
#define LF_GENERIC_QUANTISE_H

/* The largest magnitude of values, NaN where one of them is not finite. count: whole vectors. */
static float lf_largest(const float *values, size_t count) {
    _Alignas(64) float largest[LF_LANES], spoiled[LF_LANES];
    const vf infinity = vf_set1(INFINITY);
    vf max = vf_set1(0.0f), bad = vf_set1(0.0f);
    for (size_t j = 0; j < count; j += LF_LANES) {
        vf a = vf_abs(vf_load(values + j));
        vm finite = vf_less(a, infinity);
        max = vf_max(a, max); /* a NaN in first place is passed over */
        bad = vf_select(finite, bad, infinity);
    }
    vf_store(largest, max);
    vf_store(spoiled, bad);
    float result = 0.0f;
    for (size_t lane = 0; lane < LF_LANES; lane++) {
        if (spoiled[lane] > 0)
            return NAN;
        if (largest[lane] > result)
            result = largest[lane];
    }
    return result;
}

/* quants[j] = values[j] * factor, rounded to the nearest even and kept within +-127. */
static void lf_quantise(lf_quant *quants, const float *values, size_t count, float factor) {
    const vf lowest = vf_set1(-127.0f), highest = vf_set1(127.0f), f = vf_set1(factor);
    for (size_t j = 0; j < count; j += LF_LANES) {
        vf a = vf_max(vf_mul(vf_load(values + j), f), lowest); /* NaN becomes lowest */
        a = vf_select(vf_less(a, highest), a, highest);
        vi_store_quant(quants + j, vi_from_float(a));
    }
}

/* The same for a frame, or what else has no fixed scale: returns its scale. */
static float lf_quantise_frame(lf_quant *quants, const float *values, size_t count) {
    const float largest = lf_largest(values, count);
    const int silent = largest < 0x1p-100f;
    lf_quantise(quants, values, count, silent ? 0.0f : 127.0f / largest);
    return silent ? 0.0f : largest / 127.0f;
}

#endif
