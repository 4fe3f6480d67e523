/* The vector vocabulary in AVX-512 (F, BW, VL, DQ): sixteen lanes, masks in mask registers. */
#define LF_LANES 16
#define LF_WIDE_PANEL 2        /* so many narrow panels */
#define LF_HAS_NARROW_PANELS 1 /* four chains keep up with L2 */
#define LF_KEEPS_CONSTANTS 1   /* enough registers for those of sigmoid and tanh */
#define LF_LOADS_AT_ONCE 1
/* Six streams times four gates, and an operand each, fit the registers. Four are quicker where there is a
 * choice: the sums of more, waiting to be stored, hold up the loads of the next tile. */
#define LF_TILE_ROWS 6
#define LF_TILE_QUICKEST 4
#define LF_EACH_TILE LF_UP_TO_6

typedef __m512 vf;
typedef __mmask16 vm;

static inline vf vf_load(const float *p) { return _mm512_load_ps(p); }
static inline vf vf_load_any(const float *p) { return _mm512_loadu_ps(p); }
static inline void vf_store_any(float *p, vf a) { _mm512_storeu_ps(p, a); }
static inline vf vf_load_some(const float *p, size_t count) {
    return _mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), p);
}
static inline void vf_store_some(float *p, vf a, size_t count) {
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << count) - 1), a);
}
static inline void vf_store(float *p, vf a) { _mm512_store_ps(p, a); }
static inline vf vf_set1(float a) { return _mm512_set1_ps(a); }
static inline vf vf_broadcast(const float *p) { return vf_set1(*p); }
static inline vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
static inline vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
static inline vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
static inline vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
static inline vf vf_sqrt(vf a) { return _mm512_sqrt_ps(a); }
static inline vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
static inline vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
static inline vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
static inline vf vf_abs(vf a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
static inline vf vf_sign(vf a) { return _mm512_and_ps(_mm512_set1_ps(-0.0f), a); }
static inline vf vf_or(vf a, vf b) { return _mm512_or_ps(a, b); }
static inline vf vf_copysign(vf magnitude, vf sign) {
    return _mm512_castsi512_ps(
        _mm512_ternarylogic_epi32(_mm512_set1_epi32(INT32_MAX), _mm512_castps_si512(magnitude),
                                  _mm512_castps_si512(sign), 0xCA)); /* a ? b : c, bit by bit */
}
static inline vf vf_shift_into_exponent(vf a) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(a), 23));
}
static inline vm vf_less(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
static inline vm vf_not_less(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_NLT_UQ); }
static inline vf vf_keep(vm mask, vf a) { return _mm512_maskz_mov_ps(mask, a); }
static inline vm vf_is_nan(vf a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
static inline int vf_any_noncanonical(vf a) { /* denormal, quiet NaN, signalling NaN */
    return _mm512_fpclass_ps_mask(a, 0x20 | 0x01 | 0x80);
}
static inline int vf_any_nonfinite(vf a) { /* NaN, an infinity */
    return _mm512_fpclass_ps_mask(a, 0x01 | 0x80 | 0x08 | 0x10);
}
static inline vf vf_div_where(vm mask, vf a, vf b, vf other) {
    return _mm512_mask_div_ps(other, mask, a, b);
}
static inline vf vf_square_where(vm mask, vf a) { return _mm512_maskz_mul_ps(mask, a, a); }
static inline vf vf_eighths_where(vm mask, vf a) {
    const __m512i table = _mm512_broadcast_i64x4(_mm256_load_si256((const void *)lf_eighths));
    const __m512i bits = _mm512_castps_si512(a); /* a look-up heeds the low four: twice the table */
    return _mm512_castsi512_ps(_mm512_maskz_add_epi32(mask, _mm512_slli_epi32(bits, 20),
                                                      _mm512_permutexvar_epi32(bits, table)));
}
static inline vf vf_select(vm mask, vf yes, vf no) { return _mm512_mask_blend_ps(mask, no, yes); }

typedef __m512i vi;

static inline vi vi_load(const int32_t *p) { return _mm512_load_si512((const void *)p); }
static inline void vi_store(int32_t *p, vi a) { _mm512_store_si512((void *)p, a); }
static inline vi vi_set1(int32_t a) { return _mm512_set1_epi32(a); }
static inline vi vi_add(vi a, vi b) { return _mm512_add_epi32(a, b); }
static inline vi vi_sub(vi a, vi b) { return _mm512_sub_epi32(a, b); }
static inline vi vi_bits(vf a) { return _mm512_castps_si512(a); }
static inline vf vf_of_bits(vi a) { return _mm512_castsi512_ps(a); }
static inline vi vi_shift_from_exponent(vi a) { return _mm512_srai_epi32(a, 23); }
static inline int32_t vi_total(vi a) { return _mm512_reduce_add_epi32(a); }
static inline vi vi_magnitude(vf a) {
    return _mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(INT32_MAX));
}
static inline vi vi_max(vi a, vi b) { return _mm512_max_epi32(a, b); }
static inline int32_t vi_largest(vi a) { return _mm512_reduce_max_epi32(a); }
static inline vf vf_from_int(vi a) { return _mm512_cvtepi32_ps(a); }
static inline vi vi_from_float(vf a) { return _mm512_cvtps_epi32(a); }
static inline vf vf_load_float16(const uint16_t *p) {
    return _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)(const void *)p));
}
