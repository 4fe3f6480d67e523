/* The vector vocabulary in AVX2 and FMA: eight lanes. Their meaning: vec_scalar.h, in C. */
#define LF_LANES 8
#define LF_PANEL_VECTORS 2
#define LF_TILE_STREAMS 3 /* times four gates, and an operand each, fit the registers */
#define LF_EACH_TILE LF_UP_TO_3

typedef __m256 vf;
typedef __m256 vm; /* a mask: all bits of a lane, or none */

static inline vf vf_load(const float *p) { return _mm256_load_ps(p); }
static inline vf vf_load_any(const float *p) { return _mm256_loadu_ps(p); }
static inline void vf_store_any(float *p, vf a) { _mm256_storeu_ps(p, a); }
static inline void vf_store(float *p, vf a) { _mm256_store_ps(p, a); }
static inline vf vf_set1(float a) { return _mm256_set1_ps(a); }
static inline vf vf_add(vf a, vf b) { return _mm256_add_ps(a, b); }
static inline vf vf_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
static inline vf vf_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
static inline vf vf_div(vf a, vf b) { return _mm256_div_ps(a, b); }
static inline vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
static inline vf vf_max(vf a, vf b) { return _mm256_max_ps(a, b); }
static inline vf vf_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
static inline vf vf_sign(vf a) { return _mm256_and_ps(_mm256_set1_ps(-0.0f), a); }
static inline vf vf_or(vf a, vf b) { return _mm256_or_ps(a, b); }
static inline vf vf_shift_into_exponent(vf a) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(a), 23));
}
static inline vm vf_less(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
static inline vm vf_is_nan(vf a) { return _mm256_cmp_ps(a, a, _CMP_UNORD_Q); }
static inline vf vf_select(vm mask, vf yes, vf no) { return _mm256_blendv_ps(no, yes, mask); }

typedef __m256i vi;

static inline vi vi_load(const int32_t *p) {
    return _mm256_load_si256((const __m256i *)(const void *)p);
}
static inline void vi_store(int32_t *p, vi a) { _mm256_store_si256((__m256i *)(void *)p, a); }
static inline vf vf_from_int(vi a) { return _mm256_cvtepi32_ps(a); }
static inline vi vi_from_float(vf a) { return _mm256_cvtps_epi32(a); }
static inline vf vf_load_float16(const uint16_t *p) {
    return _mm256_cvtph_ps(_mm_load_si128((const __m128i *)(const void *)p));
}
