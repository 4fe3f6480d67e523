/*
 * The int8 dot in plain AVX2, four k at a time. vpmaddubsw wants one side unsigned and saturates its
 * sum of two products at 16 bits; with the operand's sign moved over to the weight both sides stay
 * within 127 and the sum within 2 * 127 * 127 = 32258, so nothing ever saturates.
 */
#define LF_INT8_GROUP 4
#define LF_INT8_OFFSET 0

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
    __m256i w = _mm256_load_si256((const __m256i *)(const void *)weights);
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(operand), _mm256_sign_epi8(w, operand));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
