/*
 * The int8 dot with AVX-VNNI, four k at a time. vpdpbusd takes the operand unsigned, so that is
 * stored with 128 added, and each sum starts from -128 times the sum of its row's weights. It does not
 * saturate (vpdpbusds would).
 */
#define LF_INT8_GROUP 4
#define LF_INT8_OFFSET 128

typedef uint8_t lf_quant;

static inline void vi_store_quant(lf_quant *p, vi a) {
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    __m128i bytes = _mm_xor_si128(_mm_packs_epi16(words, words), _mm_set1_epi8(-128)); /* + 128 */
    _mm_storel_epi64((__m128i *)(void *)p, bytes);
}
static inline vi vi_broadcast(const lf_quant *p) {
    int group;
    memcpy(&group, p, sizeof group);
    return _mm256_set1_epi32(group);
}
static inline vi vi_dot(vi sum, const int8_t *weights, vi operand) {
    return _mm256_dpbusd_avx_epi32(sum, operand,
                                   _mm256_load_si256((const __m256i *)(const void *)weights));
}
