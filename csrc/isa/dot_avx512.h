/*
 * The int8 dot in AVX-512 without VNNI, two k at a time: weights are widened to 16 bits, whose
 * products vpmaddwd adds in 32, so nothing ever saturates. (AVX-512 has no vpsignb for what
 * dot_avx2.h does.)
 */
#define LF_INT8_GROUP 2
#define LF_INT8_OFFSET 0

typedef int16_t lf_quant;
typedef vi lf_group;

static inline void vi_store_quant(lf_quant *p, vi a) {
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(a));
}
static inline lf_group vi_broadcast(const lf_quant *p) {
    int group;
    memcpy(&group, p, sizeof group);
    return _mm512_set1_epi32(group);
}
static inline vi vi_dot(vi sum, const char *weights, lf_group operand) {
    __m512i w = _mm512_cvtepi8_epi16(_mm256_load_si256((const __m256i *)(const void *)weights));
    return _mm512_add_epi32(sum, _mm512_madd_epi16(w, operand));
}
