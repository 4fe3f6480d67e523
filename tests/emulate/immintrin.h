/*
 * In place of the compiler's <immintrin.h> in builds with -DLF_EMULATE: every intrinsic as plain C, from
 * SIMDe, so that the code of ISAs which this CPU lacks can be run and compared, slowly. What the
 * compiler makes of the real intrinsics is not tested by this; that the kernels use them rightly is.
 *
 * SIMDe's fma may round twice, and its oldest versions lack a few of AVX-512: those are written here.
 */
#ifndef LF_EMULATE_IMMINTRIN_H
#define LF_EMULATE_IMMINTRIN_H

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <math.h>
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>
#include <string.h>

#define LF_LANEWISE(name, result, operand, lanes, expression)                                      \
    static inline simde__##result lf_emulate_##name(simde__##operand value) {                      \
        simde__##operand##_private a = simde__##operand##_to_private(value);                       \
        simde__##result##_private r;                                                               \
        for (int i = 0; i < (lanes); i++)                                                          \
            expression;                                                                            \
        return simde__##result##_from_private(r);                                                  \
    }
#define LF_FMA(name, type, lanes)                                                                  \
    static inline simde__##type lf_emulate_##name(simde__##type x, simde__##type y,                \
                                                  simde__##type z) {                               \
        simde__##type##_private a = simde__##type##_to_private(x);                                 \
        simde__##type##_private b = simde__##type##_to_private(y);                                 \
        simde__##type##_private c = simde__##type##_to_private(z);                                 \
        for (int i = 0; i < (lanes); i++)                                                          \
            a.f32[i] = fmaf(a.f32[i], b.f32[i], c.f32[i]);                                         \
        return simde__##type##_from_private(a);                                                    \
    }

static inline float lf_emulate_half(uint16_t bits) {
    const float magnitude = ldexpf((float)((bits & 0x3FF) + (bits & 0x7C00 ? 0x400 : 0)),
                                   (bits & 0x7C00 ? (bits >> 10 & 31) : 1) - 25);
    return bits & 0x8000 ? -magnitude : magnitude; /* infinities and NaN are never packed */
}

LF_FMA(fma256, m256, 8)
LF_FMA(fma512, m512, 16)
LF_LANEWISE(to_float, m512, m512i, 16, r.f32[i] = (float)a.i32[i])
LF_LANEWISE(to_int, m512i, m512, 16, r.i32[i] = (int32_t)nearbyintf(a.f32[i]))
LF_LANEWISE(to_int8, m128i, m512i, 16, r.i8[i] = (int8_t)a.i32[i])
LF_LANEWISE(to_int16, m256i, m512i, 16, r.i16[i] = (int16_t)a.i32[i])
LF_LANEWISE(half256, m256, m128i, 8, r.f32[i] = lf_emulate_half(a.u16[i]))
LF_LANEWISE(half512, m512, m256i, 16, r.f32[i] = lf_emulate_half(a.u16[i]))

static inline simde__m512i lf_emulate_shift(simde__m512i value, int count) {
    simde__m512i_private a = simde__m512i_to_private(value);
    for (int i = 0; i < 16; i++)
        a.i32[i] >>= count;
    return simde__m512i_from_private(a);
}

static inline simde__m512i lf_emulate_madd16(simde__m512i x, simde__m512i y) {
    simde__m512i_private a = simde__m512i_to_private(x), b = simde__m512i_to_private(y), r;
    for (int i = 0; i < 16; i++)
        r.i32[i] = a.i16[2 * i] * b.i16[2 * i] + a.i16[2 * i + 1] * b.i16[2 * i + 1];
    return simde__m512i_from_private(r);
}

static inline simde__mmask16 lf_emulate_fpclass(simde__m512 value, int kinds) {
    const simde__m512_private a = simde__m512_to_private(value);
    simde__mmask16 mask = 0;
    for (int i = 0; i < 16; i++) {
        const int kind = fpclassify(a.f32[i]), negative = signbit(a.f32[i]);
        const int bits = kind == FP_NAN         ? 0x81
                         : kind == FP_INFINITE  ? (negative ? 0x10 : 0x08)
                         : kind == FP_SUBNORMAL ? 0x20
                                                : 0;
        mask |= (simde__mmask16)(((bits & kinds) != 0) << i);
    }
    return mask;
}

/* Lanes outside of the mask are not touched in memory. */
static inline simde__m512 lf_emulate_load_some(simde__mmask16 mask, const float *p) {
    simde__m512_private r;
    for (int i = 0; i < 16; i++)
        r.f32[i] = mask >> i & 1 ? p[i] : 0.0f;
    return simde__m512_from_private(r);
}

static inline void lf_emulate_store_some(float *p, simde__mmask16 mask, simde__m512 value) {
    const simde__m512_private a = simde__m512_to_private(value);
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1)
            p[i] = a.f32[i];
}

static inline int32_t lf_emulate_largest(simde__m512i value) {
    const simde__m512i_private a = simde__m512i_to_private(value);
    int32_t largest = a.i32[0];
    for (int i = 1; i < 16; i++)
        largest = a.i32[i] > largest ? a.i32[i] : largest;
    return largest;
}

static inline int32_t lf_emulate_total(simde__m512i value) {
    const simde__m512i_private a = simde__m512i_to_private(value);
    int32_t total = 0;
    for (int i = 0; i < 16; i++)
        total += a.i32[i];
    return total;
}

#undef _mm512_fpclass_ps_mask
#undef _mm512_maskz_loadu_ps
#undef _mm512_mask_storeu_ps
#undef _mm512_reduce_max_epi32
#undef _mm512_reduce_add_epi32
#define _mm512_fpclass_ps_mask lf_emulate_fpclass
#define _mm512_maskz_loadu_ps lf_emulate_load_some
#define _mm512_mask_storeu_ps lf_emulate_store_some
#define _mm512_reduce_max_epi32 lf_emulate_largest
#define _mm512_reduce_add_epi32 lf_emulate_total
#undef _mm256_fmadd_ps
#undef _mm256_cvtph_ps
#undef _mm512_fmadd_ps
#undef _mm512_cvtph_ps
#undef _mm512_cvtepi32_ps
#undef _mm512_cvtps_epi32
#undef _mm512_cvtepi32_epi8
#undef _mm512_cvtepi32_epi16
#undef _mm512_madd_epi16
#undef _mm512_srai_epi32
#undef _mm256_dpbusd_avx_epi32
#define _mm256_fmadd_ps lf_emulate_fma256
#define _mm256_cvtph_ps lf_emulate_half256
#define _mm512_fmadd_ps lf_emulate_fma512
#define _mm512_cvtph_ps lf_emulate_half512
#define _mm512_cvtepi32_ps lf_emulate_to_float
#define _mm512_cvtps_epi32 lf_emulate_to_int
#define _mm512_cvtepi32_epi8 lf_emulate_to_int8
#define _mm512_cvtepi32_epi16 lf_emulate_to_int16
#define _mm512_madd_epi16 lf_emulate_madd16
#define _mm512_srai_epi32 lf_emulate_shift
#define _mm256_dpbusd_avx_epi32 simde_mm256_dpbusd_epi32
#define __mmask16 simde__mmask16

#endif
