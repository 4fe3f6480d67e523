/* The vector vocabulary in AVX2 and FMA: eight lanes. Their meaning: vec_scalar.h, in C. */
#define LF_LANES 8
#define LF_WIDE_PANEL 2 /* so many narrow panels */
#define LF_HAS_NARROW_PANELS 0
#define LF_KEEPS_CONSTANTS 0 /* no registers for those of sigmoid and tanh */
#define LF_LOADS_AT_ONCE 1
#define LF_TILE_ROWS 3 /* times four gates, and an operand each, fit the registers */
#define LF_TILE_QUICKEST 3
#define LF_EACH_TILE LF_UP_TO_3

typedef __m256 vf;
typedef __m256 vm; /* a mask: all bits of a lane, or none */

static inline vf vf_load(const float *p) { return _mm256_load_ps(p); }
static inline vf vf_load_any(const float *p) { return _mm256_loadu_ps(p); }
static inline void vf_store_any(float *p, vf a) { _mm256_storeu_ps(p, a); }
static inline __m256i lf_first(size_t count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline vf vf_load_some(const float *p, size_t count) {
    return _mm256_maskload_ps(p, lf_first(count));
}
static inline void vf_store_some(float *p, vf a, size_t count) {
    _mm256_maskstore_ps(p, lf_first(count), a);
}
static inline void vf_store(float *p, vf a) { _mm256_store_ps(p, a); }
static inline vf vf_set1(float a) { return _mm256_set1_ps(a); }
static inline vf vf_broadcast(const float *p) { return vf_set1(*p); }
static inline vf vf_add(vf a, vf b) { return _mm256_add_ps(a, b); }
static inline vf vf_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
static inline vf vf_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
static inline vf vf_div(vf a, vf b) { return _mm256_div_ps(a, b); }
static inline vf vf_sqrt(vf a) { return _mm256_sqrt_ps(a); }
static inline vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
static inline vf vf_max(vf a, vf b) { return _mm256_max_ps(a, b); }
static inline vf vf_min(vf a, vf b) { return _mm256_min_ps(a, b); }
static inline vf vf_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
static inline vf vf_sign(vf a) { return _mm256_and_ps(_mm256_set1_ps(-0.0f), a); }
static inline vf vf_or(vf a, vf b) { return _mm256_or_ps(a, b); }
static inline vf vf_copysign(vf magnitude, vf sign) {
    return _mm256_or_ps(vf_abs(magnitude), vf_sign(sign));
}
static inline vf vf_shift_into_exponent(vf a) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(a), 23));
}
static inline vm vf_less(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
static inline vm vf_not_less(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_NLT_UQ); }
static inline vf vf_keep(vm mask, vf a) { return _mm256_and_ps(mask, a); }
static inline vm vf_is_nan(vf a) { return _mm256_cmp_ps(a, a, _CMP_UNORD_Q); }
static inline int vf_any_noncanonical(vf a) {
    const vf zero = _mm256_setzero_ps();
    vf subnormal = _mm256_and_ps(_mm256_cmp_ps(vf_abs(a), _mm256_set1_ps(0x1p-126f), _CMP_LT_OQ),
                                 _mm256_cmp_ps(a, zero, _CMP_NEQ_OQ));
    return _mm256_movemask_ps(_mm256_or_ps(subnormal, vf_is_nan(a)));
}
static inline int vf_any_nonfinite(vf a) {
    return _mm256_movemask_ps(_mm256_cmp_ps(vf_abs(a), _mm256_set1_ps(INFINITY), _CMP_NLT_UQ));
}
static inline vf vf_select(vm mask, vf yes, vf no) { return _mm256_blendv_ps(no, yes, mask); }
static inline vf vf_div_where(vm mask, vf a, vf b, vf other) {
    return vf_select(mask, vf_div(a, b), other);
}
static inline vf vf_square_where(vm mask, vf a) {
    vf some = vf_keep(mask, a);
    return vf_mul(some, some);
}
static inline vf vf_eighths_where(vm mask, vf a) {
    const __m256i table = _mm256_load_si256((const void *)lf_eighths);
    const __m256i bits = _mm256_castps_si256(a); /* of which a look-up heeds the low three */
    return vf_keep(mask,
                   _mm256_castsi256_ps(_mm256_add_epi32(_mm256_slli_epi32(bits, 20),
                                                        _mm256_permutevar8x32_epi32(table, bits))));
}

typedef __m256i vi;

static inline vi vi_load(const int32_t *p) {
    return _mm256_load_si256((const __m256i *)(const void *)p);
}
static inline void vi_store(int32_t *p, vi a) { _mm256_store_si256((__m256i *)(void *)p, a); }
static inline vi vi_set1(int32_t a) { return _mm256_set1_epi32(a); }
static inline vi vi_add(vi a, vi b) { return _mm256_add_epi32(a, b); }
static inline vi vi_sub(vi a, vi b) { return _mm256_sub_epi32(a, b); }
static inline vi vi_bits(vf a) { return _mm256_castps_si256(a); }
static inline vf vf_of_bits(vi a) { return _mm256_castsi256_ps(a); }
static inline vi vi_shift_from_exponent(vi a) { return _mm256_srai_epi32(a, 23); }
static inline int32_t vi_total(vi a) {
    __m128i pairs = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    pairs = _mm_add_epi32(pairs, _mm_unpackhi_epi64(pairs, pairs));
    return _mm_cvtsi128_si32(_mm_add_epi32(pairs, _mm_shuffle_epi32(pairs, 1)));
}
static inline vi vi_magnitude(vf a) {
    return _mm256_and_si256(_mm256_castps_si256(a), _mm256_set1_epi32(INT32_MAX));
}
static inline vi vi_max(vi a, vi b) { return _mm256_max_epi32(a, b); }
static inline int32_t vi_largest(vi a) {
    __m128i most = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    most = _mm_max_epi32(most, _mm_unpackhi_epi64(most, most));
    return _mm_cvtsi128_si32(_mm_max_epi32(most, _mm_shuffle_epi32(most, 1)));
}
static inline vf vf_from_int(vi a) { return _mm256_cvtepi32_ps(a); }
static inline vi vi_from_float(vf a) { return _mm256_cvtps_epi32(a); }
static inline vf vf_load_float16(const uint16_t *p) {
    return _mm256_cvtph_ps(_mm_load_si128((const __m128i *)(const void *)p));
}
