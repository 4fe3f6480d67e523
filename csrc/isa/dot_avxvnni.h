/*
 * The int8 dot with AVX-VNNI, four k at a time. vpdpbusd takes one side unsigned: the weights, which are
 * stored with 128 added, so that all sums of an operand are too large by the same, 128 times the sum of the
 * operand (an operand with an offset would want another correction for each row). It does not saturate
 * (vpdpbusds would).
 */
#define LF_INT8_GROUP 4
#define LF_INT8_OFFSET 128

typedef int8_t lf_quant;
typedef vi lf_group;

static inline void vi_store_quant(lf_quant *p, vi a) {
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    _mm_storel_epi64((__m128i *)(void *)p, _mm_packs_epi16(words, words));
}
static inline lf_group vi_broadcast(const lf_quant *p) {
    int group;
    memcpy(&group, p, sizeof group);
    return _mm256_set1_epi32(group);
}
static inline vi vi_dot(vi sum, const char *weights, lf_group operand) {
    return _mm256_dpbusd_avx_epi32(sum, _mm256_load_si256((const __m256i *)(const void *)weights),
                                   operand);
}
