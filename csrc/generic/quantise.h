/*
 * Float values to the 8-bit operands of the int8 dot. The formula is part of the contract and written
 * down at LF_INT8 in lstm_fast.h.
 */
#ifndef LF_GENERIC_QUANTISE_H
#define LF_GENERIC_QUANTISE_H

/* Whether some value is not finite. count: whole vectors, here and below. */
static int lf_any_spoiled(const float *values, size_t count) {
    int spoiled = 0;
    for (size_t j = 0; j < count; j += LF_LANES)
        spoiled |= vf_any_spoiled(vf_load(values + j));
    return spoiled;
}

/* quants[j] = values[j] * factor, rounded to the nearest even and kept within +-127. */
static void lf_quantise(lf_quant *quants, const float *values, size_t count, float factor) {
    const vf lowest = vf_set1(-127.0f), highest = vf_set1(127.0f), f = vf_set1(factor);
    for (size_t j = 0; j < count; j += LF_LANES) {
        vf a = vf_max(vf_mul(vf_load(values + j), f), lowest); /* NaN becomes lowest */
        vi_store_quant(quants + j, vi_from_float(vf_min(a, highest)));
    }
}

/* The same for a frame, or what else has no fixed scale: returns its scale, NaN where a value is not
 * finite. */
static float lf_quantise_frame(lf_quant *quants, const float *values, size_t count) {
    vf each = vf_set1(0.0f);
    for (size_t j = 0; j < count; j += LF_LANES)
        each = vf_max(vf_abs(vf_load(values + j)), each); /* a NaN in first place is passed over */
    const float largest = vf_largest(each);
    const int silent = largest < 0x1p-100f;
    lf_quantise(quants, values, count, silent ? 0.0f : 127.0f / largest);
    if (lf_any_spoiled(values, count))
        return NAN;
    return silent ? 0.0f : largest / 127.0f;
}

#endif
